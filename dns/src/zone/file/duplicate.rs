//! Which record says the same as one before it: same owner, type and data (RFC 2181 §5), letters of names aside.

use std::hash::{BuildHasher, Hasher};

use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::Record;
use crate::zone::hash::Keyed;

/// Finds records again by their content: open addressing, two thirds full at most.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keyed: Keyed,
    /// The index of a record in the upper half, half of its hash in the lower.
    slots: Vec<u64>,
    filled: usize,
}

const FREE: u64 = u64::MAX;
const TAG: u64 = 0xffff_ffff;
const FEWEST_SLOTS: usize = 64;
/// A usual line of a zone file; a guess that is wrong only costs time.
const OCTETS_PER_RECORD: usize = 24;

impl Seen {
    /// Makes room for the records that a text of so many octets will hold.
    pub(super) fn reserve(&mut self, octets: usize, records: &[Record]) {
        let slots = (self.filled + octets / OCTETS_PER_RECORD) * 3 / 2;
        if slots > self.slots.len() {
            self.grow(slots.max(FEWEST_SLOTS), records);
        }
    }

    /// The record among `records` that says the same as `record`; if there is none, `record` is remembered as the
    /// next to be pushed.
    pub(super) fn find_or_add(&mut self, record: &Record, records: &[Record]) -> Option<usize> {
        if (self.filled + 1) * 3 > self.slots.len() * 2 {
            self.grow((self.slots.len() * 2).max(FEWEST_SLOTS), records);
        }
        let hash = self.hash(record);
        let mut at = self.start(hash);
        while self.slots[at] != FREE {
            let known = usize::try_from(self.slots[at] >> 32).expect("32 bits fit a usize");
            if self.slots[at] & TAG == hash & TAG && same(record, &records[known]) {
                return Some(known);
            }
            at = self.after(at);
        }
        self.put(at, records.len(), hash);
        None
    }

    fn grow(&mut self, slots: usize, records: &[Record]) {
        self.slots = vec![FREE; slots];
        self.filled = 0;
        for (index, record) in records.iter().enumerate() {
            let hash = self.hash(record);
            let mut at = self.start(hash);
            while self.slots[at] != FREE {
                at = self.after(at);
            }
            self.put(at, index, hash);
        }
    }

    fn put(&mut self, at: usize, index: usize, hash: u64) {
        let index = u32::try_from(index).expect("the reader caps the number of records");
        self.slots[at] = u64::from(index) << 32 | (hash & TAG);
        self.filled += 1;
    }

    fn start(&self, hash: u64) -> usize {
        let scaled = (u128::from(hash) * self.slots.len() as u128) >> 64;
        usize::try_from(scaled).expect("it is less than the number of slots")
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// Letters are lowered where names may differ in them, which joins a few records that differ; [`same`] tells them
    /// apart.
    fn hash(&self, record: &Record) -> u64 {
        let mut hasher = self.keyed.build_hasher();
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
