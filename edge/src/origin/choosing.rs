//! The origin of the next request, by how each stands and by the balance; and the wait for one.

use std::sync::PoisonError;
use std::time::SystemTime;

use super::balance::{self, Choice};
use super::in_flight::InFlight;
use super::outliers::{self, Seen};
use super::standing::Stands;
use super::{Failure, Origins, ProxyError, Slot, Unanswered, Wish, is_over};
use crate::clock::monotonic;
use crate::course::{Course, Event};
use crate::metrics::Limit;
use crate::site::Balance;

impl Origins {
    /// The next one that gets the request, which counts there from now on. Where all that could have it are at what they may
    /// have, it waits.
    ///
    /// # Errors
    /// When there is none, or none in time; `last` if one was tried before. None is begun with after the time of the wish.
    pub(super) async fn next(
        &self,
        tried: &mut Vec<usize>,
        wish: Wish,
        last: Option<Unanswered>,
        course: &Course,
    ) -> Result<(usize, InFlight), Unanswered> {
        let mut waits = None;
        let deadline = monotonic() + self.sharing.queue_limit;
        let deadline = wish.until.map_or(deadline, |until| until.min(deadline));
        loop {
            if is_over(wish.until) {
                let late = Unanswered { failure: Failure::Timeout, error: ProxyError::HttpResponseTimeout };
                return Err(last.unwrap_or(late));
            }
            if let Some(index) = self.pick(tried, wish) {
                match self.all[index].member.begin(self.most(), &self.queue) {
                    Some(in_flight) => {
                        tried.push(index);
                        return Ok((index, in_flight));
                    }
                    // Another request was faster.
                    None => continue,
                }
            }
            if let Some(last) = last {
                return Err(last);
            }
            if !self.is_full() {
                return Err(unavailable(ProxyError::DestinationUnavailable));
            }
            let waiting = waits.take().or_else(|| self.queue.enter(self.sharing.queue));
            let Some(waiting) = waiting.filter(|_| monotonic() < deadline) else {
                self.metrics.limit_reached(Limit::OriginRequests);
                return Err(unavailable(ProxyError::ConnectionLimitReached));
            };
            course.note(Event::Queued);
            let _ = tokio::time::timeout_at(deadline, waiting.wait()).await;
            waits = Some(waiting);
        }
    }

    /// Requests that an origin may have at once.
    pub(super) fn most(&self) -> u32 {
        if self.sharing.most_requests == 0 { u32::MAX } else { self.sharing.most_requests }
    }

    /// Whether one that is up has all that it may have.
    fn is_full(&self) -> bool {
        let now = self.clock.now();
        let is_up = |slot: &&Slot| slot.member.health.standing().stands(now) == Stands::Up;
        self.all.iter().filter(is_up).any(|slot| slot.member.in_flight() >= self.most())
    }

