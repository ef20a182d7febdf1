//! HTTP/2 with an origin, on the h2 crate: one connection carries the requests of many clients.
//!
//! hyper's client of HTTP/2 is not used, for two reasons. It drops the 1xx heads that come before a response, which a
//! proxy forwards (RFC 9110 §15.2). And it takes a response for whole that RST_STREAM(NO_ERROR) cuts off before
//! END_STREAM; RFC 9113 §8.1 means those that are complete. h2 gives both as they came, and holds each response to its
//! `Content-Length`.

mod received;
mod upload;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, Reason, StreamId};
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Body as _;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

pub(super) use received::Received;

use super::Early;
use super::body::RequestBody;
use super::stream::Stream;
use super::unheaded::{Refusal, Unheaded};
use super::wire::{Heard, MAX_HEAD_BYTES, Wire};
use crate::clock::monotonic;
use crate::policy::headers::status::ProxyError;
use upload::Content;

/// A connection with HTTP/2; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    used: Arc<Used>,
    heard: Heard,
}

/// One stream of a connection with HTTP/2.
#[derive(Debug)]
pub(super) struct Share {
    connection: Http2,
    /// Whether the last request on it was refused when it was chosen for this one.
    has_refused: bool,
}

#[derive(Debug)]
struct Used {
    made: Instant,
    streams: AtomicUsize,
    last: Mutex<Instant>,
    /// Whether the origin refused the last request that it answered here (RFC 9113 §8.7).
    refuses: AtomicBool,
    /// Whether it was ended from here, as the origin was gone without a word.
    is_given_up: AtomicBool,
    /// Whether the origin's limits are known, or never will be as it has ended.
    is_settled: AtomicBool,
    settled: Notify,
}

/// Servers commonly allow 100 or more streams at once; RFC 9113 §6.5.2 asks them for no less. Some allow fewer.
const MAX_STREAMS: usize = 100;
/// Of one response, unread.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Of all responses on a connection, unread: clients that read slowly take nothing from the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * MAX_STREAMS as u32;
/// An origin that is gone without a word is found out by a PING when nothing came for so long, while requests wait.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(10);

impl Http2 {
    /// Begins HTTP/2 on a new connection.
    pub(super) async fn new(stream: Stream) -> Result<Self, ProxyError> {
        let heard = Heard::default();
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_max_send_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).expect("it is a constant"))
            .max_send_buffer_size(MAX_HEAD_BYTES)
            // Responses that nobody wants any more are reset. However many they are, the others go on.
            .max_local_error_reset_streams(None)
            .max_concurrent_reset_streams(MAX_STREAMS)
            .handshake::<_, Bytes>(Wire::of_frames(stream, heard.clone()))
            .await
            .map_err(|_| ProxyError::ConnectionTerminated)?;
        let used = Arc::new(Used::new(monotonic()));
        tokio::spawn(keep(connection, Arc::clone(&used), heard.clone()));
        Ok(Self { sender, used, heard })
    }

    /// A stream of its own; none if the connection has enough. h2 would hold one that the origin does not allow
    /// (SETTINGS_MAX_CONCURRENT_STREAMS) until another ends, which may be hours. One may wait where none is allowed. Until the
    /// origin has said how many it allows, there is one: a burst that comes before would be refused but for the first few.
    pub(super) fn share(&self) -> Option<Share> {
        let most = match self.used.is_settled.load(Ordering::Acquire) {
            true => self.sender.current_max_send_streams().clamp(1, MAX_STREAMS),
            false => 1,
        };
        let more = |streams| (streams < most).then_some(streams + 1);
        self.used.streams.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Share { connection: self.clone(), has_refused: self.refuses() })
    }

    /// Waits until the origin has said how many streams it allows (RFC 9113 §3.4: with its first frame), or the connection has
    /// ended.
    pub(super) async fn settled(&self) {
        // Made before the look: it is woken by what comes after that.
        let told = self.used.settled.notified();
        if !self.used.is_settled.load(Ordering::Acquire) {
            told.await;
        }
    }

    /// Waits for its limits no longer, and takes them to be those that servers commonly have.
    pub(super) fn settle(&self) {
        self.used.settle();
    }

    /// Whether it takes no further request: it has ended, or is about to (GOAWAY).
    pub(super) fn is_closed(&self) -> bool {
        let polled = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Ready(Err(_)))
    }

    /// Whether the origin has said that it ends it (GOAWAY).
    fn is_leaving(&self) -> bool {
        let polled = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Ready(Err(error)) if error.is_go_away() && error.is_remote())
    }

    /// Whether its end is no fault of the origin: the origin had said that it would end it, or closed it when it had served
    /// others.
    fn has_ended_in_peace(&self) -> bool {
        let has_served = self.heard.has_head() && !self.used.is_given_up.load(Ordering::Acquire);
        has_served || self.is_leaving()
    }

    /// When it was made.
    pub(super) fn made(&self) -> Instant {
        self.used.made
    }

    /// Whether the origin refuses requests on it, as far as the last one tells.
    pub(super) fn refuses(&self) -> bool {
        self.used.refuses.load(Ordering::Acquire)
    }

    /// When it was used last; none if it is in use.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (!self.used.is_so()).then(|| *self.used.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Used {
    fn new(now: Instant) -> Self {
        Self {
            made: now,
            streams: AtomicUsize::new(0),
            last: Mutex::new(now),
            refuses: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            is_settled: AtomicBool::new(false),
            settled: Notify::new(),
        }
    }

    fn settle(&self) {
        if !self.is_settled.swap(true, Ordering::AcqRel) {
            self.settled.notify_waiters();
        }
    }

    fn is_so(&self) -> bool {
        self.streams.load(Ordering::Acquire) > 0
    }
}

