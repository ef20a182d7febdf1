//! HTTP/1.1 as a transport: the socket, the gate, hyper, and whose turn it is.
//!
//! ```text
//! socket ─▶ patient_stream ─▶ gate ─▶ hyper ─▶ answer ─▶ Arrival
//!                              │      hyper ◀─ Sent ◀─── Answer
//!                              └─ direct: a usual hit, without hyper
//! ```
//!
//! Nothing outside knows of turns, or that hyper is the server.

mod direct;
pub mod gate;
pub(super) mod patient_stream;
mod ready;
#[expect(unsafe_code, reason = "an ioctl takes a raw pointer; the module states its invariant")]
mod send_queue;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::answer::Answer;
use super::arrival::{Arrival, Peer, Transport};
use super::body::{Body, SendError};
use super::ending::{Ending, away};
use super::handler::{HEALTH_PATH, Unplaced, handle, turned_away};
use super::room::{Busy, Seat};
use super::seldom::Seldom;
use super::service::Service;
use super::tls::early::{EarlyStream, Unconfirmed};
use super::tunnel::{self, Handover};
use crate::cache::Cache;
use crate::http::endless::is_endless;
use crate::http::head::RequestHead;
use crate::metrics::{Limit, Outcome};
use crate::origin::{Early, RequestBody};
use crate::tls::Identity;
use crate::watch::Watch;
use direct::Direct;
use gate::{Gate, Needed, Refusal, Sending, Times, Turn, Turns};
use patient_stream::Patient;

/// One client's connection.
struct Connection<'a> {
    service: &'a Arc<Service>,
    limits: &'a Limits,
    peer: Peer,
    /// The identity that the client's certificate names.
    identity: Option<Arc<Identity>>,
    unconfirmed: Unconfirmed,
    seat: &'a Seat,
    turns: Turns,
    unframed: Unframed,
    handover: Handover,
    /// Told when each answer is to be the last of its connection.
    leaving: &'a CancellationToken,
}

/// A connection that can be ended in a way that no client takes for the end of an answer.
pub(super) trait Carried: AsyncRead + AsyncWrite + Unpin {
    /// The socket under it.
    fn socket(&self) -> &TcpStream;

    /// Whether its requests are early.
    fn unconfirmed(&self) -> Unconfirmed {
        Unconfirmed::default()
    }
}

impl Carried for Box<EarlyStream> {
    fn socket(&self) -> &TcpStream {
        self.patient().socket()
    }

    fn unconfirmed(&self) -> Unconfirmed {
        EarlyStream::unconfirmed(self)
    }
}

impl Carried for Patient {
    fn socket(&self) -> &TcpStream {
        Patient::socket(self)
    }
}

impl Carried for Box<TlsStream<Patient>> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0.socket()
    }
}

/// Carries a connection to its end: in the gate alone as long as all it asks for can be answered there, then by hyper.
pub(super) async fn carry(
    service: &Arc<Service>,
    limits: &Limits,
    stream: impl Carried,
    (peer, identity): (Peer, Option<Arc<Identity>>),
    seat: &Seat,
    ending: &Ending,
) {
    let times = Times { head: limits.head_timeout, idle: limits.idle_timeout };
    // A client that is known by its certificate gets answers of its own.
    let direct =
        if identity.is_none() { Direct::new(service, limits, peer, seat, &ending.leaving) } else { None };
    let unconfirmed = stream.unconfirmed();
    let mut gate = Gate::with_direct(stream, limits.head, direct).with_times(times);
    let late = ending.draining.is_cancelled();
    let ended = Seldom::new(async {
        tokio::select! {
            () = ending.aborted.cancelled() => None,
            () = away(seat, ending), if !late => Some(Ok(Needed::Server)),
        }
    });
    let needed = tokio::select! {
        biased;
        needed = gate.needed() => Some(needed),
        needed = ended => needed,
    };
    match needed {
        // Most connections never come here, and need not have the room for it.
        Some(Ok(Needed::Server)) => {
            Box::pin(serve(service, limits, gate, (peer, identity, unconfirmed), seat, ending)).await;
        }
        Some(Ok(Needed::Close)) => tokio::select! {
            _ = gate.close() => {}
            () = ending.aborted.cancelled() => {}
        },
        Some(Err(_)) | None => {}
    }
}

async fn serve(
    service: &Arc<Service>,
    limits: &Limits,
    gate: Gate<impl Carried, Direct<'_>>,
    (peer, identity, unconfirmed): (Peer, Option<Arc<Identity>>, Unconfirmed),
    seat: &Seat,
    ending: &Ending,
) {
    let connection = Connection {
        service,
        limits,
        peer,
        identity,
        unconfirmed,
        seat,
        turns: gate.turns(),
        unframed: Unframed::default(),
        handover: Handover::default(),
        leaving: &ending.leaving,
    };
    let answer = |request| async { Ok::<_, Infallible>(connection.answer(request).await) };
    let late = ending.draining.is_cancelled();
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // The gate has the limits, and tells a client that was too slow.
        .header_read_timeout(None)
        .title_case_headers(limits.title_case)
        .max_headers(limits.head.fields)
        .max_header_size(limits.head.bytes)
        .max_buf_size(limits.head.bytes.max(BUFFER_BYTES))
        // A connection that comes while draining still gets its answer: health checks learn from it.
        .keep_alive(!late && !seat.is_spare)
        .serve_connection(TokioIo::new(gate), service_fn(answer));
    let ended = tokio::select! {
        ended = &mut serving => ended.is_ok(),
        () = ending.aborted.cancelled() => false,
        () = away(seat, ending), if !late => {
            Pin::new(&mut serving).graceful_shutdown();
            tokio::select! {
                ended = &mut serving => ended.is_ok(),
                () = ending.aborted.cancelled() => false,
                () = seat.given_up() => false,
            }
        }
    };
    if let Some(tunnel) = connection.handover.take().filter(|_| ended) {
        let _busy = seat.busy();
        let parts = serving.into_parts();
        let (client, early) = (parts.io.into_inner(), parts.read_buf);
        let Cache { clock, metrics, .. } = &*service.cache;
        tunnel::carry(client, early, tunnel, clock, metrics, &ending.aborted).await;
    } else if !ended && connection.unframed.is_last() {
        reset(serving.into_parts().io.into_inner().into_inner().socket());
    }
}

