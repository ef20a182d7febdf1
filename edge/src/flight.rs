//! One fetch per key however many ask; readers stream while it fills.
//!
//! ```text
//! fetch ─▶ join ─┬─ lead: a task of the cache's own ─▶ origin ─▶ Verdict ─▶ log ─▶ store
//!                ├─ follow: wait for the Verdict, then read the log ◀─────────┘
//!                └─ apart: as lead, but nobody follows
//! ```
//!
//! The response's head decides whether others may share it: they ask [`policy::reuse`](fn@crate::policy::reuse) about the
//! entry that is filling, as about a stored one, and fetch for themselves at once if it says no.
//!
//! Invariant: no fill is owned by a client; it ends with its last reader, unless it is nearly done or in the background.
//! Invariant: a reader that is slow costs the memory what the budget has, and another reader two seconds and a quarter of
//! its time at most.
//! Invariant: a fill that a purge has covered gets no new reader and is not stored.

mod fill;
pub mod log;
mod marker;
mod table;
mod verdict;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version};

pub use fill::INTERRUPTED;
pub use log::Reader;
pub use verdict::{Cut, Filling, Own, Plan, StandIn, Verdict, Why};

use crate::clock::Clock;
use crate::config::Site;
use crate::key::Key;
use crate::metrics::Metrics;
use crate::origin::{Answered, Early, Origins};
use crate::policy::encoding::Coding;
use crate::policy::{RequestHead, Selecting, range};
use crate::store::{Mode, Store, Ticket};
use fill::encode::{Encoder, Room, Work};
use fill::{Fill, Meant};
use marker::Markers;
use table::{Joined, Table};

/// Every fetch under way.
#[derive(Debug)]
pub struct Flights {
    table: Table,
    apart: Markers,
    failing: Markers,
    store: Arc<Store>,
    clock: Clock,
    metrics: Metrics,
    /// This edge's name in the fields that it adds.
    name: String,
    /// Room for bodies that are encoded while they fill.
    encoders: Room,
}

/// One site as a fetch needs it.
#[derive(Debug)]
pub struct FetchSite {
    /// Its place in the config.
    pub index: usize,
    /// Its rules.
    pub site: Arc<Site>,
    /// Where to fetch from.
    pub origins: Origins,
}

/// Everything a fetch needs, owned by its task.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Whose origins, by whose rules.
    pub site: Arc<FetchSite>,
    /// Where the response will be stored.
    pub key: Key,
    /// The request that caused it.
    pub request: RequestHead,
    /// Its client, for `X-Forwarded-For`.
    pub client: IpAddr,
    /// Its version, for `Via`.
    pub version: Version,
    /// Who gets the origin's 1xx heads; nobody in the background.
    pub early: Option<Early>,
    /// What to ask the origin.
    pub plan: Plan,
}

/// How a request takes part in a fetch.
#[derive(Debug)]
pub struct Part {
    /// What the response's head decided.
    pub verdict: Verdict,
    /// The right to read the log.
    pub reader: Reader,
    /// Whether this request caused the fetch, so that the response is its own.
    pub role: Role,
}

/// Whether a request caused the fetch that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It did.
    Leader,
    /// Another one did.
    Follower,
}

/// Whose fetch a request may follow.
#[derive(Debug, Clone)]
pub enum Company {
    /// Any for its key.
    Any,
    /// One that a request with the same selecting fields caused: the key's responses are known to vary.
    Alike(Selecting),
    /// One that fetches these slices.
    Slice(range::Part),
    /// One under way for the whole that will soon be at this byte.
    Passing(u64),
    /// None.
    Alone,
}

