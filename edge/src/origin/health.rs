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

impl Health {
    /// Whether to send there now. One caller gets [`Standing::Up`] for a down origin each time its rest is over.
    pub fn standing(&self, now: SystemTime) -> Standing {
        self.lock().standing(now)
    }

    /// Whether it is up, without taking the turn to try it.
    pub fn is_up(&self, now: SystemTime) -> bool {
        self.lock().clone().standing(now) == Standing::Up
    }

    /// It answered.
    pub fn succeeded(&self) {
        *self.lock() = State::default();
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
    fn standing(&mut self, now: SystemTime) -> Standing {
        match self.retry_at {
            None => Standing::Up,
            // A clock that was set back must not keep an origin down.
            Some(at) if now < at && at <= now + MAX_REST => Standing::Down,
            Some(_) => {
                self.retry_at = Some(now + self.rest());
                Standing::Up
            }
        }
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
        assert_eq!(health.standing(at(1)), Standing::Up, "the rest is over");
        assert_eq!(health.standing(at(1)), Standing::Down, "one request at a time");
        health.succeeded();
        assert_eq!(health.standing(at(1)), Standing::Up);
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