impl Connection<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Sent> {
        let (busy, sending, version) = (self.seat.busy(), self.turns.sending(), request.version());
        let answer = match self.turns.begin(version) {
            Ok(_) if self.seat.is_spare && request.uri().path() != HEALTH_PATH => {
                self.turned_away(head_of(request.into_parts().0), version, full(&self.service.cache))
            }
            Ok(turn) => self.take_turn(turn, request).await,
            Err(refusal) => {
                let head = self.turns.refused().unwrap_or_else(|| head_of(request.into_parts().0));
                self.turned_away(head, version, refused(refusal))
            }
        };
        if is_stream(&answer) {
            self.turns.live();
        } else if answer.body.size_hint().exact().is_none() {
            self.turns.without_length();
        }
        let mut response = answer.into_response();
        if self.leaving.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            if response.status() == StatusCode::UPGRADE_REQUIRED {
                // It names its `Upgrade` there.
                response.headers_mut().append(header::CONNECTION, close);
            } else {
                response.headers_mut().insert(header::CONNECTION, close);
            }
        }
        self.handover.leave(response.body_mut().take_tunnel());
        if version < Version::HTTP_11 && response.body().size_hint().exact().is_none() {
            self.unframed.note();
        }
        response.map(|body| Sent { body, _sending: sending, _busy: busy })
    }

    fn turned_away(&self, head: RequestHead, version: Version, answer: Answer) -> Answer {
        turned_away(&self.service.cache, self.peer, &Unplaced::of(head, version), answer)
    }

    /// The turn ends before the answer is given to hyper: no 1xx may follow it.
    async fn take_turn(&self, turn: Turn, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let version = parts.version;
        let head = head_of(parts);
        let cache = &self.service.cache;
        let watch = Watch::new(self.limits.pace, cache.clock.clone());
        let body = RequestBody::upload(body, watch, &cache.metrics);
        let is_early = self.unconfirmed.is_so();
        let transport = Taken { turn: &turn, identity: self.identity.as_deref(), is_early };
        let arrival = Arrival { head, version, peer: self.peer, body, transport: &transport };
        let answer = handle(self.service, arrival).await;
        if answer.head.status == StatusCode::SWITCHING_PROTOCOLS {
            turn.switch();
        }
        answer
    }
}

fn head_of(parts: Parts) -> RequestHead {
    RequestHead { method: parts.method, uri: parts.uri, headers: parts.headers }
}

/// The turn of a request, and whose it is.
struct Taken<'a> {
    turn: &'a Turn,
    identity: Option<&'a Identity>,
    is_early: bool,
}

impl Transport for Taken<'_> {
    fn interim(&self) -> Early {
        let interim = self.turn.interim().open();
        Early::new(move |status, fields| {
            // A hint that comes too late is none.
            let _ = interim.send(status, fields);
        })
    }

    fn protocol(&self) -> Option<HeaderValue> {
        None
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity
    }

    fn is_early(&self) -> bool {
        self.is_early
    }

    fn refusal(&self) -> Option<Answer> {
        self.turn.body_refusal().map(refused)
    }
}

/// All connections that there may be are in use.
pub(super) fn full(cache: &Cache) -> Answer {
    cache.metrics.limit_reached(Limit::Connections);
    let sentence = "as many connections are in use as `limits.connections` allows";
    let mut answer =
        Answer::plain(StatusCode::SERVICE_UNAVAILABLE, sentence, Outcome::Refused, "connections");
    answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// It has no end of its own, as far as anyone can tell: what is stored has one, and what has a length.
fn is_stream(answer: &Answer) -> bool {
    let is_stored = matches!(answer.outcome, Outcome::Hit | Outcome::Stale | Outcome::Revalidated);
    let kind = answer.head.headers.get(header::CONTENT_TYPE);
    !is_stored
        && answer.body.size_hint().exact().is_none()
        && kind.is_some_and(|kind| is_endless(kind.as_bytes()))
}

/// A request that is not sound: told, and the connection closed, as what follows on it cannot be trusted.
fn refused(refusal: Refusal) -> Answer {
    let mut answer = Answer::plain(refusal.status(), refusal.as_str(), Outcome::Refused, "unsound");
    answer.head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An answer's body on its way: the gate waits for it until it is dropped.
struct Sent {
    body: Body,
    _sending: Sending,
    _busy: Busy,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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

/// The most that hyper may hold of a connection's input, and of its output beside one piece; its own limit of
/// 408 KiB would be most of a slow client's cost. Twice a piece: one is written while the next is fetched.
const BUFFER_BYTES: usize = 128 << 10;
