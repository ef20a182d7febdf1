//! Waiting for a client as long as its pace allows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use crate::clock::{Clock, Timer};
use crate::pace::{Pace, Rule, Slow};

/// One transfer of a client's, in one direction.
#[derive(Debug)]
pub struct Watch {
    pace: Pace,
    clock: Clock,
    waiting: Option<Waiting>,
}

/// The client is being waited for.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    end: Timer,
    then: Slow,
}

impl Watch {
    /// At the beginning of a transfer.
    #[must_use]
    pub fn new(rule: Rule, clock: Clock) -> Self {
        Self { pace: Pace::new(rule), clock, waiting: None }
    }

    /// The result of a poll for the client, unless the client is too slow. `bytes` says how many went. The
    /// clock is read only when a client has to be waited for.
    ///
    /// # Errors
    /// When the client has been waited for too long.
    pub fn judge<R>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<R>,
        bytes: impl FnOnce(&R) -> usize,
    ) -> Poll<Result<R, Slow>> {
        if let Poll::Ready(result) = polled {
            self.moved(bytes(&result));
            return Poll::Ready(Ok(result));
        }
        self.poll_slow(cx).map(Err)
    }

    /// So many bytes went; if the client was waited for, that is over, or begins anew.
    pub fn moved(&mut self, bytes: usize) {
        let waited = self.waiting.take().map(|waiting| self.clock.monotonic() - waiting.since);
        self.pace.moved(bytes, waited.unwrap_or_default());
    }

    /// Waits for the client; ready when that has been too long.
    pub fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<Slow> {
        let (pace, clock) = (&self.pace, &self.clock);
        let waiting = self.waiting.get_or_insert_with(|| {
            let (since, (patience, then)) = (clock.monotonic(), pace.patience());
            Waiting { since, end: clock.timer(patience), then }
        });
        ready!(Pin::new(&mut waiting.end).poll(cx));
        Poll::Ready(waiting.then)
    }
}
