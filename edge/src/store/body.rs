//! A stored body, and who answers for its bytes: the store while it lists the body, the budget of fills when only
//! readers hold it any more.
//!
//! A slow client keeps what it reads in memory after the store has evicted, replaced or purged it. Those bytes are taken
//! from the budget, whether or not it has that much left; while it has not, nothing new is kept, so nothing else is
//! evicted, and the sum cannot grow. They are offered: when the budget needs them the body is let go, and who still reads
//! it breaks off.
//!
//! Invariant: what somebody reads is in the store's weight or in the budget, and never in both.
//! Invariant: a body that is listed, or that a fetch needs, is not let go.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use super::block::allocated;
use super::in_file::{FileReader, InFile};
use super::memory::{Budget, LetGo, Share};

/// A body in pieces, in order. Versions of an object that differ in their heads share one.
pub struct Body {
    bytes: u64,
    /// The memory that its blocks take.
    allocated_bytes: u64,
    /// How many pieces it has.
    count: usize,
    /// The file that it lies in: then it has no pieces.
    filed: Option<Arc<dyn InFile>>,
    budget: Arc<Budget>,
    holders: Mutex<Holders>,
    me: Weak<Self>,
}

#[derive(Debug, Default)]
pub(super) struct Holders {
    /// None once it was let go.
    pieces: Option<Box<[Bytes]>>,
    /// Objects in the store that have this body.
    listings: usize,
    /// Clients that are being sent it.
    pub(super) readers: usize,
    /// Fetches that may need it.
    pub(super) fetches: usize,
    /// There as long as there are readers or fetches and no listing.
    share: Option<Share>,
}

