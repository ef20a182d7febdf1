//! The index of what is held, in shards, and who leaves it ([`Queues`]).
//!
//! A hit hashes its key once, shares its shard's lock with other hits, and leaves a mark. Puts take turns at the queues, for
//! some hundred nanoseconds; they hold a shard alone only to change one entry.
//!
//! Locks are taken in this order: queues, shard. The duel's is taken alone, and a hit that does not get it at once goes on
//! without.
//!
//! Invariant: an entry is in the table exactly as long as the queues hold its handle.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use super::eviction::duel::Duel;
use super::eviction::{Handle, Marks, Queues, Victim};

/// Values by their keys, up to a weight.
pub(super) struct Index<K, V, S> {
    hasher: S,
    shards: Box<[Shard<K, V>]>,
    marks: Arc<Marks>,
    queues: Mutex<Queues>,
    duel: Mutex<Duel>,
    /// The duel's, for hits to see without its lock.
    sampled_bits: AtomicU64,
    /// Told of each value that leaves to make room.
    evict: Evict<V>,
}

/// See [`Index::new`].
type Evict<V> = Box<dyn Fn(&V) + Send + Sync>;

/// Aligned so that threads at different shards do not share a cache line, nor the pair that processors fetch.
#[repr(align(128))]
struct Shard<K, V>(RwLock<HashTable<Entry<K, V>>>);

struct Entry<K, V> {
    hash: u64,
    handle: Handle,
    weight: u32,
    key: K,
    value: V,
}

/// Some times as many as there are threads.
const SHARDS: usize = 64;
/// Where the bits that choose a shard begin: tables use the lowest and the highest, the duel those from 24 to 47.
const SHARD_SHIFT: u32 = 48;

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Index<K, V, S> {
    /// Nothing is held. `ghosts_a_unit` ghosts take as much memory as one unit of weight. `evict` is told of each value that
    /// leaves to make room, while others wait.
    pub(super) fn new(capacity: u64, ghosts_a_unit: u64, hasher: S, evict: Evict<V>) -> Self {
        let queues = Queues::new(capacity, ghosts_a_unit);
        let duel = Duel::new(capacity);
        Self {
            hasher,
            shards: (0..SHARDS).map(|_| Shard(RwLock::new(HashTable::new()))).collect(),
            marks: Arc::clone(queues.marks()),
            sampled_bits: duel.sampled_bits().into(),
            evict,
            queues: queues.into(),
            duel: duel.into(),
        }
    }

    /// A hit, where there is something under the key.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash).read();
        let entry = shard.find(hash, |entry| entry.key == *key)?;
        let is_news = self.marks.hit(entry.handle.slot);
        let (value, weight) = (entry.value.clone(), entry.weight);
        drop(shard);
        if is_news && hash & self.sampled_bits.load(Ordering::Relaxed) == 0 {
            // A request that others keep from being counted is one of many.
            if let Ok(mut duel) = self.duel.try_lock() {
                self.observe(&mut duel, hash, weight);
            }
        }
        Some(value)
    }

    /// The value under the key, though nobody asked for it.
    pub(super) fn peek(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        self.shard(hash).read().find(hash, |entry| entry.key == *key).map(|entry| entry.value.clone())
    }

    /// Puts the value under the key. Gives what leaves for it: the value before it, and those that there is no more room for,
    /// itself among them if it is too heavy.
    pub(super) fn insert(&self, key: K, value: V, weight: u32) -> Vec<V> {
        let hash = self.hasher.hash_one(&key);
        let mut queues = locked(&self.queues);
        let (mut left, mut victims) = (Vec::new(), Vec::new());
        let mut shard = self.shard(hash).write();
        if let Some(entry) = shard.find_mut(hash, |entry| entry.key == key) {
            left.push(std::mem::replace(&mut entry.value, value));
            entry.weight = weight;
            let handle = entry.handle;
            drop(shard);
            queues.weigh(handle, weight, &mut victims);
        } else {
            // Nobody else puts meanwhile, and hits need not wait where the queues or the sample grow.
            drop(shard);
            {
                let mut duel = locked(&self.duel);
                self.observe(&mut duel, hash, weight);
                queues.follow(duel.plan());
            }
            let handle = queues.admit(hash, weight, &mut victims);
            let entry = Entry { hash, handle, weight, key, value };
            self.shard(hash).write().insert_unique(hash, entry, |entry| entry.hash);
        }
        self.drop_victims(&victims, &mut left);
        left
    }

    /// Takes out what is under the key.
    pub(super) fn remove(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let mut queues = locked(&self.queues);
        let mut shard = self.shard(hash).write();
        let (entry, _) = shard.find_entry(hash, |entry| entry.key == *key).ok()?.remove();
        queues.remove(entry.handle);
        Some(entry.value)
    }

    /// Takes out everything, shard by shard: what is put meanwhile may stay.
    pub(super) fn clear(&self, mut leave: impl FnMut(V)) {
        for shard in &self.shards {
            let mut queues = locked(&self.queues);
            let table = std::mem::take(&mut *shard.write());
            table.iter().for_each(|entry| queues.remove(entry.handle));
            drop(queues);
            table.into_iter().for_each(|entry| leave(entry.value));
        }
    }

    /// Lets go of what is over another capacity, at most so many at once. Whether all fits.
    pub(super) fn resize(&self, capacity: u64, most: usize, left: &mut Vec<V>) -> bool {
        locked(&self.duel).resize(capacity);
        let mut queues = locked(&self.queues);
        let mut victims = Vec::new();
        let fits = queues.resize(capacity, most, &mut victims);
        self.drop_victims(&victims, left);
        fits
    }

    /// All in one part of the table; none behind the last part.
    pub(super) fn part(&self, number: u32) -> Option<Vec<(K, V)>>
    where
        K: Clone,
    {
        let shard = self.shards.get(number as usize)?.read();
        Some(shard.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect())
    }

    /// How many keys there are, and what they weigh.
    pub(super) fn size(&self) -> (u64, u64) {
        let queues = locked(&self.queues);
        (queues.count() as u64, queues.weight())
    }

    fn observe(&self, duel: &mut Duel, hash: u64, weight: u32) {
        duel.observe(hash, weight);
        self.sampled_bits.store(duel.sampled_bits(), Ordering::Relaxed);
    }

    /// The queues' lock is held as long as these are in the table though not in the queues.
    fn drop_victims(&self, victims: &[Victim], left: &mut Vec<V>) {
        for Victim { hash, handle } in victims {
            let mut shard = self.shard(*hash).write();
            if let Ok(entry) = shard.find_entry(*hash, |entry| entry.handle == *handle) {
                let value = entry.remove().0.value;
                (self.evict)(&value);
                left.push(value);
            }
        }
    }

    fn shard(&self, hash: u64) -> &Shard<K, V> {
        &self.shards[(hash >> SHARD_SHIFT) as usize % SHARDS]
    }
}

