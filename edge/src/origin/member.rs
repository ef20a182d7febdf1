//! One origin of a site: where it is, the connections to it, and what is known of it.
//!
//! Invariant: a request counts as in flight until its response's body has been read or dropped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::Request;
use siphasher::sip::SipHasher13;

use super::balance::Choice;
use super::body::RequestBody;
use super::connection::{self, Exchange, Place};
use super::health::{Fault, Health, Standing};
use super::in_flight::InFlight;
use super::load::Latency;
use super::pool::Pool;
use super::secure::{self, Terms};
use crate::metrics::OriginMetrics;
use crate::policy::headers::status::ProxyError;
use crate::site::origin::Way;
use crate::site::{OriginAddress, Patience};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) address: OriginAddress,
    pub(super) health: Health,
    pool: Pool,
    /// Of an origin that is asked over TLS.
    terms: Option<Terms>,
    latency: Mutex<Latency>,
    in_flight: Arc<AtomicU32>,
    /// Of its address: each edge knows it by the same number.
    id: u64,
    metrics: OriginMetrics,
}

impl Member {
    /// One that is taken for healthy.
    pub(super) fn new(address: &OriginAddress, idle: Duration, metrics: OriginMetrics) -> Self {
        metrics.stands(true);
        Self {
            id: hash(address.authority.as_bytes()),
            address: address.clone(),
            health: Health::default(),
            pool: Pool::new(idle, address.way == Way::H2c),
            terms: terms_of(address),
            latency: Mutex::default(),
            in_flight: Arc::default(),
            metrics,
        }
    }

    /// Whether it is the same one, so that its connections and what is known of it are of use.
    pub(super) fn is(&self, address: &OriginAddress, idle: Duration) -> bool {
        self.address == *address && self.pool.idle_timeout() == idle
    }

    /// As a choice sees it; none if it should get no request now.
    pub(super) fn choice(&self, index: usize, slow_start: Duration, now: SystemTime) -> Option<Choice> {
        (self.health.standing(now) == Standing::Up).then(|| {
            let share = self.health.share(slow_start, now);
            Choice { weight: f64::from(self.address.weight) * share, ..self.any(index, now) }
        })
    }

    /// As a choice sees it that takes no heed of its health.
    pub(super) fn any(&self, index: usize, now: SystemTime) -> Choice {
        Choice {
            index,
            weight: f64::from(self.address.weight),
            in_flight: self.in_flight(),
            latency_secs: self.latency.lock().unwrap_or_else(PoisonError::into_inner).secs(now),
            id: self.id,
        }
    }

    /// Requests that it is at.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// One more is at it, for as long as the result lives.
    pub(super) fn begin(&self) -> InFlight {
        InFlight::new(&self.in_flight, self.metrics.asking())
    }

    pub(super) async fn exchange(&self, mut request: Request<RequestBody>, patience: Patience) -> Exchange {
        if let Some(host) = self.address.host.as_deref().and_then(|host| host.parse().ok()) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        let place = Place { pool: &self.pool, address: &self.address, terms: self.terms.as_ref() };
        connection::exchange(place, request, patience).await
    }

    /// In a line for people: `10.0.1.11:8443 (weight 2, backup, 3 in flight)`.
    pub(super) fn told(&self, now: SystemTime) -> String {
        let OriginAddress { weight, backup, .. } = &self.address;
        let weight = (*weight != 1).then(|| format!("weight {weight}"));
        let backup = backup.then(|| "backup".to_owned());
        let in_flight = Some(self.in_flight()).filter(|count| *count > 0);
        let in_flight = in_flight.map(|count| format!("{count} in flight"));
        let down = (!self.health.is_up(now)).then(|| "down".to_owned());
        let notes: Vec<String> = [weight, backup, in_flight, down].into_iter().flatten().collect();
        let shown = self.address.shown();
        if notes.is_empty() { shown } else { format!("{shown} ({})", notes.join(", ")) }
    }

    /// It gave the head of a response.
    pub(super) fn answered(&self, asked: SystemTime, received: SystemTime) {
        let took = received.duration_since(asked).unwrap_or_default();
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).took(took, received);
        self.succeeded(received);
    }

    /// It is up, whatever became of the request.
    pub(super) fn succeeded(&self, now: SystemTime) {
        if self.health.succeeded(now) {
            tracing::info!(target: "verge_edge::origin", origin = self.address.authority, "origin is back");
        }
        self.metrics.stands(true);
    }

    /// A request got no response.
    pub(super) fn unanswered(&self, error: ProxyError) {
        self.metrics.failed(error);
    }

    /// That is its fault.
    pub(super) fn failed(&self, fault: Fault, now: SystemTime) {
        self.health.failed(fault, now);
        self.metrics.stands(self.health.is_up(now));
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
