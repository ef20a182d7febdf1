//! Responses that browsers keep as dictionaries for the next version of the same thing (RFC 9842).

use super::pattern::PathPattern;

/// The paths whose responses are dictionaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionaries {
    /// None of them: no response is.
    pub paths: Vec<PathPattern>,
}

impl Dictionaries {
    /// Whether a response on this path, in normal form, is one.
    pub fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.matches(path))
    }
}

/// The URLs whose next responses the one on this path is a dictionary for, as a URL pattern without groups (RFC 9842
/// §2.1.1): this path, with `*` for each version in its last segment: `/js/app.3f9a01bc.js` is for `/js/app.*.js`.
pub fn matching(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let mut pattern = escaped(folder);
    pattern.push('/');
    let pieces = pieces(name);
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        match version_length(&pieces[at..]) {
            0 => {
                pattern.push_str(&escaped(piece));
                at += 1;
            }
            length => {
                pattern.push('*');
                at += length;
            }
        }
    }
    pattern
}

/// The words of a name, and what is between them.
fn pieces(name: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let begins = rest.starts_with(is_word);
        let end = rest.find(|c| is_word(c) != begins).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// So many of the first pieces are a version: `3.6.1`, a time, or a hash as bundlers write it.
fn version_length(pieces: &[&str]) -> usize {
    let is_number = |piece: &str| piece.bytes().all(|byte| byte.is_ascii_digit());
    let Some(first) = pieces.first() else { return 0 };
    if is_hash(first) {
        return 1;
    }
    if !is_number(first) {
        return 0;
    }
    let mut length = 1;
    while pieces.get(length) == Some(&".") && pieces.get(length + 1).is_some_and(|piece| is_number(piece)) {
        length += 2;
    }
    if length > 1 || first.len() >= LEAST_TIME { length } else { 0 }
}

/// Hexadecimal digits, letters with a digit before others, or more capitals than words have: `8f3a9c1b`, `Dk3jXbqa`,
/// `BxLmQaZr`. A word with a number behind it is none: `bootstrap5`.
fn is_hash(piece: &str) -> bool {
    let bytes = piece.as_bytes();
    let word = piece.trim_end_matches(|c: char| c.is_ascii_digit());
    let capitals = bytes.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let is_mixed =
        capitals >= LEAST_CAPITALS && capitals * LONGEST_WORD >= bytes.len() && capitals < bytes.len();
    bytes.len() >= LEAST_HASH
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && (bytes.iter().all(u8::is_ascii_hexdigit)
            || word.bytes().any(|byte| byte.is_ascii_digit())
            || is_mixed)
}

/// Bundlers write 8 letters or more …
const LEAST_HASH: usize = 8;
/// … with capitals that would begin so many words …
const LEAST_CAPITALS: usize = 3;
/// … of so few letters.
const LONGEST_WORD: usize = 4;
/// A date has 6 digits.
const LEAST_TIME: usize = 6;

/// Characters that have a meaning in a URL pattern stand for themselves.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "+*?:(){}\\".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_in_a_name_stands_for_any_other() {
        for (path, expected) in [
            ("/app.js", "/app.js"),
            ("/", "/"),
            ("/js/app.3f9a01bc.js", "/js/app.*.js"),
            ("/assets/index-Dk3jXbqa.css", "/assets/index-*.css"),
            ("/assets/index-BxLmQaZr.css", "/assets/index-*.css"),
            ("/jquery-3.6.1.min.js", "/jquery-*.min.js"),
            ("/v3.6.1/app.js", "/v3.6.1/app.js"),
            ("/app.20260508.js", "/app.*.js"),
            ("/1715170800/app.js", "/1715170800/app.js"),
            ("/chunk-12.js", "/chunk-12.js"),
            ("/chunk-12.d41d8cd98f00.js", "/chunk-12.*.js"),
            ("/intersectionObserver.js", "/intersectionObserver.js"),
            ("/polyfills.js", "/polyfills.js"),
            ("/bootstrap5.min.js", "/bootstrap5.min.js"),
            ("/main.deadbeef.js", "/main.*.js"),
            ("/a:b(c)*d+e.js", "/a\\:b\\(c\\)\\*d\\+e.js"),
            ("/%7Bx%7D.js", "/%7Bx%7D.js"),
        ] {
            assert_eq!(matching(path), expected, "{path}");
        }
    }
}
