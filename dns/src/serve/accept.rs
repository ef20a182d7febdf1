//! Accepts connections over TCP, gives each a place in its table, serves it until it ends, and counts why it ended.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::connection::Shared;
use super::https::{self, Path};
use super::stream;
use super::table::{Place, Room};
use super::tls::{self, Acceptor};
use crate::clock;
use crate::ended::Ended;

/// Waits after `accept` failed for want of descriptors or memory and nothing could be dropped.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are taken after the drain has begun: as many as the kernel keeps waiting on most machines, so that a flood holds up no
/// stop.
const MOST_WAITING: usize = 4096;

/// The protocol that a listener speaks.
#[derive(Clone)]
pub(super) enum Service {
    /// RFC 7766.
    Plain,
    /// RFC 7858.
    Tls(Acceptor),
    /// RFC 8484.
    Https(Acceptor, Path),
}

/// Accepts connections until the drain begins, and then those that the kernel has made already: their clients do not know that they came
/// too late. Where another process has the socket, too, that one takes them.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, service: Service) {
    loop {
        let accepted = tokio::select! {
            () = shared.drain.cancelled() => return take_waiting(listener, &shared, &service),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => serve((stream, peer), &shared, service.clone()),
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

/// Asks the kernel itself: the runtime may not have heard of the last ones yet.
fn take_waiting(listener: TcpListener, shared: &Arc<Shared>, service: &Service) {
    if shared.departures.have_begun() {
        return;
    }
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..MOST_WAITING {
        match listener.accept() {
            Ok((stream, peer)) => {
                // One that the runtime does not take closes.
                if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                    serve((stream, peer), shared, service.clone());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhaustion(&error) => return,
            Err(_) => {}
        }
    }
}

/// Serves a connection until it ends.
pub(super) fn serve((stream, peer): (TcpStream, SocketAddr), shared: &Arc<Shared>, service: Service) {
    let place = shared.table.admit(peer.ip(), clock::now());
    let (tasks, shared) = (shared.tasks.clone(), Arc::clone(shared));
    tasks.spawn(async move { converse(stream, peer, place, shared, service).await });
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
            Service::Plain => {
                let ended = stream::exchange(&mut stream, &peer.into(), &place, &shared).await;
                if ended == Ended::Draining {
                    shared.departures.depart(stream, peer, shared.listener);
                }
                ended
            }
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
