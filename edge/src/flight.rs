//! Fetches from origins: many requests for one key share one fetch, and read its body while it arrives.
//!
//! ```text
//! fetch ─▶ join ─┬─ lead: a task of the cache's own ─▶ origin ─▶ Verdict ─▶ log ─▶ store
//!                ├─ follow: wait for the Verdict, then read the log ◀─────────┘
//!                └─ apart: as lead, but nobody follows, so that the request's own task asks
//! ```
//!
//! Here requests wait and are woken, and memory is accounted for; [`crate::decide`] decides which request may
//! wait for which fetch, and which ones it answers.
//!
//! Invariant: no fill is owned by a client; it ends with its last reader, unless it is nearly done or in the background. The
//! task of a request that goes apart waits for the head itself, as nobody else could read it.
//! Invariant: a slow reader holds at most the fill budget. It delays other readers of the same fill by at most two seconds
//! and 25 %.
//! Invariant: a fill that a purge covers gets no new reader and is not stored.

pub(crate) mod canary;
pub(crate) mod dictionaries;
mod fill;
pub mod log;
mod marker;
mod reader;
pub mod reasons;
mod rest;
mod sending;
mod table;
pub(crate) mod tally;
#[cfg(test)]
mod tests;
mod verdict;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Version};

pub use fill::INTERRUPTED;
pub use fill::passing::Encoded;
pub use reader::{Reader, Unfinished};
pub use rest::Elsewhere;
pub use verdict::{Cut, Filling, Own, Verdict};

use crate::clock::Clock;
use crate::decide::share::{Likeness, Seeker};
use crate::decide::terms::Moments;
use crate::decide::{Cause, Company, Credentials, Meant, Role, Standing, Terms};
use crate::http::head::{RequestHead, ResponseHead};
use crate::metrics::{Metrics, SiteMetrics};
use crate::origin::{Answered, Early, Held, OriginBody, Origins};
use crate::policy::encoding::Coding;
use crate::policy::freshness;
use crate::site::Site;
use crate::site::key::Key;
use crate::store::block::own_block;
use crate::store::{Mode, Object, Store, Ticket, Variants};
pub use canary::Canary;
use dictionaries::Dictionaries;
use fill::Fill;
use fill::encode::{Effort, Encoder, Room, Work};
use fill::passing;
use marker::{Apart, Markers};
use reasons::Reasons;
pub use sending::{Sticks, Unsaid};
use table::{Joined, Table};
pub use tally::Tally;

/// Every fetch under way.
#[derive(Debug)]
pub struct Flights {
    table: Table,
    apart: Apart,
    failing: Markers,
    moments: Moments,
    store: Arc<Store>,
    clock: Clock,
    metrics: Metrics,
    /// This edge's name in the fields that it adds.
    name: String,
    /// Room for bodies that are encoded while they fill.
    encoders: Room,
    /// Room for bodies that are encoded on their way to one client.
    passing: Room,
    /// Why the last answers were not kept.
    pub reasons: Reasons,
    /// Texts that clients may have.
    pub dictionaries: Arc<Dictionaries>,
}

/// One site as a fetch needs it.
#[derive(Debug)]
pub struct FetchSite {
    /// No other has it, nor one of another config.
    pub number: u64,
    /// Its rules.
    pub site: Arc<Site>,
    /// Other edges to fetch from, if they are up.
    pub parents: Option<Arc<Origins>>,
    /// Where to fetch from.
    pub origins: Arc<Origins>,
    /// Where to fetch a share from.
    pub canary: Option<Arc<Canary>>,
    /// The outcomes of its requests to its parents and its origins, lately.
    pub tally: Tally,
    /// The site's counters.
    pub metrics: SiteMetrics,
    /// Whether the log has said that the clock of one of them differs.
    pub clock_told: AtomicBool,
    /// Whether the log has said that one of them sends a URL to itself.
    pub circle_told: AtomicBool,
}

