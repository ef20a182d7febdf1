//! Frames on the stream of a request (RFC 9114 §7). Pure: bytes go in, frames come out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};

use super::code::Code;

const DATA: u64 = 0x0;
const HEADERS: u64 = 0x1;
const CANCEL_PUSH: u64 = 0x3;
/// RFC 9114 §7.2.4.
pub const SETTINGS: u64 = 0x4;
const PUSH_PROMISE: u64 = 0x5;
/// RFC 9114 §7.2.6.
pub const GOAWAY: u64 = 0x7;
const MAX_PUSH_ID: u64 = 0xd;

/// Frames that carry nothing, and bytes of frames that nobody knows, on one stream.
const MOST_USELESS: u64 = 64 << 10;
/// The cost of such a frame beside its bytes.
const USELESS_FRAME: u64 = 64;
/// Memory of the field sections of one connection that have begun and not ended: as much as a client may send of bodies before
/// an origin takes them. A usual section comes in one packet, and is not counted at all.
const MOST_UNREAD_BYTES: usize = 256 << 10;

/// A part of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A field section.
    Head(Bytes),
    /// Bytes of the body.
    Data(Bytes),
}

/// Reads the frames of one stream.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    state: State,
    most_head: u64,
    useless: u64,
    stage: Stage,
    unread: Arc<UnreadHeads>,
    /// This stream's part of them.
    held: usize,
}

/// The memory that the streams of one connection hold for field sections which are not all there.
///
/// Reading gives flow-control credit back, so that windows bound none of it: a client could let each of its streams lack a byte.
#[derive(Debug)]
pub struct UnreadHeads {
    held: AtomicUsize,
    most: usize,
}

impl UnreadHeads {
    /// None yet; there is room for one section of `most_head` bytes whatever it is.
    #[must_use]
    pub fn new(most_head: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), most: MOST_UNREAD_BYTES.max(most_head.saturating_mul(2)) })
    }

    /// A stream holds `now` bytes in the place of `before`; none if there is no room for them.
    fn change(&self, before: usize, now: usize) -> Option<()> {
        let change = |held: usize| {
            let held = held.saturating_sub(before).saturating_add(now);
            (held <= self.most || now <= before).then_some(held)
        };
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok().map(|_| ())
    }
}

/// Where in a frame the buffer begins.
#[derive(Debug, Clone, Copy)]
enum State {
    Type,
    Head { length: usize },
    Data { left: u64 },
    Unknown { left: u64 },
}

/// How far the message is (RFC 9114 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    /// Behind trailers, nothing may follow.
    End,
}

/// Why a stream is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is at fault.
    Connection(Code),
    /// The message is, and its stream ends.
    Stream(Code),
    /// The head is longer than it may be.
    LongHead,
}

impl Frames {
    /// At the start of a stream; a field section may have `most_head` bytes.
    #[must_use]
    pub fn new(most_head: usize) -> Self {
        Self::within(most_head, &UnreadHeads::new(most_head))
    }

    /// The same for a stream of a connection that holds these already.
    #[must_use]
    pub fn within(most_head: usize, unread: &Arc<UnreadHeads>) -> Self {
        let (buffer, state, stage) = (BytesMut::new(), State::Type, Stage::Head);
        let unread = Arc::clone(unread);
        Self { buffer, state, most_head: most_head as u64, useless: 0, stage, unread, held: 0 }
    }

