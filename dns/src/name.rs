//! Domain names in wire form (RFC 1035 §3.1): length-prefixed labels that end with the root label.
//!
//! A [`Name`] is a key: its ASCII letters are lower case, so equality is plain byte equality (RFC 4343).
//! Names inside RDATA keep the case their author wrote; they are bytes there, and become a `Name` when followed.
//!
//! Invariant: the bytes of a `Name` are a valid uncompressed name of at most [`MAX_NAME_BYTES`] bytes.
//! Invariant: `Name` has no `Ord`, because byte order is not the canonical order of RFC 4034 §6.1; say
//! [`Name::canonical_cmp`] where order matters.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

use crate::small_bytes::SmallBytes;

/// Longest name on the wire, root label included (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 255;
/// Longest label (RFC 1035 §2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;

/// A lower-case domain name in uncompressed wire form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(SmallBytes);

/// Why a name is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// A label of more than 63 bytes.
    LabelTooLong,
    /// More than 255 bytes in all.
    NameTooLong,
    /// Two dots in a row, or a dot at the start.
    EmptyLabel,
    /// A backslash that is followed neither by three digits up to 255 nor by a character.
    BadEscape,
    /// A relative name where no origin is known.
    NoOrigin,
    /// Nothing at all.
    Empty,
    /// Wire bytes that end early, carry a pointer, or go on after the root label.
    BadWire,
}

impl NameError {
    /// The reason in words, to be put after the name at fault.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LabelTooLong => "a label has more than 63 bytes",
            Self::NameTooLong => "the name has more than 255 bytes",
            Self::EmptyLabel => "a label is empty (two dots in a row, or a dot at the start)",
            Self::BadEscape => {
                "a backslash must be followed by three digits (000 to 255) or by one character"
            }
            Self::NoOrigin => {
                "the name is relative, but no origin is known here; end it with a dot or set $ORIGIN"
            }
            Self::Empty => "the name is empty",
            Self::BadWire => "the name is malformed on the wire",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self(SmallBytes::from([0]))
    }

    /// From exactly one uncompressed wire name; letters are lowered.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        match wire_len(wire) {
            Some(len) if len == wire.len() => Ok(Self::lowered(wire)),
            _ => Err(NameError::BadWire),
        }
    }

    /// From presentation form. A name without a final dot is relative to `origin`.
    pub fn parse(text: &str, origin: Option<&Name>) -> Result<Self, NameError> {
        parse_to_wire(text.as_bytes(), origin.map(Name::as_wire)).map(|wire| Self::lowered(&wire))
    }

    /// From what a person types: as [`Name::parse`], but a missing final dot is supplied.
    pub fn parse_absolute(text: &str) -> Result<Self, NameError> {
        Self::parse(text, Some(&Self::root()))
    }

    fn lowered(wire: &[u8]) -> Self {
        let mut bytes = SmallBytes::from(wire);
        // Length bytes are at most 63 and so never collide with the letters that this lowers.
        bytes.make_ascii_lowercase();
        Self(bytes)
    }

    /// The uncompressed wire form, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Labels from the leftmost to the topmost, without the root label.
    pub fn labels(&self) -> Labels<'_> {
        labels(&self.0)
    }

    /// Labels without the root label.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; none for the root.
    pub fn parent(&self) -> Option<Name> {
        parent(&self.0).map(|wire| Self(wire.into()))
    }

    /// Whether this is `ancestor` or below it.
    pub fn is_at_or_under(&self, ancestor: &Name) -> bool {
        is_at_or_under(&self.0, &ancestor.0)
    }

    /// `*.self`, the wildcard whose parent is this name (RFC 4592 §2.1.1); none if that would be too long.
    pub fn wildcard(&self) -> Option<Name> {
        self.child(b"*")
    }

    /// `label.self`; none if the label or the name would be too long or the label is empty.
    pub fn child(&self, label: &[u8]) -> Option<Name> {
        if label.is_empty()
            || label.len() > MAX_LABEL_BYTES
            || self.0.len() + label.len() + 1 > MAX_NAME_BYTES
        {
            return None;
        }
        let mut wire = Vec::with_capacity(self.0.len() + label.len() + 1);
        wire.push(u8::try_from(label.len()).expect("a label has at most 63 bytes"));
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        Some(Self::lowered(&wire))
    }

    /// Whether the leftmost label is exactly `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(&[1, b'*'])
    }

    /// Canonical order of RFC 4034 §6.1: label by label from the top, a name before those below it.
    pub fn canonical_cmp(&self, other: &Name) -> Ordering {
        canonical_cmp(&self.0, &other.0)
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_wire(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of the uncompressed wire name at the start of `wire`; none if there is no valid one.
#[inline]
pub fn wire_len(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*wire.get(at)?);
        at += 1;
        if len == 0 {
            return (at <= MAX_NAME_BYTES).then_some(at);
        }
        if len > MAX_LABEL_BYTES {
            return None;
        }
        at += len;
    }
}

