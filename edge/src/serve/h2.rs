//! HTTP/2 as a transport (RFC 9113), over TLS.
//!
//! ```text
//! TlsStream ─▶ guard (a client that makes work and asks for nothing) ─▶ h2 ─▶ exchange ─▶ Arrival
//! ```
//!
//! h2 frames, and resets what breaks the protocol; it bounds heads, streams, and streams opened and reset
//! (CVE-2023-44487, CVE-2025-8671). The other bounds are here: each answer must be taken in time, whatever else goes on;
//! a connection ends if it asks for nothing for `idle_timeout`, or, costing more than it brings, at once.

mod exchange;
mod frames;
mod guard;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::arrival::Peer;
use super::ending::{Ending, farewell};
use super::h1::patient_stream::Patient;
use super::limits::Limits;
use super::room::Seat;
use super::service::Service;
use super::stream::Client;
use super::tls::Terms;
use crate::clock::monotonic;
use crate::tls::Identity;
use guard::{Counts, Guard};

/// One client's connection.
struct Connection {
    client: Client,
    counts: Arc<Counts>,
}

/// Carries a connection to its end.
pub(super) async fn carry(
    service: &Arc<Service>,
    limits: &Limits,
    stream: TlsStream<Patient>,
    (peer, identity): (Peer, Option<Arc<Identity>>),
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
        server_name: stream.get_ref().1.server_name().map(str::to_ascii_lowercase),
        unconfirmed: stream.unconfirmed(),
        terms: terms.clone(),
        aborted: ending.aborted.clone(),
    };
    let guard = Guard::new(stream, Arc::clone(&counts), service.cache.metrics.clone());
    let own = Arc::new(Connection { client, counts });
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
    mut connection: h2::server::Connection<Guard<TlsStream<Patient>>, Bytes>,
    seat: &Seat,
    ending: &Ending,
) {
    let mut streams = JoinSet::new();
    let mut idle_since = monotonic();
    let idle_timeout = own.client.limits.idle_timeout;
    let mut asked_to_end = false;
    loop {
        let is_idle = streams.is_empty();
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let own = Arc::clone(own);
                    streams.spawn(async move { exchange::carry(&own, request, respond).await });
                }
                // The client is gone, or has broken the protocol.
                Some(Err(_)) | None => return,
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

/// Browsers open up to a hundred at once.
const MAX_STREAMS: u32 = 100;
/// Streams that were reset before they were looked at (CVE-2023-44487).
const MAX_EARLY_RESETS: usize = 20;
/// Streams of a connection that the edge itself had to reset (CVE-2025-8671), in all.
const MAX_OWN_RESETS: usize = 100;
/// A client may send this much of one body before an origin takes it.
const WINDOW_BYTES: u32 = 64 << 10;
/// This much of one answer waits for the client's window.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// A client that is told that the connection ends says so within a round trip.
const FAREWELL: Duration = Duration::from_secs(1);