/// The body was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Body {
    /// A body that the store does not list yet. Each piece is a block of its own ([`super::block::own_block`]): what
    /// else a piece keeps in memory is not weighed. `budget` answers for it when the store no longer does.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>, budget: &Arc<Budget>) -> Arc<Self> {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let allocated_bytes = pieces.iter().map(|piece| allocated(piece.len()) as u64).sum();
        let (count, budget) = (pieces.len(), Arc::clone(budget));
        let holders = Holders { pieces: Some(pieces.into()), ..Holders::default() };
        Arc::new_cyclic(|me| Self {
            bytes,
            allocated_bytes,
            count,
            filed: None,
            budget,
            holders: holders.into(),
            me: me.clone(),
        })
    }

    /// A body that lies in a file, all of it.
    #[must_use]
    pub fn filed(filed: Arc<dyn InFile>, budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            bytes: filed.bytes(),
            allocated_bytes: 0,
            count: 0,
            filed: Some(filed),
            budget: Arc::clone(budget),
            holders: Holders { pieces: Some([].into()), ..Holders::default() }.into(),
            me: me.clone(),
        })
    }

    /// The file that it lies in, if it does.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<dyn InFile>> {
        self.filed.as_ref()
    }

    /// A reader of the file that it lies in, if it does.
    #[must_use]
    pub fn reader(&self) -> Option<FileReader> {
        self.filed.as_ref().map(|filed| FileReader::new(filed, &self.budget))
    }

    /// Bytes in it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The memory that its blocks take, as the allocator rounds them.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes
    }

    /// Pieces in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Its piece of this number, from 0 on; none after the last.
    #[must_use]
    pub fn piece(&self, number: usize) -> Option<Result<Bytes, Gone>> {
        if number >= self.count {
            return None;
        }
        match &self.lock().pieces {
            None => Some(Err(Gone)),
            Some(pieces) => pieces.get(number).cloned().map(Ok),
        }
    }

    /// All its pieces; none once it was let go, or if it lies in a file.
    #[must_use]
    pub fn pieces(&self) -> Option<Vec<Bytes>> {
        if self.filed.is_some() {
            return None;
        }
        self.lock().pieces.as_deref().map(<[Bytes]>::to_vec)
    }

    /// Whether it was let go.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.lock().pieces.is_none()
    }

    pub(super) fn list(&self) {
        self.settle(|holders| holders.listings += 1);
    }

    pub(super) fn unlist(&self) {
        self.settle(|holders| holders.listings -= 1);
    }

    /// Changes who holds it, and takes its bytes from the budget or gives them back as that asks.
    pub(super) fn settle(&self, change: impl FnOnce(&mut Holders)) {
        let mut holders = self.lock();
        change(&mut holders);
        if self.filed.is_some() {
            // It takes no memory, and who reads it has what is read.
            return;
        }
        let Holders { pieces, listings, readers, fetches, share } = &mut *holders;
        if pieces.is_none() || *listings > 0 || *readers + *fetches == 0 {
            *share = None;
            return;
        }
        let share = share.get_or_insert_with(|| self.budget.owe(self.allocated_bytes));
        if *fetches > 0 { share.withdraw() } else { share.offer(self.me.clone()) }
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LetGo for Body {
    fn let_go(&self) -> usize {
        let mut holders = self.lock();
        let is_needed = holders.fetches > 0;
        match &mut holders.share {
            None => return 0,
            Some(share) if is_needed => {
                share.withdraw();
                return 0;
            }
            Some(_) => {}
        }
        (holders.share, holders.pieces) = (None, None);
        holders.readers
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders = self.lock();
        let (is_gone, Holders { listings, readers, fetches, share, .. }) =
            (holders.pieces.is_none(), &*holders);
        f.debug_struct("Body")
            .field("bytes", &self.bytes)
            .field("is_gone", &is_gone)
            .field("listings", listings)
            .field("readers", readers)
            .field("fetches", fetches)
            .field("share", share)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::http::testing::{at, get, response};
    use crate::policy::{Admit, Entry, admit};
    use crate::site::Rules;
    use crate::site::key::{Key, KeyRules};
    use crate::store::{Bounds, Eviction, Mode, Object, Reading, Scope, Store};

    /// A size that the allocator does not round.
    const BYTES: u64 = 98_304;

    fn store() -> Store {
        Store::new(&Bounds {
            memory_bytes: 1 << 20,
            eviction: Eviction::S3Fifo,
            tag_fields: Default::default(),
        })
    }

    fn key(path: usize) -> Key {
        let request = get(&[]);
        let uri = format!("http://a/{path}").parse().unwrap();
        crate::site::key::key(&crate::http::head::RequestHead { uri, ..request }, &KeyRules::default())
    }

    /// Stores an object with this body.
    fn put(store: &Store, key: &Key, body: &Arc<Body>) -> Arc<Object> {
        let head = response(200, &[("cache-control", "max-age=1000")]);
        let asked = get(&[]);
        let Admit::Keep(lifetime) = admit(&asked, &head, at(0), &Rules::default(), at(0)) else { panic!() };
        let entry = Entry::new(&asked, &head, lifetime, at(0), at(0), Some(BYTES));
        let ticket = store.begin();
        let object = Arc::new(Object::new(entry, Arc::clone(body), "a".into(), ticket.epoch()));
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
                assert!(store.get(&key(0), &"a".into()).is_empty());
            }),
            ("purged with all", &|store, _| {
                store.purge(&Scope::All, Mode::Hard, UNIX_EPOCH);
                assert!(!store.holds(&key(0)));
            }),
            ("superseded", &|store, object| {
                let (ticket, headers) = (store.begin(), &object.entry.head.headers);
                let _ =
                    store.supersede(&ticket, &Scope::Key(key(0)), &key(0), &"a".into(), headers, UNIX_EPOCH);
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
        store.forget(&key(0), &store.get(&key(0), &"a".into())[0]);
        assert_eq!(taken(), BYTES);
        put(&store, &key(0), &body);
        assert_eq!(taken(), 0, "stored again");
        drop((reader, second));
        assert_eq!(taken(), 0);
    }

    #[test]
    fn what_only_readers_need_is_let_go_for_what_is_to_be_kept_and_stays_gone() {
        let store = store();
        let fills = store.fills();
        let objects: Vec<_> = (0..3).map(|path| put(&store, &key(path), &body(&store))).collect();
        let readers: Vec<_> = objects.iter().cloned().map(Reading::new).collect();
        store.forget(&key(0), &objects[0]);
        store.forget(&key(1), &objects[1]);
        let fetch = Reading::for_fetch(Arc::clone(&objects[0]));
        assert_eq!(fills.taken_bytes(), 2 * BYTES);
        assert_eq!(fills.make_room(BYTES), 0, "what a fetch needs is no offer, and one body is not half");
        drop(fetch);
        assert_eq!(fills.make_room(BYTES / 2), 0, "there is room");
        assert_eq!(fills.make_room(BYTES), 1);
        assert_eq!(fills.taken_bytes(), BYTES);
        let reads = |object: &Object| object.body.piece(0).unwrap().map(|piece| piece.len() as u64);
        let expected = [Ok(BYTES), Err(Gone), Ok(BYTES)];
        assert_eq!(objects.iter().map(|object| reads(object)).collect::<Vec<_>>(), expected);
        // A late 304 cannot bring it back.
        put(&store, &key(1), &objects[1].body);
        assert!(store.get(&key(1), &"a".into()).is_empty());
        drop(readers);
        assert_eq!(fills.taken_bytes(), 0);
    }
}
