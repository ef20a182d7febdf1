//! The head of a response to the client.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};

use super::status::{CacheStatus, Fetch, Verdict};
use super::{append, via};
use crate::http::date;
use crate::http::head::ResponseHead;
use crate::http::list;
use crate::http::range::Part;
use crate::policy::{Entry, Freshness, Selection};

/// A response passed on from the origin, received at `received` in HTTP `version`.
pub fn passed(
    response: ResponseHead,
    name: &str,
    version: Version,
    status: &CacheStatus,
    received: SystemTime,
) -> ResponseHead {
    let mut headers = super::without_hops(response.headers);
    if !headers.contains_key(header::DATE) {
        // RFC 9110 §6.6.1: a recipient that forwards it dates it.
        headers.insert(header::DATE, date::format(received));
    }
    drop_length(response.status, &mut headers);
    sign(&mut headers, name, version, status);
    ResponseHead { status: response.status, headers }
}

/// The head of the 304 that answers a client's condition instead of `response`.
pub fn unmodified(response: &ResponseHead) -> ResponseHead {
    ResponseHead { status: StatusCode::NOT_MODIFIED, headers: not_modified(&response.headers) }
}

/// The head of the 206 that holds all of `response`, for a client that asked for it so.
pub fn all_as_part(response: &ResponseHead, part: Part) -> ResponseHead {
    ResponseHead { status: StatusCode::PARTIAL_CONTENT, headers: partial(&response.headers, &[part]) }
}

/// A response from a stored entry: the status and fields for `selection`, with `Age` (RFC 9111 §4). `Content-Length` is
/// there for what has a fixed one; for several ranges, [`crate::http::range::Multipart`] has type and length.
pub fn reused(
    entry: &Entry,
    selection: &Selection,
    freshness: &Freshness,
    name: &str,
    status: &CacheStatus,
) -> ResponseHead {
    let (code, mut headers) = match selection {
        Selection::Whole => (entry.head.status, entry.head.headers.clone()),
        Selection::NotModified => (StatusCode::NOT_MODIFIED, not_modified(&entry.head.headers)),
        Selection::Partial(parts) => (StatusCode::PARTIAL_CONTENT, partial(&entry.head.headers, parts)),
        Selection::Unsatisfiable { length } => {
            (StatusCode::RANGE_NOT_SATISFIABLE, unsatisfiable(&entry.head.headers, *length))
        }
    };
    if !is_new(status, freshness) {
        headers.insert(header::AGE, HeaderValue::from(freshness.age_secs));
    }
    if !matches!(status.verdict, Verdict::Forwarded { .. }) {
        // RFC 9211 §2: each member is of a cache that has handled this request. Those behind here have not: they tell how
        // they answered the one that the response was stored for.
        headers.remove(CacheStatus::NAME);
    }
    drop_length(code, &mut headers);
    sign(&mut headers, name, Version::HTTP_11, status);
    ResponseHead { status: code, headers }
}

/// Says that a response is for its client alone (RFC 9111 §5.2.2.7), whatever its origin says: no shared cache on the way
/// may hand it to clients that are kept out here.
pub fn keep_private(headers: &mut HeaderMap) {
    let is = |directive: &[u8], names: &[&str]| {
        let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
        names.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
    };
    // A field for the caches of CDNs goes before Cache-Control (RFC 9213 §2.2).
    let targeted: Vec<HeaderName> = headers.keys().filter(|name| is_for_caches(name)).cloned().collect();
    for name in targeted {
        headers.remove(name);
    }
    let directives = list::elements(headers, &header::CACHE_CONTROL);
    let mut kept: Vec<&[u8]> =
        directives.filter(|one| !is(one, &["public", "s-maxage", "proxy-revalidate"])).collect();
    if !kept.iter().any(|one| is(one, &["no-store"]) || one.eq_ignore_ascii_case(b"private")) {
        kept.push(b"private");
    }
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..])).expect("parts of values make a value");
    headers.insert(header::CACHE_CONTROL, value);
}

/// The targeted fields of RFC 9213 and those that are older.
fn is_for_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "surrogate-control" | "x-accel-expires" | "edge-control")
        || name.ends_with("cdn-cache-control")
}

