//! Byte ranges (RFC 9110 §14) by the letter: `Range`, `Content-Range` and `multipart/byteranges`.

mod multipart;
mod syntax;

use http::HeaderValue;

pub use multipart::{Multipart, Piece};
pub use syntax::{MAX_SPECS, asked, part, part_of};

/// One contiguous run of bytes of a representation, as `Content-Range` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First byte's offset.
    pub first: u64,
    /// Last byte's offset, inclusive, never before the first.
    pub last: u64,
    /// The whole representation's length in bytes, if known; more than `last`.
    pub complete: Option<u64>,
}

/// One range of a `Range` field (RFC 9110 §14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// `first-`, `first-last`.
    From {
        /// First byte's offset.
        first: u64,
        /// Last byte's offset, inclusive; none = to the end.
        last: Option<u64>,
    },
    /// `-length`: the last so many bytes.
    Suffix {
        /// Bytes.
        length: u64,
    },
}

impl Spec {
    /// The field that asks for it.
    pub fn range(self) -> HeaderValue {
        value(match self {
            Self::From { first, last: Some(last) } => format!("bytes={first}-{last}"),
            Self::From { first, last: None } => format!("bytes={first}-"),
            Self::Suffix { length } => format!("bytes=-{length}"),
        })
    }
}

impl Part {
    /// Bytes in it.
    pub fn length(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// As much of it as a body of `length` bytes has; none without any.
    pub fn cut(self, length: u64) -> Option<Self> {
        let span = length.checked_sub(1)?;
        Some(Self { last: self.last.min(self.first.saturating_add(span)), ..self })
    }

    /// As [`Part::cut`], of a body whose `Content-Length` it is. The end of a part that runs to the end of the whole is
    /// the end of the whole: of two lengths that differ, the one that can be counted counts.
    pub(crate) fn framed(self, length: u64) -> Option<Self> {
        let held = self.cut(length)?;
        let runs_to_end = self.complete == Some(self.last.saturating_add(1));
        Some(if runs_to_end { Self { complete: Some(held.last.saturating_add(1)), ..held } } else { held })
    }

    /// The field that names it in a 206.
    pub fn content_range(&self) -> HeaderValue {
        let complete = self.complete.map_or_else(|| "*".to_owned(), |length| length.to_string());
        value(format!("bytes {}-{}/{complete}", self.first, self.last))
    }

    /// The field that asks for it; to the end if it is the last.
    pub fn range(&self) -> HeaderValue {
        match self.complete {
            Some(complete) if self.last + 1 == complete => value(format!("bytes={}-", self.first)),
            _ => value(format!("bytes={}-{}", self.first, self.last)),
        }
    }

    /// Whether it is the whole.
    pub fn is_all(&self) -> bool {
        self.first == 0 && self.complete == Some(self.last.saturating_add(1))
    }

    /// Whether all bytes of `other` are in it.
    pub fn holds(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The one run of bytes that it lacks of the whole; none if there are two, or the length is not known.
    pub fn missing(&self) -> Option<Self> {
        let complete = self.complete?;
        match (self.first, self.last + 1) {
            (0, end) if end < complete => Some(Self { first: end, last: complete - 1, ..*self }),
            (first, end) if first > 0 && end == complete => Some(Self { first: 0, last: first - 1, ..*self }),
            _ => None,
        }
    }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and fixed words are visible ASCII")
}
