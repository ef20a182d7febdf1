//! Comma-separated lists (RFC 9110 §5.6.1).

use http::{HeaderMap, HeaderName};

/// The elements of a comma-separated list, over all lines of a field; commas in quoted strings do not count
/// (RFC 9110 §5.6.1). Empty elements are dropped.
pub fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).into_iter().flat_map(|value| split(value.as_bytes()))
}

/// As [`elements`], of one line.
pub fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_all(line).filter(|element| !element.is_empty())
}

/// As [`split`], the empty elements too: one more than there are commas.
pub fn split_all(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = element_end(line);
        rest = line.get(end + 1..);
        Some(line[..end].trim_ascii())
    })
}

/// A quote that is never closed is a byte like others, or it would hide the directives behind it.
fn element_end(line: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match byte {
            b',' => return at,
            b'"' => at = quoted_end(line, at).unwrap_or(at),
            _ => {}
        }
        at += 1;
    }
    line.len()
}

/// The place of the quote that closes a quoted string which opens at `open` (RFC 9110 §5.6.4); none if it is never closed.
pub fn quoted_end(line: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match line.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}
