//! DNS over HTTPS (RFC 8484): HTTP/1.1 and HTTP/2 on hyper, chosen by ALPN.
//!
//! Invariant: nothing of a request but its message reaches the answer. Headers that claim another client
//! (`X-Forwarded-For`, `Forwarded`, …) have no way in (V3).

mod request;
mod response;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use self::request::{Asked, MAX_MESSAGE_BYTES, Refusal};
use self::response::Body;
use super::connection::{Peer, Shared};
use super::memory::{Full, Question, What};
use super::table::Place;
use super::tls::{self, Acceptor};
use crate::clock;
use crate::ended::Ended;

/// Where questions are asked.
pub(super) type Path = Arc<str>;

/// Requests at once on one HTTP/2 connection (RFC 9113 §6.5.2 recommends no fewer).
const MAX_STREAMS: u32 = 100;
/// A request's head; room for a question of 4 KiB in a GET and much else.
const MAX_HEAD_BYTES: u32 = 16 * 1024;
/// Header fields of an HTTP/1.1 request.
const MAX_FIELDS: usize = 64;
/// Streams that were reset before they were answered; more end the connection (Rapid Reset, CVE-2023-44487).
const MAX_RESETS: usize = 20;
/// Bytes that a client may send ahead on one stream: a message.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes that a client may send ahead on all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Answers that hyper keeps for one stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that the server reads after a refusal: the longest message under way, a few times over.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// There is no room for what was asked, or for the answer.
const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// A handshake, and then requests until the connection ends.
pub(super) async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    place: &Arc<Place>,
    shared: &Arc<Shared>,
    acceptor: &Acceptor,
    path: &Path,
) -> Ended {
    let stream = match acceptor.handshake(stream).await {
        Ok(stream) => stream,
        Err(ended) => return ended,
    };
    let session = Session {
        peer: peer.into(),
        place: Arc::clone(place),
        shared: Arc::clone(shared),
        path: Arc::clone(path),
        asked: Arc::default(),
    };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP_2);
    if is_h2 { speak_h2(stream, session).await } else { speak_h1(stream, session).await }
}

/// The state that a request is answered from.
#[derive(Clone)]
struct Session {
    peer: Peer,
    place: Arc<Place>,
    shared: Arc<Shared>,
    path: Path,
    /// Something was asked.
    asked: Arc<Notify>,
}

async fn speak_h1(stream: TlsStream<TcpStream>, session: Session) -> Ended {
    let service = {
        let session = session.clone();
        service_fn(move |request| respond(session.clone(), request))
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper counts from the last answer, so a quiet connection runs into it as well; `over` ends it sooner.
        .header_read_timeout(session.shared.config.message_timeout.max(session.shared.idle_timeout()))
        .max_headers(MAX_FIELDS)
        .max_buf_size(usize::try_from(MAX_HEAD_BYTES).expect("16 KiB fit"))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let why = tokio::select! {
        _ = connection.as_mut() => return Ended::Closed,
        why = over(&session) => why,
    };
    connection.as_mut().graceful_shutdown();
    finish(connection, why, session.shared.config.write_timeout).await
}

async fn speak_h2(stream: TlsStream<TcpStream>, session: Session) -> Ended {
    let service = {
        let session = session.clone();
        service_fn(move |request| respond(session.clone(), request))
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let why = tokio::select! {
        _ = connection.as_mut() => return Ended::Closed,
        why = over(&session) => why,
    };
    connection.as_mut().graceful_shutdown();
    finish(connection, why, session.shared.config.write_timeout).await
}

/// Waits until the connection is to end. A connection that is new when the server ends has time for its first request.
async fn over(session: &Session) -> Ended {
    let why = session.shared.over(&session.place).await;
    if matches!(why, Ended::Draining) {
        session.shared.first_request(&session.asked).await;
    }
    why
}

/// Requests that are there are answered, if the client takes the answers.
async fn finish<C: Future>(connection: C, why: Ended, limit: Duration) -> Ended {
    if timeout(limit, connection).await.is_ok() { why } else { Ended::SlowReader }
}

async fn respond(session: Session, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    session.asked.notify_one();
    let is_head = request.method() == Method::HEAD;
    let response = answer(session, request).await;
    Ok(if is_head { response::without_body(response) } else { response })
}

async fn answer(session: Session, request: Request<Incoming>) -> Response<Body> {
    session.place.active(clock::now());
    let (head, mut body) = request.into_parts();
    let asked = request::read(&head, &session.path);
    // A body that waits for `100 Continue` has not left: reading would ask for it (RFC 9110 §10.1.1).
    let is_under_way = !head.headers.contains_key(EXPECT) && !body.is_end_stream();
    // While the body arrives, its head, which may be much larger, takes no room.
    drop(head);
    let message = match asked {
        Ok(Asked::Message(message)) => {
            let mut question = Question::default();
            question.extend(&message, &session.place.allowance).map(|()| question).map_err(|Full| BUSY.into())
        }
        Ok(Asked::InBody) => collect(&mut body, &session).await.map_err(refuse),
        Err(refusal) => Err(refusal),
    };
    let message = match message {
        Ok(message) => message,
        Err(refusal) => {
            // A client that announced a long body may be slow with it, and must not wait for its refusal.
            if is_under_way {
                tokio::spawn(discard(body, session.shared));
            }
            return response::refusal(refusal);
        }
    };
    let mut answer = Vec::new();
    let answered = session.shared.answer_when_done(&message, &session.peer, &mut answer).await;
    drop(message);
    let Some(answered) = answered else { return response::refusal(BUSY.into()) };
    answer.shrink_to_fit();
    match session.place.allowance.claim(What::Answer, answer.len()) {
        Ok(room) => response::answer(answered, session.shared.listener, answer, room),
        Err(Full) => response::refusal(BUSY.into()),
    }
}

fn refuse(status: StatusCode) -> Refusal {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => request::TOO_LARGE,
        other => other.into(),
    }
}

/// The whole body within the deadline of a message.
async fn collect(body: &mut Incoming, session: &Session) -> Result<Question, StatusCode> {
    let most = u64::try_from(MAX_MESSAGE_BYTES).expect("64 KiB fit");
    if body.size_hint().lower() > most {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    timeout(session.shared.config.message_timeout, frames(body, &session.place))
        .await
        .unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

async fn frames<B>(body: &mut B, place: &Place) -> Result<Question, StatusCode>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut question = Question::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
        if question.len() + data.len() > MAX_MESSAGE_BYTES {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        question.extend(&data, &place.allowance).map_err(|Full| BUSY)?;
    }
    Ok(question)
}

/// Reads on a little beside a refusal: a connection that closes on unread bytes is reset, and that destroys the refusal
/// before the client has read it (RFC 9112 §9.6).
async fn discard(mut body: Incoming, shared: Arc<Shared>) {
    let some = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await
            && bytes <= MAX_DISCARDED_BYTES
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whether it ended or took too long: hyper closes what is not read.
    let _ = timeout(shared.config.message_timeout, some).await;
}

#[cfg(test)]
mod tests;
