//! Which record says the same as one before it: same owner, type and data (RFC 2181 §5), letters of names aside.

use std::hash::{BuildHasher, Hasher};

use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::Record;
use crate::zone::hash::{Keyed, Slots};

/// Finds records again by their content.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keyed: Keyed,
    slots: Slots,
}

impl Seen {
    /// Makes room for so many records beside those that are known.
    pub(super) fn reserve(&mut self, more: usize, records: &[Record]) {
        let Self { keyed, slots } = self;
        slots.reserve(more, |index| hash(*keyed, &records[index as usize]));
    }

    /// The record among `records` that says the same as `record`; if there is none, `record` is remembered as the
    /// next to be pushed.
    pub(super) fn find_or_add(&mut self, record: &Record, records: &[Record]) -> Option<usize> {
        let hash = hash(self.keyed, record);
        let known = self.slots.find(hash, |index| same(record, &records[index as usize]));
        if known.is_none() {
            self.reserve(1, records);
            self.slots
                .insert(hash, u32::try_from(records.len()).expect("the reader caps the number of records"));
        }
        known.map(|index| index as usize)
    }
}

/// Letters are lowered where names may differ in them, which joins a few records that differ; [`same`] tells them
/// apart.
fn hash(keyed: Keyed, record: &Record) -> u64 {
    let mut hasher = keyed.build_hasher();
    hasher.write(record.owner.as_wire());
    hasher.write_u16(record.rtype.0);
    if matches!(record.rtype, Type::A | Type::AAAA | Type::TXT) {
        hasher.write(&record.rdata);
        return hasher.finish();
    }
    let mut lowered = [0; 64];
    for chunk in record.rdata.chunks(lowered.len()) {
        let lowered = &mut lowered[..chunk.len()];
        lowered.copy_from_slice(chunk);
        lowered.make_ascii_lowercase();
        hasher.write(lowered);
    }
    hasher.finish()
}

fn same(left: &Record, right: &Record) -> bool {
    left.rtype == right.rtype
        && left.owner == right.owner
        && (left.rdata == right.rdata || same_rdata(left.rtype, &left.rdata, &right.rdata))
}

fn same_rdata(rtype: Type, left: &[u8], right: &[u8]) -> bool {
    left.eq_ignore_ascii_case(right)
        && rdata::spans(rtype, left).zip(rdata::spans(rtype, right)).all(|pair| match pair {
            (Ok(left), Ok(right)) if is_name(left.field) => left.octets.eq_ignore_ascii_case(right.octets),
            (Ok(left), Ok(right)) => left.octets == right.octets,
            _ => false,
        })
}

fn is_name(field: Field) -> bool {
    matches!(field, Field::Compressible | Field::Name | Field::CompressibleMailbox | Field::Mailbox)
}
