//! Field sections as HTTP/3 has them (RFC 9204), by the static table alone. Pure.
//!
//! Invariant: there is no dynamic table. We offer a capacity of 0, so a client may not refer to one; so no stream ever
//! waits for another, and a connection holds no table.

mod huffman;
mod table;

use table::{BY_NAME, ENTRIES};

/// Why a field section is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is none (RFC 9204 §2.2: `QPACK_DECOMPRESSION_FAILED`).
    Broken,
    /// It unpacks to more than was allowed.
    TooLong,
}

/// A field beyond its bytes, for the size of a list of them (RFC 9114 §4.2.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// Hands each field of `section`, name and value, to `take`. At most `most` bytes of fields.
///
/// # Errors
/// When it is no field section, or too long a one; some fields may have been handed over by then.
pub fn decode(section: &[u8], most: usize, mut take: impl FnMut(&[u8], &[u8])) -> Result<(), Fault> {
    let mut reader = Reader(section);
    let required = reader.integer(8)?;
    let sign = *reader.0.first().ok_or(Fault::Broken)? & 0x80;
    reader.integer(7)?;
    // §4.5.1: only a dynamic table could be required, and a base below 0 is none.
    if required != 0 || sign != 0 {
        return Err(Fault::Broken);
    }
    let (mut name, mut value, mut size) = (Vec::new(), Vec::new(), 0_usize);
    while let Some(&first) = reader.0.first() {
        name.clear();
        value.clear();
        match first {
            // §4.5.2: an indexed field line. The bit tells the static table from the dynamic one.
            0b1100_0000.. => {
                let (known, text) = reader.entry(6)?;
                name.extend_from_slice(known.as_bytes());
                value.extend_from_slice(text.as_bytes());
            }
            // §4.5.4: a literal field line with a name reference.
            0b0100_0000..0b1000_0000 if first & 0b0001_0000 != 0 => {
                name.extend_from_slice(reader.entry(4)?.0.as_bytes());
                reader.text(7, &mut value)?;
            }
            // §4.5.6: a literal field line with a literal name.
            0b0010_0000..0b0100_0000 => {
                reader.text(3, &mut name)?;
                reader.text(7, &mut value)?;
            }
            _ => return Err(Fault::Broken),
        }
        size = size.saturating_add(name.len() + value.len() + FIELD_OVERHEAD_BYTES);
        if size > most {
            return Err(Fault::TooLong);
        }
        take(&name, &value);
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// RFC 7541 §5.1, in the last `bits` of the first byte; at most 2^32 and a little.
    fn integer(&mut self, bits: u32) -> Result<usize, Fault> {
        let (&first, mut rest) = self.0.split_first().ok_or(Fault::Broken)?;
        let prefix = (1_u64 << bits) - 1;
        let mut value = u64::from(first) & prefix;
        if value == prefix {
            for shift in [0, 7, 14, 21, 28] {
                let (&byte, behind) = rest.split_first().ok_or(Fault::Broken)?;
                rest = behind;
                value += u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    self.0 = rest;
                    return usize::try_from(value).map_err(|_| Fault::Broken);
                }
            }
            return Err(Fault::Broken);
        }
        self.0 = rest;
        usize::try_from(value).map_err(|_| Fault::Broken)
    }

    fn entry(&mut self, bits: u32) -> Result<(&'static str, &'static str), Fault> {
        ENTRIES.get(self.integer(bits)?).copied().ok_or(Fault::Broken)
    }

    /// A text whose length is in the last `bits` of the first byte; the bit before them says that it is coded.
    fn text(&mut self, bits: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        let first = *self.0.first().ok_or(Fault::Broken)?;
        let length = self.integer(bits)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Fault::Broken)?;
        self.0 = rest;
        if first & 1 << bits == 0 {
            out.extend_from_slice(text);
            return Ok(());
        }
        if huffman::decode(text, out) { Ok(()) } else { Err(Fault::Broken) }
    }
}

