//! What we keep: moka evicts by bytes; `policy` alone decides freshness.
//!
//! ```text
//! begin ─▶ Ticket (the purge epoch a fetch began in) ─▶ put(key, object, &ticket)
//! purge ─▶ a new epoch; what began before it is neither put nor found, or found stale (a soft purge)
//! ```
//!
//! All variants of a key lie under that key, newest first, so a purge of the key takes them all.
//!
//! Invariant: an object whose fetch began before a purge that covers it is never returned after the purge returned.
//! Invariant: heads, keys, bodies, the buffers of fills under way and what is read though no longer stored stay within
//! the configured bytes.

pub mod body;
pub mod memory;
pub mod object;
pub mod purge;

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

pub use body::{Body, Reading};
pub use memory::{Budget, Share};
pub use object::{Object, Variants};
pub use purge::{Epoch, MAX_PREFIX_BYTES, Mode, Purges, Scope, Ticket};

use crate::config::{self, Eviction};
use crate::key::Key;
use purge::{Settled, Subject};

/// The memory store.
#[derive(Debug)]
pub struct Store {
    objects: Cache<Key, Variants>,
    purges: Arc<Purges>,
    fills: Arc<Budget>,
    /// Weight of an object that makes moka evict at once instead of when it finds time.
    heavy: u32,
    /// Weight that all variants and parts under one key may have together.
    room: u32,
}

