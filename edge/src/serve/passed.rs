//! Responses that pass the cache by: they are for one client, and are not stored.

use http::header::{self, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::answer::Answer;
use super::body::Body;
use super::coding;
use super::exchange::Exchange;
use crate::cache::Cache;
use crate::flight::Sticks;
use crate::http::head::ResponseHead;
use crate::metrics::Outcome;
use crate::origin::{Answered, OriginBody};
use crate::policy::headers::client;
use crate::policy::headers::status::{self, CacheStatus, Kept, Verdict};
use crate::policy::{self, Forward, encoding};

/// The head of a response, as policy reads it.
pub(super) fn head_of(answered: &Answered) -> ResponseHead {
    ResponseHead { status: answered.response.status(), headers: answered.response.headers().clone() }
}

/// The response to a fetch that was for the store, as the client's own conditions select it.
pub(super) fn selected(
    cache: &Cache,
    exchange: &Exchange<'_>,
    mut answered: Answered,
    why: Forward,
    detail: &'static str,
) -> Answer {
    let (request, received) = (&exchange.request, answered.received);
    let length = answered.response.body().size_hint().exact();
    // Policy reads it, and it goes on.
    let headers = std::mem::take(answered.response.headers_mut());
    let head = ResponseHead { status: answered.response.status(), headers };
    let unmodified = policy::select::stands_for(request, &head, received);
    let all = policy::select::all_as_part(request, &head, length, received);
    let all = all
        .filter(|_| !unmodified && (exchange.takes_gzip || !encoding::is_packed(&head, request.uri.path())));
    *answered.response.headers_mut() = head.headers;
    if let Some(part) = all {
        let (mut answer, body) = plain(cache, answered, why, Some(detail));
        answer.head = client::all_as_part(&answer.head, part);
        answer.body = Body::origin(body, &exchange.site.metrics);
        return answer;
    }
    let mut answer = passed(cache, exchange, answered, why, Some(detail));
    if unmodified {
        answer.head = client::unmodified(&answer.head);
        let unwanted = std::mem::replace(&mut answer.body, Body::empty());
        read_out(unwanted);
    }
    answer
}

/// Reads to the end of a body that nobody wants, if it is short, so that its connection serves again.
pub(super) fn read_out(mut body: Body) {
    if body.size_hint().exact().is_some_and(|length| length <= READ_OUT_BYTES) {
        tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
    }
}

/// Reading more costs more than a new connection.
const READ_OUT_BYTES: u64 = 256 << 10;

/// The origin's response for this client alone.
pub(super) fn passed(
    cache: &Cache,
    exchange: &Exchange<'_>,
    answered: Answered,
    why: Forward,
    detail: Option<&'static str>,
) -> Answer {
    let (answer, body) = plain(cache, answered, why, detail);
    coding::of_passed(cache, exchange, answer, body)
}

/// The answer without its body, and that.
fn plain(
    cache: &Cache,
    answered: Answered,
    why: Forward,
    detail: Option<&'static str>,
) -> (Answer, OriginBody) {
    let Answered { response, received, .. } = answered;
    let (parts, body) = response.into_parts();
    let status = Some(parts.status);
    let verdict =
        Verdict::Forwarded { why, status, kept: Kept::NotStored, fetch: status::Fetch::Own, freshness: None };
    let cache_status = CacheStatus { verdict, detail, key: None };
    let wanted = wanted(parts.status, &parts.headers);
    let head = ResponseHead { status: parts.status, headers: parts.headers };
    let sticks = parts.extensions.get::<Sticks>().map(|Sticks(cookie)| cookie.clone());
    let mut head = client::passed(head, &cache.name, parts.version, &cache_status, received);
    if !wanted.is_empty() {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        for protocol in wanted {
            head.headers.append(header::UPGRADE, protocol);
        }
    }
    if let Some(cookie) = sticks {
        head.headers.append(SET_COOKIE, cookie);
    }
    let why = detail.unwrap_or(why.as_str());
    (Answer { head, body: Body::empty(), outcome: Outcome::Pass, why, freshness: None }, body)
}

/// The protocols that a 426 asks for. It is of no use without them (RFC 9110 §15.5.22), and they are the client's to ask for on
/// this connection; others than HTTP/1.1 take them off again.
fn wanted(status: StatusCode, headers: &HeaderMap) -> Vec<HeaderValue> {
    match status {
        StatusCode::UPGRADE_REQUIRED => headers.get_all(header::UPGRADE).iter().cloned().collect(),
        _ => Vec::new(),
    }
}
