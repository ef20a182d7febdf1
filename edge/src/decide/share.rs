//! The third question of a shared cache: may a request wait for the fetch that another one caused, and does what that
//! fetch brings answer it?
//!
//! A request looks for company by what is known of the key's responses ([`at_first`]), and follows a fetch that is meant
//! for such as it ([`Seeker::may_follow`]). Once the fetch has told what it brings, the request takes that or goes on
//! ([`Share`]): a response is taken as one that is stored would be, by [`policy::reuse`](fn@crate::policy::reuse).
//!
//! An error is shared less than a response: nothing that one client sends may decide what another one gets, and any
//! field can make an origin fail. When a fetch fails in a way that its own request may have caused, its followers share
//! one more fetch. When that fails too, a follower shares only with its twins: requests that are the same byte for
//! byte. So an error causes at most one more fetch for each different request.
//!
//! Invariant: a request takes part in at most four fetches. The last is its own.

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use http::header;

use super::outcome::StandIn;
use super::plan::Plan;
use super::terms::{Cause, Terms};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::range::{Part, Spec};
use crate::policy::freshness::WhenStale;
use crate::policy::headers::status::ProxyError;
use crate::policy::range::{self, Wanted};
use crate::policy::{self, Content, Entry, Failure, Reuse, Selecting, control};
use crate::site::Rules;

/// The fetches that a request may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Company {
    /// Any for its key.
    Any,
    /// One that a request with the same selecting fields caused: the key's responses are known to vary.
    Alike(Selecting),
    /// One that the same request caused, byte for byte.
    Twins,
    /// One that fetches these slices.
    Slice(Part),
    /// One for this range, or for a whole that will soon be there.
    Range(Spec),
    /// One under way for the whole that will soon be at this byte.
    Passing(u64),
    /// None.
    Alone,
}

/// The requests that a fetch is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// All requests for its key.
    ForAll,
    /// Requests with these selecting fields: the key's responses are known to vary.
    ForLike(Selecting),
    /// Requests that are the same as the one that caused it.
    ForTwins,
    /// Requests whose range lies in these slices.
    Slice(Part),
    /// Requests for this range.
    Range(Spec),
}

/// Whether a request caused the fetch that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It did.
    Leader,
    /// Another one did.
    Follower,
}

/// How far a fetch stands for the one that a request would have caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is as good as that: begun after the request arrived, with the same credentials.
    AsOwn,
    /// It began before, or for somebody else.
    Another,
}

/// How much a request is like the one that caused a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// The same, byte for byte.
    Twin,
    /// Another request for the same key.
    Other,
}

impl Likeness {
    /// Of two requests for one key.
    #[must_use]
    pub fn of(one: &RequestHead, other: &RequestHead) -> Self {
        let same = one.method == other.method && one.uri == other.uri && one.headers == other.headers;
        if same { Self::Twin } else { Self::Other }
    }
}

/// A request that looks for a fetch to follow.
#[derive(Debug, Clone, Copy)]
pub struct Seeker<'a> {
    /// Its head.
    pub request: &'a RequestHead,
    /// When it arrived, and whose it is.
    pub cause: &'a Cause,
    /// The fetches that it looks for.
    pub company: &'a Company,
    /// Which of their fetches will do.
    pub terms: Terms,
}

/// A fetch under way, as those see it who look for one.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The requests that it is meant for.
    pub meant: &'a Meant,
    /// When it began, and for whom.
    pub cause: &'a Cause,
    /// The request that caused it.
    pub request: &'a RequestHead,
}

impl Seeker<'_> {
    /// Whether it may wait for `fetch`, which says of a byte whether it will soon have come to it.
    pub fn may_follow(&self, fetch: &Candidate<'_>, will_soon_be_at: impl Fn(u64) -> bool) -> bool {
        let suits = match (self.company, fetch.meant) {
            (Company::Slice(wanted), Meant::Slice(fetched)) => wanted == fetched,
            (Company::Range(wanted), Meant::Range(fetched)) => wanted == fetched,
            (Company::Twins, Meant::ForTwins) => Likeness::of(self.request, fetch.request) == Likeness::Twin,
            (Company::Slice(_) | Company::Twins, _)
            | (_, Meant::Slice(_) | Meant::Range(_) | Meant::ForTwins) => false,
            (Company::Range(Spec::From { first, .. }) | Company::Passing(first), _) => {
                will_soon_be_at(*first)
            }
            (_, Meant::ForLike(selecting)) => selecting.matches(self.request),
            (company, Meant::ForAll) => matches!(company, Company::Any),
        };
        suits && self.terms.allow(fetch.cause, self.cause)
    }

    /// For whom the fetch is that it causes; none if for itself alone.
    #[must_use]
    pub fn meant(&self) -> Option<Meant> {
        // RFC 9111 §5.2.1.5: what it brings is for this request.
        if control::of_request(&self.request.headers).no_store {
            return None;
        }
        match self.company {
            Company::Any => Some(Meant::ForAll),
            Company::Alike(selecting) => Some(Meant::ForLike(selecting.clone())),
            Company::Twins => Some(Meant::ForTwins),
            Company::Slice(slice) => Some(Meant::Slice(*slice)),
            Company::Range(spec) => Some(Meant::Range(*spec)),
            Company::Passing(_) | Company::Alone => None,
        }
    }
}