/// A field section of these fields, names in lower case.
#[must_use]
pub fn encode<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    // §4.5.1: nothing is required of a dynamic table.
    let mut out = vec![0, 0];
    for (name, value) in fields {
        let known = BY_NAME.get(name).map_or(&[][..], Vec::as_slice);
        let whole = known.iter().find(|&&index| ENTRIES[usize::from(index)].1.as_bytes() == value);
        match (whole, known.first()) {
            (Some(&index), _) => integer(0b1100_0000, 6, usize::from(index), &mut out),
            (None, Some(&index)) => {
                integer(0b0101_0000, 4, usize::from(index), &mut out);
                text(0, 7, value, &mut out);
            }
            (None, None) => {
                text(0b0010_0000, 3, name.as_bytes(), &mut out);
                text(0, 7, value, &mut out);
            }
        }
    }
    out
}

fn integer(first: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let prefix = (1_usize << bits) - 1;
    if value < prefix {
        out.push(first | value as u8);
        return;
    }
    out.push(first | prefix as u8);
    let mut left = value - prefix;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn text(first: u8, bits: u32, text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        integer(first | 1 << bits, bits, coded, out);
        huffman::encode(text, out);
    } else {
        integer(first, bits, text.len(), out);
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<Vec<(String, String)>, Fault>;

    fn read(section: &[u8], most: usize) -> Read {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        decode(section, most, |name, value| fields.push((text(name), text(value))))?;
        Ok(fields)
    }

    #[track_caller]
    fn check(section: &[u8], expected: Result<&[(&str, &str)], Fault>) {
        let owned = |fields: &[(&str, &str)]| {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(read(section, 1000), expected.map(owned), "{section:x?}");
    }

    #[test]
    fn field_lines_of_every_kind_without_a_dynamic_table_are_read() {
        // RFC 9204 Appendix B.1.
        check(b"\0\0\x51\x0b/index.html", Ok(&[(":path", "/index.html")]));
        check(b"\0\0\xd1\xd7\xc1", Ok(&[(":method", "GET"), (":scheme", "https"), (":path", "/")]));
        check(b"\0\0\x5f\x39\x01a", Ok(&[("accept-language", "a")]));
        check(
            b"\0\0\x50\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            Ok(&[(":authority", "www.example.com")]),
        );
        check(b"\0\0\x23abc\x01d", Ok(&[("abc", "d")]));
        check(b"\0\0\x33abc\x00", Ok(&[("abc", "")]));
        check(b"\0\x05", Ok(&[]));
    }

    #[test]
    fn what_needs_a_dynamic_table_or_is_cut_off_is_refused() {
        for section in [
            &b""[..],
            b"\0",
            b"\x01\0\xd1",
            b"\0\x80\xd1",
            b"\0\0\x80",
            b"\0\0\x10",
            b"\0\0\x00\x01a",
            b"\0\0\x40\x01a",
            b"\0\0\xff",
            b"\0\0\xff\x80\x80\x80\x80\x80\x01",
            b"\0\0\xff\x24",
            b"\0\0\x51\x05abc",
            b"\0\0\x23ab",
            b"\0\0\x51\x81\x00",
        ] {
            check(section, Err(Fault::Broken));
        }
    }

    #[test]
    fn a_list_is_as_long_as_it_may_be() {
        let section = encode((0..10).map(|_| ("name", &b"value"[..])));
        assert_eq!(read(&section, 10 * (4 + 5 + 32)).map(|fields| fields.len()), Ok(10));
        assert_eq!(read(&section, 10 * (4 + 5 + 32) - 1), Err(Fault::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(fields in proptest::collection::vec(("[a-z:-]{1,20}", "\\PC{0,80}"), 0..20)) {
            let section = encode(fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
            proptest::prop_assert_eq!(read(&section, 1 << 20), Ok(fields));
        }

        #[test]
        fn no_section_breaks_the_reader(section: Vec<u8>) {
            let _ = decode(&section, 1000, |_, _| ());
        }
    }
}
