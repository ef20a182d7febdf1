//! Which fields travel on: in from the client, to the origin, into the store, back to the client.
//!
//! Invariant: nothing that belongs to one connection is stored or forwarded: not the hop-by-hop fields, nor those that
//! a `Connection` names (RFC 9110 §7.6.1, RFC 9111 §3.1).

pub mod client;
pub mod origin;
pub mod status;
pub mod withheld;

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::Lifetime;
use crate::http::date;
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::list;
use crate::site::pattern::NamePattern;

/// A request as policy and key must see it: without fields of the connection, and without those that
/// [`withheld`] names or [`origin::fields`] overwrites, but for the ones that the site allows. A field that
/// is hidden from the origin must not select a variant.
/// Apply it once, when the request is read, after the connection's own needs (`Upgrade`, `TE`) are met.
/// `Transfer-Encoding` stays as a mark that there is a body ([`super::Forward::Body`]); [`origin::fields`] drops it.
pub fn received(request: RequestHead, allowed: &[NamePattern]) -> RequestHead {
    let RequestHead { method, uri, headers } = request;
    let has_coding = headers.contains_key(header::TRANSFER_ENCODING);
    let mut headers = without_hops(headers);
    if has_coding {
        // The framing is the connection's; that there is a body is not.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let is_withheld = |name: &HeaderName| withheld::withheld(name, &method, allowed).is_some();
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| is_withheld(name)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
    RequestHead { method, uri, headers }
}

/// `headers` without the fields of the connection.
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    without_hops(headers.clone())
}

