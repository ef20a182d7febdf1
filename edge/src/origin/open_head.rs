//! The head of a response over HTTP/2 that has begun to come and is not whole (RFC 9113 §4.1, §6.2, §6.10), and whether the
//! origin's SETTINGS have come (§6.5).
//!
//! h2 tells of whole heads alone. A connection may end inside a head: then the origin has begun to answer that request.
//!
//! Invariant: between the HEADERS frame of a head and its END_HEADERS flag no other frame stands, so that one head at most is
//! open.

/// Reads the frames of an origin.
#[derive(Debug, Default)]
pub(super) struct OpenHead {
    /// The head of the frame that is coming.
    frame: [u8; FRAME_HEAD_BYTES],
    /// So many bytes of it are here.
    have: usize,
    /// Bytes of the frame's payload that are to come.
    left: usize,
    /// The stream of the open head; 0 if none is.
    stream: u32,
    /// Whether the frame is the last one of that head.
    is_last: bool,
    has_ended: bool,
    /// The frame has the origin's limits.
    is_settings: bool,
    has_settings: bool,
}

const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

impl OpenHead {
    /// Reads the next bytes. The stream whose head is open behind them; 0 if none is.
    pub(super) fn read(&mut self, mut fresh: &[u8]) -> u32 {
        while !fresh.is_empty() {
            if self.have < FRAME_HEAD_BYTES {
                let taken = fresh.len().min(FRAME_HEAD_BYTES - self.have);
                self.frame[self.have..self.have + taken].copy_from_slice(&fresh[..taken]);
                self.have += taken;
                fresh = &fresh[taken..];
                if self.have == FRAME_HEAD_BYTES {
                    self.begin();
                }
            } else {
                let taken = fresh.len().min(self.left);
                self.left -= taken;
                fresh = &fresh[taken..];
            }
            if self.have == FRAME_HEAD_BYTES && self.left == 0 {
                self.have = 0;
                self.has_settings |= self.is_settings;
                if self.is_last {
                    self.stream = 0;
                    self.has_ended = true;
                }
            }
        }
        self.stream
    }

    /// Whether a head has come to its end so far.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the origin's limits have come whole.
    pub(super) fn has_settings(&self) -> bool {
        self.has_settings
    }

    fn begin(&mut self) {
        let [long, middle, short, kind, flags, stream @ ..] = self.frame;
        self.left = u32::from_be_bytes([0, long, middle, short]) as usize;
        if kind == HEADERS {
            self.stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        }
        self.is_settings = kind == SETTINGS && flags & ACK == 0;
        self.is_last = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// The open head behind these bytes, in pieces of every length, and whether one has ended before.
    fn check(bytes: &[u8], stream: u32, ended: bool) {
        for piece in 1..=bytes.len() {
            let mut head = OpenHead::default();
            let open = bytes.chunks(piece).map(|piece| head.read(piece)).last();
            assert_eq!(open, Some(stream), "{bytes:?} by {piece}");
            assert_eq!(head.has_ended(), ended, "{bytes:?} by {piece}");
        }
    }

    #[test]
    fn a_head_is_open_from_its_first_frame_on_until_its_last_has_come() {
        let whole = frame(HEADERS, END_HEADERS, 3, b"abc");
        check(&whole[..8], 0, false);
        check(&whole[..9], 3, false);
        check(&whole[..11], 3, false);
        check(&whole, 0, true);
        check(&frame(HEADERS, END_HEADERS, 3, b""), 0, true);
        let first = frame(HEADERS, 1, 5, b"a");
        check(&first, 5, false);
        let more = [first, frame(CONTINUATION, 0, 5, b"b")].concat();
        check(&more, 5, false);
        let whole = [more, frame(CONTINUATION, END_HEADERS, 5, b"")].concat();
        check(&whole, 0, true);
        check(&[whole, frame(HEADERS, 0, 7, b"")].concat(), 7, true);
    }

    #[test]
    fn the_limits_of_an_origin_are_there_when_all_of_their_frame_is() {
        let check = |bytes: &[u8], expected: bool| {
            for piece in 1..=bytes.len() {
                let mut head = OpenHead::default();
                for piece in bytes.chunks(piece) {
                    head.read(piece);
                }
                assert_eq!(head.has_settings(), expected, "{bytes:?} by {piece}");
            }
        };
        let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 10]);
        check(&settings, true);
        check(&settings[..settings.len() - 1], false);
        check(&frame(SETTINGS, 0, 0, b""), true);
        check(&frame(SETTINGS, ACK, 0, b""), false);
        check(&[frame(6, 0, 0, b"12345678"), settings].concat(), true);
    }

    #[test]
    fn other_frames_open_nothing_whatever_their_flags_say() {
        let before = [frame(4, 0, 0, b"settings"), frame(0, 4, 7, b"data"), frame(6, 1, 0, b"12345678")];
        check(&before.concat(), 0, false);
        check(&[before.concat(), frame(HEADERS, 0, 7, b"a")].concat(), 7, false);
    }
}
