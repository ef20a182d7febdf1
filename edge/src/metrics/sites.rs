//! Requests and responses of each site, their bytes, and how long clients waited for their heads and for all of them.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::Metrics;
use super::spread::{Counter, Durations};
use crate::clock::monotonic;

/// The metrics of all sites.
#[derive(Debug)]
pub(super) struct Sites {
    requests: Family<Request, Counter>,
    responses: Family<Response, Counter>,
    hit_seconds: Family<OfSite, Durations, fn() -> Durations>,
    miss_seconds: Family<OfSite, Durations, fn() -> Durations>,
    /// See [`Counters::at_once_seconds`].
    at_once_seconds: Family<OfSite, Durations, fn() -> Durations>,
    whole_seconds: Family<Whole, Durations, fn() -> Durations>,
    received_bytes: Family<OfSite, Counter>,
    sent_bytes: Family<OfSite, Counter>,
    origin_bytes: Family<OfSite, Counter>,
    fills: Family<OfSite, Counter>,
}

/// The counters of one site; clones count together.
#[derive(Debug, Clone)]
pub struct SiteMetrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    requests: [Counter; OUTCOMES.len()],
    responses: [Counter; CLASSES.len()],
    hit_seconds: Durations,
    miss_seconds: Durations,
    /// Of hits that went as a whole with their heads, as most do. They are told of once, and are in `hit_seconds` and in
    /// `whole_seconds`.
    at_once_seconds: Durations,
    /// Until the end of the response, in the order of [`SOURCES`].
    whole_seconds: [Durations; SOURCES.len()],
    received_bytes: Counter,
    sent_bytes: Counter,
    origin_bytes: Counter,
    fills: Counter,
    /// Those of the whole edge.
    all: Metrics,
}

/// How a request ended, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From a fresh entry.
    Hit,
    /// From a stale one.
    Stale,
    /// Stored, and the origin said that it still holds.
    Revalidated,
    /// From the origin, and storable.
    Miss,
    /// From another request's fetch.
    Collapsed,
    /// From the origin, and not stored.
    Pass,
    /// By a redirect of the site's.
    Redirect,
    /// By the edge itself: a purge that a CMS sent.
    Local,
    /// Refused by us.
    Refused,
    /// No origin answered.
    Failed,
}

impl Outcome {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Pass => "pass",
            Self::Redirect => "redirect",
            Self::Local => "local",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// How its time is counted. Those of answers that the edge makes up tell nothing of the cache: a flood that is refused
    /// would make all look fast.
    fn source(self) -> Option<Source> {
        match self {
            Self::Hit | Self::Stale => Some(Source::Hit),
            Self::Revalidated | Self::Miss | Self::Collapsed | Self::Pass | Self::Failed => {
                Some(Source::Miss)
            }
            Self::Redirect | Self::Local | Self::Refused => None,
        }
    }
}

/// The source of an answer, by which its time is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The store.
    Hit,
    /// An origin, for which the client had to wait.
    Miss,
}

/// In the order of the enum.
const SOURCES: [Source; 2] = [Source::Hit, Source::Miss];

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }
}

/// An answer under way: dropped when it has ended, it counts how long that took.
#[derive(Debug)]
pub(crate) struct Timed {
    site: SiteMetrics,
    source: Source,
    began: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        let took = monotonic().saturating_duration_since(self.began);
        self.site.0.whole_seconds[self.source as usize].observe(took);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSite {
    site: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whole {
    site: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    site: String,
    cache: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    site: String,
    status: &'static str,
}

/// In the order of the enum: a counter's place is its outcome's number.
const OUTCOMES: [Outcome; 10] = [
    Outcome::Hit,
    Outcome::Stale,
    Outcome::Revalidated,
    Outcome::Miss,
    Outcome::Collapsed,
    Outcome::Pass,
    Outcome::Redirect,
    Outcome::Local,
    Outcome::Refused,
    Outcome::Failed,
];

/// The classes of status codes, by their first digit (RFC 9110 §15).
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A hit is answered from memory: microseconds matter.
const HIT_SECONDS: [f64; 9] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.1, 1.0];
/// A miss waits for an origin.
pub(super) const MISS_SECONDS: [f64; 11] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// The same for hits and misses, so that they can be added up. The least are among those of hits.
const WHOLE_SECONDS: [f64; 12] =
    [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

impl Default for Sites {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            responses: Family::default(),
            hit_seconds: Family::new_with_constructor(|| Durations::new(&HIT_SECONDS)),
            miss_seconds: Family::new_with_constructor(|| Durations::new(&MISS_SECONDS)),
            at_once_seconds: Family::new_with_constructor(|| Durations::new(&HIT_SECONDS)),
            whole_seconds: Family::new_with_constructor(|| Durations::new(&WHOLE_SECONDS)),
            received_bytes: Family::default(),
            sent_bytes: Family::default(),
            origin_bytes: Family::default(),
            fills: Family::default(),
        }
    }
}