/// Nobody panics between two changes that belong together, so a poisoned state is a good one.
impl<K, V> Shard<K, V> {
    fn read(&self) -> RwLockReadGuard<'_, HashTable<Entry<K, V>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashTable<Entry<K, V>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, V, S> fmt::Debug for Index<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, Hasher, RandomState};

    use super::*;

    fn index(capacity: u64) -> Index<u64, u64, RandomState> {
        Index::new(capacity, 2, RandomState::new(), Box::new(|_| {}))
    }

    #[test]
    fn what_leaves_is_given_back_once_whatever_it_leaves_for() {
        let index = index(1_000);
        let mut left: HashMap<u64, usize> = HashMap::new();
        let mut note =
            |values: Vec<u64>| values.iter().for_each(|value| *left.entry(*value).or_default() += 1);
        for number in 0..10_000 {
            let key = number * 7 % 400;
            index.get(&(number % 97));
            note(index.insert(key, number, 1 + (number % 50) as u32));
            if number % 11 == 0 {
                note(index.remove(&(key / 2)).into_iter().collect());
            }
            assert!(index.size().1 <= 1_000);
        }
        let (count, _) = index.size();
        assert!(count > 10);
        index.clear(|value| note(vec![value]));
        assert_eq!(index.size(), (0, 0));
        assert_eq!(left.len(), 10_000);
        assert!(left.values().all(|times| *times == 1));
    }

    #[test]
    fn a_value_that_is_too_heavy_leaves_at_once_and_one_that_grew_takes_its_room() {
        let index = index(1_000);
        assert_eq!(index.insert(1, 10, 2_000), [10]);
        assert_eq!(index.get(&1), None);
        (0..9).for_each(|key| assert!(index.insert(key, key, 100).is_empty()));
        let left = index.insert(8, 80, 500);
        assert!(left.contains(&8) && left.len() > 4, "{left:?}");
        assert_eq!(index.get(&8), Some(80));
        assert!(index.size().1 <= 1_000);
    }

    #[test]
    fn a_store_that_must_shrink_gives_back_some_at_a_time() {
        let index = index(10_000);
        (0..900).for_each(|key| drop(index.insert(key, key, 10)));
        let mut left = Vec::new();
        assert!(!index.resize(1_000, 50, &mut left));
        assert_eq!(left.len(), 50);
        while !index.resize(1_000, 50, &mut left) {}
        assert!(index.size().1 <= 1_000);
        left.iter().for_each(|key| assert_eq!(index.peek(key), None));
    }

    #[test]
    fn threads_that_put_get_and_remove_the_same_keys_leave_nothing_behind() {
        let index = index(500);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let index = &index;
                scope.spawn(move || {
                    let mut word = thread + 1;
                    for _ in 0..5_000 {
                        word = word
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let key = (word >> 40) % 200;
                        match (word >> 60) % 4 {
                            0 => drop(index.remove(&key)),
                            1 => drop(index.insert(key, key, 1 + (key % 20) as u32)),
                            _ => assert!(index.get(&key).is_none_or(|value| value == key)),
                        }
                    }
                });
            }
        });
        let in_tables: usize = index.shards.iter().map(|shard| shard.read().len()).sum();
        assert_eq!(in_tables as u64, index.size().0);
        index.clear(|_| ());
        assert_eq!(index.size(), (0, 0));
    }

    /// EDGE §2, class 17: the whole key is compared, whatever its hash is.
    #[test]
    fn keys_that_have_one_hash_stay_apart() {
        #[derive(Clone, Default)]
        struct Same;
        impl BuildHasher for Same {
            type Hasher = Same;
            fn build_hasher(&self) -> Same {
                Same
            }
        }
        impl Hasher for Same {
            fn finish(&self) -> u64 {
                7
            }
            fn write(&mut self, _: &[u8]) {}
        }
        let paths = ["/", "/a", "/a?", "/a?b", "/a/b", "/%61/"];
        let index: Index<&str, &str, Same> = Index::new(1_000, 2, Same, Box::new(|_| {}));
        paths.iter().for_each(|path| assert!(index.insert(path, path, 1).is_empty()));
        paths.iter().for_each(|path| assert_eq!(index.get(path), Some(*path)));
        assert_eq!(index.get(&"/b"), None);
        assert_eq!(index.remove(&"/a"), Some("/a"));
        assert_eq!((index.get(&"/a"), index.get(&"/")), (None, Some("/")));
    }
}
