//! One request over one connection: an idle one if there is one, else a new one.
//!
//! A connection that served others may be closed by the origin just when the next request is on its way. If no byte of
//! its answer came, a request that may be sent twice is sent again once, on a new connection (RFC 9112 §9.3.1, RFC 9110
//! §9.2.2), over HTTP/1.1 and HTTP/2 alike; each request that was on it has its own second try. So is any
//! request that an origin says not to have processed as it ends a connection with HTTP/2 (RFC 9113 §6.8), and one for which
//! it requires HTTP/1.1 (RFC 9113 §7), by that.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Body as _;
use tokio::time::{Instant, timeout};

use super::binding;
use super::body::{Coming, OriginBody, Progress, RequestBody};
use super::coding::{Coding, coding, is_identity};
use super::dial::dial;
use super::http2::Http2;
use super::line::{Line, Protocols};
use super::pool::{Pool, Reuse, Turn};
use super::resolving::Names;
use super::secure::Terms;
use super::shape;
use super::unheaded::{Refusal, Unheaded};
use crate::clock::monotonic;
use crate::http::{range, upgrade};
use crate::policy::headers::status::ProxyError;
use crate::site::origin::Way;
use crate::site::{OriginAddress, Patience};

/// The result of an exchange with one origin.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The head of its final response is here.
    Answered(Response<OriginBody>),
    /// It never saw the request.
    Unsent(Request<RequestBody>, ProxyError),
    /// It says that it has not processed the request, which is here, unless some of its content is gone.
    Refused(Refusal, Option<Box<Request<RequestBody>>>),
    /// It closed a connection that had served others before it gave any byte of an answer, or had hardly any time for one.
    /// It is not to blame. The request is here where HTTP/2 gives it back and it may be sent twice.
    Dropped(ProxyError, Option<Box<Request<RequestBody>>>),
    /// It may have seen the request, and gave no response.
    Lost(ProxyError),
}

/// The error of a request that an origin refused.
pub(super) const REFUSED: ProxyError = ProxyError::ConnectionTerminated;

/// Which connections a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// One that is there, else a new one.
    Any,
    /// A new one: another refused it.
    New,
}

/// An origin, and the connections to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) pool: &'a Pool,
    pub(super) address: &'a OriginAddress,
    pub(super) names: &'a Arc<Names>,
    /// Of an origin that is asked over TLS.
    pub(super) terms: Option<&'a Terms>,
}

pub(super) async fn exchange(
    place: Place<'_>,
    request: Request<RequestBody>,
    patience: Patience,
    lines: Lines,
) -> Exchange {
    // Pinned where it lies, like others below: what is awaited by its name is moved there first.
    let outcome = pin!(attempt(place, request, patience, lines)).await;
    match outcome {
        Exchange::Refused(Refusal::Http1Required, back) => Box::pin(by_http1(place, back, patience)).await,
        outcome => settled(outcome),
    }
}

/// A refusal of the stream alone is left to those who know other origins.
fn settled(outcome: Exchange) -> Exchange {
    match outcome {
        // Two connections in a row ended so: that is the origin's fault, and another one may do better.
        Exchange::Dropped(error, Some(_)) => Exchange::Lost(error),
        Exchange::Refused(Refusal::Connection, Some(back)) => Exchange::Unsent(*back, REFUSED),
        Exchange::Refused(Refusal::Connection, None) => Exchange::Dropped(REFUSED, None),
        Exchange::Refused(Refusal::Http1Required, _) => Exchange::Lost(ProxyError::HttpProtocolError),
        outcome => outcome,
    }
}

/// The same by HTTP/1.1, which the origin requires (RFC 9113 §7). TLS offers a choice; where HTTP/2 is prior knowledge, the
/// knowledge is wrong.
async fn by_http1(place: Place<'_>, back: Option<Box<Request<RequestBody>>>, patience: Patience) -> Exchange {
    let is_news = place.pool.require_http1();
    let origin = &place.address.authority;
    if !may_choose(place.address) {
        if is_news {
            tracing::warn!(target: "verge_edge::origin", origin, "the origin requires HTTP/1.1: write http:// in the place of h2c://");
        }
        return Exchange::Lost(ProxyError::HttpProtocolError);
    }
    if is_news {
        tracing::info!(target: "verge_edge::origin", origin, "the origin requires HTTP/1.1, and gets it for a while");
    }
    let Some(back) = back else { return Exchange::Dropped(ProxyError::HttpProtocolError, None) };
    match settled(attempt(place, *back, patience, Lines::Any).await) {
        // It has HTTP/2 alone, and will not have that for this request: others may go on.
        Exchange::Unsent(_, ProxyError::TlsProtocolError) => {
            place.pool.allow_http2();
            Exchange::Lost(ProxyError::HttpProtocolError)
        }
        outcome => outcome,
    }
}