/// The fetches to follow at first; `newest` is the newest response stored under the key.
#[must_use]
pub fn at_first(request: &RequestHead, newest: Option<&Entry>, plan: &Plan<&Entry>) -> Company {
    // The next response will vary on the same fields as the newest one.
    let plain = newest.map_or(Company::Any, |newest| alike(request, &newest.head));
    match (plan, range::wanted(request)) {
        (Plan::Head { .. }, _) => Company::Alone,
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

/// A response stored whole is validated or replaced whole, whatever part of it the client asks for.
fn asks_for_whole(plan: &Plan<&Entry>) -> bool {
    plan.held().is_some_and(|entry| matches!(entry.content, Content::Whole { .. }))
}

/// The requests that the response's Vary does not tell from this one.
#[must_use]
pub fn alike(request: &RequestHead, response: &ResponseHead) -> Company {
    let selecting = Selecting::of(request, response);
    if selecting.names().next().is_none() { Company::Any } else { Company::Alike(selecting) }
}

/// Which of their fetches will do at first.
#[must_use]
pub fn terms(plan: &Plan<&Entry>, cause: &Cause) -> Terms {
    match plan.held() {
        Some(entry) if is_validated_always(entry) => Terms::Like,
        // Nothing is known of the key, and most that is asked for with `Authorization` is for its user alone
        // (RFC 9111 §3.5): one user does not wait for what is likely to be another's.
        None if cause.credentials.authorize() => Terms::Like,
        _ => Terms::Any,
    }
}

/// Whether no response of its kind is of use to another request without validation.
fn is_validated_always(entry: &Entry) -> bool {
    entry.lifetime.stale == WhenStale::NeverUnvalidated || entry.lifetime.fresh_secs == 0
}

/// Whether what a fetch brought answers a request that took part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// It does.
    Answers,
    /// It does not.
    Not(Next),
}

/// The next move of a request that a fetch does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The same once more: the fetch that it followed says little of the next one.
    Again,
    /// It looks for these.
    Look(Company),
    /// It has what it followed validated, once that is stored: by a fetch that begins now, with all who wait for one.
    Validate,
    /// It asks alone.
    Alone,
}

/// How often a request was refused what it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Not yet.
    First,
    /// Once or more.
    Later,
}

/// The fetches to look for in the next round.
#[must_use]
pub fn company_after(round: Round, next: &Next, before: Company) -> Company {
    match (round, next) {
        (_, Next::Look(Company::Twins)) => Company::Twins,
        // Requests that are the same fetch once what was purged twice while they waited.
        (Round::Later, Next::Again) if matches!(before, Company::Any | Company::Alike(_)) => Company::Twins,
        // A request that goes alone is not refused, so the rounds end.
        (Round::Later, _) | (Round::First, Next::Alone) => Company::Alone,
        (Round::First, Next::Look(other)) => other.clone(),
        (Round::First, Next::Again | Next::Validate) => before,
    }
}

/// A request that waited, and by what it judges what it waited for.
#[derive(Debug, Clone, Copy)]
pub struct Waited<'a> {
    /// Its head.
    pub request: &'a RequestHead,
    /// Its site's rules.
    pub rules: &'a Rules,
    /// The time.
    pub now: SystemTime,
    /// Whether it caused the fetch.
    pub role: Role,
    /// How far the fetch stands for its own.
    pub standing: Standing,
    /// How much it is like the request that caused the fetch.
    pub likeness: Likeness,
    /// How often it was refused.
    pub round: Round,
}

/// How an entry that was fetched fits a request.
enum Fit {
    Answers,
    /// Not without validation.
    Validated,
    Not,
}

