//! The range to ask an origin for while the representation is unknown.
//!
//! One range at most: what several came to here would multiply at the origin, whose server may send each of them in full
//! (RFC 9110 §14.2, §17.15).

use http::{HeaderMap, HeaderValue, Method, header};

use super::JOIN_GAP_BYTES;
use crate::http::head::RequestHead;
use crate::http::range::{Spec, asked};

/// The part of a representation that a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: without a range, with one that is to be ignored, with all from the first byte on, or with several that
    /// lie apart.
    Whole,
    /// This range of it.
    One(Spec),
}

/// The fate of the `Range` of a request that is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It goes as it came.
    AsItCame,
    /// This instead.
    Instead(HeaderValue),
    /// It does not go: a server may ignore it (RFC 9110 §14.2).
    Not,
}

/// The ranges that `request` wants.
pub fn wanted(request: &RequestHead) -> Wanted {
    // RFC 9110 §14.2: it is defined for GET only.
    let specs = if request.method == Method::GET { asked(&request.headers) } else { None };
    match specs.and_then(|specs| joined(&specs)) {
        None | Some(Spec::From { first: 0, last: None }) => Wanted::Whole,
        Some(spec) => Wanted::One(spec),
    }
}

/// Whether a GET asks for a range in a unit of its origin's own (RFC 9110 §14.1): pages of a list are asked for so, by
/// `items=0-9`, and by `0-9` without a unit.
pub fn is_in_another_unit(request: &RequestHead) -> bool {
    request.method == Method::GET
        && request.headers.contains_key(header::RANGE)
        && !is_in_bytes(&request.headers)
}

/// The `Range` to send with a request that is not for the store.
pub fn sent(request: &RequestHead) -> Sent {
    if request.method != Method::GET || !is_in_bytes(&request.headers) {
        return Sent::AsItCame;
    }
    match asked(&request.headers) {
        None => Sent::Not,
        Some(specs) if specs.len() == 1 => Sent::AsItCame,
        Some(specs) => joined(&specs).map_or(Sent::Not, |spec| Sent::Instead(spec.range())),
    }
}

fn is_in_bytes(headers: &HeaderMap) -> bool {
    let unit = |value: &HeaderValue| {
        value.as_bytes().split(|&byte| byte == b'=').next().map(|unit| unit.trim_ascii().to_ascii_lowercase())
    };
    headers.get_all(header::RANGE).iter().any(|value| unit(value).as_deref() == Some(b"bytes"))
}

/// The one range that these come to; none if they lie apart, or may.
fn joined(specs: &[Spec]) -> Option<Spec> {
    let mut from: Vec<(u64, u64)> = Vec::with_capacity(specs.len());
    let mut suffix = None;
    for spec in specs {
        match *spec {
            Spec::From { first, last } => from.push((first, last.unwrap_or(u64::MAX))),
            Spec::Suffix { length } => suffix = suffix.max(Some(length)),
        }
    }
    from.sort_unstable();
    let run = from.iter().copied().try_fold(None, |run, (first, last)| match run {
        None => Some(Some((first, last))),
        Some((begin, end)) if first <= JOIN_GAP_BYTES.saturating_add(end) => {
            Some(Some((begin, last.max(end))))
        }
        Some(_) => None,
    })?;
    match (run, suffix) {
        (None, suffix) => suffix.map(|length| Spec::Suffix { length }),
        (Some((0, u64::MAX)), _) => Some(Spec::From { first: 0, last: None }),
        (Some((first, last)), None) => Some(Spec::From { first, last: (last != u64::MAX).then_some(last) }),
        // Where a suffix begins depends on the length.
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request;

    fn check(range: &str, expected: Option<&str>) {
        let asking = request("GET", "http://a.example/", &[("range", range)]);
        let found = match wanted(&asking) {
            Wanted::Whole => None,
            Wanted::One(spec) => Some(spec.range()),
        };
        let expected = expected.map(|expected| HeaderValue::try_from(expected).unwrap());
        assert_eq!(found, expected, "{range}");
    }

    #[test]
    fn no_origin_is_asked_for_more_than_one_range() {
        for one in ["bytes=0-9", "bytes=5-", "bytes=-5", "bytes=-0"] {
            check(one, Some(one));
        }
        check("BYTES= 7-8 ,", Some("bytes=7-8"));
        check("bytes=10-19,0-9", Some("bytes=0-19"));
        check("bytes=0-9,5-7", Some("bytes=0-9"));
        check("bytes=0-9,90-99", None);
        check("bytes=0-9,89-99", Some("bytes=0-99"));
        check("bytes=5-,7-,9-10", Some("bytes=5-"));
        check("bytes=-5,-9", Some("bytes=-9"));
        check("bytes=0-9,500-509", None);
        check("bytes=0-0,-1", None);
        check(&format!("bytes={}", ["5-"; 60].join(",")), Some("bytes=5-"));
    }

    #[test]
    fn all_of_it_is_the_whole() {
        check("bytes=0-", None);
        check(&format!("bytes={}", ["0-"; 60].join(",")), None);
        check("bytes=0-,-5", None);
        check(&format!("bytes={}", ["0-"; 300].join(",")), None);
    }

    #[test]
    fn what_is_to_be_ignored_is_no_range() {
        for range in ["foo=1", "bytes", "bytes=5-4", "bytes=a-b", "bytes=0-1,x"] {
            check(range, None);
        }
        let head = request("HEAD", "http://a.example/", &[("range", "bytes=0-1")]);
        assert_eq!(wanted(&head), Wanted::Whole);
    }

    #[test]
    fn what_is_passed_on_has_one_range_or_one_that_is_not_ours_to_read() {
        let check = |method: &str, ranges: &[&str], expected: Sent| {
            let fields: Vec<_> = ranges.iter().map(|range| ("range", *range)).collect();
            assert_eq!(sent(&request(method, "http://a.example/", &fields)), expected, "{method} {ranges:?}");
        };
        let instead = |range| Sent::Instead(HeaderValue::from_static(range));
        check("GET", &[], Sent::AsItCame);
        check("GET", &["bytes=5-"], Sent::AsItCame);
        check("GET", &["items=1-2,3-4"], Sent::AsItCame);
        check("PUT", &["bytes=1-2,3-4"], Sent::AsItCame);
        check("GET", &["bytes=1-2,3-4"], instead("bytes=1-4"));
        check("GET", &["bytes=0-,0-,0-"], instead("bytes=0-"));
        check("GET", &["bytes=0-9,500-509"], Sent::Not);
        check("GET", &["bytes=0-9", "bytes=5-6"], Sent::Not);
        check("GET", &["Bytes=9-1"], Sent::Not);
    }
}
