//! Paths that an origin may read as another one than they show.
//!
//! `/static/..%2faccount` is below `/static/` for this cache and `/account` for an origin that decodes before it removes
//! dot segments. Origins differ in what they decode, fold and cut off, so whatever any of them is known to take for a
//! separator, a dot or an end counts.

use super::normal;

/// Whether origins may take a path for one with other segments than it shows: an encoded separator, dot or end, a second
/// layer of encoding, a character that is folded into one of these, overlong UTF-8, a wrong encoding, or blanks and
/// parameters beside a separator.
pub(crate) fn hides_segments(path: &str) -> bool {
    let path = normal(path).to_ascii_lowercase();
    HIDING.iter().any(|hiding| path.contains(hiding))
        || is_wrongly_encoded(&path)
        || percent_encoding::percent_decode_str(&path).decode_utf8_lossy().chars().any(folds)
        || BLANKS.iter().any(|blank| is_beside_a_separator(&path, blank))
}

/// Reserved characters that some decode before they split, and what some cut a path at. `%2e` is what the normal form has
/// left because another encoding in the path is wrong.
const HIDING: &[&str] = &["%23", "%25", "%2e", "%2f", "%3b", "%3f", "%5c", "\\", "..;", "/.;"];

/// Some trim these at the ends of segments, and some of them end a path for others.
const BLANKS: &[&str] = &["%20", "+", "%c2%a0"];

fn is_beside_a_separator(path: &str, blank: &str) -> bool {
    path.ends_with(blank) || path.contains(&format!("{blank}/")) || path.contains(&format!("/{blank}"))
}

/// A `%` that begins no byte (`%u2215`, `%zz`), a control character, or bytes that no UTF-8 has: lenient decoders make
/// dots and separators of overlong forms such as `%c0%af`.
fn is_wrongly_encoded(path: &str) -> bool {
    let bytes: Vec<Option<u8>> =
        path.match_indices('%').map(|(at, _)| super::encoded(&path.as_bytes()[at..])).collect();
    let bad = |byte: &Option<u8>| match byte {
        None => true,
        Some(byte) => matches!(byte, 0..0x20 | 0x7f | 0xc0 | 0xc1 | 0xf5..),
    };
    let overlong = |pair: &[Option<u8>]| {
        matches!(
            pair,
            [Some(0xe0), Some(0x80..0xa0)] | [Some(0xed), Some(0xa0..0xc0)] | [Some(0xf0), Some(0x80..0x90)]
        )
    };
    bytes.iter().any(bad) || bytes.windows(2).any(overlong)
}

/// Whether compatibility folding (NFKC), a best fit to another character set, or a decoder's own table makes a character
/// of a path's syntax of it.
fn folds(character: char) -> bool {
    matches!(character,
        '\u{ff01}'..='\u{ff5e}' // full-width ASCII
        | '\u{fe50}'..='\u{fe6b}' // small forms
        | '\u{2024}'..='\u{2026}' | '\u{3002}' | '\u{ff61}' // dots
        | '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{2571}' | '\u{1735}' // slashes
        | '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{2572}' | '\u{a5}' | '\u{20a9}' // backslashes
        | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' // a/c, a/s, c/o, c/u
        | '\u{37e}' // the Greek question mark, which is `;`
        | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' // what is dropped
        | '\u{2028}' | '\u{2029}' | '\u{85}') // ends of lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_may_be_read_otherwise_hides_its_segments() {
        for path in [
            "/static/..%2faccount",
            "/static/..;/account",
            "/static/%2E%2e%5Caccount",
            "/static/%2e%2e%2faccount",
            "/a%252fb",
            "/a\\b",
            "/account%00.css",
            "/account%0a.css",
            "/account%3f.css",
            "/account%23.css",
            "/static/..%c0%afaccount",
            "/static/%c0%ae%c0%ae/account",
            "/static/..%C1%9Caccount",
            "/static/..%e0%80%afaccount",
            "/static/..%f0%80%80%afaccount",
            "/static/..%fc%80%80%80%80%afaccount",
            "/static/..%ef%bc%8faccount",
            "/static/%ef%bc%8e%ef%bc%8e/account",
            "/static/..%ef%bc%bcaccount",
            "/static/%ef%bc%852e%ef%bc%852e/account",
            "/static/..%e2%88%95account",
            "/static/..%e2%81%84account",
            "/static/%e2%80%a5/account",
            "/static/%ef%b9%92%ef%b9%92/account",
            "/static/..%u2215account",
            "/static/..%u002faccount",
            "/static/%uff0e%uff0e/account",
            "/static/..%09/account",
            "/static/..%20/account",
            "/static/%20../account",
            "/static/..%0b/account",
            "/static/..%c2%a0/account",
            "/static/..%7f/account",
            "/static/..+/account",
            "/account%20",
            "/static/%2e%2e/account%zz",
            "/static/..%e2%80%8b/account",
            "/account%cd%be.css",
        ] {
            assert!(hides_segments(path), "{path}");
        }
    }

    #[test]
    fn an_ordinary_path_hides_nothing() {
        for path in [
            "/",
            "/a/b.css",
            "/a/../b",
            "/a/%2e%2e/b",
            "/%7euser/a%20b.css",
            "/a+b/c",
            "/%C3%9Cber.pdf",
            "/%e6%97%a5%e6%9c%ac/a",
            "/%d0%9f%d1%80%d0%b8",
            "/caf%E9/a",
            "/%f0%9f%98%80.png",
            "/a;v=1/b",
            "/a,b@c:d!e'(f)*",
        ] {
            assert!(!hides_segments(path), "{path}");
        }
    }
}
