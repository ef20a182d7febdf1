//! Selects from a stored response: by conditions, then by ranges (RFC 9110 §13.2.2, RFC 9111 §4.3.2).

use std::time::SystemTime;

use http::{HeaderValue, Method, StatusCode, header};

use super::range::{self, Resolved};
use super::validate::{self, Comparison};
use super::{Content, Entry};
use crate::http::date;
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::range::Part;
use crate::http::range::{Spec, asked};

/// The part of a stored response to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with its own status.
    Whole,
    /// 304 without a body.
    NotModified,
    /// 206 with these ranges of the representation: one → `Content-Range`, more → [`crate::http::range::Multipart`].
    Partial(Vec<Part>),
    /// 416 with `Content-Range: bytes */length`.
    Unsatisfiable {
        /// The representation's length in bytes.
        length: u64,
    },
}

/// Whether `entry` can answer what `request` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It can.
    Fits,
    /// It is a part that lacks bytes that are asked for.
    Lacks,
    /// The request demands another state of the resource than the stored one. Only the origin may refuse that:
    /// a cache may ignore `If-Match` and `If-Unmodified-Since`, but must not judge them (RFC 9111 §4.3.2).
    AskOrigin,
}

/// The part of `entry` to send for `request`, which [`fit`] found to fit.
pub fn select(request: &RequestHead, entry: &Entry) -> Selection {
    // RFC 9110 §13.2.1: conditions apply where the answer without them were a success; a 304 is for GET and HEAD.
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    if !reads || !entry.head.status.is_success() {
        Selection::Whole
    } else if is_unmodified(request, &entry.head, entry.received) {
        Selection::NotModified
    } else {
        match entry.content {
            Content::Whole { length: Some(length) } => of_whole(request, entry, length),
            Content::Whole { length: None } => Selection::Whole,
            Content::Part(held) => {
                of_part(request, entry, &held).map_or(Selection::Whole, Selection::Partial)
            }
        }
    }
}

/// Whether `entry` can answer `request`.
pub fn fit(request: &RequestHead, entry: &Entry) -> Fit {
    if demands_another(request, entry) {
        return Fit::AskOrigin;
    }
    match entry.content {
        Content::Whole { .. } => Fit::Fits,
        Content::Part(held) if of_part(request, entry, &held).is_some() => Fit::Fits,
        Content::Part(_) => Fit::Lacks,
    }
}

/// The slices to fetch for a range that the stored part `held` lacks; none if it is not to be fetched in slices.
pub fn slice(request: &RequestHead, entry: &Entry, held: &Part) -> Option<Part> {
    range::slice(&heeded(request, entry)?, held.complete?)
}

/// Whether a 304 answers `request` instead of this 200 or 206, which is passed on and not stored: the origin did not see the
/// conditions, because what it sends might have been stored for others.
pub fn stands_for(request: &RequestHead, response: &ResponseHead, received: SystemTime) -> bool {
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    let reaches = matches!(response.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    // RFC 9110 §13.1.3: without a modification date the condition is ignored; the date of the response stands for it in
    // what is stored only (RFC 9111 §4.3.2).
    let dated = request.headers.contains_key(header::IF_NONE_MATCH)
        || date::single(&response.headers, &header::LAST_MODIFIED, received).is_some();
    reads && reaches && dated && is_unmodified(request, response, received)
}

/// The content of a 206 in place of this 200 of `length` bytes, which is passed on and not stored: all of it,
/// if that is the range `request` has. Such a client (a video player) wants to know that ranges may follow.
pub fn all_as_part(
    request: &RequestHead,
    response: &ResponseHead,
    length: Option<u64>,
    received: SystemTime,
) -> Option<Part> {
    let specs = asked(&request.headers).filter(|_| request.method == Method::GET)?;
    let all = [Spec::From { first: 0, last: None }];
    let none = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"none");
    let gives_ranges = !response.headers.get(header::ACCEPT_RANGES).is_some_and(none);
    let heeded = request
        .headers
        .get(header::IF_RANGE)
        .is_none_or(|condition| validate::if_range_holds(condition.as_bytes(), &response.headers, received));
    let last = length?.checked_sub(1)?;
    (specs == all && response.status == StatusCode::OK && gives_ranges && heeded).then_some(Part {
        first: 0,
        last,
        complete: length,
    })
}

