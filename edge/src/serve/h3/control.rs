//! A client's streams beside its requests: settings, and news of a table that there is not (RFC 9114 §6.2, RFC 9204
//! §4.2). Pure: bytes go in, an error comes out.

use std::time::Duration;

use super::code::Code;
use super::frame::{self, GOAWAY, SETTINGS};
use crate::serve::stream::account::Account;

/// The kinds of streams of one direction that a client may open once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Settings, and whatever is about the connection.
    Control,
    /// Instructions to our table.
    Encoder,
    /// Answers about theirs.
    Decoder,
}

impl Kind {
    /// By the integer that a stream begins with; none for one that nobody knows.
    ///
    /// # Errors
    /// When a client may not open such a stream.
    pub fn of(number: u64) -> Result<Option<Self>, Code> {
        match number {
            0x0 => Ok(Some(Self::Control)),
            // §6.2.2: only servers push.
            0x1 => Err(Code::StreamCreationError),
            0x2 => Ok(Some(Self::Encoder)),
            0x3 => Ok(Some(Self::Decoder)),
            _ => Ok(None),
        }
    }
}

/// The reader of one such stream.
#[derive(Debug)]
pub struct Control {
    kind: Kind,
    buffer: Vec<u8>,
    /// Bytes of a frame that nobody knows.
    skip: u64,
    has_settings: bool,
    /// The continuation of an integer is being read.
    in_integer: bool,
    account: Account,
}

/// Frames and instructions at first, at most, and a second.
const AT_FIRST: u64 = 1_000;
const A_SECOND: u64 = 10;
/// Each request pays in so much: a priority, and a stream that is cancelled.
const A_REQUEST: u64 = 4;
/// A frame that is known has a few integers; SETTINGS has some pairs of them.
const MOST_PAYLOAD: u64 = 1024;
/// Bytes of frames that nobody knows, as frames.
const BYTES_A_FRAME: u64 = 64;

const DATA: u64 = 0x0;
const HEADERS: u64 = 0x1;
const CANCEL_PUSH: u64 = 0x3;
const PUSH_PROMISE: u64 = 0x5;
const MAX_PUSH_ID: u64 = 0xd;
/// RFC 9204 §4.3.1: a capacity of 0.
const NO_CAPACITY: u8 = 0x20;

impl Control {
    /// At the beginning of a stream, behind its kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let account = Account::new(AT_FIRST, AT_FIRST, A_SECOND);
        Self { kind, buffer: Vec::new(), skip: 0, has_settings: false, in_integer: false, account }
    }

    /// Takes in what the client sent; `requests` is how many it has made, `at` the age of the connection.
    ///
    /// # Errors
    /// When the connection must end.
    pub fn push(&mut self, bytes: &[u8], requests: u64, at: Duration) -> Result<(), Code> {
        let cost = match self.kind {
            Kind::Control => self.frames(bytes)?,
            // RFC 9204 §3.2.3: with a capacity of 0, nothing may be put into the table.
            Kind::Encoder if bytes.iter().any(|&byte| byte != NO_CAPACITY) => {
                return Err(Code::EncoderStreamError);
            }
            Kind::Encoder => bytes.len() as u64,
            Kind::Decoder => self.decoder(bytes)?,
        };
        self.account.pay(cost, requests.saturating_mul(A_REQUEST), at).ok_or(Code::ExcessiveLoad)
    }

    fn frames(&mut self, bytes: &[u8]) -> Result<u64, Code> {
        self.buffer.extend_from_slice(bytes);
        let mut cost = bytes.len() as u64 / BYTES_A_FRAME;
        loop {
            let skipped = self.buffer.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.buffer.drain(..skipped);
            self.skip -= skipped as u64;
            let Some((kind, length, bytes)) = frame::header(&self.buffer).filter(|_| self.skip == 0) else {
                return Ok(cost);
            };
            self.may_stand(kind)?;
            if is_known(kind) {
                if length > MOST_PAYLOAD {
                    return Err(Code::ExcessiveLoad);
                }
                let end = bytes + usize::try_from(length).map_err(|_| Code::ExcessiveLoad)?;
                let Some(payload) = self.buffer.get(bytes..end) else { return Ok(cost) };
                take(kind, payload)?;
                self.buffer.drain(..end);
            } else {
                self.buffer.drain(..bytes);
                self.skip = length;
            }
            self.has_settings = true;
            cost += 1;
        }
    }

    /// RFC 9114 §6.2.1 and §7.2.
    fn may_stand(&self, kind: u64) -> Result<(), Code> {
        match kind {
            SETTINGS if self.has_settings => Err(Code::FrameUnexpected),
            SETTINGS => Ok(()),
            _ if !self.has_settings => Err(Code::MissingSettings),
            DATA | HEADERS | PUSH_PROMISE | 0x2 | 0x6 | 0x8 | 0x9 => Err(Code::FrameUnexpected),
            _ => Ok(()),
        }
    }

    /// RFC 9204 §4.4: streams that were cancelled; there is nothing else to tell about a table that there is not.
    fn decoder(&mut self, bytes: &[u8]) -> Result<u64, Code> {
        let mut cost = 0;
        for &byte in bytes {
            if self.in_integer {
                self.in_integer = byte & 0x80 != 0;
            } else if byte & 0xc0 == 0x40 {
                self.in_integer = byte & 0x3f == 0x3f;
            } else {
                return Err(Code::DecoderStreamError);
            }
            cost += 1;
        }
        Ok(cost)
    }
}

