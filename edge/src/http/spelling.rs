//! The one spelling of a request's target: what RFC 3986 forbids in it and clients send all the same is percent-encoded
//! (§2.1). It is done before anything else is made of a target, so that one resource has one key.
//!
//! Pure: bytes in, bytes out.

use std::borrow::Cow;

/// Whether a client may send this byte as it is where it has to be percent-encoded.
pub const fn is_raw(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'{' | b'}' | b'|' | b'^' | b'`' | 0x80..)
}

/// Writes `target` to `out` with each [raw](is_raw) byte encoded.
pub fn encode(target: &[u8], out: &mut Vec<u8>) {
    encode_these(target, is_raw, out);
}

/// A URL or a reference, as people and applications write it, in the spelling in which clients ask for it: a blank is
/// encoded, too. Its host has nothing that has to be.
pub fn of_reference(reference: &[u8]) -> Cow<'_, [u8]> {
    let is_wanted = |byte| is_raw(byte) || byte == b' ';
    if !reference.iter().any(|&byte| is_wanted(byte)) {
        return reference.into();
    }
    let mut out = Vec::with_capacity(reference.len() + 64);
    encode_these(reference, is_wanted, &mut out);
    out.into()
}

/// `text` with what stands for a [raw](is_raw) byte in it decoded, as somebody has it who never encoded that.
pub fn raw(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    let decoded = |at: usize| {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match bytes.get(at..at + 3)? {
            [b'%', high, low] => Some(digit(*high)? << 4 | digit(*low)?).filter(|&byte| is_raw(byte)),
            _ => None,
        }
    };
    if !(0..bytes.len()).any(|at| decoded(at).is_some()) {
        return bytes.into();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match decoded(at) {
            Some(raw) => {
                out.push(raw);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out.into()
}

fn encode_these(text: &[u8], is_wanted: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    for &byte in text {
        if is_wanted(byte) {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(byte);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_must_be_encoded_is_and_nothing_else() {
        let check = |written: &str, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&of_reference(written.as_bytes())), expected);
        };
        check("/\u{dc}ber uns.pdf?{a}|\"<^>`", "/%C3%9Cber%20uns.pdf?%7Ba%7D%7C%22%3C%5E%3E%60");
        check("/a%7c%2D%/b?c#d", "/a%7c%2D%/b?c#d");
    }

    #[test]
    fn what_never_had_to_be_encoded_stays_when_the_rest_is_decoded() {
        let check = |sent: &str, expected: &[u8]| assert_eq!(&*raw(sent), expected, "{sent}");
        check("/%C3%9cber%7c%2F%20%25%7", "/\u{dc}ber|%2F%20%25%7".as_bytes());
        check("/%ff%", b"/\xff%");
        check("/plain%2d", b"/plain%2d");
        check("/%%7C", b"/%|");
    }

    proptest! {
        #[test]
        fn encoding_again_gives_the_same(written in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            encode(&written, &mut once);
            encode(&once, &mut twice);
            prop_assert_eq!(&once, &twice);
            prop_assert!(!once.iter().any(|&byte| is_raw(byte)));
            let text = std::str::from_utf8(&once).unwrap();
            let mut again = Vec::new();
            encode(&raw(text), &mut again);
            prop_assert_eq!(again.to_ascii_uppercase(), once.to_ascii_uppercase());
        }
    }
}