impl Sites {
    /// `page` has those that the status page is made of.
    pub(super) fn register(&self, page: &mut Registry, registry: &mut Registry) {
        page.register("requests", "Requests by how the cache answered them", self.requests.clone());
        let responses = "Responses by the class of their status code";
        page.register("responses", responses, self.responses.clone());
        let hit = "From the request's head to the response's, of hits, fresh or stale";
        page.register_with_unit("hit_duration", hit, Unit::Seconds, self.hit_seconds.clone());
        let miss = "From the request's head to the response's, with an origin in between";
        page.register_with_unit("miss_duration", miss, Unit::Seconds, self.miss_seconds.clone());
        let whole = "From the request's head until the connection took the last byte of the response, or it ended otherwise";
        let whole_seconds = self.whole_seconds.clone();
        registry.register_with_unit("response_duration", whole, Unit::Seconds, whole_seconds);
        let received = "Body bytes that clients sent";
        registry.register_with_unit("received", received, Unit::Bytes, self.received_bytes.clone());
        page.register_with_unit("sent", "Body bytes sent to clients", Unit::Bytes, self.sent_bytes.clone());
        let origin = "Body bytes read from origins";
        page.register_with_unit("origin", origin, Unit::Bytes, self.origin_bytes.clone());
        registry.register("fills", "Fetches from origins whose response was storable", self.fills.clone());
    }

    pub(super) fn of(&self, site: &str, all: &Metrics) -> SiteMetrics {
        let request = |outcome: Outcome| {
            let labels = Request { site: site.to_owned(), cache: outcome.as_str() };
            self.requests.get_or_create_owned(&labels)
        };
        let response =
            |status| self.responses.get_or_create_owned(&Response { site: site.to_owned(), status });
        let own = OfSite { site: site.to_owned() };
        let whole_seconds = SOURCES.map(|source| {
            let labels = Whole { site: site.to_owned(), result: source.as_str() };
            self.whole_seconds.get_or_create_owned(&labels)
        });
        let hit_seconds = self.hit_seconds.get_or_create_owned(&own);
        let at_once_seconds = self.at_once_seconds.get_or_create_owned(&own);
        hit_seconds.take_in(&at_once_seconds);
        whole_seconds[Source::Hit as usize].take_in(&at_once_seconds);
        SiteMetrics(Arc::new(Counters {
            requests: OUTCOMES.map(request),
            responses: CLASSES.map(response),
            hit_seconds,
            miss_seconds: self.miss_seconds.get_or_create_owned(&own),
            at_once_seconds,
            whole_seconds,
            received_bytes: self.received_bytes.get_or_create_owned(&own),
            sent_bytes: self.sent_bytes.get_or_create_owned(&own),
            origin_bytes: self.origin_bytes.get_or_create_owned(&own),
            fills: self.fills.get_or_create_owned(&own),
            all: all.clone(),
        }))
    }
}

impl SiteMetrics {
    /// A request was answered with a head of this status.
    pub(crate) fn answered(&self, outcome: Outcome, status: StatusCode) {
        let Counters { requests, responses, .. } = &*self.0;
        requests[outcome as usize].inc();
        // A status code has three digits, and one above 599 is an origin's mistake: clients take it for 5xx.
        responses[usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1].inc();
    }

    /// The head of an answer is there, so long after its request's, which `began` it; the rest of it is under way for as
    /// long as the result lives. None for an answer whose time is not counted.
    pub(crate) fn begun(&self, outcome: Outcome, began: Instant, waited: Duration) -> Option<Timed> {
        let source = outcome.source()?;
        let Counters { hit_seconds, miss_seconds, .. } = &*self.0;
        match source {
            Source::Hit => hit_seconds.observe(waited),
            Source::Miss => miss_seconds.observe(waited),
        }
        Some(Timed { site: self.clone(), source, began })
    }

    /// A hit was there as a whole, so long after its request's head.
    pub(crate) fn hit_at_once(&self, waited: Duration) {
        self.0.at_once_seconds.observe(waited);
    }

    /// Whether both count together.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Body bytes came from a client.
    pub fn received(&self, bytes: usize) {
        self.0.received_bytes.inc_by(bytes as u64);
    }

    /// Body bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        self.0.sent_bytes.inc_by(bytes as u64);
    }

    /// Body bytes came from an origin.
    pub fn fetched(&self, bytes: usize) {
        self.0.origin_bytes.inc_by(bytes as u64);
    }

    /// A storable response began to fill.
    pub fn filling(&self) {
        self.0.fills.inc();
    }

    /// So many body bytes are to be sent.
    pub fn owes(&self, bytes: u64) {
        self.0.all.owes(bytes);
    }

    /// So many of them were sent, or will not be.
    pub fn owes_less(&self, bytes: u64) {
        self.0.all.owes_less(bytes);
    }
}