    /// One that is up and was not tried: a backup if no other is. If all are down, the first try may ask one of them.
    pub(super) fn pick(&self, tried: &[usize], wish: Wish) -> Option<usize> {
        let now = self.clock.now();
        let may = |slot: &&Slot| {
            slot.member.health.standing().stands(now) == Stands::Up && slot.member.in_flight() < self.most()
        };
        let is_avoided = |index: &usize| wish.avoid == Some(self.all[*index].member.id);
        let is_other = |index: usize| !is_avoided(&index) && !tried.contains(&index);
        let has_other = || self.all.iter().enumerate().any(|(index, slot)| is_other(index) && may(&slot));
        let avoided = (0..self.all.len()).filter(|index| is_avoided(index) && has_other());
        let barred: Vec<usize> = tried.iter().copied().chain(avoided).collect();
        let tried = barred.as_slice();
        let known = wish.before.filter(|before| !tried.contains(before));
        if let Some(known) = known.filter(|known| self.all.get(*known).filter(may).is_some()) {
            return Some(known);
        }
        let place = wish.place;
        let panic = self.panic(now);
        // Where none is up, there is none to spare the load of all: they are down like any others.
        if panic.is_some_and(|up| up > 0) {
            let usable = |slot: &Slot| slot.member.health.standing().stands(now) != Stands::Drained;
            let all = self.choices(tried, now, |slot| !slot.address.backup && usable(slot));
            if let Some(chosen) = self.choose(&all, place) {
                return Some(chosen);
            }
        }
        let mut barred = tried.to_vec();
        let open = |barred: &[usize], backup: bool| {
            let is_open = |slot: &Slot| {
                matches!(slot.member.health.standing().stands(now), Stands::Up | Stands::OnTrial)
            };
            self.choices(barred, now, |slot| slot.address.backup == backup && is_open(slot))
        };
        let choose = |choices: &[Choice]| self.choose(choices, place);
        while let Some(chosen) = choose(&open(&barred, false)).or_else(|| choose(&open(&barred, true))) {
            if self.all[chosen].member.health.take(now) {
                return Some(chosen);
            }
            // Another request tries whether it is back.
            barred.push(chosen);
        }
        if self.sharing.has_others_behind {
            return None;
        }
        let mut barred = tried.to_vec();
        while let Some(chosen) = choose(&self.choices(&barred, now, |_| true)) {
            if self.all[chosen].member.health.take_as_last(panic.is_some(), now) {
                return Some(chosen);
            }
            barred.push(chosen);
        }
        None
    }

    /// The origins that are not barred and of which `may` says so.
    fn choices(&self, barred: &[usize], now: SystemTime, may: impl Fn(&Slot) -> bool) -> Vec<Choice> {
        let fresh = self.all.iter().enumerate().filter(|(index, slot)| !barred.contains(index) && may(slot));
        let fresh = fresh.filter(|(_, slot)| slot.member.in_flight() < self.most());
        fresh.map(|(index, slot)| slot.choice(index, self.sharing.slow_start, now)).collect()
    }

    /// How many are up, where these are so few that they would only be the next to go.
    fn panic(&self, now: SystemTime) -> Option<usize> {
        if self.sharing.panic_percent == 0 {
            return None;
        }
        let main = || self.all.iter().filter(|slot| !slot.address.backup);
        let is_up = |slot: &&Slot| slot.member.health.standing().stands(now) == Stands::Up;
        let up = main().filter(is_up).count();
        (up * 100 / main().count().max(1) < self.sharing.panic_percent as usize).then_some(up)
    }

    /// Takes out the origin that does clearly worse than the others, if it is time to look.
    pub(super) fn look(&self, now: SystemTime) {
        {
            let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
            if !outliers::is_due(*looked_at, now) {
                return;
            }
            *looked_at = now;
        }
        let main: Vec<&Slot> = self.all.iter().filter(|slot| !slot.address.backup).collect();
        let seen = |slot: &&Slot| {
            let seen = slot.member.seen();
            (slot.member.health.standing().stands(now) == Stands::Up).then_some(seen)
        };
        let seen: Vec<Option<Seen>> = main.iter().map(seen).collect();
        if let Some((place, why)) = outliers::worst(&seen, &self.sharing.outliers) {
            main[place].member.eject(why, now);
        }
    }

    fn choose(&self, choices: &[Choice], place: Option<u64>) -> Option<usize> {
        let chance = || rand::random::<f64>();
        match (self.sharing.balance, place) {
            (Balance::RoundRobin, _) => {
                self.turns.lock().unwrap_or_else(PoisonError::into_inner).next(choices)
            }
            (Balance::LeastLoaded, _) => balance::least_loaded(choices, [chance(), chance()]),
            (Balance::Hash, Some(place)) => balance::by_hash(choices, place),
            (Balance::Random, _) | (Balance::Hash, None) => balance::by_chance(choices, chance()),
        }
    }
}

fn unavailable(error: ProxyError) -> Unanswered {
    Unanswered { failure: Failure::Unreachable, error }
}
