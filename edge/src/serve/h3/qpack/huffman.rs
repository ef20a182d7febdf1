//! The Huffman code of field values (RFC 7541 Appendix B). Pure.
//!
//! The code is canonical: a symbol's length is enough to know its code.

/// The symbol that ends a text; it never stands in one.
const END: usize = 256;
const SYMBOLS: usize = 257;
const LONGEST: usize = 30;
const SHORTEST: u32 = 5;

/// The bits of each symbol's code.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

static CODE: Code = Code::new();

struct Code {
    /// The first code of each length, and where its symbol stands in `symbols`.
    first: [u32; LONGEST + 1],
    place: [u16; LONGEST + 1],
    count: [u16; LONGEST + 1],
    /// By length, then by value.
    symbols: [u16; SYMBOLS],
    codes: [u32; SYMBOLS],
}

impl Code {
    const fn new() -> Self {
        let mut code = Self {
            first: [0; LONGEST + 1],
            place: [0; LONGEST + 1],
            count: [0; LONGEST + 1],
            symbols: [0; SYMBOLS],
            codes: [0; SYMBOLS],
        };
        let (mut length, mut next, mut place) = (1, 0_u32, 0_u16);
        while length <= LONGEST {
            next <<= 1;
            (code.first[length], code.place[length]) = (next, place);
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[place as usize] = symbol as u16;
                    code.codes[symbol] = next;
                    (next, place) = (next + 1, place + 1);
                }
                symbol += 1;
            }
            code.count[length] = place - code.place[length];
            length += 1;
        }
        code
    }
}

/// Appends the text that `bytes` stand for; false if they are none (RFC 7541 §5.2).
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = bytes.iter();
    let (mut bits, mut held) = (0_u64, 0_u32);
    loop {
        while held <= 32 {
            let Some(&byte) = rest.next() else { break };
            (bits, held) = (bits << 8 | u64::from(byte), held + 8);
        }
        match symbol(bits, held) {
            Some((symbol, length)) if usize::from(symbol) != END => {
                out.push(u8::try_from(symbol).expect("it is not the end"));
                held -= length;
                bits &= (1 << held) - 1;
            }
            Some(_) => return false,
            // At most seven bits, all of them set, fill the last byte.
            None => return held < 8 && bits == (1 << held) - 1,
        }
    }
}

/// The symbol that the held bits begin with, and its length.
fn symbol(bits: u64, held: u32) -> Option<(u16, u32)> {
    for length in SHORTEST..=held.min(LONGEST as u32) {
        let code = u32::try_from(bits >> (held - length)).expect("at most thirty bits");
        let at = length as usize;
        let behind = code.checked_sub(CODE.first[at])?;
        if behind < u32::from(CODE.count[at]) {
            return Some((CODE.symbols[usize::from(CODE.place[at]) + behind as usize], length));
        }
    }
    None
}

/// The bytes that the code of `text` takes.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `text`.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0_u64, 0_u32);
    for &byte in text {
        let at = usize::from(byte);
        bits = bits << LENGTHS[at] | u64::from(CODE.codes[at]);
        held += u32::from(LENGTHS[at]);
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push((bits << (8 - held)) as u8 | 0xff >> held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 Appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc_are_read_and_written() {
        let check = |text: &str, bytes: &[u8]| {
            let (mut read, mut written) = (Vec::new(), Vec::new());
            assert!(decode(bytes, &mut read), "{text}");
            encode(text.as_bytes(), &mut written);
            assert_eq!((read.as_slice(), written.as_slice()), (text.as_bytes(), bytes));
            assert_eq!(encoded_len(text.as_bytes()), bytes.len());
        };
        check("www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff");
        check("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf");
        check("custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf");
        check(
            "Mon, 21 Oct 2013 20:13:21 GMT",
            b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
        );
        check("", b"");
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let (mut written, mut read) = (Vec::new(), Vec::new());
        encode(&all, &mut written);
        assert!(decode(&written, &mut read));
        assert_eq!(read, all);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        // Padding of zeros, of eight bits, and the end in the text (RFC 7541 §5.2).
        for bytes in [&b"\x1c"[..], b"\xff", b"\x1f\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc"] {
            assert!(!decode(bytes, &mut Vec::new()), "{bytes:x?}");
        }
        // `a` is 00011, and three ones fill its byte.
        assert!(decode(b"\x1f", &mut Vec::new()));
    }
}