/// Labels of a valid wire name from the leftmost to the topmost, without the root label.
#[inline]
pub fn labels(wire: &[u8]) -> Labels<'_> {
    Labels { rest: wire }
}

/// A valid wire name without its leftmost label; none for the root.
#[inline]
pub fn parent(wire: &[u8]) -> Option<&[u8]> {
    let len = usize::from(*wire.first()?);
    (len != 0).then(|| &wire[len + 1..])
}

/// Whether the lower-case wire name `wire` is `ancestor` or below it.
pub fn is_at_or_under(wire: &[u8], ancestor: &[u8]) -> bool {
    let mut rest = Some(wire);
    while let Some(name) = rest {
        if name.len() <= ancestor.len() {
            return name == ancestor;
        }
        rest = parent(name);
    }
    false
}

/// Canonical order (RFC 4034 §6.1) of two lower-case wire names.
pub fn canonical_cmp(left: &[u8], right: &[u8]) -> Ordering {
    // 127 labels is the most that 255 bytes hold; offsets fit in a byte.
    let (mut a, mut b) = ([0_u8; 128], [0_u8; 128]);
    let (count_a, count_b) = (label_offsets(left, &mut a), label_offsets(right, &mut b));
    let (mut i, mut j) = (count_a, count_b);
    while i > 0 && j > 0 {
        i -= 1;
        j -= 1;
        let order = label_at(left, a[i]).cmp(label_at(right, b[j]));
        if order != Ordering::Equal {
            return order;
        }
    }
    count_a.cmp(&count_b)
}

fn label_offsets(wire: &[u8], offsets: &mut [u8; 128]) -> usize {
    let (mut at, mut count) = (0_usize, 0);
    while let Some(&len) = wire.get(at)
        && len != 0
    {
        offsets[count] = u8::try_from(at).expect("a name has at most 255 bytes");
        count += 1;
        at += usize::from(len) + 1;
    }
    count
}

fn label_at(wire: &[u8], offset: u8) -> &[u8] {
    let at = usize::from(offset);
    &wire[at + 1..at + 1 + usize::from(wire[at])]
}

/// See [`labels`].
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(*self.rest.first()?);
        if len == 0 {
            return None;
        }
        let (label, rest) = self.rest[1..].split_at(len);
        self.rest = rest;
        Some(label)
    }
}

/// Presentation form to wire form, letters kept as written (RFC 1035 §5.1).
///
/// `@` is the origin itself; a name without a final unescaped dot is relative to `origin`.
pub fn parse_to_wire(text: &[u8], origin: Option<&[u8]>) -> Result<Vec<u8>, NameError> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    parse_onto(text, origin, &mut wire)?;
    Ok(wire)
}

/// As [`parse_to_wire`], but appends to `out`, which is left as it was when the text is no name.
pub fn parse_onto(text: &[u8], origin: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), NameError> {
    let start = out.len();
    let parsed = append(text, origin, out);
    if parsed.is_err() {
        out.truncate(start);
    }
    parsed
}

