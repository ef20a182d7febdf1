//! Answers that an origin has a part in.

mod company;
mod head;
mod switch;

use std::sync::Arc;
use std::time::Duration;

use company::{Next, alike};
pub(super) use head::head;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

pub(super) use switch::switch;

use super::answer::Answer;
use super::body::Body;
use super::handler::{Edge, Exchange};
use super::held;
use crate::flight::{self, Company, Fetch, Own, Participation, Plan, Reader, Role, StandIn, Standing, Terms};
use crate::http::head::{RequestHead, ResponseHead};
use crate::metrics::Outcome;
use crate::origin::{Answered, Early, RequestBody, Retry, Unanswered};
use crate::policy::headers::client;
use crate::policy::headers::origin::{Ask, Hop, Undeliverable, deliverable, fields};
use crate::policy::headers::status::{self, CacheStatus, Kept, ProxyError, Verdict};
use crate::policy::validate::Validators;
use crate::policy::{self, Admit, Forward, Reuse};
use crate::site::key;
use crate::store::{Mode, Object, Scope, Ticket, Variants};

/// Fetches for this request and all that are like it.
pub(super) async fn fetch(
    edge: &Arc<Edge>,
    exchange: &Exchange,
    variants: &Variants,
    plan: Plan,
    why: Forward,
) -> Answer {
    if let Err(why) = deliverable(&exchange.request, &edge.name) {
        return undeliverable(edge, why);
    }
    let mut company = company::at_first(&exchange.request, variants, &plan);
    let mut terms = company::terms(&plan);
    let (mut fetch, mut why) = (fetch_of(edge, exchange, plan), why);
    let mut is_refused = false;
    loop {
        let next = match edge.flights.fetch(&fetch, &company, terms).await {
            None => Next::Again,
            Some(part) if !is_refused && company::is_for_its_leader(&part) => Next::Again,
            Some(part) => match share(edge, exchange, part, why) {
                Shared::Answer(answer) => return *answer,
                Shared::Not(next) => next,
            },
        };
        match next {
            // Who goes alone is not refused, so this ends.
            _ if is_refused => company = Company::Alone,
            Next::Alone => company = Company::Alone,
            Next::Again => {}
            Next::Look(other) => company = other,
            Next::Validate(reader) => {
                until_stored(edge, reader).await;
                terms = Terms::LikeSince;
                match anew(edge, exchange) {
                    Anew::Answer(answer) => return *answer,
                    Anew::Ask(plan, because) => (fetch.plan, why) = (plan, because),
                    Anew::AsBefore => {}
                }
            }
        }
        is_refused = true;
    }
}

/// Waits for what others fetched, so that it can be validated instead of being fetched again.
async fn until_stored(edge: &Edge, reader: Reader) {
    tokio::select! {
        biased;
        () = reader.settled() => {}
        () = edge.clock.timer(STORING_LIMIT) => {}
    }
}

/// Most pages have come in this time once their head has; who fetches more for himself loses no more.
const STORING_LIMIT: Duration = Duration::from_secs(1);

/// What to do by what is stored now.
enum Anew {
    Answer(Box<Answer>),
    Ask(Plan, Forward),
    AsBefore,
}

fn anew(edge: &Edge, exchange: &Exchange) -> Anew {
    let Exchange { request, site, key, .. } = exchange;
    let variants = edge.store.get(key, site.index);
    let held = |variant: usize| Arc::clone(&variants[variant]);
    match policy::reuse(request, &variants.entries(), &site.site.rules, edge.clock.now()) {
        Reuse::Fresh { variant, freshness } => {
            let verdict = Verdict::Hit(freshness);
            let answer = held::answer(edge, exchange, &held(variant), verdict, freshness, Outcome::Hit);
            Anew::Answer(answer.into())
        }
        Reuse::Revalidate { variant, validators, why, .. } => {
            Anew::Ask(Plan::Validate { object: held(variant), validators }, why)
        }
        _ => Anew::AsBefore,
    }
}

