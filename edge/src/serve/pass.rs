//! Requests that are sent on as they are, past the cache.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::answer::{self, Answer};
use super::behind;
use super::exchange::Exchange;
use super::fetch;
use super::gathered::gathered;
use super::passed::{head_of, passed};
use crate::cache::Cache;
use crate::course::Course;
use crate::decide::{Plan, Role};
use crate::flight::{self, Unsaid};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::path;
use crate::origin::{Answered, Gathered, RequestBody, Retry};
use crate::policy::headers::origin::{Ask, CLIENT_CERT, Undeliverable, fields};
use crate::policy::{self, Admit, DESTINATION, Forward};
use crate::store::{Mode, Scope, Ticket};

/// Sends the request on as it is. Only a POST's response may be stored.
pub(super) async fn pass(
    cache: &Arc<Cache>,
    exchange: &Exchange<'_>,
    upload: RequestBody,
    why: Forward,
) -> Answer {
    let buffer_bytes = exchange.site.site.buffer_bytes;
    let upload = match gathered(cache, exchange, upload, buffer_bytes).await {
        Ok(Gathered::Whole(upload) | Gathered::Coming(upload)) => upload,
        Err(answer) => return *answer,
    };
    let asked = match as_sent(cache, exchange, upload) {
        Ok(asked) => asked,
        Err(why) => return answer::undeliverable(cache, why),
    };
    let ticket = cache.store.begin();
    match exchange.site.send(&exchange.request, asked, Retry::Another).await {
        Err(unanswered) => answer::failed(cache, unanswered, Role::Leader, why),
        Ok(answered) => {
            let head = head_of(&answered);
            let superseding = invalidate(cache, exchange, &answered, &head, &ticket);
            behind::invalidate(cache, exchange, &head, || changed(exchange, &head)).await;
            match superseding {
                Some(ticket) if !cache.has_left() && is_kept(exchange, &answered, &head) => {
                    keep(cache, exchange, answered, ticket, why).await
                }
                _ => passed(cache, exchange, answered, why, None),
            }
        }
    }
}

/// The client's own request, for the origin.
pub(super) fn as_sent(
    cache: &Cache,
    exchange: &Exchange<'_>,
    upload: RequestBody,
) -> Result<Request<RequestBody>, Undeliverable> {
    let Exchange { request, site, .. } = exchange;
    let mut headers = fields(request, &Ask::AsSent, &exchange.hop(cache))?;
    if let Some(identity) = exchange.transport.identity() {
        // RFC 9440 §2.4: what a client sends under this name is withheld.
        headers.insert(CLIENT_CERT, identity.field());
    }
    let (method, upload) = match &exchange.content {
        None => (request.method.clone(), upload),
        Some(content) => (flight::query(), content.clone().map_or(RequestBody::Empty, RequestBody::held)),
    };
    let mut asked = Request::new(upload);
    *asked.method_mut() = method;
    *asked.uri_mut() = site.site.target(&request.uri).into();
    *asked.headers_mut() = headers;
    site.site.tell_prefix(&request.uri, asked.headers_mut());
    at_origin(cache, exchange, asked.headers_mut());
    asked.extensions_mut().insert(exchange.course.get_or_init(Course::default).clone());
    if exchange.bypassed.is_some() && site.site.rules.bypass.of(request).is_none() {
        asked.extensions_mut().insert(Unsaid);
    }
    exchange.transport.interim().attach(&mut asked);
    Ok(asked)
}

/// Where the route asks its origin for other paths than clients do, the `Destination` of a MOVE or COPY (RFC 4918 §10.3) is such a
/// path, too. One on another server, or in a part of the site with other origins, stays as it came: the origin refuses it.
fn at_origin(cache: &Cache, exchange: &Exchange<'_>, headers: &mut HeaderMap) {
    let (request, site) = (&exchange.request, &exchange.site);
    if !matches!(request.method.as_str(), "MOVE" | "COPY") {
        return;
    }
    let Some(named) = policy::destination(request) else { return };
    let is_whole = headers.get(DESTINATION).is_some_and(|named| !named.as_bytes().starts_with(b"/"));
    let Some((_, part)) = cache.key_of(&RequestHead { uri: named.clone(), ..request.clone() }) else {
        return;
    };
    let is_moved = part.site.route.as_ref().is_some_and(|route| route.origin_path().is_some());
    if !is_moved || !part.origins.are_of(&site.site) {
        return;
    }
    let target = part.site.target(&named);
    let there = match (is_whole, named.scheme_str(), named.authority()) {
        (true, Some(scheme), Some(authority)) => format!("{scheme}://{authority}{target}"),
        _ => target.to_string(),
    };
    if let Ok(there) = HeaderValue::try_from(there) {
        headers.insert(DESTINATION, there);
    }
}

/// Drops what an unsafe request has made wrong (RFC 9111 §4.4). The ticket by which its own response may take the place
/// of what was stored under its key, if it had any business there.
pub(super) fn invalidate(
    cache: &Cache,
    exchange: &Exchange<'_>,
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
        false => cache.store.supersede(ticket, &own, key, &site.site.name, &head.headers, now),
    };
    // Another route of the site may make its keys of other parts.
    let urls = changed(exchange, head).into_iter();
    let keys = urls.filter_map(|uri| cache.key_of(&RequestHead { uri: cache.bare(uri), ..request.clone() }));
    for (other, part) in keys.filter(|(other, _)| other != key) {
        cache.store.purge(&Scope::of(other, &part.site.key), Mode::Hard, now);
    }
    for tag in policy::invalidated_groups(request, head) {
        cache.store.purge(&Scope::Tag { tag, site: Some(site.site.name.clone()) }, Mode::Hard, now);
    }
    superseding
}

/// The URLs that an unsafe request has changed, each as the origin names it and as clients do.
pub(super) fn changed(exchange: &Exchange<'_>, head: &ResponseHead) -> Vec<Uri> {
    let uris = policy::invalidates(&exchange.request, head);
    let named: Vec<Uri> = uris.iter().filter_map(|uri| as_clients_ask(exchange, uri)).collect();
    uris.into_iter().chain(named).collect()
}

/// The URL by which clients ask for what the origin of a route names by its own path.
fn as_clients_ask(exchange: &Exchange<'_>, named: &Uri) -> Option<Uri> {
    let route = exchange.site.site.route.as_ref()?;
    let asked = path::normal(exchange.request.uri.path());
    let target = route.at_client(&asked, named.path_and_query()?.as_str())?;
    let mut parts = named.clone().into_parts();
    parts.path_and_query = target.parse().ok();
    Uri::from_parts(parts).ok()
}

/// RFC 9110 §9.3.3: a POST's response may stand for a later GET.
fn is_kept(exchange: &Exchange<'_>, answered: &Answered, head: &ResponseHead) -> bool {
    let Exchange { request, site, .. } = exchange;
    let rules = &site.site.rules;
    let admitted = || policy::admit(request, head, answered.asked, rules, answered.received);
    let is_for_all = exchange.transport.identity().is_none();
    let is_for_all = is_for_all && exchange.bypassed.is_none();
    request.method == Method::POST && is_for_all && matches!(admitted(), Admit::Keep(_))
}

async fn keep(
    cache: &Arc<Cache>,
    exchange: &Exchange<'_>,
    answered: Answered,
    ticket: Ticket,
    why: Forward,
) -> Answer {
    let fetch = fetch::fetch_of(cache, exchange, Plan::Whole { reserve: None });
    let part = cache.flights.adopt(fetch, answered, ticket).await;
    fetch::of_own(cache, exchange, part, why)
}
