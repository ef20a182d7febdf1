//! One request and its answer, on a stream of HTTP/2 (RFC 9113 §8.1).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::Sender;

use super::Connection;
use super::guard::Counts;
use super::order::{Held, PIECE_BYTES, Place, Turn};
use super::wire::Wire;
use crate::http::head::RequestHead;
use crate::http::upgrade;
use crate::origin::RequestBody;
use crate::serve::answer::Answer;
use crate::serve::body::Body as ResponseBody;
use crate::serve::room::Busy;
use crate::serve::stream::exchange::{self, Interim, Lost, Sink};
use crate::serve::stream::{Asked, head, patiently, urgency, waits_to_go_on};
use crate::serve::tunnel::Ended;
use crate::watch::Watch;

/// Carries a stream to its end.
pub(super) async fn carry(own: &Connection, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let client = &own.client;
    let _busy = client.busy();
    own.counts.asked();
    let (limits, cache) = (&client.limits, &client.service.cache);
    let watch = || Watch::new(limits.pace, cache.clock.clone());
    let (tell, told) = exchange::interims();
    let (parts, received) = request.into_parts();
    let mut head = RequestHead { method: parts.method, uri: parts.uri, headers: parts.headers };
    let protocol = parts.extensions.get::<Protocol>().and_then(|named| upgrade::of_stream(named.as_ref()));
    let (body, to_come) = if protocol.is_some() {
        head.method = Method::GET;
        (RequestBody::Empty, Some(received))
    } else {
        let waits = waits_to_go_on(&head.headers);
        let upload = Upload::new(received, &head.headers, waits.then(|| tell.clone()));
        (RequestBody::upload(upload, watch(), &cache.metrics), None)
    };
    let method = head.method.clone();
    let place = own.order.place(urgency(&head.headers));
    let counts = Arc::clone(&own.counts);
    let mut sent = Sent { respond, stream: None, is_over: false, watch: watch(), counts, place };
    let asked = Asked { head, version: Version::HTTP_2, body, protocol };
    // If there is none, the client has said that it does not want it.
    let Some(answer) = exchange::respond(client, &mut sent, asked, (tell, told)).await else { return };
    let given = give(own, &mut sent, &method, answer, to_come).await;
    sent.conclude(own, given);
}

/// Sends the body of an answer whose head is sent to its end.
pub(super) async fn go_on(own: &Connection, Begun { respond, stream, body, busy, place }: Begun) {
    let _busy = busy;
    let watch = Watch::new(own.client.limits.pace, own.client.service.cache.clock.clone());
    let counts = Arc::clone(&own.counts);
    let mut sent = Sent { respond, stream: Some(stream), is_over: false, watch, counts, place };
    let given = exchange::send_body(&mut sent, body).await;
    sent.conclude(own, given);
}

/// An answer whose head is sent.
pub(super) struct Begun {
    pub(super) respond: SendResponse<Bytes>,
    pub(super) stream: SendStream<Bytes>,
    pub(super) body: ResponseBody,
    pub(super) busy: Busy,
    pub(super) place: Place,
}

/// Sends an answer to its end; `to_come` are the client's bytes of another protocol, if its stream is asked to carry one.
async fn give(
    own: &Connection,
    sent: &mut Sent,
    method: &Method,
    mut answer: Answer,
    to_come: Option<RecvStream>,
) -> Result<(), Lost> {
    let Some(tunnel) = exchange::switched(&own.client, sent, &mut answer).await? else {
        return exchange::send(&own.client, sent, method, answer).await;
    };
    let (Some(from), Some(to)) = (to_come, sent.stream.take()) else { return Err(Lost::Broken) };
    let wire = Wire::new(from, to, Arc::clone(&own.counts));
    match own.client.tunnel(wire, tunnel).await {
        Ended::Closed => Ok(()),
        // h2 resets a stream that is given up unfinished.
        Ended::Broken | Ended::Idle | Ended::Drained => Err(Lost::Unwanted),
    }
}

/// The edge's side of a stream.
struct Sent {
    respond: SendResponse<Bytes>,
    /// Once the head is sent.
    stream: Option<SendStream<Bytes>>,
    is_over: bool,
    watch: Watch,
    counts: Arc<Counts>,
    /// Among the answers of its connection.
    place: Place,
}

