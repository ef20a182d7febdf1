//! Reading the messages by which a primary answers: whole records, with every name written out.
//!
//! hickory-proto reads the short ones. A zone is read here: its records must be kept to the byte, also of types that nobody
//! knows, and a million of them need no value each on the way.
//!
//! Invariant: every byte is reached through a bounds check, and a pointer leads further back each time (RFC 9267 §2).

use super::query::{Counts, HEADER_BYTES, Reader};
use crate::name::{MAX_LABEL_BYTES, MAX_NAME_BYTES, Name};
use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::transfer::{Arrived, Fault, record};

/// A message of an answer.
#[derive(Debug)]
pub struct Page {
    /// That of the question.
    pub id: [u8; 2],
    /// The four bits of the header.
    pub rcode: u8,
    /// Of the answer section.
    pub records: Vec<Arrived>,
}

/// Why a message is of no use.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no answer, or breaks off.
    Message,
    /// A record is at fault.
    Record(Fault),
}

/// Reads a message that answers a question.
pub fn page(message: &[u8]) -> Result<Page, Unreadable> {
    let (fixed, body) = message.split_first_chunk::<HEADER_BYTES>().ok_or(Unreadable::Message)?;
    let is_answer_to_query = fixed[2] & 0xf8 == 0x80;
    if !is_answer_to_query {
        return Err(Unreadable::Message);
    }
    let counts = Counts::of(fixed);
    let mut reader = Reader { rest: body };
    for _ in 0..counts.questions {
        reader.name().and_then(|_| reader.take(4)).ok_or(Unreadable::Message)?;
    }
    let mut records = Vec::new();
    for _ in 0..counts.answers {
        let start = message.len() - reader.rest.len();
        let came = reader.record().ok_or(Unreadable::Message)?;
        let rdata_at = message.len() - reader.rest.len() - came.rdata.len();
        let owner = name_at(message, start).ok_or(Unreadable::Message)?;
        let rdata = written_out(came.rtype, message, (rdata_at, came.rdata.len()))
            .ok_or_else(|| Unreadable::Record(Fault::Malformed(owner.clone(), came.rtype)))?;
        // RFC 2181 §8: a TTL with its first bit set is 0.
        let ttl = u32::from_be_bytes(came.ttl);
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        records.push(Arrived { class: came.class, record: record(owner, came.rtype, ttl, rdata.into()) });
    }
    Ok(Page { id: [fixed[0], fixed[1]], rcode: fixed[3] & 0x0f, records })
}

pub(super) fn name_at(message: &[u8], at: usize) -> Option<Name> {
    let mut wire = Vec::with_capacity(MAX_NAME_BYTES);
    expand(message, at, &mut wire)?;
    Name::from_wire(&wire).ok()
}

/// RDATA with its names written out; none if it does not fit its type. RFC 3597 §4 lists the types that may come compressed.
pub(super) fn written_out(rtype: Type, message: &[u8], (at, bytes): (usize, usize)) -> Option<Vec<u8>> {
    let end = at + bytes;
    let mut out = Vec::with_capacity(bytes);
    let mut next = at;
    for field in rdata::shape(rtype).unwrap_or(&[Field::Opaque]) {
        let rest = message.get(next..end)?;
        next = match field {
            Field::Compressible | Field::Name | Field::CompressibleMailbox | Field::Mailbox => {
                expand(&message[..end], next, &mut out)?
            }
            field => {
                let taken = rest.get(..rdata::bytes_of(*field, rest)?)?;
                out.extend_from_slice(taken);
                next + taken.len()
            }
        };
    }
    let fits = next == end && rdata::spans(rtype, &out).all(|span| span.is_ok());
    fits.then_some(out)
}

/// Appends the name at `at`, letters as they came, and tells where it ends.
fn expand(message: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (start, mut lowest, mut end) = (out.len(), at, None);
    loop {
        let len = *message.get(at)?;
        if len >= 0xc0 {
            let target = usize::from(u16::from_be_bytes([len & 0x3f, *message.get(at + 1)?]));
            end = end.or(Some(at + 2));
            if target >= lowest || target < HEADER_BYTES {
                return None;
            }
            (at, lowest) = (target, target);
            continue;
        }
        if usize::from(len) > MAX_LABEL_BYTES {
            return None;
        }
        out.extend_from_slice(message.get(at..at + 1 + usize::from(len))?);
        at += 1 + usize::from(len);
        if out.len() - start > MAX_NAME_BYTES {
            return None;
        }
        if len == 0 {
            return end.or(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one question for `ex.` at byte 12 and one answer.
    fn message(rtype: u16, rdata: &[u8]) -> Vec<u8> {
        let head = [1, 2, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        let fixed =
            [&rtype.to_be_bytes()[..], &[0, 1, 0, 0, 0, 60], &(rdata.len() as u16).to_be_bytes()].concat();
        [&head[..], b"\x02ex\0\0\x06\0\x01", b"\x01a\xc0\x0c", &fixed, rdata].concat()
    }

    #[test]
    fn names_are_written_out_and_all_else_is_kept() {
        for (rtype, rdata, expected) in [
            (1, &[192, 0, 2, 1][..], Some(&[192, 0, 2, 1][..])),
            (1, &[192, 0, 2], None),
            (2, b"\x02Ns\xc0\x0c", Some(b"\x02Ns\x02ex\0")),
            (15, b"\0\x05\xc0\x0c", Some(b"\0\x05\x02ex\0")),
            (33, b"\0\x01\0\x02\0\x03\xc0\x0c", Some(b"\0\x01\0\x02\0\x03\x02ex\0")),
            (
                6,
                b"\xc0\x0c\xc0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
                Some(b"\x02ex\0\x02ex\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05"),
            ),
            (16, b"\x03abc", Some(b"\x03abc")),
            (16, b"\x04abc", None),
            (65280, b"\xc0\x0c", Some(b"\xc0\x0c")),
            // It points at itself, forward, into the header, or behind the message.
            (2, b"\xc0\x24", None),
            (2, b"\xc0\x22", None),
            (2, b"\xc0\x02", None),
            (2, b"\xff\xff", None),
            (2, b"\xc0\x0c\0", None),
        ] {
            let read = page(&message(rtype, rdata));
            let got = read.as_ref().ok().map(|page| &*page.records[0].record.rdata);
            assert_eq!(got, expected, "{rtype} {rdata:?} {read:?}");
        }
        let read = page(&message(1, &[192, 0, 2, 1])).unwrap();
        assert_eq!(read.records[0].record.owner.to_string(), "a.ex.");
        assert_eq!((read.id, read.rcode), ([1, 2], 0));
    }

    #[test]
    fn what_breaks_off_anywhere_is_not_read() {
        let whole = message(15, b"\0\x05\xc0\x0c");
        assert!((0..whole.len()).all(|bytes| page(&whole[..bytes]).is_err()));
        assert!(page(&whole).is_ok());
        let mut query = whole.clone();
        query[2] = 0;
        assert_eq!(page(&query).unwrap_err(), Unreadable::Message);
    }
}