/// RFC 9110 §13.1.2, §13.1.3: `If-None-Match` goes before `If-Modified-Since`.
fn is_unmodified(request: &RequestHead, response: &ResponseHead, received: SystemTime) -> bool {
    let headers = &response.headers;
    if request.headers.contains_key(header::IF_NONE_MATCH) {
        return validate::names(&request.headers, &header::IF_NONE_MATCH, headers, Comparison::Weak);
    }
    let since = date::single(&request.headers, &header::IF_MODIFIED_SINCE, received);
    since.is_some_and(|since| validate::modified(headers, received) <= since)
}

/// Whether the request has a condition that a cache may ignore but not judge (RFC 9111 §4.3.2).
pub fn is_for_origin(request: &RequestHead) -> bool {
    [header::IF_MATCH, header::IF_UNMODIFIED_SINCE].iter().any(|name| request.headers.contains_key(name))
}

fn demands_another(request: &RequestHead, entry: &Entry) -> bool {
    let stored = &entry.head.headers;
    if request.headers.contains_key(header::IF_MATCH) {
        return !validate::names(&request.headers, &header::IF_MATCH, stored, Comparison::Strong);
    }
    let since = date::single(&request.headers, &header::IF_UNMODIFIED_SINCE, entry.received);
    since.is_some_and(|since| validate::modified(stored, entry.received) > since)
}

/// The ranges to heed: of a GET, and with an `If-Range` only if that holds (RFC 9110 §14.2, §13.1.5).
fn heeded(request: &RequestHead, entry: &Entry) -> Option<Vec<Spec>> {
    if request.method != Method::GET {
        return None;
    }
    let specs = asked(&request.headers)?;
    let holds = |condition: &HeaderValue| {
        validate::if_range_holds(condition.as_bytes(), &entry.head.headers, entry.received)
    };
    request.headers.get(header::IF_RANGE).is_none_or(holds).then_some(specs)
}

fn of_whole(request: &RequestHead, entry: &Entry, length: u64) -> Selection {
    if entry.head.status != StatusCode::OK {
        return Selection::Whole;
    }
    let Some(specs) = heeded(request, entry) else { return Selection::Whole };
    match range::resolve(&specs, length) {
        Resolved::Parts(parts) => Selection::Partial(parts),
        Resolved::Unsatisfiable => Selection::Unsatisfiable { length },
        Resolved::Excessive => Selection::Whole,
    }
}

/// The ranges asked for, if the part holds every byte of them. Without a known length only its own offsets count.
fn of_part(request: &RequestHead, entry: &Entry, held: &Part) -> Option<Vec<Part>> {
    let specs = heeded(request, entry)?;
    let bounded = |spec: &Spec| matches!(spec, Spec::From { last: Some(_), .. });
    let length = match held.complete {
        Some(complete) => complete,
        None if specs.iter().all(bounded) => u64::MAX,
        None => return None,
    };
    let Resolved::Parts(mut parts) = range::resolve(&specs, length) else { return None };
    parts.iter_mut().for_each(|part| part.complete = held.complete);
    parts.iter().all(|part| held.holds(part)).then_some(parts)
}

impl Selection {
    /// A label for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::NotModified => "not-modified",
            Self::Partial(_) => "partial",
            Self::Unsatisfiable { .. } => "unsatisfiable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{stored, stored_response};
    use super::*;
    use crate::http::testing::{get, request, response};

    const ETAG: (&str, &str) = ("etag", "\"a\"");
    const MODIFIED: (&str, &str) = ("last-modified", "Thu, 01 Jan 1970 00:10:00 GMT");
    const BEFORE: &str = "Thu, 01 Jan 1970 00:09:59 GMT";

    fn partial(ranges: &[(u64, u64)], complete: u64) -> Selection {
        let part = |&(first, last)| Part { first, last, complete: Some(complete) };
        Selection::Partial(ranges.iter().map(part).collect())
    }

    /// The part that is sent of 100 bytes with these fields.
    fn check(fields: &[(&str, &str)], asking: &[(&str, &str)], expected: Selection) {
        assert_eq!(select(&get(asking), &stored(fields)), expected, "{fields:?} {asking:?}");
    }

