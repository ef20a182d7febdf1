//! A new group of origins that gets a share of a site's requests, and none once it does worse than the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::tally::Tally;
use crate::origin::Origins;
use crate::site::Site;
use crate::site::guard::{Counts, Mark};

/// The canary of a site or a route.
#[derive(Debug)]
pub struct Canary {
    /// Its origins.
    pub origins: Origins,
    tally: Tally,
    ended: AtomicBool,
    verdict: Mutex<Option<CanaryEnd>>,
}

/// Why a canary gets nothing any more.
#[derive(Debug, Clone, Copy)]
pub struct CanaryEnd {
    /// When.
    pub at: SystemTime,
    /// Its own outcomes.
    pub seen: Counts,
    /// The others' outcomes meanwhile.
    pub others: Counts,
}

/// Whether a canary can be held against the others: these have as many answers as count, or will not have them. They get
/// nothing beside a canary that gets all, and little beside one that gets nearly all.
fn is_time(seen: Counts, others: Counts, mark: &Mark, share: u32) -> bool {
    let are_known = others.answers >= mark.least_answers;
    are_known || share >= 100 || seen.answers >= mark.least_answers.saturating_mul(LONGEST_WAIT)
}

/// A canary waits for the others until it has so many times the answers that count.
const LONGEST_WAIT: u32 = 5;

impl Canary {
    /// One that gets its share.
    pub fn new(origins: Origins) -> Self {
        Self { origins, tally: Tally::default(), ended: AtomicBool::new(false), verdict: Mutex::default() }
    }

    /// The canary of this site, or the same `before`: what is known of that stays.
    pub fn of(site: &Site, before: &[Arc<Self>], new: impl FnOnce() -> Option<Origins>) -> Option<Arc<Self>> {
        let group = site.canary.as_ref()?;
        let known = before.iter().find(|canary| canary.origins.are(&group.origins, site));
        known.map(Arc::clone).or_else(|| Some(Arc::new(Self::new(new()?))))
    }

    /// Whether it gets a request; `chance` is below 1.
    pub fn takes(&self, site: &Site, chance: f64) -> bool {
        let share = site.canary.as_ref().map_or(0, |canary| canary.percent);
        !self.ended.load(Ordering::Relaxed) && chance * 100.0 < f64::from(share)
    }

    /// Why it has ended, if it has.
    pub fn end(&self) -> Option<CanaryEnd> {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcomes of its requests, lately.
    pub fn counts(&self, now: SystemTime) -> Counts {
        self.tally.counts(now)
    }

    /// One of its requests came out so; ends it if it does worse than the `others`.
    pub fn note(&self, is_error: bool, mark: &Mark, others: Counts, site: &Site, now: SystemTime) {
        self.tally.note(is_error, now);
        let seen = self.tally.counts(now);
        let share = site.canary.as_ref().map_or(0, |canary| canary.percent);
        if !is_time(seen, others, mark, share) || !mark.is_passed(others, seen) {
            return;
        }
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(CanaryEnd { at: now, seen, others });
        let route = site.route.as_ref().map(|route| route.name.as_str());
        tracing::error!(
            target: "verge_edge::guard",
            site = site.name.as_str(),
            route,
            answers = seen.answers,
            errors = seen.errors,
            percent = seen.percent(),
            others_percent = others.percent(),
            "the canary gets no more requests: its origins fail (docs/origins.md, \"Changes that go wrong\")"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_judged_when_the_others_are_known_or_will_not_be() {
        let mark = Mark { least_answers: 20, ..Mark::default() };
        let check = |seen: u32, others: u32, share: u32, expected: bool| {
            let counts = |answers| Counts { answers, errors: 0 };
            assert_eq!(
                is_time(counts(seen), counts(others), &mark, share),
                expected,
                "{seen} {others} {share}"
            );
        };
        check(20, 20, 5, true);
        check(20, 19, 5, false);
        check(99, 0, 99, false);
        check(100, 0, 99, true);
        check(20, 0, 100, true);
    }
}
