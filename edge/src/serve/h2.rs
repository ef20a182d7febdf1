//! HTTP/2 as a transport (RFC 9113), over TLS.
//!
//! ```text
//! TLS ─▶ guard (a client that makes work and asks for nothing) ─▶ h2 ─┬─▶ exchange ─▶ Arrival
//!                                                                     └─▶ direct: a usual hit, without a task of its own
//! ```
//!
//! h2 frames, and resets what breaks the protocol; it bounds heads, streams, and streams opened and reset
//! (CVE-2023-44487, CVE-2025-8671). The other bounds are here: each answer must be taken in time, whatever else goes on;
//! a connection ends if it asks for nothing for `idle_timeout`, or, costing more than it brings, at once.

mod direct;
mod exchange;
mod frames;
mod guard;
mod order;
mod wire;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::arrival::Peer;
use super::ending::{Ending, farewell};
use super::h1::Carried;
use super::limits::Limits;
use super::room::Seat;
use super::service::Service;
use super::stream::Client;
use super::tls::Terms;
use crate::clock::monotonic;
use crate::tls::Identity;
use direct::{Direct, Turn};
use guard::{Counts, Guard};
use order::Order;

/// One client's connection.
struct Connection {
    client: Client,
    counts: Arc<Counts>,
    order: Arc<Order>,
}

/// Carries a connection to its end.
pub(super) async fn carry(
    service: &Arc<Service>,
    limits: &Limits,
    stream: impl Carried,
    (peer, identity, server_name): (Peer, Option<Arc<Identity>>, Option<String>),
    seat: &Seat,
    ending: &Ending,
    terms: &Terms,
) {
    let counts = Arc::new(Counts::default());
    let client = Client {
        service: Arc::clone(service),
        occupant: seat.occupant(),
        is_spare: seat.is_spare,
        limits: *limits,
        peer,
        identity,
        unconfirmed: stream.unconfirmed(),
        names: terms.names_for(server_name.as_deref()),
        server_name,
        aborted: ending.aborted.clone(),
    };
    let guard = Guard::new(stream, Arc::clone(&counts), service.cache.metrics.clone());
    let own = Arc::new(Connection { client, counts, order: Arc::default() });
    let greeting = timeout(limits.head_timeout, builder(limits).handshake::<_, Bytes>(guard));
    let greeted = tokio::select! {
        greeted = greeting => greeted,
        () = ending.aborted.cancelled() => return,
        () = seat.evicted() => return,
    };
    if let Ok(Ok(connection)) = greeted {
        converse(&own, connection, seat, ending).await;
    }
}

fn builder(limits: &Limits) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.head.bytes).unwrap_or(u32::MAX))
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 4)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_EARLY_RESETS)
        .max_local_error_reset_streams(Some(MAX_OWN_RESETS));
    builder
}

/// Requests until the connection ends.
async fn converse(
    own: &Arc<Connection>,
    mut connection: h2::server::Connection<Guard<impl Carried>, Bytes>,
    seat: &Seat,
    ending: &Ending,
) {
    let mut streams = JoinSet::new();
    let mut idle_since = monotonic();
    let idle_timeout = own.client.limits.idle_timeout;
    let mut asked_to_end = false;
    let (mut direct, mut accepted) = (Direct::new(own, seat), Vec::new());
    loop {
        let is_idle = streams.is_empty();
        tokio::select! {
            is_there = poll_fn(|cx| poll_accept(&mut connection, &mut accepted, cx)) => {
                // The client is gone, or has broken the protocol.
                if !is_there {
                    return;
                }
                for (request, respond) in accepted.drain(..) {
                    let own = Arc::clone(own);
                    match direct.answer(request, respond) {
                        Turn::Given => idle_since = monotonic(),
                        Turn::Begun(begun) => drop(streams.spawn(async move { exchange::go_on(&own, begun).await })),
                        Turn::Left(request, respond) => {
                            streams.spawn(async move { exchange::carry(&own, request, respond).await });
                        }
                    }
                }
            },
            Some(_) = streams.join_next() => idle_since = monotonic(),
            () = ending.aborted.cancelled() => return,
            () = seat.given_up(), if asked_to_end => return,
            () = farewell(seat, ending), if !asked_to_end => {
                asked_to_end = true;
                connection.graceful_shutdown();
            }
            () = sleep_until(idle_since + idle_timeout), if is_idle && !asked_to_end => {
                asked_to_end = true;
                connection.graceful_shutdown();
            }
            // The client does not answer, and nothing is owed to it.
            () = sleep(FAREWELL), if is_idle && asked_to_end => return,
        }
    }
}

/// Ready when requests were accepted, or, with false, when there will be none: all that have come, so that their answers go
/// out by one write.
fn poll_accept(
    connection: &mut h2::server::Connection<Guard<impl Carried>, Bytes>,
    accepted: &mut Vec<Accepted>,
    cx: &mut Context<'_>,
) -> Poll<bool> {
    while accepted.len() < MAX_STREAMS as usize {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok(request))) => accepted.push(request),
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
            Poll::Pending if accepted.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(true)
}

/// A request, and the way for its answer.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// Browsers open up to a hundred at once.
const MAX_STREAMS: u32 = 100;
/// Streams that were reset before they were looked at (CVE-2023-44487).
const MAX_EARLY_RESETS: usize = 20;
/// Streams of a connection that the edge itself had to reset (CVE-2025-8671), in all.
const MAX_OWN_RESETS: usize = 100;
/// A client may send this much of one body before an origin takes it.
const WINDOW_BYTES: u32 = 64 << 10;
/// h2 takes so much of one answer: all that [`Order`] lets it hold of a connection, so that an answer that has more to send
/// waits there and nowhere else.
const SEND_BUFFER_BYTES: usize = order::MOST_BYTES + order::PIECE_BYTES;
/// A client that is told that the connection ends says so within a round trip.
const FAREWELL: Duration = Duration::from_secs(1);