/// Whether the protocol is agreed on with each connection (ALPN).
fn may_choose(address: &OriginAddress) -> bool {
    matches!(address.way, Way::Tls(_))
}

/// A connection on its way. The compiler does not find out by itself that so deep a future is `Send`.
type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Line, ProxyError>> + Send + 'a>>;

async fn attempt(
    place: Place<'_>,
    mut request: Request<RequestBody>,
    patience: Patience,
    lines: Lines,
) -> Exchange {
    let reuse = reuse_of(&request);
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let is_http1 = is_upgrade || may_choose(place.address) && place.pool.requires_http1();
    let protocols = if is_http1 { Protocols::Http1 } else { Protocols::Any };
    // A request for another protocol gets a connection of its own, which serves nothing else afterwards.
    let is_new = is_upgrade || lines == Lines::New;
    let (began, mut sent) = (monotonic(), None);
    // An idle connection may turn out closed before the request is on it: then the connection gives the request back.
    while let Some(line) = if is_new { None } else { place.pool.take(reuse, protocols, None) } {
        let is_shared = line.is_shared();
        // HTTP/2 gives it back itself.
        let spare = (reuse == Reuse::Any && !is_shared).then(|| copy_of(&request));
        let outcome = pin!(send(line, request, place, patience)).await;
        match (outcome, spare) {
            (Exchange::Unsent(back, _), _) => {
                request = back;
                // It is still in the pool for the moment.
                if is_shared {
                    break;
                }
            }
            (Exchange::Refused(Refusal::Connection, Some(back)) | Exchange::Dropped(_, Some(back)), _) => {
                (request, sent) = (*back, Some(began));
                break;
            }
            (Exchange::Dropped(_, None), Some(spare)) => {
                (request, sent) = (spare, Some(began));
                break;
            }
            (outcome, _) => return outcome,
        }
    }
    // Most find a connection: the room for what few need is elsewhere.
    Box::pin(anew(place, request, patience, (lines, protocols), sent)).await
}

/// Sends it on a new connection, or on one that another request has just made. If it was `sent` before, on one that was made
/// after that: an older one may end for the same reason as the one that it was on.
async fn anew(
    place: Place<'_>,
    mut request: Request<RequestBody>,
    patience: Patience,
    (lines, protocols): (Lines, Protocols),
    mut sent: Option<Instant>,
) -> Exchange {
    let mut came_back = false;
    loop {
        let began = monotonic();
        let connecting: Connecting<'_> = match lines {
            Lines::Any => Box::pin(connect(place, protocols, reuse_of(&request), sent, patience.connect)),
            Lines::New => Box::pin(new_line(place, protocols, None, patience.connect)),
        };
        let line = match timeout(patience.connect, connecting).await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Exchange::Unsent(request, error),
            Err(_) => return Exchange::Unsent(request, ProxyError::ConnectionTimeout),
        };
        let is_shared = line.is_shared();
        request = match send(line, request, place, patience).await {
            // Another request made that connection, and it is gone already.
            Exchange::Unsent(back, _) if is_shared && !came_back => {
                came_back = true;
                back
            }
            Exchange::Refused(Refusal::Connection, Some(back)) | Exchange::Dropped(_, Some(back))
                if sent.is_none() =>
            {
                sent = Some(began);
                *back
            }
            outcome => return outcome,
        };
    }
}

fn reuse_of(request: &Request<RequestBody>) -> Reuse {
    if is_repeatable(request) { Reuse::Any } else { Reuse::JustUsed }
}

/// Whether an origin may see it twice: RFC 9110 §9.2.2, and no byte of a body was taken from the client.
pub(super) fn is_repeatable(request: &Request<RequestBody>) -> bool {
    let name = request.method().as_str();
    let is_idempotent = request.method().is_idempotent() || IDEMPOTENT.contains(&name);
    is_idempotent && !matches!(request.body(), RequestBody::Upload(_))
}

