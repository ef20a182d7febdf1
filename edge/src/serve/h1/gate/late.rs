//! How long a client may take for a head, and between two requests.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

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
#[derive(Debug, Default)]
pub(super) struct Late {
    times: Option<Times>,
    stage: Option<Stage>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Late {
    pub(super) fn new(times: Times) -> Self {
        Self { times: Some(times), ..Self::default() }
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
            let deadline = monotonic() + limit;
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(deadline),
                None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
        }
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(now)
    }
}
