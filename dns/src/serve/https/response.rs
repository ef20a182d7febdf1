//! An answer as an HTTP response (RFC 8484 §4.2, §5.1): the status is HTTP's, the rcode is DNS's.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body as _;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use hyper::{Response, StatusCode};

use super::request::{MEDIA_TYPE, Refusal};
use crate::client::Listener;
use crate::serve::memory::Claim;
use crate::serve::responder::Answered;
use crate::view::Which;
use crate::wire::ttl;

pub(super) type Body = Full<Bytes>;

/// Every answer that DNS gives is a success of HTTP (RFC 8484 §4.2.1).
///
/// Its room is given back when the message has left, or is given up.
pub(super) fn answer(
    answered: Answered,
    listener: Listener,
    message: Vec<u8>,
    room: Claim,
) -> Response<Body> {
    let Answered::From(view) = answered else {
        let help = "this is not a DNS query";
        return refusal(Refusal { status: StatusCode::BAD_REQUEST, help });
    };
    let headers =
        [(CONTENT_TYPE, MEDIA_TYPE.to_owned()), (CACHE_CONTROL, cache_control(view, listener, &message))];
    build(StatusCode::OK, headers, Bytes::from_owner(Held { message, _room: room }))
}

/// A response that says in words what is wrong. Nobody keeps it.
pub(super) fn refusal(Refusal { status, help }: Refusal) -> Response<Body> {
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (CACHE_CONTROL, "no-store".to_owned())];
    let mut response = build(status, headers, format!("{help}\n").into());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, "GET, HEAD, POST".parse().expect("a list of methods"));
    }
    response
}

/// The response to HEAD: hyper's HTTP/2 would send the body all the same (RFC 9110 §9.3.2).
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let bytes = response.body().size_hint().exact().unwrap_or_default();
    let mut response = response.map(|_| Full::default());
    response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    response
}

/// V4: what insiders see stays out of every shared cache, and so does what others get from a listener of the inside: the
/// same URL has another answer for an insider. RFC 8484 §5.1: fresh for no longer than the least TTL.
fn cache_control(view: Which, listener: Listener, message: &[u8]) -> String {
    match (view, listener, ttl::least(message)) {
        (Which::Internal, ..) | (_, Listener::Inside, _) => "private, no-store".to_owned(),
        (Which::Public, Listener::Outside, Some(seconds)) => format!("max-age={seconds}"),
        (Which::Public, Listener::Outside, None) => "no-store".to_owned(),
    }
}

/// A message in its room.
struct Held {
    message: Vec<u8>,
    _room: Claim,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

fn build<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
    body: Bytes,
) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().expect("ASCII of our own"));
    }
    response
}
