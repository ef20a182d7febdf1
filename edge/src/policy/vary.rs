//! Which stored response answers which request (RFC 9111 §4.1).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, header};

use super::{Entry, encoding};
use crate::http::date;
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::{field, list};

/// The meaning of `Vary`, over all its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// These fields select, sorted, each once; none if there is no `Vary`.
    Fields(Vec<HeaderName>),
    /// `*` is among them: no other request ever matches.
    Star,
    /// More than [`MAX_FIELDS`], a name that is none, or a field that this cache overwrites for each client.
    TooWide,
}

/// The request fields that select a stored response, normalised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selecting {
    fields: Vec<(HeaderName, Option<Vec<u8>>)>,
    /// Whether it is for requests that take gzip, where that is known though `Vary` does not say so.
    takes_gzip: Option<bool>,
}

/// Real sites name up to about five; the rest is an attempt at variant explosion.
pub const MAX_FIELDS: usize = 16;

/// Reads the `Vary` of `response`.
pub fn of(response: &ResponseHead) -> Vary {
    let mut fields = Vec::new();
    for element in list::elements(&response.headers, &header::VARY) {
        match HeaderName::from_bytes(element) {
            _ if element == b"*" => return Vary::Star,
            Ok(name) => fields.push(name),
            Err(_) => return Vary::TooWide,
        }
    }
    fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    fields.dedup();
    if fields.len() > MAX_FIELDS || fields.iter().any(is_ours) { Vary::TooWide } else { Vary::Fields(fields) }
}

/// The variant that answers `request`: of those that match the most recent by `Date` (RFC 9111 §4.1).
pub fn choose(request: &RequestHead, variants: &[&Entry]) -> Option<usize> {
    if let [entry] = variants
        && entry.selecting.matches(request)
    {
        return Some(0);
    }
    let matching = |(_, entry): &(usize, &&Entry)| entry.selecting.matches(request);
    newest(variants, variants.iter().enumerate().filter(matching))
        .or_else(|| newest(variants, variants.iter().enumerate().filter(|(_, entry)| speaks(entry, request))))
}

fn newest<'a>(
    variants: &[&Entry],
    candidates: impl Iterator<Item = (usize, &'a &'a Entry)>,
) -> Option<usize> {
    // A variant for clients of this kind goes before one for all.
    let rank = |index: usize| (variants[index].selecting.takes_gzip.is_some(), dated(variants[index]));
    candidates.map(|(index, _)| index).max_by_key(|&index| rank(index))
}

fn dated(entry: &Entry) -> (SystemTime, SystemTime) {
    let date = date::single(&entry.head.headers, &header::DATE, entry.received);
    (date.unwrap_or(entry.received), entry.received)
}

/// Whether `entry` is in the one language that `request` prefers to all others, all else being equal. An origin that
/// negotiates would choose it (RFC 9110 §12.5.4), and RFC 9111 §4.1 lets a cache do so.
fn speaks(entry: &Entry, request: &RequestHead) -> bool {
    let language = entry.head.headers.get(header::CONTENT_LANGUAGE).map(|value| value.as_bytes());
    let preferred = most_preferred(&request.headers);
    let equal =
        matches!((language, &preferred), (Some(held), Some(wanted)) if held.eq_ignore_ascii_case(wanted));
    equal && entry.selecting.matches_but_for(request, &header::ACCEPT_LANGUAGE)
}

/// The language with the highest weight, if it is alone there and not `*`.
fn most_preferred(headers: &HeaderMap) -> Option<Vec<u8>> {
    let ranges = list::elements(headers, &header::ACCEPT_LANGUAGE).map(field::weighted);
    let mut ranges: Vec<(u16, Vec<u8>)> = ranges.map(|(name, weight)| (weight, name)).collect();
    ranges.sort_unstable_by(|a, b| b.cmp(a));
    let (weight, name) = ranges.first()?;
    let alone = ranges.get(1).is_none_or(|(second, _)| second < weight);
    (alone && *weight > 0 && name != b"*").then(|| name.clone())
}

/// Fields whose value the origin gets from us, by client: a stored response could not be matched by what came in.
/// `X-Forwarded-Host` and `X-Forwarded-Proto` are in the key already.
fn is_ours(name: &HeaderName) -> bool {
    matches!(name.as_str(), "forwarded" | "x-forwarded-for" | "via" | "cdn-loop")
}

