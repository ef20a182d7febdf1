//! How long a client may take for a head, and between two requests.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::clock::monotonic;

/// The limits on a client that sends nothing that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From a head's first byte to its end; on a new connection from its start.
    pub head: Duration,
    /// From the end of an answer to the next head's first byte.
    pub idle: Duration,
}

/// The event that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first byte on a new connection.
    First,
    /// The rest of a head.
    Head,
    /// The next request.
    Idle,
}

/// A timer for the current stage.
///
/// A deadline that moves on costs no more than a look at the clock: the timer runs for the earlier one and is set anew when
/// that comes.
#[derive(Debug, Default)]
pub(super) struct Late {
    times: Option<Times>,
    stage: Option<Stage>,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Late {
    pub(super) fn new(times: Times) -> Self {
        Self { times: Some(times), ..Self::default() }
    }

    /// The client has had an answer: the stage that follows begins now, whichever it is.
    pub(super) fn restart(&mut self) {
        self.stage = None;
    }

    /// Ready with the stage that took too long; never if nothing is waited for.
    pub(super) fn poll(&mut self, stage: Option<Stage>, cx: &mut Context<'_>) -> Poll<Stage> {
        let (Some(times), Some(now)) = (self.times, stage) else {
            self.stage = None;
            return Poll::Pending;
        };
        let before = self.stage.replace(now);
        // A new connection's head counts from the connection's start.
        if before != stage && (before, now) != (Some(Stage::First), Stage::Head) {
            let limit = if now == Stage::Idle { times.idle } else { times.head };
            self.deadline = Some(monotonic() + limit);
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(now);
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
