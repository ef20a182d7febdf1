//! How an origin stands, shared by the requests to it, and how that came about.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::standing::{Standing, Stands};

#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    standing: Standing,
    /// As the config has it.
    drained: bool,
    /// As the operator switched it, if so.
    switched: Option<bool>,
    /// The last change led there.
    told: Option<Stands>,
    /// The newest last.
    changes: VecDeque<Change>,
    /// The checks of configs in service that it is under, by their numbers: one for each group of origins that it is in.
    checks: Vec<u64>,
    /// The checks that have begun so far.
    checks_begun: u64,
}

/// It stands in another way than before.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) at: SystemTime,
    pub(super) to: Stands,
    pub(super) why: String,
}

/// Enough to see that it comes and goes.
const MOST_CHANGES: usize = 16;

impl Health {
    /// All that is known of it.
    pub(super) fn standing(&self) -> Standing {
        self.lock().standing
    }

    /// See [`Standing::take`].
    pub(super) fn take(&self, now: SystemTime) -> bool {
        self.lock().standing.take(now)
    }

    /// See [`Standing::take_as_last`].
    pub(super) fn take_as_last(&self, is_panic: bool, now: SystemTime) -> bool {
        self.lock().standing.take_as_last(is_panic, now)
    }

    /// See [`Standing::renew`].
    pub(super) fn renew(&self, now: SystemTime) {
        self.lock().standing.renew(now);
    }

    /// Something happened to it. How it stands now, if that is another way than before.
    pub(super) fn note(
        &self,
        why: impl FnOnce() -> String,
        now: SystemTime,
        event: impl FnOnce(&mut Standing),
    ) -> Option<Change> {
        self.lock().note(why, now, event)
    }

    /// The operator takes it out or puts it back, or leaves that to the config.
    pub(super) fn switch(&self, drained: Option<bool>, now: SystemTime) -> Option<Change> {
        let mut known = self.lock();
        known.switched = drained;
        known.settle("by the operator", now)
    }

    /// The config takes it out, or does not; and has it checked, or does not. Checks that are still running count on.
    pub(super) fn configure(&self, drained: bool, is_checked: bool, now: SystemTime) -> Option<Change> {
        let mut known = self.lock();
        known.drained = drained;
        if !is_checked && known.checks.is_empty() {
            known.standing.end_checks(now);
        }
        let why = if known.switched.is_some() { "by the operator" } else { "by the config" };
        known.settle(why, now)
    }

    /// It is under one more check, which has this number.
    pub(super) fn begin_checks(&self) -> u64 {
        let mut known = self.lock();
        known.checks_begun += 1;
        let number = known.checks_begun;
        known.checks.push(number);
        number
    }

    /// It is no longer under the check of this number, whose outcomes count no more.
    pub(super) fn leave_checks(&self, number: u64) {
        self.lock().checks.retain(|one| *one != number);
    }

    /// The check of this number came to an outcome. As with [`Self::note`], where it is still under that check.
    pub(super) fn checked(
        &self,
        number: u64,
        why: impl FnOnce() -> String,
        now: SystemTime,
        event: impl FnOnce(&mut Standing),
    ) -> Option<Change> {
        let mut known = self.lock();
        if !known.checks.contains(&number) {
            return None;
        }
        known.note(why, now, event)
    }

    /// Where it is under no check any more, none keeps it out.
    pub(super) fn settle_checks(&self, now: SystemTime) -> Option<Change> {
        let mut known = self.lock();
        if !known.checks.is_empty() {
            return None;
        }
        let before = known.standing.stands(now);
        known.standing.end_checks(now);
        if known.standing.stands(now) == before {
            return None;
        }
        known.note(|| "by the config".to_owned(), now, |_| ())
    }

    /// Of an origin that is asked in another way than this one, at the same server: it begins with what is known of this one,
    /// and neither changes the other. It is under no check yet.
    pub(super) fn copied(other: &Self) -> Self {
        let other = other.lock();
        let Known { standing, drained, switched, told, .. } = *other;
        let changes = other.changes.clone();
        Self(Mutex::new(Known { standing, drained, switched, told, changes, ..Known::default() }))
    }

    /// Of an origin that nothing is known of but how the operator has switched this one, which was in its place.
    pub(super) fn switched_as(other: &Self) -> Self {
        Self(Mutex::new(Known { switched: other.lock().switched, ..Known::default() }))
    }

    /// The last changes, the newest first.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.lock().changes.iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn settle(&mut self, why: &str, now: SystemTime) -> Option<Change> {
        let drained = self.switched.unwrap_or(self.drained);
        self.note(|| why.to_owned(), now, |standing| standing.drain(drained, now))
    }

    fn note(
        &mut self,
        why: impl FnOnce() -> String,
        now: SystemTime,
        event: impl FnOnce(&mut Standing),
    ) -> Option<Change> {
        event(&mut self.standing);
        let to = self.standing.stands(now);
        // An ejection ends by itself, which the next event finds out.
        if to.as_str() == self.told.unwrap_or(Stands::Up).as_str() {
            return None;
        }
        self.told = Some(to);
        let change = Change { at: now, to, why: why() };
        if self.changes.len() == MOST_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(change.clone());
        Some(change)
    }
}