    /// Takes in what the client sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or none if more bytes are needed.
    ///
    /// # Errors
    /// When the client breaks the protocol, or sends too much that is of no use.
    pub fn read(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            match self.state {
                State::Type => {
                    let Some((kind, length, bytes)) = header(&self.buffer) else { return Ok(None) };
                    self.state = self.begin(kind, length)?;
                    self.buffer.advance(bytes);
                }
                State::Head { length } => {
                    if self.buffer.len() < length {
                        self.hold(self.buffer.capacity())?;
                        return Ok(None);
                    }
                    self.hold(0)?;
                    self.state = State::Type;
                    return Ok(Some(Frame::Head(self.buffer.split_to(length).freeze())));
                }
                State::Data { left: 0 } | State::Unknown { left: 0 } => self.state = State::Type,
                State::Data { .. } | State::Unknown { .. } if self.buffer.is_empty() => return Ok(None),
                State::Data { left } => {
                    let taken = part(left, self.buffer.len());
                    self.state = State::Data { left: left - taken as u64 };
                    return Ok(Some(Frame::Data(self.buffer.split_to(taken).freeze())));
                }
                State::Unknown { left } => {
                    let taken = part(left, self.buffer.len());
                    self.state = State::Unknown { left: left - taken as u64 };
                    self.buffer.advance(taken);
                    self.is_useless(taken as u64)?;
                }
            }
        }
    }

    /// The client has ended its side here.
    ///
    /// # Errors
    /// When that is in the middle of a frame, or before a head.
    pub fn end(&self) -> Result<(), Fault> {
        match (self.state, self.buffer.is_empty(), self.stage) {
            (State::Type | State::Data { left: 0 } | State::Unknown { left: 0 }, true, Stage::Head) => {
                Err(Fault::Stream(Code::RequestIncomplete))
            }
            (State::Type | State::Data { left: 0 } | State::Unknown { left: 0 }, true, _) => Ok(()),
            // RFC 9114 §7.1: a stream that ends in a frame breaks the connection.
            _ => Err(Fault::Connection(Code::FrameError)),
        }
    }

    /// The state in a frame that begins.
    fn begin(&mut self, kind: u64, length: u64) -> Result<State, Fault> {
        match (kind, self.stage) {
            (HEADERS, Stage::Head | Stage::Body) => {
                self.stage = if self.stage == Stage::Head { Stage::Body } else { Stage::End };
                let length = usize::try_from(length).ok().filter(|_| length <= self.most_head);
                Ok(State::Head { length: length.ok_or(Fault::LongHead)? })
            }
            (DATA, Stage::Body) => {
                if length == 0 {
                    self.is_useless(USELESS_FRAME)?;
                }
                Ok(State::Data { left: length })
            }
            // §7.2: these belong elsewhere, or to HTTP/2 (§7.2.8).
            (
                DATA | HEADERS | CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID | 0x2 | 0x6
                | 0x8 | 0x9,
                _,
            ) => Err(Fault::Connection(Code::FrameUnexpected)),
            // §9: what is not known is passed over.
            _ => {
                self.is_useless(USELESS_FRAME)?;
                Ok(State::Unknown { left: length })
            }
        }
    }

    /// Takes its part of what the connection may hold. A request that there is no room for was not looked at, and may be sent
    /// again (RFC 9114 §8.1); trailers belong to one that was.
    fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        let code = if self.stage == Stage::End { Code::ExcessiveLoad } else { Code::RequestRejected };
        self.unread.change(self.held, bytes).ok_or(Fault::Stream(code))?;
        self.held = bytes;
        Ok(())
    }

    fn is_useless(&mut self, cost: u64) -> Result<(), Fault> {
        self.useless = self.useless.saturating_add(cost);
        if self.useless > MOST_USELESS { Err(Fault::Connection(Code::ExcessiveLoad)) } else { Ok(()) }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Less is always granted.
        let _ = self.unread.change(self.held, 0);
    }
}

fn part(left: u64, held: usize) -> usize {
    usize::try_from(left).map_or(held, |left| left.min(held))
}

/// Type and length of a frame, and the bytes that they take; none if they are not all there.
#[must_use]
pub fn header(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, first) = integer(bytes)?;
    let (length, second) = integer(&bytes[first..])?;
    Some((kind, length, first + second))
}

/// The field section of a frame that is a whole HEADERS frame, and nothing else.
#[must_use]
pub fn head_alone(bytes: &[u8]) -> Option<&[u8]> {
    let (kind, length, first) = header(bytes)?;
    let section = bytes.get(first..)?;
    (kind == HEADERS && length == section.len() as u64).then_some(section)
}

/// RFC 9000 §16: an integer and the bytes that it takes.
#[must_use]
pub fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let all = bytes.get(..length)?;
    let value = all[1..].iter().fold(u64::from(first & 0x3f), |value, &byte| value << 8 | u64::from(byte));
    Some((value, length))
}

