//! Which origin gets a fetch, and the connections to it.
//!
//! ```text
//! send ─▶ pick (balance, over healthy ones) ─▶ pool: an idle connection or a new one ─▶ response
//!            ▲ another origin, if this one never saw the request, or may see it twice │
//!            └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: the same origin gets a request again only when the connection hands it back unsent, or when a connection
//! that served others ends before any octet of an answer; then once, on a new connection, and only what may be repeated.

mod balance;
mod binding;
pub mod body;
mod coding;
mod connection;
mod dial;
pub mod health;
mod in_flight;
mod line;
mod load;
mod member;
pub mod names;
mod padded;
mod pool;
mod secure;
mod shape;
mod stream;
mod wire;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, Response, StatusCode};

pub use body::{Exceeded, Gathered, Held, OriginBody, RequestBody};
pub use secure::{Unusable, check};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::policy::Failure;
use crate::policy::headers::status::ProxyError;
use crate::site::key::Key;
use crate::site::{Balance, OriginAddress, Patience, Sharing, Site};
use balance::{Choice, Turns};
use connection::{Exchange, copy_of, is_repeatable};
use member::Member;

/// The origins of one site.
#[derive(Debug)]
pub struct Origins {
    all: Vec<Arc<Member>>,
    turns: Mutex<Turns>,
    sharing: Sharing,
    patience: Patience,
    /// Twentieths of a retry that may be spent.
    retries: AtomicI64,
    clock: Clock,
}

/// A response's head, with its body on the way.
#[derive(Debug)]
pub struct Answered {
    /// From the origin, as it came.
    pub response: Response<OriginBody>,
    /// When the request left.
    pub asked: SystemTime,
    /// When the head arrived.
    pub received: SystemTime,
}

/// The receiver of the 1xx heads that come before a response.
#[derive(Clone)]
pub struct Early(Arc<Tell>);

type Tell = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

impl Early {
    /// Calls `tell` for each.
    pub fn new(tell: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells of one that the edge has made itself.
    pub fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        (self.0)(status, headers);
    }

    /// Listens for those that come before this request's response.
    pub fn attach(&self, request: &mut Request<RequestBody>) {
        let tell = Arc::clone(&self.0);
        let expects = request.headers().contains_key(http::header::EXPECT);
        let go_ahead = if expects { request.body_mut().wait_for_go_ahead() } else { None };
        hyper::ext::on_informational(request, move |early| match &go_ahead {
            Some(go_ahead) if early.status() == StatusCode::CONTINUE => go_ahead.give(),
            _ => tell(early.status(), early.headers()),
        });
    }
}

impl std::fmt::Debug for Early {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Early")
    }
}

/// No origin answered.
#[derive(Debug, Clone, Copy)]
pub struct Unanswered {
    /// For policy: whether something stale may be served.
    pub failure: Failure,
    /// For `Proxy-Status`.
    pub error: ProxyError,
}

/// Whether another origin may get a request that one has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// If the method is idempotent, no body was sent and the budget allows.
    Another,
    /// Something stale can be served instead, which costs the origins nothing.
    Never,
}

impl Origins {
    /// The origins of a site, which has one at least. Those that are in `before`, too, keep their connections and what is
    /// known of them; the others are taken for healthy.
    #[must_use]
    pub fn new(site: &Site, before: &[Arc<Self>], clock: &Clock, metrics: &Metrics) -> Self {
        let idle = site.patience.idle;
        let member =
            |address: &OriginAddress| match before.iter().find_map(|group| group.known(address, idle)) {
                Some(member) => member,
                None => {
                    let metrics = metrics.origin(site.name.as_str(), &address.authority);
                    Arc::new(Member::new(address, idle, metrics))
                }
            };
        Self {
            all: site.origins.iter().map(member).collect(),
            turns: Mutex::default(),
            sharing: site.sharing,
            patience: site.patience,
            retries: AtomicI64::new(RETRY_COST * RETRY_BURST),
            clock: clock.clone(),
        }
    }

    fn known(&self, address: &OriginAddress, idle: Duration) -> Option<Arc<Member>> {
        self.all.iter().find(|member| member.is(address, idle)).map(Arc::clone)
    }

    /// Whether they are those of this site, under the same rules.
    #[must_use]
    pub fn are_of(&self, site: &Site) -> bool {
        self.sharing == site.sharing
            && self.patience == site.patience
            && self.all.iter().map(|member| &member.address).eq(&site.origins)
    }

    /// The number by which a request's key chooses among them, where keys do.
    #[must_use]
    pub fn place_of(&self, key: impl FnOnce() -> Key) -> Option<u64> {
        (self.sharing.balance == Balance::Hash).then(|| member::hash(key().as_bytes()))
    }

