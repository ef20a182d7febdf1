//! Answers from something stored, or being stored.

use std::sync::Arc;

use http::{HeaderValue, header};

use super::answer::Answer;
use super::body::Body;
use super::handler::{Edge, Exchange};
use crate::flight::log::Unkept;
use crate::flight::{Cut, Filling, Reader, Role};
use crate::http::head::ResponseHead;
use crate::http::range::{Multipart, Part};
use crate::metrics::Outcome;
use crate::policy::headers::client;
use crate::policy::headers::status::{CacheStatus, Verdict};
use crate::policy::{self, Content, Freshness, Selection};
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
    let selection = policy::select(&exchange.request, &object.entry);
    let why = why(&verdict);
    let status = CacheStatus { verdict, detail: None, key: None };
    let mut head = client::reused(&object.entry, &selection, &freshness, &edge.name, &status);
    let body = match &selection {
        Selection::NotModified | Selection::Unsatisfiable { .. } => Body::empty(),
        Selection::Whole => Body::stored(Arc::clone(object), &edge.metrics),
        Selection::Partial(parts) => match parts.as_slice() {
            [part] => Body::part(Arc::clone(object), part, &edge.metrics),
            parts => several(edge, object, parts, &mut head),
        },
    };
    Answer { head, body, outcome, why, freshness: Some(freshness) }
}

/// RFC 9110 §14.6: several ranges in one body.
fn several(edge: &Edge, object: &Arc<Object>, parts: &[Part], head: &mut ResponseHead) -> Body {
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let plan = Multipart::new(parts, content_type, rand::random());
    head.headers.insert(header::CONTENT_TYPE, plan.content_type());
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(plan.length()));
    Body::parts(Arc::clone(object), plan, &edge.metrics)
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
    let selection = match (role, filling.cut, filling.entry.content) {
        // A 206 to its own request is what it asked for, as it came.
        (Role::Leader, Cut::AsItCame, Content::Part(_)) => {
            match policy::select(&exchange.request, &filling.entry) {
                Selection::NotModified => Selection::NotModified,
                _ => Selection::Whole,
            }
        }
        _ => one_after_another(policy::select(&exchange.request, &filling.entry)),
    };
    let freshness = filling.entry.freshness(edge.clock.now());
    let why = why(&verdict);
    let status = CacheStatus { verdict, detail: reader.unkept().map(Unkept::as_str), key: None };
    let head = match (role, &selection) {
        // What must not be stored of the head still belongs to the request that caused it.
        (Role::Leader, Selection::Whole) => {
            let received = filling.entry.received;
            client::passed(&filling.response, &edge.name, filling.version, &status, received)
        }
        _ => client::reused(&filling.entry, &selection, &freshness, &edge.name, &status),
    };
    let body = match &selection {
        Selection::NotModified | Selection::Unsatisfiable { .. } => Body::empty(),
        Selection::Whole => Body::filling(reader, 0, filling.length, &edge.metrics),
        Selection::Partial(parts) => {
            let part = parts.first().expect("select() gives at least one part");
            let first = filling.entry.offset_in_body(part);
            Body::filling(reader, first, Some(part.length()), &edge.metrics)
        }
    };
    let outcome = if role == Role::Leader { Outcome::Miss } else { Outcome::Collapsed };
    Answer { head, body, outcome, why, freshness: Some(freshness) }
}

/// RFC 9110 §14.2: a server may ignore Range; while it fills, a response is not cut in several parts.
fn one_after_another(selection: Selection) -> Selection {
    match selection {
        Selection::Partial(parts) if parts.len() != 1 => Selection::Whole,
        other => other,
    }
}

fn why(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Hit(_) => "fresh",
        Verdict::HitStale(_, why) | Verdict::Bridged { staleness: Some(why), .. } => why.as_str(),
        Verdict::Forwarded { why, .. } | Verdict::Bridged { why, .. } => why.as_str(),
        Verdict::Local => "local",
    }
}
