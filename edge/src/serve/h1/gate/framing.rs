//! Where one message ends and the next begins on a connection: heads and bodies in turn.
//!
//! Invariant: bytes in, a value out; what a byte means does not depend on the pieces they come in.

use super::chunked::{self, Chunked};
use super::head::{self, After, Body, Head, Plain, Reading};
use super::refusal::Refusal;
use crate::http::head::HeadLimits;

/// The place of the next byte in a connection's messages.
#[derive(Debug)]
pub struct Framing {
    at: At,
    after: After,
    limits: HeadLimits,
}

/// The judgement on the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// So many bytes at the start are good.
    pub good: usize,
    /// So many heads are among them.
    pub heads: u64,
    /// Why no more are.
    pub stop: Stop,
}

/// Why the bytes behind the good ones are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// More bytes are needed to tell, or none are left.
    Starved,
    /// The answer to the last head decides what they are.
    Unanswered,
    /// A head of this many bytes whose target must be encoded first ([`head::encoded`]).
    Raw(usize),
    /// A head that must not be passed on; nothing behind it is read.
    Head(Refusal),
    /// A body that breaks off here; nothing behind it is read.
    Body(Refusal),
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// So many of its bytes were read and nothing was wrong with them.
    Head {
        seen: usize,
    },
    Sized(u64),
    Chunked(Chunked),
    Unanswered,
}

enum Step {
    Body(usize, At),
    Head(usize, At),
    Stop(Stop),
}

impl Framing {
    /// A connection's start.
    #[must_use]
    pub fn new(limits: impl Into<HeadLimits>) -> Self {
        Self { at: At::Head { seen: 0 }, after: After::Request, limits: limits.into() }
    }

    /// Reads on. The bytes that are not good are to be given again, with more behind them.
    pub fn judge(&mut self, bytes: &[u8]) -> Judged {
        let (mut good, mut heads) = (0, 0);
        loop {
            let taken = match self.step(&bytes[good..]) {
                Step::Stop(stop) => return Judged { good, heads, stop },
                Step::Body(taken, at) => {
                    self.at = at;
                    taken
                }
                Step::Head(taken, at) => {
                    self.at = at;
                    heads += 1;
                    taken
                }
            };
            good += taken;
        }
    }

