//! Which origin gets a fetch, and the connections to it.
//!
//! ```text
//! send ─▶ pick (balance, over healthy ones) ─▶ pool: an idle connection or a new one ─▶ response
//!            ▲ another origin, if this one never saw the request, or may see it twice │
//!            └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: the same origin gets a request again only when the connection hands it back unsent; when the origin says that
//! it has not processed the request, then once; or when a connection that served others, or of which it said that it ends,
//! ends before any byte of an answer, then once, on a new connection, and only what may be repeated.

mod balance;
mod binding;
pub mod body;
mod checks;
mod choosing;
mod coding;
mod connection;
mod dial;
mod early;
mod health;
mod hedging;
mod http2;
mod in_flight;
mod line;
mod load;
mod member;
pub mod names;
mod open_head;
mod outliers;
mod padded;
mod pool;
mod queue;
mod resolving;
mod retries;
pub mod secure;
mod sending;
mod shape;
mod standing;
mod stream;
mod telling;
#[cfg(test)]
mod tests;
mod told;
mod unheaded;
mod wire;
mod wish;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use tokio::time::Instant;

pub use body::{Exceeded, Gathered, Held, OriginBody, RequestBody};
pub use early::Early;

use crate::clock::{Clock, monotonic};
use crate::course::Course;
use crate::metrics::{Limit, Metrics};
use crate::policy::Failure;
use crate::policy::headers::status::ProxyError;
use crate::site::key::Key;
use crate::site::parents;
use crate::site::relay::Relay;
use crate::site::{Balance, OriginAddress, Patience, Sharing, Site};
use balance::{Choice, Turns};
use checks::Checks;
use in_flight::InFlight;
use member::Member;
use queue::Queue;
pub use retries::{Paid, Retries};
use standing::Fault;
pub(crate) use stream::Stream;
pub(crate) use telling::Said;
pub use told::{OriginChange, OriginStanding};
pub use wish::{AnsweredBy, BrokeOff, Wish};

/// The origins of one site.
#[derive(Debug)]
pub struct Origins {
    all: Vec<Slot>,
    turns: Mutex<Turns>,
    sharing: Sharing,
    patience: Patience,
    retries: Arc<Retries>,
    /// When outliers were looked for.
    looked_at: Mutex<SystemTime>,
    queue: Queue,
    clock: Clock,
    metrics: Metrics,
    checks: Option<Checks>,
}

/// One of a site's origins.
#[derive(Debug)]
struct Slot {
    /// As the site's config has it.
    address: OriginAddress,
    member: Arc<Member>,
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

/// The clock and the metrics of what is made.
pub type Made<'a> = (&'a Clock, &'a Metrics);

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
    /// No origin gets what one may have processed. The budget may allow to send on what one has refused.
    Refused,
    /// Something stale can be served instead, which costs the origins nothing.
    Never,
}

impl Origins {
    /// The origins of a site, which has one at least. Those that are in `before`, too, keep what is known of them, and their
    /// connections if these are made as before; the others are taken for healthy. One that is asked in another way than before
    /// begins with what is known of it, and has a standing of its own.
    #[must_use]
    pub fn new(site: &Site, before: &[Arc<Self>], retries: &Arc<Retries>, made: Made<'_>) -> Self {
        let group = (&*site.origins, &site.sharing, site.patience);
        Self::of(site.name.as_str(), group, before, retries, made)
    }

    /// The canary of a site, if it has one; those that are in `before` as with [`Self::new`].
    #[must_use]
    pub fn canary(site: &Site, before: &[Arc<Self>], retries: &Arc<Retries>, made: Made<'_>) -> Option<Self> {
        let group = (&*site.canary.as_ref()?.origins, &site.sharing, site.patience);
        Some(Self::of(site.name.as_str(), group, before, retries, made))
    }

    /// The parents of a site, if it has any; those that are in `before` as with [`Self::new`].
    #[must_use]
    pub fn parents(
        site: &Site,
        before: &[Arc<Self>],
        retries: &Arc<Retries>,
        made: Made<'_>,
    ) -> Option<Self> {
        let sharing = parents::sharing(&site.sharing);
        let group = (&*site.parents, &sharing, site.patience);
        (!site.parents.is_empty()).then(|| Self::of(site.name.as_str(), group, before, retries, made))
    }

