//! One origin: where it is, the connections to it, and what is known of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::HOST;
use http::{Request, StatusCode};
use siphasher::sip::SipHasher13;
use tokio::time::timeout;

use super::body::RequestBody;
use super::connection::{self, Exchange, Lines, Place, REFUSED};
use super::dial::dial;
use super::health::{Change, Health};
use super::in_flight::{InFlight, Requests};
use super::line::Protocols;
use super::load::Latency;
use super::outliers::{Seen, Why};
use super::pool::Pool;
use super::queue::Queue;
use super::resolving::Names;
use super::secure::{self, Terms};
use super::shape;
use super::standing::{Fault, Standing, Stands};
use super::stream::Stream;
use crate::metrics::OriginMetrics;
use crate::policy::headers::status::ProxyError;
use crate::site::origin::{Checks, Way};
use crate::site::{OriginAddress, Patience};

#[derive(Debug)]
pub(super) struct Member {
    address: OriginAddress,
    pub(super) health: Arc<Health>,
    pool: Pool,
    names: Arc<Names>,
    /// Of an origin that is asked over TLS.
    terms: Option<Terms>,
    load: Arc<Mutex<Load>>,
    /// Those at its server, in whatever way it is asked.
    requests: Arc<Requests>,
    /// Responses that broke off since somebody looked.
    broken: Arc<AtomicU32>,
    /// Of its address: each edge knows it by the same number.
    pub(super) id: u64,
    metrics: OriginMetrics,
}

#[derive(Debug, Default)]
struct Load {
    latency: Latency,
    seen: Seen,
}

impl Load {
    /// For the comparison with the others.
    fn note(&mut self, is_error: bool, waited: Duration) {
        self.seen.answers = self.seen.answers.saturating_add(1);
        self.seen.errors = self.seen.errors.saturating_add(u32::from(is_error));
        self.seen.waited = self.seen.waited.saturating_add(waited);
    }
}

impl Member {
    /// One that is taken for healthy; or, where there was one in its place `before`, for what that is known to be now.
    pub(super) fn new(
        address: &OriginAddress,
        idle: Duration,
        metrics: OriginMetrics,
        before: Option<(&Self, SystemTime)>,
    ) -> Self {
        let pool = Pool::new(idle, address.way == Way::H2c);
        let known = before.filter(|(before, _)| before.is_server(address));
        let same = known.filter(|(known, _)| known.is_at(address));
        let health = || match (known, before) {
            // A fault may lie in the way in which it is asked, so the two have a standing each from now on.
            (Some((known, _)), _) => Health::copied(&known.health),
            // Another server in the same place has a standing of its own. The operator switches the place.
            (None, Some((before, _))) => Health::switched_as(&before.health),
            (None, None) => Health::default(),
        };
        let requests = || Requests::new(metrics.clone()).into();
        let member = Self {
            names: Names::new(address, pool.clone()).into(),
            id: hash(address.authority.as_bytes()),
            address: address.clone(),
            health: same.map_or_else(|| health().into(), |(same, _)| Arc::clone(&same.health)),
            pool,
            terms: terms_of(address),
            load: same.map(|(same, _)| Arc::clone(&same.load)).unwrap_or_default(),
            requests: known.map_or_else(requests, |(known, _)| Arc::clone(&known.requests)),
            broken: same.map(|(same, _)| Arc::clone(&same.broken)).unwrap_or_default(),
            metrics,
        };
        let stands = before.map(|(_, now)| member.health.standing().stands(now));
        member.metrics.stands(stands.is_none_or(|stands| stands == Stands::Up));
        if let Some((_, now)) = known.filter(|_| same.is_none()) {
            member.health.renew(now);
        }
        member
    }

    /// Whether it is the same one, so that its connections and what is known of it are of use.
    pub(super) fn is(&self, address: &OriginAddress, idle: Duration) -> bool {
        self.is_at(address) && self.pool.idle_timeout() == idle
    }

    /// Whether it is asked in this way, whatever becomes of its idle connections.
    pub(super) fn is_at(&self, address: &OriginAddress) -> bool {
        self.address.is_same_place(address)
    }