/// Whether a fetch answers a request that takes part in it.
enum Shared {
    Answer(Box<Answer>),
    Not(Next),
}

fn share(edge: &Arc<Edge>, exchange: &Exchange, part: Participation, why: Forward) -> Shared {
    let Participation { verdict, reader, role, standing } = part;
    let leads = role == Role::Leader;
    let answer = match verdict {
        flight::Verdict::Filling(filling) => {
            match fit(edge, exchange, &filling.entry, standing) {
                _ if leads => {}
                Fit::Answers => {}
                Fit::Validated => return Shared::Not(Next::Validate(reader)),
                Fit::Not => return Shared::Not(company::of_variant(&exchange.request, &filling)),
            }
            let freshness = filling.entry.freshness(edge.clock.now());
            let status = Some(filling.response.status);
            let fetch = whose(role);
            let verdict =
                Verdict::Forwarded { why, status, kept: kept(&reader), fetch, freshness: Some(freshness) };
            held::streamed(edge, exchange, &filling, reader, role, verdict)
        }
        flight::Verdict::Validated(object) => {
            match fit(edge, exchange, &object.entry, standing) {
                _ if leads => {}
                Fit::Answers => {}
                Fit::Validated => return Shared::Not(Next::Validate(reader)),
                Fit::Not => return Shared::Not(Next::Alone),
            }
            let answer = validated(edge, exchange, &object, role, Kept::Stored, why);
            match leads.then(|| reader.own()).flatten() {
                Some(Own::Fields(fields)) => with_fields(answer, &fields),
                _ => answer,
            }
        }
        flight::Verdict::Stale(object, stand_in) => {
            if !leads && !is_for(edge, exchange, &object.entry, stand_in) {
                return Shared::Not(Next::Alone);
            }
            stood_in(edge, exchange, &object, stand_in, role, why)
        }
        // Only the leader may take it: it is there once.
        flight::Verdict::Apart if !leads => return Shared::Not(Next::Alone),
        flight::Verdict::Error(status) if !leads => erred(edge, status, why),
        flight::Verdict::Apart | flight::Verdict::Error(_) => match reader.own() {
            Some(Own::Response(answered, unstored)) => {
                selected(edge, exchange, answered, why, unstored.as_str())
            }
            Some(Own::Once(object, fields)) => {
                with_fields(validated(edge, exchange, &object, role, Kept::NotStored, why), &fields)
            }
            Some(Own::Fields(_)) | None => return Shared::Not(Next::Alone),
        },
        flight::Verdict::Failed(unanswered) => failed(edge, unanswered, role, why),
        flight::Verdict::MustValidate(unanswered) => must_validate(edge, unanswered, role, why),
        flight::Verdict::Undeliverable(why) if leads => undeliverable(edge, why),
        flight::Verdict::Undeliverable(_) => return Shared::Not(Next::Alone),
    };
    Shared::Answer(Box::new(answer))
}

/// Whether what is being read is kept, as far as that is decided: of a length that is not known it may turn out later.
fn kept(reader: &Reader) -> Kept {
    if reader.unkept().is_some() { Kept::NotStored } else { Kept::Stored }
}

/// Whether what another request fetched answers this one.
enum Fit {
    Answers,
    /// Not without validation.
    Validated,
    Not,
}

fn fit(edge: &Edge, exchange: &Exchange, entry: &policy::Entry, standing: Standing) -> Fit {
    let verdict = reuse(edge, exchange, entry);
    match verdict {
        Reuse::Fresh { .. } => Fit::Answers,
        _ if !is_chosen(&verdict) => Fit::Not,
        _ if standing == Standing::AsOwn => Fit::Answers,
        _ => Fit::Validated,
    }
}

fn reuse(edge: &Edge, exchange: &Exchange, entry: &policy::Entry) -> Reuse {
    policy::reuse(&exchange.request, &[entry], &exchange.site.site.rules, edge.clock.now())
}

