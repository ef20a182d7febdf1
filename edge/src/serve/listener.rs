//! Accepting connections and carrying each to its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Body;
use super::gate::{Gate, Turns};
use super::handler::{Edge, Peer, handle};
use super::tunnel::{self, Handover};
use crate::serve::patient_stream::Patient;
use crate::watch::Watch;

/// What all listeners and connections share.
#[derive(Debug, Clone)]
pub(super) struct Floor {
    pub(super) edge: Arc<Edge>,
    /// Open connections.
    pub(super) connections: TaskTracker,
    /// One for each connection that may be open.
    pub(super) room: Arc<Semaphore>,
    /// Idle connections close, others after their response.
    pub(super) draining: CancellationToken,
    /// No more connections are accepted.
    pub(super) closed: CancellationToken,
    /// Every connection ends now.
    pub(super) aborted: CancellationToken,
}

impl Floor {
    /// Accepts until the floor is closed.
    pub(super) async fn accept(self, listener: TcpListener) {
        while let Some((stream, peer, permit)) = self.next(&listener).await {
            self.edge.metrics.connections(self.connections.len() + 1);
            let connection = self.clone().carry(stream, peer, permit);
            self.connections.spawn(connection);
        }
    }

    /// The next connection, once there is room for it: until then it waits in the kernel's queue.
    async fn next(&self, listener: &TcpListener) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
        let accepted = async {
            let permit = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
            loop {
                match listener.accept().await {
                    Ok((stream, client)) => return (stream, client, permit),
                    Err(error) => rest(&error).await,
                }
            }
        };
        tokio::select! {
            (stream, client, permit) = accepted => {
                let local = stream.local_addr().unwrap_or(UNKNOWN);
                Some((stream, Peer { client: client.ip(), local }, permit))
            }
            () = self.closed.cancelled() => None,
        }
    }

    async fn carry(self, stream: TcpStream, peer: Peer, permit: OwnedSemaphorePermit) {
        // Heads and small bodies go out in one write; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        let limits = self.edge.limits;
        let watch = Watch::new(limits.pace, self.edge.clock.clone());
        let stream = Patient::new(stream, watch, self.edge.metrics.clone());
        let gate = Gate::new(stream, limits.head_bytes);
        let turns = gate.turns();
        let (unframed, handover) = (Unframed::default(), Handover::default());
        let answer = |request| {
            let (edge, turns) = (Arc::clone(&self.edge), turns.clone());
            let (unframed, handover) = (unframed.clone(), handover.clone());
            async move {
                let mut response = answer(&edge, &turns, &unframed, request, peer).await;
                handover.leave(response.body_mut().take_tunnel());
                Ok::<_, Infallible>(response)
            }
        };
        let late = self.draining.is_cancelled();
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_headers(MAX_FIELDS)
            .max_header_size(limits.head_bytes)
            .max_buf_size(limits.head_bytes.max(BUFFER_BYTES))
            // A connection that comes while draining still gets its answer: health checks learn from it.
            .keep_alive(!late)
            .serve_connection(TokioIo::new(gate), service_fn(answer));
        let ended = tokio::select! {
            ended = &mut connection => ended.is_ok(),
            () = self.aborted.cancelled() => false,
            () = self.draining.cancelled(), if !late => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended.is_ok(),
                    () = self.aborted.cancelled() => false,
                }
            }
        };
        if let Some(tunnel) = handover.take().filter(|_| ended) {
            let parts = connection.into_parts();
            let (client, early) = (parts.io.into_inner(), parts.read_buf);
            tunnel::carry(client, early, tunnel, &self.edge.clock, &self.edge.metrics, &self.aborted).await;
        } else if !ended && unframed.is_last() {
            reset(&connection.into_parts().io.into_inner().into_inner().into_inner());
        }
        drop(permit);
        self.edge.metrics.connections(self.connections.len().saturating_sub(1));
    }
}

async fn answer(
    edge: &Arc<Edge>,
    turns: &Turns,
    unframed: &Unframed,
    request: Request<Incoming>,
    peer: Peer,
) -> Response<Body> {
    let (sending, version) = (turns.sending(), request.version());
    let response = handle(edge, turns, request, peer).await;
    if version < Version::HTTP_11 && response.body().size_hint().exact().is_none() {
        unframed.note();
    }
    response.map(|body| body.of(sending))
}

/// Whether the end of a connection's last answer is the connection's end (RFC 9112 §6.3 rule 8), as to a client of
/// HTTP/1.0, which knows no chunks. It would take an answer that breaks off for a whole one.
#[derive(Debug, Clone, Default)]
struct Unframed(Arc<AtomicBool>);

impl Unframed {
    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_last(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Ends a connection in a way that no client takes for the end of an answer: its reads fail.
fn reset(stream: &TcpStream) {
    // Where it is refused the connection is gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Fields in a request's head; browsers send some 20.
const MAX_FIELDS: usize = 100;
/// What hyper may hold of a connection's input, and of its output beside one piece; its own limit of 408 KiB would be
/// most of what a slow client costs. Twice a piece: one is written while the next is fetched.
const BUFFER_BYTES: usize = 128 << 10;
/// The socket was closed before it could be asked.
const UNKNOWN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
/// Without file descriptors left, accepting again at once would only burn the CPU.
const ACCEPT_REST: Duration = Duration::from_millis(100);

async fn rest(error: &io::Error) {
    match next_accept(error) {
        Accept::AtOnce => {}
        Accept::After(rest) => {
            tracing::warn!(target: "verge_edge::listener", %error, "cannot accept connections, trying again");
            tokio::time::sleep(rest).await;
        }
    }
}

/// When to accept again after an error.
#[derive(Debug, PartialEq, Eq)]
enum Accept {
    /// It was one client's matter, and has gone with it.
    AtOnce,
    /// It is ours, and would be the same at once.
    After(Duration),
}

/// accept(2) gives errors of the new connection as its own; whatever else there is, a loop must not spin on it.
fn next_accept(error: &io::Error) -> Accept {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    match error.kind() {
        ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted => {
            Accept::AtOnce
        }
        _ => Accept::After(ACCEPT_REST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_clients_matter_is_passed_over_and_what_is_ours_rests() {
        let check = |code: i32, expected: &Accept| {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(next_accept(&error), *expected, "{error}");
        };
        // Linux: ECONNABORTED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, EINTR.
        for code in [103, 104, 113, 101, 4] {
            check(code, &Accept::AtOnce);
        }
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EINVAL, and one that there is not.
        for code in [24, 23, 105, 12, 1, 22, 9999] {
            check(code, &Accept::After(ACCEPT_REST));
        }
    }
}