impl FetchSite {
    /// Says once if the origin's clock differs: one that is behind makes responses look old, so that little is a hit.
    fn look_at_clock(&self, head: &ResponseHead, answered: &Answered) {
        let skew_secs = freshness::skew_secs(head, answered.asked, answered.received);
        let differs = skew_secs.unsigned_abs() >= freshness::SKEW_TOLD_SECS;
        if differs && !self.clock_told.swap(true, Ordering::Relaxed) {
            let which =
                if skew_secs > 0 { "behind: its responses look older than they are" } else { "ahead" };
            tracing::warn!(
                site = self.site.name.as_str(),
                "an origin's clock is {} s {which}",
                skew_secs.unsigned_abs()
            );
        }
    }
}

/// A plan for asking an origin, about stored objects.
pub type Plan = crate::decide::Plan<Arc<Object>>;

/// Everything a fetch needs, owned by its task.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The site whose origins and rules apply.
    pub site: Arc<FetchSite>,
    /// Where the response will be stored.
    pub key: Key,
    /// The request that caused it.
    pub request: Arc<RequestHead>,
    /// When that arrived, and whose it is.
    pub cause: Cause,
    /// Its client, for `X-Forwarded-For`.
    pub client: IpAddr,
    /// Its version, for `Via`.
    pub version: Version,
    /// The receiver of the origin's 1xx heads; none in the background.
    pub early: Option<Early>,
    /// The plan for asking the origin.
    pub plan: Plan,
    /// The request is a QUERY with this content, which is answered as a GET of its key is; the inner one is none if it
    /// has none.
    pub content: Option<Option<Held>>,
}

/// RFC 10008 §2.
#[must_use]
pub fn query() -> Method {
    Method::from_bytes(b"QUERY").expect("a token")
}

/// How a request takes part in a fetch.
#[derive(Debug)]
pub struct Participation {
    /// The verdict that the response's head decided.
    pub verdict: Verdict,
    /// The right to read the log.
    pub reader: Reader,
    /// Whether this request caused the fetch, so that the response is its own.
    pub role: Role,
    /// Whether the fetch is as good as the request's own: begun after it arrived, and for one like it.
    pub standing: Standing,
    /// How much the request is like the one that caused the fetch.
    pub likeness: Likeness,
}

/// Why a request took part in no fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// A purge has covered the one that it followed.
    Purged,
    /// One has ended, and its response is stored.
    Ended,
}

impl Flights {
    /// No fetch under way.
    #[must_use]
    pub fn new(store: Arc<Store>, clock: Clock, metrics: Metrics, name: String) -> Self {
        let table = Table::default();
        let encoders = Room::new(store.fills(), Effort::Stored);
        let passing = Room::new(store.fills(), Effort::Passed);
        let disks = Arc::downgrade(&store);
        let folder = move || disks.upgrade()?.disks().folder();
        let folder = (!store.disks().is_empty()).then_some(folder);
        let dictionaries = Dictionaries::new(store.fills(), metrics.clone(), folder);
        let (apart, failing, moments) = (Apart::default(), Markers::default(), Moments::default());
        Self {
            table,
            apart,
            failing,
            moments,
            store,
            clock,
            metrics,
            name,
            encoders,
            passing,
            reasons: Reasons::default(),
            dictionaries,
        }
    }

    /// The request of these fields has arrived.
    #[must_use]
    pub fn arrived(&self, headers: &HeaderMap) -> Cause {
        Cause { at: self.moments.next(), credentials: Credentials::of(headers) }
    }

