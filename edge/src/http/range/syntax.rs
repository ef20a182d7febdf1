//! `Range` and `Content-Range` by the letter.

use http::{HeaderMap, StatusCode, header};

use crate::http::head::ResponseHead;
use crate::http::list;
use crate::http::range::{Part, Spec};

/// A field with more ranges than this is ignored: no client needs them, and each costs work.
pub const MAX_SPECS: usize = 64;

/// The ranges that a request asks for; none if the field is absent, of another unit or not valid: then it is
/// ignored (RFC 9110 §14.2).
pub fn asked(headers: &HeaderMap) -> Option<Vec<Spec>> {
    let mut lines = headers.get_all(header::RANGE).into_iter();
    let line = lines.next()?.as_bytes();
    if lines.next().is_some() {
        return None;
    }
    let equals = line.iter().position(|&byte| byte == b'=')?;
    if !line[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let elements: Vec<&[u8]> = list::split(&line[equals + 1..]).take(MAX_SPECS + 1).collect();
    if elements.is_empty() || elements.len() > MAX_SPECS {
        return None;
    }
    elements.into_iter().map(spec).collect()
}

/// The part that a 206 holds: one, with a valid `Content-Range` in bytes.
pub fn part(response: &ResponseHead) -> Option<Part> {
    part_of(response.status, &response.headers)
}

/// As [`part`], of a response with this status and these fields.
pub fn part_of(status: StatusCode, headers: &HeaderMap) -> Option<Part> {
    let mut lines = headers.get_all(header::CONTENT_RANGE).into_iter();
    let line = lines.next()?.as_bytes();
    if status != StatusCode::PARTIAL_CONTENT || lines.next().is_some() {
        return None;
    }
    let (unit, range) = line.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes ") {
        return None;
    }
    let slash = range.iter().position(|&byte| byte == b'/')?;
    let dash = range[..slash].iter().position(|&byte| byte == b'-')?;
    let complete = match &range[slash + 1..] {
        b"*" => None,
        digits => Some(offset(digits)?),
    };
    let part = Part { first: offset(&range[..dash])?, last: offset(&range[dash + 1..slash])?, complete };
    (part.first <= part.last && complete.is_none_or(|complete| part.last < complete)).then_some(part)
}

fn spec(element: &[u8]) -> Option<Spec> {
    let dash = element.iter().position(|&byte| byte == b'-')?;
    match (&element[..dash], &element[dash + 1..]) {
        (b"", length) => Some(Spec::Suffix { length: offset(length)? }),
        (first, b"") => Some(Spec::From { first: offset(first)?, last: None }),
        (first, last) => {
            let (first, last) = (offset(first)?, offset(last)?);
            (first <= last).then_some(Spec::From { first, last: Some(last) })
        }
    }
}

/// Digits only, saturating: an offset beyond all lengths is beyond this one too.
fn offset(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add).min(u64::MAX - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::testing::{fields, response};

    #[test]
    fn what_is_not_valid_is_ignored() {
        for range in [
            "bytes",
            "bytes=",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=-",
            "items=0-1",
            "bytes=0-1;2-3",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0-1,x",
        ] {
            assert_eq!(asked(&fields(&[("range", range)])), None, "{range}");
        }
        assert_eq!(asked(&fields(&[("range", "bytes=0-1"), ("range", "bytes=2-3")])), None);
        let many = format!("bytes={}", "0-,".repeat(MAX_SPECS + 1));
        assert_eq!(asked(&fields(&[("range", &many)])), None);
    }

    #[test]
    fn content_range_is_read_by_the_letter() {
        let check = |text: &str, expected: Option<(u64, u64, Option<u64>)>| {
            let expected = expected.map(|(first, last, complete)| Part { first, last, complete });
            assert_eq!(part(&response(206, &[("content-range", text)])), expected, "{text}");
        };
        check("bytes 4-8/10", Some((4, 8, Some(10))));
        check("Bytes 0-0/*", Some((0, 0, None)));
        for wrong in [
            "bytes 4-10/10",
            "bytes 5-4/10",
            "bytes */10",
            "bytes=4-8/10",
            "items 4-8/10",
            "bytes 4-8",
            "bytes 4-8/",
            "bytes -8/10",
            "",
        ] {
            check(wrong, None);
        }
        assert_eq!(part(&response(200, &[("content-range", "bytes 4-8/10")])), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in "[ -~]{0,40}") {
            let _ = asked(&fields(&[("range", &format!("bytes={text}"))]));
            let _ = part(&response(206, &[("content-range", &format!("bytes {text}"))]));
        }
    }
}
