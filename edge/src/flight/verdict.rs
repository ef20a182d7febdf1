//! The verdict of a fetch, told to all who take part in it.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, Version};

use crate::decide::{StandIn, Why};
use crate::http::head::ResponseHead;
use crate::origin::{Answered, Unanswered};
use crate::policy::Entry;
use crate::policy::headers::origin::Undeliverable;
use crate::store::Object;

/// The verdict that the head of the origin's response decided.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is being stored: whoever policy lets may read the log.
    Filling(Arc<Filling>),
    /// The stored one still holds, with this head.
    Validated(Arc<Object>),
    /// The origin failed, and this one may be served instead.
    Stale(Arc<Object>, StandIn),
    /// It is for the request that caused the fetch only; see [`Own`].
    Apart,
    /// It is the origin's error, and goes to the request that caused the fetch; see [`Own`]. The others are told of it
    /// without asking an origin in trouble once each.
    Error(StatusCode),
    /// No origin answered.
    Failed(Unanswered),
    /// Nor that; and what is stored must not be used without an answer: 504 (RFC 9111 §5.2.2.2).
    MustValidate(Unanswered),
    /// The request is not to be sent to any origin.
    Undeliverable(Undeliverable),
}

impl Verdict {
    /// Whether another fetch may do better.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::MustValidate(_) | Self::Error(_) | Self::Undeliverable(_))
    }
}

/// A response that is being stored.
#[derive(Debug)]
pub struct Filling {
    /// As it came.
    pub response: ResponseHead,
    /// The HTTP version that it came in.
    pub version: Version,
    /// As it will be stored.
    pub entry: Entry,
    /// Bytes of its body, if the origin said so.
    pub length: Option<u64>,
    /// The part of it for the request that caused the fetch.
    pub cut: Cut,
}

/// The part of a response for the request that caused its fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A part as it came: it was asked as the client asks.
    AsItCame,
    /// The part that the client's conditions and ranges select.
    AsAsked,
}

/// The part that only the request that caused the fetch may have.
#[derive(Debug)]
pub enum Own {
    /// A response that is not stored, with its body, and why not.
    Response(Answered, Why),
    /// The answer to a HEAD.
    Head(Answered),
    /// A stored response that the origin's 304 confirmed and forbade to keep, and the 304's fields that are for this
    /// request.
    Once(Arc<Object>, HeaderMap),
    /// The fields of a 304 that are for this request, whereas what it confirmed is for all.
    Fields(HeaderMap),
}
