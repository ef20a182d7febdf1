//! Encoding a body while it fills: piece by piece, off the threads that serve.
//!
//! Invariant: no more than [`MAX_AT_ONCE`] bodies are encoded at once, each holds one piece and its encoder's state, and
//! that state is taken from what fills may hold of the memory: a quarter of it at most for all encoders, so that what is
//! to be kept has the rest.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::policy::encoding::Coding;
use crate::store::{Budget, Share};

/// More would only take the threads from one another; what comes beyond is kept as it came.
const MAX_AT_ONCE: usize = 16;
/// All encoders together may hold one part in so many of the fills' memory.
const MEMORY_PART: u64 = 4;
/// In which the encoders' part is counted: every encoder's state is a multiple of it.
const UNIT_BYTES: u64 = 256 << 10;
/// Bytes that the origin has sent wait no longer than this for more to be encoded with.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// 256 KiB: pages are smaller, and a bigger window only takes memory.
const WINDOW_BITS: u32 = 18;
/// Measured on pages of 200 KB: gzip 6 and brotli 5 take under 2 ms, zstd 3 half of one.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// How much memory is spent on one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flight) enum Effort {
    /// It is encoded once and sent often.
    Stored,
    /// It is sent once, and its encoder waits for that client.
    Passed,
}

impl Effort {
    /// The memory of each encoder, measured with bodies of 1 MB: for what is stored 374, 4,060 and 1,580 KiB, for what is
    /// passed 403, 1,905 and 1,048.
    fn state_bytes(self, coding: Coding) -> u64 {
        match (coding, self) {
            (Coding::Gzip, _) => 512 << 10,
            (Coding::Br, Self::Stored) => 4_352 << 10,
            (Coding::Zstd, Self::Stored) => 1_792 << 10,
            (Coding::Br, Self::Passed) => 2_048 << 10,
            (Coding::Zstd, Self::Passed) => 1_280 << 10,
        }
    }

    fn brotli_quality(self) -> u32 {
        match self {
            Self::Stored => 5,
            Self::Passed => 4,
        }
    }

    fn window_bits(self) -> u32 {
        match self {
            Self::Stored => WINDOW_BITS,
            Self::Passed => 16,
        }
    }
}
/// The input that brotli collects before it writes.
const BROTLI_BUFFER_BYTES: usize = 16 << 10;

/// Room for encoders: places and memory.
#[derive(Debug)]
pub(in crate::flight) struct Room {
    places: Arc<Semaphore>,
    /// Units of the part that encoders may hold of the memory.
    units: Arc<Semaphore>,
    all_units: u32,
    memory: Arc<Budget>,
    effort: Effort,
}

/// One encoder's place in the room.
struct Place {
    _place: OwnedSemaphorePermit,
    _units: OwnedSemaphorePermit,
}

/// The encoder of one body.
pub(in crate::flight) struct Encoder {
    state: Option<Box<State>>,
    _place: Place,
    _memory: Share,
}