    /// The origins of a stream, which has one at least, wherever it listens; those that are in `before` as with [`Self::new`].
    #[must_use]
    pub fn of_stream(relay: &Relay, before: &[Arc<Self>], clock: &Clock, metrics: &Metrics) -> Self {
        let group = (&*relay.origins, &relay.sharing, relay.patience);
        Self::of(&relay.name, group, before, &Arc::default(), (clock, metrics))
    }

    fn of(
        name: &str,
        (origins, sharing, patience): (&[OriginAddress], &Sharing, Patience),
        before: &[Arc<Self>],
        retries: &Arc<Retries>,
        (clock, metrics): Made<'_>,
    ) -> Self {
        let (idle, now) = (patience.idle, clock.now());
        let slot = |address: &OriginAddress| {
            let known = || before.iter().flat_map(|group| &group.all).map(|slot| &slot.member);
            let same = known().find(|member| member.is(address, idle)).map(Arc::clone);
            let member = same.unwrap_or_else(|| {
                let first = |is: fn(&Member, &OriginAddress) -> bool| known().find(|one| is(one, address));
                let nearest: [fn(&Member, &OriginAddress) -> bool; 4] =
                    [Member::is_at, Member::is_service, Member::is_server, Member::is_there];
                let before = nearest.into_iter().find_map(first);
                let metrics = metrics.origin(name, &address.authority);
                Arc::new(Member::new(address, idle, metrics, before.map(|before| (&**before, now))))
            });
            member.configure(address.drain, sharing.checks.is_some(), now);
            Slot { address: address.clone(), member }
        };
        let all: Vec<Slot> = origins.iter().map(slot).collect();
        let members = || all.iter().map(|slot| Arc::clone(&slot.member)).collect();
        Self {
            checks: sharing.checks.as_ref().map(|rules| checks::begin(members(), rules, clock)),
            all,
            turns: Mutex::default(),
            sharing: sharing.clone(),
            patience,
            retries: Arc::clone(retries),
            looked_at: Mutex::new(now),
            queue: Queue::default(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Ends the checks of all that are in service no more, though requests or connections may still go by them.
    pub(crate) fn replace<'o>(
        before: impl Iterator<Item = &'o Arc<Self>>,
        after: impl Iterator<Item = &'o Arc<Self>>,
    ) {
        let after: Vec<&Arc<Self>> = after.collect();
        let kept: HashSet<*const Self> = after.iter().map(|one| Arc::as_ptr(one)).collect();
        let gone = before.filter(|one| !kept.contains(&Arc::as_ptr(one)));
        gone.filter_map(|one| one.checks.as_ref()).for_each(Checks::end);
        for one in after {
            let now = one.clock.now();
            one.all.iter().for_each(|slot| slot.member.settle_checks(now));
        }
    }

    /// Whether they are those of this site, under the same rules.
    #[must_use]
    pub fn are_of(&self, site: &Site) -> bool {
        self.are(&site.origins, site)
    }

    /// Whether they are these of a site, under the same rules.
    pub(crate) fn are(&self, origins: &[OriginAddress], site: &Site) -> bool {
        self.sharing == site.sharing
            && self.patience == site.patience
            && self.all.iter().map(|slot| &slot.address).eq(origins)
    }

    /// Whether they are these servers, asked by the same names, whatever the rules are.
    pub(crate) fn are_at(&self, origins: &[OriginAddress]) -> bool {
        let has = |origin: &OriginAddress| self.all.iter().any(|slot| slot.address.is_same_service(origin));
        self.all.len() == origins.len() && origins.iter().all(has)
    }

    /// The rule by which one of them is chosen.
    pub(crate) fn balance(&self) -> Balance {
        self.sharing.balance
    }

    /// The time by their clock.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Whether they are the parents of this site, under the same rules.
    #[must_use]
    pub fn are_parents_of(&self, site: &Site) -> bool {
        self.sharing == parents::sharing(&site.sharing)
            && self.patience == site.patience
            && self.all.iter().map(|slot| &slot.address).eq(&site.parents)
    }

    /// The number by which a request's key chooses among them, where keys do.
    #[must_use]
    pub fn place_of(&self, key: impl FnOnce() -> Key) -> Option<u64> {
        (self.sharing.balance == Balance::Hash).then(|| member::hash(key().as_bytes()))
    }

    /// When a response that is asked for now is to have ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.patience.whole.map(|limit| monotonic() + limit)
    }

    /// A connection to an origin for this client, its name, and the sign that the origin is at it. With `hash`, a client
    /// stays at its origin.
    ///
    /// # Errors
    /// When no origin took one; the last origin's failure.
    pub(crate) async fn connect(&self, client: IpAddr) -> Result<(Stream, String, InFlight), ProxyError> {
        let place = (self.sharing.balance == Balance::Hash).then(|| match client.to_canonical() {
            IpAddr::V4(client) => member::hash(&client.octets()),
            IpAddr::V6(client) => member::hash(&client.octets()),
        });
        let (mut tried, mut last) = (Vec::with_capacity(1), ProxyError::DestinationUnavailable);
        while tried.len() < MAX_ORIGINS_TRIED {
            let wish = Wish { place, ..Wish::default() };
            let unanswered = Unanswered { failure: Failure::Unreachable, error: last };
            let unanswered = (!tried.is_empty()).then_some(unanswered);
            let next = self.next(&mut tried, wish, unanswered, &Course::default()).await;
            let (index, in_flight) = next.map_err(|unanswered| unanswered.error)?;
            let (origin, asked) = (&self.all[index], self.clock.now());
            let dialled = origin.member.dial(self.patience.connect).await;
            let received = self.clock.now();
            match dialled {
                Ok(stream) => {
                    origin.member.answered(StatusCode::OK, asked, received);
                    self.look(received);
                    return Ok((stream, origin.address.authority.clone(), in_flight));
                }
                Err(error) => {
                    origin.member.failed(error, fault(error), received);
                    origin.member.unanswered(error);
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// The budget that all requests of their site draw from.
    pub(crate) fn retries(&self) -> &Arc<Retries> {
        &self.retries
    }

    /// Takes a further request from the budget, if there is one. It is told where there is none.
    pub(crate) fn spend_retry(&self) -> bool {
        let is_paid = self.retries.spend();
        if !is_paid {
            self.metrics.limit_reached(Limit::Retries);
        }
        is_paid
    }

    /// How each stands.
    #[must_use]
    pub fn standing(&self) -> Vec<OriginStanding> {
        let now = self.clock.now();
        self.all.iter().map(|slot| slot.told(now)).collect()
    }

    /// Takes the origin at this address out or puts it back, or leaves that to the config. Whether there is one.
    pub fn switch(&self, authority: &str, drained: Option<bool>) -> bool {
        let mut found = false;
        for slot in self.all.iter().filter(|slot| slot.address.authority == authority) {
            slot.member.switch(drained, self.clock.now());
            found = true;
        }
        found
    }
}

impl Slot {
    fn choice(&self, index: usize, slow_start: Duration, now: SystemTime) -> Choice {
        let share = self.member.health.standing().share(slow_start, now);
        Choice {
            index,
            weight: f64::from(self.address.weight) * share,
            in_flight: self.member.in_flight(),
            latency_secs: self.member.latency_secs(now),
            id: self.member.id,
        }
    }

    fn told(&self, now: SystemTime) -> OriginStanding {
        let change = |change: health::Change| OriginChange {
            secs_ago: now.duration_since(change.at).unwrap_or_default().as_secs(),
            state: change.to.as_str().to_owned(),
            why: change.why,
        };
        OriginStanding {
            origin: self.address.authority.clone(),
            shown: self.address.shown(),
            weight: self.address.weight,
            backup: self.address.backup,
            parent: false,
            canary: false,
            state: self.member.health.standing().stands(now).as_str().to_owned(),
            in_flight: self.member.in_flight(),
            latency_ms: self.member.latency_secs(now).map(|secs| (secs * 1_000.0).round() as u64),
            changes: self.member.health.changes().into_iter().map(change).collect(),
        }
    }
}

/// A client waits for this many origins at most.
const MAX_ORIGINS_TRIED: usize = 3;

/// Whether nobody waits for a response any more.
fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= monotonic())
}

fn fault(error: ProxyError) -> Fault {
    match error {
        ProxyError::ConnectionRefused
        | ProxyError::ConnectionTimeout
        | ProxyError::DestinationIpProhibited
        | ProxyError::TlsCertificateError
        | ProxyError::TlsProtocolError
        | ProxyError::DnsError => Fault::NoConnection,
        _ => Fault::NoResponse,
    }
}