/// Whether the request's own fetch could have ended with the one entry that this is about.
fn is_chosen(verdict: &Reuse) -> bool {
    match verdict {
        Reuse::Fresh { .. } | Reuse::Stale { .. } | Reuse::Revalidate { .. } => true,
        Reuse::Fetch { reserve, .. } => reserve.is_some(),
        Reuse::Complete { .. } | Reuse::Slice(_) | Reuse::Pass(_) | Reuse::Refuse(..) => false,
    }
}

/// Whether this request's own fetch, had it failed so, could have ended with this entry.
fn is_for(edge: &Edge, exchange: &Exchange, entry: &policy::Entry, StandIn { failure, .. }: StandIn) -> bool {
    let (request, rules, now) = (&exchange.request, &exchange.site.site.rules, edge.clock.now());
    is_chosen(&reuse(edge, exchange, entry))
        && StandIn::of(failure, &policy::after_failure(request, entry, failure, rules, now)).is_some()
}

/// From what is stored, because the origin failed.
fn stood_in(
    edge: &Edge,
    exchange: &Exchange,
    object: &Arc<Object>,
    StandIn { failure, freshness, staleness }: StandIn,
    role: Role,
    why: Forward,
) -> Answer {
    let verdict =
        Verdict::Bridged { why, status: failure.status(), fetch: whose(role), freshness, staleness };
    held::answer(edge, exchange, object, verdict, freshness, Outcome::Stale)
}

/// With fields that are for this client, in the place of those that are for all.
fn with_fields(mut answer: Answer, fields: &HeaderMap) -> Answer {
    for name in fields.keys() {
        answer.head.headers.remove(name);
        for value in fields.get_all(name) {
            answer.head.headers.append(name, value.clone());
        }
    }
    answer
}

fn validated(
    edge: &Edge,
    exchange: &Exchange,
    object: &Arc<Object>,
    role: Role,
    kept: Kept,
    why: Forward,
) -> Answer {
    let freshness = object.entry.freshness(edge.clock.now());
    let outcome = match role {
        Role::Leader => Outcome::Revalidated,
        Role::Follower => Outcome::Collapsed,
    };
    let status = Some(StatusCode::NOT_MODIFIED);
    let verdict = Verdict::Forwarded { why, status, kept, fetch: whose(role), freshness: Some(freshness) };
    held::answer(edge, exchange, object, verdict, freshness, outcome)
}

fn whose(role: Role) -> status::Fetch {
    match role {
        Role::Leader => status::Fetch::Own,
        Role::Follower => status::Fetch::Joined,
    }
}

/// Asks the origin behind a stale answer's back, unless somebody already does.
pub(super) fn refresh(edge: &Arc<Edge>, exchange: &Exchange, object: &Arc<Object>) {
    let validators = Validators::of(&object.entry.head.headers);
    let request = policy::refresh(&exchange.request, &object.entry);
    let company = alike(&request, &object.entry.head);
    let object = Arc::clone(object);
    let plan = if validators.is_empty() {
        Plan::Whole { reserve: Some(object) }
    } else {
        Plan::Validate { object, validators }
    };
    let fetch = fetch_of(edge, exchange, plan);
    edge.flights.refresh(Fetch { request, ..fetch }, &company);
}

fn fetch_of(edge: &Edge, exchange: &Exchange, plan: Plan) -> Fetch {
    Fetch {
        site: Arc::clone(&exchange.site),
        key: exchange.key.clone(),
        request: exchange.request.clone(),
        cause: edge.flights.arrived(&exchange.request.headers),
        client: exchange.peer.client,
        version: exchange.version,
        early: Some(early(exchange)),
        plan,
    }
}

/// RFC 9110 §15.2: a proxy forwards 1xx heads, to the client whose request they answer.
fn early(exchange: &Exchange) -> Early {
    let interim = exchange.interim.open();
    Early::new(move |status, fields| {
        // A hint that comes too late is none.
        let _ = interim.send(status, fields);
    })
}

