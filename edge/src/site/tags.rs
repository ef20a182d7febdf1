//! The tags that an origin puts on a response, so that it can be purged by them.
//!
//! `Surrogate-Key: a b` (Fastly's form, space between) and `Cache-Tag: a,b` (Cloudflare's, commas between) mean the
//! same here and add up. Tags are compared byte by byte.

use http::{HeaderMap, HeaderName};

/// The tags of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags<'a> {
    /// These; none without either field.
    These(Vec<&'a [u8]>),
    /// More than [`MAX_TAGS`], or one longer than [`MAX_TAG_BYTES`]: no tag may be missed, so each counts as its.
    Any,
}

/// The fields that carry tags, for this cache and those behind it; clients have no use for them.
pub const FIELDS: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")];

/// A page made of that many parts is rare; comparing more would cost more than fetching it again.
pub const MAX_TAGS: usize = 1_000;
/// As others have it.
pub const MAX_TAG_BYTES: usize = 1_024;

/// The tags in `headers`.
pub fn of(headers: &HeaderMap) -> Tags<'_> {
    let [keys, tags] = &FIELDS;
    let split = |name, separator: fn(&u8) -> bool| {
        let lines = headers.get_all(name).into_iter();
        lines.flat_map(move |line| line.as_bytes().split(separator)).map(<[u8]>::trim_ascii)
    };
    let both = split(keys, u8::is_ascii_whitespace).chain(split(tags, |byte| *byte == b','));
    let named: Vec<&[u8]> = both.filter(|tag| !tag.is_empty()).take(MAX_TAGS + 1).collect();
    if named.len() > MAX_TAGS || named.iter().any(|tag| !is_tag(tag)) {
        Tags::Any
    } else {
        Tags::These(named)
    }
}

/// Whether a purge may name it.
pub fn is_tag(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= MAX_TAG_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn check(sent: &[(&str, &str)], expected: &[&str]) {
        let headers = fields(sent);
        let expected = Tags::These(expected.iter().map(|tag| tag.as_bytes()).collect());
        assert_eq!(of(&headers), expected, "{sent:?}");
    }

    #[test]
    fn both_fields_and_all_their_lines_count() {
        check(&[], &[]);
        check(&[("surrogate-key", " a  b\tc ")], &["a", "b", "c"]);
        check(&[("cache-tag", "a, b ,,c d")], &["a", "b", "c d"]);
        check(&[("cache-tag", "x"), ("surrogate-key", "a"), ("cache-tag", "y")], &["a", "x", "y"]);
        check(&[("surrogate-key", "A,b")], &["A,b"]);
    }

    #[test]
    fn too_many_or_too_long_tags_are_all_tags() {
        let many = vec!["t"; MAX_TAGS + 1].join(" ");
        assert_eq!(of(&fields(&[("surrogate-key", &many)])), Tags::Any);
        assert_eq!(of(&fields(&[("cache-tag", &"t".repeat(MAX_TAG_BYTES + 1))])), Tags::Any);
        assert_ne!(of(&fields(&[("cache-tag", &"t".repeat(MAX_TAG_BYTES))])), Tags::Any);
    }
}
