//! The two questions of a shared cache (RFC 9111): may I answer from this, and may I keep this.
//!
//! ```text
//! request ─▶ reuse ─┬─ Fresh / Stale ─▶ select (conditions, ranges) ─▶ headers::client ─▶ response
//!                   ├─ Revalidate / Complete / Fetch ─▶ headers::origin ─▶ origin
//!                   │        304 ─▶ freshen      5xx, lost ─▶ after_failure      else ─▶ admit
//!                   └─ Pass / Refuse
//! unsafe method answered ─▶ invalidates        HEAD answered ─▶ freshen_by_head
//! answered stale ─▶ refresh
//! ```
//!
//! Every function takes values and returns an enum that holds the reason and the numbers it was decided on.
//!
//! Invariant: nothing in here reads a clock, a socket, a log or a config file, or panics on any header bytes.
//! Invariant: an [`Entry`] never holds a hop-by-hop field, nor one that its response's `Connection` named.

pub mod admit;
pub mod complete;
pub mod control;
pub mod dictionary;
pub mod disguise;
pub mod encoding;
pub mod freshen;
pub mod freshness;
pub mod headers;
pub mod hints;
pub mod invalidate;
pub mod range;
pub mod refresh;
pub mod reuse;
pub mod select;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod transient;
pub mod validate;
pub mod vary;
pub mod worse;

use std::time::SystemTime;

use http::header;

pub use admit::{Admit, Unstorable, admit};
pub use complete::complete;
pub use freshen::{Freshened, HeadEffect, freshen, freshen_by_head, personal};
pub use freshness::{Freshness, Lifetime};
pub use invalidate::{DESTINATION, destination, invalidated_groups, invalidates, is_safe};
pub use refresh::refresh;
pub use reuse::{Failure, Forward, Reuse, Staleness, after_failure, bypassed, reuse};
pub use select::{Selection, select};
pub use validate::strong_tag;
pub use vary::Selecting;

use crate::http::head::{RequestHead, ResponseHead};
use crate::http::range::Part;

/// The entry stored beside a body. Made by [`Entry::new`] after [`admit()`] said [`Admit::Keep`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// The response's end-to-end fields, `Date` always present (RFC 9110 §6.6.1).
    pub head: ResponseHead,
    /// When the request left for the origin: `request_time` of RFC 9111 §4.2.3.
    pub asked: SystemTime,
    /// When the response's head arrived: `response_time` of RFC 9111 §4.2.3.
    pub received: SystemTime,
    /// How long it is fresh, and what may be done with it after.
    pub lifetime: Lifetime,
    /// The request fields that select this variant (RFC 9111 §4.1).
    pub selecting: Selecting,
    /// How much of the representation the body beside it holds.
    pub content: Content,
}

/// How much of the representation a stored body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it; the length in bytes is unknown while it fills without a `Content-Length`.
    Whole {
        /// Bytes, once known.
        length: Option<u64>,
    },
    /// One range of it, from a 206.
    Part(Part),
}

impl Entry {
    /// The entry for an admitted response. `length` is the body's, if known already; a 206 takes its extent from
    /// its `Content-Range`.
    pub fn new(
        request: &RequestHead,
        response: &ResponseHead,
        lifetime: Lifetime,
        asked: SystemTime,
        received: SystemTime,
        length: Option<u64>,
    ) -> Self {
        let head = headers::stored(response, &lifetime, received);
        let selecting = Selecting::of(request, response);
        let content = range::content(response, length);
        Self { head, asked, received, lifetime, selecting, content }
    }

    /// Where in the stored body a range of the representation begins: a stored part's body begins at its first byte.
    pub fn offset_in_body(&self, range: &Part) -> u64 {
        match self.content {
            Content::Whole { .. } => range.first,
            Content::Part(held) => range.first.saturating_sub(held.first),
        }
    }

    /// Whether both are parts of one representation, apart from each other, so that one does not replace the other.
    pub fn is_beside(&self, other: &Self) -> bool {
        let apart = match (self.content, other.content) {
            (Content::Part(a), Content::Part(b)) => {
                a.complete == b.complete && (a.last < b.first || b.last < a.first)
            }
            _ => false,
        };
        apart && self.is_of_one_with(other)
    }

    /// Whether it has all bytes that the other has: a part of a response does not stand for the whole.
    pub fn has_bytes_of(&self, other: &Self) -> bool {
        match (self.content, other.content) {
            (Content::Whole { .. }, _) => true,
            (Content::Part(_), Content::Whole { .. }) => false,
            (Content::Part(own), Content::Part(other)) => own.first <= other.first && own.last >= other.last,
        }
    }

    /// Whether both are surely of one representation (RFC 9111 §3.4).
    pub fn is_of_one_with(&self, other: &Self) -> bool {
        self.selecting == other.selecting
            && validate::likeness(&self.head.headers, &other.head.headers) == validate::Likeness::Strong
    }

    /// The entry for a body that came to `length` bytes. A part's may have ended before its `Content-Range` said; none
    /// if nothing of it came. A `Content-Length` that says otherwise goes.
    pub fn completed(self, length: u64) -> Option<Self> {
        let content = match self.content {
            Content::Whole { .. } => Content::Whole { length: Some(length) },
            Content::Part(held) => Content::Part(held.cut(length)?),
        };
        let mut head = self.head;
        if !headers::tells_length(&head.headers, length) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        Some(Self { head, content, ..self })
    }

    /// The entry with its freshness ended at `at`, unless it ended before: as if its lifetime had been its age then. It is stale
    /// from now on, whatever the clock says.
    pub fn expired(mut self, at: SystemTime) -> Self {
        self.lifetime.fresh_secs = self.lifetime.fresh_secs.min(self.freshness(at).age_secs);
        self.lifetime.is_ended = true;
        self
    }

    /// Age and lifetime at `now` (RFC 9111 §4.2).
    pub fn freshness(&self, now: SystemTime) -> Freshness {
        freshness::of(self, now)
    }
}
