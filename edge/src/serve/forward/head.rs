//! A HEAD that goes to the origin as one, and what its answer says of what is stored (RFC 9111 §4.3.5).

use std::sync::Arc;

use http::{HeaderMap, Method, header};

use super::super::answer::Answer;
use super::super::handler::{Edge, Exchange};
use crate::flight::{Role, StandIn};
use crate::http::head::{RequestHead, ResponseHead};
use crate::origin::{Answered, RequestBody, Retry, Unanswered};
use crate::policy::freshness::WhenStale;
use crate::policy::{self, Admit, Failure, Forward, HeadEffect, encoding};
use crate::store::{Mode, Object, Ticket};

/// Asks the origin. If that fails, `held` may stand in, as for a GET.
pub(in crate::serve) async fn head(
    edge: &Arc<Edge>,
    exchange: &Exchange,
    held: Option<&Arc<Object>>,
    why: Forward,
) -> Answer {
    let asked = match super::as_sent(edge, exchange, RequestBody::Empty) {
        Ok(asked) => asked,
        Err(why) => return super::undeliverable(edge, why),
    };
    let ticket = edge.store.begin();
    let stand_in = |failure| instead(edge, exchange, held?, &ticket, failure);
    // As in a GET's flight: what costs the origins nothing comes before another try.
    let retry = if stand_in(Failure::Unreachable).is_some() { Retry::Never } else { Retry::Another };
    let answered = exchange.site.origins.send(asked, retry).await;
    let failure = match &answered {
        Ok(answered) => Failure::of(answered.response.status()),
        Err(unanswered) => Some(unanswered.failure),
    };
    if failure.is_some() {
        edge.flights.mark_failing(&exchange.key);
    }
    if let Some((object, stand_in)) = failure.and_then(stand_in) {
        return super::stood_in(edge, exchange, object, stand_in, Role::Leader, why);
    }
    match answered {
        Err(unanswered) => lost(edge, unanswered, held, why),
        Ok(answered) => {
            learn(edge, exchange, &answered, &ticket);
            super::passed(edge, as_for_a_get(exchange, answered), why, None)
        }
    }
}

/// What may be served instead of a failure; never something that a purge has covered meanwhile.
fn instead<'a>(
    edge: &Edge,
    exchange: &Exchange,
    held: &'a Arc<Object>,
    ticket: &Ticket,
    failure: Failure,
) -> Option<(&'a Arc<Object>, StandIn)> {
    let Exchange { request, site, key, .. } = exchange;
    let headers = Some(&held.entry.head.headers);
    if edge.store.purged(ticket, key, site.index, headers) == Some(Mode::Hard) {
        return None;
    }
    let verdict = policy::after_failure(request, &held.entry, failure, &site.site.rules, edge.clock.now());
    StandIn::of(failure, &verdict).map(|stand_in| (held, stand_in))
}

fn lost(edge: &Edge, unanswered: Unanswered, held: Option<&Arc<Object>>, why: Forward) -> Answer {
    match held.map(|object| object.entry.lifetime.stale) {
        Some(WhenStale::MustRevalidate) => super::must_validate(edge, unanswered, Role::Leader, why),
        _ => super::failed(edge, unanswered, Role::Leader, why),
    }
}

/// What the answer says about what is stored.
fn learn(edge: &Edge, exchange: &Exchange, answered: &Answered, ticket: &Ticket) {
    let Exchange { request, site, key, .. } = exchange;
    let rules = &site.site.rules;
    for object in
        edge.store.get(key, site.index).iter().filter(|object| object.entry.selecting.matches(request))
    {
        let mut head = super::head_of(answered);
        encoding::confirmed(&object.entry.head.headers, &mut head, &site.site.compress);
        let (asked, received) = (answered.asked, answered.received);
        match policy::freshen_by_head(request, &object.entry, &head, asked, rules, received) {
            HeadEffect::Leave => {}
            HeadEffect::Invalidate => edge.store.forget(key, object),
            HeadEffect::Freshen(entry) => {
                let fresh = Object {
                    entry: *entry,
                    body: Arc::clone(&object.body),
                    site: site.index,
                    epoch: object.epoch.clone(),
                };
                edge.store.put(key, Arc::new(fresh), Some(object), ticket);
            }
        }
    }
}

/// RFC 9110 §9.3.2: the fields that a GET would have had, which may be encoded here.
fn as_for_a_get(exchange: &Exchange, mut answered: Answered) -> Answered {
    let (request, site) = (&exchange.request, &exchange.site.site);
    let mut head = super::head_of(&answered);
    encoding::mark(&mut head, &site.compress);
    let length = length(&head.headers);
    if let Some(coding) = encoding::chosen(&request.headers, &head, &site.compress, length)
        && is_kept(exchange, &answered, &head, length)
    {
        encoding::encoded(&mut head, coding);
    }
    *answered.response.headers_mut() = head.headers;
    answered
}

/// Only what is stored is encoded.
fn is_kept(exchange: &Exchange, answered: &Answered, head: &ResponseHead, length: Option<u64>) -> bool {
    let site = &exchange.site.site;
    let get = RequestHead { method: Method::GET, ..exchange.request.clone() };
    let admitted = policy::admit(&get, head, answered.asked, &site.rules, answered.received);
    matches!(admitted, Admit::Keep(_)) && length.is_none_or(|length| length <= site.max_object_bytes)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