    /// Takes part in a fetch for the key, or causes one, and waits for its verdict.
    ///
    /// # Errors
    /// When a purge has covered the fetch that this request followed, or one was stored since the request has `seen` the
    /// store.
    pub async fn fetch(
        self: &Arc<Self>,
        fetch: &Fetch,
        company: &Company,
        terms: Terms,
        seen: &Variants,
    ) -> Result<Participation, Missed> {
        let _waiting = self.metrics.waiting();
        let joined = self.join(fetch, company, terms, seen).await;
        let (reader, role) = match joined {
            Joined::Lead(reader) => {
                self.launch(fetch.clone(), Arc::clone(reader.fill()));
                (reader, Role::Leader)
            }
            Joined::Alone(reader) => {
                fill::run_alone(Arc::clone(self), fetch.clone(), Arc::clone(reader.fill())).await;
                (reader, Role::Leader)
            }
            Joined::Follow(reader) => self.follow(fetch, reader).await,
            Joined::Ended => return Err(Missed::Ended),
        };
        let verdict = reader.fill().verdict().await;
        // Its tags are known now, and a purge of one may have come before this request.
        let is_void = role == Role::Follower && self.is_purged(reader.fill(), fetch);
        let as_own = role == Role::Leader || Terms::LikeSince.allow(&reader.fill().cause, &fetch.cause);
        let standing = if as_own { Standing::AsOwn } else { Standing::Another };
        let likeness = Likeness::of(&reader.fill().request, &fetch.request);
        match is_void {
            true => Err(Missed::Purged),
            false => Ok(Participation { verdict, reader, role, standing, likeness }),
        }
    }

    /// Waits for the verdict of another's fetch. If that takes too long, one of those who wait asks once more, and all
    /// take what comes first; how long an origin may take is its site's to say.
    async fn follow(self: &Arc<Self>, fetch: &Fetch, first: Reader) -> (Reader, Role) {
        tokio::select! {
            biased;
            _ = first.fill().verdict() => return (first, Role::Follower),
            () = self.clock.timer(FOLLOW_LIMIT) => {}
        }
        let (second, role) =
            match table::relieve(first.fill(), || self.start(fetch, first.fill().meant.clone())) {
                None | Some(Joined::Ended) => return (first, Role::Follower),
                Some(Joined::Follow(second)) => (second, Role::Follower),
                Some(Joined::Lead(second) | Joined::Alone(second)) => {
                    self.table.list(&fetch.key, second.fill());
                    self.launch(fetch.clone(), Arc::clone(second.fill()));
                    (second, Role::Leader)
                }
            };
        let takes_first = tokio::select! {
            biased;
            verdict = first.fill().verdict() => !verdict.is_failure(),
            verdict = second.fill().verdict() => verdict.is_failure(),
        };
        if takes_first { (first, Role::Follower) } else { (second, role) }
    }

    /// Stores a response that is already here, to be read as it comes like one that was fetched.
    pub async fn adopt(self: &Arc<Self>, fetch: Fetch, answered: Answered, ticket: Ticket) -> Participation {
        let share = self.store.fills().share();
        let reader = Reader::first(Fill::new(Meant::ForAll, &fetch, fetch.cause.clone(), ticket, share));
        tokio::spawn(fill::adopt(Arc::clone(self), fetch, Arc::clone(reader.fill()), answered));
        let verdict = reader.fill().verdict().await;
        Participation {
            verdict,
            reader,
            role: Role::Leader,
            standing: Standing::AsOwn,
            likeness: Likeness::Twin,
        }
    }

    /// Fetches without anyone waiting, unless a fetch for the key is under way, or one failed a moment ago: nobody is
    /// helped by asking an origin in trouble once for each request that is answered without it.
    pub fn refresh(self: &Arc<Self>, fetch: Fetch, company: &Company) {
        if self.failing.holds(&fetch.key, self.clock.now()) {
            return;
        }
        let fetch = Fetch { early: None, ..fetch };
        let seen = self.store.get(&fetch.key, &fetch.site.site.name);
        if let Ok(Joined::Lead(reader)) = self.list(&fetch, company, Terms::Any, &seen) {
            reader.fill().log.stay();
            self.launch(fetch, Arc::clone(reader.fill()));
        }
    }

    /// Encodes a body that is here already, as it would have been while it filled. None: there is no memory for it now,
    /// or others that are encoded did not end in time.
    ///
    /// # Errors
    /// When the encoder fails.
    pub async fn encode(&self, coding: Coding, pieces: &[Bytes]) -> io::Result<Option<Vec<Bytes>>> {
        let in_turn = tokio::select! {
            biased;
            encoder = Encoder::in_turn(coding, &self.encoders) => encoder,
            () = self.clock.timer(TURN_LIMIT) => None,
        };
        let Some(mut encoder) = in_turn else { return Ok(None) };
        let mut encoded = BytesMut::new();
        for work in pieces.iter().cloned().map(Work::Encode).chain([Work::End]) {
            encoded.extend_from_slice(&encoder.work(work).await?);
        }
        Ok(Some(vec![own_block(&[encoded.freeze()])]))
    }

