//! How all connections are told that they are to end.

use tokio_util::sync::CancellationToken;

use super::room::Seat;

/// When connections are to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    /// Idle connections close, others after their response.
    pub(super) draining: CancellationToken,
    /// Every connection ends now.
    pub(super) aborted: CancellationToken,
}

/// Waits until the connection is to end with the answer that is being given.
pub(super) async fn away(seat: &Seat, ending: &Ending) {
    tokio::select! {
        () = ending.draining.cancelled() => {}
        () = seat.evicted() => {}
    }
}
