//! How all connections are told that they are to end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::room::Seat;

/// When connections are to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    /// Another process answers: each connection ends with its next response, and idle ones wait for their last request.
    pub(super) leaving: CancellationToken,
    /// Idle connections close, others after their response.
    pub(super) draining: CancellationToken,
    /// Every connection ends now.
    pub(super) aborted: CancellationToken,
}

/// The end of one listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closing {
    closed: CancellationToken,
    leaving: CancellationToken,
    ended: CancellationToken,
}

impl Closing {
    /// Of these.
    pub(super) fn new(
        closed: CancellationToken,
        leaving: CancellationToken,
        ended: CancellationToken,
    ) -> Self {
        Self { closed, leaving, ended }
    }

    /// Of one that ends when this is cancelled, and then says so.
    pub(crate) fn of(closed: CancellationToken, ended: CancellationToken) -> Self {
        Self { closed, leaving: CancellationToken::new(), ended }
    }

    /// Told when the last connections of its socket are taken.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// No more connections are accepted. Those that are open end as if another process had the socket: each with its next
    /// answer, over HTTP/2 and HTTP/3 once the client has been told.
    pub(crate) fn close(&self) {
        self.leaving.cancel();
        self.closed.cancel();
    }
}

/// A token that is asked for each request whether it is cancelled: it says so itself only under a lock that all connections
/// share.
pub(super) struct Asked {
    told: Arc<Told>,
    /// As long as it is there, it tells.
    _waiting: Pin<Box<WaitForCancellationFutureOwned>>,
}

#[derive(Debug)]
struct Told(AtomicBool);

impl Asked {
    /// Asks this token.
    pub(super) fn new(token: &CancellationToken) -> Self {
        let told = Arc::new(Told(AtomicBool::new(false)));
        let mut waiting = Box::pin(token.clone().cancelled_owned());
        let waker = Arc::clone(&told).into();
        if waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            told.wake_by_ref();
        }
        Self { told, _waiting: waiting }
    }

    /// Whether it is cancelled: so from the moment on at which whoever cancelled it goes on.
    pub(super) fn is_cancelled(&self) -> bool {
        self.told.0.load(Ordering::Acquire)
    }
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits until a connection is to end that can tell its client so at any time, as over HTTP/2 and HTTP/3.
pub(super) async fn farewell(seat: &Seat, ending: &Ending) {
    tokio::select! {
        () = ending.leaving.cancelled() => {}
        () = away(seat, ending) => {}
    }
}

/// Waits until the connection is to end with the answer that is being given.
pub(super) async fn away(seat: &Seat, ending: &Ending) {
    tokio::select! {
        () = ending.draining.cancelled() => {}
        () = seat.evicted() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_asked_says_at_once_that_it_is_cancelled() {
        let parent = CancellationToken::new();
        let token = parent.child_token();
        let asked = Asked::new(&token);
        assert!(!asked.is_cancelled());
        parent.cancel();
        assert!(asked.is_cancelled() && Asked::new(&token).is_cancelled());
    }
}