/// Sends the request on as it is. Only a POST's response may be stored.
pub(super) async fn pass(edge: &Arc<Edge>, exchange: &Exchange, upload: RequestBody, why: Forward) -> Answer {
    let asked = match as_sent(edge, exchange, upload) {
        Ok(asked) => asked,
        Err(why) => return undeliverable(edge, why),
    };
    let ticket = edge.store.begin();
    match exchange.site.origins.send(asked, Retry::Another).await {
        Err(unanswered) => failed(edge, unanswered, Role::Leader, why),
        Ok(answered) => {
            let head = head_of(&answered);
            let superseding = invalidate(edge, exchange, &answered, &head, &ticket);
            match superseding {
                Some(ticket) if is_kept(exchange, &answered, &head) => {
                    keep(edge, exchange, answered, ticket, why).await
                }
                _ => passed(edge, answered, why, None),
            }
        }
    }
}

/// The client's own request, for the origin.
fn as_sent(
    edge: &Edge,
    exchange: &Exchange,
    upload: RequestBody,
) -> Result<Request<RequestBody>, Undeliverable> {
    let Exchange { request, version, peer, .. } = exchange;
    let hop = Hop { name: &edge.name, client: peer.client, version: *version };
    let headers = fields(request, &Ask::AsSent, &hop)?;
    let mut asked = Request::new(upload);
    *asked.method_mut() = request.method.clone();
    *asked.uri_mut() = key::target(&request.uri).into();
    *asked.headers_mut() = headers;
    early(exchange).attach(&mut asked);
    Ok(asked)
}

/// Drops what an unsafe request has made wrong (RFC 9111 §4.4). The ticket by which its own response may take the place
/// of what was stored under its key, if it had any business there.
fn invalidate(
    edge: &Edge,
    exchange: &Exchange,
    answered: &Answered,
    head: &ResponseHead,
    ticket: &Ticket,
) -> Option<Ticket> {
    let Exchange { request, site, key, .. } = exchange;
    let (rules, now) = (&site.site.key, answered.received);
    let uris = policy::invalidates(request, head);
    let own = Scope::of(key.clone(), rules);
    let superseding = match uris.is_empty() {
        true => None,
        false => edge.store.supersede(ticket, &own, key, site.index, &head.headers, now),
    };
    let about = |uri| key::key(&RequestHead { uri, ..request.clone() }, rules);
    for other in uris.into_iter().map(about).filter(|other| other != key) {
        edge.store.purge(&Scope::of(other, rules), Mode::Hard, now);
    }
    superseding
}

/// RFC 9110 §9.3.3: a POST's response may stand for a later GET.
fn is_kept(exchange: &Exchange, answered: &Answered, head: &ResponseHead) -> bool {
    let Exchange { request, site, .. } = exchange;
    let rules = &site.site.rules;
    let admitted = || policy::admit(request, head, answered.asked, rules, answered.received);
    request.method == Method::POST && matches!(admitted(), Admit::Keep(_))
}

async fn keep(
    edge: &Arc<Edge>,
    exchange: &Exchange,
    answered: Answered,
    ticket: Ticket,
    why: Forward,
) -> Answer {
    let fetch = fetch_of(edge, exchange, Plan::Whole { reserve: None });
    let part = edge.flights.adopt(fetch, answered, ticket).await;
    match share(edge, exchange, part, why) {
        Shared::Answer(answer) => *answer,
        // Its task broke down: the response went with it.
        Shared::Not(_) => failed(edge, flight::INTERRUPTED, Role::Leader, why),
    }
}

fn head_of(answered: &Answered) -> ResponseHead {
    ResponseHead { status: answered.response.status(), headers: answered.response.headers().clone() }
}

