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
        if !mark.is_passed(others, seen) || self.ended.swap(true, Ordering::Relaxed) {
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
