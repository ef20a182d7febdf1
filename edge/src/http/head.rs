//! The head of a message: everything in front of its content (RFC 9112 §2.1).

use http::{HeaderMap, Method, StatusCode, Uri};

/// A request as it came in, without its body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// As sent, known or not.
    pub method: Method,
    /// Absolute: scheme, authority, path and query as sent.
    pub uri: Uri,
    /// As sent.
    pub headers: HeaderMap,
}

/// A final response's head, without its body.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The final status; 1xx never gets here.
    pub status: StatusCode,
    /// As received.
    pub headers: HeaderMap,
}
