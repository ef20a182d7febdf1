//! gzip (RFC 1952) taken off a body piece by piece.
//!
//! A body that does not begin as gzip does goes out as it came: applications say gzip of what they have not packed.
//!
//! Invariant: a step takes in so little that what comes out of it fits in about a megabyte, and a body that grows beyond
//! reason ends: no few bytes from an origin keep this edge and a client busy for ever (EDGE §2, class 22).

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// A packed body on its way out.
pub(super) struct Unpacking {
    decoder: MultiGzDecoder<Vec<u8>>,
    input: Bytes,
    taken: u64,
    given: u64,
    has_ended: bool,
    form: Form,
}

/// The form of the input, as far as its beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Unknown,
    /// The first byte has come, alone, and is that of gzip.
    Begun,
    Gzip,
    /// It goes out as it came.
    Plain,
}

/// RFC 1952 §2.3.1.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// deflate makes 1,032 bytes of one at most.
const STEP_BYTES: usize = 1 << 10;
/// Pieces become about this long, if there is input enough.
const PIECE_BYTES: usize = 16 << 10;
/// Text becomes some ten times as long. So much more than that may come of it in the beginning …
const FREE_BYTES: u64 = 64 << 20;
/// … and so many times as much after.
const MOST_TIMES: u64 = 100;

impl Unpacking {
    pub(super) fn new() -> Self {
        Self {
            decoder: MultiGzDecoder::new(Vec::new()),
            input: Bytes::new(),
            taken: 0,
            given: 0,
            has_ended: false,
            form: Form::Unknown,
        }
    }

    /// The next bytes of the packed body, once [`Unpacking::next`] has given all that was in those before.
    pub(super) fn put(&mut self, input: Bytes) {
        self.input = match self.form {
            Form::Begun => [&MAGIC[..1], &input[..]].concat().into(),
            _ => input,
        };
        let form = match (self.form, &self.input[..]) {
            (Form::Unknown, []) => Form::Unknown,
            (Form::Unknown | Form::Begun, [first]) if *first == MAGIC[0] => Form::Begun,
            (Form::Unknown | Form::Begun, input) if input.starts_with(&MAGIC) => Form::Gzip,
            (Form::Unknown | Form::Begun, _) => Form::Plain,
            (known, _) => known,
        };
        if form == Form::Begun {
            self.input.clear();
        }
        self.form = form;
    }

    /// Bytes that are unpacked; none until there is more input.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.form == Form::Plain {
            let input = std::mem::take(&mut self.input);
            return Ok((!input.is_empty()).then_some(input));
        }
        while !self.input.is_empty() && self.decoder.get_ref().len() < PIECE_BYTES {
            let step = &self.input[..self.input.len().min(STEP_BYTES)];
            let taken = self.decoder.write(step)?;
            if taken == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not gzip"));
            }
            self.taken += taken as u64;
            let _taken = self.input.split_to(taken);
            self.decoder.flush()?;
        }
        self.give()
    }

    /// The rest, at the end of the input.
    pub(super) fn end(&mut self) -> io::Result<Option<Bytes>> {
        if self.form == Form::Begun {
            self.taken += self.decoder.write(&MAGIC[..1])? as u64;
        }
        // A body without a byte is no gzip, and is what an origin sends that has nothing to pack.
        if self.taken > 0 && !std::mem::replace(&mut self.has_ended, true) {
            self.decoder.try_finish()?;
        }
        self.give()
    }

    fn give(&mut self) -> io::Result<Option<Bytes>> {
        let out = std::mem::take(self.decoder.get_mut());
        self.given += out.len() as u64;
        if self.given > FREE_BYTES + self.taken.saturating_mul(MOST_TIMES) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it unpacks to far more than text does"));
        }
        Ok((!out.is_empty()).then(|| out.into()))
    }
}

impl fmt::Debug for Unpacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unpacking({} of {})", self.given, self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The output of `input` in pieces of `piece`, and its longest piece.
    fn unpacked(input: &[u8], piece: usize) -> io::Result<(Vec<u8>, usize)> {
        let mut unpacking = Unpacking::new();
        let (mut out, mut longest) = (Vec::new(), 0);
        for piece in input.chunks(piece) {
            unpacking.put(Bytes::copy_from_slice(piece));
            while let Some(bytes) = unpacking.next()? {
                longest = longest.max(bytes.len());
                out.extend_from_slice(&bytes);
            }
        }
        out.extend(unpacking.end()?.unwrap_or_default());
        Ok((out, longest))
    }

    #[test]
    fn any_pieces_make_the_same_text() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(|n| (n / 3).to_string().into_bytes()).collect();
        let one = packed(&text);
        let two = [packed(&text[..999]), packed(&text[999..])].concat();
        for input in [one, two] {
            for piece in [1, 7, 1_000, 65_536, input.len()] {
                assert_eq!(unpacked(&input, piece).unwrap().0, text, "{piece}");
            }
        }
        assert_eq!(unpacked(b"", 1).unwrap().0, b"");
        assert_eq!(unpacked(&packed(b""), 3).unwrap().0, b"");
    }

    #[test]
    fn what_does_not_begin_as_gzip_goes_out_as_it_came() {
        for plain in [&b"plain text"[..], b"x", b"\x1fplain", b"\x8b\x1f"] {
            for piece in [1, 2, 64] {
                assert_eq!(unpacked(plain, piece).unwrap().0, plain, "{plain:?} {piece}");
            }
        }
    }

    #[test]
    fn what_is_not_whole_or_goes_wrong_is_an_error() {
        let whole = packed(b"some text that is long enough");
        for end in 1..whole.len() {
            assert!(unpacked(&whole[..end], 5).is_err(), "{end}");
        }
        let mut wrong = whole.clone();
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        assert!(unpacked(&wrong, 64).is_err(), "the length at its end");
        assert!(unpacked(b"\x1f\x8bplain text", 64).is_err());
    }

    #[test]
    fn a_bomb_comes_in_short_pieces_and_ends() {
        let zeros = packed(&vec![0; 8 << 20]);
        let (out, longest) = unpacked(&zeros, zeros.len()).unwrap();
        assert_eq!(out.len(), 8 << 20);
        assert!(longest <= 2 << 20, "{longest}");
        let bomb = zeros.repeat(20);
        assert!(unpacked(&bomb, 65_536).unwrap_err().to_string().contains("far more"));
    }
}