/// The response to a fetch that was for the store, as the client's own conditions select it.
fn selected(
    edge: &Edge,
    exchange: &Exchange,
    answered: Answered,
    why: Forward,
    detail: &'static str,
) -> Answer {
    let head = head_of(&answered);
    let (request, received) = (&exchange.request, answered.received);
    let length = answered.response.body().size_hint().exact();
    let unmodified = policy::select::stands_for(request, &head, received);
    let all = policy::select::all_as_part(request, &head, length, received);
    let mut answer = passed(edge, answered, why, Some(detail));
    if unmodified {
        answer.head = client::unmodified(&answer.head);
        let unwanted = std::mem::replace(&mut answer.body, Body::empty());
        if length.is_some_and(|length| length <= READ_OUT_BYTES) {
            tokio::spawn(read_out(unwanted));
        }
    } else if let Some(part) = all {
        answer.head = client::all_as_part(&answer.head, part);
    }
    answer
}

/// To the end of a body that nobody wants, so that its connection serves again.
async fn read_out(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Reading more costs more than a new connection.
const READ_OUT_BYTES: u64 = 256 << 10;

fn passed(edge: &Edge, answered: Answered, why: Forward, detail: Option<&'static str>) -> Answer {
    let Answered { response, received, .. } = answered;
    let (parts, body) = response.into_parts();
    let status = Some(parts.status);
    let verdict =
        Verdict::Forwarded { why, status, kept: Kept::NotStored, fetch: status::Fetch::Own, freshness: None };
    let cache_status = CacheStatus { verdict, detail, key: None };
    let head = ResponseHead { status: parts.status, headers: parts.headers };
    let head = client::passed(&head, &edge.name, parts.version, &cache_status, received);
    let body = Body::origin(body, &edge.metrics);
    Answer { head, body, outcome: Outcome::Pass, why: detail.unwrap_or(why.as_str()), freshness: None }
}

fn failed(edge: &Edge, unanswered: Unanswered, role: Role, why: Forward) -> Answer {
    failed_as(edge, unanswered, unanswered.error.status(), role, why)
}

/// The origin answered the request that this one waited for with this error.
fn erred(edge: &Edge, status: StatusCode, why: Forward) -> Answer {
    let answer = Answer::plain(status, "the origin is in trouble", Outcome::Failed, "origin-error");
    let verdict = Verdict::Forwarded {
        why,
        status: Some(status),
        kept: Kept::NotStored,
        fetch: status::Fetch::Joined,
        freshness: None,
    };
    with_cache_status(edge, answer, verdict)
}

/// RFC 9111 §5.2.2.2: what must be revalidated and cannot be is a 504.
fn must_validate(edge: &Edge, unanswered: Unanswered, role: Role, why: Forward) -> Answer {
    failed_as(edge, unanswered, StatusCode::GATEWAY_TIMEOUT, role, why)
}

fn failed_as(edge: &Edge, unanswered: Unanswered, status: StatusCode, role: Role, why: Forward) -> Answer {
    let answer = Answer::unanswered(unanswered, status, &edge.name);
    let verdict =
        Verdict::Forwarded { why, status: None, kept: Kept::NotStored, fetch: whose(role), freshness: None };
    with_cache_status(edge, answer, verdict)
}

/// The request has been here before (RFC 8586).
fn undeliverable(edge: &Edge, why: Undeliverable) -> Answer {
    let sentence = "this request has passed through this edge before";
    let answer = Answer::plain(why.status(), sentence, Outcome::Refused, "loop");
    let answer = answer.with_proxy_status(ProxyError::ProxyLoopDetected, &edge.name);
    with_cache_status(edge, answer, Verdict::Local)
}

/// What policy answers by itself.
pub(super) fn refuse(edge: &Edge, status: StatusCode, why: Forward) -> Answer {
    let answer = Answer::plain(status, "nothing that may be used is stored", Outcome::Refused, why.as_str());
    with_cache_status(edge, answer, Verdict::Local)
}

fn with_cache_status(edge: &Edge, mut answer: Answer, verdict: Verdict) -> Answer {
    let status = CacheStatus { verdict, detail: None, key: None };
    if let Some(value) = status.field(&edge.name) {
        answer.head.headers.append(CacheStatus::NAME, value);
    }
    answer
}
