//! An answer before it is sent: its head, its body, and what to say about it in counters and logs.

use http::header::Entry;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Body as _;

use super::body::Body;
use crate::cache::Cache;
use crate::decide::Role;
use crate::decide::step::Local;
use crate::http::head::{RequestHead, ResponseHead};
use crate::metrics::Outcome;
use crate::origin::Unanswered;
use crate::policy::headers::origin::Undeliverable;
use crate::policy::headers::status::{self, CacheStatus, Kept, ProxyError, Verdict};
use crate::policy::headers::tells_length;
use crate::policy::{Forward, Freshness};

/// One answer, and how it came about.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
    pub(super) outcome: Outcome,
    /// Why, in a word.
    pub(super) why: &'static str,
    /// The numbers of the decision, if it had any.
    pub(super) freshness: Option<Freshness>,
}

impl Answer {
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.head.status;
        *response.headers_mut() = self.head.headers;
        response
    }

    /// A status and a sentence of our own.
    pub(super) fn plain(status: StatusCode, sentence: &str, outcome: Outcome, why: &'static str) -> Self {
        let reason = status.canonical_reason().unwrap_or("");
        let body = Body::whole(format!("{} {reason}: {sentence}\n", status.as_str()));
        let mut head = ResponseHead { status, headers: HeaderMap::new() };
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        // An error of the moment must not be kept by anyone behind us.
        head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { head, body, outcome, why, freshness: None }
    }

    /// A status with neither fields nor content.
    pub(super) fn empty(status: StatusCode, why: &'static str) -> Self {
        let head = ResponseHead { status, headers: HeaderMap::new() };
        Self { head, body: Body::empty(), outcome: Outcome::Refused, why, freshness: None }
    }

    /// No origin answered, which is told with this status.
    pub(super) fn unanswered(unanswered: Unanswered, status: StatusCode, name: &str) -> Self {
        let error = unanswered.error;
        let sentence = match error {
            ProxyError::HttpRequestError => "the request broke off".to_owned(),
            ProxyError::HttpRequestTimeout => "the request's content came too slowly".to_owned(),
            _ => format!("no origin of this site answered ({})", error.as_str()),
        };
        let mut answer = Self::plain(status, &sentence, Outcome::Failed, error.as_str());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // RFC 9110 §10.2.3. By then one of them was tried again.
            answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        answer.with_proxy_status(error, name)
    }

    /// With `Proxy-Status` (RFC 9209).
    pub(super) fn with_proxy_status(mut self, error: ProxyError, name: &str) -> Self {
        if let Some(value) = error.field(name) {
            self.head.headers.append(ProxyError::NAME, value);
        }
        self
    }

    /// With a detail in this cache's member of `Cache-Status`, which is the last (RFC 9211 §2.8).
    pub(super) fn with_detail(mut self, detail: &str) -> Self {
        if let Entry::Occupied(mut members) = self.head.headers.entry(CacheStatus::NAME)
            && let Some(own) = members.iter_mut().last()
        {
            let text = [own.as_bytes(), b"; detail=", detail.as_bytes()].concat();
            *own = HeaderValue::from_bytes(&text).unwrap_or_else(|_| own.clone());
        }
        self
    }

    /// Has `Content-Length` say what the body has, or nothing where nobody knows. It is what ends the answer on a connection
    /// of HTTP/1.1: bytes behind that end would be the next answer. A length beside no body (RFC 9110 §8.6) stays.
    pub(super) fn frame(&mut self, method: &Method) {
        let headers = &mut self.head.headers;
        if !headers.contains_key(header::CONTENT_LENGTH) {
            return;
        }
        let has_content = method != Method::HEAD && self.head.status != StatusCode::NOT_MODIFIED;
        match self.body.size_hint().exact() {
            Some(length) if (has_content || length > 0) && !tells_length(headers, length) => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            None if has_content => {
                headers.remove(header::CONTENT_LENGTH);
            }
            _ => {}
        }
    }

    /// With fields that are for this client, in the place of those that are for all.
    pub(super) fn with_fields(mut self, fields: &HeaderMap) -> Self {
        for name in fields.keys() {
            self.head.headers.remove(name);
            for value in fields.get_all(name) {
                self.head.headers.append(name, value.clone());
            }
        }
        self
    }
}

/// Answers that depend neither on the store nor on an origin. A TRACE is not answered with the request: it
/// would show scripts what they may not see (RFC 9110 §9.3.8).
pub(super) fn local(request: &RequestHead, local: Local) -> Answer {
    let mut answer = match (local, &request.method) {
        (Local::Elsewhere(head), _) => {
            let (outcome, why) = (Outcome::Redirect, "redirect");
            return Answer { head, body: Body::empty(), outcome, why, freshness: None };
        }
        (Local::LastHop, &Method::OPTIONS) => {
            Answer::plain(StatusCode::OK, "the last hop", Outcome::Refused, "max-forwards")
        }
        (Local::LastHop, _) => {
            let sentence = "TRACE is not answered here";
            Answer::plain(StatusCode::METHOD_NOT_ALLOWED, sentence, Outcome::Refused, "max-forwards")
        }
    };
    answer.head.headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    answer
}

