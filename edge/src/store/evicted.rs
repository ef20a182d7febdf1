//! Keys that left memory to make room, by how old what was under them was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock::time_of_day;

/// Bounds of the ages that are told apart, in seconds: up to 30 days.
pub const AGE_BOUNDS_SECONDS: [f64; 9] =
    [1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0];
/// One for each bound, and one for what is older than the last.
const BUCKETS: usize = AGE_BOUNDS_SECONDS.len() + 1;

/// The ages of what was evicted, as they are counted.
#[derive(Debug, Default)]
pub(super) struct Evicted {
    counts: [AtomicU64; BUCKETS],
    sum_millis: AtomicU64,
}

/// The ages of what was evicted, ever.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// How many were at most as old as each of [`AGE_BOUNDS_SECONDS`] and older than the one before; older than all, last.
    pub counts: [u64; BUCKETS],
    /// All ages together.
    pub sum: Duration,
}

impl Ages {
    /// How many were evicted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Evicted {
    pub(super) fn add(&self, age: Duration) {
        let seconds = age.as_secs_f64();
        let bucket = AGE_BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.sum_millis.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn ages(&self) -> Ages {
        Ages {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_millis(self.sum_millis.load(Ordering::Relaxed)),
        }
    }
}

/// The age of what was received at `received`; none if the clock was set back since.
pub(super) fn age(received: SystemTime) -> Duration {
    time_of_day().duration_since(received).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_below_the_first_bound_that_it_does_not_pass() {
        let evicted = Evicted::default();
        for seconds in [0, 1, 2, 60, 61, 2_592_000, 2_592_001] {
            evicted.add(Duration::from_secs(seconds));
        }
        let ages = evicted.ages();
        assert_eq!(ages.counts, [2, 1, 1, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!((ages.count(), ages.sum), (7, Duration::from_secs(2 * 2_592_000 + 125)));
    }
}
