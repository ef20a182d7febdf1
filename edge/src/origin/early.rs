//! 1xx heads of origins (RFC 9110 §15.2).

use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode};

use super::RequestBody;

/// The receiver of the 1xx heads that come before a response.
#[derive(Clone)]
pub struct Early(Arc<Tell>);

type Tell = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

impl Early {
    /// Calls `tell` for each.
    pub fn new(tell: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells of one that the edge has made itself.
    pub fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        (self.0)(status, headers);
    }

    /// Listens for those that come before this request's response.
    pub fn attach(&self, request: &mut Request<RequestBody>) {
        let tell = Arc::clone(&self.0);
        let expects = request.headers().contains_key(http::header::EXPECT);
        let go_ahead = if expects { request.body_mut().wait_for_go_ahead() } else { None };
        let heard = Self::new(move |status, headers: &HeaderMap| match &go_ahead {
            Some(go_ahead) if status == StatusCode::CONTINUE => go_ahead.give(),
            _ => tell(status, headers),
        });
        // hyper tells those of HTTP/1.1 to what is set here, and `http2` those of its own to what stands in the request.
        let of_http1 = heard.clone();
        hyper::ext::on_informational(request, move |early| of_http1.tell(early.status(), early.headers()));
        request.extensions_mut().insert(heard);
    }
}

impl std::fmt::Debug for Early {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Early")
    }
}
