//! The meaning of an origin's answer for the fetch that asked for it, and so for all who wait for that fetch.

use std::time::SystemTime;

use http::StatusCode;

use super::plan::Plan;
use crate::http::head::{RequestHead, ResponseHead};
use crate::policy::freshness::WhenStale;
use crate::policy::headers::origin::Ask;
use crate::policy::{
    self, Admit, Content, Entry, Failure, Freshened, Freshness, Lifetime, Reuse, Staleness, Unstorable,
};
use crate::site::Rules;

/// A fetch's use of the origin's answer.
#[derive(Debug)]
pub enum Told {
    /// It is a response to what was asked.
    Received(Received),
    /// The stored one still holds, with this entry.
    Freshened(Box<Entry>),
    /// The stored one still holds, but may not be kept: it answers once.
    Once(Box<Entry>, Unstorable),
    /// The origin confirmed something else than what is stored: that goes, and the origin is asked anew.
    Mismatch,
    /// Serves the stored one instead.
    StandIn(StandIn),
}

/// The use of a response to the question that was asked.
#[derive(Debug)]
pub enum Received {
    /// It is stored, and others read while it comes.
    Fill(Lifetime),
    /// It is for the request that caused the fetch.
    ForOne(ForOne),
}

/// Why an answer is for the request that caused the fetch alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForOne {
    /// It is not stored for this reason.
    Unstored(Why),
    /// It is not stored, and the origin's error: the others are told of it.
    Error(Why),
    /// It is a HEAD's.
    Head,
}

/// How a fetch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// There is nothing to serve instead.
    Unanswered,
    /// The stored response must not be used without an answer: 504 (RFC 9111 §5.2.2.2).
    MustValidate,
}

/// Why something stored stands in for the answer of an origin that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandIn {
    /// The failure that it stands in for.
    pub failure: Failure,
    /// The stored one's age and lifetime.
    pub freshness: Freshness,
    /// The rule that allows it, if it is stale.
    pub staleness: Option<Staleness>,
}

impl StandIn {
    /// The response that [`after_failure`](crate::policy::after_failure) lets stand in, if any.
    #[must_use]
    pub fn of(failure: Failure, verdict: &Reuse) -> Option<Self> {
        match *verdict {
            Reuse::Fresh { freshness, .. } => Some(Self { failure, freshness, staleness: None }),
            Reuse::Stale { freshness, why, .. } => Some(Self { failure, freshness, staleness: Some(why) }),
            _ => None,
        }
    }
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

/// The question that the origin was asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The request that caused the fetch.
    pub request: &'a RequestHead,
    /// The plan that the question follows.
    pub plan: &'a Plan<&'a Entry>,
    /// Its site's rules.
    pub rules: &'a Rules,
    /// No object may be bigger.
    pub max_object_bytes: u64,
    /// Whether what is stored may still be served: no purge has made it gone.
    pub held: Held,
    /// The time.
    pub now: SystemTime,
}

/// The state of a stored response after an origin was asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It may be served.
    Usable,
    /// A purge has made it gone.
    Purged,
}

/// An origin's answer, without its body.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Its head.
    pub head: &'a ResponseHead,
    /// Its length in bytes, if the origin said so.
    pub length: Option<u64>,
    /// Whether what is stored under the key is better than this ([`policy::transient`]).
    pub worse_than_stored: bool,
    /// Whether the key's response outgrew what an object may be a while ago.
    pub was_too_big: bool,
    /// When the request left.
    pub asked: SystemTime,
    /// When the head came.
    pub received: SystemTime,
}

