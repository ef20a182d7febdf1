//! The words of a directive: applications write `private; max-age=60` and `"private"`, and mean it.
//!
//! The value in quotes that stands behind an `=` is not looked at: it is the value of a directive of its own.

use crate::http::list::quoted_end;

/// Longer ones are no directive that is known here.
const LONGEST: usize = 24;

/// Calls `see` with each word of a list's element, in lower case.
pub(super) fn each(element: &[u8], mut see: impl FnMut(&[u8])) {
    let (mut at, mut start) = (0, 0);
    while at < element.len() {
        let byte = element[at];
        if is_of_word(byte) {
            at += 1;
            continue;
        }
        word(&element[start..at], &mut see);
        let is_value = byte == b'"' && at > 0 && element[at - 1] == b'=';
        let end = if is_value { quoted_end(element, at) } else { None };
        at = end.unwrap_or(at) + 1;
        start = at;
    }
    word(&element[start..], &mut see);
}

/// As [`each`], without the name of the directive where that is a word: it is read with its value.
pub(super) fn beside_name(element: &[u8], see: impl FnMut(&[u8])) {
    let end = element.iter().position(|&byte| byte == b'=').unwrap_or(element.len());
    let name = element[..end].trim_ascii();
    let is_word = name.iter().all(|&byte| is_of_word(byte));
    each(if is_word { &element[end..] } else { element }, see);
}

/// The bytes of the names that are known here. A token may have others (RFC 9110 §5.6.2), `'` among them.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn word(word: &[u8], see: &mut impl FnMut(&[u8])) {
    let mut lower = [0; LONGEST];
    if let Some(lower) = lower.get_mut(..word.len()).filter(|_| !word.is_empty()) {
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        see(lower);
    }
}
