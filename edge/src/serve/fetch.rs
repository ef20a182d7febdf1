//! Answers that a fetch brings: the request takes part in one until one answers it. [`crate::decide::share`]
//! decides the next step.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::answer::{self, Answer};
use super::exchange::Exchange;
use super::{passed, stored};
use crate::cache::Cache;
use crate::decide::share::{self, Next, Round, Share, Waited};
use crate::decide::step::{self, Step};
use crate::decide::{Plan, Role, Terms};
use crate::flight::reasons::Reason;
use crate::flight::{self, Fetch, Missed, Own, Participation, Reader};
use crate::metrics::Outcome;
use crate::policy::headers::origin::deliverable;
use crate::policy::headers::status::{Kept, Verdict};
use crate::policy::{Forward, hints};
use crate::store::{Object, Variants};

/// Fetches for this request and all that are like it.
pub(super) async fn fetch(
    cache: &Arc<Cache>,
    exchange: &Exchange<'_>,
    mut seen: Variants,
    plan: flight::Plan,
    why: Forward,
) -> Answer {
    if let Err(why) = deliverable(&exchange.request, &exchange.hop(cache)) {
        return answer::undeliverable(cache, why);
    }
    let (mut fetch, mut why) = (fetch_of(cache, exchange, plan), why);
    hint(exchange, &fetch);
    let (mut company, mut terms) = {
        let plan = fetch.plan.of(|object| &object.entry);
        let newest = seen.first().map(|newest| &newest.entry);
        (share::at_first(&exchange.request, newest, &plan), share::terms(&plan, &fetch.cause))
    };
    let (mut round, mut looks) = (Round::First, 0);
    loop {
        let next = match cache.flights.fetch(&fetch, &company, terms, &seen).await {
            Err(missed) => {
                match anew(cache, exchange, &mut seen) {
                    Anew::Answer(answer) => return *answer,
                    Anew::Ask(plan, because) => (fetch.plan, why) = (plan, because),
                    Anew::AsBefore => {}
                }
                // Another variant was stored: nobody has refused this request yet.
                looks += 1;
                if missed == Missed::Ended && looks <= MOST_LOOKS {
                    continue;
                }
                Next::Again
            }
            Ok(part) => match take(cache, exchange, part, round, why) {
                Taken::Answer(answer) => return *answer,
                Taken::Validate(reader) => {
                    until_stored(cache, reader).await;
                    terms = Terms::LikeSince;
                    match anew(cache, exchange, &mut seen) {
                        Anew::Answer(answer) => return *answer,
                        Anew::Ask(plan, because) => (fetch.plan, why) = (plan, because),
                        Anew::AsBefore => {}
                    }
                    Next::Validate
                }
                Taken::Not(next) => next,
            },
        };
        company = share::company_after(round, &next, company);
        round = Round::Later;
    }
}

/// Tells the client what the page needs that it waits for, if that is known of the form that is stored.
fn hint(exchange: &Exchange<'_>, fetch: &Fetch) {
    let held = fetch.plan.held().filter(|_| exchange.site.site.early_hints);
    let hints = held.and_then(|held| hints::early(&exchange.request, &held.entry.head.headers));
    if let (Some(hints), Some(early)) = (hints, &fetch.early) {
        early.tell(StatusCode::EARLY_HINTS, &hints);
    }
}

/// Waits for what others fetched, so that it can be validated instead of being fetched again.
async fn until_stored(cache: &Cache, reader: Reader) {
    tokio::select! {
        biased;
        () = reader.settled() => {}
        () = cache.clock.timer(STORING_LIMIT) => {}
    }
}

/// So often a request looks at the store again because something was stored meanwhile; then it goes its own way.
const MOST_LOOKS: usize = 4;
/// Most bodies arrive within this time after their head. A request that waits longer fetches for itself.
const STORING_LIMIT: Duration = Duration::from_secs(1);

/// The next step by the store as it is now.
enum Anew {
    Answer(Box<Answer>),
    Ask(flight::Plan, Forward),
    AsBefore,
}

fn anew(cache: &Cache, exchange: &Exchange<'_>, seen: &mut Variants) -> Anew {
    let Exchange { request, site, key, .. } = exchange;
    *seen = cache.store.get(key, &site.site.name);
    let variants = &*seen;
    match step::step(request, &variants.entries(), &site.site.rules, cache.clock.now()) {
        Step::Serve { variant, freshness } => {
            let verdict = Verdict::Hit(freshness);
            let object = &variants[variant];
            Anew::Answer(stored::answer(cache, exchange, object, verdict, freshness, Outcome::Hit).into())
        }
        Step::Fetch { plan: plan @ Plan::Validate { .. }, why } => Anew::Ask(about(plan, variants), why),
        _ => Anew::AsBefore,
    }
}

/// The plan about the stored objects themselves.
pub(super) fn about(plan: Plan<usize>, variants: &Variants) -> flight::Plan {
    plan.map(|variant| Arc::<Object>::clone(&variants[variant]))
}

/// The result of a fetch for one request.
enum Taken {
    Answer(Box<Answer>),
    /// It is to be validated, once it is stored.
    Validate(Reader),
    Not(Next),
}

