//! What a 304 or the answer to a HEAD does to a stored response (RFC 9111 §4.3.4, §4.3.5).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::validate::{self, Likeness};
use super::{Admit, Content, Entry, RequestHead, ResponseHead, Rules, Selecting, Unstorable, admit, headers};

/// A stored response after a 304.
#[derive(Clone, Debug)]
pub enum Freshened {
    /// Replace the stored head by this one; the body stays.
    Keep(Entry),
    /// Answer this request from it, then drop it: the 304 forbids keeping it.
    ServeOnce(Entry, Unstorable),
    /// The 304 names another representation: RFC 9111 §4.3.4 forbids using it. Fetch without conditions.
    Mismatch,
}

/// What a response to a forwarded HEAD does to the stored GET.
#[derive(Clone, Debug)]
pub enum HeadEffect {
    /// It describes the same representation: replace the stored head by this one.
    Freshen(Box<Entry>),
    /// It describes another one: drop the stored response, or treat it as stale.
    Invalidate,
    /// It says nothing about it.
    Leave,
}

/// The stored response with the fields of a 304 to our conditional request. `request` is the client's, `asked` when
/// ours left, `now` when the 304 arrived.
pub fn freshen(
    request: &RequestHead,
    entry: &Entry,
    not_modified: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> Freshened {
    if validate::likeness(&entry.head.headers, &not_modified.headers) == Likeness::Different {
        return Freshened::Mismatch;
    }
    let head = ResponseHead {
        status: entry.head.status,
        headers: updated(&entry.head.headers, &not_modified.headers),
    };
    // What is stored is the response to a GET, whatever method found it still good.
    let request = RequestHead { method: Method::GET, ..request.clone() };
    match admit(&request, &with_extent(&head, entry), asked, rules, now) {
        Admit::Keep(lifetime) => Freshened::Keep(renewed(&request, entry, &head, lifetime, asked, now)),
        Admit::Leave(why) => {
            let lifetime = super::freshness::lifetime(&request, &head, asked, rules, now);
            Freshened::ServeOnce(renewed(&request, entry, &head, lifetime, asked, now), why)
        }
    }
}

/// What a 200 to a forwarded HEAD does to the stored GET that it could have chosen; a 304 to one goes to [`freshen`].
pub fn freshen_by_head(
    request: &RequestHead,
    entry: &Entry,
    response: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> HeadEffect {
    if response.status != StatusCode::OK || entry.head.status != StatusCode::OK {
        return HeadEffect::Leave;
    }
    if !is_same_length(entry, response) || !has_same_validators(entry, response) {
        return HeadEffect::Invalidate;
    }
    match freshen(request, entry, response, asked, rules, now) {
        Freshened::Keep(entry) => HeadEffect::Freshen(Box::new(entry)),
        Freshened::ServeOnce(..) | Freshened::Mismatch => HeadEffect::Invalidate,
    }
}

/// RFC 9111 §3.2: all received fields replace the stored ones, but for those that describe the stored bytes.
pub(super) fn updated(stored: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let newer = headers::end_to_end(newer);
    let mut headers = stored.clone();
    for name in newer.keys().filter(|name| !describes_bytes(name)) {
        headers.remove(name);
        for value in newer.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if !newer.contains_key(header::DATE) {
        // The 304 is dated by its receipt (RFC 9110 §6.6.1), not by the response it freshens.
        headers.remove(header::DATE);
    }
    headers
}

/// Fields about the stored bytes themselves, which a 304 does not carry.
fn describes_bytes(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length" | "content-encoding" | "content-range" | "content-md5" | "content-digest"
    )
}

/// A stored part is judged as the 206 it came with.
fn with_extent(head: &ResponseHead, entry: &Entry) -> ResponseHead {
    let mut head = head.clone();
    if let Content::Part(part) = entry.content {
        head.headers.insert(header::CONTENT_RANGE, part.content_range());
    }
    head
}

fn renewed(
    request: &RequestHead,
    entry: &Entry,
    head: &ResponseHead,
    lifetime: super::Lifetime,
    asked: SystemTime,
    now: SystemTime,
) -> Entry {
    let named = Selecting::of(request, head);
    // The same fields select as before: with the values it was stored for. Others: with those that chose it now.
    let selecting = if named.names().eq(entry.selecting.names()) { entry.selecting.clone() } else { named };
    let head = headers::stored(head, &lifetime, now);
    Entry { head, asked, received: now, lifetime, selecting, content: entry.content }
}

/// RFC 9111 §4.3.5: a `Content-Length`, if there is one, must be the stored length.
fn is_same_length(entry: &Entry, response: &ResponseHead) -> bool {
    let stored = match entry.content {
        Content::Whole { length } => length,
        Content::Part(part) => part.complete,
    };
    let told =
        response.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    told.is_none() || stored.is_none() || told == stored
}

/// RFC 9111 §4.3.5: every validator received must be the stored one.
fn has_same_validators(entry: &Entry, response: &ResponseHead) -> bool {
    let same = |name: &HeaderName| {
        let told = response.headers.get(name);
        told.is_none() || told == entry.head.headers.get(name)
    };
    same(&header::ETAG) && same(&header::LAST_MODIFIED)
}

impl Freshened {
    /// A label for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Keep(_) => "freshened",
            Self::ServeOnce(..) => "serve-once",
            Self::Mismatch => "mismatch",
        }
    }
}

