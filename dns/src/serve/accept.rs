//! Who wants to talk: connections are accepted, seated, served until they end, and what ended them is counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::descriptors::Tables;
use super::https::{self, Path};
use super::memory::Pool;
use super::responder::{Answered, Responder};
use super::stream;
use super::table::{Place, Room, Table};
use super::tls::{self, Acceptor};
use crate::client::{Client, Listener, Transport};
use crate::clock;
use crate::config::Tcp;
use crate::limit::Limits;
use crate::metrics::{Endings, Metrics};

/// Waits after `accept` failed for want of descriptors or memory and nothing could be dropped.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// On a stream, which has one message at a time, one up to this needs no room; nearly all are far below it.
pub(super) const SMALL_OCTETS: usize = 4 * 1024;

/// What the connections of one transport on one side's listeners share.
pub(super) struct Shared {
    pub(super) config: Tcp,
    pub(super) listener: Listener,
    pub(super) transport: Transport,
    pub(super) table: Arc<Table>,
    tables: Arc<Tables>,
    pub(super) tasks: TaskTracker,
    /// Set when no more questions are wanted.
    pub(super) drain: CancellationToken,
    pub(super) endings: Arc<Endings>,
    responder: Responder,
}

/// What is spoken on a listener.
#[derive(Clone)]
pub(super) enum Service {
    /// RFC 7766.
    Plain,
    /// RFC 7858.
    Tls(Acceptor),
    /// RFC 8484.
    Https(Acceptor, Path),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its place was needed by another.
    Evicted,
    /// The client went, or the network lost it.
    Closed,
    /// No message within the idle timeout.
    Idle,
    /// A message took too long to arrive.
    SlowMessage,
    /// The client did not take its answers.
    SlowReader,
    /// What came was no question.
    Garbage,
    /// Too much is on its way, in this connection or in all of them.
    Crowded,
    /// The handshake failed.
    Handshake,
    /// The handshake took too long.
    SlowHandshake,
    /// The server stops.
    Draining,
}

impl Ended {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Evicted,
        Self::Closed,
        Self::Idle,
        Self::SlowMessage,
        Self::SlowReader,
        Self::Garbage,
        Self::Crowded,
        Self::Handshake,
        Self::SlowHandshake,
        Self::Draining,
    ];

    /// The label of logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::SlowMessage => "slow_message",
            Self::SlowReader => "slow_reader",
            Self::Garbage => "garbage",
            Self::Crowded => "crowded",
            Self::Handshake => "handshake",
            Self::SlowHandshake => "slow_handshake",
            Self::Draining => "draining",
        }
    }
}

impl Shared {
    pub(super) fn new(
        config: Tcp,
        (listener, transport): (Listener, Transport),
        (tasks, drain): (TaskTracker, CancellationToken),
        metrics: &Metrics,
        tables: &Arc<Tables>,
        responder: Responder,
    ) -> Self {
        let open = metrics.connections(listener, transport);
        let most = (config.max_connections, config.max_connections_per_client);
        let pool = Pool::new(config.max_buffered_octets);
        let table = Table::new(most, pool, open, clock::now());
        if transport != Transport::Quic {
            // A connection over QUIC has no descriptor of its own that could be freed.
            tables.add(listener, Arc::clone(&table));
        }
        Self {
            config,
            listener,
            transport,
            table,
            tables: Arc::clone(tables),
            tasks,
            drain,
            endings: metrics.endings(transport),
            responder,
        }
    }

    /// Answers one message of `peer`.
    pub(super) fn answer(&self, message: &[u8], peer: SocketAddr, out: &mut Vec<u8>) -> Answered {
        let client = Client {
            address: peer.ip(),
            port: peer.port(),
            listener: self.listener,
            transport: self.transport,
        };
        // Its client has proved its address, so that nobody else can be flooded through it.
        let mut unlimited = Limits::default();
        self.responder.view_of_answer(
            &mut unlimited,
            &self.responder.world(),
            message,
            &client,
            clock::moment(),
            out,
        )
    }

    /// How long a connection may be idle, as the world in service has it: what clients are told (RFC 7828) holds.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.responder.world().protocol.idle_timeout
    }

    /// Waits until a connection that carries many questions at once has been idle for too long, or the drain begins.
    /// Nothing below has a limit of its own for an HTTP/2 connection that is idle or whose answers are not read.
    pub(super) async fn over(&self, place: &Place) -> Ended {
        loop {
            let idle = place.idle(clock::now());
            let Some(left) = self.idle_timeout().checked_sub(idle).filter(|left| !left.is_zero()) else {
                return Ended::Idle;
            };
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = self.drain.cancelled() => return Ended::Draining,
            }
        }
    }

    pub(super) fn note(&self, peer: SocketAddr, ended: Ended) {
        self.endings.count(ended);
        tracing::trace!(%peer, transport = self.transport.as_str(), ended = ended.as_str(), "connection closed");
    }
}

/// Accepts connections until the drain begins.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, service: Service) {
    loop {
        let accepted = tokio::select! {
            () = shared.drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = shared.table.admit(peer.ip(), clock::now());
                let (shared, service) = (Arc::clone(&shared), service.clone());
                shared
                    .tasks
                    .clone()
                    .spawn(async move { converse(stream, peer, place, shared, service).await });
            }
            Err(error) if is_exhaustion(&error) => {
                if shared.tables.make_room().await == Room::None {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            // The client went away before it was accepted.
            Err(_) => {}
        }
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

async fn converse(stream: TcpStream, peer: SocketAddr, place: Place, shared: Arc<Shared>, service: Service) {
    let place = Arc::new(place);
    // Closed before its place is free: who waits for its descriptor then has it.
    let mut stream = stream;
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let served = async {
        match service {
            Service::Plain => stream::exchange(&mut stream, peer, &place, &shared).await,
            // Boxed, so that a plain connection does not pay for what it does not use.
            Service::Tls(acceptor) => Box::pin(tls::converse(stream, peer, &place, &shared, &acceptor)).await,
            Service::Https(acceptor, path) => {
                Box::pin(https::converse(stream, peer, &place, &shared, &acceptor, &path)).await
            }
        }
    };
    let ended = tokio::select! {
        () = place.evicted() => Ended::Evicted,
        ended = served => ended,
    };
    shared.note(peer, ended);
}