/// What became of an object that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is in the store.
    Kept,
    /// A purge came after its fetch began.
    Purged,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: &config::Cache) -> Self {
        let shares = memory::shares(config.memory_bytes);
        let capacity = shares.objects_bytes / object::WEIGHT_UNIT_BYTES;
        let policy = match config.eviction {
            Eviction::Lru => EvictionPolicy::lru(),
            Eviction::Lfu => EvictionPolicy::tiny_lfu(),
        };
        let objects = Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(policy)
            .weigher(|key: &Key, variants: &Variants| variants.weight(key))
            .eviction_listener(|_, variants: Variants, _| variants.unlist())
            .build();
        let heavy = u32::try_from(capacity / HEAVY_PART).unwrap_or(u32::MAX);
        let room = u32::try_from(capacity / KEY_PART).unwrap_or(u32::MAX);
        Self {
            objects,
            purges: Purges::new(config.memory_bytes),
            fills: Budget::new(shares.fills_bytes),
            heavy,
            room,
        }
    }

    /// What is stored under `key` and not gone; what a soft purge covers is stale.
    #[must_use]
    pub fn get(&self, key: &Key, site: usize) -> Variants {
        let Some(variants) = self.objects.get(key) else { return Variants::default() };
        if self.purges.are_clear(&variants) {
            return variants;
        }
        match self.purges.settle(key, site, &variants) {
            Settled::Same => variants,
            Settled::Changed(_) => self.settled(key, site),
        }
    }

    /// A purge covers something under the key: compares it where moka lets nobody else, and stores what that leaves.
    fn settled(&self, key: &Key, site: usize) -> Variants {
        let done = self.objects.entry_by_ref(key).and_compute_with(|present| {
            let Some(present) = present else { return Op::Nop };
            match self.purges.settle(key, site, present.value()) {
                Settled::Same => Op::Nop,
                Settled::Changed(rest) if rest.is_empty() => Op::Remove,
                Settled::Changed(rest) => listed(rest),
            }
        });
        match done {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) | CompResult::Unchanged(entry) => {
                entry.into_value()
            }
            CompResult::Removed(_) | CompResult::StillNone(_) => Variants::default(),
        }
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
        site: usize,
        headers: Option<&HeaderMap>,
    ) -> Option<Mode> {
        self.purges.covers(ticket, key, site, headers)
    }

    /// Puts `object` in the place of the variant with the same selecting fields, and of `instead`.
    pub fn put(&self, key: &Key, object: Arc<Object>, instead: Option<&Arc<Object>>, ticket: &Ticket) -> Put {
        // What a 304 confirmed is the old body: a purge takes it, also one that came before the 304 was asked for.
        let took = |old: &Arc<Object>| self.purges.took(key, old);
        self.compute(key, &object, ticket, |present| {
            (!instead.is_some_and(took)).then(|| present.with(Arc::clone(&object), instead, key, self.room))
        })
    }

    /// Puts `objects`, which are the same in several codings, in the place of everything under their key.
    pub fn put_alone(&self, key: &Key, objects: &[Arc<Object>], ticket: &Ticket) -> Put {
        let Some(first) = objects.first() else { return Put::Kept };
        self.compute(key, first, ticket, |_| Some(objects.iter().cloned().collect()))
    }

    /// Whether something is stored under `key`, once the memory's bound was seen to.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        self.objects.run_pending_tasks();
        self.objects.contains_key(key)
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
        let weight = object.weight(key);
        let headers = Some(&object.entry.head.headers);
        let done = self.objects.entry_by_ref(key).and_compute_with(|present| {
            // Asked in here, where moka lets nobody else at this key: a purge that comes later removes the object.
            if self.purged(ticket, key, object.site, headers).is_some() {
                return Op::Nop;
            }
            make(present.map(moka::Entry::into_value).unwrap_or_default()).map_or(Op::Nop, listed)
        });
        if weight >= self.heavy {
            self.objects.run_pending_tasks();
        }
        match done {
            CompResult::Inserted(_) | CompResult::ReplacedWith(_) => Put::Kept,
            CompResult::StillNone(_) | CompResult::Unchanged(_) | CompResult::Removed(_) => Put::Purged,
        }
    }

    /// Drops one variant, if it is still there.
    pub fn forget(&self, key: &Key, object: &Arc<Object>) {
        self.objects.entry_by_ref(key).and_compute_with(|present| match present {
            None => Op::Nop,
            Some(present) => match present.into_value().retain(|kept| !Arc::ptr_eq(kept, object)) {
                rest if rest.is_empty() => Op::Remove,
                rest => listed(rest),
            },
        });
    }

    /// Makes everything in `scope` gone or stale, also what is being fetched. In effect when this returns.
    /// Gives the number of stored responses, where it is known at once; those of a wide scope are met one by one later.
    pub fn purge(&self, scope: &Scope, mode: Mode, now: SystemTime) -> Option<usize> {
        self.purges.advance(scope, mode, now);
        match (scope, mode) {
            (Scope::Key(key), Mode::Hard) => {
                let removed = self.objects.entry_by_ref(key).and_compute_with(|_| Op::Remove);
                Some(if let CompResult::Removed(entry) = removed { entry.value().len() } else { 0 })
            }
            (Scope::Key(key), Mode::Soft) => Some(self.expire(key, now)),
            (Scope::All, Mode::Hard) => {
                let count = self.objects.entry_count();
                self.objects.invalidate_all();
                usize::try_from(count).ok()
            }
            _ => None,
        }
    }

    fn expire(&self, key: &Key, now: SystemTime) -> usize {
        let done = self.objects.entry_by_ref(key).and_compute_with(|present| match present {
            None => Op::Nop,
            Some(present) => {
                let stale = present.value().iter().map(|object| Arc::new(object.expired(now)));
                listed(stale.collect())
            }
        });
        if let CompResult::ReplacedWith(entry) = done { entry.value().len() } else { 0 }
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
        site: usize,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Option<Ticket> {
        let subject = Subject { key, site, headers: Some(headers) };
        let ticket = Purges::supersede(&self.purges, ticket, scope, &subject, now);
        self.objects.invalidate(key);
        ticket
    }

    /// The bytes that fills under way may hold, and readers of what is no longer stored.
    #[must_use]
    pub fn fills(&self) -> &Arc<Budget> {
        &self.fills
    }

    /// How many keys and bytes are held.
    #[must_use]
    pub fn size(&self) -> Size {
        Size {
            keys: self.objects.entry_count(),
            bytes: self.objects.weighted_size() * object::WEIGHT_UNIT_BYTES,
            fill_bytes: self.fills.taken_bytes(),
        }
    }
}

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Keys, each with one or more variants.
    pub keys: u64,
    /// Heads, keys and bodies.
    pub bytes: u64,
    /// Buffers of fills under way, and bodies that are read though no longer stored.
    pub fill_bytes: u64,
}

/// Everything that is put goes through here; what leaves is told to the eviction listener, also what is replaced.
fn listed(variants: Variants) -> Op<Variants> {
    variants.list();
    Op::Put(variants)
}

/// moka weighs a key as one: without a bound the variants or the slices of one URL could push out everything else.
const KEY_PART: u64 = 8;
/// moka evicts after some 64 writes; objects above this part of the capacity could overshoot it by a lot till then.
const HEAVY_PART: u64 = 1024;
