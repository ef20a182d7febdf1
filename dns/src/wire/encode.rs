//! A message put together within a limit, RRset by RRset; what does not fit is taken back whole (RFC 2181 §9).

use super::names::Names;
use super::query::{HEADER_BYTES, Header, Message, Question};
use crate::answer::{Answer, Need, Placed};
use crate::rcode::Rcode;
use crate::rdata::{self, Field};
use crate::rtype::Type;

/// Flags of an answer that are not the client's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) rcode: Rcode,
    pub(super) authoritative: bool,
    pub(super) truncated: bool,
}

/// Header and question; everything else comes behind.
///
/// The question is in lower case until [`restore_letters`].
pub(super) fn begin(message: &Message<'_>, names: &mut Names, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    if let Some(question) = &message.question {
        names.write(question.name(), out);
        out.extend_from_slice(&question.wire[question.name().len()..]);
        set_count(out, Count::Questions, 1);
    }
}

/// As [`begin`], but with the client's letters at once, for callers that need no names to be found in it.
#[inline]
pub(super) fn begin_as_written(question: &Question<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(question.wire);
}

/// Fits an answer's RRsets in: up to `limit_bytes`, which leaves room for what comes behind. Tells whether the client must be told
/// that something is missing.
pub(super) fn sections(
    answer: &Answer<'_, '_>,
    limit_bytes: usize,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Fit {
    let sections = [
        (Count::Answers, &answer.answer),
        (Count::Authorities, &answer.authority),
        (Count::Additionals, &answer.additional),
    ];
    for (section, placed) in sections {
        let mut records = 0;
        for placed in placed {
            match rrset(placed, limit_bytes, names, out) {
                Some(more) => records += more,
                None if placed.need == Need::Required => {
                    set_count(out, section, records);
                    return Fit::Cut;
                }
                None => {}
            }
        }
        set_count(out, section, records);
    }
    Fit::Whole
}

/// Whether all that an answer needs is in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Whole,
    /// Something that it needs is not: TC.
    Cut,
}

/// Writes one RRset with its signatures and tells how many records it has; writes nothing if it does not fit.
fn rrset(placed: &Placed<'_>, limit_bytes: usize, names: &mut Names, out: &mut Vec<u8>) -> Option<u16> {
    let start = out.len();
    let mut records = 0_u16;
    let rtype = placed.set.rtype;
    let own = placed.set.rdatas().map(|rdata| (rtype, rdata));
    for (rtype, rdata) in own.chain(placed.covering().map(|rdata| (Type::RRSIG, rdata))) {
        record(placed, rtype, rdata, names, out);
        records = records.saturating_add(1);
        if out.len() > limit_bytes {
            out.truncate(start);
            names.forget_from(start);
            return None;
        }
    }
    Some(records)
}

const CLASS_IN: [u8; 2] = [0, 1];

fn record(placed: &Placed<'_>, rtype: Type, rdata: &[u8], names: &mut Names, out: &mut Vec<u8>) {
    write_record((&placed.owner, rtype, placed.ttl), rdata, names, out);
}

/// Writes a record that may be longer than there is room for: the caller takes it back.
pub(super) fn write_record(
    (owner, rtype, ttl): (&[u8], Type, u32),
    rdata: &[u8],
    names: &mut Names,
    out: &mut Vec<u8>,
) {
    names.write(owner, out);
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&CLASS_IN);
    out.extend_from_slice(&ttl.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    write_rdata(rtype, rdata, names, out);
    let bytes = u16::try_from(out.len() - length_at - 2).expect("compression does not lengthen RDATA");
    out[length_at..length_at + 2].copy_from_slice(&bytes.to_be_bytes());
}

/// Only names in types of RFC 1035 are compressed (RFC 3597 §4).
fn write_rdata(rtype: Type, rdata: &[u8], names: &mut Names, out: &mut Vec<u8>) {
    let mut written = 0;
    if has_compressible_name(rtype) {
        for span in rdata::spans(rtype, rdata) {
            let Ok(span) = span else { break };
            match span.field {
                Field::Compressible | Field::CompressibleMailbox => names.write(span.bytes, out),
                _ => out.extend_from_slice(span.bytes),
            }
            written += span.bytes.len();
        }
    }
    out.extend_from_slice(&rdata[written..]);
}

fn has_compressible_name(rtype: Type) -> bool {
    rdata::shape(rtype).is_some_and(|fields| {
        fields.iter().any(|f| matches!(f, Field::Compressible | Field::CompressibleMailbox))
    })
}

/// The counts of a header.
#[derive(Clone, Copy)]
pub(super) enum Count {
    Questions,
    Answers,
    Authorities,
    Additionals,
}

#[inline]
pub(super) fn set_count(out: &mut [u8], which: Count, count: u16) {
    let at = match which {
        Count::Questions => 4,
        Count::Answers => 6,
        Count::Authorities => 8,
        Count::Additionals => 10,
    };
    set(out, at, count.to_be_bytes());
}

/// Bytes of a constant number are a store; a slice of any length would be a call.
#[inline]
fn set<const N: usize>(out: &mut [u8], at: usize, bytes: [u8; N]) {
    *out[at..].first_chunk_mut().expect("a message begins with a header") = bytes;
}

/// The counts of answer, authority and additional sections at once.
#[inline]
pub(super) fn set_counts(out: &mut [u8], [answers, authorities, additionals]: [u16; 3]) {
    let ([a1, a2], [n1, n2], [r1, r2]) =
        (answers.to_be_bytes(), authorities.to_be_bytes(), additionals.to_be_bytes());
    set(out, 6, [a1, a2, n1, n2, r1, r2]);
}

/// One more record in the additional section: OPT or TSIG.
#[inline]
pub(super) fn count_one_additional(out: &mut [u8]) {
    let count = u16::from_be_bytes([out[10], out[11]]);
    set_count(out, Count::Additionals, count.saturating_add(1));
}

/// The client's letters in the question that [`begin`] wrote.
pub(super) fn restore_letters(message: &Message<'_>, out: &mut [u8]) {
    if let Some(question) = &message.question {
        out[HEADER_BYTES..HEADER_BYTES + question.wire.len()].copy_from_slice(question.wire);
    }
}

/// The header's first four bytes.
///
/// RA and Z are never set, AD never without signatures; RD and CD are the client's (RFC 1035 §4.1.1, RFC 4035 §3.1.6).
#[inline]
pub(super) fn finish(header: Header, flags: Flags, out: &mut [u8]) {
    let Header { id: [i1, i2], opcode, recursion_desired, checking_disabled } = header;
    let high = 0x80
        | opcode << 3
        | u8::from(flags.authoritative) << 2
        | u8::from(flags.truncated) << 1
        | u8::from(recursion_desired);
    let low = u8::from(checking_disabled) << 4 | flags.rcode.low();
    set(out, 0, [i1, i2, high, low]);
}

/// The whole answer to an operation that we do not know: nothing is copied but ID and opcode (RFC 8906 §3.1.4).
pub(super) fn header_only(header: Header, rcode: Rcode, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&header.id);
    out.extend_from_slice(&[0x80 | header.opcode << 3, rcode.low()]);
    out.extend_from_slice(&[0; 8]);
}