impl Waited<'_> {
    /// A response that is being stored, as it came and as it will be stored.
    #[must_use]
    pub fn filling(&self, response: &ResponseHead, entry: &Entry) -> Share {
        match self.fit(entry) {
            Fit::Answers => Share::Answers,
            Fit::Validated => Share::Not(Next::Validate),
            Fit::Not => Share::Not(self.instead_of(response, entry)),
        }
    }

    /// A stored response that the origin confirmed.
    #[must_use]
    pub fn validated(&self, entry: &Entry) -> Share {
        match self.fit(entry) {
            Fit::Answers => Share::Answers,
            Fit::Validated => Share::Not(Next::Validate),
            Fit::Not => Share::Not(Next::Alone),
        }
    }

    /// A stored response that stands in, because the origin failed.
    #[must_use]
    pub fn stood_in(&self, entry: &Entry, failure: Failure) -> Share {
        // Whether its own fetch, had it failed so, could have ended with this entry.
        let could_be_own = || {
            is_chosen(&self.reuse(entry))
                && StandIn::of(
                    failure,
                    &policy::after_failure(self.request, entry, failure, self.rules, self.now),
                )
                .is_some()
        };
        self.leads_or(could_be_own())
    }

    /// Something that is for the request that caused the fetch.
    #[must_use]
    pub fn apart(&self) -> Share {
        self.leads_or(false)
    }

    /// The origin answered with an error, which may be the request's own doing.
    #[must_use]
    pub fn error(&self) -> Share {
        match (self.role, self.round, self.likeness) {
            (Role::Leader, ..) | (_, Round::Later, Likeness::Twin) => Share::Answers,
            (_, Round::First, _) => Share::Not(Next::Again),
            (_, Round::Later, Likeness::Other) => Share::Not(Next::Look(Company::Twins)),
        }
    }

    /// No origin answered. The request itself may cause what an origin does once it has it: to hang up, to answer with
    /// what is no response, to take too long. An origin that cannot be reached never saw it, and is not tried
    /// again by each.
    #[must_use]
    pub fn unanswered(&self, error: ProxyError) -> Share {
        match error {
            // Two were too late. Each that waited would wait for as long again.
            ProxyError::HttpResponseTimeout if self.round == Round::Later => Share::Answers,
            ProxyError::ConnectionTerminated
            | ProxyError::HttpProtocolError
            | ProxyError::HttpRequestDenied
            | ProxyError::HttpRequestError
            | ProxyError::HttpRequestTimeout
            | ProxyError::HttpResponseIncomplete
            | ProxyError::HttpResponseTimeout
            | ProxyError::HttpResponseTransferCoding
            | ProxyError::ProxyInternalError
            | ProxyError::ProxyLoopDetected => self.error(),
            ProxyError::ConnectionLimitReached
            | ProxyError::ConnectionRefused
            | ProxyError::ConnectionTimeout
            | ProxyError::DestinationIpProhibited
            | ProxyError::DestinationUnavailable
            | ProxyError::DnsError
            | ProxyError::TlsCertificateError
            | ProxyError::TlsProtocolError => Share::Answers,
        }
    }

    fn leads_or(&self, answers: bool) -> Share {
        if self.role == Role::Leader || answers { Share::Answers } else { Share::Not(Next::Alone) }
    }

    fn fit(&self, entry: &Entry) -> Fit {
        if self.role == Role::Leader {
            return Fit::Answers;
        }
        let verdict = self.reuse(entry);
        match verdict {
            Reuse::Fresh { .. } => Fit::Answers,
            _ if !is_chosen(&verdict) => Fit::Not,
            _ if self.standing == Standing::AsOwn => Fit::Answers,
            _ => Fit::Validated,
        }
    }

    fn reuse(&self, entry: &Entry) -> Reuse {
        policy::reuse(self.request, &[entry], self.rules, self.now)
    }

    /// The next move when the fetch's response is another variant.
    fn instead_of(&self, response: &ResponseHead, entry: &Entry) -> Next {
        let is_range = matches!(range::wanted(self.request), Wanted::One(_));
        if is_range || entry.selecting.matches(self.request) {
            return Next::Alone;
        }
        Next::Look(alike(self.request, response))
    }
}

/// Whether the request's own fetch could have ended with the one entry that this is about.
fn is_chosen(verdict: &Reuse) -> bool {
    match verdict {
        Reuse::Fresh { .. } | Reuse::Stale { .. } | Reuse::Revalidate { .. } => true,
        Reuse::Fetch { reserve, .. } => reserve.is_some(),
        Reuse::Complete { .. } | Reuse::Slice(_) | Reuse::Pass(_) | Reuse::Refuse(..) => false,
    }
}