    /// Sends a request to an origin and waits for the head of its final response. `place` is what [`Self::place_of`] gave.
    ///
    /// # Errors
    /// When no origin gave one; the last origin's failure.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        retry: Retry,
        place: Option<u64>,
    ) -> Result<Answered, Unanswered> {
        let may_see_twice = retry == Retry::Another && is_repeatable(&request);
        self.earn_retry();
        let mut tried = Vec::with_capacity(1);
        loop {
            let index = self.pick(&tried, place);
            tried.push(index);
            let origin = &self.all[index];
            let in_flight = origin.begin();
            let spare = may_see_twice.then(|| copy_of(&request));
            let asked = self.clock.now();
            let outcome = origin.exchange(request, self.patience).await;
            let received = self.clock.now();
            let (error, again) = match outcome {
                Exchange::Answered(response) => {
                    origin.answered(asked, received);
                    let response = response.map(|body| body.counted(in_flight));
                    return Ok(Answered { response, asked, received });
                }
                Exchange::Unsent(back, error) => (error, Some(back)),
                // The client's own body broke off: no origin is to blame.
                Exchange::Lost(error @ (ProxyError::HttpRequestError | ProxyError::HttpRequestTimeout)) => {
                    return Err(Unanswered { failure: Failure::Unreachable, error });
                }
                // It is up and has answered, and would answer so again: a client that asks for what is framed wrongly
                // must not put it out of service.
                Exchange::Lost(error @ ProxyError::HttpResponseTransferCoding) => {
                    origin.succeeded(received);
                    return Err(Unanswered { failure: failure(error), error });
                }
                // An idle connection that closes is no sign of illness.
                Exchange::Dropped(error) => {
                    origin.unanswered(error);
                    return Err(Unanswered { failure: failure(error), error });
                }
                Exchange::Lost(error) => (error, spare.filter(|_| self.spend_retry())),
            };
            origin.failed(fault(error), received);
            origin.unanswered(error);
            tracing::warn!(target: "verge_edge::origin", origin = origin.address.authority, error = error.as_str(), "origin failed");
            match again {
                Some(back) if tried.len() < self.all.len().min(MAX_ORIGINS_TRIED) => request = back,
                _ => return Err(Unanswered { failure: failure(error), error }),
            }
        }
    }

    /// One that is up and was not tried: a backup if no other is; if none is up, one that was not tried.
    fn pick(&self, tried: &[usize], place: Option<u64>) -> usize {
        let now = self.clock.now();
        let mut barred = tried.to_vec();
        let open = |barred: &[usize], backup: bool| -> Vec<Choice> {
            let members = self.all.iter().enumerate().filter(|(_, member)| member.address.backup == backup);
            let fresh = members.filter(|(index, _)| !barred.contains(index));
            fresh.filter_map(|(index, member)| member.choice(index, self.sharing.slow_start, now)).collect()
        };
        let choose = |choices: &[Choice]| self.choose(choices, place);
        while let Some(chosen) = choose(&open(&barred, false)).or_else(|| choose(&open(&barred, true))) {
            if self.all[chosen].health.take(now) {
                return chosen;
            }
            // Another request tries whether it is back.
            barred.push(chosen);
        }
        let all = || self.all.iter().enumerate().map(|(index, member)| member.any(index, now));
        let fresh: Vec<Choice> = all().filter(|choice| !tried.contains(&choice.index)).collect();
        choose(&fresh)
            .or_else(|| choose(&all().collect::<Vec<_>>()))
            .expect("a site has at least one origin: config refuses none")
    }

    fn choose(&self, choices: &[Choice], place: Option<u64>) -> Option<usize> {
        let chance = || rand::random::<f64>();
        match (self.sharing.balance, place) {
            (Balance::RoundRobin, _) => {
                self.turns.lock().unwrap_or_else(PoisonError::into_inner).next(choices)
            }
            (Balance::LeastLoaded, _) => balance::least_loaded(choices, [chance(), chance()]),
            (Balance::Hash, Some(place)) => balance::by_hash(choices, place),
            (Balance::Random, _) | (Balance::Hash, None) => balance::by_chance(choices, chance()),
        }
    }

    fn earn_retry(&self) {
        let earn = |left: i64| (left < RETRY_COST * RETRY_BURST).then_some(left + 1);
        // Full is as good as earned.
        let _ = self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
    }

    fn spend_retry(&self) -> bool {
        let spend = |left: i64| (left >= RETRY_COST).then_some(left - RETRY_COST);
        self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }

    /// Each origin in a line for people: where it is, and how it stands.
    #[must_use]
    pub fn standing(&self) -> Vec<String> {
        let now = self.clock.now();
        self.all.iter().map(|member| member.told(now)).collect()
    }
}

/// Requests earn a retry each 20: a struggling site gets 5 % more load at most.
const RETRY_COST: i64 = 20;
/// Retries that may be saved up.
const RETRY_BURST: i64 = 10;
/// A client waits for this many origins at most.
const MAX_ORIGINS_TRIED: usize = 3;

fn fault(error: ProxyError) -> health::Fault {
    match error {
        ProxyError::ConnectionRefused
        | ProxyError::ConnectionTimeout
        | ProxyError::DestinationIpProhibited
        | ProxyError::TlsCertificateError
        | ProxyError::TlsProtocolError
        | ProxyError::DnsError => health::Fault::NoConnection,
        _ => health::Fault::NoResponse,
    }
}

fn failure(error: ProxyError) -> Failure {
    match error {
        ProxyError::ConnectionTimeout | ProxyError::HttpResponseTimeout => Failure::Timeout,
        _ => Failure::Unreachable,
    }
}
