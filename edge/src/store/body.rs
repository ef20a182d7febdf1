//! A stored body, and who answers for its bytes: the store while it lists the body, the budget of fills when only
//! readers hold it any more.
//!
//! A slow client keeps what it reads in memory after the store has evicted, replaced or purged it. Those bytes are taken
//! from the budget, whether or not it has that much left; while it has not, nothing new is kept, so nothing else is
//! evicted, and the sum cannot grow.
//!
//! Invariant: what somebody reads is in the store's weight or in the budget, and never in both.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::memory::{Budget, Share};
use super::object::Object;

/// A body in pieces, in order. Versions of an object that differ in their heads share one.
pub struct Body {
    pieces: Box<[Bytes]>,
    budget: Arc<Budget>,
    holders: Mutex<Holders>,
}

#[derive(Debug, Default)]
struct Holders {
    /// Objects in the store that have this body.
    listings: usize,
    /// Clients that are being sent it.
    readers: usize,
    /// There as long as there are readers and no listing.
    share: Option<Share>,
}

impl Body {
    /// A body that the store does not list yet; `budget` answers for it when the store no longer does.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>, budget: &Arc<Budget>) -> Arc<Self> {
        let (pieces, budget) = (pieces.into(), Arc::clone(budget));
        Arc::new(Self { pieces, budget, holders: Mutex::default() })
    }

    /// Bytes in it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    pub(super) fn list(&self) {
        self.settle(|holders| holders.listings += 1);
    }

    pub(super) fn unlist(&self) {
        self.settle(|holders| holders.listings -= 1);
    }

    fn settle(&self, change: impl FnOnce(&mut Holders)) {
        let mut holders = self.lock();
        change(&mut holders);
        if holders.listings > 0 || holders.readers == 0 {
            holders.share = None;
        } else if holders.share.is_none() {
            holders.share = Some(self.budget.owe(self.bytes()));
        }
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Body {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        &self.pieces
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("bytes", &self.bytes()).field("holders", &self.lock()).finish()
    }
}

/// An object whose body somebody needs, wherever it is kept.
#[derive(Debug)]
pub struct Reading(Arc<Object>);

impl Reading {
    /// From now on.
    #[must_use]
    pub fn new(object: Arc<Object>) -> Self {
        object.body.settle(|holders| holders.readers += 1);
        Self(object)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.body.settle(|holders| holders.readers -= 1);
    }
}

impl Deref for Reading {
    type Target = Arc<Object>;

    fn deref(&self) -> &Arc<Object> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::{Cache, Eviction};
    use crate::key::{Key, KeyRules};
    use crate::policy::testing::{at, get, response};
    use crate::policy::{Admit, Entry, Rules, admit};
    use crate::store::{Mode, Scope, Store};

    const BYTES: u64 = 100_000;

    fn store() -> Store {
        Store::new(&Cache { memory_bytes: 1 << 20, eviction: Eviction::Lru, max_object_bytes: 1 << 20 })
    }

    fn key(path: usize) -> Key {
        let request = get(&[]);
        let uri = format!("http://a/{path}").parse().unwrap();
        crate::key::key(&crate::policy::RequestHead { uri, ..request }, &KeyRules::default())
    }

    /// Stores an object with this body.
    fn put(store: &Store, key: &Key, body: &Arc<Body>) -> Arc<Object> {
        let head = response(200, &[("cache-control", "max-age=1000")]);
        let asked = get(&[]);
        let Admit::Keep(lifetime) = admit(&asked, &head, at(0), &Rules::default(), at(0)) else { panic!() };
        let entry = Entry::new(&asked, &head, lifetime, at(0), at(0), Some(BYTES));
        let ticket = store.begin();
        let object = Arc::new(Object { entry, body: Arc::clone(body), site: 0, epoch: ticket.epoch() });
        store.put(key, Arc::clone(&object), None, &ticket);
        object
    }

    fn body(store: &Store) -> Arc<Body> {
        Body::new(vec![vec![0; BYTES as usize].into()], store.fills())
    }

    #[test]
    fn a_body_counts_from_when_the_store_drops_it_till_its_last_reader_goes() {
        type Drops<'a> = &'a dyn Fn(&Store, &Arc<Object>);
        let ways: [(&str, Drops<'_>); 7] = [
            ("forgotten", &|store, object| store.forget(&key(0), object)),
            ("replaced", &|store, _| drop(put(store, &key(0), &body(store)))),
            ("purged", &|store, _| {
                store.purge(&Scope::Key(key(0)), Mode::Hard, UNIX_EPOCH);
            }),
            ("purged with others", &|store, _| {
                store.purge(&Scope::Prefix("http://a/".into()), Mode::Hard, UNIX_EPOCH);
                assert!(store.get(&key(0), 0).is_empty());
            }),
            ("purged with all", &|store, _| {
                store.purge(&Scope::All, Mode::Hard, UNIX_EPOCH);
                assert!(!store.holds(&key(0)));
            }),
            ("superseded", &|store, object| {
                let (ticket, headers) = (store.begin(), &object.entry.head.headers);
                let _ = store.supersede(&ticket, &Scope::Key(key(0)), &key(0), 0, headers, UNIX_EPOCH);
            }),
            ("evicted", &|store, _| {
                for path in 1..50 {
                    put(store, &key(path), &body(store));
                }
                assert!(!store.holds(&key(0)));
            }),
        ];
        for (way, drops) in ways {
            let store = store();
            let taken = || store.fills().taken_bytes();
            let object = put(&store, &key(0), &body(&store));
            let readers = [Reading::new(Arc::clone(&object)), Reading::new(Arc::clone(&object))];
            assert_eq!(taken(), 0, "{way}: stored");
            drops(&store, &object);
            assert_eq!(taken(), BYTES, "{way}: read though not stored");
            let [one, two] = readers;
            drop(one);
            assert_eq!(taken(), BYTES, "{way}: one reader is left");
            drop(two);
            assert_eq!(taken(), 0, "{way}: nobody reads it");
            let late = Reading::new(object);
            assert_eq!(taken(), BYTES, "{way}: read again though not stored");
            drop(late);
            assert_eq!(taken(), 0, "{way}");
        }
    }

    #[test]
    fn a_body_that_stays_under_a_new_head_does_not_count() {
        let store = store();
        let taken = || store.fills().taken_bytes();
        let body = body(&store);
        let first = put(&store, &key(0), &body);
        let reader = Reading::new(first);
        let second = put(&store, &key(0), &body);
        assert_eq!(taken(), 0, "confirmed");
        store.purge(&Scope::Key(key(0)), Mode::Soft, UNIX_EPOCH);
        assert_eq!(taken(), 0, "stale");
        store.forget(&key(0), &store.get(&key(0), 0)[0]);
        assert_eq!(taken(), BYTES);
        put(&store, &key(0), &body);
        assert_eq!(taken(), 0, "stored again");
        drop((reader, second));
        assert_eq!(taken(), 0);
    }
}