impl Sent {
    /// Counts what became of the answer, and lets the client know.
    fn conclude(&mut self, own: &Connection, given: Result<(), Lost>) {
        match given {
            Ok(()) => own.counts.answered(),
            Err(Lost::Unwanted) => {}
            Err(Lost::Slow(slow)) => {
                own.client.service.cache.metrics.client_dropped(slow.as_str());
                self.reset(Reason::ENHANCE_YOUR_CALM);
            }
            // The client must not take what it has for all.
            Err(Lost::Broken) => self.reset(Reason::INTERNAL_ERROR),
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    /// Waits until the client's windows let some bytes go, at most so many; at least one.
    async fn granted(&mut self, wanted: usize) -> Result<usize, Lost> {
        let Self { stream: Some(stream), watch, .. } = self else { return Err(Lost::Unwanted) };
        stream.reserve_capacity(wanted);
        let step = poll_fn(|cx| match stream.capacity() {
            0 => stream.poll_capacity(cx),
            // h2 tells of it once only.
            granted => Poll::Ready(Some(Ok(granted))),
        });
        let granted = |granted: &Option<Result<usize, h2::Error>>| match granted {
            Some(Ok(granted)) => (*granted).min(wanted),
            _ => 0,
        };
        let told = patiently(watch, step, granted).await.map_err(Lost::Slow)?;
        Some(granted(&told)).filter(|granted| *granted > 0).ok_or(Lost::Unwanted)
    }

    /// Waits until it is this answer's turn to send so many bytes. While more urgent ones go, the client is not slow.
    async fn turn(&mut self, bytes: usize) -> Result<Held, Lost> {
        let Self { stream: Some(stream), watch, place, .. } = self else { return Err(Lost::Unwanted) };
        loop {
            let step = poll_fn(|cx| match place.poll(bytes, cx) {
                Poll::Ready(turn) => Poll::Ready(Some(turn)),
                Poll::Pending => stream.poll_reset(cx).map(|_| None),
            });
            let gone = |turn: &Option<Turn>| turn.as_ref().map_or(0, |turn| turn.gone);
            let turn = patiently(watch, step, gone).await.map_err(Lost::Slow)?;
            if let Some(held) = turn.ok_or(Lost::Unwanted)?.held {
                return Ok(held);
            }
        }
    }

    fn stream(&mut self) -> Result<&mut SendStream<Bytes>, Lost> {
        self.stream.as_mut().ok_or(Lost::Unwanted)
    }
}

impl Sink for Sent {
    fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Some(stream) => stream.poll_reset(cx).map(drop),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }

    async fn interim(&mut self, head: Interim) -> Result<(), Lost> {
        let sent = self.respond.send_informational(response(head.status, head.fields));
        sent.map_err(|_| Lost::Unwanted)
    }

    async fn head(&mut self, status: StatusCode, headers: HeaderMap, is_last: bool) -> Result<(), Lost> {
        let stream = self.respond.send_response(response(status, headers), is_last);
        (self.stream, self.is_over) = (Some(stream.map_err(|_| Lost::Unwanted)?), is_last);
        Ok(())
    }

    async fn data(&mut self, mut bytes: Bytes, is_last: bool) -> Result<(), Lost> {
        self.counts.piece(bytes.len());
        self.is_over = is_last && !bytes.is_empty();
        while !bytes.is_empty() {
            let granted = self.granted(bytes.len().min(PIECE_BYTES)).await?;
            let held = self.turn(granted).await?;
            let piece = held.hold(bytes.split_to(granted));
            let is_last = is_last && bytes.is_empty();
            self.stream()?.send_data(piece, is_last).map_err(|_| Lost::Unwanted)?;
        }
        Ok(())
    }

    async fn trailers(&mut self, trailers: HeaderMap) -> Result<(), Lost> {
        self.is_over = true;
        self.stream()?.send_trailers(trailers).map_err(|_| Lost::Unwanted)
    }

    async fn finish(&mut self) -> Result<(), Lost> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        self.stream()?.send_data(Bytes::new(), true).map_err(|_| Lost::Unwanted)
    }
}

pub(super) fn response(status: StatusCode, headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A request's body, which h2 checks against its length.
struct Upload {
    stream: RecvStream,
    length: Option<u64>,
    /// Told when the body is asked for, if the client waits for that (RFC 9110 §10.1.1).
    go_on: Option<Sender<Interim>>,
    /// Bytes that the client may send again.
    taken: usize,
}

impl Upload {
    fn new(stream: RecvStream, headers: &HeaderMap, go_on: Option<Sender<Interim>>) -> Self {
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, length, go_on, taken: 0 }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let upload = self.get_mut();
        if let Some(go_on) = upload.go_on.take() {
            // Its task is gone only if nobody waits.
            let _ = go_on.try_send(Interim::go_on());
        }
        // The window opens again for what has been handed on.
        let taken = std::mem::take(&mut upload.taken);
        if taken > 0 {
            // It fails where the stream has ended.
            let _ = upload.stream.flow_control().release_capacity(taken);
        }
        Poll::Ready(match ready!(upload.stream.poll_data(cx)) {
            Some(Ok(bytes)) => {
                upload.taken = bytes.len();
                upload.length = upload.length.map(|length| length.saturating_sub(bytes.len() as u64));
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => match ready!(upload.stream.poll_trailers(cx)) {
                Ok(Some(trailers)) if !head::are_sound_trailers(&trailers) => {
                    Some(Err(Reason::PROTOCOL_ERROR.into()))
                }
                // Trailers are not passed on: nothing before them announced any.
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
