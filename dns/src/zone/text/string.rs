//! Character-strings (RFC 1035 §3.3): text of at most 255 octets, with escapes.

use std::fmt::Write;

use super::fields::{Fault, Fields, Word};
use crate::name::unescape;

/// Most octets of one character-string (RFC 1035 §3.3).
const MAX_STRING_OCTETS: usize = 255;

/// Appends the word's octets without its escapes.
pub(super) fn unescaped(word: &Word<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut rest = word.text;
    while let Some(plain) = rest.iter().position(|octet| *octet == b'\\') {
        out.extend_from_slice(&rest[..plain]);
        let (octet, used) = unescape(&rest[plain..]).ok_or_else(|| {
            Fault::of(
                word,
                "bad-escape",
                "a backslash is followed neither by three digits (000 to 255) nor by a character",
            )
            .help("write `\\\\` for a backslash")
        })?;
        out.push(octet);
        rest = &rest[plain + used..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Appends the next token with its length before it.
pub(super) fn read(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let word = fields.text("a text")?;
    let start = out.len();
    out.push(0);
    unescaped(&word, out)?;
    let len = out.len() - start - 1;
    out[start] = u8::try_from(len).map_err(|_| {
        Fault::of(
            &word,
            "text-too-long",
            format!("a text has at most {MAX_STRING_OCTETS} octets, this one has {len}"),
        )
        .help("split it into several texts, each in quotes: \"first part\" \"second part\"")
    })?;
    Ok(())
}

/// Writes octets in quotes.
pub(super) fn write_quoted(octets: &[u8], out: &mut String) {
    out.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            b' '..=b'~' => out.push(char::from(octet)),
            _ => write!(out, "\\{octet:03}").expect("a String takes all that is written to it"),
        }
    }
    out.push('"');
}
