//! Which fetches are under way for which key.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fill::{Fill, Meant};
use super::log::Reader;
use super::terms::Terms;
use super::{Company, Fetch};
use crate::http::head::RequestHead;
use crate::http::range::Spec;
use crate::policy::control;
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

/// How a request takes part in a fetch.
#[derive(Debug)]
pub(super) enum Joined {
    /// It is to start one.
    Lead(Reader),
    /// One is under way.
    Follow(Reader),
}

/// A request that looks for a fetch to follow.
#[derive(Debug)]
pub(super) struct Seeker<'a> {
    pub(super) fetch: &'a Fetch,
    pub(super) company: &'a Company,
    pub(super) terms: Terms,
}

/// Whether others may follow the fetch that a request causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Listed,
    /// Its response will be for itself alone.
    Unlisted,
}

impl Listing {
    fn of(request: &RequestHead) -> Self {
        // RFC 9111 §5.2.1.5.
        if control::of_request(&request.headers).no_store { Self::Unlisted } else { Self::Listed }
    }
}

impl Seeker<'_> {
    fn may_follow(&self, fill: &Fill) -> bool {
        self.suits(fill) && self.terms.allow(&fill.cause, &self.fetch.cause)
    }

    fn suits(&self, fill: &Fill) -> bool {
        match (self.company, &fill.meant) {
            (Company::Slice(wanted), Meant::Slice(fetched)) => wanted == fetched,
            (Company::Range(wanted), Meant::Range(fetched)) => wanted == fetched,
            (Company::Slice(_), _) | (_, Meant::Slice(_) | Meant::Range(_)) => false,
            (Company::Range(Spec::From { first, .. }) | Company::Passing(first), _) => {
                fill.will_soon_be_at(*first)
            }
            (_, Meant::ForLike(selecting)) => selecting.matches(&self.fetch.request),
            (company, Meant::ForAll) => matches!(company, Company::Any),
        }
    }

    /// For whom the fetch is that it causes; none if only for itself.
    fn meant(&self) -> Option<Meant> {
        match (Listing::of(&self.fetch.request), self.company) {
            (Listing::Unlisted, _) => None,
            (Listing::Listed, Company::Any) => Some(Meant::ForAll),
            (Listing::Listed, Company::Alike(selecting)) => Some(Meant::ForLike(selecting.clone())),
            (Listing::Listed, Company::Slice(slice)) => Some(Meant::Slice(*slice)),
            (Listing::Listed, Company::Range(spec)) => Some(Meant::Range(*spec)),
            (Listing::Listed, Company::Passing(_) | Company::Alone) => None,
        }
    }
}

impl Table {
    /// Joins a fetch that this request may follow, or lists a new one for others to follow.
    pub(super) fn join(
        &self,
        seeker: &Seeker<'_>,
        start: impl FnOnce(Meant) -> Reader,
        is_void: impl Fn(&Fill) -> bool,
    ) -> Joined {
        if matches!(seeker.company, Company::Alone) {
            return Joined::Lead(start(Meant::ForAll));
        }
        let key = &seeker.fetch.key;
        let mut shard = self.shard(key);
        let fills = shard.get(key).map_or(&[][..], Vec::as_slice);
        let open = |fill: &&Arc<Fill>| seeker.may_follow(fill) && !is_void(fill);
        // The newest first: an older one beside it takes long.
        if let Some(reader) = fills.iter().rev().filter(open).find_map(|fill| fill.reader()) {
            return Joined::Follow(reader);
        }
        let Some(meant) = seeker.meant() else { return Joined::Lead(start(Meant::ForAll)) };
        let reader = start(meant);
        shard.entry(key.clone()).or_default().push(Arc::clone(reader.fill()));
        Joined::Lead(reader)
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

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash % SHARDS as u64).expect("less than SHARDS");
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
