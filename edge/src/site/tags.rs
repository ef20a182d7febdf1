//! The tags that an origin puts on a response, so that it can be purged by them.
//!
//! `Surrogate-Key: a b` (Fastly's form, space between), `Cache-Tag: a,b` (Cloudflare's, commas between) and
//! `Cache-Groups: "a", "b"` (RFC 9875) mean the same here and add up; an operator names other fields. Tags are compared
//! byte by byte.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use crate::http::structured;

/// The tags of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags<'a> {
    /// These; none without any of the fields.
    These(Vec<Cow<'a, [u8]>>),
    /// More than [`MAX_TAGS`], or one longer than [`MAX_TAG_BYTES`]: no tag may be missed, so each counts as its.
    Any,
}

/// The fields that carry tags, beside `Cache-Groups`, for this cache and those behind it; clients have no use for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFields(Vec<HeaderName>);

/// RFC 9875 §2. It is for every cache on the way, so it is passed on.
const GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// RFC 9875 §3.
const INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// A page made of that many parts is rare; comparing more would cost more than fetching it again.
pub const MAX_TAGS: usize = 1_000;
/// As others have it.
pub const MAX_TAG_BYTES: usize = 1_024;
/// Of one response; RFC 9875 §3 wants 32 at least.
pub const MAX_INVALIDATED: usize = 128;

impl Default for TagFields {
    fn default() -> Self {
        Self(vec![HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")])
    }
}

impl TagFields {
    /// These fields.
    pub fn new(names: Vec<HeaderName>) -> Self {
        Self(names)
    }

    /// Their names.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// The tags in `headers`.
    pub fn of<'a>(&self, headers: &'a HeaderMap) -> Tags<'a> {
        let listed = self.0.iter().flat_map(|name| {
            let separates = if is_spaced(name) { u8::is_ascii_whitespace } else { is_comma };
            let lines = headers.get_all(name).into_iter();
            lines.flat_map(move |line| line.as_bytes().split(separates)).map(<[u8]>::trim_ascii)
        });
        let listed = listed.filter(|tag| !tag.is_empty()).map(Cow::Borrowed);
        let groups = strings(headers, &GROUPS).into_iter().map(|group| Cow::Owned(group.into_bytes()));
        let named: Vec<Cow<'_, [u8]>> = listed.chain(groups).take(MAX_TAGS + 1).collect();
        if named.len() > MAX_TAGS || named.iter().any(|tag| !is_tag(tag)) {
            Tags::Any
        } else {
            Tags::These(named)
        }
    }
}

/// The groups that the response to an unsafe request invalidates on its origin (RFC 9875 §3).
pub fn invalidated(headers: &HeaderMap) -> Vec<String> {
    let mut groups = strings(headers, &INVALIDATION);
    groups.retain(|group| is_tag(group.as_bytes()));
    groups.truncate(MAX_INVALIDATED);
    groups
}

/// Fastly's field and Varnish's have spaces between tags, all others commas.
fn is_spaced(name: &HeaderName) -> bool {
    matches!(name.as_str(), "surrogate-key" | "xkey" | "x-xkey")
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

fn strings(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    if !headers.contains_key(name) {
        return Vec::new();
    }
    let lines: Vec<&[u8]> = headers.get_all(name).into_iter().map(|line| line.as_bytes()).collect();
    structured::strings(&lines.join(b", ".as_slice())).unwrap_or_default()
}

/// Whether a purge may name it.
pub fn is_tag(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= MAX_TAG_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn check_with(names: &TagFields, sent: &[(&str, &str)], expected: &[&str]) {
        let headers = fields(sent);
        let expected = Tags::These(expected.iter().map(|tag| Cow::Borrowed(tag.as_bytes())).collect());
        assert_eq!(names.of(&headers), expected, "{sent:?}");
    }

    fn check(sent: &[(&str, &str)], expected: &[&str]) {
        check_with(&TagFields::default(), sent, expected);
    }

    #[test]
    fn all_fields_and_all_their_lines_count() {
        check(&[], &[]);
        check(&[("surrogate-key", " a  b\tc ")], &["a", "b", "c"]);
        check(&[("cache-tag", "a, b ,,c d")], &["a", "b", "c d"]);
        check(&[("cache-tag", "x"), ("surrogate-key", "a"), ("cache-tag", "y")], &["a", "x", "y"]);
        check(&[("surrogate-key", "A,b")], &["A,b"]);
        check(&[("xkey", "a b"), ("x-magento-tags", "c")], &[]);
    }

    #[test]
    fn cache_groups_are_tags() {
        check(
            &[("cache-groups", "\"a b\", \"c\\\"d\";x=1"), ("cache-groups", "\"e\"")],
            &["a b", "c\"d", "e"],
        );
        check(&[("cache-tag", "x"), ("cache-groups", "\"a\"")], &["x", "a"]);
        // RFC 9651 §4.2: one wrong byte refuses the field; members of another type are no groups.
        check(&[("cache-groups", "\"a\", &")], &[]);
        check(&[("cache-groups", "a, 1, \"b\"")], &["b"]);
        let told = fields(&[("cache-group-invalidation", "\"a\", \"b\""), ("cache-groups", "\"c\"")]);
        assert_eq!(invalidated(&told), ["a", "b"]);
    }

    #[test]
    fn an_operator_names_the_fields_of_his_applications() {
        let names = ["xkey", "x-magento-tags"].map(HeaderName::from_static).into();
        let sent = [("xkey", "a b"), ("x-magento-tags", "cat_c,p 1"), ("cache-tag", "x")];
        check_with(&TagFields::new(names), &sent, &["a", "b", "cat_c", "p 1"]);
    }

    #[test]
    fn too_many_or_too_long_tags_are_all_tags() {
        let of = |sent: &[(&str, &str)]| TagFields::default().of(&fields(sent)) == Tags::Any;
        assert!(of(&[("surrogate-key", &vec!["t"; MAX_TAGS + 1].join(" "))]));
        assert!(of(&[("cache-tag", &"t".repeat(MAX_TAG_BYTES + 1))]));
        assert!(!of(&[("cache-tag", &"t".repeat(MAX_TAG_BYTES))]));
    }
}
