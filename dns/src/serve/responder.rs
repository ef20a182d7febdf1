//! Where a transport hands in a message: the world in service answers it, and the outcome is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::mpsc::Sender;

use super::sys;
use super::update::{Asked, Reply as Back, Submission, Updates};
use crate::answer::{Class, Kind, Query, answer};
use crate::client::Client;
use crate::limit::Limits;
use crate::log::queries::{self, Question};
use crate::metrics::Counters;
use crate::name::Name;
use crate::rtype::Type;
use crate::steer::Asker;
use crate::view::Which;
use crate::wire::{self, Guarded, Moment, Noticed, Outcome, Sent, Submitted};
use crate::world::World;

/// The result for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// The buffer holds an answer of this view.
    From(Which),
    /// Nothing is to be sent.
    Not,
}

/// Whether a message gets an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The message in the buffer.
    Send,
    /// Nothing.
    Silence,
}

/// The ways of messages that are more than questions.
#[derive(Clone)]
pub(super) struct Ways {
    /// To the taker of zones from others.
    pub(super) notices: Sender<Noticed>,
    /// To the loader.
    pub(super) updates: Updates,
}

#[cfg(test)]
impl Ways {
    /// For tests without a loader.
    pub(super) fn leading_nowhere() -> Self {
        let (notices, _) = tokio::sync::mpsc::channel(1);
        let (signals, _) = std::sync::mpsc::channel();
        Self { notices, updates: super::update::way(signals).0 }
    }
}

/// Answers messages for one UDP loop, or for all connections of a transport.
///
/// Invariant: it has no lock. The rate limits, which change with each answer, belong to the loop and are passed in.
pub(super) struct Responder {
    world: Arc<ArcSwap<World>>,
    counters: Arc<Counters>,
    ways: Ways,
    /// When the guard was last logged. At most one line a second is logged; the counter has them all.
    logged_at_unix_seconds: AtomicU64,
}

impl Responder {
    pub(super) fn new(world: Arc<ArcSwap<World>>, counters: Arc<Counters>, ways: Ways) -> Self {
        Self { world, counters, ways, logged_at_unix_seconds: AtomicU64::default() }
    }

    /// The world in service now. It is held for a batch only, so that an idle loop keeps no old world in memory.
    pub(super) fn world(&self) -> Guard<Arc<World>> {
        self.world.load()
    }

