//! How often something may happen: so many times at once, and then as evenly as the time passes.

use std::num::NonZeroU32;
use std::time::Duration;

/// A rate, and whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// As many at once, and then as many in each period.
    pub requests: NonZeroU32,
    /// A second, a minute or an hour.
    pub period: Duration,
    /// Which part of which site counts by itself.
    pub scope: u64,
}

impl Rate {
    /// Reads `20/s`, `600/m` or `1000/h`.
    pub fn parse(text: &str, scope: u64) -> Option<Self> {
        let (requests, unit) = text.split_once('/')?;
        let secs = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return None,
        };
        Some(Self { requests: requests.trim().parse().ok()?, period: Duration::from_secs(secs), scope })
    }

    /// Takes one at `now_us`, from what will be full again at `full_at_us`: when it will be full after that. Both are in
    /// microseconds from any one moment.
    ///
    /// # Errors
    /// When there is none: the time until there is.
    pub fn take(&self, full_at_us: u64, now_us: u64) -> Result<u64, Duration> {
        let period_us = self.period_us();
        // A clock that was set back must not close it for longer than the period.
        let missing = full_at_us.saturating_sub(now_us).min(period_us);
        let after = missing + self.step_us();
        match after.checked_sub(period_us) {
            Some(wait) if wait > 0 => Err(Duration::from_micros(wait)),
            _ => Ok(now_us.saturating_add(after)),
        }
    }

    /// Gives back one that was taken.
    pub fn give_back(&self, full_at_us: u64) -> u64 {
        full_at_us.saturating_sub(self.step_us())
    }

    fn period_us(&self) -> u64 {
        u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX)
    }

    fn step_us(&self) -> u64 {
        (self.period_us() / u64::from(self.requests.get())).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit_of_time() {
        let check = |text: &str, expected: Option<(u32, u64)>| {
            let read = Rate::parse(text, 0).map(|rate| (rate.requests.get(), rate.period.as_secs()));
            assert_eq!(read, expected, "{text}");
        };
        check("20/s", Some((20, 1)));
        check("600/m", Some((600, 60)));
        check("1000 / h", Some((1000, 3600)));
        for text in ["", "20", "0/s", "-1/s", "1.5/s", "20/d", "20/min", "/s"] {
            check(text, None);
        }
    }

    /// How many of `tries` at once go through, from what is left of an earlier time.
    fn taken(rate: &Rate, full_at: &mut u64, now_us: u64, tries: usize) -> usize {
        let one = |_: &usize| match rate.take(*full_at, now_us) {
            Ok(next) => {
                *full_at = next;
                true
            }
            Err(_) => false,
        };
        (0..tries).filter(one).count()
    }

    #[test]
    fn as_many_at_once_and_then_as_time_passes() {
        let rate = Rate::parse("10/s", 0).unwrap();
        let mut full_at = 0;
        assert_eq!(taken(&rate, &mut full_at, 1_000_000_000, 50), 10);
        assert_eq!(
            rate.take(full_at, 1_000_040_000 - 1_000_000_000 + 1_000_000_000),
            Err(Duration::from_millis(60))
        );
        assert_eq!(taken(&rate, &mut full_at, 1_000_250_000, 50), 2);
        assert_eq!(taken(&rate, &mut full_at, 9_000_000_000, 50), 10, "never more");
        full_at = rate.give_back(full_at);
        assert_eq!(taken(&rate, &mut full_at, 9_000_000_000, 50), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_closes_it_for_no_longer_than_the_period() {
        let rate = Rate::parse("1/m", 0).unwrap();
        let full_at = rate.take(0, 5_000_000_000).unwrap();
        assert_eq!(rate.take(full_at, 0), Err(Duration::from_secs(60)));
        assert!(rate.take(full_at, 5_060_000_000).is_ok());
    }
}
