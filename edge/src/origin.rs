//! Which origin gets a fetch, and the connections to it.
//!
//! ```text
//! send ─▶ pick (round robin over healthy ones) ─▶ pool: an idle connection or a new one ─▶ response
//!            ▲ another origin, if this one never saw the request, or may see it twice │
//!            └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: the same origin gets a request again only when the connection hands it back unsent, or when a connection
//! that served others ends before any octet of an answer; then once, on a new connection, and only what may be repeated.

mod binding;
pub mod body;
mod coding;
mod connection;
pub mod health;
pub mod names;
mod padded;
mod pool;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::SystemTime;

use http::{HeaderMap, Request, Response, StatusCode};

pub use body::{Exceeded, Gathered, Held, OriginBody, RequestBody};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::policy::Failure;
use crate::policy::headers::status::ProxyError;
use crate::site::{OriginAddress, Patience};
use connection::{Exchange, copy_of, is_repeatable};
use health::{Health, Standing};
use pool::Pool;

/// The origins of one site.
#[derive(Debug)]
pub struct Origins {
    all: Vec<Origin>,
    next: AtomicUsize,
    patience: Patience,
    /// Twentieths of a retry that may be spent.
    retries: AtomicI64,
    clock: Clock,
    metrics: Metrics,
}

#[derive(Debug)]
struct Origin {
    address: OriginAddress,
    pool: Pool,
    health: Health,
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
    /// The origins of a site, which has one at least, all taken for healthy.
    #[must_use]
    pub fn new(addresses: &[OriginAddress], patience: Patience, clock: &Clock, metrics: &Metrics) -> Self {
        let all = addresses.iter().map(|address| Origin {
            address: address.clone(),
            pool: Pool::new(patience.idle),
            health: Health::default(),
        });
        Self {
            all: all.collect(),
            next: AtomicUsize::new(0),
            patience,
            retries: AtomicI64::new(RETRY_COST * RETRY_BURST),
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Sends a request to an origin and waits for the head of its final response.
    ///
    /// # Errors
    /// When no origin gave one; the last origin's failure.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        retry: Retry,
    ) -> Result<Answered, Unanswered> {
        let may_see_twice = retry == Retry::Another && is_repeatable(&request);
        self.earn_retry();
        let mut tried = Vec::with_capacity(1);
        loop {
            let index = self.pick(&tried);
            tried.push(index);
            let origin = &self.all[index];
            let spare = may_see_twice.then(|| copy_of(&request));
            let asked = self.clock.now();
            let outcome = origin.exchange(request, self.patience).await;
            let received = self.clock.now();
            let (error, again) = match outcome {
                Exchange::Answered(response) => {
                    origin.health.succeeded();
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
                    origin.health.succeeded();
                    return Err(Unanswered { failure: failure(error), error });
                }
                // An idle connection that closes is no sign of illness.
                Exchange::Dropped(error) => {
                    self.metrics.origin_failed(&origin.address.authority, error);
                    return Err(Unanswered { failure: failure(error), error });
                }
                Exchange::Lost(error) => (error, spare.filter(|_| self.spend_retry())),
            };
            origin.health.failed(fault(error), received);
            self.metrics.origin_failed(&origin.address.authority, error);
            tracing::warn!(target: "verge_edge::origin", origin = origin.address.authority, error = error.as_str(), "origin failed");
            match again {
                Some(back) if tried.len() < self.all.len().min(MAX_ORIGINS_TRIED) => request = back,
                _ => return Err(Unanswered { failure: failure(error), error }),
            }
        }
    }

    /// The next one in turn that is up and was not tried; if none is, the next one in turn.
    fn pick(&self, tried: &[usize]) -> usize {
        let now = self.clock.now();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..self.all.len()).map(|step| start.wrapping_add(step) % self.all.len());
        let fresh = || in_turn().filter(|index| !tried.contains(index));
        fresh()
            .find(|&index| self.all[index].health.standing(now) == Standing::Up)
            .or_else(|| fresh().next())
            .or_else(|| in_turn().next())
            .expect("a site has at least one origin: config refuses none")
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

    /// How many origins are up, of how many.
    #[must_use]
    pub fn up(&self) -> (usize, usize) {
        let now = self.clock.now();
        let up = self.all.iter().filter(|origin| origin.health.is_up(now)).count();
        (up, self.all.len())
    }
}

/// Requests earn a retry each 20: a struggling site gets 5 % more load at most.
const RETRY_COST: i64 = 20;
/// Retries that may be saved up.
const RETRY_BURST: i64 = 10;
/// A client waits for this many origins at most.
const MAX_ORIGINS_TRIED: usize = 3;

impl Origin {
    async fn exchange(&self, mut request: Request<RequestBody>, patience: Patience) -> Exchange {
        if let Some(host) = self.address.host.as_deref().and_then(|host| host.parse().ok()) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        connection::exchange(&self.pool, &self.address, request, patience).await
    }
}

fn fault(error: ProxyError) -> health::Fault {
    match error {
        ProxyError::ConnectionRefused
        | ProxyError::ConnectionTimeout
        | ProxyError::DestinationIpProhibited
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
