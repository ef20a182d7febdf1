//! The effect of the answer to a HEAD on a stored response (RFC 9111 §4.3.5).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{Freshened, freshen};
use crate::http::head::{RequestHead, ResponseHead};
use crate::policy::headers::origin::CONDITIONS;
use crate::policy::reuse::has_body;
use crate::policy::{Content, Entry, control};
use crate::site::Rules;

/// The effect of a response to a forwarded HEAD on the stored GET.
#[derive(Clone, Debug)]
pub enum HeadEffect {
    /// It describes the same representation: replace the stored head by this one.
    Freshen(Box<Entry>),
    /// It describes another one: drop the stored response, or treat it as stale.
    Invalidate,
    /// It says nothing about it.
    Leave,
}

/// The effect of a 200 to a forwarded HEAD on a stored GET that it could have chosen; a 304 goes to
/// [`freshen`]. Its head is as for a GET: see [`crate::policy::encoding::confirmed`].
pub fn freshen_by_head(
    request: &RequestHead,
    entry: &Entry,
    response: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> HeadEffect {
    if response.status != StatusCode::OK || entry.head.status != StatusCode::OK || !is_plain(request) {
        return HeadEffect::Leave;
    }
    if is_of_other_size(entry, response) || !has_same_validators(entry, response) {
        return HeadEffect::Invalidate;
    }
    if !has_validator(response) {
        // Nothing shows that it is the same representation. A field that is in no key may have chosen another one,
        // whose type and lifetime everybody would get.
        return HeadEffect::Leave;
    }
    match freshen(request, entry, response, asked, rules, now) {
        Freshened::Keep(entry) => HeadEffect::Freshen(Box::new(entry)),
        Freshened::ServeOnce(_, why) if why.is_of_request() => HeadEffect::Leave,
        Freshened::ServeOnce(..) | Freshened::Mismatch => HeadEffect::Invalidate,
    }
}

/// Whether the answer to this request is what anyone would get: a client must not be able to choose an answer that
/// changes what others are served.
fn is_plain(request: &RequestHead) -> bool {
    let told = |name: &HeaderName| request.headers.contains_key(name);
    !CONDITIONS.iter().any(told)
        && !told(&header::AUTHORIZATION)
        && !has_body(request)
        && !control::of_request(&request.headers).no_store
}

/// RFC 9111 §4.3.5: a `Content-Length`, if there is one, must be the stored length. It tells nothing where it speaks of
/// another coding, as when ours was made here.
fn is_of_other_size(entry: &Entry, response: &ResponseHead) -> bool {
    let coding = |headers: &HeaderMap| headers.get(header::CONTENT_ENCODING).cloned();
    if coding(&entry.head.headers) != coding(&response.headers) {
        return false;
    }
    let stored = match entry.content {
        Content::Whole { length } => length,
        Content::Part(part) => part.complete,
    };
    let told =
        response.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    told.is_some() && stored.is_some() && told != stored
}

fn has_validator(response: &ResponseHead) -> bool {
    response.headers.contains_key(header::ETAG) || response.headers.contains_key(header::LAST_MODIFIED)
}

/// RFC 9111 §4.3.5: every validator received must be the stored one.
fn has_same_validators(entry: &Entry, response: &ResponseHead) -> bool {
    let same = |name: &HeaderName| {
        let told = response.headers.get(name);
        told.is_none() || told == entry.head.headers.get(name)
    };
    same(&header::ETAG) && same(&header::LAST_MODIFIED)
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
    use super::super::tests::STORED;
    use super::*;
    use crate::http::testing::{at, request, response};
    use crate::policy::testing::stored;

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
        let coding = ("content-encoding", "gzip");
        check(200, &[coding, ("etag", "\"a\""), ("content-length", "100")], "freshened");
        // Without a validator nothing shows that it is the same, the length neither.
        let html = ("content-type", "text/html");
        check(200, &[coding, ("cache-control", "max-age=1000")], "left");
        check(200, &[coding, html, ("cache-control", "max-age=1000"), ("content-length", "100")], "left");
        check(200, &[coding, ("etag", "\"b\"")], "invalidated");
        check(200, &[coding, ("etag", "\"a\""), ("content-length", "99")], "invalidated");
        check(200, &[coding, ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")], "invalidated");
        check(200, &[coding, ("cache-control", "no-store")], "left");
        check(200, &[coding, ("content-length", "99")], "invalidated");
        check(410, &[("etag", "\"b\"")], "left");
        check(503, &[], "left");
        // Of another coding only a validator tells anything.
        check(200, &[("etag", "\"a\""), ("content-length", "99")], "freshened");
        check(200, &[("etag", "\"b\""), ("content-length", "100")], "invalidated");
        check(200, &[("content-length", "100")], "left");
        check(200, &[("cache-control", "no-store"), ("etag", "\"a\"")], "invalidated");
    }

    /// RFC 9111 §4.3.5 is about answers that a GET could have had; a client must not write them.
    #[test]
    fn a_head_that_asks_for_something_special_teaches_nothing() {
        let check = |own: &[(&str, &str)], expected: &str| {
            for newer in [[("etag", "\"a\""), ("x", "2")], [("etag", "\"b\""), ("x", "2")]] {
                let head = request("HEAD", "http://a.example/", own);
                let (entry, newer) = (stored(&STORED), response(200, &newer));
                let effect = freshen_by_head(&head, &entry, &newer, at(1999), &Rules::default(), at(2000));
                assert_eq!(effect.as_str() == "left", expected == "left", "{own:?}: {effect:?}");
            }
        };
        check(&[], "taught");
        check(&[("accept", "*/*"), ("cookie", "a=b"), ("content-length", "0")], "taught");
        for own in [
            ("if-match", "\"zz\""),
            ("if-none-match", "\"zz\""),
            ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("range", "bytes=0-1"),
            ("cache-control", "no-store"),
            ("authorization", "x"),
            ("content-length", "4"),
            ("transfer-encoding", "chunked"),
        ] {
            check(&[own], "left");
        }
    }
}
