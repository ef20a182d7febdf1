//! What of a stored response to send: the client's conditions, then its ranges (RFC 9110 §13.2.2).

use super::{Entry, RequestHead, range::Part};

/// What to send of a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with its own status.
    Whole,
    /// 304 without a body.
    NotModified,
    /// 206 with these ranges of the representation: one → `Content-Range`, more → `multipart/byteranges`.
    Partial(Vec<Part>),
    /// 416 with `Content-Range: bytes */length`.
    Unsatisfiable {
        /// The representation's length in bytes.
        length: u64,
    },
    /// 412 without a body.
    PreconditionFailed,
}

/// What to send of `entry` for `request`.
pub fn select(request: &RequestHead, entry: &Entry) -> Selection {
    let _ = (request, entry);
    todo!()
}
