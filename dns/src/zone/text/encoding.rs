//! Bytes as letters: hexadecimal, base64 (RFC 4648 §4) and base32hex (RFC 4648 §7).

use std::fmt;

/// Appends what hexadecimal digits say; none when there is another letter or an odd count of them.
pub(crate) fn from_hex(digits: impl Iterator<Item = u8>, out: &mut Vec<u8>) -> Option<()> {
    let mut high = None;
    for digit in digits {
        let value = u8::try_from(char::from(digit).to_digit(16)?).ok()?;
        match high.take() {
            None => high = Some(value),
            Some(high) => out.push(high << 4 | value),
        }
    }
    high.is_none().then_some(())
}

/// Appends what base64 says; padding is required, and the bits it leaves over must be zero.
pub(crate) fn from_base64(letters: impl Iterator<Item = u8>, out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut count, mut pads) = (0_u32, 0_u32, 0_u32);
    for letter in letters {
        if letter == b'=' {
            pads += 1;
            continue;
        }
        let value = BASE64.iter().position(|known| *known == letter)?;
        if pads > 0 {
            return None;
        }
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 1;
        if count.is_multiple_of(4) {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    match (count % 4, pads) {
        (0, 0) => Some(()),
        (2, 2) if bits & 0xf == 0 => {
            out.push(u8::try_from(bits >> 4).ok()?);
            Some(())
        }
        (3, 1) if bits & 0x3 == 0 => {
            out.extend_from_slice(&u16::try_from(bits >> 2).ok()?.to_be_bytes());
            Some(())
        }
        _ => None,
    }
}

/// Appends what base32hex says, without padding (RFC 5155 §3.3).
pub(crate) fn from_base32hex(letters: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut bits, mut held) = (0_u32, 0);
    for letter in letters {
        let value = BASE32HEX.iter().position(|known| known.eq_ignore_ascii_case(letter))?;
        bits = (bits << 5 | u32::try_from(value).ok()?) & 0xfff;
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    (held < 5 && bits & ((1 << held) - 1) == 0).then_some(())
}

/// Writes hexadecimal in upper case.
pub(crate) fn write_hex(bytes: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}"))
}

/// Writes base64 with padding.
pub(crate) fn write_base64(bytes: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * place) & 0x3f) as usize];
            out.write_char(if place <= chunk.len() { char::from(letter) } else { '=' })?;
        }
    }
    Ok(())
}

/// Writes base32hex without padding.
pub(crate) fn write_base32hex(bytes: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    let (mut bits, mut held) = (0_u32, 0);
    for byte in bytes {
        bits = (bits << 8 | u32::from(*byte)) & 0xfff;
        held += 8;
        while held >= 5 {
            held -= 5;
            out.write_char(char::from(BASE32HEX[(bits >> held & 0x1f) as usize]))?;
        }
    }
    if held > 0 {
        out.write_char(char::from(BASE32HEX[(bits << (5 - held) & 0x1f) as usize]))?;
    }
    Ok(())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32HEX: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648 §10.
    #[test]
    fn the_rfcs_vectors_go_both_ways() {
        for (bytes, base64, base32hex, hex) in [
            ("", "", "", ""),
            ("f", "Zg==", "CO", "66"),
            ("fo", "Zm8=", "CPNG", "666F"),
            ("foo", "Zm9v", "CPNMU", "666F6F"),
            ("foob", "Zm9vYg==", "CPNMUOG", "666F6F62"),
            ("fooba", "Zm9vYmE=", "CPNMUOJ1", "666F6F6261"),
            ("foobar", "Zm9vYmFy", "CPNMUOJ1E8", "666F6F626172"),
        ] {
            let (mut a, mut b, mut c) = (String::new(), String::new(), String::new());
            write_base64(bytes.as_bytes(), &mut a).unwrap();
            write_base32hex(bytes.as_bytes(), &mut b).unwrap();
            write_hex(bytes.as_bytes(), &mut c).unwrap();
            assert_eq!((a.as_str(), b.as_str(), c.as_str()), (base64, base32hex, hex));
            let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
            from_base64(base64.bytes(), &mut a).unwrap();
            from_base32hex(base32hex.to_lowercase().as_bytes(), &mut b).unwrap();
            from_hex(hex.bytes(), &mut c).unwrap();
            assert!(a == bytes.as_bytes() && b == a && c == a, "{bytes}");
        }
    }

    #[test]
    fn what_is_not_the_encoding_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z=g=", "Zm9v!"] {
            assert_eq!(from_base64(text.bytes(), &mut Vec::new()), None, "{text}");
        }
        for text in ["C", "CP", "CPN", "W0"] {
            assert_eq!(from_base32hex(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
        for text in ["0", "0g", "+1"] {
            assert_eq!(from_hex(text.bytes(), &mut Vec::new()), None, "{text}");
        }
    }
}