    /// Encodes a body on its way to one client. It comes back as it is if there is no room for that now: a client that
    /// waited for others would wait for those who read slowly.
    ///
    /// # Errors
    /// The body.
    pub fn encode_passed(
        &self,
        coding: Coding,
        body: OriginBody,
        site: &SiteMetrics,
    ) -> Result<Encoded, Box<OriginBody>> {
        match Encoder::new(coding, &self.passing) {
            Some(encoder) => Ok(passing::encoded(body, encoder, site)),
            None => Err(Box::new(body)),
        }
    }

    /// Joins a fetch or starts one; behind others, if too many ask for the key that are each unlike the others.
    async fn join(&self, fetch: &Fetch, company: &Company, terms: Terms, seen: &Variants) -> Joined {
        let goes_apart = self.apart.holds(fetch, company, self.clock.now());
        let company = if goes_apart { &Company::Alone } else { company };
        let mut patience = None;
        loop {
            let before = match self.list(fetch, company, terms, seen) {
                Ok(joined) => return joined,
                Err(before) => before,
            };
            let patience = patience.get_or_insert_with(|| self.clock.timer(FOLLOW_LIMIT));
            tokio::select! {
                biased;
                _ = before.verdict() => {}
                () = patience => return Joined::Lead(self.start(fetch, Meant::ForAll)),
            }
        }
    }

    fn list(
        &self,
        fetch: &Fetch,
        company: &Company,
        terms: Terms,
        seen: &Variants,
    ) -> Result<Joined, Arc<Fill>> {
        let is_void = |fill: &Fill| self.is_purged(fill, fetch);
        let has_ended = || {
            let stored = self.store.get(&fetch.key, &fetch.site.site.name);
            let newest = stored.first();
            newest.is_some_and(|newest| !seen.first().is_some_and(|seen| Arc::ptr_eq(seen, newest)))
        };
        let seeker = Seeker { request: &fetch.request, cause: &fetch.cause, company, terms };
        self.table.join(&fetch.key, &seeker, |meant| self.start(fetch, meant), is_void, has_ended)
    }

    fn start(&self, fetch: &Fetch, meant: Meant) -> Reader {
        let cause = Cause { at: self.moments.next(), ..fetch.cause.clone() };
        Reader::first(Fill::new(meant, fetch, cause, self.store.begin(), self.store.fills().share()))
    }

    fn is_purged(&self, fill: &Fill, fetch: &Fetch) -> bool {
        self.purged(fill, fetch, fill.shared_headers().as_ref()).is_some()
    }

    fn purged(&self, fill: &Fill, fetch: &Fetch, headers: Option<&HeaderMap>) -> Option<Mode> {
        self.store.purged(&fill.ticket, &fetch.key, &fetch.site.site.name, headers)
    }

    fn launch(self: &Arc<Self>, fetch: Fetch, fill: Arc<Fill>) {
        tokio::spawn(fill::run(Arc::clone(self), fetch, fill));
    }

    /// The origin failed: this key is not refreshed for a moment.
    pub fn mark_failing(&self, key: &Key) {
        self.failing.mark(key, self.clock.now() + REFRESH_PAUSE);
    }
}

/// A body waits this long for those before it: most pages are encoded in milliseconds once they are there.
const TURN_LIMIT: Duration = Duration::from_secs(10);
/// A follower waits this long for the head of another's response; then one of them asks once more.
const FOLLOW_LIMIT: Duration = Duration::from_secs(15);
/// How long after a failure a key is not refreshed in the background: short beside what people set for
/// `stale-while-revalidate`, and long beside the time between two requests for a busy page.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);
