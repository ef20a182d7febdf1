//! May this request be answered from what is stored (RFC 9111 §4)?

use std::time::SystemTime;

use http::StatusCode;

use super::{Entry, Freshness, RequestHead, Rules, range::Part, validate::Validators};

/// The verdict on reuse. `variant` is an index into the variants given.
#[derive(Clone, Debug)]
pub enum Reuse {
    /// Answer from this variant.
    Fresh {
        /// Which.
        variant: usize,
        /// Its age and lifetime.
        freshness: Freshness,
    },
    /// Answer from this stale variant.
    Stale {
        /// Which.
        variant: usize,
        /// Its age and lifetime.
        freshness: Freshness,
        /// What allows it; for [`Staleness::WhileRevalidate`] refresh it behind the answer.
        why: Staleness,
    },
    /// Ask the origin whether this variant still holds.
    Revalidate {
        /// Which.
        variant: usize,
        /// Its age and lifetime.
        freshness: Freshness,
        /// The conditions to send.
        validators: Validators,
        /// Why it cannot be used as it is.
        why: Forward,
    },
    /// Ask the origin for the bytes that are missing from this fresh part (RFC 9111 §3.4).
    Complete {
        /// Which.
        variant: usize,
        /// The range to ask for, under `If-Range` with the stored strong validator.
        missing: Part,
        /// The conditions to send.
        if_range: http::HeaderValue,
    },
    /// Ask the origin without our conditions.
    Fetch {
        /// A stale variant without validators that [`after_failure`] may allow.
        reserve: Option<usize>,
        /// Why.
        why: Forward,
    },
    /// Send it to the origin and store nothing.
    Pass(Forward),
    /// Answer with this status ourselves.
    Refuse(StatusCode, Forward),
}

/// Why a request goes to the origin: RFC 9211 §2.2 `fwd`, with more detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is stored under the key.
    UriMiss,
    /// Something is, but for other request fields.
    VaryMiss,
    /// What is stored is stale.
    Stale,
    /// What is stored must be validated at each use: `no-cache`.
    NoCache,
    /// The client's directives ask for it.
    Request,
    /// The method is not answered from the cache.
    Method,
    /// The site's rules pass this path by.
    Bypass,
    /// The request has a body: its content may decide.
    Body,
    /// A stored part does not cover what is asked.
    Partial,
    /// A precondition or header that only the origin can judge.
    Condition,
    /// `only-if-cached` and nothing usable is stored.
    OnlyIfCached,
}

/// What allows a stale answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// RFC 5861 §3: refresh it behind the answer.
    WhileRevalidate,
    /// RFC 5861 §4.
    IfError,
    /// RFC 9111 §4.2.4: the origin cannot be reached.
    Disconnected,
    /// The client's `max-stale` (RFC 9111 §5.2.1.2).
    MaxStale,
}

/// What went wrong at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or it was lost before a response's head came.
    Unreachable,
    /// No response in time.
    Timeout,
    /// A response with one of 500, 502, 503, 504.
    Status(StatusCode),
}

/// Whether `request` may be answered from one of `variants`, which all lie under its key.
pub fn reuse(request: &RequestHead, variants: &[&Entry], rules: &Rules, now: SystemTime) -> Reuse {
    let _ = (request, variants, rules, now);
    todo!()
}

/// What to answer when the origin failed and `entry` is what we hold: [`Reuse::Stale`] (variant 0) or
/// [`Reuse::Refuse`] with 502 or 504, or [`Reuse::Pass`]: hand the origin's own error on.
pub fn after_failure(entry: &Entry, failure: Failure, rules: &Rules, now: SystemTime) -> Reuse {
    let _ = (entry, failure, rules, now);
    todo!()
}

impl Forward {
    /// RFC 9211 §2.2's word for it.
    pub fn fwd(self) -> &'static str {
        todo!()
    }

    /// A label for logs and `detail`.
    pub fn as_str(self) -> &'static str {
        todo!()
    }
}

impl Staleness {
    /// A label for logs and `detail`.
    pub fn as_str(self) -> &'static str {
        todo!()
    }
}
