//! May this request be answered from what is stored (RFC 9111 §4)?

use std::time::SystemTime;

use http::{HeaderValue, Method, StatusCode, header};

use super::control::{self, RequestControl};
use super::freshness::{Reload, Source, WhenStale};
use super::select::{self, Fit};
use super::validate::{Validators, strong_tag};
use super::{Content, Entry, Freshness, range, transient, vary};
use crate::http::head::RequestHead;
use crate::http::range::Part;
use crate::http::range::asked;
use crate::site::Rules;
use crate::site::rules::ClientControl;

/// The verdict on reuse. `variant` is an index into the variants given.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// The rule that allows it; for [`Staleness::WhileRevalidate`] refresh it behind the answer.
        why: Staleness,
    },
    /// Ask the origin whether this variant still holds. If that fails, see [`after_failure`].
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
    /// Ask the origin for the bytes that this fresh part lacks (RFC 9111 §3.4). A 206 with the same strong tag is
    /// joined to it, a 200 replaces it.
    Complete {
        /// Which.
        variant: usize,
        /// The part to ask for.
        missing: Part,
        /// Its strong tag.
        if_range: HeaderValue,
    },
    /// Ask the origin for these bytes of a large object that is asked for in ranges; they hold what is asked.
    Slice(Part),
    /// Ask the origin without conditions of ours.
    Fetch {
        /// A variant without validators that [`after_failure`] may allow.
        reserve: Option<usize>,
        /// Why.
        why: Forward,
    },
    /// Send it to the origin as it is. Its response is stored only if [`super::admit()`] says so of a POST.
    Pass(Forward),
    /// Answer with this status ourselves.
    Refuse(StatusCode, Forward),
}

/// Why a request goes to the origin: RFC 9211 §2.2's `fwd`, with more detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is stored under the key.
    UriMiss,
    /// Something is, but for other request fields.
    VaryMiss,
    /// The stored response is stale.
    Stale,
    /// The stored response must be validated at each use: `no-cache`.
    NoCache,
    /// The client's directives ask for it.
    Request,
    /// The method is not answered from the cache.
    Method,
    /// The site's rules pass this request by.
    Bypass,
    /// The request has a body, which may decide the answer.
    Body,
    /// It asks for a range in another unit than bytes, which only the origin can cut.
    RangeUnit,
    /// A stored part does not cover what is asked.
    Partial,
    /// A precondition that only the origin may judge.
    Condition,
    /// `only-if-cached`, and nothing usable is stored.
    OnlyIfCached,
    /// The origin failed, and nothing stored may stand in.
    Failure,
}

/// The rule that allows a stale answer.
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

/// A failure of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or it was lost before a response's head came.
    Unreachable,
    /// No response in time.
    Timeout,
    /// A response with this status.
    Status(StatusCode),
}

/// Whether `request` may be answered from one of `variants`, which all lie under its key.
pub fn reuse(request: &RequestHead, variants: &[&Entry], rules: &Rules, now: SystemTime) -> Reuse {
    let wishes = control::of_request(&request.headers);
    let verdict = match passed_by(request, rules) {
        Some(why) => Reuse::Pass(why),
        None => preconditioned(request, from_store(request, variants, &wishes, rules, now)),
    };
    if wishes.only_if_cached { without_origin(verdict) } else { verdict }
}

/// The verdict on a request that the site passes by, whatever is stored.
pub fn bypassed(request: &RequestHead) -> Reuse {
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    let verdict = Reuse::Pass(if is_read { Forward::Bypass } else { Forward::Method });
    if control::of_request(&request.headers).only_if_cached { without_origin(verdict) } else { verdict }
}

