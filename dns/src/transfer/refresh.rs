//! The time of the next question to a primary, and the end of a copy that no primary has confirmed (RFC 1034 §4.3.5, RFC 1035
//! §3.3.13).

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::name::Name;

/// The times of a SOA, within bounds: a primary may ask for none that floods it, or that lasts for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From one good answer to the next question, in seconds.
    pub refresh: u32,
    /// From a failure to the next question, in seconds.
    pub retry: u32,
    /// From the last good answer to the end of the copy, in seconds.
    pub expire: u32,
}

/// The shortest wait between two questions of a zone, in seconds. NOTIFY is quicker.
const LEAST_WAIT: u32 = 5;
/// A copy that is confirmed again is not written down more often.
const NOTE_PAUSE_SECONDS: u64 = 60;
/// The longest, in seconds.
const MOST_WAIT: u32 = 24 * 3600;
/// The longest wait of a zone that has no copy yet, in seconds: somebody is waiting for it.
const MOST_FIRST_WAIT: u32 = 300;

impl Timers {
    /// Of a SOA's RDATA.
    pub fn of(soa: &[u8]) -> Option<Self> {
        let numbers = soa.len().checked_sub(super::SOA_NUMBERS_BYTES)?;
        let number =
            |at: usize| soa.get(numbers + 4 * at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let (refresh, retry) =
            (number(1)?.clamp(LEAST_WAIT, MOST_WAIT), number(2)?.clamp(LEAST_WAIT, MOST_WAIT));
        // RFC 1912 §2.2: a copy that ends before it is asked for again is of no use.
        let expire = number(3)?.max(refresh.saturating_add(retry));
        Some(Self { refresh, retry, expire })
    }
}

/// The state of a copy. Times are in Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// The times of the copy's SOA; none without a copy.
    pub timers: Option<Timers>,
    /// When a primary was last heard of it.
    pub checked: u64,
    /// When it ends.
    pub expires: u64,
    /// Tries since then.
    pub failures: u32,
}

/// How well a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Its primaries answer.
    Good,
    /// They do not; half of its time is not over.
    Late,
    /// Half of its time is over.
    HalfGone,
    /// Seven eighths are.
    NearlyGone,
    /// All is: it is served no longer.
    Expired,
}

impl Health {
    /// The word of status, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Late => "late",
            Self::HalfGone => "half_gone",
            Self::NearlyGone => "nearly_gone",
            Self::Expired => "expired",
        }
    }
}

impl Upkeep {
    /// After a good answer. `expire_option` is what is left of the primary's own copy (RFC 7314), in seconds.
    pub fn confirmed(timers: Timers, now: u64, expire_option: Option<u32>) -> Self {
        let left = expire_option.map_or(timers.expire, |theirs| theirs.min(timers.expire));
        Self { timers: Some(timers), checked: now, expires: now + u64::from(left), failures: 0 }
    }

    /// After an answer that the version is the same still. The primary's option can make the copy last longer, and never shorter:
    /// another primary has promised more (RFC 7314 §4).
    pub fn confirmed_again(self, timers: Timers, now: u64, expire_option: Option<u32>) -> Self {
        let again = Self::confirmed(timers, now, expire_option);
        // A clock that was set back leaves an end that no SOA allows.
        let before = self.expires.min(now.saturating_add(u64::from(timers.expire)));
        Self { expires: again.expires.max(before), ..again }
    }

    /// Whether it need not be written down where `noted` was: a restart would lose a minute at most, and little of what is
    /// left. Whatever is written never ends later than this.
    pub fn is_noted_by(&self, noted: &Self) -> bool {
        let age = self.checked.checked_sub(noted.checked);
        let left = noted.expires.saturating_sub(self.checked);
        let whole = self.expires.saturating_sub(self.checked);
        noted.timers == self.timers
            && age.is_some_and(|age| age < NOTE_PAUSE_SECONDS)
            && (noted.expires..=noted.expires.saturating_add(NOTE_PAUSE_SECONDS)).contains(&self.expires)
            && left >= whole / 2
    }

