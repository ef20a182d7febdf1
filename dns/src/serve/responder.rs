//! Where a transport hands in a message: the world in service answers it, and the outcome is counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::mpsc::Sender;

use super::sys;
use super::update::{Reply as Back, Submission, Updates};
use crate::client::Client;
use crate::limit::Limits;
use crate::metrics::Counters;
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
    pub(super) fn submit(&self, submitted: Submitted, from: IpAddr, reply: Back) {
        self.ways.updates.submit(Submission { submitted, from, reply });
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
