//! How long an answer may be kept by caches that do not read DNS, such as those of HTTP (RFC 8484 §5.1).

use super::query::HEADER_BYTES;
use crate::rtype::Type;

/// The least TTL of a message's answer records and of the SOA that says how long a "no" holds (RFC 2308 §5), in
/// seconds. None if it says nothing that may be kept: an error, a referral, or what cannot be read.
pub fn least(message: &[u8]) -> Option<u32> {
    let flags = message.get(3)?;
    let is_data = matches!(flags & 0x0f, RCODE_NOERROR | RCODE_NXDOMAIN);
    let (answers, authorities) = (count(message, 6)?, count(message, 8)?);
    let mut at = HEADER_BYTES;
    for _ in 0..count(message, 4)? {
        at = behind_name(message, at)? + 4;
    }
    let mut least = None;
    for index in 0..u32::from(answers) + u32::from(authorities) {
        let record = record(message, at)?;
        if index < u32::from(answers) || record.rtype == Type::SOA {
            least = Some(least.map_or(record.ttl, |least: u32| least.min(record.ttl)));
        }
        at = record.end;
    }
    least.filter(|_| is_data)
}

const RCODE_NOERROR: u8 = 0;
const RCODE_NXDOMAIN: u8 = 3;

struct Record {
    rtype: Type,
    ttl: u32,
    end: usize,
}

fn record(message: &[u8], at: usize) -> Option<Record> {
    let at = behind_name(message, at)?;
    let fixed: [u8; 10] = message.get(at..at + 10)?.try_into().ok()?;
    let [t1, t2, _, _, ttl @ .., l1, l2] = fixed;
    let end = at + 10 + usize::from(u16::from_be_bytes([l1, l2]));
    message.get(..end)?;
    Some(Record { rtype: Type(u16::from_be_bytes([t1, t2])), ttl: u32::from_be_bytes(ttl), end })
}

fn behind_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            64..=191 => return None,
            192.. => return Some(at + 2),
        }
    }
}

fn count(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}
