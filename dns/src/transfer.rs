//! Zone transfers: who may take a zone, and what has changed between its versions (AXFR, RFC 5936; IXFR, RFC 1995).
//!
//! Nothing is transferred unless a rule says to whom (D17). A key selects the view, and who shows none gets the outside at
//! most. Rules that name a zone are the only ones for it: a rule for all zones does not open what another one closes.
//!
//! Invariant: a version is a tree of one view, so a transfer cannot hold what its view does not show.

mod incoming;
mod lead;
mod listing;
pub mod members;
mod refresh;
mod rules;

use std::sync::Arc;

pub use self::incoming::{
    Arrived, Asked, Change, Content, Fault, Incoming, apply, record, serial as serial_of,
};
pub use self::lead::{Heard, Others, others, promoted};
pub use self::listing::Listing;
pub use self::refresh::{Expiries, Health, Timers, Upkeep};
pub use self::rules::{Rule, Rulebook, Secondaries, Secondary};

use crate::name::Name;
use crate::rtype::Type;
use crate::view::Which;
use crate::zone::hash::HashMap;
use crate::zone::tree::changes::differences;
use crate::zone::tree::{Node, RrSet, Tree};

/// Whether `one` is a later serial than `other` (RFC 1982 §3.2).
pub fn is_newer(one: u32, other: u32) -> bool {
    one != other && one.wrapping_sub(other) < 1 << 31
}

/// The later one of two serials, of which either may be unknown.
pub fn later(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) if is_newer(one, other) => Some(one),
        (one, None) => one,
        (_, other) => other,
    }
}

