//! How all connections are told that they are to end.

use tokio_util::sync::CancellationToken;

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
