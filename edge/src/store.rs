//! The stored responses: `eviction` or moka decides who leaves, by bytes; `policy` alone decides freshness.
//!
//! ```text
//! begin ─▶ Ticket (the purge epoch a fetch began in) ─▶ put(key, object, &ticket)
//! purge ─▶ a new epoch; what began before it is neither put nor found, or found stale (a soft purge)
//! ```
//!
//! Below memory there may be disks ([`disk`]), which are told of each change in here.
//!
//! All variants of a key lie under that key, newest first, so a purge of the key takes them all.
//!
//! Invariant: an object whose fetch began before a purge that covers it is never returned after the purge returned.
//! Invariant: heads, keys, bodies, the buffers of fills under way and what is read though no longer stored stay within
//! the configured bytes.

mod adopting;
pub mod block;
pub mod body;
pub mod bounds;
pub mod disk;
pub mod epoch;
mod evicted;
mod eviction;
mod governor;
pub mod hits;
pub mod in_file;
mod index;
mod key_locks;
mod large;
mod listing;
pub mod memory;
mod moving;
pub mod object;
pub mod purge;
pub mod reading;
pub mod ready;
pub mod recency;
pub mod replay;
mod settings;
mod table;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use foldhash::quality::RandomState;
use http::HeaderMap;

pub use body::{Body, Gone};
pub use bounds::{Bounds, Eviction};
pub use disk::{Disks, Reserved, Spool};
pub use epoch::Epoch;
pub use evicted::{AGE_BOUNDS_SECONDS, Ages};
pub use in_file::{FileReader, InFile, Unread};
pub use listing::{Cursor, Listed};
pub use memory::{Budget, LetGo, Share};
pub use moving::{Found, Sender};
pub use object::{Object, Variants};
pub use purge::{MAX_PREFIX_BYTES, Mode, Purges, Scope, Ticket};
pub use reading::Reading;
pub use recency::Recency;
pub use replay::Replay;

use crate::site::SiteName;
use crate::site::key::Key;
use crate::site::tags::{TagFields, Tags};
use governor::Governor;
use key_locks::KeyLocks;
use purge::{Settled, Subject};
use table::Table;

/// The memory store.
#[derive(Debug)]
pub struct Store {
    objects: Table<Key, Variants, RandomState>,
    tag_fields: TagFields,
    purges: Arc<Purges>,
    fills: Arc<Budget>,
    key_locks: KeyLocks,
    governor: Mutex<Governor>,
    /// Whether one URL may have several keys because of the content of QUERYs.
    keeps_queries: AtomicBool,
    /// Weight that all variants and parts under one key may have together.
    room: u32,
    disks: Disks,
}

/// A change to the variants stored under a key.
enum Change {
    Leave,
    Remove,
    Put(Variants),
}

