//! The content coding in which a client gets an answer, where it is made on the way to that client.
//!
//! Stored responses were encoded while they were stored (`flight`). Passed ones are encoded here, for one client. The gzip of
//! an origin is taken off here for a client that takes no gzip, stored or not.

use std::borrow::Cow;

use http::{Method, StatusCode, header};
use hyper::body::Body as _;

use super::answer::Answer;
use super::body::Body;
use super::exchange::Exchange;
use crate::cache::Cache;
use crate::http::head::{RequestHead, ResponseHead};
use crate::origin::OriginBody;
use crate::policy::encoding::{self, Coding};
use crate::policy::{Content, Entry};

/// The answer with an origin's body that is not stored.
pub(super) fn of_passed(
    cache: &Cache,
    exchange: &Exchange<'_>,
    mut answer: Answer,
    body: OriginBody,
) -> Answer {
    let (offer, site) = (&exchange.site.site.compress, &exchange.site.metrics);
    if encoding::is_gzip(&answer.head.headers) {
        let head = answer.head.clone();
        answer.body = Body::origin(body, site);
        return of_stored(exchange, &head, answer);
    }
    encoding::mark(&mut answer.head, offer);
    let is_head = exchange.request.method == Method::HEAD;
    let length = if is_head { told_length(&answer.head) } else { body.size_hint().exact() };
    let Some(best) = encoding::chosen(&exchange.request.headers, &answer.head, offer, length) else {
        answer.body = Body::origin(body, site);
        return answer;
    };
    if is_head {
        // RFC 9110 §9.3.2: the fields that a GET would have had.
        encoding::encoded(&mut answer.head, best);
        answer.body = Body::origin(body, site);
        return answer;
    }
    // gzip takes little memory, and a client that likes another coding better often takes it as well.
    let gzip = (exchange.takes_gzip && offer.codings.contains(&Coding::Gzip)).then_some(Coding::Gzip);
    let mut left = body;
    for coding in std::iter::once(best).chain(gzip.filter(|gzip| *gzip != best)) {
        match cache.flights.encode_passed(coding, left, site) {
            Ok(encoded) => {
                encoding::encoded(&mut answer.head, coding);
                answer.head.headers.remove(header::ACCEPT_RANGES);
                answer.body = Body::encoded(encoded, site);
                return answer;
            }
            Err(body) => left = *body,
        }
    }
    answer.body = Body::origin(left, site);
    answer
}

/// The answer from something stored or on its way into the store, whose head is `stored`.
pub(super) fn of_stored(exchange: &Exchange<'_>, stored: &ResponseHead, mut answer: Answer) -> Answer {
    if !encoding::is_gzip(&stored.headers) {
        return answer;
    }
    encoding::mark_packed(&mut answer.head.headers);
    let is_part =
        matches!(answer.head.status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE);
    if !exchange.takes_gzip && !is_part && encoding::is_packed(stored, exchange.request.uri.path()) {
        encoding::unpacked(&mut answer.head);
        answer.body = answer.body.unpacked();
    }
    answer
}

/// The request as a stored response is selected for it: ranges of what is unpacked would be of other bytes than those
/// that the client counts (RFC 9110 §14.2 lets a server ignore them).
pub(super) fn asked<'a>(exchange: &'a Exchange<'_>, entry: &Entry) -> Cow<'a, RequestHead> {
    let request = &exchange.request;
    let is_whole = matches!(entry.content, Content::Whole { .. });
    if exchange.takes_gzip
        || !is_whole
        || !request.headers.contains_key(header::RANGE)
        || !encoding::is_packed(&entry.head, request.uri.path())
    {
        return Cow::Borrowed(request);
    }
    let mut without = request.clone();
    without.headers.remove(header::RANGE);
    without.headers.remove(header::IF_RANGE);
    Cow::Owned(without)
}

fn told_length(head: &ResponseHead) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
