//! The clock that decides, which nobody sets, and the time of day, by which people read it and the disk keeps it.

use std::time::{Instant, UNIX_EPOCH};

use crate::clock;

/// A state that is older than this run has a time, too: up to ten years before it.
const HEAD_START_MS: u64 = 10 * 365 * 86_400_000;

/// The year 2020: a clock that was before it was not set yet, and does not tell how long ago that was.
pub(super) const CLOCK_IS_SET_MS: u64 = 1_577_836_800_000;

/// Both clocks at one moment, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// Of a clock that is never set.
    pub(super) ticks: u64,
    /// Since 1970.
    pub(super) unix: u64,
}

impl Time {
    /// The beginning of the ticks.
    pub(super) fn begin() -> Instant {
        clock::now()
    }

    /// Now.
    pub(super) fn of(begun: Instant) -> Self {
        let millis = |since: std::time::Duration| u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let since = millis(clock::now().saturating_duration_since(begun));
        let unix = clock::system_now().duration_since(UNIX_EPOCH).map_or(0, millis);
        Self { ticks: HEAD_START_MS.saturating_add(since), unix }
    }

    /// The time of day of a tick, if the clock had always been as it is now.
    pub(super) fn unix_at(self, ticks: u64) -> u64 {
        self.unix.saturating_sub(self.ticks.saturating_sub(ticks))
    }

    /// The tick of a time of day; now for one that is still to come, and ten years before the start at the earliest.
    pub(super) fn ticks_at(self, unix: u64) -> u64 {
        self.ticks.saturating_sub(self.unix.saturating_sub(unix)).max(1)
    }

    /// The tick of a time of day that is past; none if the clock was set back since, or was not set then.
    pub(super) fn past_tick(self, unix: u64) -> Option<u64> {
        (CLOCK_IS_SET_MS..=self.unix).contains(&unix).then(|| self.ticks_at(unix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_still_to_come_or_of_a_clock_that_was_not_set_is_none_of_the_past() {
        let now = Time { ticks: HEAD_START_MS + 5000, unix: 1_800_000_000_000 };
        for (unix, tick) in [
            (now.unix, Some(now.ticks)),
            (now.unix - 60_000, Some(now.ticks - 60_000)),
            (now.unix + 1, None),
            (5000, None),
        ] {
            assert_eq!(now.past_tick(unix), tick, "{unix}");
        }
    }

    #[test]
    fn what_the_disk_keeps_is_neither_in_the_future_nor_without_a_bound_in_the_past() {
        let now = Time { ticks: HEAD_START_MS + 5000, unix: 1_800_000_000_000 };
        for (unix, ticks) in [
            (now.unix, now.ticks),
            (now.unix - 60_000, now.ticks - 60_000),
            (now.unix + 86_400_000, now.ticks),
            (0, 1),
        ] {
            assert_eq!(now.ticks_at(unix), ticks, "{unix}");
        }
        assert_eq!(now.unix_at(now.ticks - 60_000), now.unix - 60_000);
    }

    #[test]
    fn a_time_is_shown_by_the_clock_as_it_is_now() {
        let (began, set) =
            (Time { ticks: 9000, unix: 1000 }, Time { ticks: 10_000, unix: 1_800_000_000_000 });
        let at = began.ticks;
        assert_eq!(set.unix_at(at), set.unix - 1000, "the machine began without a clock");
    }
}
