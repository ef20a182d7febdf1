//! The TCP loop (RFC 7766, RFC 9210): pipelined messages, a deadline for every wait, caps on connections.
//!
//! Answers are made at once and leave in the order of their questions; nothing waits for anything, so there is no
//! other order to prefer. What has arrived together is answered together, in one write.

mod table;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::table::Table;
use self::table::{Guest, Room};
use super::clock;
use super::desk::{Desk, Reply};
use crate::config::Tcp;
use crate::view::{Client, Listener, Transport};

/// Waits after `accept` failed for want of descriptors or memory and nothing could be dropped.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Lets a connection that was dropped for another close.
const CLOSE_PAUSE: Duration = Duration::from_millis(1);
/// The two octets before each message (RFC 1035 §4.2.2).
const LENGTH_OCTETS: usize = 2;
/// What an idle connection keeps to read into; a longer message makes room for itself.
const READ_OCTETS: usize = 1024;
/// Answers are sent when this much is ready, however many questions are still waiting.
const WRITE_OCTETS: usize = 32 * 1024;

/// What the connections of one side's listeners share.
pub(super) struct Shared {
    pub(super) config: Tcp,
    pub(super) listener: Listener,
    pub(super) table: Arc<Table>,
    pub(super) tasks: TaskTracker,
    /// Set when no more questions are wanted.
    pub(super) drain: CancellationToken,
    /// Held for the microseconds of one answer; a stream's own work is around it.
    pub(super) desk: Mutex<Desk>,
}

/// Accepts connections until the drain begins.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let guest = shared.table.admit(peer.ip(), clock::now());
                let shared = Arc::clone(&shared);
                shared.tasks.clone().spawn(async move { converse(stream, peer, &guest, &shared).await });
            }
            Err(error) if is_exhaustion(&error) => {
                let pause = match shared.table.drop_longest_idle() {
                    Room::Made => CLOSE_PAUSE,
                    Room::None => ACCEPT_PAUSE,
                };
                tokio::time::sleep(pause).await;
            }
            // The client went away before it was accepted.
            Err(_) => {}
        }
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

async fn converse(mut stream: TcpStream, peer: SocketAddr, guest: &Guest, shared: &Shared) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let ended = tokio::select! {
        () = guest.evicted() => Ended::Evicted,
        ended = exchange(&mut stream, peer, guest, shared) => ended,
    };
    tracing::trace!(%peer, ?ended, "connection closed");
}

/// Why a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Evicted,
    Closed,
    Idle,
    SlowMessage,
    SlowReader,
    Garbage,
    Draining,
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    guest: &Guest,
    shared: &Shared,
) -> Ended {
    let mut incoming = Vec::with_capacity(READ_OCTETS);
    let mut outgoing = Vec::new();
    let mut answer = Vec::new();
    loop {
        if let Err(ended) = read_message(stream, &mut incoming, shared).await {
            return ended;
        }
        guest.active(clock::now());
        let mut taken = 0;
        while let Some(message) = first_message(&incoming[taken..]) {
            taken += LENGTH_OCTETS + message.len();
            match shared.answer(message, peer, &mut answer) {
                Reply::Send => append(&answer, &mut outgoing),
                // There is no telling where the next message would begin if this one was none.
                Reply::Silence => return Ended::Garbage,
            }
            if outgoing.len() >= WRITE_OCTETS
                && let Err(ended) = write(stream, &mut outgoing, shared.config.write_timeout).await
            {
                return ended;
            }
        }
        incoming.drain(..taken);
        incoming.shrink_to(READ_OCTETS);
        if let Err(ended) = write(stream, &mut outgoing, shared.config.write_timeout).await {
            return ended;
        }
        outgoing.shrink_to(READ_OCTETS);
    }
}

impl Shared {
    fn answer(&self, message: &[u8], peer: SocketAddr, out: &mut Vec<u8>) -> Reply {
        let client = Client {
            address: peer.ip(),
            port: peer.port(),
            listener: self.listener,
            transport: Transport::Tcp,
        };
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let world = desk.world();
        desk.answer(&world, message, &client, clock::moment(), out)
    }
}

/// Waits until `incoming` holds a whole message.
async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
    incoming: &mut Vec<u8>,
    shared: &Shared,
) -> Result<(), Ended> {
    if incoming.is_empty() {
        tokio::select! {
            biased;
            first = timeout(shared.config.idle_timeout, stream.read_buf(incoming)) => match first {
                Ok(Ok(octets)) if octets > 0 => {}
                Ok(_) => return Err(Ended::Closed),
                Err(_) => return Err(Ended::Idle),
            },
            () = shared.drain.cancelled() => return Err(Ended::Draining),
        }
    }
    let whole = async {
        while first_message(incoming).is_none() {
            incoming.reserve(wanted(incoming).saturating_sub(incoming.len()).max(LENGTH_OCTETS));
            if stream.read_buf(incoming).await.unwrap_or(0) == 0 {
                return Err(Ended::Closed);
            }
        }
        Ok(())
    };
    timeout(shared.config.message_timeout, whole).await.unwrap_or(Err(Ended::SlowMessage))
}

/// Octets of the first message in `incoming`, its length included.
fn wanted(incoming: &[u8]) -> usize {
    match incoming {
        [high, low, ..] => LENGTH_OCTETS + usize::from(u16::from_be_bytes([*high, *low])),
        _ => LENGTH_OCTETS,
    }
}

/// The first message in `incoming`, without its length, if it is there as a whole.
fn first_message(incoming: &[u8]) -> Option<&[u8]> {
    (incoming.len() >= LENGTH_OCTETS).then(|| incoming.get(LENGTH_OCTETS..wanted(incoming)))?
}

fn append(answer: &[u8], outgoing: &mut Vec<u8>) {
    let length = u16::try_from(answer.len()).expect("an answer over TCP has at most 65,535 octets");
    outgoing.extend_from_slice(&length.to_be_bytes());
    outgoing.extend_from_slice(answer);
}

async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    outgoing: &mut Vec<u8>,
    limit: Duration,
) -> Result<(), Ended> {
    if outgoing.is_empty() {
        return Ok(());
    }
    let written = timeout(limit, stream.write_all(outgoing)).await;
    outgoing.clear();
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ended::Closed),
        Err(_) => Err(Ended::SlowReader),
    }
}

/// The client an address stands for: an IPv6 client owns a whole /64 (RFC 6177), an IPv4 one its address.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
