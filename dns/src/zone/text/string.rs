//! Character-strings (RFC 1035 §3.3): text of at most 255 bytes, with escapes.

use std::fmt::Write;

use super::fields::{Fault, Fields, Word};
use crate::name::unescape;

/// Most bytes of one character-string (RFC 1035 §3.3).
const MAX_STRING_BYTES: usize = 255;

/// Appends the word's bytes without its escapes.
pub(super) fn unescaped(word: &Word<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut rest = word.text;
    while let Some(plain) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..plain]);
        let (byte, used) = unescape(&rest[plain..]).ok_or_else(|| {
            Fault::of(
                word,
                "bad-escape",
                "a backslash is followed neither by three digits (000 to 255) nor by a character",
            )
            .help("write `\\\\` for a backslash")
        })?;
        out.push(byte);
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
            format!("a text has at most {MAX_STRING_BYTES} bytes, this one has {len}"),
        )
        .help("split it into several texts, each in quotes: \"first part\" \"second part\"")
    })?;
    Ok(())
}

/// Writes bytes in quotes.
pub(super) fn write_quoted(bytes: &[u8], out: &mut String) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => write!(out, "\\{byte:03}").expect("a String takes all that is written to it"),
        }
    }
    out.push('"');
}