impl<'a> Question<'a> {
    /// How to ask for the plan's response; slices and rests are asked for by their ranges.
    #[must_use]
    pub fn ask(&self) -> Ask<'a> {
        match self.plan {
            // A whole is not replaced by the part that one client asks for.
            Plan::Whole { reserve: Some(held) } if is_whole(held) => Ask::Whole,
            Plan::Whole { .. } | Plan::Slice(_) | Plan::Complete { .. } => Ask::for_miss(self.request),
            Plan::Validate { held, validators } if is_whole(held) => Ask::Validate(validators),
            Plan::Validate { validators, .. } => Ask::ValidatePart(validators),
            Plan::Head { .. } => Ask::AsSent,
        }
    }

    /// The response that may be served instead of a failure.
    #[must_use]
    pub fn stand_in(&self, failure: Failure) -> Option<StandIn> {
        let held = self.plan.held().filter(|_| self.held == Held::Usable)?;
        StandIn::of(failure, &policy::after_failure(self.request, held, failure, self.rules, self.now))
    }

    /// No origin answered: what stands in.
    ///
    /// # Errors
    /// The error to tell if nothing may be served.
    pub fn of_failure(&self, failure: Failure) -> Result<StandIn, Failed> {
        let held = self.plan.held();
        let must = held.is_some_and(|entry| entry.lifetime.stale == WhenStale::MustRevalidate);
        self.stand_in(failure).ok_or(if must { Failed::MustValidate } else { Failed::Unanswered })
    }

    /// An origin answered, to what [`Question::ask`] asks.
    #[must_use]
    pub fn of_answer(&self, answered: &Answered<'_>) -> Told {
        let status = answered.head.status;
        if let Some(stand_in) = Failure::of(status).and_then(|failure| self.stand_in(failure)) {
            return Told::StandIn(stand_in);
        }
        match self.plan {
            Plan::Head { .. } => Told::Received(Received::ForOne(ForOne::Head)),
            Plan::Validate { held, .. } if status == StatusCode::NOT_MODIFIED => {
                self.confirmed(held, answered)
            }
            _ => Told::Received(self.of_response(answered)),
        }
    }

    /// A 304 to our own conditions (RFC 9111 §4.3.4).
    fn confirmed(&self, held: &Entry, answered: &Answered<'_>) -> Told {
        let Answered { head, asked, received, .. } = *answered;
        match policy::freshen(self.request, held, head, asked, self.rules, received) {
            Freshened::Keep(entry) => Told::Freshened(Box::new(entry)),
            Freshened::ServeOnce(entry, why) => Told::Once(Box::new(entry), why),
            Freshened::Mismatch => Told::Mismatch,
        }
    }

    /// A response to what the client asked.
    #[must_use]
    pub fn of_response(&self, answered: &Answered<'_>) -> Received {
        match admitted(self.request, self.rules, self.max_object_bytes, answered) {
            Ok(lifetime) => Received::Fill(lifetime),
            Err(why) if Failure::of(answered.head.status).is_some() && !why.is_of_request() => {
                Received::ForOne(ForOne::Error(why))
            }
            Err(why) => Received::ForOne(ForOne::Unstored(why)),
        }
    }
}

/// Whether a response may be stored.
///
/// # Errors
/// Why not.
pub fn admitted(
    request: &RequestHead,
    rules: &Rules,
    max_object_bytes: u64,
    answered: &Answered<'_>,
) -> Result<Lifetime, Why> {
    let Answered { head, length, worse_than_stored, was_too_big, asked, received } = *answered;
    let is_part = head.status == StatusCode::PARTIAL_CONTENT;
    match policy::admit(request, head, asked, rules, received) {
        Admit::Leave(why) => Err(Why::Unstorable(why)),
        Admit::Keep(_) if worse_than_stored => Err(Why::Unstorable(Unstorable::WorseThanStored)),
        Admit::Keep(_) if length > Some(max_object_bytes) => Err(Why::TooBig),
        Admit::Keep(_) if length.is_none() && was_too_big && !is_part => Err(Why::WasTooBig),
        Admit::Keep(lifetime) => Ok(lifetime),
    }
}

fn is_whole(entry: &Entry) -> bool {
    matches!(entry.content, Content::Whole { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{at, get, response};
    use crate::policy::testing::{stored, stored_response};

    #[test]
    fn a_whole_that_is_held_is_asked_for_whole_and_a_part_by_its_range() {
        let request = get(&[("range", "bytes=5-9")]);
        let whole = stored(&[("etag", "\"a\"")]);
        let part = response(206, &[("content-range", "bytes 0-4/100"), ("etag", "\"a\"")]);
        let part = stored_response(&get(&[]), &part, 5);
        let (rules, miss) = (Rules::default(), Ask::for_miss(&request));
        let ask = |reserve| {
            let plan = Plan::Whole { reserve };
            let (max_object_bytes, held, now) = (1 << 20, Held::Usable, at(1001));
            let question =
                Question { request: &request, plan: &plan, rules: &rules, max_object_bytes, held, now };
            format!("{:?}", question.ask())
        };
        assert_ne!(format!("{:?}", Ask::Whole), format!("{miss:?}"));
        assert_eq!(ask(Some(&whole)), format!("{:?}", Ask::Whole));
        assert_eq!(ask(Some(&part)), format!("{miss:?}"));
        assert_eq!(ask(None), format!("{miss:?}"));
    }
}