/// The other methods that the registry of RFC 9110 §16.1 calls idempotent. LOCK is none of them.
const IDEMPOTENT: [&str; 29] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Of a request that [`is_repeatable`].
pub(super) fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(request.body().copy().unwrap_or(RequestBody::Empty));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

/// The others that wait for a connection take one whose origin has said nothing for so long: several round trips around the world.
/// It is half of their time for a connection at most, so that they do not take its silence for that of an origin that is gone.
const SETTINGS_LIMIT: Duration = Duration::from_secs(1);

/// A connection for a request that found none. Where one connection serves many requests, all but the first wait for that.
async fn connect(
    place: Place<'_>,
    protocols: Protocols,
    reuse: Reuse,
    since: Option<Instant>,
    limit: Duration,
) -> Result<Line, ProxyError> {
    let turn = if protocols == Protocols::Any { place.pool.turn_to_dial().await } else { None };
    if turn.is_some()
        && let Some(line) = place.pool.take(reuse, protocols, since)
    {
        return Ok(line);
    }
    new_line(place, protocols, turn, limit).await
}

/// The first request need not wait for the origin's limits. Others wait for them, as they wait for the connection: those that it
/// would refuse find another one then.
async fn new_line(
    place: Place<'_>,
    protocols: Protocols,
    turn: Option<Turn>,
    limit: Duration,
) -> Result<Line, ProxyError> {
    // Before the addresses are asked for: the origin may move meanwhile.
    let moves = place.pool.moves();
    let (stream, is_http2) = dial(place.address, place.names, place.terms, protocols).await?;
    if is_http2 {
        let connection = Http2::new(stream).await?;
        let share = connection.share().expect("a new connection has room");
        place.pool.share(&connection, moves);
        if let Some(turn) = turn.or_else(|| place.pool.free_turn()) {
            tokio::spawn(async move {
                if timeout(SETTINGS_LIMIT.min(limit / 2), connection.settled()).await.is_err() {
                    connection.settle();
                }
                drop(turn);
            });
        }
        return Ok(Line::Shared(share));
    }
    if protocols == Protocols::Any {
        place.pool.is_own();
    }
    Line::own(stream, place.address.title_case, moves).await
}

async fn send(
    mut line: Line,
    mut request: Request<RequestBody>,
    place: Place<'_>,
    patience: Patience,
) -> Exchange {
    let pool = place.pool;
    shape::as_own(&mut request);
    frame(&mut request);
    if line.is_shared() {
        shape::as_http2(&mut request, place.address);
    }
    let method = request.method().clone();
    let upload = request.body().progress();
    let is_bound = binding::is_asked_for(request.headers());
    let is_odd = is_odd(&request);
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let before = line.bytes();
    let answered = first_byte(pin!(line.send(request)), patience.first_byte, upload.as_deref()).await;
    match answered {
        Err(Late) => Exchange::Lost(ProxyError::HttpResponseTimeout),
        Ok(Ok(response)) if is_unasked_switch(upgrade.as_ref(), &response) => {
            Exchange::Lost(ProxyError::HttpProtocolError)
        }
        Ok(Ok(response)) if has_body(&method, &response) && coding(response.headers()) == Coding::Foreign => {
            Exchange::Lost(ProxyError::HttpResponseTransferCoding)
        }
        Ok(Ok(mut response)) => {
            let is_bound = is_bound || binding::has_begun(response.headers());
            // An origin that answers before it has the content may take the rest of it for the next request.
            let is_early = upload.as_ref().is_some_and(|upload| !upload.has_ended());
            let is_spent =
                is_bound || is_odd || is_early || upgrade.is_some() || is_framed_twice(response.headers());
            let pool = (!is_spent).then(|| pool.clone());
            let length = length_without_coding(&method, &mut response);
            write_length_once(&mut response);
            let part = range::part_of(response.status(), response.headers());
            Exchange::Answered(response.map(|body| {
                let body =
                    OriginBody::new(body, line, pool, patience.between_bytes).of_part(part).beside(upload);
                if let Some(length) = length { body.of_length(length) } else { body }
            }))
        }
        Ok(Err(Unheaded::Unsent(request))) => Exchange::Unsent(*request, ProxyError::ConnectionTerminated),
        Ok(Err(Unheaded::Refused(refusal, back))) => Exchange::Refused(refusal, back),
        Ok(Err(Unheaded::Ended(back))) => {
            Exchange::Dropped(ProxyError::ConnectionTerminated, back.filter(|back| is_repeatable(back)))
        }
        Ok(Err(Unheaded::LeftBehind)) => Exchange::Dropped(ProxyError::ConnectionTerminated, None),
        Ok(Err(Unheaded::Failed(error))) => match error {
            ProxyError::HttpRequestError if upload.is_some_and(|upload| upload.is_too_slow()) => {
                Exchange::Lost(ProxyError::HttpRequestTimeout)
            }
            ProxyError::ConnectionTerminated if before > 0 && line.bytes() == before => {
                Exchange::Dropped(error, None)
            }
            error => Exchange::Lost(error),
        },
    }
}