/// Appends an integer below 2^62.
pub fn put_integer(value: u64, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    match value {
        0..0x40 => out.push(bytes[7]),
        0x40..0x4000 => out.extend([bytes[6] | 0x40, bytes[7]]),
        0x4000..0x4000_0000 => out.extend([bytes[4] | 0x80, bytes[5], bytes[6], bytes[7]]),
        _ => {
            out.push(bytes[0] | 0xc0);
            out.extend(&bytes[1..]);
        }
    }
}

/// The first bytes of a DATA frame.
#[must_use]
pub fn data_header(length: usize) -> Bytes {
    let mut out = Vec::with_capacity(9);
    put_integer(DATA, &mut out);
    put_integer(length as u64, &mut out);
    out.into()
}

/// A HEADERS frame with this field section.
#[must_use]
pub fn headers(section: &[u8]) -> Bytes {
    with_payload(HEADERS, section)
}

/// A whole frame.
#[must_use]
pub fn with_payload(kind: u64, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 9);
    put_integer(kind, &mut out);
    put_integer(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads these bytes and the end behind them, however they are cut, into heads and joined bodies.
    #[track_caller]
    fn check(bytes: &[u8], expected: Result<&[&str], Fault>) {
        for size in [1, 2, 3, bytes.len().max(1)] {
            let mut frames = Frames::new(100);
            let mut found: Vec<String> = Vec::new();
            let mut read = || {
                for piece in bytes.chunks(size) {
                    frames.push(piece);
                    while let Some(frame) = frames.read()? {
                        match frame {
                            Frame::Head(section) => {
                                found.push(format!("h:{}", String::from_utf8_lossy(&section)))
                            }
                            Frame::Data(bytes) => {
                                let bytes = String::from_utf8_lossy(&bytes).into_owned();
                                match found.last_mut().filter(|last| last.starts_with("d:")) {
                                    Some(last) => last.push_str(&bytes),
                                    None => found.push(format!("d:{bytes}")),
                                }
                            }
                        }
                    }
                }
                frames.end()
            };
            let read = read();
            let shown: Vec<&str> = found.iter().map(String::as_str).collect();
            assert_eq!(read.map(|()| shown.as_slice()), expected, "{bytes:x?} by {size}");
        }
    }

    #[test]
    fn a_message_is_a_head_then_data_then_trailers() {
        check(b"\x01\x02ab", Ok(&["h:ab"]));
        check(b"\x01\x02ab\x00\x03xyz\x00\x01w", Ok(&["h:ab", "d:xyzw"]));
        check(b"\x01\x02ab\x00\x01x\x01\x01t", Ok(&["h:ab", "d:x", "h:t"]));
        // Frames of unknown types may stand everywhere (RFC 9114 §9).
        check(b"\x21\x03zzz\x01\x01a\x40\x21\x00\x00\x01x\x21\x01z", Ok(&["h:a", "d:x"]));
        check(b"\x01\x00\x00\x00", Ok(&["h:"]));
    }

    #[test]
    fn frames_in_the_wrong_place_break_the_connection() {
        let unexpected = Err(Fault::Connection(Code::FrameUnexpected));
        for bytes in [
            &b"\x00\x01x"[..],
            b"\x01\x01a\x01\x01t\x00\x01x",
            b"\x01\x01a\x01\x01t\x01\x01t",
            b"\x04\x00",
            b"\x07\x01\x00",
            b"\x03\x01\x00",
            b"\x05\x01\x00",
            b"\x0d\x01\x00",
            b"\x02\x00",
            b"\x06\x00",
            b"\x08\x00",
            b"\x09\x00",
        ] {
            check(bytes, unexpected);
        }
    }

    #[test]
    fn a_message_that_is_cut_off_is_none() {
        check(b"", Err(Fault::Stream(Code::RequestIncomplete)));
        check(b"\x21\x00", Err(Fault::Stream(Code::RequestIncomplete)));
        for bytes in
            [&b"\x01"[..], b"\x01\x02a", b"\x01\x01a\x00\x02x", b"\x01\x01a\x21\x01", b"\x01\x01a\x40"]
        {
            check(bytes, Err(Fault::Connection(Code::FrameError)));
        }
    }

    #[test]
    fn heads_and_useless_frames_have_a_bound() {
        check(&[&b"\x01\x40\x65"[..], &[b'a'; 101]].concat(), Err(Fault::LongHead));
        let most = usize::try_from(MOST_USELESS / USELESS_FRAME).unwrap();
        let head = &b"\x01\x01a"[..];
        check(&[head, &b"\x00\x00".repeat(most)].concat(), Ok(&["h:a"]));
        check(&[head, &b"\x00\x00".repeat(most + 1)].concat(), Err(Fault::Connection(Code::ExcessiveLoad)));
        check(&[head, &b"\x21\x00".repeat(most + 1)].concat(), Err(Fault::Connection(Code::ExcessiveLoad)));
        check(
            &[b"\x21\xc0\0\0\0\0\x01\0\0", &vec![0; 1 << 16][..]].concat(),
            Err(Fault::Connection(Code::ExcessiveLoad)),
        );
    }

    /// A HEADERS frame of `length` bytes, and so many of them.
    fn begun(length: usize, there: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_integer(HEADERS, &mut bytes);
        put_integer(length as u64, &mut bytes);
        bytes.resize(bytes.len() + there, b'a');
        bytes
    }

    #[test]
    fn heads_that_lack_a_byte_have_one_bound_for_a_connection() {
        const LONG: usize = 16 << 10;
        let unread = UnreadHeads::new(LONG);
        let begin = |bytes: &[u8]| {
            let mut frames = Frames::within(LONG, &unread);
            frames.push(bytes);
            let read = frames.read();
            (frames, read)
        };
        let (mut held, refused): (Vec<_>, Vec<_>) =
            (0..100).map(|_| begin(&begun(LONG, LONG - 1))).partition(|(_, read)| *read == Ok(None));
        assert!((8..=MOST_UNREAD_BYTES / (LONG - 1)).contains(&held.len()), "{}", held.len());
        let rejected = Err(Fault::Stream(Code::RequestRejected));
        assert!(refused.iter().all(|(_, read)| *read == rejected));
        // A head that is all there goes on, and one that becomes whole makes room.
        assert!(matches!(begin(&begun(LONG, LONG)).1, Ok(Some(Frame::Head(_)))));
        let (whole, _) = &mut held[0];
        whole.push(b"a");
        assert!(matches!(whole.read(), Ok(Some(Frame::Head(_)))));
        let (last, read) = begin(&begun(LONG, LONG - 1));
        assert_eq!(read, Ok(None));
        assert_eq!(begin(&begun(LONG, LONG - 1)).1, rejected);
        let trailers = [&b"\x01\x01h"[..], &begun(LONG, LONG - 1)].concat();
        let (mut frames, _) = begin(&trailers);
        assert_eq!(frames.read(), Err(Fault::Stream(Code::ExcessiveLoad)), "its request was answered");
        drop((held, last, frames));
        assert_eq!(unread.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_head_is_alone_if_it_is_whole_and_nothing_is_behind_it() {
        assert_eq!(head_alone(b"\x01\x02ab"), Some(&b"ab"[..]));
        assert_eq!(head_alone(b"\x01\x00"), Some(&b""[..]));
        for bytes in [&b""[..], b"\x01", b"\x01\x02a", b"\x01\x02abc", b"\x00\x02ab", b"\x21\x00\x01\x02ab"] {
            assert_eq!(head_alone(bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn integers_come_back_in_the_fewest_bytes() {
        for (value, bytes) in [
            (0, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 4),
            ((1 << 30) - 1, 4),
            (1 << 30, 8),
            ((1 << 62) - 1, 8),
        ] {
            let mut out = Vec::new();
            put_integer(value, &mut out);
            assert_eq!((integer(&out), out.len()), (Some((value, bytes)), bytes));
            assert_eq!(integer(&out[..bytes - 1]), None);
        }
    }
}
