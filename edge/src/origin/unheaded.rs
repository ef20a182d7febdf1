//! Why a request got no head of a response on a connection.

use http::Request;

use super::body::RequestBody;
use crate::policy::headers::status::ProxyError;

/// The reason.
#[derive(Debug)]
pub(super) enum Unheaded {
    /// The connection gives the request back: no byte of it was sent.
    Unsent(Box<Request<RequestBody>>),
    /// The origin says that it has not processed the request. It is here, unless some of its content is gone.
    Refused(Refusal, Option<Box<Request<RequestBody>>>),
    /// The connection ended, as the origin had said that it would (GOAWAY) or when it had served others, and the origin may
    /// have seen the request. It is here, unless some of its content is gone.
    Ended(Option<Box<Request<RequestBody>>>),
    /// The connection ended just when the request was given to it. Nobody has the request, and no answer comes: the channel
    /// between the two keeps what is sent into it while its receiver goes, until its sender goes as well.
    LeftBehind,
    /// The request may have been seen.
    Failed(ProxyError),
}

/// How an origin says that it has not processed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// REFUSED_STREAM (RFC 9113 §8.7).
    Stream,
    /// The same on a connection on which the last one was refused, too, when it was chosen: there was none better.
    StreamAgain,
    /// GOAWAY, whatever its code, names a stream before this one as the last that may be processed (RFC 9113 §6.8).
    Connection,
    /// HTTP_1_1_REQUIRED (RFC 9113 §7).
    Http1Required,
}