    /// After a try that no primary answered well.
    pub fn failed(self) -> Self {
        Self { failures: self.failures.saturating_add(1), ..self }
    }

    /// How well the copy is.
    pub fn health(&self, now: u64) -> Health {
        let whole = self.expires.saturating_sub(self.checked);
        let over = now.saturating_sub(self.checked);
        match self.timers {
            None => Health::Expired,
            Some(_) if now >= self.expires => Health::Expired,
            Some(_) if self.failures == 0 => Health::Good,
            Some(_) if over.saturating_mul(8) >= whole.saturating_mul(7) => Health::NearlyGone,
            Some(_) if over.saturating_mul(2) >= whole => Health::HalfGone,
            Some(_) => Health::Late,
        }
    }

    /// How long to wait for the next question, up to a tenth less by `chance`, so that many zones do not ask at once; never
    /// beyond the end of the copy.
    pub fn wait(&self, now: u64, chance: u8) -> Duration {
        let Some(timers) = self.timers else {
            let doubled = LEAST_WAIT << self.failures.saturating_sub(1).min(6);
            return seconds(u64::from(if self.failures == 0 { 0 } else { doubled.min(MOST_FIRST_WAIT) }));
        };
        let earlier = |wait: u32| u64::from(wait) - u64::from(wait) * u64::from(chance) / 2550;
        let wait = match self.failures {
            // A clock that was set back must not make it later than from now.
            0 => (self.checked.min(now) + earlier(timers.refresh)).saturating_sub(now),
            _ => earlier(timers.retry),
        };
        let end = self.expires.saturating_sub(now);
        seconds(if end > 0 { wait.min(end) } else { wait })
    }
}

/// When copies end, in Unix seconds. They are confirmed more often than zones are loaded, so this is not part of a version.
#[derive(Debug, Default)]
pub struct Expiries(RwLock<HashMap<Name, u64>>);

impl Expiries {
    /// A copy ends then, or is there no longer.
    pub fn note(&self, apex: &Name, expires: Option<u64>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match expires {
            Some(expires) => drop(all.insert(apex.clone(), expires)),
            None => drop(all.remove(apex)),
        }
    }

