//! Which record says the same as one before it: same owner, type and data (RFC 2181 §5), letters of names aside.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::Record;

/// Finds records again by their content.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// From the hash of a record's content to the last record with it.
    last: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    /// From each record to the one before it with the same hash.
    before: Vec<u32>,
}

const NONE: u32 = u32::MAX;
/// A usual line of a zone file; a guess that is wrong only costs a reallocation.
const OCTETS_PER_RECORD: usize = 32;

impl Seen {
    /// Makes room for the records that a text of so many octets will hold.
    pub(super) fn reserve(&mut self, octets: usize) {
        self.last.reserve(octets / OCTETS_PER_RECORD);
        self.before.reserve(octets / OCTETS_PER_RECORD);
    }

    /// The record among `records` that says the same as `record`; if there is none, `record` is remembered as the
    /// next to be pushed.
    pub(super) fn find_or_add(&mut self, record: &Record, records: &[Record]) -> Option<usize> {
        let hash = hash(record);
        let index = u32::try_from(records.len()).expect("the reader caps the number of records");
        let first = self.last.get(&hash).copied().unwrap_or(NONE);
        let mut at = first;
        while at != NONE {
            let known = at as usize;
            if same(record, &records[known]) {
                return Some(known);
            }
            at = self.before[known];
        }
        self.last.insert(hash, index);
        self.before.push(first);
        None
    }
}

/// Letters are lowered, which joins a few records that differ; [`same`] tells them apart.
fn hash(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(record.owner.as_wire());
    hasher.write_u16(record.rtype.0);
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

/// The keys are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.0 = self.0.rotate_left(8) ^ u64::from(*octet));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