#[expect(clippy::large_enum_variant, reason = "boxed as a whole")]
enum State {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Br(brotli::CompressorWriter<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

/// A job for an encoder.
pub(in crate::flight) enum Work {
    Encode(Bytes),
    /// Give out what was encoded so far.
    Flush,
    /// Give out the rest.
    End,
}

impl Room {
    /// For as many as may be, with their memory from this budget. A small one has room for one, if that is half of it.
    pub(in crate::flight) fn new(memory: &Arc<Budget>, effort: Effort) -> Self {
        let limit = memory.limit_bytes();
        let part = (limit / MEMORY_PART).max(effort.state_bytes(Coding::Br).min(limit / 2));
        let all_units = u32::try_from(part / UNIT_BYTES).unwrap_or(u32::MAX).min(MAX_UNITS);
        let units = Arc::new(Semaphore::new(all_units as usize));
        Self {
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            units,
            all_units,
            memory: Arc::clone(memory),
            effort,
        }
    }

    /// None if that much is not left now.
    fn try_take(&self, coding: Coding) -> Option<Place> {
        let _place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let _units = Arc::clone(&self.units).try_acquire_many_owned(self.units(coding)).ok()?;
        Some(Place { _place, _units })
    }

    /// None if it will never have that much.
    async fn take(&self, coding: Coding) -> Option<Place> {
        let units = Some(self.units(coding)).filter(|units| *units <= self.all_units)?;
        let _place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let _units = Arc::clone(&self.units).acquire_many_owned(units).await.ok()?;
        Some(Place { _place, _units })
    }

    fn units(&self, coding: Coding) -> u32 {
        u32::try_from(self.effort.state_bytes(coding).div_ceil(UNIT_BYTES)).expect("a few")
    }
}

/// More than all places need.
const MAX_UNITS: u32 = 1 << 16;

impl Encoder {
    /// None if as many as may be are at work, or there is no memory for another.
    pub(in crate::flight) fn new(coding: Coding, room: &Room) -> Option<Self> {
        Self::at(room.try_take(coding)?, coding, room)
    }

    /// As [`Encoder::new`], once others are done; it may be that they never are.
    pub(in crate::flight) async fn in_turn(coding: Coding, room: &Room) -> Option<Self> {
        Self::at(room.take(coding).await?, coding, room)
    }

    fn at(place: Place, coding: Coding, room: &Room) -> Option<Self> {
        let mut memory = room.memory.share();
        if !memory.grow(room.effort.state_bytes(coding)) {
            return None;
        }
        let state = State::new(coding, room.effort).ok()?;
        Some(Self { state: Some(Box::new(state)), _place: place, _memory: memory })
    }

    /// Returns the encoder's output; often nothing before a flush.
    pub(in crate::flight) async fn work(&mut self, work: Work) -> io::Result<Bytes> {
        let Some(state) = self.state.take() else { return Ok(Bytes::new()) };
        let done = tokio::task::spawn_blocking(move || state.work(work)).await.map_err(io::Error::other)?;
        let (state, out) = done?;
        self.state = state;
        Ok(out)
    }
}

impl State {
    fn new(coding: Coding, effort: Effort) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
            Coding::Br => Self::Br(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                effort.brotli_quality(),
                effort.window_bits(),
            )),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(effort.window_bits())?;
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
        let all = [Coding::Gzip, Coding::Br, Coding::Zstd];
        for (coding, effort) in
            all.iter().flat_map(|coding| [(*coding, Effort::Stored), (*coding, Effort::Passed)])
        {
            let state_bytes = |coding| effort.state_bytes(coding);
            let memory = Budget::new(4 * state_bytes(coding).max(state_bytes(Coding::Br) / 2));
            let room = Room { places: Arc::new(Semaphore::new(1)), ..Room::new(&memory, effort) };
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

    /// How many encoders a budget of so many MiB has room for at once.
    #[track_caller]
    fn check(effort: Effort, memory_mib: u64, coding: Coding, expected: usize) {
        let memory = Budget::new(memory_mib << 20);
        let room = Room::new(&memory, effort);
        let encoders: Vec<_> = std::iter::from_fn(|| Encoder::new(coding, &room)).collect();
        assert_eq!(encoders.len(), expected, "{coding:?} in {memory_mib} MiB");
        assert_eq!(memory.taken_bytes(), effort.state_bytes(coding) * expected as u64);
    }

    #[test]
    fn encoders_leave_most_of_the_fills_memory_to_what_is_to_be_kept() {
        check(Effort::Stored, 64, Coding::Br, 3);
        check(Effort::Stored, 64, Coding::Gzip, 16);
        check(Effort::Stored, 64, Coding::Zstd, 9);
        // One, where that takes no more than half.
        check(Effort::Stored, 16, Coding::Br, 1);
        check(Effort::Stored, 9, Coding::Br, 1);
        check(Effort::Stored, 8, Coding::Br, 0);
        check(Effort::Stored, 8, Coding::Zstd, 2);
        check(Effort::Stored, 8, Coding::Gzip, 8);
        check(Effort::Stored, 1 << 20, Coding::Br, 16);
        check(Effort::Passed, 64, Coding::Br, 8);
        check(Effort::Passed, 64, Coding::Zstd, 12);
        check(Effort::Passed, 64, Coding::Gzip, 16);
    }

    #[tokio::test]
    async fn what_will_never_have_room_does_not_wait_for_it() {
        let room = Room::new(&Budget::new(4 << 20), Effort::Stored);
        assert!(Encoder::in_turn(Coding::Br, &room).await.is_none());
    }
}
