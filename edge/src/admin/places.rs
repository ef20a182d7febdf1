//! The places of the admin listener. A connection that has not shown the token goes for a newcomer when all are taken, the
//! oldest first: idle connections of others keep no operator and no health check out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Operators and scrapers.
const MOST: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<Taken>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// By number: the oldest first.
    places: BTreeMap<u64, Holder>,
    next: u64,
}

#[derive(Debug, Clone, Default)]
struct Holder {
    is_trusted: Arc<AtomicBool>,
    evicted: CancellationToken,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    number: u64,
    holder: Holder,
}

impl Places {
    /// A place; the oldest connection without the token goes for it if all are taken. Waits only if all have shown it.
    pub(super) async fn take(&self) -> Place {
        loop {
            let left = self.0.left.notified();
            if let Some(place) = self.try_take() {
                return place;
            }
            left.await;
        }
    }

    fn try_take(&self) -> Option<Place> {
        let mut taken = self.0.lock();
        if taken.places.len() >= MOST {
            let is_stranger = |(_, holder): &(&u64, &Holder)| !holder.is_trusted.load(Ordering::Relaxed);
            let number = taken.places.iter().find(is_stranger).map(|(number, _)| *number)?;
            if let Some(holder) = taken.places.remove(&number) {
                holder.evicted.cancel();
            }
        }
        let (number, holder) = (taken.next, Holder::default());
        taken.next += 1;
        taken.places.insert(number, holder.clone());
        Some(Place { shared: Arc::clone(&self.0), number, holder })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has shown the token.
    pub(super) fn trust(&self) {
        self.holder.is_trusted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.holder.is_trusted.load(Ordering::Relaxed)
    }

    /// Waits until the connection must go.
    pub(super) async fn evicted(&self) {
        self.holder.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().places.remove(&self.number);
        self.shared.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_stranger_goes_and_those_with_the_token_stay() {
        let places = Places::default();
        let mut held = Vec::new();
        for _ in 0..MOST {
            held.push(places.take().await);
        }
        held[0].trust();
        let newcomer = places.take().await;
        let gone = |place: &Place| place.holder.evicted.is_cancelled();
        assert!(!gone(&held[0]) && gone(&held[1]) && !gone(&held[2]) && !gone(&newcomer));
        held.iter().chain([&newcomer]).for_each(Place::trust);
        assert!(places.try_take().is_none());
        drop(held.remove(5));
        assert!(places.try_take().is_some());
        drop((held, newcomer));
        assert!(places.0.lock().places.is_empty());
    }
}