    /// Seconds until the end of a copy.
    pub fn left(&self, apex: &Name, now: u64) -> Option<u32> {
        let expires = *self.0.read().unwrap_or_else(PoisonError::into_inner).get(apex)?;
        Some(u32::try_from(expires.saturating_sub(now)).unwrap_or(u32::MAX))
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: Timers = Timers { refresh: 1000, retry: 100, expire: 8000 };
    const NOW: u64 = 1_764_390_000;

    #[test]
    fn the_times_of_a_soa_are_held_within_bounds() {
        for (numbers, expected) in [
            ([1, 3600, 600, 86400, 60], (3600, 600, 86400)),
            ([1, 0, 0, 0, 60], (5, 5, 10)),
            ([1, u32::MAX, u32::MAX, u32::MAX, 60], (86400, 86400, u32::MAX)),
            ([1, 3600, 600, 60, 60], (3600, 600, 4200)),
        ] {
            let soa = [b"\0\0".as_slice(), &numbers.map(u32::to_be_bytes).concat()].concat();
            let timers = Timers::of(&soa).unwrap();
            assert_eq!((timers.refresh, timers.retry, timers.expire), expected, "{numbers:?}");
        }
        assert_eq!(Timers::of(&[0; 19]), None);
    }

    #[test]
    fn a_copy_ends_by_its_soa_or_with_that_of_its_primary_and_tells_long_before() {
        let copy = Upkeep::confirmed(TIMERS, NOW, None);
        let late = copy.failed();
        for (upkeep, after, expected) in [
            (copy, 0, Health::Good),
            (copy, 7999, Health::Good),
            (copy, 8000, Health::Expired),
            (late, 0, Health::Late),
            (late, 3999, Health::Late),
            (late, 4000, Health::HalfGone),
            (late, 7000, Health::NearlyGone),
            (late, 8000, Health::Expired),
            (Upkeep::confirmed(TIMERS, NOW, Some(50)), 50, Health::Expired),
            (Upkeep::confirmed(TIMERS, NOW, Some(9000)), 7999, Health::Good),
            (copy.confirmed_again(TIMERS, NOW + 1, Some(50)), 7999, Health::Good),
            (copy.confirmed_again(TIMERS, NOW + 1, Some(50)), 8000, Health::Expired),
            (copy.confirmed_again(TIMERS, NOW + 1, Some(9000)), 8000, Health::Good),
            (copy.confirmed_again(TIMERS, NOW + 1, None), 8001, Health::Expired),
            // The clock was set back.
            (copy.confirmed_again(TIMERS, NOW - 5000, Some(50)), 2999, Health::Good),
            (copy.confirmed_again(TIMERS, NOW - 5000, Some(50)), 3000, Health::Expired),
            (Upkeep::default().confirmed_again(TIMERS, NOW, Some(50)), 50, Health::Expired),
            (Upkeep::default(), 0, Health::Expired),
        ] {
            assert_eq!(upkeep.health(NOW + after), expected, "{upkeep:?} {after}");
        }
    }

    #[test]
    fn the_end_of_a_copy_is_written_down_once_a_minute_and_never_too_late() {
        let confirmed = |expire, after| Upkeep::confirmed(Timers { expire, ..TIMERS }, NOW + after, None);
        let ends = |expires| Upkeep { expires, ..confirmed(8000, 0) };
        for (case, noted, upkeep, expected) in [
            ("the same", confirmed(8000, 0), confirmed(8000, 0), true),
            ("soon after", confirmed(8000, 0), confirmed(8000, 59), true),
            ("a minute after", confirmed(8000, 0), confirmed(8000, 60), false),
            ("the clock was set back", confirmed(8000, 9), confirmed(8000, 8), false),
            ("it ends sooner", ends(NOW + 8000), ends(NOW + 7999), false),
            ("it ends a little later", ends(NOW + 8000), ends(NOW + 8060), true),
            ("it ends much later", ends(NOW + 8000), ends(NOW + 8061), false),
            ("half of a short time is left", confirmed(20, 0), confirmed(20, 10), true),
            ("less is left", confirmed(20, 0), confirmed(20, 11), false),
            ("the times of another version", confirmed(8000, 0), confirmed(8001, 0), false),
            ("there was no copy", Upkeep::default(), confirmed(8000, 0), false),
        ] {
            assert_eq!(upkeep.is_noted_by(&noted), expected, "{case}");
        }
    }

    #[test]
    fn questions_are_asked_by_the_soa_and_sooner_by_chance_and_at_the_end() {
        let copy = Upkeep::confirmed(TIMERS, NOW, None);
        for (upkeep, after, chance, expected) in [
            (copy, 0, 0, 1000),
            (copy, 0, 255, 900),
            (copy, 400, 0, 600),
            (copy, 5000, 0, 0),
            (copy.failed(), 1000, 0, 100),
            (copy.failed().failed(), 1000, 255, 90),
            (copy.failed(), 7990, 0, 10),
            (copy.failed(), 9000, 0, 100),
            (Upkeep::default(), 0, 0, 0),
            (Upkeep::default().failed(), 0, 9, 5),
            ((0..9).fold(Upkeep::default(), |it, _| it.failed()), 0, 9, 300),
        ] {
            assert_eq!(upkeep.wait(NOW + after, chance), seconds(expected), "{upkeep:?} {after} {chance}");
        }
        let set_back = copy.wait(NOW - 50_000, 0);
        assert_eq!(set_back, seconds(1000), "the clock was set back");
    }
}
