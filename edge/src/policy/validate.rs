//! Entity tags, dates and the conditions made of them (RFC 9110 §8.8, §13).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::http::date;

/// How entity tags are compared (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// For ranges and `If-Match`: neither may be weak.
    Strong,
    /// For `If-None-Match`.
    Weak,
}

/// The conditions of our own request to the origin (RFC 9111 §4.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `If-None-Match`.
    pub if_none_match: Option<HeaderValue>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<HeaderValue>,
}

/// An entity tag (RFC 9110 §8.8.3). One that is not well formed is weak and equals only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag<'a> {
    /// With its quotes, so that one without them is another.
    opaque: &'a [u8],
    strength: Strength,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

impl Validators {
    /// The validators of a stored response, as they came.
    pub fn of(stored: &HeaderMap) -> Self {
        Self {
            if_none_match: stored.get(header::ETAG).cloned(),
            if_modified_since: stored.get(header::LAST_MODIFIED).cloned(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.if_none_match.is_none() && self.if_modified_since.is_none()
    }
}

impl<'a> ETag<'a> {
    /// Reads one tag.
    pub fn parse(text: &'a [u8]) -> Self {
        let (strength, rest) = match text.strip_prefix(b"W/") {
            Some(rest) => (Strength::Weak, rest),
            None => (Strength::Strong, text),
        };
        let inner = rest.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        match inner {
            Some(inner) if !inner.contains(&b'"') => Self { opaque: rest, strength },
            _ => Self { opaque: text, strength: Strength::Weak },
        }
    }

    /// The tag of a stored response.
    pub fn of(headers: &'a HeaderMap) -> Option<Self> {
        headers.get(header::ETAG).map(|value| Self::parse(value.as_bytes()))
    }

    /// RFC 9110 §8.8.3.2.
    pub fn equals(&self, other: &Self, comparison: Comparison) -> bool {
        match comparison {
            Comparison::Strong => self.strongly_equals(other),
            Comparison::Weak => self.weakly_equals(other),
        }
    }

    /// RFC 9110 §8.8.3.2: the same opaque tag, and neither weak.
    pub fn strongly_equals(&self, other: &Self) -> bool {
        self.is_strong() && other.is_strong() && self.opaque == other.opaque
    }

    /// RFC 9110 §8.8.3.2: the same opaque tag.
    pub fn weakly_equals(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// Whether byte-equal representations are promised.
    pub fn is_strong(&self) -> bool {
        self.strength == Strength::Strong
    }
}

/// The tag of a response with these fields, if byte-equal representations alone share it.
pub fn strong_tag(stored: &HeaderMap) -> Option<&HeaderValue> {
    stored.get(header::ETAG).filter(|tag| ETag::parse(tag.as_bytes()).is_strong())
}

/// Whether an `If-Match` or `If-None-Match` names `stored`'s tag under `comparison`, or is `*`.
pub fn names(request: &HeaderMap, field: &HeaderName, stored: &HeaderMap, comparison: Comparison) -> bool {
    let tag = ETag::of(stored);
    tags(request, field)
        .any(|text| text == b"*" || tag.is_some_and(|tag| ETag::parse(text).equals(&tag, comparison)))
}

/// The time a stored response is compared by: its `Last-Modified`, else its `Date`, else its receipt
/// (RFC 9111 §4.3.2).
pub fn modified(stored: &HeaderMap, received: SystemTime) -> SystemTime {
    date::single(stored, &header::LAST_MODIFIED, received)
        .or_else(|| date::single(stored, &header::DATE, received))
        .unwrap_or(received)
}

/// Whether an `If-Range` is true of a stored response: the same strong tag, or exactly its strong `Last-Modified`
/// (RFC 9110 §13.1.5).
pub fn if_range_holds(condition: &[u8], stored: &HeaderMap, received: SystemTime) -> bool {
    if condition.contains(&b'"') {
        let wanted = ETag::parse(condition);
        return ETag::of(stored).is_some_and(|tag| tag.strongly_equals(&wanted));
    }
    let modified = date::single(stored, &header::LAST_MODIFIED, received);
    let wanted = date::parse(condition, received);
    wanted.is_some() && wanted == modified && is_strong_date(stored, received)
}

/// RFC 9110 §8.8.2.2: a `Last-Modified` at least a second older than the `Date` cannot hide a second change.
fn is_strong_date(stored: &HeaderMap, received: SystemTime) -> bool {
    let dates = (
        date::single(stored, &header::LAST_MODIFIED, received),
        date::single(stored, &header::DATE, received),
    );
    matches!(dates, (Some(modified), Some(date)) if date::secs_between(modified, date) >= 1)
}

/// The tags of a list. Commas inside quotes belong to the tag, and a backslash there is just a byte
/// (RFC 9110 §8.8.3), unlike in other lists.
fn tags<'a>(request: &'a HeaderMap, field: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    request.get_all(field).into_iter().flat_map(|line| split_tags(line.as_bytes()))
}

fn split_tags(mut line: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while !line.is_empty() {
            let mut quotes = 0;
            let outside = |&byte: &u8| {
                quotes += usize::from(byte == b'"');
                byte == b',' && quotes % 2 == 0
            };
            let end = line.iter().position(outside).unwrap_or(line.len());
            let tag = line[..end].trim_ascii();
            line = line.get(end + 1..).unwrap_or_default();
            if !tag.is_empty() {
                return Some(tag);
            }
        }
        None
    })
}