impl HeadEffect {
    /// A label for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Freshen(_) => "freshened",
            Self::Invalidate => "invalidated",
            Self::Leave => "left",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, get, request, response, stored, stored_for};
    use super::*;

    const STORED: [(&str, &str); 5] = [
        ("etag", "\"a\""),
        ("cache-control", "max-age=1"),
        ("x", "1"),
        ("content-length", "100"),
        ("content-encoding", "gzip"),
    ];

    /// The 304 arrives at second 2000.
    fn freshened(entry: &Entry, fields: &[(&str, &str)]) -> Freshened {
        freshen(&get(&[]), entry, &response(304, fields), at(1999), &Rules::default(), at(2000))
    }

    fn check(fields: &[(&str, &str)], name: &str, expected: &[&str]) {
        let Freshened::Keep(entry) = freshened(&stored(&STORED), fields) else { panic!("{fields:?}") };
        let found: Vec<&str> =
            entry.head.headers.get_all(name).into_iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(found, expected, "{fields:?}");
    }

    #[test]
    fn fields_are_replaced_but_for_those_about_the_bytes() {
        check(&[], "x", &["1"]);
        check(&[("x", "2"), ("x", "3")], "x", &["2", "3"]);
        check(&[("y", "2")], "y", &["2"]);
        check(&[("cache-control", "max-age=9")], "cache-control", &["max-age=9"]);
        check(&[("content-type", "text/css")], "content-type", &["text/css"]);
        check(&[("content-length", "0")], "content-length", &["100"]);
        check(&[("content-encoding", "br")], "content-encoding", &["gzip"]);
        check(&[("content-range", "bytes 0-0/1")], "content-range", &[]);
        check(&[("content-md5", "x")], "content-md5", &[]);
        check(&[("connection", "y"), ("y", "2"), ("keep-alive", "5")], "y", &[]);
        check(&[("connection", "x"), ("x", "2")], "x", &["1"]);
        check(&[("etag", "W/\"a\"")], "etag", &["W/\"a\""]);
    }

    #[test]
    fn age_and_lifetime_begin_anew() {
        let Freshened::Keep(entry) = freshened(&stored(&STORED), &[("cache-control", "max-age=9")]) else {
            panic!()
        };
        let freshness = entry.freshness(at(2007));
        assert_eq!((freshness.age_secs, freshness.lifetime_secs), (8, 9));
        let Freshened::Keep(old) =
            freshened(&stored(&STORED), &[("age", "5"), ("cache-control", "max-age=9")])
        else {
            panic!()
        };
        assert_eq!(old.freshness(at(2000)).age_secs, 6);
        assert_eq!(old.head.headers.get("age"), None);
    }

    #[test]
    fn another_validator_is_another_representation() {
        assert!(matches!(freshened(&stored(&STORED), &[("etag", "\"b\"")]), Freshened::Mismatch));
    }

    #[test]
    fn a_304_may_forbid_keeping() {
        for (directives, why) in [("no-store", Unstorable::NoStore), ("private", Unstorable::Private)] {
            let found = freshened(&stored(&STORED), &[("cache-control", directives)]);
            assert!(matches!(found, Freshened::ServeOnce(_, found) if found == why), "{directives}");
        }
    }

    #[test]
    fn a_part_stays_a_part() {
        let head = response(
            206,
            &[("etag", "\"a\""), ("content-range", "bytes 0-4/10"), ("cache-control", "max-age=1")],
        );
        let part = super::super::testing::stored_response(&get(&[]), &head, 5);
        let Freshened::Keep(entry) = freshened(&part, &[("etag", "\"a\"")]) else { panic!() };
        assert_eq!(entry.content, part.content);
    }

    #[test]
    fn selecting_values_stay_with_what_was_stored() {
        let entry = stored_for(&get(&[("foo", "1")]), &[("vary", "foo"), ("etag", "\"a\"")]);
        let after = |fields: &[(&str, &str)]| match freshened(&entry, fields) {
            Freshened::Keep(entry) => entry.selecting,
            other => panic!("{other:?}"),
        };
        assert_eq!(after(&[]), entry.selecting);
        assert_eq!(after(&[("vary", "FOO")]), entry.selecting);
        assert!(after(&[("vary", "foo, bar")]).matches(&get(&[])));
    }

    #[test]
    fn head_updates_what_it_describes() {
        let head = request("HEAD", "http://a.example/", &[]);
        let check = |status, fields: &[(&str, &str)], expected: &str| {
            let effect = freshen_by_head(
                &head,
                &stored(&STORED),
                &response(status, fields),
                at(1999),
                &Rules::default(),
                at(2000),
            );
            assert_eq!(effect.as_str(), expected, "{status} {fields:?}");
        };
        check(200, &[("etag", "\"a\""), ("content-length", "100")], "freshened");
        check(200, &[("cache-control", "max-age=1000")], "freshened");
        check(200, &[("etag", "\"b\"")], "invalidated");
        check(200, &[("etag", "\"a\""), ("content-length", "99")], "invalidated");
        check(200, &[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")], "invalidated");
        check(200, &[("cache-control", "no-store")], "invalidated");
        check(410, &[("etag", "\"b\"")], "left");
        check(503, &[], "left");
    }
}
