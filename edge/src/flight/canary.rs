//! A new group of origins that gets a share of a site's requests, and none once it does worse than the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::tally::Lately;
use crate::origin::Origins;
use crate::site::Site;
use crate::site::guard::{Counts, Mark};

/// The canary of a site or a route.
#[derive(Debug)]
pub struct Canary {
    /// Its origins.
    pub origins: Arc<Origins>,
    /// Of these origins: it stays theirs when other settings of the site change.
    record: Arc<Record>,
}

/// The outcomes of a canary, and the verdict.
#[derive(Debug, Default)]
struct Record {
    lately: Mutex<Lately<Compared>>,
    ended: AtomicBool,
    verdict: Mutex<Option<CanaryEnd>>,
}

/// The outcomes at a canary, and those at the others meanwhile.
#[derive(Debug, Default, Clone, Copy)]
pub struct Compared {
    /// Its own.
    pub seen: Counts,
    /// The others'.
    pub others: Counts,
}

/// Why a canary gets nothing any more.
#[derive(Debug, Clone, Copy)]
pub struct CanaryEnd {
    /// When.
    pub at: SystemTime,
    /// By what.
    pub compared: Compared,
}

/// Whether a canary can be held against the others: these have as many answers as count, or will not have them. They get
/// nothing beside a canary that gets all, and little beside one that gets nearly all.
fn is_time(Compared { seen, others }: Compared, mark: &Mark, share: u32) -> bool {
    let are_known = others.answers >= mark.least_answers;
    are_known || share >= 100 || seen.answers >= mark.least_answers.saturating_mul(LONGEST_WAIT)
}

/// A canary waits for the others until it has so many times the answers that count.
const LONGEST_WAIT: u32 = 5;

impl Canary {
    /// One that gets its share.
    pub fn new(origins: Origins) -> Self {
        Self { origins: Arc::new(origins), record: Arc::default() }
    }

    /// The canary of this site, or the same `before`. The record of these origins stays, whatever else changes.
    pub fn of(site: &Site, before: &[Arc<Self>], new: impl FnOnce() -> Option<Origins>) -> Option<Arc<Self>> {
        let group = site.canary.as_ref()?;
        let same = before.iter().find(|canary| canary.origins.are(&group.origins, site));
        if let Some(same) = same {
            return Some(Arc::clone(same));
        }
        let known = before.iter().find(|canary| canary.origins.are_at(&group.origins));
        let record = known.map(|canary| Arc::clone(&canary.record)).unwrap_or_default();
        Some(Arc::new(Self { record, ..Self::new(new()?) }))
    }

    /// Whether it gets a request; `chance` is below 1.
    pub fn takes(&self, site: &Site, chance: f64) -> bool {
        let share = site.canary.as_ref().map_or(0, |canary| canary.percent);
        !self.has_ended() && chance * 100.0 < f64::from(share)
    }

    /// Why it has ended, if it has.
    pub fn end(&self) -> Option<CanaryEnd> {
        *self.record.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.record.ended.load(Ordering::Relaxed)
    }

    /// The outcomes of its requests, lately, and of the others'.
    pub fn compared(&self) -> Compared {
        let [last, this] = self.lately().both();
        Compared { seen: last.seen.plus(this.seen), others: last.others.plus(this.others) }
    }

    /// A request that was sent elsewhere came out so.
    pub fn note_other(&self, is_error: bool) {
        if !self.has_ended() {
            self.lately().this().others.note(is_error);
        }
    }

    /// One of its requests came out so; ends it if it does worse than the others.
    pub fn note(&self, is_error: bool, mark: &Mark, site: &Site, now: SystemTime) {
        let share = site.canary.as_ref().map_or(0, |canary| canary.percent);
        {
            let mut lately = self.lately();
            // A time that says nothing by itself goes on.
            let says_something =
                |this: Compared| this.seen.answers >= mark.least_answers && is_time(this, mark, share);
            lately.turn(now, says_something);
            lately.this().seen.note(is_error);
        }
        let compared = self.compared();
        let Compared { seen, others } = compared;
        if !is_time(compared, mark, share) || !mark.is_passed(others, seen) {
            return;
        }
        if self.record.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        *self.record.verdict.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(CanaryEnd { at: now, compared });
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

    fn lately(&self) -> MutexGuard<'_, Lately<Compared>> {
        self.record.lately.lock().unwrap_or_else(PoisonError::into_inner)
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
                is_time(Compared { seen: counts(seen), others: counts(others) }, &mark, share),
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
