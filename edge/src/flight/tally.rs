//! The outcomes of requests that a part of a site sent to its origins.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::site::guard::Counts;

/// Counts of one part of a site, since its config was taken in.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Outcomes>);

#[derive(Debug, Default)]
struct Outcomes {
    /// As they were known of the same part when the config before ended.
    before: Counts,
    lately: Lately<Counts>,
    all: Counts,
}

/// Counts of the last one to two minutes; of a longer time where these are too few to say anything.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lately<C> {
    began: Option<SystemTime>,
    last: C,
    this: C,
}

const MINUTE: Duration = Duration::from_secs(60);
/// Five times what `answers` is without being written: a slow site is known by as many, however long they take.
const ENOUGH: u32 = 100;

impl Tally {
    /// Of a part that had the tally `before` under the config before.
    pub fn after(before: Option<&Self>) -> Self {
        let before = before.map(Self::known).unwrap_or_default();
        Self(Mutex::new(Outcomes { before, ..Outcomes::default() }))
    }

    /// One more.
    pub fn note(&self, is_error: bool, now: SystemTime) {
        let mut outcomes = self.lock();
        outcomes.lately.turn(now, |this| this.answers >= ENOUGH);
        outcomes.lately.this().note(is_error);
        outcomes.all.note(is_error);
    }

    /// The last ones, also of before its config where that has few.
    pub fn known(&self) -> Counts {
        let outcomes = self.lock();
        let [last, this] = outcomes.lately.both();
        let lately = last.plus(this);
        if lately.answers >= ENOUGH { lately } else { lately.plus(outcomes.before) }
    }

    /// Its config is taken back: what came under it says nothing of the next one.
    pub fn forget(&self) {
        let mut outcomes = self.lock();
        *outcomes = Outcomes { before: outcomes.before, ..Outcomes::default() };
    }

    /// All since its config was taken in, and the last ones of these.
    pub fn since(&self) -> [Counts; 2] {
        let outcomes = self.lock();
        let [last, this] = outcomes.lately.both();
        [outcomes.all, last.plus(this)]
    }

    fn lock(&self) -> MutexGuard<'_, Outcomes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Copy + Default> Lately<C> {
    /// Leaves the minute before behind if this one is over and has enough. A clock that was set back ends it, too.
    pub(super) fn turn(&mut self, now: SystemTime, is_enough: impl FnOnce(C) -> bool) {
        let began = *self.began.get_or_insert(now);
        let is_over = now.duration_since(began).map_or(true, |passed| passed >= MINUTE);
        if is_over && is_enough(self.this) {
            *self = Self { began: Some(now), last: self.this, this: C::default() };
        }
    }

    /// The counts of now.
    pub(super) fn this(&mut self) -> &mut C {
        &mut self.this
    }

    /// Those of the minute before, and those of now.
    pub(super) fn both(&self) -> [C; 2] {
        [self.last, self.this]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + secs)
    }

    fn counts(answers: u32, errors: u32) -> Counts {
        Counts { answers, errors }
    }

    #[test]
    fn what_is_older_than_two_minutes_counts_no_more_where_enough_came_since() {
        let tally = Tally::default();
        let note = |count: u32, is_error, secs| (0..count).for_each(|_| tally.note(is_error, at(secs)));
        note(100, true, 0);
        note(100, false, 61);
        assert_eq!(tally.known(), counts(200, 100));
        note(1, false, 122);
        assert_eq!(tally.known(), counts(101, 0));
        assert_eq!(tally.since(), [counts(201, 100), counts(101, 0)]);
        // A clock that was set back ends the minute, too.
        note(100, true, 0);
        assert_eq!(tally.known(), counts(101, 100));
    }

    #[test]
    fn few_answers_count_however_long_they_take() {
        let tally = Tally::default();
        for minute in 0..30 {
            tally.note(true, at(minute * 60));
        }
        assert_eq!((tally.known(), tally.since()), (counts(30, 30), [counts(30, 30); 2]));
    }

    #[test]
    fn a_config_knows_what_came_under_the_one_before_until_it_has_enough_itself() {
        let old = Tally::default();
        (0..30).for_each(|_| old.note(true, at(0)));
        let tally = Tally::after(Some(&old));
        tally.note(false, at(1));
        assert_eq!((tally.known(), tally.since()), (counts(31, 30), [counts(1, 0); 2]));
        (0..99).for_each(|_| tally.note(false, at(2)));
        assert_eq!(tally.known(), counts(100, 0));
        tally.forget();
        assert_eq!((tally.known(), tally.since()), (counts(30, 30), [counts(0, 0); 2]));
    }
}
