//! The end of connections: where another process takes over, those over TCP with nothing under way go on in that one, and their
//! clients notice nothing. All others close.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::handover::Moved;
use crate::client::{Listener, Transport};

/// Shared by the connections of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Departures {
    /// Cancelled before the drain if another process has the sockets, too.
    pub(super) leaving: CancellationToken,
    /// How far it is: looked at for each answer, so that it has no lock.
    stage: Arc<AtomicU8>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Connections stay.
const STAY: u8 = 0;
/// Those over TCP go on elsewhere when nothing is under way, and all others close.
const DEPART: u8 = 1;
/// All of them close.
const CLOSE: u8 = 2;

#[derive(Debug, Default)]
struct Waiting {
    connections: Vec<Moved>,
    /// They are on their way: who comes now is closed.
    are_gone: bool,
}

impl Departures {
    /// Another process has the sockets, too, and connections may go on there.
    pub(super) fn begin(&self) {
        self.stage.fetch_max(DEPART, Ordering::AcqRel);
        self.leaving.cancel();
    }

    /// Whether another process has taken the sockets.
    pub(super) fn have_begun(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Connections that are here close here.
    pub(super) fn end(&self) {
        self.stage.fetch_max(CLOSE, Ordering::AcqRel);
    }

    /// Whether a connection over this transport is to close: its client may as well do it.
    pub(super) fn close(&self, transport: Transport) -> bool {
        match self.stage.load(Ordering::Acquire) {
            STAY => false,
            DEPART => transport != Transport::Tcp,
            _ => true,
        }
    }

    /// Takes a connection of which all that was read is answered.
    pub(super) fn depart(&self, stream: TcpStream, peer: SocketAddr, side: Listener) {
        let mut waiting = self.lock();
        if !self.have_begun() || waiting.are_gone {
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
        self.end();
        std::mem::take(&mut waiting.connections)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is complete before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_to_close_only_where_it_cannot_go_on() {
        let check = |departures: &Departures, expected: [bool; 2]| {
            assert_eq!([Transport::Tcp, Transport::Tls].map(|it| departures.close(it)), expected);
        };
        let stopped = Departures::default();
        check(&stopped, [false, false]);
        stopped.end();
        check(&stopped, [true, true]);
        assert!(!stopped.have_begun());
        let taken_over = Departures::default();
        taken_over.begin();
        check(&taken_over, [false, true]);
        assert!(taken_over.have_begun() && taken_over.take().is_empty());
        check(&taken_over, [true, true]);
    }
}