fn without_hops(mut headers: HeaderMap) -> HeaderMap {
    if !headers.keys().any(|name| HOP_BY_HOP.contains(&name.as_str())) {
        return headers;
    }
    // Before `Connection` is obeyed: it may name this one.
    let has_coding = headers.contains_key(header::TRANSFER_ENCODING);
    let named = |element| HeaderName::from_bytes(element).ok();
    let named: Vec<HeaderName> =
        list::elements(&headers, &header::CONNECTION).filter_map(named).filter(is_option).collect();
    for name in named {
        headers.remove(name);
    }
    if has_coding {
        // RFC 9112 §6.3: it overrides a length, which must not be forwarded.
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
    headers
}

/// Whether these have one `Content-Length`, which is `length`.
pub fn tells_length(headers: &HeaderMap, length: u64) -> bool {
    let mut told = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_it = told.next().is_some_and(|told| *told == HeaderValue::from(length));
    is_it && told.next().is_none()
}

/// Whether a `Connection` may name it.
fn is_option(name: &HeaderName) -> bool {
    !NOT_OPTIONS.contains(&name.as_str())
}

/// The head as it is stored: end-to-end fields only, without those that the response keeps from storing, without
/// `Age` (counted anew at each use), with a valid `Date` (RFC 9110 §6.6.1).
pub fn stored(response: &ResponseHead, lifetime: &Lifetime, received: SystemTime) -> ResponseHead {
    let mut headers = end_to_end(&response.headers);
    for name in &lifetime.omitted {
        headers.remove(name);
    }
    headers.remove(header::AGE);
    if date::single(&headers, &header::DATE, received).is_none() {
        headers.insert(header::DATE, date::format(received));
    }
    ResponseHead { status: response.status, headers: in_one_block(&headers) }
}

/// The same fields, with their values in a block of their own. As they arrive they are slices of the connection's read
/// buffer, and would keep all of it: 8 KiB for each small response, measured.
fn in_one_block(headers: &HeaderMap) -> HeaderMap {
    // One allocation of the right length: a vector that grows keeps up to twice that.
    let mut block = Vec::with_capacity(headers.values().map(HeaderValue::len).sum());
    headers.values().for_each(|value| block.extend_from_slice(value.as_bytes()));
    let block = Bytes::from(block);
    let mut copy = HeaderMap::with_capacity(headers.len());
    let mut from = 0;
    for (name, value) in headers {
        let to = from + value.len();
        let same = HeaderValue::from_maybe_shared(block.slice(from..to)).expect("the bytes of a field value");
        copy.append(name, same);
        from = to;
    }
    copy
}

/// RFC 9110 §7.6.1, RFC 9111 §3.1 and what old clients send.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A `Connection` may not take these away: what they guard against is what would make a client try (RFC 9110 §7.6.1
/// forbids naming fields that are meant for all recipients). Without the last six a response would be read, shared or kept
/// behind here as its origin has not said.
const NOT_OPTIONS: &[&str] = &[
    "age",
    "cdn-loop",
    "content-length",
    "date",
    "early-data",
    "host",
    "via",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "expires",
    "vary",
];

/// `1.1 name` for `Via` (RFC 9110 §7.6.3).
fn via(version: Version, name: &str) -> Option<HeaderValue> {
    HeaderValue::try_from([version_name(version), name].join(" ")).ok()
}

/// The version as `Via` has it.
fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::freshness;
    use super::*;
    use crate::http::testing::{at, fields, get, response};
    use crate::site::Rules;

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn fields_of_the_connection_end_here() {
        let headers = fields(&[
            ("connection", "a, B, close"),
            ("connection", "c"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d", "4"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "gzip, chunked"),
            ("upgrade", "h2c"),
            ("proxy-connection", "x"),
            ("proxy-authenticate", "x"),
            ("proxy-authorization", "x"),
            ("proxy-authentication-info", "x"),
            ("http2-settings", "x"),
        ]);
        assert_eq!(names(&end_to_end(&headers)), ["d"]);
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_none() {
        let headers = fields(&[("transfer-encoding", "chunked"), ("content-length", "50"), ("d", "4")]);
        assert_eq!(names(&end_to_end(&headers)), ["d"]);
        assert_eq!(names(&end_to_end(&fields(&[("content-length", "50")]))), ["content-length"]);
        for named in ["transfer-encoding", "content-length, Transfer-Encoding", "close, transfer-encoding"] {
            let coded = [("connection", named), ("transfer-encoding", "chunked"), ("content-length", "5")];
            assert!(names(&end_to_end(&fields(&coded))).is_empty(), "{named}");
        }
    }

    #[test]
    fn a_connection_takes_nothing_away_that_is_for_all_who_get_the_message() {
        for name in NOT_OPTIONS {
            let headers = fields(&[("connection", *name), (*name, "1")]);
            assert_eq!(names(&end_to_end(&headers)), [*name]);
        }
    }

    #[test]
    fn what_guards_against_loops_stays() {
        let headers = fields(&[
            ("connection", "cdn-loop, via, host, age"),
            ("cdn-loop", "a"),
            ("via", "1.1 a"),
            ("host", "b"),
            ("age", "5"),
        ]);
        assert_eq!(names(&end_to_end(&headers)), ["age", "cdn-loop", "host", "via"]);
    }

    #[test]
    fn what_the_response_withholds_is_not_stored() {
        let head = response(
            200,
            &[
                ("cache-control", "no-cache=\"a\", private=\"b\", max-age=9"),
                ("a", "1"),
                ("b", "2"),
                ("c", "3"),
                ("age", "5"),
                ("connection", "d"),
                ("d", "4"),
            ],
        );
        let lifetime = freshness::lifetime(&get(&[]), &head, at(1000), &Rules::default(), at(1000));
        let stored = stored(&head, &lifetime, at(1000));
        assert_eq!(names(&stored.headers), ["c", "cache-control", "date"]);
        assert_eq!(stored.headers["date"], "Thu, 01 Jan 1970 00:16:40 GMT");
    }

    #[test]
    fn what_is_stored_does_not_keep_the_read_buffer_alive() {
        let buffer = Bytes::from(b"max-age=9;en;de;Thu, 01 Jan 1970 00:00:01 GMT".to_vec());
        let slice = |from, to| HeaderValue::from_maybe_shared(buffer.slice(from..to)).unwrap();
        let mut head = response(200, &[]);
        head.headers.append("cache-control", slice(0, 9));
        head.headers.append("content-language", slice(10, 12));
        head.headers.append("content-language", slice(13, 15));
        head.headers.append("date", slice(16, buffer.len()));
        let lifetime = freshness::lifetime(&get(&[]), &head, at(1000), &Rules::default(), at(1000));
        let stored = stored(&head, &lifetime, at(1000));
        assert_eq!(stored.headers, head.headers);
        drop(head);
        assert!(buffer.is_unique(), "a slice of it is left");
    }

    #[test]
    fn the_origins_date_is_kept_if_it_is_one() {
        let check = |date: &str, expected: &str| {
            let head = response(200, &[("date", date)]);
            let lifetime = freshness::lifetime(&get(&[]), &head, at(1000), &Rules::default(), at(1000));
            assert_eq!(stored(&head, &lifetime, at(1000)).headers["date"], expected);
        };
        check("Thu, 01 Jan 1970 00:00:01 GMT", "Thu, 01 Jan 1970 00:00:01 GMT");
        check("foo", "Thu, 01 Jan 1970 00:16:40 GMT");
    }

    #[test]
    fn what_the_origin_cannot_see_selects_nothing() {
        let request = received(
            get(&[
                ("connection", "x-tenant"),
                ("x-tenant", "a"),
                ("x-forwarded-host", "evil"),
                ("x-original-url", "/admin"),
                ("forwarded", "for=1"),
                ("transfer-encoding", "gzip, chunked"),
                ("accept", "*/*"),
            ]),
            &[],
        );
        assert_eq!(names(&request.headers), ["accept", "transfer-encoding"]);
    }
}