/// The serial of a zone's SOA (RFC 1035 §3.3.13: the first of the five numbers at its end).
pub fn serial(tree: &Tree) -> Option<u32> {
    let soa = tree.soa()?;
    let rdata = soa.first()?;
    let numbers = rdata.len().checked_sub(SOA_NUMBERS_BYTES)?;
    rdata[numbers..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The five numbers at the end of a SOA.
pub const SOA_NUMBERS_BYTES: usize = 20;

/// The serial of the next version.
///
/// `before` is the last one's, with whether the content is another now; `file` is what the author wrote. A view that
/// `follows` the author takes a later serial from him. One from which something is hidden does not: the author raises his
/// serial for what outsiders do not see, too, and how often is not theirs to learn (D16).
///
/// `floor` is the serial under which this server became the primary. Whatever it had before that is older than what the primary
/// before it may have given to others.
pub fn next_serial(before: Option<(u32, bool)>, file: u32, follows: bool, floor: Option<u32>) -> u32 {
    let known = before.map(|(serial, _)| serial);
    match before {
        _ if floor.is_some_and(|floor| known.is_none_or(|known| is_newer(floor, known))) => {
            let floor = floor.unwrap_or(file);
            let is_later = is_newer(file, floor) && follows;
            // Nobody has taken the version of the floor yet, so it may be this one.
            if is_later || file == floor { file } else { floor.wrapping_add(1) }
        }
        None => file,
        Some((serial, _)) if follows && is_newer(file, serial) => file,
        Some((serial, true)) => serial.wrapping_add(1),
        Some((serial, false)) => serial,
    }
}

/// The records by which two versions of a zone differ.
#[derive(Debug)]
pub struct Delta {
    /// The serial of the version before.
    pub from: u32,
    /// The serial of the version after.
    pub to: u32,
    /// The SOA before, what goes, the SOA after, what comes (RFC 1995 §4).
    pub records: Vec<Stored>,
    /// About what they take up on the wire.
    pub bytes: usize,
}

/// A record by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// Lower-case wire form.
    pub owner: Box<[u8]>,
    /// Its type.
    pub rtype: Type,
    /// Seconds.
    pub ttl: u32,
    /// Uncompressed wire form.
    pub rdata: Box<[u8]>,
}

impl Delta {
    /// Between two versions of a zone; none if it would take more than `most_bytes`, or one has no SOA.
    pub fn between(old: &Tree, new: &Tree, most_bytes: usize) -> Option<Self> {
        let (from, to) = (serial(old)?, serial(new)?);
        let mut gone = Changed::new(old)?;
        let mut come = Changed::new(new)?;
        for pair in differences(old, new) {
            gone.add(pair.left, pair.right);
            come.add(pair.right, pair.left);
            if gone.bytes + come.bytes > most_bytes {
                return None;
            }
        }
        let mut records = gone.records;
        records.append(&mut come.records);
        Some(Self::of(from, to, records))
    }

    /// Of the records, as [`Delta::records`] has them.
    pub fn of(from: u32, to: u32, records: Vec<Stored>) -> Self {
        let bytes = records.iter().map(Stored::bytes).sum();
        Self { from, to, records, bytes }
    }
}

impl Stored {
    /// About what it takes up on the wire.
    fn bytes(&self) -> usize {
        self.owner.len() + FIXED_BYTES + self.rdata.len()
    }
}

impl Delta {
    /// Whether it takes away from the outside what the inside has still, a record or a name: that was hidden, not deleted,
    /// and who never saw it shall not find it among the changes.
    pub fn hides(&self, outside: &Tree, inside: &Tree) -> bool {
        let has = |tree: &Tree, record: &Stored| {
            let set = tree.node(&record.owner).and_then(|node| node.set(record.rtype));
            set.is_some_and(|set| set.rdatas().any(|rdata| *rdata == *record.rdata))
        };
        let is_hidden = |record: &Stored| {
            let is_hidden_name =
                outside.node(&record.owner).is_none() && inside.node(&record.owner).is_some();
            is_hidden_name || has(inside, record) && !has(outside, record)
        };
        self.records.iter().skip(1).take_while(|record| record.rtype != Type::SOA).any(is_hidden)
    }
}

/// Records of one version that the other does not have.
struct Changed {
    records: Vec<Stored>,
    bytes: usize,
}

/// Bytes of a record beside its owner and data.
const FIXED_BYTES: usize = 10;

impl Changed {
    fn new(tree: &Tree) -> Option<Self> {
        let mut new = Self { records: Vec::new(), bytes: 0 };
        let soa = tree.soa()?;
        new.push(tree.apex().as_wire(), &soa, soa.first()?);
        Some(new)
    }

    /// Adds the records that `here` has and `there` has not. Records with another TTL differ.
    fn add(&mut self, here: Option<Node<'_>>, there: Option<Node<'_>>) {
        let Some(here) = here else { return };
        for set in here.sets().filter(|set| set.rtype != Type::SOA) {
            let other = there.and_then(|there| there.set(set.rtype)).filter(|other| other.ttl == set.ttl);
            let is_there = |rdata: &[u8]| {
                other.as_ref().is_some_and(|other| other.rdatas().any(|theirs| theirs == rdata))
            };
            for rdata in set.rdatas().filter(|rdata| !is_there(rdata)) {
                self.push(here.name(), &set, rdata);
            }
        }
    }

    fn push(&mut self, owner: &[u8], set: &RrSet<'_>, rdata: &[u8]) {
        let record = Stored { owner: owner.into(), rtype: set.rtype, ttl: set.ttl, rdata: rdata.into() };
        self.bytes += record.bytes();
        self.records.push(record);
    }
}

/// The last changes of each zone of each view, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Versions(HashMap<(Which, Name), Arc<[Arc<Delta>]>>);

impl Versions {
    /// Puts the changes of one zone in the place of those before.
    pub fn insert(&mut self, view: Which, apex: Name, deltas: Arc<[Arc<Delta>]>) {
        self.0.insert((view, apex), deltas);
    }

    /// The changes that lead from one version to another; none if not all are known.
    pub fn between(&self, view: Which, apex: &Name, from: u32, to: u32) -> Option<&[Arc<Delta>]> {
        let deltas = self.0.get(&(view, apex.clone()))?;
        let first = deltas.iter().rposition(|delta| delta.from == from)?;
        let leading = &deltas[first..];
        leading.last().filter(|last| last.to == to).map(|_| leading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tree::testing::tree;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    #[test]
    fn serials_are_compared_around_the_circle() {
        for (one, other, expected) in [
            (2, 1, true),
            (1, 2, false),
            (1, 1, false),
            (0, u32::MAX, true),
            (u32::MAX, 0, false),
            (1 << 31, 0, false),
            ((1 << 31) - 1, 0, true),
        ] {
            assert_eq!(is_newer(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn of_two_serials_the_later_one_counts() {
        for (one, other, expected) in [
            (None, None, None),
            (Some(1), None, Some(1)),
            (None, Some(1), Some(1)),
            (Some(1), Some(2), Some(2)),
            (Some(2), Some(1), Some(2)),
            (Some(0), Some(u32::MAX), Some(0)),
        ] {
            assert_eq!(later(one, other), expected, "{one:?} {other:?}");
        }
    }

    /// D16.
    #[test]
    fn a_serial_moves_with_the_content_and_follows_its_author_where_nothing_is_hidden() {
        for (before, file, follows, floor, expected) in [
            (None, 7, false, None, 7),
            (Some((7, false)), 9, false, None, 7),
            (Some((7, true)), 9, false, None, 8),
            (Some((7, true)), 7, false, None, 8),
            (Some((7, false)), 9, true, None, 9),
            (Some((7, true)), 9, true, None, 9),
            (Some((7, true)), 7, true, None, 8),
            (Some((7, true)), 3, true, None, 8),
            (Some((7, false)), 3, true, None, 7),
            (Some((u32::MAX, true)), 5, false, None, 0),
            // After a promotion nothing is older than the version of it.
            (None, 9, true, Some(7), 9),
            (None, 9, false, Some(7), 8),
            (None, 3, true, Some(7), 8),
            (None, 7, false, Some(7), 7),
            (Some((5, true)), 7, false, Some(7), 7),
            (Some((5, true)), 6, true, Some(7), 8),
            (Some((5, false)), 9, false, Some(7), 8),
            (Some((7, true)), 7, false, Some(7), 8),
            (Some((9, false)), 7, true, Some(7), 9),
            (Some((u32::MAX, true)), 3, true, Some(3), 3),
        ] {
            let found = next_serial(before, file, follows, floor);
            assert_eq!(found, expected, "{before:?} {file} {follows} {floor:?}");
        }
    }

    fn shown(delta: &Delta) -> Vec<String> {
        let one = |record: &Stored| {
            let mut line = String::new();
            let owner = Name::from_wire(&record.owner).unwrap();
            crate::zone::text::write_record(&owner, record.ttl, record.rtype, &record.rdata, &mut line)
                .unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        delta.records.iter().map(one).collect()
    }

    #[test]
    fn a_delta_is_what_goes_and_what_comes_between_the_two_soas() {
        let old = tree(
            "ex.",
            "@ SOA ns h 1 2 3 4 5\n@ NS ns\na A 192.0.2.1\na A 192.0.2.2\nb 60 TXT x\nc A 192.0.2.3",
        );
        let new = tree(
            "ex.",
            "@ SOA ns h 2 2 3 4 5\n@ NS ns\na A 192.0.2.2\na A 192.0.2.9\nb 90 TXT x\nd A 192.0.2.3",
        );
        let delta = Delta::between(&old, &new, 10_000).unwrap();
        assert_eq!((delta.from, delta.to), (1, 2));
        let lines = shown(&delta);
        let rest = |line: &String| line.split_once(" IN ").unwrap().1.to_owned();
        let expected = [
            "SOA ns.ex. h.ex. 1 2 3 4 5",
            "A 192.0.2.1",
            "TXT \"x\"",
            "A 192.0.2.3",
            "SOA ns.ex. h.ex. 2 2 3 4 5",
            "A 192.0.2.9",
            "TXT \"x\"",
            "A 192.0.2.3",
        ];
        assert_eq!(lines.iter().map(rest).collect::<Vec<_>>(), expected, "{lines:?}");
        assert!(Delta::between(&old, &new, 50).is_none());
        assert!(Delta::between(&old, &new, delta.bytes).is_some());
        assert!(Delta::between(&old, &new, delta.bytes - 1).is_none());
    }

    #[test]
    fn changes_are_found_if_they_lead_all_the_way() {
        let delta = |from, to| Arc::new(Delta { from, to, records: Vec::new(), bytes: 0 });
        let mut versions = Versions::default();
        versions.insert(Which::Public, name("ex"), [delta(1, 2), delta(2, 5), delta(5, 6)].into());
        for (from, to, expected) in
            [(1, 6, Some(3)), (2, 6, Some(2)), (5, 6, Some(1)), (6, 6, None), (3, 6, None), (1, 7, None)]
        {
            let found = versions.between(Which::Public, &name("ex"), from, to).map(<[_]>::len);
            assert_eq!(found, expected, "{from} {to}");
        }
        assert!(versions.between(Which::Internal, &name("ex"), 1, 6).is_none());
    }
}
