//! How many bytes may be written: so many a second, and those of some seconds at once.

use std::time::Duration;

/// The bytes that are left to write.
#[derive(Debug)]
pub struct Rate {
    bytes_per_second: u64,
    left_bytes: u64,
    /// Bytes that were taken before they were left.
    owed_bytes: u64,
    /// The moment that `left_bytes` counts to.
    until: Duration,
}

/// Seconds whose bytes may be written at once.
const BURST_SECS: u64 = 10;

impl Rate {
    /// All of a burst is left.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        let left_bytes = bytes_per_second.saturating_mul(BURST_SECS);
        Self { bytes_per_second, left_bytes, owed_bytes: 0, until: Duration::ZERO }
    }

    /// Takes so many bytes, if they are left at `now`, on any clock that does not go back.
    pub fn take(&mut self, bytes: u64, now: Duration) -> bool {
        self.earn(now);
        let is_left = bytes <= self.left_bytes;
        if is_left {
            self.left_bytes -= bytes;
        }
        is_left
    }

    /// As [`Rate::take`], of what may be more than a burst: it takes all of one, and owes the rest.
    pub fn take_ahead(&mut self, bytes: u64, now: Duration) -> bool {
        let burst = self.bytes_per_second.saturating_mul(BURST_SECS);
        let is_left = self.take(bytes.min(burst), now);
        if is_left {
            self.owed_bytes = self.owed_bytes.saturating_add(bytes.saturating_sub(burst));
        }
        is_left
    }

    /// Takes so many bytes, whether or not they are left.
    pub fn owe(&mut self, bytes: u64, now: Duration) {
        self.earn(now);
        let paid = bytes.min(self.left_bytes);
        self.left_bytes -= paid;
        self.owed_bytes = self.owed_bytes.saturating_add(bytes - paid);
    }

    fn earn(&mut self, now: Duration) {
        let passed_ms = u64::try_from(now.saturating_sub(self.until).as_millis()).unwrap_or(u64::MAX);
        let earned = self.bytes_per_second.saturating_mul(passed_ms) / 1_000;
        if earned > 0 {
            self.until = now;
        }
        let most = self.bytes_per_second.saturating_mul(BURST_SECS);
        let (saved, paid) = (earned.saturating_sub(self.owed_bytes), earned.min(self.owed_bytes));
        self.owed_bytes -= paid;
        self.left_bytes = self.left_bytes.saturating_add(saved).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_written_than_the_rate_and_a_burst_allow() {
        let mut rate = Rate::new(100);
        let mut take = |bytes, at_ms| rate.take(bytes, Duration::from_millis(at_ms));
        assert!(take(1_000, 0), "ten seconds at once");
        assert!(!take(1, 0));
        assert!(!take(1, 9), "less than a byte has come");
        assert!(take(1, 10));
        assert!(take(99, 1_000));
        assert!(!take(1, 1_000));
        assert!(!take(1_001, 1_000_000), "no more than a burst is saved");
        assert!(take(1_000, 1_000_000));
        assert!(!take(1, 0), "a clock that goes back earns nothing");
    }

    #[test]
    fn what_is_larger_than_a_burst_is_taken_ahead_and_paid_for_before_anything_else() {
        let mut rate = Rate::new(100);
        let at = Duration::from_secs;
        assert!(rate.take_ahead(3_000, at(0)));
        assert!(!rate.take(1, at(20)), "twenty seconds pay for what was taken ahead");
        assert!(!rate.take_ahead(3_000, at(25)), "a whole burst is asked for");
        assert!(rate.take_ahead(100, at(25)));
        rate.owe(600, at(25));
        assert!(!rate.take(201, at(29)), "two seconds of four pay for the rest");
        assert!(rate.take(200, at(29)));
    }
}
