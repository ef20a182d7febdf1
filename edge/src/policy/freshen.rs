//! The effect of a 304 or of the answer to a HEAD on a stored response (RFC 9111 §4.3.4, §4.3.5).

mod head;

use std::time::SystemTime;

pub use head::{HeadEffect, freshen_by_head};
use http::{HeaderMap, HeaderName, Method, header};

use super::freshness::COOKIES;
use super::headers::status::CacheStatus;
use super::validate::{self, Likeness};
use super::{Admit, Content, Entry, Selecting, Unstorable, admit, headers};
use crate::http::head::{RequestHead, ResponseHead};
use crate::site::Rules;

/// A stored response after a 304.
#[derive(Clone, Debug)]
pub enum Freshened {
    /// Replace the stored head by this one; the body stays.
    Keep(Entry),
    /// Answer this request from it, which is not to be kept. The stored response goes, unless the reason is
    /// the request's ([`Unstorable::is_of_request`]): then it stays as it was.
    ServeOnce(Entry, Unstorable),
    /// The 304 names another representation: RFC 9111 §4.3.4 forbids using it. Fetch without conditions.
    Mismatch,
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
    let mut newer = not_modified.headers.clone();
    for name in COOKIES.iter().filter(|name| !entry.head.headers.contains_key(*name)) {
        // RFC 9111 §7.3: a cookie in a 304 is for the client that asked, and the stored response is for everyone. If the
        // stored response sets a cookie for everyone, the 304 updates it (§3.2).
        newer.remove(name);
    }
    let headers = updated(&entry.head.headers, &newer);
    let head = ResponseHead { status: entry.head.status, headers };
    // The stored response answers a GET, whatever method found it still good.
    let request = RequestHead { method: Method::GET, ..request.clone() };
    match admit(&request, &with_extent(&head, entry), asked, rules, now) {
        Admit::Keep(lifetime) => Freshened::Keep(renewed(&request, entry, &head, lifetime, asked, now)),
        Admit::Leave(why) => {
            let lifetime = super::freshness::lifetime(&request, &head, asked, rules, now);
            Freshened::ServeOnce(renewed(&request, entry, &head, lifetime, asked, now), why)
        }
    }
}

/// The fields of a 304 that the request which caused it has to itself, in the place of those of the same name: its
/// cookies, and what keeps others from seeing them (`private="…"`, the site's `strip`). `renewed` is from [`freshen`].
pub fn personal(renewed: &Entry, not_modified: &ResponseHead) -> HeaderMap {
    let mut fields = headers::end_to_end(&not_modified.headers);
    let others: Vec<HeaderName> = fields
        .keys()
        .filter(|name| !COOKIES.contains(name) && !renewed.lifetime.omitted.contains(name))
        .cloned()
        .collect();
    for name in others {
        fields.remove(name);
    }
    fields
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
    if !newer.contains_key(CacheStatus::NAME) {
        // It tells of another request, which caches behind here have handled.
        headers.remove(CacheStatus::NAME);
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

#[cfg(test)]
mod tests {
    use super::super::testing::{stored, stored_for};
    use super::*;
    use crate::http::testing::{at, get, response};

    pub(super) const STORED: [(&str, &str); 5] = [
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
    fn what_other_caches_did_with_the_request_of_before_is_forgotten() {
        let first = [STORED.as_slice(), &[("cache-status", "other; fwd=miss")]].concat();
        for (fields, expected) in
            [(&[][..], &[][..]), (&[("cache-status", "other; hit")][..], &["other; hit"][..])]
        {
            let Freshened::Keep(entry) = freshened(&stored(&first), fields) else { panic!("{fields:?}") };
            let told: Vec<&str> = entry
                .head
                .headers
                .get_all("cache-status")
                .into_iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            assert_eq!(told, expected);
        }
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

    /// The fields stored after a 304 with these fields, of these names, and those that only its client gets.
    fn check_cookies(rules: &Rules, fields: &[(&str, &str)], stored_too: &[&str], own: &[(&str, &str)]) {
        let mut head = vec![("x", "1")];
        head.extend(STORED.iter().filter(|(name, _)| *name != "x"));
        let not_modified = response(304, fields);
        let found = freshen(&get(&[]), &stored(&head), &not_modified, at(1999), rules, at(2000));
        let Freshened::Keep(entry) = found else { panic!("{fields:?}: {found:?}") };
        for name in ["set-cookie", "x"] {
            assert_eq!(
                entry.head.headers.contains_key(name),
                stored_too.contains(&name),
                "{fields:?} {name}"
            );
        }
        let personal = personal(&entry, &not_modified);
        let personal: Vec<_> =
            personal.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(personal, own, "{fields:?}");
    }

    /// RFC 9111 §3.2, §5.2.2.7, §7.3.
    #[test]
    fn what_a_304_has_for_its_client_is_not_stored_for_all() {
        let (cookie, other) = (("set-cookie", "sid=ALICE"), ("set-cookie", "b=c"));
        let rules = Rules::default();
        check_cookies(&rules, &[cookie, other], &["x"], &[cookie, other]);
        check_cookies(&rules, &[("x", "2")], &["x"], &[]);
        let private = ("cache-control", "max-age=9, private=\"x\"");
        check_cookies(&rules, &[private, ("x", "ALICE")], &[], &[("x", "ALICE")]);
        check_cookies(&rules, &[private, ("connection", "x"), ("x", "ALICE")], &[], &[]);
        let strip = Rules { set_cookie: crate::site::rules::SetCookie::Strip, ..Rules::default() };
        check_cookies(&strip, &[cookie], &["x"], &[cookie]);
    }

    #[test]
    fn a_cookie_that_everyone_was_given_is_updated_like_any_field() {
        let everyones = stored(&[("etag", "\"a\""), ("cache-control", "max-age=9"), ("set-cookie", "a=b")]);
        let shares = Rules { set_cookie: crate::site::rules::SetCookie::WhenExplicit, ..Rules::default() };
        for (told, expected) in [(&[("set-cookie", "a=c")][..], "a=c"), (&[], "a=b")] {
            let found = freshen(&get(&[]), &everyones, &response(304, told), at(1999), &shares, at(2000));
            let Freshened::Keep(entry) = found else { panic!("{found:?}") };
            assert_eq!(entry.head.headers["set-cookie"], expected);
        }
    }

    #[test]
    fn what_forbids_this_request_only_is_told_apart_from_what_forbids_all() {
        let check = |asking: &[(&str, &str)], fields: &[(&str, &str)], stays: bool| {
            let found = freshen(
                &get(asking),
                &stored(&STORED),
                &response(304, fields),
                at(1999),
                &Rules::default(),
                at(2000),
            );
            assert!(
                matches!(&found, Freshened::ServeOnce(_, why) if why.is_of_request() == stays),
                "{asking:?} {fields:?}: {found:?}"
            );
        };
        check(&[("cache-control", "no-store")], &[], true);
        check(&[("authorization", "x")], &[], true);
        check(&[("authorization", "x")], &[("cache-control", "private")], false);
        check(&[], &[("cache-control", "private")], false);
        let shared = [("cache-control", "public, max-age=9")];
        let found = freshen(
            &get(&[("authorization", "x")]),
            &stored(&STORED),
            &response(304, &shared),
            at(1999),
            &Rules::default(),
            at(2000),
        );
        assert!(matches!(found, Freshened::Keep(_)), "{found:?}");
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
}
