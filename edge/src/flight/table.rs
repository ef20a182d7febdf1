//! Which fetches are under way for which key.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::fill::Fill;
use super::reader::Reader;
use crate::decide::share::Seeker;
use crate::decide::{Company, Meant};
use crate::site::key::Key;

/// The fetches that others may follow, by key.
#[derive(Debug, Default)]
pub(super) struct Table {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

type Shard = HashMap<Key, Vec<Arc<Fill>>>;

/// So that misses of different keys seldom wait for one lock.
const SHARDS: usize = 16;

/// After an error, requests that are not the same each ask for themselves, as any field may have caused it. So many at
/// once for a key: an origin in trouble is not asked by a whole crowd.
const MOST_UNLIKE: usize = 16;

/// How a request takes part in a fetch.
#[derive(Debug)]
pub(super) enum Joined {
    /// It is to start one.
    Lead(Reader),
    /// It is to start one that no other request can follow.
    Alone(Reader),
    /// One is under way.
    Follow(Reader),
    /// One has ended since the request looked at the store, which has its response.
    Ended,
}

/// Joins the fetch that was begun because `slow` takes long, or begins it. None: it is over, or nobody may join it any
/// more.
pub(super) fn relieve(slow: &Fill, start: impl FnOnce() -> Reader) -> Option<Joined> {
    let mut relief = slow.relief.lock().unwrap_or_else(PoisonError::into_inner);
    if relief.strong_count() == 0 && relief.ptr_eq(&Weak::new()) {
        let reader = start();
        *relief = Arc::downgrade(reader.fill());
        return Some(Joined::Lead(reader));
    }
    Reader::join(&relief.upgrade()?).map(Joined::Follow)
}

impl Table {
    /// Joins a fetch that this request may follow, or lists a new one for others to follow.
    ///
    /// # Errors
    /// When as many requests that are each unlike the others ask for the key as may at once: one of their fetches, which
    /// is to be waited for.
    pub(super) fn join(
        &self,
        key: &Key,
        seeker: &Seeker<'_>,
        start: impl FnOnce(Meant) -> Reader,
        is_void: impl Fn(&Fill) -> bool,
        has_ended: impl Fn() -> bool,
    ) -> Result<Joined, Arc<Fill>> {
        if matches!(seeker.company, Company::Alone) {
            return Ok(Joined::Alone(start(Meant::ForAll)));
        }
        let mut shard = self.shard(key);
        let fills = shard.get(key).map_or(&[][..], Vec::as_slice);
        let may_follow =
            |fill: &Fill| seeker.may_follow(&fill.candidate(), |first| fill.will_soon_be_at(first));
        let open = |fill: &&Arc<Fill>| may_follow(fill) && !is_void(fill);
        // The newest first: an older one beside it takes long.
        if let Some(reader) = fills.iter().rev().filter(open).find_map(Reader::join) {
            return Ok(Joined::Follow(reader));
        }
        // A fetch is stored before it is unlisted: with no fetch here, the store has been given what there was.
        if has_ended() {
            return Ok(Joined::Ended);
        }
        let asking = || fills.iter().filter(|fill| fill.meant == Meant::ForTwins && fill.is_asking());
        if matches!(seeker.company, Company::Twins) && asking().count() >= MOST_UNLIKE {
            return asking()
                .next()
                .map_or_else(|| Ok(Joined::Lead(start(Meant::ForTwins))), |one| Err(Arc::clone(one)));
        }
        let Some(meant) = seeker.meant() else { return Ok(Joined::Lead(start(Meant::ForAll))) };
        let reader = start(meant);
        shard.entry(key.clone()).or_default().push(Arc::clone(reader.fill()));
        Ok(Joined::Lead(reader))
    }

    /// Lists a fetch for others to follow.
    pub(super) fn list(&self, key: &Key, fill: &Arc<Fill>) {
        self.shard(key).entry(key.clone()).or_default().push(Arc::clone(fill));
    }

    /// Nobody follows this fetch from now on.
    pub(super) fn unlist(&self, key: &Key, fill: &Arc<Fill>) {
        let mut shard = self.shard(key);
        let Some(fills) = shard.get_mut(key) else { return };
        fills.retain(|listed| !Arc::ptr_eq(listed, fill));
        if fills.is_empty() {
            shard.remove(key);
        }
    }

    /// How many fetches are listed.
    #[cfg(test)]
    pub(super) fn fetches(&self) -> usize {
        let listed = |shard: &Mutex<Shard>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum::<usize>()
        };
        self.shards.iter().map(listed).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash % SHARDS as u64).expect("less than SHARDS");
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
