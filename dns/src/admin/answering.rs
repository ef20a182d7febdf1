//! The shapes of answers: JSON, texts, streams, and the headers that keep web pages of others from them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::page;
use super::problem::problem;
use super::routes::{GET, THERE_IS};

/// A body: all of it, or pieces as they come.
pub(super) enum Content {
    Whole(Full<Bytes>),
    Pieces(mpsc::Receiver<Bytes>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Pieces(pieces) => pieces.poll_recv(cx).map(|next| next.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

pub(super) fn json(document: &impl Serialize) -> Response<Full<Bytes>> {
    let mut text = serde_json::to_vec_pretty(document).expect("documents hold only texts and numbers");
    text.push(b'\n');
    typed("application/json", text)
}

pub(super) fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    guarded(response)
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain; charset=utf-8", body);
    *response.status_mut() = status;
    response
}

pub(super) fn streamed(content_type: &'static str, pieces: mpsc::Receiver<Bytes>) -> Response<Content> {
    let mut response = Response::new(Content::Pieces(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    guarded(response)
}

/// With what keeps other pages from it.
fn guarded<B>(mut response: Response<B>) -> Response<B> {
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

/// `asks_person`: a browser asks a person for the token then.
pub(super) fn unauthorized(asks_person: bool) -> Response<Full<Bytes>> {
    let sentence = "send the token of `admin.token_file`: Authorization: Bearer …";
    let mut response = problem(StatusCode::UNAUTHORIZED, sentence);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    if asks_person {
        let basic = "Basic realm=\"verge-dns: the token as password\", charset=\"UTF-8\"";
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(basic));
    }
    response
}

pub(super) fn not_allowed(method: &'static str) -> Response<Full<Bytes>> {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, THERE_IS);
    let allowed = if method == GET { "GET, HEAD" } else { method };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
