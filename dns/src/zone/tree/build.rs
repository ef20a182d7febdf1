//! Records in canonical order to a tree, written name after name.

use std::collections::HashSet;

use super::arena::{Arena, Place};
use super::index;
use super::nsec3::Chain;
use super::{Node, Tree};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::Record;
use crate::zone::hash::Slots;
use crate::zone::order::Order;

/// The parts of a record that a tree takes.
#[derive(Clone, Copy, Debug)]
pub struct Datum<'r> {
    /// The owner.
    pub owner: &'r Name,
    /// Its type.
    pub rtype: Type,
    /// Seconds.
    pub ttl: u32,
    /// Uncompressed wire form.
    pub rdata: &'r [u8],
}

/// The place of a record in a tree.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'r> {
    /// It is there.
    Shown(Datum<'r>),
    /// The whole RRset of this record is withheld; see [`Tree::withholds`].
    Withheld(Datum<'r>),
    /// It is not there.
    Absent,
}

impl<'r> From<&'r Record> for Datum<'r> {
    fn from(record: &'r Record) -> Self {
        Self { owner: &record.owner, rtype: record.rtype, ttl: record.ttl, rdata: &record.rdata }
    }
}

/// In the order of `order`; records outside of the apex are left out.
pub(super) fn build<'r>(apex: Name, order: &Order, entry: impl Fn(u32) -> Entry<'r>) -> Tree {
    let mut builder = Builder::new(apex, order.len());
    let mut run: Vec<Datum<'_>> = Vec::new();
    for set in order.sets() {
        run.clear();
        let mut withheld = None;
        for index in set.indices() {
            match entry(index) {
                Entry::Shown(datum) => run.push(datum),
                Entry::Withheld(datum) => withheld = Some(datum),
                Entry::Absent => {}
            }
        }
        match withheld {
            Some(datum) => builder.withhold(&datum),
            None => builder.add(&run),
        }
    }
    builder.finish()
}

/// Adds RRsets in canonical order and keeps the chain of names above the last one.
struct Builder {
    apex: Name,
    apex_labels: usize,
    arena: Arena,
    nodes: Vec<Place>,
    hashes: Vec<u64>,
    /// Nodes from the apex down to the last one added.
    path: Vec<Place>,
    most_labels: usize,
    has_dnssec: bool,
    is_signed: bool,
    hides: bool,
    withheld: Vec<(Place, Type)>,
}

impl Builder {
    fn new(apex: Name, records: usize) -> Self {
        let mut new = Self {
            apex_labels: apex.label_count(),
            apex: apex.clone(),
            arena: Arena::default(),
            nodes: Vec::with_capacity(records + 1),
            hashes: Vec::with_capacity(records + 1),
            path: Vec::new(),
            most_labels: 0,
            has_dnssec: false,
            is_signed: false,
            hides: false,
            withheld: Vec::new(),
        };
        new.arena.reserve(records * USUAL_BYTES);
        new.push(apex.as_wire());
        new
    }

    /// Adds one RRset: records of one owner and type.
    fn add(&mut self, records: &[Datum<'_>]) {
        let Some(first) = records.first() else { return };
        if !self.reach(first.owner) {
            return;
        }
        self.has_dnssec |= matches!(first.rtype, Type::RRSIG | Type::NSEC | Type::NSEC3 | Type::DNSKEY);
        self.is_signed |= matches!(first.rtype, Type::RRSIG | Type::NSEC | Type::NSEC3 | Type::ZONEMD);
        self.hides |= first.rtype == Type::DNAME || (first.rtype == Type::NS && self.path.len() > 1);
        // RFC 2181 §5.2: the records of an RRset share one TTL; where they were written with several, the least holds.
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(first.ttl);
        match records {
            [only] => self.arena.add(first.rtype, ttl, [only.rdata]),
            [one, other] if one.rdata != other.rdata => {
                self.arena.add(first.rtype, ttl, [one.rdata, other.rdata]);
            }
            _ => {
                let mut seen = HashSet::new();
                let all = records.iter().map(|record| record.rdata);
                self.arena.add(first.rtype, ttl, all.filter(|rdata| seen.insert(*rdata)));
            }
        }
    }

    fn withhold(&mut self, datum: &Datum<'_>) {
        if self.reach(datum.owner) {
            let place = *self.path.last().expect("the apex is never taken from the path");
            self.withheld.push((place, datum.rtype));
        }
    }

    /// Makes `owner` the last name; whether it is in the zone.
    fn reach(&mut self, owner: &Name) -> bool {
        if self.last_name() != owner.as_wire() {
            if !owner.is_at_or_under(&self.apex) {
                return false;
            }
            self.open(owner.as_wire());
        }
        true
    }

    /// Opens the node of `name` and those of the empty non-terminals between it and what is there.
    fn open(&mut self, name: &[u8]) {
        while !name::is_at_or_under(name, self.last_name()) {
            self.path.pop();
        }
        let above = self.last_name().len();
        let ancestors = std::iter::successors(Some(name), |name| name::parent(name));
        let missing: Vec<&[u8]> = ancestors.take_while(|name| name.len() > above).collect();
        for name in missing.into_iter().rev() {
            self.push(name);
        }
    }

    fn push(&mut self, name: &[u8]) {
        let place = self.arena.open(self.nodes.len(), name);
        self.nodes.push(place);
        self.hashes.push(index::hash(name, self.apex_labels).0);
        self.path.push(place);
        self.most_labels = self.most_labels.max(self.path.len() - 1);
    }

    fn last_name(&self) -> &[u8] {
        self.arena.name(*self.path.last().expect("the apex is never taken from the path"))
    }

    fn finish(mut self) -> Tree {
        self.arena.shrink();
        let mut index = Slots::with_room(self.nodes.len());
        self.hashes.iter().zip(&self.nodes).for_each(|(hash, place)| index.insert(*hash, place.0));
        let mut tree = Tree {
            apex: self.apex,
            apex_labels: self.apex_labels,
            most_labels: self.most_labels,
            arena: self.arena,
            nodes: self.nodes.into(),
            index,
            has_dnssec: self.has_dnssec,
            is_signed: self.is_signed,
            hides: self.hides,
            nsec3: None,
            withheld: self.withheld.into(),
        };
        if self.hides {
            hide(&mut tree);
        }
        tree.nsec3 = Chain::of(&tree);
        tree
    }
}

/// Bytes of a name with one address; see [`super::arena`]. More is made room for as it is needed.
const USUAL_BYTES: usize = 56;

/// Marks every node at or below a cut and below a DNAME with the topmost of them (RFC 2181 §6, RFC 6672 §2.4).
///
/// In canonical order a subtree is one run, so the current hider holds until a name leaves it.
fn hide(tree: &mut Tree) {
    let mut current: Option<Place> = None;
    for at in 0..tree.nodes.len() {
        let node = Node { tree, place: tree.nodes[at] };
        let (place, is_cut, has_dname) = (node.place, node.is_cut(), node.set(Type::DNAME).is_some());
        current = current.filter(|hider| name::is_at_or_under(node.name(), tree.arena.name(*hider)));
        if current.is_none() && is_cut {
            current = Some(place);
        }
        if let Some(hider) = current {
            tree.arena.hide(place, hider);
        } else if has_dname {
            // The owner of a DNAME keeps its own records (RFC 6672 §2.3); what is below is hidden.
            current = Some(place);
        }
    }
}
