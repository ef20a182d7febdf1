//! An answer that the network does not take, made over into "come back by TCP".

use std::ops::Range;

use super::encode::{Count, set_count};
use super::query::HEADER_BYTES;
use crate::rtype::Type;

/// Leaves the question and the OPT record of `answer`, and sets TC. It is known only at sending which interface an
/// answer leaves by, and fragments are never made (RFC 9715 §3.1).
///
/// Shapes: what [`respond`](super::respond) wrote; anything else is emptied.
pub fn cut(answer: &mut Vec<u8>) {
    let Some((question_end, opt)) = parts(answer) else { return answer.clear() };
    let opt_bytes = opt.len();
    answer.copy_within(opt, question_end);
    answer.truncate(question_end + opt_bytes);
    set_count(answer, Count::Answers, 0);
    set_count(answer, Count::Authorities, 0);
    set_count(answer, Count::Additionals, u16::from(opt_bytes > 0));
    answer[2] |= TC;
}

const TC: u8 = 0x02;

/// Where the question ends, and where the OPT record is; empty if there is none.
fn parts(answer: &[u8]) -> Option<(usize, Range<usize>)> {
    let header = answer.first_chunk::<HEADER_BYTES>()?;
    let count = |at: usize| u32::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let mut at = HEADER_BYTES;
    for _ in 0..count(4) {
        at = skip_name(answer, at)? + QTYPE_AND_QCLASS_BYTES;
    }
    let (question_end, mut opt) = (at, 0..0);
    for _ in 0..count(6) + count(8) + count(10) {
        let fixed_at = skip_name(answer, at)?;
        let fixed = answer.get(fixed_at..fixed_at + FIXED_BYTES)?;
        let end = fixed_at + FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        if fixed[..2] == Type::OPT.0.to_be_bytes() {
            opt = at..end;
        }
        at = end;
    }
    (question_end <= answer.len() && opt.end <= answer.len()).then_some((question_end, opt))
}

const QTYPE_AND_QCLASS_BYTES: usize = 4;
/// Type, class, TTL and length of the RDATA (RFC 1035 §3.2.1).
const FIXED_BYTES: usize = 10;

/// Where the name at `at` ends.
fn skip_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            bytes @ 1..=63 => at += 1 + usize::from(bytes),
            64..=191 => return None,
            192.. => return Some(at + 2),
        }
    }
}
