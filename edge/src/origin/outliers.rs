//! Which origin of a site does so much worse than the others that it gets nothing for a while. Pure.

use std::time::{Duration, SystemTime};

use crate::site::origin::Outliers;

/// The answers of an origin since the last look, and the requests that it took and did not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) answers: u32,
    /// Of them, 5xx and those without an answer.
    pub(super) errors: u32,
    /// Until the head came or nobody waited any more, of all together.
    pub(super) waited: Duration,
}

/// Why one is an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Too many errors.
    Errors,
    /// Too slow.
    Slow,
}

impl Why {
    /// A word for logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Slow => "slow",
        }
    }
}

/// Looks are so far apart.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Fewer answers say nothing.
const LEAST_ANSWERS: u32 = 10;
/// An error that all make is the site's and not the origin's: the share must be as many times that of the others.
const CLEAR_DIFFERENCE: f64 = 2.0;
/// An origin that is faster is not slow.
const LEAST_WAIT: Duration = Duration::from_millis(50);

/// Whether a look is due, by when the last one was. A clock that was set back makes it due.
pub(super) fn is_due(last: SystemTime, now: SystemTime) -> bool {
    now.duration_since(last).map_or(true, |since| since >= WINDOW)
}

/// The worst of those that are up, by its place, if it is to be ejected. `all` has what each did, or none for those that are
/// out already, and never more than half of all are out.
pub(super) fn worst(all: &[Option<Seen>], rules: &Outliers) -> Option<(usize, Why)> {
    let out = all.iter().filter(|seen| seen.is_none()).count();
    if (out + 1) * 2 > all.len() {
        return None;
    }
    let places = || all.iter().enumerate().filter_map(|(place, seen)| Some((place, (*seen)?)));
    let judged = places().filter_map(|(place, seen)| {
        let others =
            places().filter(|(other, _)| *other != place).fold(Seen::default(), |sum, (_, one)| Seen {
                answers: sum.answers.saturating_add(one.answers),
                errors: sum.errors.saturating_add(one.errors),
                waited: sum.waited.saturating_add(one.waited),
            });
        let (badness, why) = judge(seen, others, rules)?;
        Some((badness, place, why))
    });
    let worst = judged.max_by(|(one, ..), (other, ..)| one.total_cmp(other))?;
    Some((worst.1, worst.2))
}

/// How bad it is against the others, if it is an outlier.
fn judge(seen: Seen, others: Seen, rules: &Outliers) -> Option<(f64, Why)> {
    if seen.answers < LEAST_ANSWERS || others.answers < LEAST_ANSWERS {
        return None;
    }
    let share = |seen: Seen| f64::from(seen.errors) / f64::from(seen.answers);
    let bound = f64::from(rules.errors_percent) / 100.0;
    if bound > 0.0 && share(seen) >= bound && share(seen) >= CLEAR_DIFFERENCE * share(others) {
        return Some((1.0 + share(seen), Why::Errors));
    }
    let wait = |seen: Seen| seen.waited / seen.answers;
    let times = wait(seen).div_duration_f64(wait(others).max(Duration::from_micros(1)));
    let is_slow = rules.slow_times > 0 && wait(seen) >= LEAST_WAIT && times >= f64::from(rules.slow_times);
    is_slow.then(|| (times / (times + 1.0), Why::Slow))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Outliers = Outliers { errors_percent: 50, slow_times: 5 };

    fn seen(answers: u32, errors: u32, wait_ms: u64) -> Option<Seen> {
        Some(Seen { answers, errors, waited: Duration::from_millis(wait_ms) * answers })
    }

    fn check(all: &[Option<Seen>], expected: Option<(usize, Why)>) {
        assert_eq!(worst(all, &RULES), expected, "{all:?}");
    }

    #[test]
    fn the_worst_is_ejected_if_it_is_clearly_worse_than_the_others() {
        let good = seen(100, 1, 20);
        check(&[good, seen(100, 60, 20), good], Some((1, Why::Errors)));
        check(&[seen(100, 60, 20), seen(100, 90, 20), good, good], Some((1, Why::Errors)));
        check(&[good, good, seen(100, 0, 120)], Some((2, Why::Slow)));
        check(&[seen(100, 0, 500), seen(100, 60, 20), good, good], Some((1, Why::Errors)));
        // All make the error, few answers, nothing clear, faster than anybody minds.
        check(&[seen(100, 60, 20), seen(100, 50, 20)], None);
        check(&[good, seen(9, 9, 20)], None);
        check(&[seen(5, 0, 20), seen(100, 100, 20)], None);
        check(&[good, seen(100, 49, 20)], None);
        check(&[seen(100, 0, 1), seen(100, 0, 40)], None);
    }

    #[test]
    fn never_more_than_half_are_out() {
        let (good, bad) = (seen(100, 0, 20), seen(100, 100, 20));
        check(&[good, bad], Some((1, Why::Errors)));
        check(&[good, bad, None], None);
        check(&[good, bad, good, None], Some((1, Why::Errors)));
        check(&[good, None, bad, None], None);
        check(&[bad], None);
    }

    #[test]
    fn nothing_is_ejected_where_the_rules_are_off() {
        let all = [seen(100, 0, 20), seen(100, 100, 900)];
        assert_eq!(worst(&all, &Outliers::default()), None);
    }

    #[test]
    fn a_look_is_due_after_its_time_and_when_the_clock_was_set_back() {
        let at = |secs: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(100 + secs);
        assert!(!is_due(at(0), at(9)) && is_due(at(0), at(10)) && is_due(at(5), at(0)));
    }
}