impl Flights {
    /// No fetch under way.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Clock, metrics: Metrics, name: String) -> Self {
        let table = Table::default();
        let encoders = Room::new(store.fills());
        let (apart, failing) = (Markers::default(), Markers::default());
        Self { table, apart, failing, store, clock, metrics, name, encoders }
    }

    /// Takes part in a fetch for the key, or causes one, and waits for its verdict. None: the fetch that this request
    /// followed took too long, and it had better ask alone.
    pub async fn fetch(self: &Arc<Self>, fetch: &Fetch, company: Company) -> Option<Part> {
        let (reader, role) = match self.join(fetch, company) {
            Joined::Lead(reader) => {
                self.launch(fetch.clone(), Arc::clone(reader.fill()));
                (reader, Role::Leader)
            }
            Joined::Follow(reader) => (reader, Role::Follower),
        };
        let limit = if role == Role::Leader { Duration::MAX } else { FOLLOW_LIMIT };
        let _waiting = self.metrics.waiting();
        let verdict = tokio::time::timeout(limit, reader.fill().verdict()).await.ok()?;
        // Its tags are known now, and a purge of one may have come before this request.
        let is_void = role == Role::Follower && self.is_purged(reader.fill(), fetch);
        (!is_void).then_some(Part { verdict, reader, role })
    }

    /// Stores a response that is already here, to be read as it comes like one that was fetched.
    pub async fn adopt(self: &Arc<Self>, fetch: Fetch, answered: Answered, ticket: Ticket) -> Part {
        let reader = Fill::start(Meant::ForAll, ticket, self.store.fills().share());
        tokio::spawn(fill::adopt(Arc::clone(self), fetch, Arc::clone(reader.fill()), answered));
        let verdict = reader.fill().verdict().await;
        Part { verdict, reader, role: Role::Leader }
    }

    /// Fetches without anyone waiting, unless a fetch for the key is under way, or one failed a moment ago: nobody is
    /// helped by asking an origin in trouble once for each request that is answered without it.
    pub fn refresh(self: &Arc<Self>, fetch: Fetch, company: Company) {
        if self.failing.holds(&fetch.key, self.clock.now()) {
            return;
        }
        let fetch = Fetch { early: None, ..fetch };
        if let Joined::Lead(reader) = self.list(&fetch, company) {
            reader.fill().log.stay();
            self.launch(fetch, Arc::clone(reader.fill()));
        }
    }

    /// Encodes a body that is here already, as it would have been while it filled. None: there is no memory for it now.
    ///
    /// # Errors
    /// When the encoder fails.
    pub async fn encode(&self, coding: Coding, pieces: &[Bytes]) -> io::Result<Option<Vec<Bytes>>> {
        let Some(mut encoder) = Encoder::in_turn(coding, &self.encoders).await else { return Ok(None) };
        let mut encoded = BytesMut::new();
        for work in pieces.iter().cloned().map(Work::Encode).chain([Work::End]) {
            encoded.extend_from_slice(&encoder.work(work).await?);
        }
        Ok(Some(vec![encoded.freeze()]))
    }

    fn join(&self, fetch: &Fetch, company: Company) -> Joined {
        let company = match company {
            _ if self.apart.holds(&fetch.key, self.clock.now()) => Company::Alone,
            other => other,
        };
        self.list(fetch, company)
    }

    fn list(&self, fetch: &Fetch, company: Company) -> Joined {
        let is_void = |fill: &Fill| self.is_purged(fill, fetch);
        let start = |meant| Fill::start(meant, self.store.begin(), self.store.fills().share());
        self.table.join(&fetch.key, &fetch.request, company, start, is_void)
    }

    fn is_purged(&self, fill: &Fill, fetch: &Fetch) -> bool {
        self.purged(fill, fetch, fill.shared_headers().as_ref()).is_some()
    }

    fn purged(&self, fill: &Fill, fetch: &Fetch, headers: Option<&HeaderMap>) -> Option<Mode> {
        self.store.purged(&fill.ticket, &fetch.key, fetch.site.index, headers)
    }

    fn launch(self: &Arc<Self>, fetch: Fetch, fill: Arc<Fill>) {
        tokio::spawn(fill::run(Arc::clone(self), fetch, fill));
    }

    /// The origin failed: this key is not refreshed for a moment.
    pub fn mark_failing(&self, key: &Key) {
        self.failing.mark(key, self.clock.now() + REFRESH_PAUSE);
    }

    /// Responses for this key are not for sharing: until then nobody waits for another's.
    fn mark_apart(&self, key: &Key, now: SystemTime) {
        self.apart.mark(key, now + APART_TIME);
    }
}

/// A follower waits this long for the head of another's response; then it asks for itself.
const FOLLOW_LIMIT: Duration = Duration::from_secs(15);
/// How long after a failure a key is not refreshed in the background: short beside what people set for
/// `stale-while-revalidate`, and long beside the time between two requests for a busy page.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);
/// How long a key's requests go apart after a response that could not be shared (hit-for-miss).
const APART_TIME: Duration = Duration::from_secs(10);