/// The methods that are passed to any origin, which may take fewer.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

pub(super) fn failed(cache: &Cache, unanswered: Unanswered, role: Role, why: Forward) -> Answer {
    failed_as(cache, unanswered, unanswered.error.status(), role, why)
}

/// The origin answered the request that this one waited for with this error.
pub(super) fn erred(cache: &Cache, status: StatusCode, why: Forward) -> Answer {
    let answer = Answer::plain(status, "the origin is in trouble", Outcome::Failed, "origin-error");
    let verdict = Verdict::Forwarded {
        why,
        status: Some(status),
        kept: Kept::NotStored,
        fetch: status::Fetch::Joined,
        freshness: None,
    };
    with_cache_status(cache, answer, verdict)
}

/// RFC 9111 §5.2.2.2: what must be revalidated and cannot be is a 504.
pub(super) fn must_validate(cache: &Cache, unanswered: Unanswered, role: Role, why: Forward) -> Answer {
    failed_as(cache, unanswered, StatusCode::GATEWAY_TIMEOUT, role, why)
}

fn failed_as(cache: &Cache, unanswered: Unanswered, status: StatusCode, role: Role, why: Forward) -> Answer {
    let answer = Answer::unanswered(unanswered, status, &cache.name);
    let verdict =
        Verdict::Forwarded { why, status: None, kept: Kept::NotStored, fetch: whose(role), freshness: None };
    with_cache_status(cache, answer, verdict)
}

/// The request has been here before (RFC 8586), or its head is longer than origins take.
pub(super) fn undeliverable(cache: &Cache, why: Undeliverable) -> Answer {
    let (sentence, error) = match why {
        Undeliverable::Loop => {
            ("this request has passed through this edge before", ProxyError::ProxyLoopDetected)
        }
        Undeliverable::LongTarget => {
            ("the target is longer than origins take (origin_head_size)", ProxyError::HttpRequestError)
        }
        Undeliverable::LongHead => {
            ("the fields are longer than origins take (origin_head_size)", ProxyError::HttpRequestError)
        }
        Undeliverable::ManyFields => {
            ("the fields are more than origins take (origin_fields)", ProxyError::HttpRequestError)
        }
    };
    let answer = Answer::plain(why.status(), sentence, Outcome::Refused, why.as_str());
    let answer = answer.with_proxy_status(error, &cache.name);
    with_cache_status(cache, answer, Verdict::Local)
}

/// An answer that policy gives by itself.
pub(super) fn refuse(cache: &Cache, status: StatusCode, why: Forward) -> Answer {
    let answer = Answer::plain(status, "nothing that may be used is stored", Outcome::Refused, why.as_str());
    with_cache_status(cache, answer, Verdict::Local)
}

pub(super) fn with_cache_status(cache: &Cache, mut answer: Answer, verdict: Verdict) -> Answer {
    let status = CacheStatus { verdict, detail: None, key: None };
    if let Some(value) = status.field(&cache.name) {
        answer.head.headers.append(CacheStatus::NAME, value);
    }
    answer
}

pub(super) fn whose(role: Role) -> status::Fetch {
    match role {
        Role::Leader => status::Fetch::Own,
        Role::Follower => status::Fetch::Joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_that_of_the_body_or_is_not_told() {
        let check =
            |method: &Method, status: u16, body: Body, told: &[&'static str], expected: Option<&str>| {
                let mut answer = Answer::empty(StatusCode::from_u16(status).unwrap(), "fresh");
                answer.body = body;
                for line in told {
                    answer.head.headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(line));
                }
                answer.frame(method);
                let lines = answer.head.headers.get_all(header::CONTENT_LENGTH).iter();
                let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
                assert_eq!(lines, expected.into_iter().collect::<Vec<_>>(), "{method} {status} {told:?}");
            };
        let five = || Body::whole("hello");
        check(&Method::GET, 200, five(), &["5"], Some("5"));
        check(&Method::GET, 200, five(), &["50"], Some("5"));
        check(&Method::GET, 200, five(), &["05"], Some("5"));
        check(&Method::GET, 200, five(), &["5", "5"], Some("5"));
        check(&Method::GET, 200, five(), &["x"], Some("5"));
        check(&Method::GET, 200, five(), &[], None);
        check(&Method::GET, 200, Body::empty(), &["5"], Some("0"));
        check(&Method::GET, 200, five().unpacked(), &["5"], None);
        // The length that the GET of a stored response would have.
        check(&Method::HEAD, 200, five(), &["50"], Some("5"));
        check(&Method::HEAD, 200, Body::empty(), &["50"], Some("50"));
        check(&Method::GET, 304, Body::empty(), &["50"], Some("50"));
    }
}