    #[test]
    fn a_304_stands_for_a_200_that_only_passes_by() {
        for (asking, status, expected) in [
            (("if-none-match", "W/\"a\""), 200, true),
            (("if-none-match", "W/\"a\""), 206, true),
            (("if-none-match", "\"b\""), 200, false),
            (("if-none-match", "\"a\""), 404, false),
            (("if-modified-since", MODIFIED.1), 200, true),
            (("if-modified-since", BEFORE), 200, false),
            (("x", "y"), 200, false),
        ] {
            let response = response(status, &[ETAG, MODIFIED]);
            let now = crate::http::testing::at(1000);
            assert_eq!(stands_for(&get(&[asking]), &response, now), expected, "{asking:?} {status}");
            assert!(!stands_for(&request("POST", "http://a.example/", &[asking]), &response, now));
        }
        let undated = response(200, &[ETAG]);
        let asking = get(&[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]);
        assert!(!stands_for(&asking, &undated, crate::http::testing::at(1000)), "without Last-Modified");
    }

    #[test]
    fn all_of_a_passing_response_is_a_part_to_who_asks_so() {
        let check = |range: &str, more: &[(&str, &str)], fields: &[(&str, &str)], length, expected: bool| {
            let asking = get(&[&[("range", range)], more].concat());
            let head = response(200, &[&[ETAG], fields].concat());
            let found = all_as_part(&asking, &head, length, crate::http::testing::at(1000));
            assert_eq!(
                found.map(|part| part.is_all()),
                expected.then_some(true),
                "{range} {more:?} {fields:?}"
            );
        };
        check("bytes=0-", &[], &[], Some(9), true);
        check("bytes=0-", &[("if-range", "\"a\"")], &[], Some(9), true);
        check("bytes=0-", &[("if-range", "\"b\"")], &[], Some(9), false);
        check("bytes=0-", &[], &[("accept-ranges", "none")], Some(9), false);
        check("bytes=0-", &[], &[], Some(0), false);
        check("bytes=0-", &[], &[], None, false);
        check("bytes=1-", &[], &[], Some(9), false);
        check("foo=0-", &[], &[], Some(9), false);
        let head = response(404, &[]);
        assert_eq!(
            all_as_part(&get(&[("range", "bytes=0-")]), &head, Some(9), crate::http::testing::at(1)),
            None
        );
    }

    #[test]
    fn conditions_are_answered_here() {
        check(&[ETAG], &[("if-none-match", "\"a\"")], Selection::NotModified);
        check(&[ETAG], &[("if-none-match", "\"b\"")], Selection::Whole);
        check(&[ETAG], &[("if-none-match", "*")], Selection::NotModified);
        check(&[], &[("if-none-match", "*")], Selection::NotModified);
        check(&[MODIFIED], &[("if-modified-since", MODIFIED.1)], Selection::NotModified);
        check(
            &[MODIFIED],
            &[("if-modified-since", "Thursday, 01-Jan-70 00:10:00 GMT")],
            Selection::NotModified,
        );
        check(&[MODIFIED], &[("if-modified-since", BEFORE)], Selection::Whole);
        check(&[MODIFIED], &[("if-modified-since", "rubbish")], Selection::Whole);
        check(
            &[ETAG, MODIFIED],
            &[("if-none-match", "\"b\""), ("if-modified-since", MODIFIED.1)],
            Selection::Whole,
        );
        check(
            &[ETAG, MODIFIED],
            &[("if-none-match", "\"a\""), ("if-modified-since", BEFORE)],
            Selection::NotModified,
        );
    }

    #[test]
    fn without_last_modified_the_date_is_compared() {
        check(&[("date", MODIFIED.1)], &[("if-modified-since", MODIFIED.1)], Selection::NotModified);
        check(&[("date", MODIFIED.1)], &[("if-modified-since", BEFORE)], Selection::Whole);
    }

    #[test]
    fn conditions_do_not_apply_to_errors() {
        let missing =
            stored_response(&get(&[]), &response(404, &[ETAG, ("cache-control", "max-age=9")]), 100);
        let asking = get(&[("if-none-match", "\"a\""), ("range", "bytes=0-0")]);
        assert_eq!(select(&asking, &missing), Selection::Whole);
    }

