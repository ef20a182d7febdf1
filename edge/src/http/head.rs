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

/// How long a request's head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes: of all of it where it is read, of its fields where it is sent.
    pub bytes: usize,
    /// Bytes of the target.
    pub target_bytes: usize,
    /// Field lines.
    pub fields: usize,
}

/// RFC 9110 §4.1 asks for 8000 bytes at least.
pub const TARGET_BYTES: usize = 8192;
/// Browsers send some 20, and Apache takes 100.
pub const FIELDS: usize = 100;

impl From<usize> for HeadLimits {
    /// So many bytes in all, and of a target and fields what is usual.
    fn from(bytes: usize) -> Self {
        Self { bytes, target_bytes: TARGET_BYTES, fields: FIELDS }
    }
}
