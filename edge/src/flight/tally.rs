//! The outcomes of requests that a part of a site sent to its origins lately.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::site::guard::Counts;

/// Counts of the last one to two minutes.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Minutes>);

#[derive(Debug, Default)]
struct Minutes {
    began: Option<SystemTime>,
    last: Counts,
    this: Counts,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Tally {
    /// One more.
    pub fn note(&self, is_error: bool, now: SystemTime) {
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minutes.turn(now);
        minutes.this.note(is_error);
    }

    /// All of them.
    pub fn counts(&self, now: SystemTime) -> Counts {
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minutes.turn(now);
        minutes.last.plus(minutes.this)
    }
}

impl Minutes {
    /// A clock that was set back begins anew.
    fn turn(&mut self, now: SystemTime) {
        let passed = self.began.map(|began| now.duration_since(began).unwrap_or(MINUTE * 2));
        match passed {
            Some(passed) if passed < MINUTE => {}
            Some(passed) if passed < MINUTE * 2 => {
                *self = Self { began: Some(now), last: self.this, this: Counts::default() };
            }
            _ => *self = Self { began: Some(now), ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_two_minutes_counts_no_more() {
        let tally = Tally::default();
        let at = |secs: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + secs);
        let check = |now, answers, errors| {
            assert_eq!(tally.counts(at(now)), Counts { answers, errors }, "{now}");
        };
        tally.note(true, at(0));
        tally.note(false, at(59));
        check(59, 2, 1);
        tally.note(false, at(61));
        check(100, 3, 1);
        check(122, 1, 0);
        check(500, 0, 0);
        tally.note(true, at(500));
        check(0, 0, 0);
    }
}
