//! Which fetches are under way for which key.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Company;
use super::fill::Fill;
use super::log::Reader;
use crate::key::Key;
use crate::policy::RequestHead;
use crate::store::Ticket;

/// The fetches that others may follow, by key.
#[derive(Debug, Default)]
pub(super) struct Table {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

type Shard = HashMap<Key, Vec<Arc<Fill>>>;

/// So that misses of different keys seldom wait for one lock.
const SHARDS: usize = 16;

/// How a request takes part in a fetch.
#[derive(Debug)]
pub(super) enum Joined {
    /// It is to start one.
    Lead(Reader),
    /// One is under way.
    Follow(Reader),
}

impl Table {
    /// Joins a fetch that this request may follow, or lists a new one for others to follow.
    pub(super) fn join(
        &self,
        key: &Key,
        request: &RequestHead,
        company: Company,
        begin: impl FnOnce() -> Ticket,
        is_void: impl Fn(&Fill) -> bool,
    ) -> Joined {
        let expects = match company {
            Company::Any => None,
            Company::Alike(selecting) => Some(selecting),
            Company::Alone => return Joined::Lead(Fill::start(None, begin())),
        };
        let mut shard = self.shard(key);
        let fills = shard.entry(key.clone()).or_default();
        let suits = |fill: &Arc<Fill>| match &fill.expects {
            None => expects.is_none(),
            Some(selecting) => selecting.matches(request),
        };
        let open = fills.iter().filter(|fill| suits(fill) && !is_void(fill)).find_map(|fill| fill.reader());
        if let Some(reader) = open {
            return Joined::Follow(reader);
        }
        let reader = Fill::start(expects, begin());
        fills.push(Arc::clone(reader.fill()));
        Joined::Lead(reader)
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

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash % SHARDS as u64).expect("less than SHARDS");
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