fn is_known(kind: u64) -> bool {
    [SETTINGS, GOAWAY, MAX_PUSH_ID, CANCEL_PUSH].contains(&kind)
}

fn take(kind: u64, payload: &[u8]) -> Result<(), Code> {
    if kind == SETTINGS {
        return settings(payload);
    }
    match frame::integer(payload) {
        // §7.2.3: nothing was pushed.
        Some((_, bytes)) if bytes == payload.len() && kind == CANCEL_PUSH => Err(Code::IdError),
        Some((_, bytes)) if bytes == payload.len() => Ok(()),
        _ => Err(Code::FrameError),
    }
}

/// §7.2.4: pairs of integers, each setting once, none of HTTP/2's. None of them changes what we do: we push nothing,
/// have no table, and what a client says of the length of heads is advice.
fn settings(mut payload: &[u8]) -> Result<(), Code> {
    let mut seen = Vec::new();
    while !payload.is_empty() {
        let (setting, _, bytes) = frame::header(payload).ok_or(Code::FrameError)?;
        if matches!(setting, 0x0 | 0x2..=0x5) || seen.contains(&setting) {
            return Err(Code::SettingsError);
        }
        seen.push(setting);
        payload = &payload[bytes..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, bytes: &[u8], expected: Result<(), Code>) {
        for size in [1, 2, bytes.len().max(1)] {
            let mut control = Control::new(kind);
            let read = bytes.chunks(size).try_for_each(|piece| control.push(piece, 0, Duration::ZERO));
            assert_eq!(read, expected, "{bytes:x?} by {size}");
        }
    }

    #[test]
    fn settings_come_first_and_once() {
        let check = |bytes: &[u8], expected| check(Kind::Control, bytes, expected);
        check(b"\x04\x00", Ok(()));
        check(b"\x04\x04\x06\x44\x00\x33\x00", Err(Code::FrameError));
        check(b"\x04\x05\x06\x44\x00\x33\x00", Ok(()));
        check(b"\x04\x00\x04\x00", Err(Code::FrameUnexpected));
        check(b"\x07\x01\x00", Err(Code::MissingSettings));
        check(b"\x21\x00", Err(Code::MissingSettings));
        check(b"\x04\x04\x06\x00\x06\x00", Err(Code::SettingsError));
        check(b"\x04\x02\x02\x00", Err(Code::SettingsError));
        check(b"\x04\x44\x01", Err(Code::ExcessiveLoad));
    }

    #[test]
    fn other_frames_follow_as_far_as_they_belong_here() {
        let check = |bytes: &[u8], expected| check(Kind::Control, &[b"\x04\x00", bytes].concat(), expected);
        check(b"\x07\x01\x00", Ok(()));
        check(b"\x0d\x01\x05\x40\x21\x02ab\x07\x02\x40\x04", Ok(()));
        check(b"\x03\x01\x00", Err(Code::IdError));
        check(b"\x07\x02\x00\x00", Err(Code::FrameError));
        check(b"\x07\x00", Err(Code::FrameError));
        for bytes in [
            &b"\x00\x01x"[..],
            b"\x01\x01x",
            b"\x05\x01x",
            b"\x02\x00",
            b"\x06\x00",
            b"\x08\x00",
            b"\x09\x00",
        ] {
            check(bytes, Err(Code::FrameUnexpected));
        }
        // PRIORITY_UPDATE (RFC 9218 §7.2), passed over.
        check(b"\x80\x0f\x07\x00\x04\x00u=1", Ok(()));
    }

    #[test]
    fn floods_end() {
        let check = |kind: Kind, first: &[u8], bytes: &[u8]| {
            let mut control = Control::new(kind);
            control.push(first, 0, Duration::ZERO).unwrap();
            let ended = (0..1_000_000).find_map(|_| control.push(bytes, 0, Duration::ZERO).err());
            assert_eq!(ended, Some(Code::ExcessiveLoad), "{bytes:x?}");
            assert!(control.buffer.len() <= 2048);
        };
        check(Kind::Control, b"\x04\x00", b"\x21\x00");
        check(Kind::Control, b"\x04\x00", b"\x0d\x01\x05");
        check(Kind::Control, b"\x04\x00\x21\xff\xff\xff\xff\xff\xff\xff\xff", &[0; 1000]);
        check(Kind::Encoder, b"", b"\x20");
        check(Kind::Decoder, b"", b"\x41");
    }

    #[test]
    fn there_is_no_table_to_tell_of() {
        check(Kind::Encoder, b"\x20", Ok(()));
        for bytes in [&b"\x21"[..], b"\x3f\x01", b"\xc0\x01a", b"\x41a\x01b", b"\x00"] {
            check(Kind::Encoder, bytes, Err(Code::EncoderStreamError));
        }
        check(Kind::Decoder, b"\x41\x7f\x81\x01\x40", Ok(()));
        for bytes in [b"\x80", b"\x81", b"\x01"] {
            check(Kind::Decoder, bytes, Err(Code::DecoderStreamError));
        }
    }

    #[test]
    fn a_client_opens_no_stream_for_pushes() {
        assert_eq!(Kind::of(0), Ok(Some(Kind::Control)));
        assert_eq!(Kind::of(1), Err(Code::StreamCreationError));
        assert_eq!(Kind::of(0x21), Ok(None));
    }
}