    /// The head at the start of `bytes`, if one is to come now, is all there, and is of the usual kind. If it is answered
    /// elsewhere, this never hears of it.
    #[must_use]
    pub fn plain<'a>(&self, bytes: &'a [u8]) -> Option<Plain<'a>> {
        match self.at {
            At::Head { seen } if seen == 0 || head::worth_reading(bytes, seen) => {
                head::plain(bytes, &self.limits)
            }
            _ => None,
        }
    }

    /// Whether the next byte is a head's first.
    #[must_use]
    pub fn is_before_head(&self) -> bool {
        matches!(self.at, At::Head { seen: 0 })
    }

    /// Whether all of `length` bytes of a head that is to come were read, and more are needed.
    #[must_use]
    pub fn has_read(&self, length: usize) -> bool {
        matches!(self.at, At::Head { seen } if seen == length)
    }

    /// The head whose first bytes this was given has been answered elsewhere.
    pub fn forget_head(&mut self) {
        self.at = At::Head { seen: 0 };
    }

    /// Whether what follows depends on the answer to the last head.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self.at, At::Unanswered)
    }

    /// Whether bytes of a body that has begun are still to come.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        matches!(self.at, At::Sized(_) | At::Chunked(_))
    }

    /// The answer switched nothing: what follows is the next request.
    pub fn resume(&mut self) {
        self.after = After::Request;
        self.at = At::Head { seen: 0 };
    }

    fn step(&mut self, bytes: &[u8]) -> Step {
        match self.at {
            At::Unanswered => Step::Stop(Stop::Unanswered),
            _ if bytes.is_empty() => Step::Stop(Stop::Starved),
            At::Head { seen } => self.head(bytes, seen),
            At::Sized(left) => self.sized(bytes, left),
            At::Chunked(chunked) => self.chunked(bytes, chunked),
        }
    }

    fn head(&mut self, bytes: &[u8], seen: usize) -> Step {
        let reading = if seen > 0 && bytes.len() < self.limits.bytes && !head::worth_reading(bytes, seen) {
            Reading::Partial
        } else {
            head::read(bytes, self.limits)
        };
        match reading {
            Reading::Whole(head) if head.is_raw => {
                self.at = At::Head { seen: 0 };
                Step::Stop(Stop::Raw(head.len))
            }
            Reading::Whole(head) => Step::Head(head.len, self.behind(head)),
            Reading::Refused(refusal) => Step::Stop(Stop::Head(refusal)),
            Reading::Partial => {
                self.at = At::Head { seen: bytes.len() };
                Step::Stop(Stop::Starved)
            }
        }
    }

    fn sized(&self, bytes: &[u8], left: u64) -> Step {
        match usize::try_from(left) {
            Ok(left) if left <= bytes.len() => Step::Body(left, self.behind_body()),
            _ => Step::Body(bytes.len(), At::Sized(left - bytes.len() as u64)),
        }
    }

    fn chunked(&self, bytes: &[u8], chunked: Chunked) -> Step {
        match chunked.step(bytes) {
            Ok(chunked::Step::Next(taken, next)) => Step::Body(taken, At::Chunked(next)),
            Ok(chunked::Step::End(taken)) => Step::Body(taken, self.behind_body()),
            Ok(chunked::Step::Starved) => Step::Stop(Stop::Starved),
            Err(refusal) => Step::Stop(Stop::Body(refusal)),
        }
    }

    fn behind(&mut self, head: Head) -> At {
        self.after = head.after;
        match head.body {
            Body::None => self.behind_body(),
            Body::Sized(length) => At::Sized(length),
            Body::Chunked => At::Chunked(Chunked::Size),
        }
    }

    fn behind_body(&self) -> At {
        match self.after {
            After::Request => At::Head { seen: 0 },
            After::Answer => At::Unanswered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_HEAD_BYTES: usize = 1024;

    /// Judges a connection whose bytes arrive in such pieces: good bytes, heads, and the last word.
    fn walk(bytes: &[u8], piece: usize) -> Judged {
        let mut framing = Framing::new(MAX_HEAD_BYTES);
        let mut sum = Judged { good: 0, heads: 0, stop: Stop::Starved };
        let mut end = 0;
        while end < bytes.len() && sum.stop == Stop::Starved {
            end = (end + piece).min(bytes.len());
            let judged = framing.judge(&bytes[sum.good..end]);
            sum = Judged { good: sum.good + judged.good, heads: sum.heads + judged.heads, stop: judged.stop };
        }
        sum
    }

    fn check(bytes: &[u8], good: usize, heads: u64, stop: Stop) {
        for piece in (1..=bytes.len().min(70)).chain([bytes.len()]) {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(walk(bytes, piece), Judged { good, heads, stop }, "{text:?} in pieces of {piece}");
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const SIZED: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n";

    #[test]
    fn messages_follow_each_other() {
        let all = [GET, SIZED, GET, CHUNKED, "\r\n", SIZED, CHUNKED, GET].concat();
        check(all.as_bytes(), all.len(), 7, Stop::Starved);
    }

    #[test]
    fn a_message_that_is_not_complete_waits() {
        let start = [SIZED, CHUNKED].concat();
        check(format!("{start}GET / HTTP/1.1\r\nHost: a\r\n").as_bytes(), start.len(), 2, Stop::Starved);
    }

    #[test]
    fn what_stands_before_a_bad_head_is_good() {
        let start = [GET, CHUNKED].concat();
        let bad = "GET / HTTP/1.1\r\n\r\n";
        check(format!("{start}{bad}{GET}").as_bytes(), start.len(), 2, Stop::Head(Refusal::NoHost));
        check(
            format!("{start}GET / HTTP/1.1\nHost: a\n\n").as_bytes(),
            start.len(),
            2,
            Stop::Head(Refusal::BadRequestLine),
        );
        check(
            format!("{start}GET / HTTP/1.1\r\nHost: a\n\n").as_bytes(),
            start.len(),
            2,
            Stop::Head(Refusal::BareLineEnd),
        );
    }

    #[test]
    fn what_stands_before_a_bad_chunk_is_good() {
        let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        check(format!("{start}x\r\n{GET}").as_bytes(), start.len(), 1, Stop::Body(Refusal::BadChunkSize));
    }

    #[test]
    fn what_follows_a_switch_waits_for_the_answer() {
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        check(format!("{upgrade}{GET}").as_bytes(), upgrade.len(), 1, Stop::Unanswered);
        let with_body = "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello";
        check(format!("{with_body}{GET}").as_bytes(), with_body.len(), 1, Stop::Unanswered);
        let tunnel = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
        check(format!("{tunnel}{GET}").as_bytes(), tunnel.len(), 1, Stop::Unanswered);
    }

    #[test]
    fn a_connection_goes_on_when_the_answer_switched_nothing() {
        let mut framing = Framing::new(MAX_HEAD_BYTES);
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n";
        assert_eq!(framing.judge(upgrade.as_bytes()).stop, Stop::Unanswered);
        framing.resume();
        let all = [GET, SIZED].concat();
        assert_eq!(framing.judge(all.as_bytes()), Judged { good: all.len(), heads: 2, stop: Stop::Starved });
    }

    #[test]
    fn a_head_that_must_be_encoded_stops_until_it_is() {
        let raw = "GET /\u{dc}ber HTTP/1.1\r\nHost: a\r\n\r\n";
        check(format!("{SIZED}{raw}{GET}").as_bytes(), SIZED.len(), 1, Stop::Raw(raw.len()));
        let encoded = head::encoded(raw.as_bytes());
        check(&encoded, encoded.len(), 1, Stop::Starved);
    }

    #[test]
    fn a_head_without_an_end_is_refused_at_the_limit() {
        let field = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "a".repeat(MAX_HEAD_BYTES));
        check(field.as_bytes(), 0, 0, Stop::Head(Refusal::LongHead));
        let target = format!("GET /{}", "a".repeat(MAX_HEAD_BYTES));
        check(target.as_bytes(), 0, 0, Stop::Head(Refusal::LongTarget));
    }
}
