//! Byte ranges (RFC 9110 §14).

use super::{Content, ResponseHead};

/// One contiguous run of bytes of a representation, from a `Content-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First byte's offset.
    pub first: u64,
    /// Last byte's offset, inclusive.
    pub last: u64,
    /// The whole representation's length, if known.
    pub complete: Option<u64>,
}

/// What a stored body of this response holds.
pub fn content(response: &ResponseHead, length: Option<u64>) -> Content {
    let _ = response;
    Content::Whole { length }
}
