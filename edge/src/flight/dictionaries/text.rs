//! The text of a stored response, and one made short with another.

mod brotli;

use std::io::Read;

use aws_lc_rs::digest;
use http::header;
use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use crate::policy::dictionary::{Coding, Hash};
use crate::store::Object;

/// The longest text. Two of them fit into the window that every client has (RFC 9842 §5: 8 MiB).
pub(crate) const MOST_TEXT: u64 = 4 << 20;
/// A window of 1 KiB to 8 MiB.
const WINDOW_BITS: std::ops::RangeInclusive<u32> = 10..=23;
/// Measured with two versions of a script of 290 KB: 691 bytes in 1.2 ms. Level 19 makes 670 of it, in 260 ms.
const LEVEL: i32 = 3;
/// A frame that decoders skip, of 32 bytes: the dictionary's hash (RFC 9842 §5).
const FRONT: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, 0x20, 0x00, 0x00, 0x00];

/// The content as a client has it once its coding is off; none if that is not known here, broken, or longer than this.
pub(super) fn of(object: &Object, most_bytes: u64) -> Option<Vec<u8>> {
    let body = object.body.pieces()?.concat();
    let coding = object.entry.head.headers.get(header::CONTENT_ENCODING);
    let coding = coding.map(|coding| coding.as_bytes().to_ascii_lowercase());
    let decoder: Box<dyn Read> = match coding.as_deref() {
        None => return Some(body).filter(|body| body.len() as u64 <= most_bytes),
        Some(b"gzip" | b"x-gzip") => Box::new(flate2::read::MultiGzDecoder::new(&body[..])),
        Some(b"br") => Box::new(::brotli::Decompressor::new(&body[..], BUFFER_BYTES)),
        Some(b"zstd") => {
            let mut decoder = zstd::stream::read::Decoder::new(&body[..]).ok()?;
            // RFC 9659 §3: a frame may ask for 8 MiB.
            decoder.window_log_max(23).ok()?;
            Box::new(decoder)
        }
        Some(_) => return None,
    };
    let mut text = Vec::new();
    decoder.take(most_bytes + 1).read_to_end(&mut text).ok()?;
    // It is held by its length.
    text.shrink_to_fit();
    Some(text).filter(|text| text.len() as u64 <= most_bytes)
}

const BUFFER_BYTES: usize = 16 << 10;