/// RFC 9110 §8.6: a 204 has no `Content-Length`, to a HEAD neither.
fn drop_length(status: StatusCode, headers: &mut HeaderMap) {
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// RFC 9111 §5.1: an `Age` says that the response was not generated or validated at the origin for this request.
fn is_new(status: &CacheStatus, freshness: &Freshness) -> bool {
    matches!(status.verdict, Verdict::Forwarded { fetch: Fetch::Own, .. }) && freshness.age_secs == 0
}

fn sign(headers: &mut HeaderMap, name: &str, version: Version, status: &CacheStatus) {
    append(headers, header::VIA, via(version, name));
    // RFC 9211 §2: caches append, the one nearest to the origin first.
    append(headers, CacheStatus::NAME, status.field(name));
}

/// RFC 9110 §15.4.5: what guides cache updates, and nothing about content that is not sent.
fn not_modified(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in CONTENT_FIELDS {
        headers.remove(*name);
    }
    if headers.contains_key(header::ETAG) {
        headers.remove(header::LAST_MODIFIED);
    }
    headers
}

const CONTENT_FIELDS: &[&str] = &[
    "content-length",
    "content-type",
    "content-encoding",
    "content-language",
    "content-range",
    "content-md5",
    "content-digest",
];

fn partial(stored: &HeaderMap, parts: &[Part]) -> HeaderMap {
    let mut headers = stored.clone();
    // They are about the whole.
    for name in ["content-length", "content-range", "content-md5", "content-digest"] {
        headers.remove(name);
    }
    if let [part] = parts {
        headers.insert(header::CONTENT_RANGE, part.content_range());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.length()));
    }
    headers
}

