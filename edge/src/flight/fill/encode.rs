//! Encoding a body while it fills: piece by piece, off the threads that serve.
//!
//! Invariant: no more than [`MAX_AT_ONCE`] bodies are encoded at once, each holds one piece and its encoder's state, and
//! that state is taken from what fills may hold of the memory.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::policy::encoding::Coding;
use crate::store::{Budget, Share};

/// More would only take the threads from one another; what comes beyond is kept as it came.
const MAX_AT_ONCE: usize = 16;
/// What the origin has said waits no longer than this for more to be encoded with.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// 256 KiB: pages are smaller, and a bigger window only takes memory.
const WINDOW_BITS: u32 = 18;
/// Measured on pages of 200 KB: gzip 6 and brotli 5 take under 2 ms, zstd 3 half of one.
const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 5;
const ZSTD_LEVEL: i32 = 3;
/// What each takes with these settings: 374, 4,060 and 1,580 KiB were measured with bodies of 1 MB.
fn state_bytes(coding: Coding) -> u64 {
    match coding {
        Coding::Gzip => 512 << 10,
        Coding::Br => 4_352 << 10,
        Coding::Zstd => 1_792 << 10,
    }
}
/// What brotli collects before it writes.
const BROTLI_BUFFER_BYTES: usize = 16 << 10;

/// Room for encoders: places and memory.
#[derive(Debug)]
pub(in crate::flight) struct Room {
    places: Arc<Semaphore>,
    memory: Arc<Budget>,
}

/// The encoder of one body.
pub(in crate::flight) struct Encoder {
    state: Option<Box<State>>,
    _place: OwnedSemaphorePermit,
    _memory: Share,
}

#[expect(clippy::large_enum_variant, reason = "boxed as a whole")]
enum State {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Br(brotli::CompressorWriter<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

/// What an encoder is to do.
pub(in crate::flight) enum Work {
    Encode(Bytes),
    /// Give out what was encoded so far.
    Flush,
    /// Give out the rest.
    End,
}

impl Room {
    /// For as many as may be, with their memory from this budget.
    pub(in crate::flight) fn new(memory: &Arc<Budget>) -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_AT_ONCE)), memory: Arc::clone(memory) }
    }
}

impl Encoder {
    /// None if as many as may be are at work, or there is no memory for another.
    pub(super) fn new(coding: Coding, room: &Room) -> Option<Self> {
        let place = Arc::clone(&room.places).try_acquire_owned().ok()?;
        Self::at(place, coding, room)
    }

    /// As [`Encoder::new`], once one of the others is done.
    pub(in crate::flight) async fn in_turn(coding: Coding, room: &Room) -> Option<Self> {
        let place = Arc::clone(&room.places).acquire_owned().await.ok()?;
        Self::at(place, coding, room)
    }

    fn at(place: OwnedSemaphorePermit, coding: Coding, room: &Room) -> Option<Self> {
        let mut memory = room.memory.share();
        if !memory.grow(state_bytes(coding)) {
            return None;
        }
        let state = State::new(coding).ok()?;
        Some(Self { state: Some(Box::new(state)), _place: place, _memory: memory })
    }

    /// What comes out of it; often nothing before a flush.
    pub(in crate::flight) async fn work(&mut self, work: Work) -> io::Result<Bytes> {
        let Some(state) = self.state.take() else { return Ok(Bytes::new()) };
        let done = tokio::task::spawn_blocking(move || state.work(work)).await.map_err(io::Error::other)?;
        let (state, out) = done?;
        self.state = state;
        Ok(out)
    }
}

impl State {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
            Coding::Br => Self::Br(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                BROTLI_QUALITY,
                WINDOW_BITS,
            )),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW_BITS)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn work(mut self: Box<Self>, work: Work) -> io::Result<(Option<Box<Self>>, Bytes)> {
        match work {
            Work::Encode(piece) => self.writer().write_all(&piece)?,
            Work::Flush => self.writer().flush()?,
            Work::End => {
                let rest = match *self {
                    Self::Gzip(encoder) => encoder.finish()?,
                    Self::Br(encoder) => encoder.into_inner(),
                    Self::Zstd(encoder) => encoder.finish()?,
                };
                return Ok((None, rest.into()));
            }
        }
        let out = std::mem::take(self.out());
        Ok((Some(self), out.into()))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Br(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Br(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decoded(coding: Coding, encoded: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(encoded).read_to_end(&mut out),
            Coding::Br => brotli::Decompressor::new(encoded, 4096).read_to_end(&mut out),
            Coding::Zstd => zstd::stream::read::Decoder::new(encoded).unwrap().read_to_end(&mut out),
        }
        .unwrap();
        out
    }

    #[tokio::test]
    async fn what_is_encoded_in_pieces_decodes_to_the_whole() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_string().into_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Br, Coding::Zstd] {
            let memory = Budget::new(10 << 20);
            let room = Room { places: Arc::new(Semaphore::new(1)), memory: Arc::clone(&memory) };
            let mut encoder = Encoder::new(coding, &room).unwrap();
            assert!(Encoder::new(coding, &room).is_none(), "one at once");
            assert_eq!(memory.taken_bytes(), state_bytes(coding));
            let mut out = Vec::new();
            for (number, piece) in text.chunks(30_000).enumerate() {
                out.extend(encoder.work(Work::Encode(Bytes::copy_from_slice(piece))).await.unwrap());
                if number == 3 {
                    let flushed = encoder.work(Work::Flush).await.unwrap();
                    assert!(!flushed.is_empty(), "{coding:?}");
                    out.extend(flushed);
                }
            }
            out.extend(encoder.work(Work::End).await.unwrap());
            assert!(out.len() < text.len() / 2, "{coding:?}: {}", out.len());
            assert_eq!(decoded(coding, &out), text);
            drop(encoder);
            assert_eq!(memory.taken_bytes(), 0);
            assert!(Encoder::in_turn(coding, &room).await.is_some());
            let small = Room { memory: Budget::new(state_bytes(coding) - 1), ..room };
            assert!(Encoder::new(coding, &small).is_none(), "its memory counts");
        }
    }
}
