//! A stored part and the rest of it as one response (RFC 9111 §3.4).

use http::{HeaderValue, StatusCode, header};

use super::validate::{self, Likeness};
use super::{Entry, freshen};
use crate::http::head::ResponseHead;
use crate::http::range::Part;
use crate::http::range::part;

/// The head of the whole response that `entry`, a stored part, and the body of `rest` come to; none if `rest` is not
/// exactly the bytes `missing` of the same representation.
pub fn complete(entry: &Entry, missing: &Part, rest: &ResponseHead) -> Option<ResponseHead> {
    let of_one = validate::likeness(&entry.head.headers, &rest.headers) == Likeness::Strong;
    let length = missing.complete.filter(|_| of_one && part(rest) == Some(*missing))?;
    // RFC 9111 §3.4: the new fields replace the stored ones, but for Content-Range.
    let mut headers = freshen::updated(&entry.head.headers, &rest.headers);
    headers.remove(header::CONTENT_RANGE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Some(ResponseHead { status: StatusCode::OK, headers })
}

#[cfg(test)]
mod tests {
    use super::super::testing::stored_response;
    use super::*;
    use crate::http::testing::{get, response};

    const MISSING: Part = Part { first: 5, last: 9, complete: Some(10) };

    /// Joins bytes 0 to 4 of 10 with a rest, and compares the fields of the whole, sorted.
    fn check(status: u16, rest: &[(&str, &str)], expected: Option<&[&str]>) {
        let part =
            response(206, &[("content-range", "bytes 0-4/10"), ("etag", "\"a\""), ("x", "1"), ("y", "1")]);
        let entry = stored_response(&get(&[]), &part, 5);
        let found = complete(&entry, &MISSING, &response(status, rest)).map(|head| {
            assert_eq!(head.status, StatusCode::OK);
            let names = ["content-length", "content-range", "etag", "x", "y"];
            let value = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            names.into_iter().filter_map(value).collect::<Vec<_>>()
        });
        assert_eq!(
            found.as_deref(),
            expected.map(|fields| fields.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>()).as_deref(),
            "{status} {rest:?}"
        );
    }

    #[test]
    fn parts_are_of_one_representation_if_tag_and_selecting_fields_say_so() {
        let part = |language: &str, tag: &str, range: &str| {
            let head = response(206, &[("content-range", range), ("etag", tag), ("vary", "accept-language")]);
            stored_response(&get(&[("accept-language", language)]), &head, 5)
        };
        let first = part("en", "\"a\"", "bytes 0-4/10");
        assert!(first.is_beside(&part("en", "\"a\"", "bytes 5-9/10")));
        for (language, tag, range) in [
            ("de", "\"a\"", "bytes 5-9/10"),
            ("en", "\"b\"", "bytes 5-9/10"),
            ("en", "W/\"a\"", "bytes 5-9/10"),
            ("en", "\"a\"", "bytes 4-8/10"),
            ("en", "\"a\"", "bytes 5-9/11"),
        ] {
            assert!(!first.is_beside(&part(language, tag, range)), "{language} {tag} {range}");
        }
    }

    #[test]
    fn only_the_missing_bytes_of_the_same_representation_are_joined() {
        let tag = ("etag", "\"a\"");
        let range = ("content-range", "bytes 5-9/10");
        check(206, &[tag, range, ("x", "2"), ("content-length", "5")], Some(&["10", "\"a\"", "2", "1"]));
        check(206, &[range], None);
        check(206, &[("etag", "\"b\""), range], None);
        check(206, &[("etag", "W/\"a\""), range], None);
        check(206, &[tag, ("content-range", "bytes 5-8/10")], None);
        check(206, &[tag, ("content-range", "bytes 4-9/10")], None);
        check(206, &[tag, ("content-range", "bytes 5-9/11")], None);
        check(206, &[tag], None);
        check(200, &[tag, range], None);
    }
}