    pub(super) fn answer(
        &self,
        limits: &mut Limits,
        world: &World,
        message: &[u8],
        client: &Client,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Reply {
        match self.view_of_answer(limits, world, message, client, now, out) {
            Answered::From(_) => Reply::Send,
            Answered::Not => Reply::Silence,
        }
    }

    /// As [`Responder::answer`], and says which view answered.
    pub(super) fn view_of_answer(
        &self,
        limits: &mut Limits,
        world: &World,
        message: &[u8],
        client: &Client,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Answered {
        let outcome = wire::respond(world, limits, message, client, now, out);
        self.counters.count(&outcome);
        if let Some(noticed) = wire::noticed(world, message, &outcome, client, now) {
            // Where many wait already, the next refresh does what this one would.
            let _ = self.ways.notices.try_send(noticed);
        }
        match outcome {
            Outcome::Silent(_) => Answered::Not,
            Outcome::Sent(sent) => {
                let wanted = queries::wanted();
                if wanted != (false, false) {
                    queries::tell(
                        told(world, message, client, &sent, now, queries::has_private_names()),
                        wanted,
                    );
                }
                if sent.guard == Guarded::Stopped {
                    self.log_stopped(&sent, client, now);
                }
                Answered::From(sent.view)
            }
        }
    }

    /// So many packets were read together and answered within this time.
    pub(super) fn took(&self, time: Duration, packets: usize) {
        self.counters.took(time, packets);
    }

    /// The update that a message is, if it is one and its sender may change something. All else gets an answer at once.
    pub(super) fn submitted(
        &self,
        world: &World,
        message: &[u8],
        client: &Client,
        now: Moment,
    ) -> Option<Submitted> {
        wire::submitted(world, message, client, now)
    }

    /// Has an update made; its answer goes by `reply`.
    pub(super) fn submit(&self, submitted: Submitted, (message, client): (Box<[u8]>, Client), reply: Back) {
        self.ways.updates.submit(Submission { submitted, message, client, reply });
    }

    /// Has the process that has taken over answer.
    pub(super) fn pass_on(&self, asked: Asked) {
        self.ways.updates.pass_on(asked);
    }

    /// Counts a message of a transfer that the egress guard stopped.
    pub(super) fn stopped(&self) {
        self.counters.guard_stopped();
    }

    /// Counts what the kernel would not take as it was.
    pub(super) fn unsent(&self, sent: sys::Sent) {
        self.counters.refused_by_kernel(sent.refused);
        self.counters.shortened(sent.shortened);
    }

    fn log_stopped(&self, sent: &Sent<'_>, client: &Client, now: Moment) {
        if self.logged_at_unix_seconds.swap(now.unix_seconds, Ordering::Relaxed) == now.unix_seconds {
            return;
        }
        tracing::error!(
            zone = sent.zone.map(tracing::field::display),
            qtype = sent.qtype.map(tracing::field::display),
            client = %client.real_address(),
            "the egress guard stopped a hidden address; please report this as a bug of verge-dns"
        );
    }
}

/// A question as it is logged. A name is withheld if it is private and the config does not say that it may be written.
fn told(
    world: &World,
    message: &[u8],
    client: &Client,
    sent: &Sent<'_>,
    now: Moment,
    has_private_names: bool,
) -> Question {
    let asked = wire::asked(message);
    let is_open = has_private_names
        || asked.as_ref().is_some_and(|(name, _)| sent.view == Which::Public && !is_private(world, name));
    let (name, rtype) = asked.unzip();
    Question {
        time: now.unix_seconds,
        client: client.real_address().to_string(),
        transport: client.transport.as_str().to_owned(),
        view: sent.view.as_str().to_owned(),
        zone: sent.zone.filter(|_| is_open).map(ToString::to_string),
        name: name.filter(|_| is_open).map(|name| name.to_string()),
        rtype: rtype.map(|rtype| rtype.to_string()),
        rcode: sent.rcode.as_str().to_owned(),
        truncated: sent.truncated,
    }
}

/// Whether only insiders get something at this name.
fn is_private(world: &World, name: &Name) -> bool {
    let exists = |which| {
        let query = Query {
            qname: name.as_wire(),
            qtype: Type::ANY,
            qclass: Class::In,
            dnssec_ok: false,
            asker: Asker::default(),
        };
        let kind = answer(world.view(which), query).kind;
        !matches!(kind, Kind::NxDomain | Kind::NoZone)
    };
    exists(Which::Internal) && !exists(Which::Public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Listener, Proved, Transport};
    use crate::clock;
    use crate::zone::tree::testing::view;

    #[test]
    fn a_private_name_is_logged_only_where_the_config_says_so() {
        let public = "@ SOA ns1 h 1 2 3 4 100\n@ NS ns1\nwww A 192.0.2.1\n";
        let internal = format!("{public}db A 10.0.0.1\n");
        let zone = |text: &str| view(&[("example.com.", text)]);
        let world = World { public: zone(public), internal: zone(&internal), ..World::default() };
        let question = |name: &str| {
            let name = Name::parse_absolute(name).unwrap();
            [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name.as_wire(), &[0, 1, 0, 1]].concat()
        };
        let seen = |name: &str, view, is_allowed| {
            let client = Client {
                address: [192, 0, 2, 9].into(),
                port: 5353,
                listener: Listener::Outside,
                transport: Transport::Udp,
                proved: Proved::default(),
                is_to_close: false,
            };
            let sent = Sent {
                view,
                zone: None,
                qtype: Some(Type::A),
                rcode: crate::rcode::Rcode::NoError,
                gist: wire::Gist::Other,
                truncated: false,
                guard: Guarded::Clean,
                cookie: None,
            };
            told(&world, &question(name), &client, &sent, clock::moment(), is_allowed).name
        };
        for (is_allowed, outside, inside) in [(false, None, None), (true, Some("db"), Some("www"))] {
            let seen = |name: &str, view| seen(name, view, is_allowed);
            let full = |label: Option<&str>| label.map(|label| format!("{label}.example.com."));
            assert_eq!(seen("www.example.com", Which::Public), full(Some("www")));
            assert_eq!(seen("db.example.com", Which::Public), full(outside), "only the inside has it");
            assert_eq!(seen("none.example.com", Which::Public), full(Some("none")));
            assert_eq!(seen("www.example.com", Which::Internal), full(inside), "an insider asks");
        }
    }
}
