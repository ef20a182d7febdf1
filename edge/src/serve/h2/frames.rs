//! The cost of a client's frames, beside the bytes of its bodies (RFC 9113 §10.5). Pure.
//!
//! PING, SETTINGS, WINDOW_UPDATE, PRIORITY, CONTINUATION, RST_STREAM, unknown and all but empty DATA frames make work and
//! are bounded by nothing in the protocol (CVE-2019-9511 to -9518, CVE-2023-44487, CVE-2025-8671). An account pays for
//! them. Requests, answers under way and time pay in, so that no honest client runs out: a download needs two
//! WINDOW_UPDATE frames for each 4 KiB at the most, a request some frames of its own, and a connection that
//! only waits some PINGs a minute. An open request buys nothing by being open.

use std::time::Duration;

use crate::serve::stream::account::Account;

/// The frames that a connection may send before it has asked for anything.
const AT_FIRST: u64 = 2_000;
/// The most that an account holds: what a client owes that was slow for long, and then reads 16 MiB at once.
const MOST: u64 = 10_000;
/// Each second pays in so much: small messages of a game, sent one by one.
const A_SECOND: u64 = 100;
/// Each request pays in so much: its head, trailers, priorities, windows and a reset.
const A_REQUEST: u64 = 8;
/// Each piece of an answer, and each KiB of it, pays in so much.
const A_PIECE: u64 = 4;
const A_KIB: u64 = 1;
/// A frame that carries nothing for a stream costs 1, and 1 more for so many bytes: SETTINGS may hold 2,700 settings.
const BYTES_A_FRAME: u32 = 64;
/// DATA with fewer bytes costs more to hold than it brings.
const SMALL_DATA_BYTES: u32 = 64;
/// The length of padding and as much of it as there may be (RFC 9113 §6.1): it takes the place of bytes.
const MOST_PADDING: u32 = 256;

/// The connection preface (RFC 9113 §3.4).
const PREFACE_BYTES: u32 = 24;
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;
const PADDED: u8 = 0x8;
const END_STREAM: u8 = 0x1;

/// The client sends frames that ask for nothing, or takes back what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    Frames,
    Resets,
}

impl Flood {
    /// A label in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "http2-frames",
            Self::Resets => "http2-resets",
        }
    }
}

/// The sum paid in since the connection began, time aside. It never shrinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PaidIn {
    pub(super) requests: u64,
    /// Pieces of answers that went.
    pub(super) pieces: u64,
    /// Bytes of answers that went.
    pub(super) bytes: u64,
    /// Answers that went to their end.
    pub(super) answered: u64,
    /// Frames that carried bytes of another protocol (RFC 8441).
    pub(super) taken: u64,
}

impl PaidIn {
    fn frames(self) -> u64 {
        self.requests * A_REQUEST + self.pieces * A_PIECE + self.bytes / 1024 * A_KIB + self.taken
    }
}

/// The frames of one client, and its account.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass over: of the preface, or of the last frame's payload.
    skip: u32,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    frames: Account,
    resets: Account,
}

/// The cost of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    frames: u64,
    resets: u64,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            frames: Account::new(AT_FIRST, MOST, A_SECOND),
            resets: Account::of_resets(),
        }
    }

    /// Takes in what the client sent. `at` is the connection's age.
    ///
    /// # Errors
    /// When the account is overdrawn.
    pub(super) fn read(&mut self, bytes: &[u8], paid_in: PaidIn, at: Duration) -> Result<(), Flood> {
        let Cost { frames, resets } = self.cost(bytes);
        self.frames.pay(frames, paid_in.frames(), at).ok_or(Flood::Frames)?;
        self.resets.pay(resets, paid_in.answered, at).ok_or(Flood::Resets)
    }

    fn cost(&mut self, mut bytes: &[u8]) -> Cost {
        let mut sum = Cost { frames: 0, resets: 0 };
        loop {
            let skipped = bytes.len().min(self.skip as usize);
            bytes = &bytes[skipped..];
            self.skip -= u32::try_from(skipped).unwrap_or(u32::MAX);
            let taken = bytes.len().min(HEADER_BYTES - self.header_bytes);
            if self.skip > 0 || taken == 0 {
                return sum;
            }
            let (head, rest) = bytes.split_at(taken);
            self.header[self.header_bytes..self.header_bytes + taken].copy_from_slice(head);
            self.header_bytes += taken;
            bytes = rest;
            if self.header_bytes < HEADER_BYTES {
                return sum;
            }
            let [high, middle, low, kind, flags, ..] = self.header;
            let length = u32::from_be_bytes([0, high, middle, low]);
            (self.skip, self.header_bytes) = (length, 0);
            let Cost { frames, resets } = cost(kind, flags, length);
            sum = Cost { frames: sum.frames + frames, resets: sum.resets + resets };
        }
    }
}

fn cost(kind: u8, flags: u8, length: u32) -> Cost {
    let frames = match kind {
        DATA if flags & END_STREAM != 0 => 0,
        DATA if flags & PADDED != 0 => u64::from(length <= SMALL_DATA_BYTES + MOST_PADDING),
        DATA => u64::from(length < SMALL_DATA_BYTES),
        // h2 bounds the bytes of a head.
        HEADERS | CONTINUATION => 1,
        _ => 1 + u64::from(length / BYTES_A_FRAME),
    };
    Cost { frames, resets: u64::from(kind == RST_STREAM) }
}

#[cfg(test)]
mod tests;
