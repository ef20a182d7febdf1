//! One request over one connection: an idle one if there is one, else a new one.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::body::{OriginBody, Progress, RequestBody};
use super::coding::{Coding, coding};
use super::pool::Pool;
use crate::config::{OriginAddress, Patience};
use crate::policy::headers::status::ProxyError;

/// What one origin did with a request.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The head of its final response is here.
    Answered(Response<OriginBody>),
    /// It never saw the request.
    Unsent(Request<RequestBody>, ProxyError),
    /// It may have seen the request, and gave no response.
    Lost(ProxyError),
}

pub(super) async fn exchange(
    pool: &Pool,
    address: &OriginAddress,
    mut request: Request<RequestBody>,
    patience: Patience,
) -> Exchange {
    // An idle connection may turn out closed before the request is on it: then hyper gives the request back.
    while let Some(sender) = pool.take() {
        match send(sender, request, pool, patience).await {
            Exchange::Unsent(back, _) => request = back,
            other => return other,
        }
    }
    match timeout(patience.connect, connect(address)).await {
        Ok(Ok(sender)) => send(sender, request, pool, patience).await,
        Ok(Err(error)) => Exchange::Unsent(request, error),
        Err(_) => Exchange::Unsent(request, ProxyError::ConnectionTimeout),
    }
}

async fn connect(address: &OriginAddress) -> Result<SendRequest<RequestBody>, ProxyError> {
    let places = resolve(address).await?;
    let stream = TcpStream::connect(&*places).await.map_err(|error| connect_error(&error))?;
    // Requests are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| ProxyError::ConnectionTerminated)?;
    // What ends the connection also ends the exchange on it, where it is told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Where the origin may be reached. A name is resolved for each connection, and may lead somewhere else each time.
async fn resolve(address: &OriginAddress) -> Result<Vec<SocketAddr>, ProxyError> {
    let found = lookup_host(&address.authority).await.map_err(|_| ProxyError::DnsError)?;
    let (admitted, denied): (Vec<_>, Vec<_>) = found.partition(|found| address.reach.admits(found.ip()));
    if !denied.is_empty() {
        let (origin, led_to) = (&address.authority, &denied);
        tracing::warn!(target: "verge_edge::origin", origin, ?led_to, "the name leads to addresses that are not public and not in `origin_networks`");
    }
    match admitted {
        none if none.is_empty() && denied.is_empty() => Err(ProxyError::DnsError),
        none if none.is_empty() => Err(ProxyError::DestinationIpProhibited),
        admitted => Ok(admitted),
    }
}

/// Fields in a response's head; real ones have some tens.
const MAX_FIELDS: usize = 256;
/// hyper's read buffer, which a response's head must fit in.
const MAX_HEAD_BYTES: usize = 64 << 10;

async fn send(
    mut sender: SendRequest<RequestBody>,
    request: Request<RequestBody>,
    pool: &Pool,
    patience: Patience,
) -> Exchange {
    let method = request.method().clone();
    let upload = request.body().progress();
    let answer = sender.try_send_request(request);
    match first_byte(answer, patience.first_byte, upload.as_deref()).await {
        Err(Late) => Exchange::Lost(ProxyError::HttpResponseTimeout),
        // RFC 9110 §15.2.2: nobody asked for another protocol, `Upgrade` is not passed on.
        Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Exchange::Lost(ProxyError::HttpProtocolError)
        }
        Ok(Ok(response)) if has_body(&method, &response) && coding(response.headers()) == Coding::Foreign => {
            Exchange::Lost(ProxyError::HttpResponseTransferCoding)
        }
        Ok(Ok(response)) => {
            let pool = (!is_framed_twice(response.headers())).then(|| pool.clone());
            let mut response = response;
            write_length_once(&mut response);
            let body = |body: Incoming| OriginBody::new(body, sender, pool, patience.between_bytes);
            Exchange::Answered(response.map(body))
        }
        Ok(Err(mut error)) => match error.take_message() {
            Some(request) => Exchange::Unsent(request, ProxyError::ConnectionTerminated),
            None => Exchange::Lost(exchange_error(error.error())),
        },
    }
}

/// RFC 9112 §6.3: by the method and the status. Where there is none, `Transfer-Encoding` is about another message (§6.1).
fn has_body(method: &Method, response: &Response<Incoming>) -> bool {
    let status = response.status();
    method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// RFC 9110 §8.6: of a length that is there more than once (`2, 2`) or with leading zeros, one and without goes on.
/// hyper has read it so, and refused what differs.
fn write_length_once(response: &mut Response<Incoming>) {
    let lengths = || response.headers().get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths().next() else { return };
    let text = String::from_utf8_lossy(first.as_bytes()).into_owned();
    let read = text.split(',').next().and_then(|length| length.trim().parse::<u64>().ok());
    if let Some(length) = read.filter(|length| lengths().count() > 1 || text != length.to_string()) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// RFC 9112 §6.3: length and transfer coding at once; who sends both may not agree with us on where the response ends.
fn is_framed_twice(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING)
}

/// No head in time.
struct Late;

/// Waits for a head as long as the limit says, from the last time that the request's body moved: the time that a client
/// takes is not the origin's, and must not make it look ill.
async fn first_byte<F: Future>(
    answer: F,
    limit: Duration,
    upload: Option<&Progress>,
) -> Result<F::Output, Late> {
    let mut answer = pin!(answer);
    loop {
        match timeout(limit, answer.as_mut()).await {
            Ok(answered) => return Ok(answered),
            Err(_) if upload.is_some_and(Progress::excuses_origin) => {}
            Err(_) => return Err(Late),
        }
    }
}

fn connect_error(error: &io::Error) -> ProxyError {
    match error.kind() {
        io::ErrorKind::TimedOut => ProxyError::ConnectionTimeout,
        _ => ProxyError::ConnectionRefused,
    }
}

fn exchange_error(error: &hyper::Error) -> ProxyError {
    match error {
        error if error.is_user() => ProxyError::HttpRequestError,
        error if error.is_parse() => ProxyError::HttpProtocolError,
        _ => ProxyError::ConnectionTerminated,
    }
}
