//! The records of a zone RRset by RRset, in canonical order of their owners (RFC 4034 §6.1).
//!
//! Made once when a zone has been read. The search for duplicates, the checks of RRsets and the builders of
//! both views' trees walk it, so that nobody needs a table of owners and no two of them sort.

use std::cmp::Ordering;

use crate::name::{self, Name};
use crate::rtype::Type;

/// Indices of records: by owner, then by type, then as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    entries: Vec<Entry>,
    /// Rising.
    others: Vec<u32>,
    has_outside: bool,
}

/// Some records that stand together: those of one owner, or of one owner and type.
#[derive(Clone, Copy, Debug)]
pub struct Group<'o>(&'o [Entry]);

/// The index of a record; the two highest bits say that an owner, or an RRset, begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u32);

const BEGINS_OWNER: u32 = 1 << 31;
const BEGINS_SET: u32 = 1 << 30;
const MOST_RECORDS: usize = 1 << 30;

impl Order {
    /// Of `records` in a zone of this apex; those outside of it come last.
    pub fn of<R>(apex: &Name, records: &[R], key_of: impl Fn(&R) -> (&Name, Type)) -> Self {
        assert!(records.len() <= MOST_RECORDS, "the reader caps the number of records");
        let apex = apex.as_wire();
        let mut order = Self { entries: Vec::with_capacity(records.len()), ..Self::default() };
        let keyed = (0..).zip(records).map(|(at, record)| {
            let (owner, rtype) = key_of(record);
            if !matches!(rtype, Type::A | Type::AAAA) {
                order.others.push(at);
            }
            let relative = relative(apex, owner);
            order.has_outside |= relative.is_none();
            Keyed { key: relative.map_or(u64::MAX, key), at }
        });
        let mut keyed: Vec<Keyed> = keyed.collect();
        let key_at = |keyed: &Keyed| key_of(&records[keyed.at as usize]);
        keyed.sort_unstable_by(|a, b| {
            let by_content = || by_content(apex, key_at(a), key_at(b)).then(a.at.cmp(&b.at));
            a.key.cmp(&b.key).then_with(by_content)
        });
        let mut before: Option<&Keyed> = None;
        for this in &keyed {
            // Only records of one key can have one owner.
            let bits = match before.filter(|before| before.key == this.key) {
                None => BEGINS_OWNER | BEGINS_SET,
                Some(before) => begins(key_at(before), key_at(this)),
            };
            order.entries.push(Entry(this.at | bits));
            before = Some(this);
        }
        order
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// RRset by RRset.
    pub fn sets(&self) -> impl Iterator<Item = Group<'_>> {
        self.entries.chunk_by(|_, next| !next.begins(BEGINS_SET)).map(Group)
    }

    /// Owner by owner.
    pub fn owners(&self) -> impl Iterator<Item = Group<'_>> {
        self.entries.chunk_by(|_, next| !next.begins(BEGINS_OWNER)).map(Group)
    }

    /// Records that are neither A nor AAAA, as they were written: most rules are about these alone.
    pub fn others(&self) -> &[u32] {
        &self.others
    }

    /// Whether a record is not in the zone.
    pub fn has_outside(&self) -> bool {
        self.has_outside
    }

    /// Removes these records, which stand by rising index and begin no RRset.
    pub(crate) fn without(&mut self, gone: &[u32]) {
        // Whatever stays has moved up by as many as went before it.
        let moved = |index: u32| gone.binary_search(&index).err().map(|before| index - to_u32(before));
        let entries = self.entries.iter();
        let entries = entries.filter_map(|entry| Some(Entry(moved(entry.index())? | entry.bits())));
        self.entries = entries.collect();
        self.others = self.others.iter().filter_map(|index| moved(*index)).collect();
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("there are at most 2^30 records")
}

impl<'o> Group<'o> {
    /// Indices of its records: by type, then rising.
    pub fn indices(self) -> impl Iterator<Item = u32> + 'o {
        self.0.iter().map(|entry| entry.index())
    }

    /// How many records it has.
    pub fn count(self) -> usize {
        self.0.len()
    }
}