impl Selecting {
    /// The fields that `response` names in `Vary`, with their values in `request`.
    pub fn of(request: &RequestHead, response: &ResponseHead) -> Self {
        let Vary::Fields(names) = of(response) else { return Self::default() };
        let valued = |name: HeaderName| {
            let value = field::normal(&request.headers, &name);
            (name, value)
        };
        let is_told = names.contains(&header::ACCEPT_ENCODING);
        // An origin that packs without a word about it may do otherwise for a client that cannot read it.
        let takes_gzip = (!is_told && encoding::is_gzip(&response.headers))
            .then(|| encoding::takes_gzip(&request.headers));
        Self { fields: names.into_iter().map(valued).collect(), takes_gzip }
    }

    /// The fields that [`Selecting::values`] and [`Selecting::takes_gzip`] told of.
    pub fn from_values(fields: Vec<(HeaderName, Option<Vec<u8>>)>, takes_gzip: Option<bool>) -> Self {
        Self { fields, takes_gzip }
    }

    /// Whether it is for requests that take gzip, where that is known though `Vary` does not say so.
    pub fn takes_gzip(&self) -> Option<bool> {
        self.takes_gzip
    }

    /// Whether `request` has the same values.
    pub fn matches(&self, request: &RequestHead) -> bool {
        self.fields.iter().all(|(name, value)| field::normal(&request.headers, name) == *value)
            && self.takes_gzip.is_none_or(|takes| takes == encoding::takes_gzip(&request.headers))
    }