/// The answer to `request` when the origin failed and we hold `entry`: [`Reuse::Stale`] or [`Reuse::Fresh`]
/// (variant 0); [`Reuse::Refuse`] with 502 or 504; or [`Reuse::Pass`]: hand the origin's own answer on.
pub fn after_failure(
    request: &RequestHead,
    entry: &Entry,
    failure: Failure,
    rules: &Rules,
    now: SystemTime,
) -> Reuse {
    let freshness = entry.freshness(now);
    let wished_secs = stale_if_error_wished(request, rules);
    let stale = |why| Reuse::Stale { variant: 0, freshness, why };
    match (entry.lifetime.stale, failure) {
        // RFC 5861 §4 names the errors; another status is an answer.
        (_, Failure::Status(status)) if Failure::of(status).is_none() => Reuse::Pass(Forward::Stale),
        (WhenStale::NeverUnvalidated, _) => failed(entry, failure),
        _ if freshness.is_fresh() => Reuse::Fresh { variant: 0, freshness },
        (WhenStale::May { if_error_secs, .. }, _)
            if freshness.is_stale_within(if_error_secs.max(wished_secs)) =>
        {
            stale(Staleness::IfError)
        }
        // RFC 9111 §4.2.4: a cache that is disconnected may, unless the response forbids it.
        (WhenStale::May { .. }, Failure::Unreachable | Failure::Timeout)
            if freshness.is_stale_within(rules.stale_on_disconnect_secs) =>
        {
            stale(Staleness::Disconnected)
        }
        _ => failed(entry, failure),
    }
}

/// Requests that no stored response answers.
fn passed_by(request: &RequestHead, rules: &Rules) -> Option<Forward> {
    if request.method != Method::GET && request.method != Method::HEAD {
        Some(Forward::Method)
    } else if rules.bypass.of(request).is_some() {
        Some(Forward::Bypass)
    } else if has_body(request) {
        Some(Forward::Body)
    } else if range::is_in_another_unit(request) {
        Some(Forward::RangeUnit)
    } else {
        None
    }
}

pub(super) fn has_body(request: &RequestHead) -> bool {
    let length = request.headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length.as_bytes().iter().any(|&byte| byte != b'0'))
        || request.headers.contains_key(header::TRANSFER_ENCODING)
}

/// `If-Match` and `If-Unmodified-Since` must reach the origin where it is asked (RFC 9110 §13.1.1, §13.1.4), and a fetch
/// for the store goes without the client's conditions.
fn preconditioned(request: &RequestHead, verdict: Reuse) -> Reuse {
    match verdict {
        Reuse::Fresh { .. } | Reuse::Pass(_) | Reuse::Refuse(..) => verdict,
        _ if select::is_for_origin(request) => Reuse::Pass(Forward::Condition),
        _ => verdict,
    }
}

fn from_store(
    request: &RequestHead,
    variants: &[&Entry],
    wishes: &RequestControl,
    rules: &Rules,
    now: SystemTime,
) -> Reuse {
    let Some(variant) = vary::choose(request, variants) else { return missing(variants) };
    let variant = holder(request, variants, variant, now);
    let entry = variants[variant];
    let freshness = entry.freshness(now);
    match select::fit(request, entry) {
        Fit::AskOrigin => return Reuse::Pass(Forward::Condition),
        Fit::Lacks => return completing(request, variant, entry, &freshness),
        Fit::Fits => {}
    }
    match (usable(entry, &freshness), objection(entry, &freshness, wishes, rules)) {
        (Usable::Fresh, None) => Reuse::Fresh { variant, freshness },
        (Usable::Stale(why), None) => Reuse::Stale { variant, freshness, why },
        (Usable::Not(Forward::Stale), None) if stale_wished(entry, &freshness, wishes, rules) => {
            Reuse::Stale { variant, freshness, why: Staleness::MaxStale }
        }
        (Usable::Not(why), _) | (_, Some(why)) => validating(variant, entry, freshness, why),
    }
}

fn missing(variants: &[&Entry]) -> Reuse {
    let why = if variants.is_empty() { Forward::UriMiss } else { Forward::VaryMiss };
    Reuse::Fetch { reserve: None, why }
}

