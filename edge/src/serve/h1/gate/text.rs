//! Which bytes may stand where, and how far a run of them goes.

use crate::http::spelling::is_raw;

/// RFC 9110 §5.6.2: `tchar`.
pub(super) const TOKEN: u8 = 1;
/// The characters of a path: RFC 3986's, and brackets, which browsers send as they are. No backslash:
/// some servers read it as a slash.
pub(super) const PATH: u8 = 2;
/// The characters of a query: a path's and a backslash; no fragment.
pub(super) const QUERY: u8 = 4;
/// Characters that RFC 3986 forbids in a target and clients send all the same: the gate percent-encodes them.
pub(super) const RAW: u8 = 32;
/// A registered name or an IPv4 address: what DNS labels and underscored names are made of.
pub(super) const HOST: u8 = 8;
/// RFC 9110 §5.5: `field-vchar`, space and tab.
pub(super) const VALUE: u8 = 16;

static CLASSES: [u8; 256] = classes();

/// How many bytes at the start are of the class. Eight at a time have one look at where the bytes end.
#[inline]
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    let differs = |&byte: &u8| CLASSES[usize::from(byte)] & class == 0;
    let mut rest = bytes;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        match eight.iter().position(differs) {
            Some(at) => return bytes.len() - rest.len() + at,
            None => rest = behind,
        }
    }
    bytes.len() - rest.len() + rest.iter().position(differs).unwrap_or(rest.len())
}

/// Whether every byte is of the class.
pub(super) fn all(bytes: &[u8], class: u8) -> bool {
    run(bytes, class) == bytes.len()
}

/// As `run(bytes, VALUE)`, in blocks of what one instruction compares and then of what one word holds: most of a head
/// is field values.
pub(super) fn value_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<16>()
        && !block.iter().fold(false, |control, &byte| control | (byte < 0x20) | (byte == 0x7f))
    {
        at += 16;
    }
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        match first_control(u64::from_le_bytes(*word)) {
            8 => at += 8,
            n if word[n] == b'\t' => at += n + 1,
            n => return at + n,
        }
    }
    at + run(&bytes[at..], VALUE)
}

/// RFC 9110 §5.6.3: optional white space is spaces and tabs, nothing else.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// The place of the first byte below 0x20 or equal to 0x7f; 8 if there is none.
fn first_control(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // A borrow can only mark bytes above a marked one, so the lowest mark is right.
    let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let deletes = word ^ (ONES * 0x7f);
    let delete = deletes.wrapping_sub(ONES) & !deletes & HIGHS;
    ((below_space | delete).trailing_zeros() / 8) as usize
}

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8);
        byte += 1;
    }
    classes
}

const fn class(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
    {
        class |= TOKEN;
    }
    if is_raw(byte) {
        class |= RAW;
    } else if byte.is_ascii_graphic() && byte != b'#' {
        class |= QUERY;
        if !matches!(byte, b'?' | b'\\') {
            class |= PATH;
        }
    }
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
        class |= HOST;
    }
    if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
        class |= VALUE;
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(allowed: &str, class: u8) {
        let held: String = (0..=127u8).filter(|&byte| all(&[byte], class)).map(char::from).collect();
        assert_eq!(held, allowed);
    }

    #[test]
    fn a_token_holds_what_rfc_9110_5_6_2_lists() {
        check("!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~", TOKEN);
    }

    #[test]
    fn a_path_holds_what_browsers_send_and_no_backslash() {
        check("!$%&'()*+,-./0123456789:;=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~", PATH);
    }

    #[test]
    fn only_a_value_and_a_raw_target_hold_bytes_above_ascii() {
        assert!((128..=255).all(|byte| CLASSES[byte] == VALUE | RAW));
    }

    #[test]
    fn white_space_is_spaces_and_tabs() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\x0ca\x0b"), b"\x0ca\x0b");
    }

    proptest! {
        #[test]
        fn eight_at_a_time_finds_what_one_at_a_time_finds(bytes in proptest::collection::vec(any::<u8>(), 0..40),
                                                          tame in proptest::collection::vec(0x1d..0x83u8, 0..40)) {
            prop_assert_eq!(value_run(&bytes), run(&bytes, VALUE));
            prop_assert_eq!(value_run(&tame), run(&tame, VALUE));
        }
    }
}