/// The answer that a fetch has for this request, if it has one.
fn take(
    cache: &Arc<Cache>,
    exchange: &Exchange<'_>,
    part: Participation,
    round: Round,
    why: Forward,
) -> Taken {
    let Participation { verdict, reader, role, standing, likeness } = part;
    let waited = Waited {
        request: &exchange.request,
        rules: &exchange.site.site.rules,
        now: cache.clock.now(),
        role,
        standing,
        likeness,
        round,
    };
    let share = match &verdict {
        flight::Verdict::Filling(filling) => waited.filling(&filling.response, &filling.entry),
        flight::Verdict::Validated(object) => waited.validated(&object.entry),
        flight::Verdict::Stale(object, stand_in) => waited.stood_in(&object.entry, stand_in.failure),
        flight::Verdict::Apart | flight::Verdict::Undeliverable(_) => waited.apart(),
        flight::Verdict::Error(_) => waited.error(),
        flight::Verdict::Failed(why) | flight::Verdict::MustValidate(why) => waited.unanswered(why.error),
    };
    match share {
        Share::Not(Next::Validate) => Taken::Validate(reader),
        Share::Not(next) => Taken::Not(next),
        Share::Answers => {
            let course = reader.course().clone();
            match answered(cache, exchange, verdict, reader, role, why) {
                Some(answer) => {
                    exchange.course.get_or_init(|| course);
                    Taken::Answer(answer.into())
                }
                None => Taken::Not(Next::Alone),
            }
        }
    }
}

/// The answer; none if somebody else has taken what there is once.
fn answered(
    cache: &Arc<Cache>,
    exchange: &Exchange<'_>,
    verdict: flight::Verdict,
    reader: Reader,
    role: Role,
    why: Forward,
) -> Option<Answer> {
    let leads = role == Role::Leader;
    Some(match verdict {
        flight::Verdict::Filling(filling) => stored::streamed(cache, exchange, &filling, reader, role, why),
        flight::Verdict::Validated(object) => {
            let answer = stored::validated(cache, exchange, &object, role, Kept::Stored, why);
            match leads.then(|| reader.own()).flatten() {
                Some(Own::Fields(fields)) => answer.with_fields(&fields),
                _ => answer,
            }
        }
        flight::Verdict::Stale(object, stand_in) => {
            stored::stood_in(cache, exchange, &object, stand_in, role, why)
        }
        flight::Verdict::Error(status) if !leads => answer::erred(cache, status, why),
        flight::Verdict::Apart | flight::Verdict::Error(_) => match reader.own()? {
            Own::Response(answered, unstored) => {
                let status = Some(answered.response.status());
                note(cache, exchange, unstored.as_str(), status);
                passed::selected(cache, exchange, answered, why, unstored.as_str())
            }
            Own::Head(answered) => passed::passed(cache, exchange, answered, why, None),
            Own::Once(object, fields) => {
                stored::validated(cache, exchange, &object, role, Kept::NotStored, why).with_fields(&fields)
            }
            Own::Fields(_) => return None,
        },
        flight::Verdict::Failed(unanswered) => {
            note(cache, exchange, unanswered.error.as_str(), None);
            answer::failed(cache, unanswered, role, why)
        }
        flight::Verdict::MustValidate(unanswered) => {
            note(cache, exchange, unanswered.error.as_str(), None);
            answer::must_validate(cache, unanswered, role, why)
        }
        flight::Verdict::Undeliverable(why) => answer::undeliverable(cache, why),
    })
}

/// Remembers why nothing is kept of what a request gets.
fn note(cache: &Cache, exchange: &Exchange<'_>, word: &'static str, status: Option<StatusCode>) {
    cache.flights.reasons.note(&exchange.key, Reason { word, status, at: cache.clock.now() });
}

/// Asks the origin behind a stale answer's back, unless somebody already does.
pub(super) fn refresh(cache: &Arc<Cache>, exchange: &Exchange<'_>, object: &Arc<Object>) {
    let (request, company, plan) = step::refresh(&exchange.request, &object.entry, Arc::clone(object));
    let fetch = fetch_of(cache, exchange, plan);
    cache.flights.refresh(Fetch { request: Arc::new(request), ..fetch }, &company);
}

pub(super) fn fetch_of(cache: &Cache, exchange: &Exchange<'_>, plan: flight::Plan) -> Fetch {
    Fetch {
        site: Arc::clone(&exchange.site),
        key: exchange.key.clone(),
        request: Arc::new(exchange.request.clone()),
        cause: cache.flights.arrived(&exchange.request.headers),
        client: exchange.peer.client,
        version: exchange.version,
        // RFC 9110 §15.2: a proxy forwards 1xx heads, to the client whose request they answer.
        early: Some(exchange.transport.interim()),
        plan,
        content: exchange.content.clone(),
    }
}

/// The answer to a request whose own response is being stored, as `part` tells.
pub(super) fn of_own(
    cache: &Arc<Cache>,
    exchange: &Exchange<'_>,
    part: Participation,
    why: Forward,
) -> Answer {
    match take(cache, exchange, part, Round::Later, why) {
        Taken::Answer(answer) => *answer,
        // Its task broke down: the response went with it.
        Taken::Validate(_) | Taken::Not(_) => answer::failed(cache, flight::INTERRUPTED, Role::Leader, why),
    }
}
