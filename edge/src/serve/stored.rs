//! Answers from something stored, or being stored.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};

use super::answer::{Answer, whose};
use super::body::{Body, Rest};
use super::coding;
use super::dictionary;
use super::exchange::Exchange;
use crate::cache::Cache;
use crate::decide::{Role, StandIn};
use crate::flight::log::Unkept;
use crate::flight::{Cut, Elsewhere, Filling, Reader};
use crate::http::head::ResponseHead;
use crate::http::range::{Multipart, Part};
use crate::metrics::Outcome;
use crate::policy::headers::client;
use crate::policy::headers::status::{CacheStatus, Kept, Verdict};
use crate::policy::{self, Content, Entry, Forward, Freshness, Selection};
use crate::store::Object;

/// An answer from a stored object: all of it, or what the client's conditions and ranges leave of it.
pub(super) fn answer(
    cache: &Cache,
    exchange: &Exchange<'_>,
    object: &Arc<Object>,
    verdict: Verdict,
    freshness: Freshness,
    outcome: Outcome,
) -> Answer {
    let selection = policy::select(&coding::asked(exchange, &object.entry), &object.entry);
    let why = why(&verdict);
    object.hits.add();
    let status = CacheStatus { verdict, detail: None, key: None };
    let mut head = client::reused(&object.entry, &selection, &freshness, &cache.name, &status);
    let body = match &selection {
        Selection::NotModified | Selection::Unsatisfiable { .. } => Body::empty(),
        Selection::Whole => Body::stored(Arc::clone(object), &exchange.site.metrics),
        Selection::Partial(parts) => match parts.as_slice() {
            [part] => Body::part(Arc::clone(object), part, &exchange.site.metrics),
            parts => several(exchange, object, parts, &mut head),
        },
    };
    let body = match object.body.file() {
        Some(file) => body.or_from(rest(cache, exchange, &object.entry, file.bytes())),
        None => body,
    };
    let answer = Answer { head, body, outcome, why, freshness: Some(freshness) };
    dictionary::announced(cache, exchange, object, coding::of_stored(exchange, &object.entry.head, answer))
}

/// RFC 9110 §14.6: several ranges in one body.
fn several(exchange: &Exchange<'_>, object: &Arc<Object>, parts: &[Part], head: &mut ResponseHead) -> Body {
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let plan = Multipart::new(parts, content_type, rand::random());
    head.headers.insert(header::CONTENT_TYPE, plan.content_type());
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(plan.length()));
    Body::parts(Arc::clone(object), plan, &exchange.site.metrics)
}

/// An answer from an object that is being stored.
pub(super) fn streamed(
    cache: &Cache,
    exchange: &Exchange<'_>,
    filling: &Filling,
    reader: Reader,
    role: Role,
    why: Forward,
) -> Answer {
    let selection = match (role, filling.cut, filling.entry.content) {
        // A 206 to its own request is what it asked for, as it came.
        (Role::Leader, Cut::AsItCame, Content::Part(_)) => {
            match policy::select(&exchange.request, &filling.entry) {
                Selection::NotModified => Selection::NotModified,
                _ => Selection::Whole,
            }
        }
        _ => one_after_another(policy::select(&coding::asked(exchange, &filling.entry), &filling.entry)),
    };
    let freshness = filling.entry.freshness(cache.clock.now());
    let unkept = reader.unkept();
    let verdict = Verdict::Forwarded {
        why,
        status: Some(filling.response.status),
        // As far as that is decided: of a length that is not known it may turn out later.
        kept: if unkept.is_some() { Kept::NotStored } else { Kept::Stored },
        fetch: whose(role),
        freshness: Some(freshness),
    };
    let why = why.as_str();
    let status = CacheStatus { verdict, detail: unkept.map(Unkept::as_str), key: None };
    let head = match (role, &selection) {
        // The part of the head that must not be stored still belongs to the request that caused it.
        (Role::Leader, Selection::Whole) => {
            let received = filling.entry.received;
            client::passed(filling.response.clone(), &cache.name, filling.version, &status, received)
        }
        _ => client::reused(&filling.entry, &selection, &freshness, &cache.name, &status),
    };
    let body = match &selection {
        Selection::NotModified | Selection::Unsatisfiable { .. } => Body::empty(),
        Selection::Whole => Body::filling(reader, 0, filling.length, &exchange.site.metrics),
        Selection::Partial(parts) => {
            let part = parts.first().expect("select() gives at least one part");
            let first = filling.entry.offset_in_body(part);
            Body::filling(reader, first, Some(part.length()), &exchange.site.metrics)
        }
    };
    let body = match filling.length.filter(|length| cache.store.is_large(*length)) {
        Some(length) => body.or_from(rest(cache, exchange, &filling.entry, length)),
        None => body,
    };
    let outcome = if role == Role::Leader { Outcome::Miss } else { Outcome::Collapsed };
    let answer = Answer { head, body, outcome, why, freshness: Some(freshness) };
    let answer = coding::of_stored(exchange, &filling.entry.head, answer);
    if unkept.is_some() { answer } else { dictionary::announced_ahead(exchange, filling, answer) }
}