/// SHA-256.
pub(super) fn hash(text: &[u8]) -> Hash {
    let digest = digest::digest(&digest::SHA256, text);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// `new` in this coding, with `old` as its dictionary, which has this hash. None if the compressor fails.
pub(super) fn compressed(coding: Coding, old: &[u8], new: &[u8], hash: &Hash) -> Option<Vec<u8>> {
    match coding {
        Coding::Dcz => dcz(old, new, hash),
        Coding::Dcb => brotli::compressed(old, new, hash),
    }
}

fn dcz(old: &[u8], new: &[u8], hash: &Hash) -> Option<Vec<u8>> {
    let mut context = CCtx::try_create()?;
    // Matches reach from the end of the new text to the beginning of the old one.
    let window = (old.len() + new.len()).max(1).next_power_of_two().trailing_zeros();
    let window = window.clamp(*WINDOW_BITS.start(), *WINDOW_BITS.end());
    for parameter in [
        CParameter::CompressionLevel(LEVEL),
        CParameter::WindowLog(window),
        CParameter::EnableLongDistanceMatching(true),
    ] {
        context.set_parameter(parameter).ok()?;
    }
    // The compressor takes a dictionary in the place of the new text for one that was written over.
    let copy = if old.as_ptr() == new.as_ptr() { new.to_vec() } else { Vec::new() };
    let new = if copy.is_empty() { new } else { &copy };
    context.ref_prefix(old).ok()?;
    let front = FRONT.len() + hash.len();
    let mut short = vec![0; front + compress_bound(new.len())];
    short[..FRONT.len()].copy_from_slice(&FRONT);
    short[FRONT.len()..front].copy_from_slice(hash);
    let length = context.compress2(&mut short[front..], new).ok()?;
    short.truncate(front + length);
    // It is held by its length.
    short.shrink_to_fit();
    Some(short)
}

/// Memory to make a text of at most so many bytes short with one of so many: the result, which may be copied once, and the texts'
/// own copies.
pub(super) fn most_compressed(coding: Coding, text_bytes: u64, old_bytes: u64) -> u64 {
    let text = usize::try_from(text_bytes).unwrap_or(usize::MAX);
    let copies = match coding {
        Coding::Dcz => text_bytes,
        Coding::Dcb => brotli::work_bytes(text_bytes, old_bytes),
    };
    2 * compress_bound(text) as u64 + copies
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::policy::testing::stored;
    use crate::site::tags::TagFields;
    use crate::store::{Body, Bounds, Budget, Eviction, Store};

    /// A decoder that was not made for this: the frame in front is looked at by hand.
    fn decoded(short: &[u8], old: &[u8]) -> Vec<u8> {
        assert_eq!((&short[..8], &short[8..40]), (&FRONT[..], &hash(old)[..]));
        let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(&short[40..], old).unwrap();
        let mut text = Vec::new();
        decoder.read_to_end(&mut text).unwrap();
        text
    }

    fn script(lines: u32, seed: u32) -> Vec<u8> {
        let line = |n: u32| format!("function f{n}(a) {{ return a * {} }}\n", n.wrapping_mul(seed) % 9_973);
        (0..lines).flat_map(|n| line(n).into_bytes()).collect()
    }

    #[test]
    fn a_new_text_is_exactly_what_the_old_one_and_the_difference_make() {
        let (old, short) = (script(8_000, 7), script(20, 7));
        let other: Vec<u8> = old.iter().rev().copied().collect();
        let changed = [&old[..100_000], b"// a line more\n", &old[101_000..]].concat();
        for (old, new, most) in [
            (&old, &changed, 300),
            (&old, &old, 120),
            (&old, &short, 200),
            (&short, &old, old.len()),
            (&old, &other, old.len()),
            (&old, &Vec::new(), 60),
        ] {
            let made = compressed(Coding::Dcz, old, new, &hash(old)).unwrap();
            assert_eq!(decoded(&made, old), *new);
            assert!(made.len() <= most, "{} of {} with {}", made.len(), new.len(), old.len());
        }
    }

    #[test]
    fn the_longest_texts_have_a_window_that_every_client_takes() {
        let mut old = vec![0; usize::try_from(MOST_TEXT).unwrap()];
        let mut state = 1_u64;
        old.fill_with(|| {
            // Bytes that no compressor makes shorter: xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        });
        let mut new = old.clone();
        new.rotate_left(1_000_000);
        let made = compressed(Coding::Dcz, &old, &new, &hash(&old)).unwrap();
        assert!(made.len() < 200_000, "{}", made.len());
        let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(&made[40..], &old).unwrap();
        decoder.window_log_max(23).unwrap();
        let mut text = Vec::new();
        decoder.read_to_end(&mut text).unwrap();
        assert!(text == new);
    }

    #[test]
    fn the_text_of_a_response_is_what_it_is_without_its_coding() {
        let text = script(1_000, 3);
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap()
        };
        let mut br = Vec::new();
        ::brotli::CompressorWriter::new(&mut br, 4_096, 5, 18).write_all(&text).unwrap();
        let zstd = zstd::bulk::compress(&text, 3).unwrap();
        let budget = Budget::new(1 << 20);
        let eviction = Eviction::S3Fifo;
        let store = Store::new(&Bounds { memory_bytes: 1 << 20, eviction, tag_fields: TagFields::default() });
        let check = |coding: &str, body: &[u8], most: usize, expected: bool| {
            let fields = [("content-encoding", coding)];
            let fields = if coding.is_empty() { &[][..] } else { &fields[..] };
            let pieces = body.chunks(1_000).map(|piece| piece.to_vec().into()).collect();
            let epoch = store.begin().epoch();
            let object = Object::new(stored(fields), Body::new(pieces, &budget), "a".into(), epoch);
            let found = of(&object, most as u64);
            assert_eq!(found.as_deref(), expected.then_some(&text[..]), "{coding} {most}");
        };
        for (coding, body) in [("", &text), ("gzip", &gzip), ("X-GZIP", &gzip), ("br", &br), ("zstd", &zstd)]
        {
            check(coding, body, text.len(), true);
            check(coding, body, text.len() - 1, false);
        }
        check("gzip", &gzip[..gzip.len() - 1], text.len(), false);
        check("br", &gzip, text.len(), false);
        check("dcz", &text, text.len(), false);
    }
}