/// Of several parts of the representation that was chosen the one that holds what is asked, if there is one.
fn holder(request: &RequestHead, variants: &[&Entry], chosen: usize, now: SystemTime) -> usize {
    let newest = variants[chosen];
    if select::fit(request, newest) != Fit::Lacks {
        return chosen;
    }
    let holds = |entry: &&Entry| {
        entry.is_of_one_with(newest)
            && entry.freshness(now).is_fresh()
            && select::fit(request, entry) == Fit::Fits
    };
    variants.iter().position(holds).unwrap_or(chosen)
}

/// A part that lacks bytes is worth completing for a plain GET, and another one is worth having for a range, if the
/// rest can be known to be of the same representation: RFC 9111 §3.4 wants a strong validator.
fn completing(request: &RequestHead, variant: usize, entry: &Entry, freshness: &Freshness) -> Reuse {
    let fetch = Reuse::Fetch { reserve: None, why: Forward::Partial };
    let tag = strong_tag(&entry.head.headers);
    let (Content::Part(held), Some(tag)) = (entry.content, tag) else { return fetch };
    if request.method != Method::GET || !freshness.is_fresh() {
        return fetch;
    }
    if asked(&request.headers).is_some() {
        // The first range of an object is fetched as it is: a client that asks for single bytes gets no more.
        return select::slice(request, entry, &held).map_or(fetch, Reuse::Slice);
    }
    match held.missing() {
        Some(missing) => Reuse::Complete { variant, missing, if_range: tag.clone() },
        None => fetch,
    }
}

enum Usable {
    Fresh,
    Stale(Staleness),
    Not(Forward),
}

/// The use that the response and the site allow.
fn usable(entry: &Entry, freshness: &Freshness) -> Usable {
    match entry.lifetime.stale {
        WhenStale::NeverUnvalidated => Usable::Not(Forward::NoCache),
        _ if freshness.is_fresh() => Usable::Fresh,
        WhenStale::May { while_revalidate_secs, .. } if freshness.is_stale_within(while_revalidate_secs) => {
            Usable::Stale(Staleness::WhileRevalidate)
        }
        _ => Usable::Not(Forward::Stale),
    }
}

/// The client's objection, where the site lets it object (RFC 9111 §5.2.1).
fn objection(
    entry: &Entry,
    freshness: &Freshness,
    wishes: &RequestControl,
    rules: &Rules,
) -> Option<Forward> {
    // Heuristic freshness is our guess, and a client that asks for validation knows better: package
    // managers say max-age=0 for the files that must be new.
    let guessed = entry.lifetime.source == Source::Heuristic;
    if rules.client_control == ClientControl::Limited && !guessed {
        return None;
    }
    // RFC 8246 §2: max-age=0 is what a reload sends; it says nothing against an immutable response.
    let reload =
        wishes.max_age == Some(0) && entry.lifetime.reload == Reload::Immutable && freshness.is_fresh();
    // RFC 9111 §5.2.1.1: an age that is less than or equal. An age of 0 s may be most of a second, which
    // is long for a package index.
    let too_old =
        wishes.max_age.is_some_and(|secs| freshness.age_secs > secs || guessed && secs == 0) && !reload;
    let too_short = rules.client_control == ClientControl::Full
        && wishes
            .min_fresh
            .is_some_and(|least| freshness.lifetime_secs < freshness.age_secs.saturating_add(least));
    (wishes.no_cache || too_old || too_short).then_some(Forward::Request)
}

/// `max-stale`, where the site lets clients ask for it and the response does not forbid it.
fn stale_wished(entry: &Entry, freshness: &Freshness, wishes: &RequestControl, rules: &Rules) -> bool {
    rules.client_control == ClientControl::Full
        && matches!(entry.lifetime.stale, WhenStale::May { .. })
        && wishes.max_stale.is_some_and(|secs| freshness.is_stale_within(secs.saturating_add(1)))
}