    #[test]
    fn the_answer_to_a_post_is_not_conditional() {
        let asking =
            request("POST", "http://a.example/", &[("if-none-match", "\"a\""), ("range", "bytes=0-1")]);
        assert_eq!(select(&asking, &stored(&[ETAG])), Selection::Whole);
    }

    #[test]
    fn ranges_come_after_conditions() {
        check(&[], &[("range", "bytes=0-1")], partial(&[(0, 1)], 100));
        check(&[], &[("range", "bytes=100-")], Selection::Unsatisfiable { length: 100 });
        check(&[ETAG], &[("range", "bytes=0-1"), ("if-none-match", "\"a\"")], Selection::NotModified);
        check(&[ETAG], &[("range", "bytes=0-1"), ("if-range", "\"a\"")], partial(&[(0, 1)], 100));
        check(&[ETAG], &[("range", "bytes=0-1"), ("if-range", "\"b\"")], Selection::Whole);
        check(&[ETAG], &[("range", "bytes=100-"), ("if-range", "\"b\"")], Selection::Whole);
        let head = request("HEAD", "http://a.example/", &[("range", "bytes=0-1")]);
        assert_eq!(select(&head, &stored(&[])), Selection::Whole);
    }

    #[test]
    fn demands_for_another_state_go_to_the_origin() {
        let check = |fields: &[(&str, &str)], asking: &[(&str, &str)], expected| {
            assert_eq!(fit(&get(asking), &stored(fields)), expected, "{fields:?} {asking:?}");
        };
        check(&[ETAG], &[("if-match", "\"a\"")], Fit::Fits);
        check(&[ETAG], &[("if-match", "\"x\", \"a\"")], Fit::Fits);
        check(&[ETAG], &[("if-match", "*")], Fit::Fits);
        check(&[ETAG], &[("if-match", "W/\"a\"")], Fit::AskOrigin);
        check(&[ETAG], &[("if-match", "\"b\"")], Fit::AskOrigin);
        check(&[MODIFIED], &[("if-unmodified-since", MODIFIED.1)], Fit::Fits);
        check(&[MODIFIED], &[("if-unmodified-since", BEFORE)], Fit::AskOrigin);
        check(&[ETAG, MODIFIED], &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Fit::Fits);
    }

    #[test]
    fn a_part_answers_what_it_holds() {
        let check = |content_range: &str, length, range: Option<&str>, expected: Option<Selection>| {
            let head = response(206, &[("content-range", content_range), ("cache-control", "max-age=9")]);
            let entry = stored_response(&get(&[]), &head, length);
            let asking = get(&range.map(|range| vec![("range", range)]).unwrap_or_default());
            let found = (fit(&asking, &entry) == Fit::Fits).then(|| select(&asking, &entry));
            assert_eq!(found, expected, "{content_range} {range:?}");
        };
        check("bytes 4-9/10", 5, Some("bytes=-5"), Some(partial(&[(4, 8)], 9)));
        check("bytes 5-9/10", 5, Some("bytes=-5"), Some(partial(&[(5, 9)], 10)));
        check("bytes 4-9/10", 5, Some("bytes=6-8"), Some(partial(&[(6, 8)], 9)));
        check("bytes 4-9/10", 6, Some("bytes=6-"), Some(partial(&[(6, 9)], 10)));
        check("bytes 4-9/10", 5, Some("bytes=6-"), Some(partial(&[(6, 8)], 9)));
        check("bytes 4-8/10", 4, Some("bytes=6-"), None);
        check("bytes 4-9/10", 6, Some("bytes=3-8"), None);
        check("bytes 4-9/10", 6, Some("bytes=10-"), None);
        check("bytes 4-9/10", 6, None, None);
        let unknown = |first, last| Selection::Partial(vec![Part { first, last, complete: None }]);
        check("bytes 4-9/*", 6, Some("bytes=5-6"), Some(unknown(5, 6)));
        check("bytes 4-9/*", 6, Some("bytes=5-"), None);
        check("bytes 4-9/*", 6, Some("bytes=-1"), None);
    }
}
