//! HTTP/2 as a transport (RFC 9113), over TLS.
//!
//! ```text
//! TlsStream ─▶ guard (a peer that makes work and asks for nothing) ─▶ hyper ─▶ head ─▶ Arrival
//! ```
//!
//! hyper frames, and resets what breaks the protocol; it bounds heads, streams, and streams opened and reset
//! (CVE-2023-44487, CVE-2025-8671). The other bounds are here: a connection ends if it carries nothing for
//! `idle_timeout`, if its client takes nothing for `stall_timeout`, or, costing more than it brings, at once.

mod frames;
mod guard;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;

use super::Limits;
use super::answer::Answer;
use super::arrival::{Peer, Transport};
use super::body::{Body, SendError};
use super::h1::away;
use super::h1::patient_stream::Patient;
use super::handler::Service;
use super::listener::Ending;
use super::room::{Busy, Seat};
use super::stream::Client;
use super::tls::Terms;
use crate::http::head::RequestHead;
use crate::origin::{Early, RequestBody};
use crate::watch::Watch;
use guard::{Counts, Guard, Seen};

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
    peer: Peer,
    seat: &Seat,
    ending: &Ending,
    terms: &Terms,
) {
    let server_name = stream.get_ref().1.server_name().map(str::to_ascii_lowercase);
    let counts = Arc::new(Counts::default());
    let metrics = service.cache.metrics.clone();
    let client = Client {
        service: Arc::clone(service),
        occupant: seat.occupant(),
        is_spare: seat.is_spare,
        limits: *limits,
        peer,
        server_name,
        terms: terms.clone(),
    };
    let connection = Connection { client, counts: Arc::clone(&counts) };
    let connection = Arc::new(connection);
    let answer = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let guard = Guard::new(stream, Arc::clone(&counts), metrics);
    let mut serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.head.bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 4)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_local_error_reset_streams(Some(MAX_OWN_RESETS))
        .serve_connection(TokioIo::new(guard), answer);
    let mut asked_to_end = false;
    let mut last = counts.seen();
    loop {
        tokio::select! {
            _ = &mut serving => return,
            () = ending.aborted.cancelled() => return,
            () = seat.given_up(), if asked_to_end => return,
            () = away(seat, ending), if !asked_to_end => {
                asked_to_end = true;
                Pin::new(&mut serving).graceful_shutdown();
            }
            () = sleep(patience(&last, limits)) => {
                let now = counts.seen();
                if now.is_without_progress_since(&last) {
                    if now.answers > 0 || asked_to_end {
                        return;
                    }
                    asked_to_end = true;
                    Pin::new(&mut serving).graceful_shutdown();
                }
                last = now;
            }
        }
    }
}

/// How long a connection may go on as it is: one that owes answers is waited for by the origin's deadlines.
fn patience(seen: &Seen, limits: &Limits) -> Duration {
    if seen.answers > 0 { limits.pace.stall_timeout } else { limits.idle_timeout }
}

impl Connection {
    async fn answer(&self, request: Request<Incoming>) -> Response<Sent> {
        let client = &self.client;
        let (busy, _open) = (client.busy(), self.counts.open());
        let version = request.version();
        let (parts, body) = request.into_parts();
        let head = RequestHead { method: parts.method, uri: parts.uri, headers: parts.headers };
        let cache = &client.service.cache;
        let watch = Watch::new(client.limits.pace, cache.clock.clone());
        let body = RequestBody::upload(body, watch, &cache.metrics);
        let response = client.answer(head, version, body, &Stream).await.into_response();
        let mut sending = self.counts.sending();
        if response.body().is_end_stream() {
            sending.ended();
        }
        response.map(|body| Sent { body, sending, _busy: busy })
    }
}

/// A stream's transport: hyper sends no 1xx over HTTP/2, and checks bodies against their length itself.
struct Stream;

impl Transport for Stream {
    fn interim(&self) -> Early {
        Early::new(|_, _| ())
    }

    fn refusal(&self) -> Option<Answer> {
        None
    }
}

/// An answer's body on its way, counted while it is.
struct Sent {
    body: Body,
    sending: guard::Sending,
    _busy: Busy,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let Self { body, sending, .. } = self.get_mut();
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            sending.piece(frame.data_ref().map_or(0, Bytes::len));
        }
        if frame.is_none() || body.is_end_stream() {
            sending.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Browsers open up to a hundred at once.
const MAX_STREAMS: u32 = 100;
/// Streams of a connection that the edge itself had to reset (CVE-2025-8671), in all.
const MAX_OWN_RESETS: usize = 100;
/// A client may send this much of one body before an origin takes it.
const WINDOW_BYTES: u32 = 64 << 10;
/// This much of one answer waits for the client's window.
const SEND_BUFFER_BYTES: usize = 64 << 10;
