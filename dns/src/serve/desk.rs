//! Where a transport hands in a message: the world of this moment answers it, and what became of it is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use crate::limit::Limits;
use crate::metrics::Counters;
use crate::view::{Client, Which, World};
use crate::wire::{self, Guarded, Moment, Outcome, Sent};

/// At most one line a second says that the guard stopped an answer; the counter has them all.
const SHOUT_PERIOD: Duration = Duration::from_secs(1);

/// What became of a message.
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
    /// What is in the buffer.
    Send,
    /// Nothing.
    Silence,
}

/// One loop's way to answers.
pub(super) struct Desk {
    world: Arc<ArcSwap<World>>,
    limits: Limits,
    counters: Arc<Counters>,
    shouted: Option<Instant>,
}

impl Desk {
    pub(super) fn new(world: Arc<ArcSwap<World>>, limits: Limits, counters: Arc<Counters>) -> Self {
        Self { world, limits, counters, shouted: None }
    }

    /// The world in service now. It is held for a batch only, so that an idle loop keeps no old world in memory.
    pub(super) fn world(&self) -> Guard<Arc<World>> {
        self.world.load()
    }

    pub(super) fn answer(
        &mut self,
        world: &World,
        message: &[u8],
        client: &Client,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Reply {
        match self.view_of_answer(world, message, client, now, out) {
            Answered::From(_) => Reply::Send,
            Answered::Not => Reply::Silence,
        }
    }

    /// As [`Desk::answer`], for whom it matters which view it was.
    pub(super) fn view_of_answer(
        &mut self,
        world: &World,
        message: &[u8],
        client: &Client,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Answered {
        let outcome = wire::respond(world, &mut self.limits, message, client, now, out);
        self.counters.count(&outcome);
        match outcome {
            Outcome::Silent(_) => Answered::Not,
            Outcome::Sent(sent) => {
                if sent.guard == Guarded::Stopped {
                    self.shout(&sent, client, now.instant);
                }
                Answered::From(sent.view)
            }
        }
    }

    /// How many answers the kernel would not take.
    pub(super) fn unsent(&self, answers: usize) {
        self.counters.refused_by_kernel(answers);
    }

    fn shout(&mut self, sent: &Sent<'_>, client: &Client, now: Instant) {
        if self.shouted.is_some_and(|last| now.saturating_duration_since(last) < SHOUT_PERIOD) {
            return;
        }
        self.shouted = Some(now);
        tracing::error!(
            zone = sent.zone.map(tracing::field::display),
            qtype = sent.qtype.map(tracing::field::display),
            client = %client.real_address(),
            "the egress guard stopped a hidden address; please report this as a bug of verge-dns"
        );
    }
}