    /// The names of the fields, sorted.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
    }

    /// The fields and their values, none where the request had none.
    pub fn values(&self) -> impl Iterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|(name, value)| (name, value.as_deref()))
    }

    fn matches_but_for(&self, request: &RequestHead, free: &HeaderName) -> bool {
        let equal = |(name, value): &(HeaderName, Option<Vec<u8>>)| {
            name == free || field::normal(&request.headers, name) == *value
        };
        self.names().any(|name| name == free) && self.fields.iter().all(equal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::stored_for;
    use super::*;
    use crate::http::testing::{get, response};

    /// Whether what was stored for `first` with this `Vary` answers `second`.
    fn check(vary: &[&str], first: &[(&str, &str)], second: &[(&str, &str)], expected: bool) {
        let lines: Vec<(&str, &str)> = vary.iter().map(|line| ("vary", *line)).collect();
        let selecting = Selecting::of(&get(first), &response(200, &lines));
        assert_eq!(selecting.matches(&get(second)), expected, "{vary:?} {first:?} {second:?}");
    }

    #[test]
    fn the_preferred_language_is_the_one_above_all_others() {
        for (sent, expected) in [
            ("de", Some("de")),
            ("DE;q=0.5", Some("de")),
            ("de, en;q=0.9", Some("de")),
            ("en;q=0.899, de;q=0.9", Some("de")),
            ("de, en", None),
            ("de;q=0.5, en;q=0.5", None),
            ("de;q=0", None),
            ("de;q=0.001", Some("de")),
            ("*", None),
            ("*, de;q=0.5", None),
            ("", None),
        ] {
            let found = most_preferred(&get(&[("accept-language", sent)]).headers);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{sent}");
        }
    }

    #[test]
    fn the_named_fields_must_be_equal_and_only_they() {
        check(&["Foo"], &[("foo", "1")], &[("foo", "1")], true);
        check(&["foo"], &[("Foo", "1")], &[("FOO", "1"), ("other", "2")], true);
        check(&["Foo"], &[("foo", "1")], &[("foo", "2")], false);
        check(&["Foo"], &[], &[("foo", "1")], false);
        check(&["Foo"], &[("foo", "1")], &[], false);
        check(&["Foo"], &[("foo", "")], &[], false);
        check(&["Foo, Bar"], &[("foo", "1"), ("bar", "2")], &[("bar", "2"), ("foo", "1")], true);
        check(&["Foo", "Bar"], &[("foo", "1"), ("bar", "2")], &[("bar", "3"), ("foo", "1")], false);
        check(&["Foo, Bar, Baz"], &[("foo", "1"), ("baz", "2")], &[("baz", "2"), ("foo", "1")], true);
        check(&[], &[("foo", "1")], &[("foo", "2")], true);
    }

    #[test]
    fn what_means_nothing_does_not_separate() {
        check(&["Foo"], &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true);
        check(&["Foo"], &[("foo", "1,2")], &[("foo", " 1, 2 ")], true);
        check(&["Foo"], &[("foo", "1, 2")], &[("foo", "2, 1")], false);
        check(&["Foo"], &[("foo", "a,")], &[("foo", "a")], false);
        check(&["Foo"], &[("foo", "a,,b")], &[("foo", "a, b")], false);
        check(&["Foo"], &[("foo", ",a")], &[("foo", ""), ("foo", "a")], true);
        check(&["Accept-Language"], &[("accept-language", "en,,")], &[("accept-language", "en")], true);
        check(&["Foo"], &[("foo", "a")], &[("foo", "A")], false);
        check(&["Foo"], &[("foo", "\"a, b\"")], &[("foo", "\"a,b\"")], false);
        let language = |a, b, equal| {
            check(&["Accept-Language"], &[("accept-language", a)], &[("accept-language", b)], equal)
        };
        language("en, de", "de, en", true);
        language("en, de", "eN, De", true);
        language("en, de", " en ,   de", true);
        language("en;q=1.0, de;q=0.50", "de; q=0.5, en", true);
        language("en, de;q=0.5", "en, de", false);
        language("en;x=1", "en", false);
    }

    #[test]
    fn gzip_without_a_word_is_for_those_who_take_it_or_those_who_do_not() {
        let gzip = ("accept-encoding", "gzip");
        for (first, second, vary, expected) in [
            (&[gzip][..], &[("accept-encoding", "br, gzip")][..], "", true),
            (&[gzip], &[], "", false),
            (&[], &[("accept-encoding", "br")], "", true),
            (&[], &[gzip], "", false),
            (&[gzip], &[("accept-encoding", "br, gzip")], "Accept-Encoding", false),
        ] {
            let packed = response(200, &[("content-encoding", "gzip"), ("vary", vary)]);
            assert_eq!(
                Selecting::of(&get(first), &packed).matches(&get(second)),
                expected,
                "{first:?} {second:?}"
            );
        }
        assert!(Selecting::of(&get(&[gzip]), &response(200, &[])).matches(&get(&[])));
    }

    #[test]
    fn the_newest_that_matches_is_chosen() {
        let first =
            stored_for(&get(&[("foo", "1")]), &[("vary", "foo"), ("date", "Thu, 01 Jan 1970 00:10:00 GMT")]);
        let second =
            stored_for(&get(&[("foo", "1")]), &[("vary", "foo"), ("date", "Thu, 01 Jan 1970 00:05:00 GMT")]);
        let other = stored_for(&get(&[("foo", "2")]), &[("vary", "foo")]);
        let choose = |asking: &[(&str, &str)]| choose(&get(asking), &[&second, &first, &other]);
        assert_eq!(choose(&[("foo", "1")]), Some(1));
        assert_eq!(choose(&[("foo", "2")]), Some(2));
        assert_eq!(choose(&[("foo", "3")]), None);
    }

    #[test]
    fn the_most_preferred_language_is_served_if_it_is_held() {
        let fields = [("vary", "Accept-Language, Foo"), ("content-language", "de")];
        let german = stored_for(&get(&[("accept-language", "en, de"), ("foo", "1")]), &fields);
        for (wanted, foo, expected) in [
            ("fr;q=0.5, de;q=1.0", "1", Some(0)),
            ("fr;q=0.5, de;q=1.0", "2", None),
            ("fr, de", "1", None),
            ("fr, de;q=0.9", "1", None),
            ("de;q=0", "1", None),
            ("*", "1", None),
        ] {
            assert_eq!(
                choose(&get(&[("accept-language", wanted), ("foo", foo)]), &[&german]),
                expected,
                "{wanted} {foo}"
            );
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let many = (0..=MAX_FIELDS).map(|n| format!("f{n}")).collect::<Vec<_>>().join(", ");
        assert_eq!(of(&response(200, &[("vary", &many)])), Vary::TooWide);
        assert_eq!(of(&response(200, &[("vary", "a b")])), Vary::TooWide);
    }

    proptest! {
        #[test]
        fn any_request_matches_itself(value in "[ -~]{0,30}", name in "foo|accept-language|accept-encoding") {
            let request = get(&[(&name, &value)]);
            let selecting = Selecting::of(&request, &response(200, &[("vary", &name)]));
            prop_assert!(selecting.matches(&request));
        }
    }
}