/// Where the rest of a whole response of so many bytes is to be had, should its file not be readable.
fn rest(cache: &Cache, exchange: &Exchange<'_>, entry: &Entry, length: u64) -> Option<Rest> {
    let is_plain = exchange.request.method == Method::GET && exchange.content.is_none();
    let is_whole = matches!(entry.content, Content::Whole { .. });
    let has_tag = policy::strong_tag(&entry.head.headers).is_some();
    (is_plain && is_whole && has_tag).then(|| {
        let of = Elsewhere {
            site: Arc::clone(&exchange.site),
            request: exchange.request.clone(),
            client: exchange.peer.client,
            version: exchange.version,
            entry: entry.clone(),
            length,
        };
        Rest { flights: Arc::clone(&cache.flights), of: Arc::new(of) }
    })
}

/// From what is stored, because the origin failed.
pub(super) fn stood_in(
    cache: &Cache,
    exchange: &Exchange<'_>,
    object: &Arc<Object>,
    StandIn { failure, freshness, staleness }: StandIn,
    role: Role,
    why: Forward,
) -> Answer {
    let verdict =
        Verdict::Bridged { why, status: failure.status(), fetch: whose(role), freshness, staleness };
    answer(cache, exchange, object, verdict, freshness, Outcome::Stale)
}

/// From what is stored, which the origin confirmed.
pub(super) fn validated(
    cache: &Cache,
    exchange: &Exchange<'_>,
    object: &Arc<Object>,
    role: Role,
    kept: Kept,
    why: Forward,
) -> Answer {
    let freshness = object.entry.freshness(cache.clock.now());
    let outcome = match role {
        Role::Leader => Outcome::Revalidated,
        Role::Follower => Outcome::Collapsed,
    };
    let status = Some(StatusCode::NOT_MODIFIED);
    let verdict = Verdict::Forwarded { why, status, kept, fetch: whose(role), freshness: Some(freshness) };
    answer(cache, exchange, object, verdict, freshness, outcome)
}

/// RFC 9110 §14.2: a server may ignore Range; while it fills, a response is not cut in several parts.
fn one_after_another(selection: Selection) -> Selection {
    match selection {
        Selection::Partial(parts) if parts.len() != 1 => Selection::Whole,
        other => other,
    }
}

/// The reason for such an answer, in a word.
pub(super) fn why(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Hit(_) => "fresh",
        Verdict::HitStale(_, why) | Verdict::Bridged { staleness: Some(why), .. } => why.as_str(),
        Verdict::Forwarded { why, .. } | Verdict::Bridged { why, .. } => why.as_str(),
        Verdict::Local => "local",
    }
}