/// The fate of an object that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is in the store.
    Kept,
    /// A purge came after its fetch began.
    Purged,
    /// A more recent response is stored, whose request was later.
    Older,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        Self::with_disks(bounds, Disks::none())
    }

    /// An empty store over these disks, whose content it has as soon as it is read.
    #[must_use]
    pub fn with_disks(bounds: &Bounds, disks: Disks) -> Self {
        let shares = memory::shares(bounds.memory_bytes);
        let capacity = shares.objects_bytes / object::WEIGHT_UNIT_BYTES;
        let weigh = |key: &Key, variants: &Variants| variants.weight(key);
        let ghosts_a_unit = (object::WEIGHT_UNIT_BYTES / eviction::GHOST_BYTES).max(1);
        let (leave, hasher) = (|variants: Variants| variants.unlist(), RandomState::default());
        let objects =
            Table::new(bounds.eviction, capacity, ghosts_a_unit, hasher, weigh, leave, Variants::age);
        let room = u32::try_from(capacity / KEY_PART).unwrap_or(u32::MAX);
        let (tag_fields, first) = (bounds.tag_fields.clone(), disks.first_epoch());
        let marks = purge::most_marks(bounds.memory_bytes, disks.most_files());
        let purges = Purges::new(marks, tag_fields, first, disks.hash_key());
        disks.remember(&purges.settings());
        disks.begin(&purges, shares.fills_bytes, shares.large_bytes());
        Self {
            objects,
            tag_fields: bounds.tag_fields.clone(),
            purges,
            fills: Budget::new(shares.fills_bytes),
            key_locks: KeyLocks::default(),
            governor: Governor::new(shares.objects_bytes).into(),
            keeps_queries: AtomicBool::new(false),
            room,
            disks,
        }
    }

    /// The tags of a response with these fields.
    #[must_use]
    pub fn tags<'a>(&self, headers: &'a HeaderMap) -> Tags<'a> {
        self.tag_fields.of(headers)
    }

    /// The variants stored under `key` that are not gone; those that a soft purge covers are stale.
    #[must_use]
    pub fn get(&self, key: &Key, site: &SiteName) -> Variants {
        let Some(variants) = self.objects.get(key) else { return Variants::default() };
        if self.purges.are_clear(&variants) {
            if self.disks.wants(key, &variants) {
                self.offer_again(key);
            }
            return variants;
        }
        match self.purges.settle(key, site, &variants) {
            Settled::Same => variants,
            Settled::Changed(_) => self.settled(key, site),
        }
    }

    /// Only what is still stored is offered: a purge may have come since it was found.
    fn offer_again(&self, key: &Key) {
        let _alone = self.key_locks.take(key);
        if let Some(present) = self.objects.peek(key) {
            self.disks.offer_again(key, &present);
        }
    }

    /// A purge covers something under the key: compares it with nobody else at it, and stores what that leaves.
    fn settled(&self, key: &Key, site: &SiteName) -> Variants {
        let (before, change) = self.change(key, |present| match self.purges.settle(key, site, present) {
            Settled::Same => Change::Leave,
            Settled::Changed(rest) if rest.is_empty() => Change::Remove,
            Settled::Changed(rest) => Change::Put(rest),
        });
        match change {
            Change::Leave => before,
            Change::Remove => Variants::default(),
            Change::Put(rest) => rest,
        }
    }

    /// Has what was put outlive the process. Whether it does; none without a disk.
    pub async fn keep_on_disk(&self, key: &Key, objects: &[Arc<Object>]) -> Option<bool> {
        if self.disks.is_empty() {
            return None;
        }
        let waits = {
            let _alone = self.key_locks.take(key);
            let present = self.objects.peek(key).unwrap_or_default();
            let is_there = |object: &Arc<Object>| present.iter().any(|it| Arc::ptr_eq(it, object));
            objects.iter().all(is_there).then(|| self.disks.keep(key, objects))
        };
        match waits {
            Some(waits) => Some(self.disks.kept(waits).await),
            None => Some(false),
        }
    }

    /// The disks, if there are any.
    #[must_use]
    pub fn disks(&self) -> &Disks {
        &self.disks
    }

    /// The epoch that a fetch begins in; hold it until the object is put.
    #[must_use]
    pub fn begin(&self) -> Ticket {
        Purges::begin(&self.purges)
    }

    /// Which kind of purge has come over a fetch with this ticket, if one has. `headers` are its response's, once they
    /// are known: they have its tags.
    #[must_use]
    pub fn purged(
        &self,
        ticket: &Ticket,
        key: &Key,
        site: &SiteName,
        headers: Option<&HeaderMap>,
    ) -> Option<Mode> {
        self.purges.covers(ticket, key, site, headers)
    }

    /// Puts `object` in the place of the variant with the same selecting fields, and of `instead`; unless that is more recent.
    pub fn put(&self, key: &Key, object: Arc<Object>, instead: Option<&Arc<Object>>, ticket: &Ticket) -> Put {
        // A 304 confirms the old body: a purge takes it, also one that came before the 304 was asked for.
        let took = |old: &Arc<Object>| self.purges.took(key, &object.site, old);
        let mut is_older = false;
        let put = self.compute(key, &object, ticket, |present| {
            if instead.is_some_and(took) {
                return None;
            }
            is_older = present.outdo(&object, instead) || instead.is_none() && self.disks.outdo(key, &object);
            (!is_older).then(|| present.with(Arc::clone(&object), instead, key, self.room))
        });
        if is_older { Put::Older } else { put }
    }

    /// Puts `objects`, which are the same in several codings, in the place of everything under their key.
    pub fn put_alone(&self, key: &Key, objects: &[Arc<Object>], ticket: &Ticket) -> Put {
        let Some(first) = objects.first() else { return Put::Kept };
        self.compute(key, first, ticket, |_| Some(objects.iter().cloned().collect()))
    }

    /// Whether something is stored under `key`, once the memory's bound was seen to.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        self.objects.holds(key)
    }

    /// The number of the last purge of more than one key.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.purges.marked()
    }

    fn compute(
        &self,
        key: &Key,
        object: &Arc<Object>,
        ticket: &Ticket,
        make: impl FnOnce(Variants) -> Option<Variants>,
    ) -> Put {
        let headers = Some(&object.entry.head.headers);
        let (_, change) = self.change(key, |present| {
            // Asked in here, where nobody else is at this key: a purge that comes later removes the object.
            if self.purged(ticket, key, &object.site, headers).is_some() {
                return Change::Leave;
            }
            make(present.clone()).map_or(Change::Leave, Change::Put)
        });
        match change {
            Change::Put(_) => Put::Kept,
            Change::Leave | Change::Remove => Put::Purged,
        }
    }

    /// Does what `decide` says to what is stored under the key, with nobody else at it; what was there, and what was
    /// done.
    fn change(&self, key: &Key, decide: impl FnOnce(&Variants) -> Change) -> (Variants, Change) {
        let _alone = self.key_locks.take(key);
        self.change_alone(key, decide)
    }

    /// As [`Store::change`]. Called where nobody else is at the key.
    fn change_alone(&self, key: &Key, decide: impl FnOnce(&Variants) -> Change) -> (Variants, Change) {
        let present = self.objects.peek(key).unwrap_or_default();
        let change = decide(&present);
        match &change {
            Change::Leave => {}
            Change::Remove => {
                self.disks.changed(key, &present, &[]);
                self.objects.remove(key);
            }
            Change::Put(variants) => {
                variants.list();
                self.disks.changed(key, &present, variants);
                // A listed body is not let go; the variants before it are of no use to anybody.
                match variants.retain(|object| !object.body.is_gone()) {
                    rest if rest.is_empty() => self.objects.remove(key),
                    rest => self.objects.insert(key, rest),
                }
            }
        }
        (present, change)
    }

    /// Makes everything in `scope` gone or stale, also what is being fetched. In effect when this returns.
    /// Gives the number of stored responses, where it is known at once; those of a wide scope are met one by one later.
    pub fn purge(&self, scope: &Scope, mode: Mode, now: SystemTime) -> Option<usize> {
        // Between its two halves nobody offers to a disk what memory still has.
        let _alone = match scope {
            Scope::Key(key) => Some(self.key_locks.take(key)),
            _ => None,
        };
        let mut on_disk = self.purge_disks(scope, mode, now);
        if let Some(url) = self.all_of_url(scope) {
            on_disk += self.purge_disks(&url, mode, now);
        }
        let in_memory = self.purge_memory(scope, mode, now)?;
        // A response on a disk may be in memory too.
        Some(in_memory.max(on_disk))
    }

    fn purge_disks(&self, scope: &Scope, mode: Mode, now: SystemTime) -> usize {
        let advanced = self.purges.advance(scope, mode, now);
        self.disks.purge(scope, mode, now, &advanced)
    }

    /// Of a key it is called where nobody else is at the key.
    fn purge_memory(&self, scope: &Scope, mode: Mode, now: SystemTime) -> Option<usize> {
        match (scope, mode) {
            (Scope::Key(key), Mode::Hard) => {
                let (removed, _) = self.change_alone(key, |_| Change::Remove);
                Some(removed.len())
            }
            (Scope::Key(key), Mode::Soft) => Some(self.expire(key, now)),
            (Scope::All, Mode::Hard) => {
                let (count, _) = self.objects.size();
                self.objects.clear();
                usize::try_from(count).ok()
            }
            _ => None,
        }
    }

    /// From now on responses to QUERYs may be stored, which go with their URL.
    pub fn keeps_queries(&self) {
        self.keeps_queries.store(true, Ordering::Release);
    }

    fn expire(&self, key: &Key, now: SystemTime) -> usize {
        let (fresh, _) = self.change_alone(key, |present| {
            let stale: Variants = present.iter().map(|object| Arc::new(object.expired(now))).collect();
            if stale.is_empty() { Change::Leave } else { Change::Put(stale) }
        });
        fresh.len()
    }

    /// Makes what is stored under `key`'s URL gone for the sake of a response that will be put in its place, which a
    /// request with this ticket got and `headers` are of. The ticket to put it with; none if another purge has come
    /// over it.
    #[must_use]
    pub fn supersede(
        &self,
        ticket: &Ticket,
        scope: &Scope,
        key: &Key,
        site: &SiteName,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Option<Ticket> {
        let subject = Subject { key, site, headers: Some(headers) };
        let url = self.all_of_url(scope);
        let scope = url.as_ref().unwrap_or(scope);
        let _alone = self.key_locks.take(key);
        let (ticket, advanced) = Purges::supersede(&self.purges, ticket, scope, &subject, now);
        self.disks.purge(scope, Mode::Hard, now, &advanced);
        self.change_alone(key, |_| Change::Remove);
        ticket
    }

    /// The bytes that fills under way may hold, and readers of what is no longer stored.
    #[must_use]
    pub fn fills(&self) -> &Arc<Budget> {
        &self.fills
    }

    /// Lets the store hold less while the process takes more than its target, and more again when it does not. The
    /// change, if there is one. A store of moka's does not change.
    pub fn govern(&self, resident_bytes: u64, target_bytes: u64) -> Option<Governed> {
        let mut governor = self.governor();
        let from_bytes = governor.capacity_bytes();
        let (_, weight) = self.objects.size();
        let held_bytes = weight * object::WEIGHT_UNIT_BYTES;
        let to_bytes = governor.look(resident_bytes, target_bytes, held_bytes)?;
        let is_whole = governor.is_whole();
        self.objects.resize(to_bytes / object::WEIGHT_UNIT_BYTES).then_some(Governed {
            from_bytes,
            to_bytes,
            is_whole,
        })
    }

    /// Nobody panics in between, so a poisoned one is a good one.
    fn governor(&self) -> MutexGuard<'_, Governor> {
        self.governor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys and bytes are held.
    #[must_use]
    pub fn size(&self) -> Size {
        let (keys, weight) = self.objects.size();
        Size {
            keys,
            bytes: weight * object::WEIGHT_UNIT_BYTES,
            fill_bytes: self.fills.taken_bytes(),
            capacity_bytes: self.governor().capacity_bytes(),
            evicted: self.objects.evicted(),
        }
    }
}

/// A change of how much the store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Governed {
    /// Before.
    pub from_bytes: u64,
    /// From now on.
    pub to_bytes: u64,
    /// Whether it is all that the config gives it.
    pub is_whole: bool,
}

/// The size of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Keys, each with one or more variants.
    pub keys: u64,
    /// Heads, keys and bodies.
    pub bytes: u64,
    /// Buffers of fills under way, and bodies that are read though no longer stored.
    pub fill_bytes: u64,
    /// How many bytes may be held now: less than the config says while the process takes too much.
    pub capacity_bytes: u64,
    /// The ages of what was under keys that left to make room, ever.
    pub evicted: Ages,
}

/// All under one key leaves together: without a bound the variants or the slices of one URL could push out everything else.
const KEY_PART: u64 = 8;
