//! A text in dcb: Brotli with another text as its dictionary (RFC 9842 §4).
//!
//! The encoder takes the dictionary for text that it has already written, and so may copy from its end on into the new text.
//! Decoders that have a dictionary apart from the text refuse that (RFC 9841 §3.2), so what is made is decoded again.
//!
//! Invariant: what is given out was read back, byte by byte, by a decoder that refuses what those of browsers refuse.

use std::io::Read;

use ::brotli::Decompressor;
use ::brotli::enc::StandardAlloc;
use ::brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};

use super::BUFFER_BYTES;
use crate::policy::dictionary::Hash;

/// Before the dictionary's hash (RFC 9842 §4).
const FRONT: [u8; 4] = [0xff, 0x44, 0x43, 0x42];
const QUALITY: u32 = 5;
/// Windows of Brotli in 64 KiB to 16 MiB, the most that a client need take (RFC 9842 §4).
const WINDOW_BITS: std::ops::RangeInclusive<u32> = 16..=24;
/// Beside both texts, the window's last bytes cannot be reached.
const WINDOW_GAP: usize = 16;

/// `new` in dcb, with `old` as its dictionary, which has this hash. None if it cannot be read back.
pub(super) fn compressed(old: &[u8], new: &[u8], hash: &Hash) -> Option<Vec<u8>> {
    let short = [&FRONT[..], hash, &encoded(old, new)?].concat();
    is_read_back(&short[FRONT.len() + hash.len()..], old, new).then_some(short)
}

/// Memory for it: the encoder's ring and tables, and the decoder's.
pub(super) fn work_bytes(text_bytes: u64, old_bytes: u64) -> u64 {
    4 * (text_bytes + old_bytes)
}

fn encoded(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let window = (old.len() + new.len() + WINDOW_GAP).next_power_of_two().trailing_zeros();
    let window = window.clamp(*WINDOW_BITS.start(), *WINDOW_BITS.end());
    let mut encoder = BrotliEncoderStateStruct::new(StandardAlloc::default());
    let hint = u32::try_from(new.len()).ok()?;
    encoder.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, QUALITY);
    encoder.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window);
    encoder.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, hint);
    encoder.set_custom_dictionary(old.len(), old);
    let mut out = vec![0; new.len() + new.len() / 8 + MOST_FRAME_BYTES];
    let (mut in_left, mut in_at, mut out_left, mut out_at) = (new.len(), 0, out.len(), 0);
    let end = BrotliEncoderOperation::BROTLI_OPERATION_FINISH;
    while !encoder.is_finished() {
        let before = (in_at, out_at);
        let ok = encoder.compress_stream(
            end,
            &mut in_left,
            new,
            &mut in_at,
            &mut out_left,
            &mut out,
            &mut out_at,
            &mut None,
            &mut |_, _, _, _| (),
        );
        // One that has no more room makes no way.
        if !ok || (in_at, out_at) == before && !encoder.is_finished() {
            return None;
        }
    }
    out.truncate(out_at);
    Some(out)
}

/// A text that cannot be made shorter gets so much round it.
const MOST_FRAME_BYTES: usize = 1 << 10;

fn is_read_back(short: &[u8], old: &[u8], new: &[u8]) -> bool {
    let mut decoder = Decompressor::new(short, BUFFER_BYTES);
    if !decoder.attach_dictionary(old.to_vec().into()) {
        return false;
    }
    let mut text = Vec::with_capacity(new.len());
    let read = decoder.take(new.len() as u64 + 1).read_to_end(&mut text);
    read.is_ok() && text == new
}