/// Carries a connection to its end, which its streams hear of. It ends when nobody holds it any more.
async fn keep(connection: Connection<Wire, Bytes>, used: Arc<Used>, heard: Heard) {
    carry(connection, &used, &heard).await;
    used.settle();
}

async fn carry(mut connection: Connection<Wire, Bytes>, used: &Used, heard: &Heard) {
    let mut pings = connection.ping_pong();
    let mut connection = pin!(connection);
    let mut is_settled = false;
    let mut connection = poll_fn(move |cx| {
        let polled = connection.as_mut().poll(cx);
        // Behind the poll h2 has not only read the limits: they are in force.
        if !is_settled && heard.has_settings() {
            is_settled = true;
            used.settle();
        }
        polled
    });
    loop {
        let before = heard.bytes();
        if timeout(PING_AFTER, &mut connection).await.is_ok() {
            return;
        }
        let is_silent = heard.bytes() == before && used.is_so();
        let Some(pings) = pings.as_mut().filter(|_| is_silent) else { continue };
        let answered = tokio::select! {
            _ = &mut connection => return,
            answered = timeout(PING_LIMIT, pings.ping(Ping::opaque())) => answered,
        };
        if !matches!(answered, Ok(Ok(_))) {
            used.is_given_up.store(true, Ordering::Release);
            return;
        }
    }
}

