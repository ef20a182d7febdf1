//! Passive health: an origin that fails is left alone for a while, then tried with one request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// An origin's health, as the requests to it have shown.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// Points; see [`Fault::points`].
    points: u32,
    /// Times in a row that it was found down.
    downs: u32,
    retry_at: Option<SystemTime>,
    /// When it came back from being down.
    back_at: Option<SystemTime>,
}

/// Whether an origin should get the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It should; perhaps to see whether it is back.
    Up,
    /// It failed lately.
    Down,
}

/// How an origin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers there.
    NoConnection,
    /// It took the request and gave no response.
    NoResponse,
}

impl Fault {
    /// One request can kill a response; a refused connection speaks for itself.
    fn points(self) -> u32 {
        match self {
            Self::NoConnection => DOWN_POINTS,
            Self::NoResponse => 1,
        }
    }
}

const DOWN_POINTS: u32 = 3;
/// Doubles with each time that the origin is found down again, up to [`MAX_REST`].
const FIRST_REST: Duration = Duration::from_secs(1);
/// An origin that is back gets traffic within this.
const MAX_REST: Duration = Duration::from_secs(30);

/// The share that an origin begins with when it is back.
const FIRST_SHARE: f64 = 0.1;

impl Health {
    /// Whether one may send there now. Call [`Health::take`] before it is done.
    pub fn standing(&self, now: SystemTime) -> Standing {
        self.lock().standing(now)
    }

    /// Takes the right to send there now: of a down origin whose rest is over, one caller gets it.
    pub fn take(&self, now: SystemTime) -> bool {
        self.lock().take(now)
    }

    /// Whether nothing is known against it.
    pub fn is_up(&self, _now: SystemTime) -> bool {
        self.lock().retry_at.is_none()
    }

    /// Its share of what is its own: it grows while what it caches and pools is still cold.
    pub fn share(&self, slow_start: Duration, now: SystemTime) -> f64 {
        self.lock().share(slow_start, now)
    }

    /// It answered; whether it was down before.
    pub fn succeeded(&self, now: SystemTime) -> bool {
        self.lock().succeeded(now)
    }

    /// It did not.
    pub fn failed(&self, fault: Fault, now: SystemTime) {
        self.lock().failed(fault, now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn standing(self, now: SystemTime) -> Standing {
        match self.retry_at {
            // A clock that was set back must not keep an origin down.
            Some(at) if now < at && at <= now + MAX_REST => Standing::Down,
            _ => Standing::Up,
        }
    }

    fn take(&mut self, now: SystemTime) -> bool {
        let may = self.standing(now) == Standing::Up;
        if may && self.retry_at.is_some() {
            self.retry_at = Some(now + self.rest());
        }
        may
    }

    fn share(self, slow_start: Duration, now: SystemTime) -> f64 {
        // A trial is one request.
        let Some(back_at) = self.back_at.filter(|_| self.retry_at.is_none()) else { return 1.0 };
        // A clock that was set back ends it.
        let Ok(since) = now.duration_since(back_at) else { return 1.0 };
        if since >= slow_start { 1.0 } else { since.div_duration_f64(slow_start).max(FIRST_SHARE) }
    }

    fn succeeded(&mut self, now: SystemTime) -> bool {
        let was_down = self.retry_at.is_some();
        let back_at = if was_down { Some(now) } else { self.back_at };
        *self = Self { back_at, ..Self::default() };
        was_down
    }

    fn failed(&mut self, fault: Fault, now: SystemTime) {
        self.points = self.points.saturating_add(fault.points());
        if self.points >= DOWN_POINTS {
            self.retry_at = Some(now + self.rest());
            self.downs = self.downs.saturating_add(1);
        }
    }

    fn rest(self) -> Duration {
        FIRST_REST.saturating_mul(1 << self.downs.min(5)).min(MAX_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn a_refused_connection_rests_the_origin_and_one_request_tries_it_again() {
        let health = Health::default();
        health.failed(Fault::NoConnection, at(0));
        assert_eq!(health.standing(at(0)), Standing::Down);
        assert!(!health.take(at(0)) && health.take(at(1)), "the rest is over");
        assert!(!health.take(at(1)) && !health.is_up(at(1)), "one request at a time");
        assert!(health.succeeded(at(1)) && !health.succeeded(at(1)));
        assert!(health.take(at(1)) && health.take(at(1)) && health.is_up(at(1)));
    }

    #[test]
    fn an_origin_that_is_back_begins_with_a_part_of_its_share() {
        let health = Health::default();
        let slow_start = Duration::from_secs(10);
        let check = |second, expected: f64| {
            let found = health.share(slow_start, at(second));
            assert!((found - expected).abs() < 1e-9, "{second} s: {found}");
        };
        check(0, 1.0);
        health.failed(Fault::NoConnection, at(0));
        check(1, 1.0);
        health.succeeded(at(1));
        for (second, expected) in [(1, 0.1), (2, 0.1), (3, 0.2), (6, 0.5), (10, 0.9), (11, 1.0), (0, 1.0)] {
            check(second, expected);
        }
        health.succeeded(at(6));
        check(6, 0.5);
        assert!((health.share(Duration::ZERO, at(1)) - 1.0).abs() < 1e-9, "without slow start");
    }

    #[test]
    fn a_lost_response_alone_does_not_rest_an_origin_but_three_do() {
        let health = Health::default();
        for _ in 0..2 {
            health.failed(Fault::NoResponse, at(0));
            assert_eq!(health.standing(at(0)), Standing::Up);
        }
        health.failed(Fault::NoResponse, at(0));
        assert_eq!(health.standing(at(0)), Standing::Down);
    }

    #[test]
    fn rests_grow_to_their_limit() {
        let health = Health::default();
        for _ in 0..20 {
            health.failed(Fault::NoConnection, at(0));
        }
        assert_eq!(health.standing(at(29)), Standing::Down);
        assert_eq!(health.standing(at(30)), Standing::Up);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_an_origin_down() {
        let health = Health::default();
        health.failed(Fault::NoConnection, at(900));
        assert_eq!(health.standing(at(0)), Standing::Up);
    }
}
