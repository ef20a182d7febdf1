//! The places of the admin listener. When all are taken, the oldest connection that has shown no token goes for a newcomer: idle
//! connections of others keep no operator and no health check out.
//!
//! Invariant: at most [`MOST`] answers are being made at once. A connection has its place until its answer is made, although its
//! client has gone, and goes for no other one meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// A scraper and a few people.
pub(super) const MOST: usize = 64;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    /// By number: the oldest first.
    holders: BTreeMap<u64, Holder>,
    next: u64,
}

#[derive(Debug, Default)]
struct Holder {
    /// It has shown a token.
    is_known: bool,
    /// Its answer is being made.
    is_busy: bool,
    evicted: CancellationToken,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    number: u64,
    evicted: CancellationToken,
}

impl Places {
    /// A place; none if all are those of connections that stay.
    pub(super) fn take(&self) -> Option<Place> {
        let mut taken = lock(&self.0);
        if taken.holders.len() >= MOST {
            let goes = |(_, holder): &(&u64, &Holder)| !holder.is_known && !holder.is_busy;
            let number = taken.holders.iter().find(goes).map(|(number, _)| *number)?;
            taken.holders.remove(&number).iter().for_each(|holder| holder.evicted.cancel());
        }
        let (number, holder) = (taken.next, Holder::default());
        let evicted = holder.evicted.clone();
        taken.next += 1;
        taken.holders.insert(number, holder);
        Some(Place { taken: Arc::clone(&self.0), number, evicted })
    }
}

impl Place {
    /// Its answer is being made from now on; it stays longer if it `is_known`. False: its place is another's by now.
    pub(super) fn begin(&self, is_known: bool) -> bool {
        let mut taken = lock(&self.taken);
        let holder = taken.holders.get_mut(&self.number);
        holder.map(|holder| (holder.is_busy, holder.is_known) = (true, is_known)).is_some()
    }

    /// Its answer is made.
    pub(super) fn done(&self) {
        lock(&self.taken).holders.get_mut(&self.number).into_iter().for_each(|holder| holder.is_busy = false);
    }

    /// Waits until the connection must go.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.taken).holders.remove(&self.number);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_that_has_shown_no_token_and_waits_for_no_answer() {
        let places = Places::default();
        let mut held: Vec<Place> = (0..MOST).map(|_| places.take().unwrap()).collect();
        assert!(held[0].begin(true) && held[1].begin(false));
        held[0].done();
        let gone = |place: &Place| place.evicted.is_cancelled();
        let newcomer = places.take().unwrap();
        assert!(!gone(&held[0]) && !gone(&held[1]) && gone(&held[2]) && !gone(&held[3]) && !gone(&newcomer));
        assert!(!held[2].begin(true), "its place is another's");
        held[1].done();
        held.push(newcomer);
        held.push(places.take().unwrap());
        assert!(gone(&held[1]) && !gone(&held[3]));
        let stays = held.iter().filter(|place| place.begin(false)).count();
        assert_eq!((stays, places.take().is_none()), (MOST, true));
        drop(held.pop());
        assert!(places.take().is_some());
        drop(held);
        assert!(lock(&places.0).holders.is_empty());
    }
}