impl Share {
    /// When its connection was made.
    pub(super) fn made(&self) -> Instant {
        self.connection.made()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Whether the connection, which carries no more, ended in peace before any octet of this answer (RFC 9112 §9.3.1, RFC 9110
    /// §9.2.2: then a request that may be sent twice is sent again).
    fn ended_before(&self, answer: &Answering) -> bool {
        let is_open = self.connection.heard.open_head() == answer.stream.as_u32();
        !is_open && !answer.had_early && self.connection.has_ended_in_peace()
    }

    /// Sends a request and waits for the head of its response; 1xx heads go to the [`Early`] of the request.
    pub(super) async fn send(&self, request: Request<RequestBody>) -> Result<Response<Received>, Unheaded> {
        let mut sender = self.connection.sender.clone();
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            return Err(unsent(&error, request));
        }
        let early = request.extensions().get::<Early>().cloned();
        let (mut answer, stream) = match sender.send_request(head(&request), request.body().is_end_stream()) {
            Ok(sent) => sent,
            // It is never on the wire when this fails.
            Err(error) if error.is_go_away() || error.is_io() => return Err(unsent(&error, request)),
            Err(error) => return Err(Unheaded::Failed(failure(&error))),
        };
        drop(sender);
        let mut heard = Answering { stream: stream.stream_id(), had_early: false };
        let (parts, body) = request.into_parts();
        let content = Content::begin(body, stream);
        match poll_fn(|cx| poll_head(&mut answer, early.as_ref(), &mut heard, cx)).await {
            Ok(response) => {
                self.connection.used.refuses.store(false, Ordering::Release);
                let length = response.headers().get(header::CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                let upload = content.of_answered();
                Ok(response.map(|stream| Received::new(stream, length, upload)))
            }
            Err(_) if content.has_broken_off() => Err(Unheaded::Failed(ProxyError::HttpRequestError)),
            Err(error) => {
                let refusal = refusal(&error);
                let refusal = match refusal {
                    Some(Refusal::Stream) => {
                        self.connection.used.refuses.store(true, Ordering::Release);
                        Some(if self.has_refused { Refusal::StreamAgain } else { Refusal::Stream })
                    }
                    other => other,
                };
                if refusal.is_none() && !(error.is_io() && self.ended_before(&heard)) {
                    return Err(Unheaded::Failed(failure(&error)));
                }
                let back = content.back().await.map(|body| Box::new(Request::from_parts(parts, body)));
                Err(match refusal {
                    Some(refusal) => Unheaded::Refused(refusal, back),
                    None => Unheaded::Ended(back),
                })
            }
        }
    }
}

/// The part of an answer that has come before its head.
struct Answering {
    stream: StreamId,
    /// A 1xx head stood before it.
    had_early: bool,
}

/// A response is looked for only where no 1xx head stands before it: h2 would pass that over.
fn poll_head(
    answer: &mut ResponseFuture,
    early: Option<&Early>,
    heard: &mut Answering,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<h2::RecvStream>, h2::Error>> {
    while let Some(head) = ready!(answer.poll_informational(cx)) {
        let head = head?;
        heard.had_early = true;
        if let Some(early) = early {
            early.tell(head.status(), head.headers());
        }
    }
    Pin::new(answer).poll(cx)
}

/// A request's head as h2 takes it.
fn head(request: &Request<RequestBody>) -> Request<()> {
    let mut head = Request::new(());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    head.headers_mut().clone_from(request.headers());
    // RFC 9110 §8.6: content that is not there has a length with methods that expect some.
    let has_content_by_custom = [Method::POST, Method::PUT, Method::PATCH].contains(head.method());
    let length = request.body().size_hint().exact().filter(|&length| length > 0 || has_content_by_custom);
    if let Some(length) = length {
        head.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    head
}

/// The origin says that it has not processed the request. h2 gives the error of a GOAWAY that has come to no stream but
/// those beyond the last one that it names.
fn refusal(error: &h2::Error) -> Option<Refusal> {
    let reason = error.reason().filter(|_| error.is_remote())?;
    match reason {
        Reason::HTTP_1_1_REQUIRED => Some(Refusal::Http1Required),
        _ if error.is_go_away() => Some(Refusal::Connection),
        Reason::REFUSED_STREAM => Some(Refusal::Stream),
        _ => None,
    }
}

/// Of a request that no connection has.
fn unsent(error: &h2::Error, request: Request<RequestBody>) -> Unheaded {
    match refusal(error) {
        Some(Refusal::Http1Required) => Unheaded::Refused(Refusal::Http1Required, Some(request.into())),
        _ => Unheaded::Unsent(request.into()),
    }
}

fn failure(error: &h2::Error) -> ProxyError {
    if error.is_library() { ProxyError::HttpProtocolError } else { ProxyError::ConnectionTerminated }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.connection.used.last.lock().unwrap_or_else(PoisonError::into_inner) = monotonic();
        self.connection.used.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    /// A connection with one stream in use, and the origin's end of it.
    async fn begun() -> (Share, Http2, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let connection = Http2::new(Stream::Unix(ours)).await.unwrap();
        (connection.share().unwrap(), connection, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_is_gone_without_a_word_is_found_out_while_requests_wait() {
        let (share, connection, _theirs) = begun().await;
        let began = monotonic();
        while !connection.is_closed() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(began.elapsed() <= (PING_AFTER + PING_LIMIT) * 2, "{:?}", began.elapsed());
        assert!(share.send(Request::new(RequestBody::Empty)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_nothing_waits_for_is_left_in_peace() {
        let (share, connection, _theirs) = begun().await;
        drop(share);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!connection.is_closed());
    }

    #[tokio::test]
    async fn a_connection_that_nobody_holds_is_closed() {
        use tokio::io::AsyncReadExt as _;
        let (share, connection, mut theirs) = begun().await;
        drop((share, connection));
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        assert!(all.starts_with(b"PRI * HTTP/2.0"));
    }

    /// An origin that allows so many streams.
    async fn allow(connection: &Http2, theirs: UnixStream, streams: u32) {
        let mut origin = h2::server::Builder::new();
        let mut origin = origin.max_concurrent_streams(streams).handshake::<_, Bytes>(theirs).await.unwrap();
        tokio::spawn(async move { while origin.accept().await.is_some() {} });
        connection.settled().await;
    }

    #[tokio::test]
    async fn streams_of_a_connection_are_counted() {
        let (share, connection, theirs) = begun().await;
        allow(&connection, theirs, 1_000).await;
        let more: Vec<Share> = std::iter::from_fn(|| connection.share()).collect();
        assert_eq!((more.len(), connection.idle_since()), (MAX_STREAMS - 1, None));
        drop((share, more));
        assert!(connection.idle_since().is_some());
    }

    #[tokio::test]
    async fn no_more_streams_are_given_than_the_origin_allows() {
        for (allowed, given) in [(3, 3), (0, 1)] {
            let (share, connection, theirs) = begun().await;
            assert!(connection.share().is_none(), "nobody knows yet how many it allows");
            allow(&connection, theirs, allowed).await;
            drop(share);
            let shares: Vec<Share> = std::iter::from_fn(|| connection.share()).collect();
            assert_eq!(shares.len(), given);
        }
    }
}
