//! What a fetch is asked to do, and what the head of the origin's response decided.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, Version};

use crate::http::head::ResponseHead;
use crate::http::range::Part;
use crate::origin::{Answered, Unanswered};
use crate::policy::headers::origin::Undeliverable;
use crate::policy::validate::Validators;
use crate::policy::{Entry, Failure, Freshness, Reuse, Staleness, Unstorable};
use crate::store::Object;

/// What to ask the origin.
#[derive(Debug, Clone)]
pub enum Plan {
    /// The whole response, to be stored.
    Whole {
        /// Something stale that may be served if the origin fails.
        reserve: Option<Arc<Object>>,
    },
    /// Whether a stored one still holds.
    Validate {
        /// The stored one.
        object: Arc<Object>,
        /// The conditions to send.
        validators: Validators,
    },
    /// A piece of a large object, of which a client asks for less.
    Slice(Part),
    /// The bytes that a stored part lacks of the whole.
    Complete {
        /// The stored part.
        object: Arc<Object>,
        /// What it lacks.
        missing: Part,
        /// Its strong tag.
        if_range: HeaderValue,
    },
}

impl Plan {
    /// What is stored already and has a part in it.
    #[must_use]
    pub fn held(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Whole { reserve } => reserve.as_ref(),
            Self::Validate { object, .. } | Self::Complete { object, .. } => Some(object),
            Self::Slice(_) => None,
        }
    }
}

/// What the head of the origin's response decided.
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

/// Why something stored stands in for the answer of an origin that failed.
#[derive(Debug, Clone, Copy)]
pub struct StandIn {
    /// What went wrong.
    pub failure: Failure,
    /// The stored one's age and lifetime.
    pub freshness: Freshness,
    /// What allows it, if it is stale.
    pub staleness: Option<Staleness>,
}

impl StandIn {
    /// What [`after_failure`](crate::policy::after_failure) lets stand in, if anything.
    #[must_use]
    pub fn of(failure: Failure, verdict: &Reuse) -> Option<Self> {
        match *verdict {
            Reuse::Fresh { freshness, .. } => Some(Self { failure, freshness, staleness: None }),
            Reuse::Stale { freshness, why, .. } => Some(Self { failure, freshness, staleness: Some(why) }),
            _ => None,
        }
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
    /// What of it is for the request that caused the fetch.
    pub cut: Cut,
}

/// What of a response is for the request that caused its fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// A part as it came: it was asked as the client asks.
    AsItCame,
    /// What the client's conditions and ranges leave of it.
    AsAsked,
}

/// What only the request that caused the fetch may have.
#[derive(Debug)]
pub enum Own {
    /// A response that is not stored, with its body, and why not.
    Response(Answered, Why),
    /// A stored response that the origin's 304 confirmed and forbade to keep, and the 304's fields that are for this
    /// request.
    Once(Arc<Object>, HeaderMap),
    /// The fields of a 304 that are for this request, whereas what it confirmed is for all.
    Fields(HeaderMap),
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Policy says so.
    Unstorable(Unstorable),
    /// It is bigger than an object may be.
    TooBig,
    /// Its length is not known, and a while ago it was bigger than an object may be.
    WasTooBig,
}

impl Why {
    /// As [`Unstorable::is_of_request`].
    #[must_use]
    pub fn is_of_request(self) -> bool {
        matches!(self, Self::Unstorable(why) if why.is_of_request())
    }

    /// As [`Unstorable::speaks_for_all`]; the size of one response does, too.
    #[must_use]
    pub fn speaks_for_all(self, status: StatusCode) -> bool {
        match self {
            Self::Unstorable(why) => why.speaks_for_all(status),
            Self::TooBig | Self::WasTooBig => Failure::of(status).is_none(),
        }
    }

    /// A label for logs and `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unstorable(why) => why.as_str(),
            Self::TooBig => "too-big",
            Self::WasTooBig => "was-too-big",
        }
    }
}
