//! Values by their keys in one of the orders in which they may leave: moka's, or our own.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::bounds::Eviction;
use super::evicted::{Ages, Evicted};
use super::index::Index;

/// Values by their keys, up to a weight.
#[derive(Debug)]
pub(super) struct Table<K, V, S> {
    held: Held<K, V, S>,
    weigh: fn(&K, &V) -> u32,
    leave: fn(V),
    evicted: Arc<Evicted>,
    /// Weight of a value that makes moka evict at once instead of when it finds time.
    heavy: u32,
}

enum Held<K, V, S> {
    /// It tells `leave` itself, of every value that leaves, also of one that is replaced.
    Moka(Cache<K, V>),
    Own(Box<Index<K, V, S>>),
}

/// Puts wait while so many leave for a smaller capacity: some ten microseconds.
const LEAVE_AT_ONCE: usize = 64;
/// moka evicts after some 64 writes; objects above this part of the capacity could overshoot it by a lot till then.
const HEAVY_PART: u64 = 1024;

impl<K, V, S> Table<K, V, S>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher,
{
    /// Nothing is held. `leave` is told of each value that leaves; `age` tells how old one is that leaves to make room;
    /// `ghosts_a_unit` ghosts weigh one.
    pub(super) fn new(
        eviction: Eviction,
        capacity: u64,
        ghosts_a_unit: u64,
        hasher: S,
        weigh: fn(&K, &V) -> u32,
        leave: fn(V),
        age: fn(&V) -> Duration,
    ) -> Self {
        let evicted = Arc::new(Evicted::default());
        let counted = Arc::clone(&evicted);
        let evict = move |value: &V| counted.add(age(value));
        let moka = |policy, evict: Box<dyn Fn(&V) + Send + Sync>| {
            let builder = Cache::builder().max_capacity(capacity).eviction_policy(policy).weigher(weigh);
            let listen = move |_, value, why| {
                if why == RemovalCause::Size {
                    evict(&value);
                }
                leave(value);
            };
            Held::Moka(builder.eviction_listener(listen).build())
        };
        let evict = Box::new(evict);
        let held = match eviction {
            Eviction::Lru => moka(EvictionPolicy::lru(), evict),
            Eviction::Lfu => moka(EvictionPolicy::tiny_lfu(), evict),
            Eviction::S3Fifo => Held::Own(Box::new(Index::new(capacity, ghosts_a_unit, hasher, evict))),
        };
        let heavy = u32::try_from(capacity / HEAVY_PART).unwrap_or(u32::MAX);
        Self { held, weigh, leave, evicted, heavy }
    }

    /// A hit, where there is something under the key.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        match &self.held {
            Held::Moka(cache) => cache.get(key),
            Held::Own(index) => index.get(key),
        }
    }

    /// The value under the key, though nobody asked for it.
    ///
    /// moka counts a look at what is absent: then what is asked for once weighs as much as what is asked for twice, and a
    /// scan drives out what is hot.
    pub(super) fn peek(&self, key: &K) -> Option<V> {
        match &self.held {
            Held::Moka(cache) => cache.contains_key(key).then(|| cache.get(key)).flatten(),
            Held::Own(index) => index.peek(key),
        }
    }

    /// Puts the value in the place of what is under the key. Two threads never do so for one key at a time.
    pub(super) fn insert(&self, key: &K, value: V) {
        match &self.held {
            Held::Moka(cache) => {
                let is_heavy = (self.weigh)(key, &value) >= self.heavy;
                cache.insert(key.clone(), value);
                if is_heavy {
                    cache.run_pending_tasks();
                }
            }
            Held::Own(index) => {
                let weight = (self.weigh)(key, &value);
                index.insert(key.clone(), value, weight).into_iter().for_each(self.leave);
            }
        }
    }

    /// Takes out what is under the key.
    pub(super) fn remove(&self, key: &K) {
        match &self.held {
            Held::Moka(cache) => cache.invalidate(key),
            Held::Own(index) => drop(index.remove(key).map(self.leave)),
        }
    }

    /// Takes out everything.
    pub(super) fn clear(&self) {
        match &self.held {
            Held::Moka(cache) => cache.invalidate_all(),
            Held::Own(index) => index.clear(self.leave),
        }
    }

    /// The ages of what left to make room.
    pub(super) fn evicted(&self) -> Ages {
        self.evicted.ages()
    }

    /// Whether there is something under the key, once the bound was seen to.
    pub(super) fn holds(&self, key: &K) -> bool {
        match &self.held {
            Held::Moka(cache) => {
                cache.run_pending_tasks();
                cache.contains_key(key)
            }
            Held::Own(index) => index.peek(key).is_some(),
        }
    }

    /// Takes another capacity, and lets go of those that no longer fit. Whether it can: moka cannot.
    pub(super) fn resize(&self, capacity: u64) -> bool {
        let Held::Own(index) = &self.held else { return false };
        loop {
            let mut left = Vec::new();
            let fits = index.resize(capacity, LEAVE_AT_ONCE, &mut left);
            left.into_iter().for_each(self.leave);
            if fits {
                return true;
            }
        }
    }

    /// All in one part of the table, though nobody asked for it; none behind the last part. moka has one part.
    pub(super) fn part(&self, number: u32) -> Option<Vec<(K, V)>> {
        match &self.held {
            Held::Moka(cache) => {
                (number == 0).then(|| cache.iter().map(|(key, value)| ((*key).clone(), value)).collect())
            }
            Held::Own(index) => index.part(number),
        }
    }

    /// How many keys there are, and what they weigh.
    pub(super) fn size(&self) -> (u64, u64) {
        match &self.held {
            Held::Moka(cache) => (cache.entry_count(), cache.weighted_size()),
            Held::Own(index) => index.size(),
        }
    }
}

impl<K, V, S> fmt::Debug for Held<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moka(..) => f.write_str("Moka"),
            Self::Own(index) => index.fmt(f),
        }
    }
}