/// How alike two messages about one resource are, by their validators (RFC 9111 §4.3.4, §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// Byte-equal: the same strong tag.
    Strong,
    /// Nothing contradicts that it is the same representation.
    Weak,
    /// Another representation.
    Different,
}

/// Compares a stored response's validators with those of a newer message.
pub fn likeness(stored: &HeaderMap, newer: &HeaderMap) -> Likeness {
    match (ETag::of(stored), ETag::of(newer)) {
        (Some(held), Some(tag)) if held.strongly_equals(&tag) => Likeness::Strong,
        // A strong tag picks what it is equal to, and nothing else (RFC 9111 §4.3.4).
        (held, Some(tag)) if tag.is_strong() || held.is_some_and(|held| !held.weakly_equals(&tag)) => {
            Likeness::Different
        }
        (_, Some(_)) => Likeness::Weak,
        (_, None) => likeness_by_date(stored, newer),
    }
}

fn likeness_by_date(stored: &HeaderMap, newer: &HeaderMap) -> Likeness {
    match (stored.get(header::LAST_MODIFIED), newer.get(header::LAST_MODIFIED)) {
        (Some(held), Some(date)) if held != date => Likeness::Different,
        _ => Likeness::Weak,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{at, fields};

    #[test]
    fn if_none_match_compares_weakly_over_lists() {
        let check = |stored: &str, lines: &[&str], expected| {
            let request: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
            let found = names(
                &fields(&request),
                &header::IF_NONE_MATCH,
                &fields(&[("etag", stored)]),
                Comparison::Weak,
            );
            assert_eq!(found, expected, "{stored} {lines:?}");
        };
        check("\"a\"", &["\"a\""], true);
        check("\"a\"", &["W/\"a\""], true);
        check("W/\"a\"", &["\"a\""], true);
        check("\"a\"", &["\"x\", \"a\" , \"y\""], true);
        check("\"a\"", &["\"x\"", "\"a\""], true);
        check("\"a\"", &["\"x,\"a\""], false);
        check("\"a,b\"", &["\"x\", \"a,b\""], true);
        check("\"a\\\"", &["\"a\\\", \"x\""], true);
        check("\"a\u{fc}\"", &["\"a\u{fc}\""], true);
        check("\"a\"", &["*"], true);
        check("\"a\"", &["\"*\""], false);
        check("\"a\"", &["a"], false);
        check("a", &["a"], true);
        check("a", &["\"a\""], false);
        check("\"a\"", &["w/\"a\""], false);
        check("\"a\"", &[""], false);
    }

    #[test]
    fn if_range_compares_strongly() {
        let modified = "Thu, 01 Jan 1970 00:10:00 GMT";
        let later = "Thu, 01 Jan 1970 00:10:01 GMT";
        let check = |stored: &[(&str, &str)], condition: &str, expected| {
            assert_eq!(
                if_range_holds(condition.as_bytes(), &fields(stored), at(1000)),
                expected,
                "{stored:?} {condition}"
            );
        };
        check(&[("etag", "\"a\"")], "\"a\"", true);
        check(&[("etag", "\"a\"")], "\"b\"", false);
        check(&[("etag", "W/\"a\"")], "W/\"a\"", false);
        check(&[], "\"a\"", false);
        check(&[("last-modified", modified), ("date", later)], modified, true);
        check(&[("last-modified", modified), ("date", later)], later, false);
        check(&[("last-modified", modified), ("date", modified)], modified, false);
        check(&[("last-modified", modified)], "rubbish", false);
    }

    #[test]
    fn validators_pick_what_they_equal() {
        let check = |stored: &[(&str, &str)], newer: &[(&str, &str)], expected| {
            assert_eq!(likeness(&fields(stored), &fields(newer)), expected, "{stored:?} {newer:?}");
        };
        let (one, two) = (
            ("last-modified", "Thu, 01 Jan 1970 00:10:00 GMT"),
            ("last-modified", "Thu, 01 Jan 1970 00:20:00 GMT"),
        );
        check(&[("etag", "\"a\"")], &[("etag", "\"a\"")], Likeness::Strong);
        check(&[("etag", "\"a\"")], &[("etag", "\"b\"")], Likeness::Different);
        check(&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], Likeness::Different);
        check(&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], Likeness::Weak);
        check(&[("etag", "W/\"a\"")], &[("etag", "W/\"b\"")], Likeness::Different);
        check(&[("etag", "\"a\""), one], &[("etag", "\"a\""), two], Likeness::Strong);
        check(&[("etag", "\"a\"")], &[], Likeness::Weak);
        check(&[one], &[one], Likeness::Weak);
        check(&[one], &[two], Likeness::Different);
        check(&[], &[two], Likeness::Weak);
        check(&[], &[("etag", "\"a\"")], Likeness::Different);
    }
}
