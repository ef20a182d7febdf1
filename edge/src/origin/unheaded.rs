//! Why a request got no head of a response on a connection.

use http::Request;

use super::body::RequestBody;
use crate::policy::headers::status::ProxyError;

/// The reason.
#[derive(Debug)]
pub(super) enum Unheaded {
    /// The connection gives the request back: no byte of it was sent.
    Unsent(Box<Request<RequestBody>>),
    /// The origin says that it has not looked at the request.
    Refused,
    /// The connection ended just when the request was given to it. Nobody has the request, and no answer comes: the channel
    /// between the two keeps what is sent into it while its receiver goes, until its sender goes as well.
    LeftBehind,
    /// The request may have been seen.
    Failed(ProxyError),
}