/// RFC 5861 §4, of a request, where the site lets clients ask for it.
fn stale_if_error_wished(request: &RequestHead, rules: &Rules) -> u64 {
    match rules.client_control {
        ClientControl::Limited => 0,
        ClientControl::Full => control::of_request(&request.headers).stale_if_error.unwrap_or(0),
    }
}

fn validating(variant: usize, entry: &Entry, freshness: Freshness, why: Forward) -> Reuse {
    let validators = Validators::of(&entry.head.headers);
    // A 304 about the good response would make a stored error last: see `transient`.
    if validators.is_empty() || transient::is_transient(entry.head.status) {
        Reuse::Fetch { reserve: Some(variant), why }
    } else {
        Reuse::Revalidate { variant, freshness, validators, why }
    }
}

/// RFC 9111 §5.2.1.7: from the store, or 504.
fn without_origin(verdict: Reuse) -> Reuse {
    match verdict {
        Reuse::Fresh { .. } | Reuse::Stale { .. } | Reuse::Pass(Forward::Method) => verdict,
        _ => Reuse::Refuse(StatusCode::GATEWAY_TIMEOUT, Forward::OnlyIfCached),
    }
}

fn failed(entry: &Entry, failure: Failure) -> Reuse {
    match failure {
        Failure::Status(_) => Reuse::Pass(Forward::Stale),
        // RFC 9111 §5.2.2.2: what must be revalidated and cannot be is a 504.
        _ if entry.lifetime.stale == WhenStale::MustRevalidate => {
            Reuse::Refuse(StatusCode::GATEWAY_TIMEOUT, Forward::Failure)
        }
        Failure::Unreachable => Reuse::Refuse(StatusCode::BAD_GATEWAY, Forward::Failure),
        Failure::Timeout => Reuse::Refuse(StatusCode::GATEWAY_TIMEOUT, Forward::Failure),
    }
}

impl Failure {
    /// None if a response of this status is an answer: RFC 5861 §4 names the four that are not.
    pub fn of(status: StatusCode) -> Option<Self> {
        matches!(status.as_u16(), 500 | 502 | 503 | 504).then_some(Self::Status(status))
    }

    /// The origin's status, if it gave one.
    pub fn status(self) -> Option<StatusCode> {
        match self {
            Self::Status(status) => Some(status),
            Self::Unreachable | Self::Timeout => None,
        }
    }
}

impl Forward {
    /// RFC 9211 §2.2's word for it.
    pub fn fwd(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale | Self::NoCache | Self::Failure => "stale",
            Self::Request | Self::RangeUnit | Self::Condition | Self::OnlyIfCached => "request",
            Self::Method => "method",
            Self::Bypass | Self::Body => "bypass",
            Self::Partial => "partial",
        }
    }

    /// A label for logs and `detail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::NoCache => "no-cache",
            Self::Request => "request",
            Self::Method => "method",
            Self::Bypass => "bypass",
            Self::Body => "body",
            Self::RangeUnit => "range-unit",
            Self::Partial => "partial",
            Self::Condition => "condition",
            Self::OnlyIfCached => "only-if-cached",
            Self::Failure => "failure",
        }
    }
}

impl Staleness {
    /// A label for logs and `detail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WhileRevalidate => "stale-while-revalidate",
            Self::IfError => "stale-if-error",
            Self::Disconnected => "disconnected",
            Self::MaxStale => "max-stale",
        }
    }
}

impl Reuse {
    /// A label for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "fresh",
            Self::Stale { .. } => "stale",
            Self::Revalidate { .. } => "revalidate",
            Self::Complete { .. } => "complete",
            Self::Slice(_) => "slice",
            Self::Fetch { .. } => "fetch",
            Self::Pass(_) => "pass",
            Self::Refuse(..) => "refuse",
        }
    }
}

#[cfg(test)]
mod tests;