/// RFC 9110 §15.5.17. The stored response's own fields are about another answer.
fn unsatisfiable(stored: &HeaderMap, length: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    append(&mut headers, header::DATE, stored.get(header::DATE).cloned());
    append(&mut headers, header::CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{length}")).ok());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    headers
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::stored;
    use super::super::status::Kept;
    use super::*;
    use crate::http::testing::{at, response};
    use crate::policy::Forward;

    fn reused_as(selection: &Selection) -> ResponseHead {
        let entry = stored(&[
            ("etag", "\"a\""),
            ("cache-control", "max-age=60"),
            ("vary", "foo"),
            ("content-location", "/x"),
            ("content-type", "text/plain"),
            ("content-length", "100"),
            ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("via", "1.0 shield"),
            ("cache-status", "shield; hit"),
            ("expires", "0"),
            ("x", "1"),
            ("x", "2"),
        ]);
        let freshness = entry.freshness(at(1007));
        let status = CacheStatus { verdict: Verdict::Hit(freshness), detail: None, key: None };
        reused(&entry, selection, &freshness, "edge-1", &status)
    }

    #[test]
    fn an_answer_for_some_clients_alone_is_shared_by_no_cache_on_the_way() {
        let check = |fields: &[(&'static str, &'static str)], expected: &str| {
            let mut headers: HeaderMap = response(200, fields).headers;
            keep_private(&mut headers);
            let targeted =
                headers.keys().any(|name| name.as_str().contains("cdn") || *name == "surrogate-control");
            let lines: Vec<&HeaderValue> = headers.get_all(header::CACHE_CONTROL).iter().collect();
            assert_eq!(lines, [expected], "{fields:?}");
            assert!(!targeted, "{headers:?}");
        };
        check(&[], "private");
        check(&[("cache-control", "public, max-age=60")], "max-age=60, private");
        check(
            &[("cache-control", "Public"), ("cache-control", "S-MaxAge=9, max-age=1")],
            "max-age=1, private",
        );
        check(&[("cache-control", "no-store")], "no-store");
        check(&[("cache-control", "private")], "private");
        check(&[("cache-control", "private=\"set-cookie\"")], "private=\"set-cookie\", private");
        check(&[("cache-control", "a=\"public, x\", proxy-revalidate")], "a=\"public, x\", private");
        check(&[("cdn-cache-control", "max-age=9"), ("surrogate-control", "max-age=9")], "private");
        check(&[("x-cdn-cache-control", "max-age=9"), ("cache-control", "max-age=5")], "max-age=5, private");
    }

    fn check(selection: &Selection, status: u16, present: &[(&str, &str)], absent: &[&str]) {
        let head = reused_as(selection);
        assert_eq!(head.status.as_u16(), status);
        for (name, value) in present {
            let found: Vec<&[u8]> =
                head.headers.get_all(*name).into_iter().map(|value| value.as_bytes()).collect();
            assert_eq!(String::from_utf8(found.join(&b"|"[..])).unwrap(), *value, "{name} of {selection:?}");
        }
        for name in absent {
            assert!(!head.headers.contains_key(*name), "{name} of {selection:?}");
        }
    }

    const SIGNED: [(&str, &str); 3] =
        [("age", "7"), ("via", "1.0 shield|1.1 edge-1"), ("cache-status", "edge-1; hit; ttl=53")];

    #[test]
    fn a_stored_response_is_sent_with_its_age() {
        check(&Selection::Whole, 200, &SIGNED, &[]);
        check(
            &Selection::Whole,
            200,
            &[("x", "1|2"), ("content-length", "100"), ("date", "Thu, 01 Jan 1970 00:16:40 GMT")],
            &[],
        );
    }

    #[test]
    fn what_was_fetched_for_this_request_has_no_age_of_ours() {
        let entry = stored(&[("cache-control", "max-age=60")]);
        // Of an upstream cache's age we are not the judge; what another request fetched has one.
        for (fetch, now, expected) in
            [(Fetch::Own, 1000, None), (Fetch::Own, 1007, Some("7")), (Fetch::Joined, 1000, Some("0"))]
        {
            let freshness = entry.freshness(at(now));
            let (why, status, kept) = (Forward::Stale, Some(StatusCode::NOT_MODIFIED), Kept::Stored);
            let verdict = Verdict::Forwarded { why, status, kept, fetch, freshness: Some(freshness) };
            let status = CacheStatus { verdict, detail: None, key: None };
            let head = reused(&entry, &Selection::Whole, &freshness, "edge-1", &status);
            assert_eq!(head.headers.get("age").map(|age| age.to_str().unwrap()), expected, "{fetch:?} {now}");
        }
    }

    #[test]
    fn a_304_carries_what_updates_caches() {
        check(&Selection::NotModified, 304, &SIGNED, &["content-length", "content-type", "last-modified"]);
        check(
            &Selection::NotModified,
            304,
            &[
                ("etag", "\"a\""),
                ("vary", "foo"),
                ("content-location", "/x"),
                ("cache-control", "max-age=60"),
                ("expires", "0"),
            ],
            &[],
        );
    }

    #[test]
    fn a_206_names_its_range() {
        let part = |first, last| Part { first, last, complete: Some(100) };
        check(
            &Selection::Partial(vec![part(2, 5)]),
            206,
            &[("content-range", "bytes 2-5/100"), ("content-length", "4"), ("etag", "\"a\"")],
            &[],
        );
        check(
            &Selection::Partial(vec![part(2, 5), part(90, 99)]),
            206,
            &[("etag", "\"a\"")],
            &["content-range", "content-length"],
        );
    }

    #[test]
    fn a_416_names_the_length() {
        check(
            &Selection::Unsatisfiable { length: 100 },
            416,
            &[("content-range", "bytes */100"), ("content-length", "0")],
            &["etag", "cache-control", "x"],
        );
    }

    #[test]
    fn a_passed_response_loses_the_connections_fields() {
        let status = CacheStatus { verdict: Verdict::Local, detail: None, key: None };
        let head = passed(
            response(299, &[("connection", "a"), ("a", "1"), ("age", "5")]),
            "edge-1",
            Version::HTTP_10,
            &status,
            at(1000),
        );
        assert_eq!(head.status.as_u16(), 299);
        assert!(!head.headers.contains_key("a") && !head.headers.contains_key("connection"));
        assert_eq!(head.headers["age"], "5");
        assert_eq!(head.headers["via"], "1.0 edge-1");
        assert_eq!(head.headers["date"], "Thu, 01 Jan 1970 00:16:40 GMT");
    }
}
