//! How often something may happen: so many times at once, and then as evenly as the minutes pass.
//!
//! Invariant: plain values; the time is an argument.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

/// A bucket that is full at first and fills up again within a minute.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    /// The time that one costs.
    step: Duration,
    /// When it is full again.
    full_at: SystemTime,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Bucket {
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        Self { step: MINUTE / per_minute.get(), full_at: SystemTime::UNIX_EPOCH }
    }

    /// Takes one.
    ///
    /// # Errors
    /// When there is none: the time until there is.
    pub(super) fn take(&mut self, now: SystemTime) -> Result<(), Duration> {
        // A clock that was set back must not close it for longer than a minute.
        let missing = self.full_at.duration_since(now).unwrap_or_default().min(MINUTE);
        match (missing + self.step).checked_sub(MINUTE) {
            Some(wait) if !wait.is_zero() => {
                self.full_at = now + missing;
                Err(wait)
            }
            _ => {
                self.full_at = now + missing + self.step;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + Duration::from_millis(millis)
    }

    fn bucket(per_minute: u32) -> Bucket {
        Bucket::new(NonZeroU32::new(per_minute).unwrap())
    }

    #[test]
    fn a_minutes_worth_at_once_and_then_as_time_passes() {
        let mut bucket = bucket(60);
        assert_eq!((0..100).filter(|_| bucket.take(at(0)).is_ok()).count(), 60);
        assert_eq!(bucket.take(at(400)), Err(Duration::from_millis(600)));
        assert_eq!((0..100).filter(|_| bucket.take(at(2_500)).is_ok()).count(), 2);
        assert_eq!((0..100).filter(|_| bucket.take(at(1_000_000)).is_ok()).count(), 60, "never more");
    }

    #[test]
    fn one_a_minute_is_one_a_minute() {
        let mut bucket = bucket(1);
        assert_eq!(bucket.take(at(0)), Ok(()));
        assert_eq!(bucket.take(at(59_999)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(at(60_000)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_closes_it_for_no_longer_than_a_minute() {
        let mut bucket = bucket(10);
        bucket.take(at(1_000_000_000)).unwrap();
        assert_eq!(bucket.take(at(0)), Err(Duration::from_secs(6)));
        assert_eq!(bucket.take(at(6_000)), Ok(()));
    }
}