    /// Whether it is the same server, asked by the same names.
    pub(super) fn is_service(&self, address: &OriginAddress) -> bool {
        self.address.is_same_service(address)
    }

    /// Whether it is the same server, though it may be asked in another way.
    pub(super) fn is_server(&self, address: &OriginAddress) -> bool {
        self.address.is_same_server(address)
    }

    /// Whether it is in the same place, though it may be another server.
    pub(super) fn is_there(&self, address: &OriginAddress) -> bool {
        self.address.authority == address.authority
    }

    /// Requests that it is at.
    pub(super) fn in_flight(&self) -> u32 {
        self.requests.count()
    }

    /// Seconds that it lately took to answer.
    pub(super) fn latency_secs(&self, now: SystemTime) -> Option<f64> {
        self.load().latency.secs(now)
    }

    /// One more is at it, for as long as the result lives; none if it is at `most`.
    pub(super) fn begin(&self, most: u32, queue: &Queue) -> Option<InFlight> {
        self.requests.begin(most, queue, &self.broken)
    }

    /// A request that comes back unsent has the host that it came with: the next origin may have none of its own.
    pub(super) async fn exchange(
        &self,
        mut request: Request<RequestBody>,
        patience: Patience,
        lines: Lines,
    ) -> Exchange {
        let asked_for = request.headers().get(HOST).cloned();
        if let Some(host) = self.address.host.as_deref().and_then(|host| host.parse().ok()) {
            request.headers_mut().insert(HOST, host);
        }
        self.names.look();
        let mut outcome = connection::exchange(self.place(&self.pool), request, patience, lines).await;
        let back = match &mut outcome {
            Exchange::Unsent(back, _) => Some(back),
            Exchange::Refused(_, back) => back.as_deref_mut(),
            Exchange::Answered(_) | Exchange::Dropped(..) | Exchange::Lost(_) => None,
        };
        if let Some(back) = back {
            shape::as_own(back);
            match asked_for {
                Some(host) => back.headers_mut().insert(HOST, host),
                None => back.headers_mut().remove(HOST),
            };
        }
        outcome
    }

    /// As [`Self::exchange`], on a connection that nothing else uses.
    pub(super) async fn probe(&self, request: Request<RequestBody>, patience: Patience) -> Exchange {
        let pool = Pool::new(Duration::ZERO, self.address.way == Way::H2c);
        connection::exchange(self.place(&pool), request, patience, Lines::Any).await
    }

    /// A connection for whatever its protocol is.
    pub(super) async fn dial(&self, limit: Duration) -> Result<Stream, ProxyError> {
        let dialled = dial(&self.address, &self.names, self.terms.as_ref(), Protocols::Http1);
        match timeout(limit, dialled).await {
            Ok(dialled) => dialled.map(|(stream, _)| stream),
            Err(_) => Err(ProxyError::ConnectionTimeout),
        }
    }

    fn place<'a>(&'a self, pool: &'a Pool) -> Place<'a> {
        Place { pool, address: &self.address, names: &self.names, terms: self.terms.as_ref() }
    }

    /// The host that it is asked for where no client says one.
    pub(super) fn own_host(&self) -> &str {
        self.address.host.as_deref().unwrap_or_else(|| self.address.own_host())
    }

    /// It gave the head of a response.
    pub(super) fn answered(&self, status: StatusCode, asked: SystemTime, received: SystemTime) {
        let took = received.duration_since(asked).unwrap_or_default();
        let is_error = status.is_server_error();
        self.metrics.answered(took);
        {
            let mut load = self.load();
            load.note(is_error, took);
            // An error that comes quickly must not draw more requests.
            if !is_error {
                load.latency.took(took, received);
            }
        }
        self.succeeded(received);
    }

    /// It gets a request that is at another one, too.
    pub(super) fn hedged(&self) {
        self.metrics.hedged();
    }

    /// The outcome of such a request, counted where it answers before the other, and with no error.
    pub(super) fn won(&self, outcome: Exchange) -> Exchange {
        if matches!(&outcome, Exchange::Answered(response) if !response.status().is_server_error()) {
            self.metrics.hedge_won();
        }
        outcome
    }

