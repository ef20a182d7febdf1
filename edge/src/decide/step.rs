//! The first step of a request: what it gets from what is stored, or what has to be asked.

use std::time::SystemTime;

use http::{Method, StatusCode};

use super::plan::Plan;
use super::share::{self, Company};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::path;
use crate::policy::headers::origin;
use crate::policy::validate::Validators;
use crate::policy::{self, Entry, Forward, Freshness, Reuse, Staleness};
use crate::site::Rules;
use crate::site::rewrite::Redirect;

/// The next step for a request. A `variant` is a stored response's place among those it was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Answer from what is stored: it is fresh.
    Serve {
        /// Which.
        variant: usize,
        /// Its age and lifetime.
        freshness: Freshness,
    },
    /// Answer from what is stored though it is stale.
    ServeStale {
        /// Which.
        variant: usize,
        /// Its age and lifetime.
        freshness: Freshness,
        /// The rule that allows it.
        why: Staleness,
    },
    /// The same, and ask the origin behind the answer (RFC 5861 §3).
    ServeAndRefresh {
        /// Which.
        variant: usize,
        /// Its age and lifetime.
        freshness: Freshness,
        /// The rule that allows it.
        why: Staleness,
    },
    /// Ask the origin, alone or together with others.
    Fetch {
        /// The kind of fetch.
        plan: Plan<usize>,
        /// Why what is stored does not do.
        why: Forward,
    },
    /// Send the request on as it is.
    Pass(Forward),
    /// Answer with this status.
    Refuse(StatusCode, Forward),
}

/// An answer that does not depend on the store.
#[derive(Debug, Clone)]
pub enum Local {
    /// The site says that it is somewhere else.
    Elsewhere(ResponseHead),
    /// No further hop is to see it: an OPTIONS by the client's own word (RFC 9110 §7.6.2), and every TRACE. Its answer
    /// would show scripts what they may not see, as cookies that only servers get (§9.3.8).
    LastHop,
}

/// The answer to `request`, if it depends neither on the store nor on an origin.
#[must_use]
pub fn local(request: &RequestHead, redirects: &[Redirect]) -> Option<Local> {
    elsewhere(request, redirects)
        .map(Local::Elsewhere)
        .or_else(|| is_last_hop(request).then_some(Local::LastHop))
}

fn is_last_hop(request: &RequestHead) -> bool {
    request.method == Method::TRACE || origin::hops_left(request) == Some(0)
}

fn elsewhere(request: &RequestHead, redirects: &[Redirect]) -> Option<ResponseHead> {
    if redirects.is_empty() {
        return None;
    }
    let path = path::normal(request.uri.path());
    let query = request.uri.query();
    redirects.iter().find_map(|redirect| Some(redirect.head(redirect.location(&path, query)?)))
}

/// The next step for `request`; `variants` are the responses stored under its key.
#[must_use]
pub fn step(request: &RequestHead, variants: &[&Entry], rules: &Rules, now: SystemTime) -> Step {
    by(request, policy::reuse(request, variants, rules, now))
}

/// The same for a request that the site passes by for a field of it that is withheld since.
#[must_use]
pub fn bypassed(request: &RequestHead) -> Step {
    by(request, policy::bypassed(request))
}

fn by(request: &RequestHead, verdict: Reuse) -> Step {
    match verdict {
        Reuse::Fresh { variant, freshness } => Step::Serve { variant, freshness },
        Reuse::Stale { variant, freshness, why } if why == Staleness::WhileRevalidate => {
            Step::ServeAndRefresh { variant, freshness, why }
        }
        Reuse::Stale { variant, freshness, why } => Step::ServeStale { variant, freshness, why },
        Reuse::Slice(slice) => Step::Fetch { plan: Plan::Slice(slice), why: Forward::Partial },
        Reuse::Complete { variant, missing, if_range } => {
            let plan = Plan::Complete { held: variant, missing, if_range };
            Step::Fetch { plan, why: Forward::Partial }
        }
        // A response to HEAD is not stored, so the request is passed on as it is.
        Reuse::Revalidate { variant, why, .. } if request.method != Method::GET => {
            Step::Fetch { plan: Plan::Head { reserve: Some(variant) }, why }
        }
        Reuse::Fetch { reserve, why } if request.method != Method::GET => {
            Step::Fetch { plan: Plan::Head { reserve }, why }
        }
        Reuse::Revalidate { variant, validators, why, .. } => {
            Step::Fetch { plan: Plan::Validate { held: variant, validators }, why }
        }
        Reuse::Fetch { reserve, why } => Step::Fetch { plan: Plan::Whole { reserve }, why },
        Reuse::Pass(why) => Step::Pass(why),
        Reuse::Refuse(status, why) => Step::Refuse(status, why),
    }
}

/// How a stored response is asked for again behind an answer: the request, for whom its fetch is, and whether it is a
/// validation.
#[must_use]
pub fn refresh<H>(request: &RequestHead, entry: &Entry, held: H) -> (RequestHead, Company, Plan<H>) {
    let validators = Validators::of(&entry.head.headers);
    let request = policy::refresh(request, entry);
    let company = share::alike(&request, &entry.head);
    let plan = if validators.is_empty() {
        Plan::Whole { reserve: Some(held) }
    } else {
        Plan::Validate { held, validators }
    };
    (request, company, plan)
}
