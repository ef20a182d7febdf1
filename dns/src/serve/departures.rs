//! Connections over TCP with nothing under way, which go on in the process that takes over: their clients notice nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::handover::Moved;
use crate::client::Listener;

/// Shared by the connections of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Departures {
    /// Cancelled before the drain if another process has the sockets, too.
    pub(super) leaving: CancellationToken,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    connections: Vec<Moved>,
    /// They are on their way: who comes now is closed.
    are_gone: bool,
}

impl Departures {
    /// Takes a connection of which all that was read is answered.
    pub(super) fn depart(&self, stream: TcpStream, peer: SocketAddr, side: Listener) {
        let mut waiting = self.lock();
        if !self.leaving.is_cancelled() || waiting.are_gone {
            return;
        }
        // One that the system does not give back closes, as any does.
        if let Ok(stream) = stream.into_std() {
            waiting.connections.push(Moved { stream, peer, inside: side == Listener::Inside });
        }
    }

    /// All that go on elsewhere.
    pub(super) fn take(&self) -> Vec<Moved> {
        let mut waiting = self.lock();
        waiting.are_gone = true;
        std::mem::take(&mut waiting.connections)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is complete before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