fn append(text: &[u8], origin: Option<&[u8]>, wire: &mut Vec<u8>) -> Result<(), NameError> {
    match text {
        b"" => return Err(NameError::Empty),
        b"@" => {
            wire.extend_from_slice(origin.ok_or(NameError::NoOrigin)?);
            return Ok(());
        }
        b"." => {
            wire.push(0);
            return Ok(());
        }
        _ => {}
    }
    let start = wire.len();
    let mut label_start = start;
    wire.push(0);
    let mut absolute = false;
    let mut at = 0;
    while at < text.len() {
        absolute = false;
        match text[at] {
            b'.' => {
                close_label(wire, label_start)?;
                label_start = wire.len();
                wire.push(0);
                absolute = true;
                at += 1;
            }
            b'\\' => {
                let (byte, used) = unescape(&text[at..]).ok_or(NameError::BadEscape)?;
                wire.push(byte);
                at += used;
            }
            byte => {
                wire.push(byte);
                at += 1;
            }
        }
    }
    // After a final dot the placeholder of the next label is the root label.
    if !absolute {
        close_label(wire, label_start)?;
        wire.extend_from_slice(origin.ok_or(NameError::NoOrigin)?);
    }
    if wire.len() - start > MAX_NAME_BYTES { Err(NameError::NameTooLong) } else { Ok(()) }
}

fn close_label(wire: &mut [u8], start: usize) -> Result<(), NameError> {
    let len = wire.len() - start - 1;
    if len == 0 {
        return Err(NameError::EmptyLabel);
    }
    if len > MAX_LABEL_BYTES {
        return Err(NameError::LabelTooLong);
    }
    wire[start] = u8::try_from(len).expect("checked against 63");
    Ok(())
}

/// One escape (`\DDD` or `\X`, RFC 1035 §5.1) at the start of `text`: the byte and the characters used.
pub fn unescape(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'\\', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            u8::try_from(value).ok().map(|byte| (byte, 4))
        }
        [b'\\', b'0'..=b'9', ..] => None,
        [b'\\', byte, ..] => Some((*byte, 2)),
        _ => None,
    }
}

/// Writes a valid wire name in presentation form with a final dot.
pub fn write_wire(wire: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    if wire == [0] {
        return out.write_char('.');
    }
    for label in labels(wire) {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    out.write_char('\\')?;
                    out.write_char(char::from(byte))?;
                }
                b'!'..=b'~' => out.write_char(char::from(byte))?,
                _ => write!(out, "\\{byte:03}")?,
            }
        }
        out.write_char('.')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    #[test]
    fn text_and_wire_agree() {
        for (text, wire, shown) in [
            (".", &b"\0"[..], "."),
            ("Example.COM.", b"\x07example\x03com\0", "example.com."),
            ("a\\.b.c.", b"\x03a.b\x01c\0", "a\\.b.c."),
            ("\\000\\255.x.", b"\x02\x00\xff\x01x\0", "\\000\\255.x."),
            ("*.x.", b"\x01*\x01x\0", "*.x."),
        ] {
            let parsed = name(text);
            assert_eq!(parsed.as_wire(), wire, "{text}");
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(Name::from_wire(wire), Ok(parsed));
        }
    }

    #[test]
    fn bad_names_say_why() {
        let long_label = "a".repeat(64) + ".";
        let long_name = "abcdefg.".repeat(32);
        for (text, why) in [
            ("", NameError::Empty),
            ("a..b.", NameError::EmptyLabel),
            (".a.", NameError::EmptyLabel),
            ("a\\25.", NameError::BadEscape),
            ("a\\256.", NameError::BadEscape),
            ("a\\", NameError::BadEscape),
            (long_label.as_str(), NameError::LabelTooLong),
            (long_name.as_str(), NameError::NameTooLong),
            ("relative", NameError::NoOrigin),
        ] {
            assert_eq!(Name::parse(text, None), Err(why), "{text}");
        }
        assert_eq!(name(&"abcdefg.".repeat(31)).as_wire().len(), 249);
    }

    /// The example of RFC 4034 §6.1.
    #[test]
    fn canonical_order_is_the_rfcs() {
        let order = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            "\\001.z.example.",
            "*.z.example.",
            "\\200.z.example.",
        ];
        for pair in order.windows(2) {
            assert_eq!(name(pair[0]).canonical_cmp(&name(pair[1])), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn ancestry_is_by_label() {
        for (below, above, expected) in [
            ("a.example.com.", "example.com.", true),
            ("example.com.", "example.com.", true),
            ("badexample.com.", "example.com.", false),
            ("com.", "example.com.", false),
            ("x.", ".", true),
        ] {
            assert_eq!(name(below).is_at_or_under(&name(above)), expected, "{below} {above}");
        }
    }
}