/// RFC 9110 §15.2.2: a 101 agrees to what was asked for. `Upgrade` goes to an origin only where a site passes it on.
fn is_unasked_switch(asked: Option<&HeaderValue>, response: &Response<Coming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && asked.and_then(|asked| upgrade::agreed(asked, response.headers())).is_none()
}

/// Content of unknown length goes in chunks with every method: hyper sends none with GET and HEAD unless it is told to,
/// and the request would be another one without it.
fn frame(request: &mut Request<RequestBody>) {
    if let RequestBody::Held(content, _) = request.body() {
        let length = HeaderValue::from(content.bytes().len());
        request.headers_mut().insert(header::CONTENT_LENGTH, length);
        // Its client was told to go on.
        request.headers_mut().remove(header::EXPECT);
        return;
    }
    if !request.body().is_empty() && request.body().size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// Whether it has content that its method has none of by custom. An origin that does not read it would take it for the
/// next request, so there is no next one on that connection.
fn is_odd(request: &Request<RequestBody>) -> bool {
    const WITHOUT_CONTENT: [Method; 5] =
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::DELETE];
    !request.body().is_empty() && WITHOUT_CONTENT.contains(request.method())
}

/// The length of a response whose transfer coding is `identity`, which is none (RFC 2616 §3.6): origins of that time
/// send both, and keep the connection open. hyper reads to the connection's end, as RFC 9112 §6.3 asks for a coding that
/// it does not know.
fn length_without_coding(method: &Method, response: &mut Response<Coming>) -> Option<u64> {
    if !has_body(method, response) || !is_identity(response.headers()) {
        return None;
    }
    let length = one_length(response.headers())?;
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    Some(length)
}

/// The length that is written there, once or more (RFC 9110 §8.6: `2, 2`); none where two differ.
fn one_length(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let mut lengths = elements.map(|length| {
        let text =
            std::str::from_utf8(length).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        text?.parse::<u64>().ok()
    });
    let first = lengths.next()??;
    lengths.all(|length| length == Some(first)).then_some(first)
}

/// RFC 9112 §6.3: by the method and the status. Where there is none, `Transfer-Encoding` is about another message (§6.1).
fn has_body(method: &Method, response: &Response<Coming>) -> bool {
    let status = response.status();
    method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// RFC 9110 §8.6: of a length that is there more than once (`2, 2`) or with leading zeros, one and without goes on.
/// hyper has read it so, and refused what differs.
fn write_length_once(response: &mut Response<Coming>) {
    let lengths = || response.headers().get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths().next() else { return };
    let Ok(text) = std::str::from_utf8(first.as_bytes()) else { return };
    let read = text.split(',').next().and_then(|length| length.trim().parse::<u64>().ok());
    let is_written_once = lengths().count() == 1 && is_plain_number(text);
    if let Some(length) = read.filter(|_| !is_written_once) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// As a number is written: digits, and no zero in front of others.
fn is_plain_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

/// RFC 9112 §6.3: length and transfer coding at once; such an origin may see the response's end elsewhere.
fn is_framed_twice(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING)
}

/// No head in time.
struct Late;

/// Waits for a head as long as the limit says, from the last time that the request's body moved: the time that a client
/// takes is not the origin's, and must not make it look ill.
async fn first_byte<F: Future>(
    mut answer: Pin<&mut F>,
    limit: Duration,
    upload: Option<&Progress>,
) -> Result<F::Output, Late> {
    loop {
        match timeout(limit, answer.as_mut()).await {
            Ok(answered) => return Ok(answered),
            Err(_) if upload.is_some_and(Progress::excuses_origin) => {}
            Err(_) => return Err(Late),
        }
    }
}

#[cfg(test)]
mod tests;
