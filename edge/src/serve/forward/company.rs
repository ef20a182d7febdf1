//! Whose fetch a request takes part in, at first and after it could not share one.

use http::header;

use crate::flight::{self, Company, Participation, Plan, Reader, Role, Terms};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::range::Spec;
use crate::policy::freshness::WhenStale;
use crate::policy::headers::status::ProxyError;
use crate::policy::range::{self, Wanted};
use crate::policy::{Content, Entry, Selecting};
use crate::store::Variants;

/// What a request does whom a fetch does not answer.
pub(super) enum Next {
    /// The same once more: what it followed says little of the next.
    Again,
    /// It looks for these.
    Look(Company),
    /// It has what it followed validated, once that is stored: by a fetch that begins now, with all who wait for one.
    Validate(Reader),
    /// It asks alone.
    Alone,
}

/// Whom to follow at first.
pub(super) fn at_first(request: &RequestHead, variants: &Variants, plan: &Plan) -> Company {
    // What the newest response varied on, the next one will.
    let plain = variants.first().map_or(Company::Any, |newest| alike(request, &newest.entry.head));
    match (plan, range::wanted(request)) {
        (Plan::Slice(slice), _) => Company::Slice(*slice),
        (_, Wanted::Whole) => plain,
        (plan, Wanted::One(_)) if asks_for_whole(plan) => plain,
        (_, Wanted::One(spec)) => of_range(request, &plain, spec),
    }
}

/// For one range that is not stored. Other ranges of it are of no use, nor is one that may differ; but a whole that comes
/// is, where it has come to the range.
fn of_range(request: &RequestHead, plain: &Company, spec: Spec) -> Company {
    let one_for_all = matches!(plain, Company::Any) && !request.headers.contains_key(header::IF_RANGE);
    match spec {
        _ if one_for_all => Company::Range(spec),
        Spec::From { first, .. } => Company::Passing(first),
        Spec::Suffix { .. } => Company::Alone,
    }
}

/// What is stored whole is validated or replaced whole, whatever part of it is asked for.
fn asks_for_whole(plan: &Plan) -> bool {
    plan.held().is_some_and(|object| matches!(object.entry.content, Content::Whole { .. }))
}

/// Those that the response's Vary does not tell from this one.
pub(super) fn alike(request: &RequestHead, response: &ResponseHead) -> Company {
    let selecting = Selecting::of(request, response);
    if selecting.names().next().is_none() { Company::Any } else { Company::Alike(selecting) }
}

/// Which of their fetches will do at first.
pub(super) fn terms(plan: &Plan) -> Terms {
    match plan.held() {
        Some(object) if is_validated_always(&object.entry) => Terms::Like,
        _ => Terms::Any,
    }
}

/// Whether no response of its kind is of use to another request without validation.
fn is_validated_always(entry: &Entry) -> bool {
    entry.lifetime.stale == WhenStale::NeverUnvalidated || entry.lifetime.fresh_secs == 0
}

/// Whether a fetch failed in a way that says little of the next one: its connection was lost, as one is that its origin
/// was just closing, or its task, or it met an error that may be its request's own. No request of its followers was sent
/// yet, so one of them leads the others once more; an origin that cannot be reached, or is too slow, is not tried again
/// by each.
pub(super) fn is_for_its_leader(part: &Participation) -> bool {
    let passing = match &part.verdict {
        flight::Verdict::Failed(why) | flight::Verdict::MustValidate(why) => {
            matches!(why.error, ProxyError::ConnectionTerminated | ProxyError::ProxyInternalError)
        }
        flight::Verdict::Error(_) => true,
        _ => false,
    };
    part.role == Role::Follower && passing
}

/// Whom to follow instead of a fetch whose response is another variant.
pub(super) fn of_variant(request: &RequestHead, filling: &flight::Filling) -> Next {
    let is_range = matches!(range::wanted(request), Wanted::One(_));
    if is_range || filling.entry.selecting.matches(request) {
        return Next::Alone;
    }
    Next::Look(alike(request, &filling.response))
}
