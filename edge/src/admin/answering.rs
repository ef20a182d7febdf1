//! The shapes of answers: JSON, texts, streams, and the headers that keep web pages of others from them.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::mpsc;

use super::moving::AdminBody;
use super::problem::problem;
use super::routes::{GET, THERE_IS};
use super::{Refused, page};

/// A request body is a few names.
const MAX_BODY_BYTES: usize = 64 << 10;

pub(super) async fn collected(body: Incoming) -> Result<Bytes, Refused> {
    let sentence = "the body is too long, or broke off";
    let refused = |_| Refused { status: StatusCode::PAYLOAD_TOO_LARGE, sentence: sentence.to_owned() };
    Ok(Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(refused)?.to_bytes())
}

pub(super) fn json<T: Serialize>(done: Result<T, Refused>) -> Response<Full<Bytes>> {
    match done {
        Ok(value) => {
            let text = serde_json::to_string(&value).expect("plain data is JSON");
            typed(StatusCode::OK, "application/json", text)
        }
        Err(Refused { status, sentence }) => problem(status, &sentence),
    }
}

pub(super) fn unauthorized() -> Response<Full<Bytes>> {
    let mut refusal = problem(StatusCode::UNAUTHORIZED, "this needs `Authorization: Bearer TOKEN`");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refusal
}

/// A browser asks a person for the token then.
pub(super) fn page_needs_token(mut refusal: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if refusal.status() == StatusCode::UNAUTHORIZED {
        let basic =
            HeaderValue::from_static("Basic realm=\"verge-edge: the token as password\", charset=\"UTF-8\"");
        refusal.headers_mut().append(header::WWW_AUTHENTICATE, basic);
    }
    refusal
}

pub(super) fn not_allowed(method: &'static str) -> Response<Full<Bytes>> {
    let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, THERE_IS);
    let allowed = if method == GET { "GET, HEAD" } else { method };
    refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    refusal
}

/// With what keeps other pages from it.
pub(super) fn guarded<B>(mut response: Response<B>) -> Response<B> {
    for (name, value) in [
        ("content-security-policy", page::POLICY),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) fn whole(response: Response<Full<Bytes>>) -> Response<AdminBody> {
    response.map(AdminBody::Whole)
}

pub(super) fn streamed(
    content_type: &'static str,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> Response<AdminBody> {
    let mut response = guarded(Response::new(AdminBody::Stream(pieces)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn too_many(wait: Duration) -> Response<Full<Bytes>> {
    let mut refusal = problem(StatusCode::TOO_MANY_REQUESTS, "more purges than `purges_per_minute` allows");
    // RFC 9110 §10.2.3: whole seconds; a part of one counts.
    let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    refusal
}

pub(super) fn plain(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

pub(super) fn typed(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
