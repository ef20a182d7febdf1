//! What we keep: moka evicts by bytes; `policy` alone decides freshness.
//!
//! ```text
//! begin ─▶ Ticket (the purge epoch a fetch began in) ─▶ put(key, object, &ticket)
//! purge ─▶ a new epoch; what began before it is neither found nor put
//! ```
//!
//! All variants of a key lie under that key, newest first, so a purge of the key takes them all.
//!
//! Invariant: an object whose fetch began before a purge that covers it is never returned after the purge returned.
//! Invariant: heads, keys, bodies and the buffers of fills under way stay within the configured bytes.

pub mod memory;
pub mod object;
pub mod purge;

use std::sync::Arc;

use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

pub use memory::{Budget, Share};
pub use object::{Object, Variants};
pub use purge::{Purges, Scope, Ticket};

use crate::config::{self, Eviction};
use crate::key::Key;

/// The memory store.
#[derive(Debug)]
pub struct Store {
    objects: Cache<Key, Variants>,
    purges: Arc<Purges>,
    fills: Arc<Budget>,
    /// Weight of an object that makes moka evict at once instead of when it finds time.
    heavy: u32,
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
    /// An empty store for `sites` sites.
    #[must_use]
    pub fn new(config: &config::Cache, sites: usize) -> Self {
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
            .build();
        let heavy = u32::try_from(capacity / HEAVY_PART).unwrap_or(u32::MAX);
        Self { objects, purges: Arc::new(Purges::new(sites)), fills: Budget::new(shares.fills_bytes), heavy }
    }

    /// What is stored under `key` and not purged.
    #[must_use]
    pub fn get(&self, key: &Key, site: usize) -> Variants {
        let Some(variants) = self.objects.get(key) else { return Variants::default() };
        let oldest = self.purges.oldest_valid(site);
        if variants.iter().all(|object| object.epoch >= oldest) {
            return variants;
        }
        variants.retain(|object| object.epoch >= oldest)
    }

    /// The epoch that a fetch begins in; hold it until the object is put.
    #[must_use]
    pub fn begin(&self) -> Ticket {
        Purges::begin(&self.purges)
    }

    /// Whether a purge has come over a fetch with this ticket.
    #[must_use]
    pub fn is_purged(&self, ticket: &Ticket, key: &Key, site: usize) -> bool {
        self.purges.covers(ticket, key, site)
    }

    /// Puts `object` in the place of the variant with the same selecting fields, and of `instead`.
    pub fn put(&self, key: &Key, object: Arc<Object>, instead: Option<&Arc<Object>>, ticket: &Ticket) -> Put {
        let weight = object.weight(key);
        let done = self.objects.entry_by_ref(key).and_compute_with(|present| {
            // Asked in here, where moka lets nobody else at this key: a purge that comes later removes the object.
            if self.purges.covers(ticket, key, object.site) {
                return Op::Nop;
            }
            let present = present.map(moka::Entry::into_value).unwrap_or_default();
            Op::Put(present.with(object, instead))
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
                rest => Op::Put(rest),
            },
        });
    }

    /// Makes everything in `scope` gone, also what is being fetched. In effect when this returns.
    /// Gives the number of objects that were removed at once; the rest of a wide scope leaves as it is met.
    pub fn purge(&self, scope: &Scope) -> usize {
        self.purges.advance(scope);
        match scope {
            Scope::Key(key) => {
                let removed = self.objects.entry_by_ref(key).and_compute_with(|_| Op::Remove);
                if let CompResult::Removed(entry) = removed { entry.value().len() } else { 0 }
            }
            Scope::Site(_) => 0,
            Scope::All => {
                let count = self.objects.entry_count();
                self.objects.invalidate_all();
                usize::try_from(count).unwrap_or(usize::MAX)
            }
        }
    }

    /// Makes what is stored under `key` gone for the sake of a response that will be put in its place, which a request
    /// with this ticket got. The ticket to put it with; none if another purge has come over it.
    #[must_use]
    pub fn supersede(&self, ticket: &Ticket, key: &Key, site: usize) -> Option<Ticket> {
        let ticket = Purges::supersede(&self.purges, ticket, key, site);
        self.objects.invalidate(key);
        ticket
    }

    /// The bytes that fills under way may hold.
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
    /// Buffers of fills under way.
    pub fill_bytes: u64,
}

/// moka evicts after some 64 writes; objects above this part of the capacity could overshoot it by a lot till then.
const HEAVY_PART: u64 = 1024;