    /// Its answers since the last time that it was looked at.
    pub(super) fn seen(&self) -> Seen {
        let seen = std::mem::take(&mut self.load().seen);
        // Their heads came, and count as answers.
        let broken = self.broken.swap(0, Ordering::Relaxed);
        Seen { errors: seen.errors.saturating_add(broken).min(seen.answers), ..seen }
    }

    /// It is up, whatever became of the request.
    pub(super) fn succeeded(&self, now: SystemTime) {
        self.tell(self.health.note(|| "it answers".into(), now, |standing| standing.succeeded(now)));
    }

    /// A request got no response.
    pub(super) fn unanswered(&self, error: ProxyError) {
        self.metrics.failed(error);
    }

    /// It refused a request that it has not processed: it is up, and does worse than others that take theirs.
    pub(super) fn refused(&self, now: SystemTime) {
        self.succeeded(now);
        self.unanswered(REFUSED);
        self.load().note(true, Duration::ZERO);
    }

    /// It took a request, and for so long it gave no answer: it does worse than others that answer theirs.
    pub(super) fn lost(&self, waited: Duration) {
        self.load().note(true, waited);
    }

    /// Another one had answered the request when it had given no answer for so long.
    pub(super) fn was_outrun(&self, waited: Duration, now: SystemTime) {
        let mut load = self.load();
        load.note(false, waited);
        load.latency.took(waited, now);
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That is its fault.
    pub(super) fn failed(&self, error: ProxyError, fault: Fault, now: SystemTime) {
        let event = |standing: &mut Standing| standing.failed(fault, now);
        self.tell(self.health.note(|| error.as_str().into(), now, event));
    }

    /// The check of this number came out so.
    pub(super) fn checked(&self, number: u64, outcome: Result<(), String>, rules: &Checks, now: SystemTime) {
        let passed = outcome.is_ok();
        self.metrics.checked(passed);
        let why = || outcome.err().unwrap_or_else(|| "it passes the checks".to_owned());
        let event = |standing: &mut Standing| {
            standing.checked(passed, rules.fall, rules.rise, now);
        };
        self.tell(self.health.checked(number, why, now, event));
    }

    /// See [`Health::settle_checks`].
    pub(super) fn settle_checks(&self, now: SystemTime) {
        self.tell(self.health.settle_checks(now));
    }

    /// It does worse than the others.
    pub(super) fn eject(&self, why: Why, now: SystemTime) {
        self.tell(self.health.note(|| why.as_str().into(), now, |standing| standing.eject(now)));
    }

    /// As the config has it; see [`Health::configure`].
    pub(super) fn configure(&self, drained: bool, is_checked: bool, now: SystemTime) {
        self.tell(self.health.configure(drained, is_checked, now));
    }

    /// See [`Health::switch`].
    pub(super) fn switch(&self, drained: Option<bool>, now: SystemTime) {
        self.tell(self.health.switch(drained, now));
    }

    fn tell(&self, change: Option<Change>) {
        let Some(Change { to, why, .. }) = change else { return };
        self.metrics.stands(to == Stands::Up);
        let origin = &self.address.authority;
        match to {
            Stands::Up => tracing::info!(target: "verge_edge::origin", origin, why, "origin is back"),
            to => {
                tracing::warn!(target: "verge_edge::origin", origin, state = to.as_str(), why, "origin is out")
            }
        }
    }
}

/// Config has looked at them.
fn terms_of(address: &OriginAddress) -> Option<Terms> {
    let Way::Tls(secure) = &address.way else { return None };
    let told = |error: &secure::Unusable| {
        tracing::error!(target: "verge_edge::origin", origin = address.authority, %error, "origin cannot be asked");
    };
    secure::terms(secure).inspect_err(told).ok()
}

/// By SipHash with a key that all edges share: they send a key's requests to the same origin. A client that makes all its
/// keys lead to one origin gains nothing, as none gets far more than its share.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(0x7665_7267_652d_6564, 0x6765_2d6f_7269_6769).hash(bytes)
}
