//! Answers from something stored, or being stored.

use std::sync::Arc;

use super::answer::Answer;
use super::body::Body;
use super::handler::{Edge, Exchange};
use crate::flight::{Filling, Reader, Role};
use crate::metrics::Outcome;
use crate::policy::headers::client;
use crate::policy::headers::status::{CacheStatus, Verdict};
use crate::policy::{self, Freshness, Selection};
use crate::store::Object;

/// An answer from a stored object: all of it, or what the client's conditions and ranges leave of it.
pub(super) fn answer(
    edge: &Edge,
    exchange: &Exchange,
    object: &Arc<Object>,
    verdict: Verdict,
    freshness: Freshness,
    outcome: Outcome,
) -> Answer {
    let selection = servable(policy::select(&exchange.request, &object.entry));
    let why = why(&verdict);
    let status = CacheStatus { verdict, detail: None, key: None };
    let head = client::reused(&object.entry, &selection, &freshness, &edge.name, &status);
    let send = |first, length| Body::stored(Arc::clone(object), first, length, &edge.metrics);
    let body = match span(&selection) {
        Span::Nothing => Body::empty(),
        Span::All => send(0, object.body_bytes()),
        Span::From { first, length } => send(first, length),
    };
    Answer { head, body, outcome, why, freshness: Some(freshness) }
}

/// An answer from an object that is being stored.
pub(super) fn streamed(
    edge: &Edge,
    exchange: &Exchange,
    filling: &Filling,
    reader: Reader,
    role: Role,
    verdict: Verdict,
) -> Answer {
    let selection = servable(policy::select(&exchange.request, &filling.entry));
    let freshness = filling.entry.freshness(edge.clock.now());
    let why = why(&verdict);
    let status = CacheStatus { verdict, detail: None, key: None };
    let head = match (role, &selection) {
        // What must not be stored of the head still belongs to the request that caused it.
        (Role::Leader, Selection::Whole) => {
            client::passed(&filling.response, &edge.name, http::Version::HTTP_11, &status, edge.clock.now())
        }
        _ => client::reused(&filling.entry, &selection, &freshness, &edge.name, &status),
    };
    let body = match span(&selection) {
        Span::Nothing => Body::empty(),
        Span::All => Body::filling(reader, 0, filling.length, &edge.metrics),
        Span::From { first, length } => Body::filling(reader, first, Some(length), &edge.metrics),
    };
    let outcome = if role == Role::Leader { Outcome::Miss } else { Outcome::Collapsed };
    Answer { head, body, outcome, why, freshness: Some(freshness) }
}

/// RFC 9110 §14.2: a server may ignore Range; several ranges are answered with the whole.
fn servable(selection: Selection) -> Selection {
    match selection {
        Selection::Partial(parts) if parts.len() != 1 => Selection::Whole,
        other => other,
    }
}

/// Which bytes of a body to send.
enum Span {
    Nothing,
    All,
    From { first: u64, length: u64 },
}

fn span(selection: &Selection) -> Span {
    match selection {
        Selection::Whole => Span::All,
        Selection::Partial(parts) => match parts.first() {
            Some(part) => Span::From { first: part.first, length: part.last - part.first + 1 },
            None => Span::Nothing,
        },
        Selection::NotModified | Selection::Unsatisfiable { .. } => Span::Nothing,
    }
}

fn why(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Hit(_) => "fresh",
        Verdict::HitStale(_, why) => why.as_str(),
        Verdict::Forwarded { why, .. } => why.as_str(),
        Verdict::Local => "local",
    }
}