impl Entry {
    fn index(self) -> u32 {
        self.0 & !(BEGINS_OWNER | BEGINS_SET)
    }

    fn bits(self) -> u32 {
        self.0 & (BEGINS_OWNER | BEGINS_SET)
    }

    fn begins(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
}

fn begins((before, before_type): (&Name, Type), (this, this_type): (&Name, Type)) -> u32 {
    match (before == this, before_type == this_type) {
        (true, true) => 0,
        (true, false) => BEGINS_SET,
        (false, _) => BEGINS_OWNER | BEGINS_SET,
    }
}

/// A record by its index, and the beginning of the label below the apex: in canonical order that label comes first.
struct Keyed {
    key: u64,
    at: u32,
}

/// Orders as the topmost label below the apex does, as far as its first eight bytes tell; the end comes before any
/// byte.
fn key(relative: &[u8]) -> u64 {
    let mut rest = relative;
    let mut top: &[u8] = &[];
    while let Some((&len, after)) = rest.split_first() {
        (top, rest) = after.split_at(usize::from(len));
    }
    match top.first_chunk() {
        Some(eight) => u64::from_be_bytes(*eight),
        None => {
            let short = top.iter().fold(0, |key, byte| key << 8 | u64::from(*byte));
            short.checked_shl(8 * (8 - top.len() as u32)).unwrap_or(0)
        }
    }
}

/// The labels of an owner below the apex.
fn relative<'d>(apex: &[u8], owner: &'d Name) -> Option<&'d [u8]> {
    let owner = owner.as_wire();
    name::is_at_or_under(owner, apex).then(|| &owner[..owner.len() - apex.len()])
}

fn by_content(apex: &[u8], (left, left_type): (&Name, Type), (right, right_type): (&Name, Type)) -> Ordering {
    let owners = || match (relative(apex, left), relative(apex, right)) {
        (Some(left), Some(right)) => name::canonical_cmp(left, right),
        _ => left.canonical_cmp(right),
    };
    let owners = if left == right { Ordering::Equal } else { owners() };
    owners.then(left_type.cmp(&right_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[(&str, Type)]) -> Vec<(Name, Type)> {
        texts.iter().map(|(text, rtype)| (Name::parse_absolute(text).unwrap(), *rtype)).collect()
    }

    fn of(records: &[(Name, Type)]) -> Order {
        let apex = Name::parse_absolute("ex.").unwrap();
        Order::of(&apex, records, |(owner, rtype)| (owner, *rtype))
    }

    fn sets(order: &Order) -> Vec<Vec<u32>> {
        order.sets().map(|set| set.indices().collect()).collect()
    }

    #[test]
    fn rrsets_stand_in_canonical_order_and_what_is_outside_comes_last() {
        let records = names(&[
            ("b.ex.", Type::TXT),
            ("other.", Type::A),
            ("z.long-label-b.ex.", Type::A),
            ("b.ex.", Type::A),
            ("ex.", Type::A),
            ("a.b.ex.", Type::A),
            ("long-label-a.ex.", Type::A),
            ("b.ex.", Type::TXT),
            ("\\255\\255\\255\\255\\255\\255\\255\\255.ex.", Type::A),
            ("other.", Type::A),
            ("\\000.ex.", Type::A),
        ]);
        let expected =
            [vec![4], vec![10], vec![3], vec![0, 7], vec![5], vec![6], vec![2], vec![8], vec![1, 9]];
        let order = of(&records);
        assert_eq!(sets(&order), expected);
        let owners: Vec<usize> = order.owners().map(Group::count).collect();
        assert_eq!(owners, [1, 1, 3, 1, 1, 1, 1, 2]);
        assert_eq!((order.others(), order.has_outside()), (&[0, 7][..], true));
    }

    #[test]
    fn what_is_taken_out_moves_the_others_up() {
        let mut records = names(&[("a.ex.", Type::A); 3]);
        records.extend(names(&[("b.ex.", Type::TXT); 2]));
        let mut order = of(&records);
        order.without(&[1, 4]);
        assert_eq!(sets(&order), [vec![0, 1], vec![2]]);
        assert_eq!(order.others(), [2]);
    }
}
