//! A zone of one view, immutable: exact name, empty non-terminal, cut and closest encloser by hash look-ups.
//!
//! ```text
//! index   open addressing from the hash of a name to its place in the arena
//! arena   name after name in canonical order (RFC 4034 §6.1): the name, then its RRsets ordered by type
//! nodes   the place of each name, in that order
//! ```
//!
//! All that is known of a name lies together, so a look-up costs two cache misses however large the zone is, and a
//! million names cost some 60 bytes each.
//!
//! Every name between the apex and a record is a node (an empty non-terminal, RFC 8020), so a name exists only if all
//! names above it up to the apex do; the closest encloser is found by bisection of the labels, not by a scan.
//!
//! Invariant: queries never insert, so the hash needs no key; a probe sequence is as long as the build made it.
//! Invariant: nothing here knows of views or marks. A tree holds what its view may show and nothing else. Of an RRset that
//! is withheld it holds the owner and the type alone.

mod arena;
mod build;
pub(crate) mod changes;
mod index;
mod nsec3;
mod rrset;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

pub use build::{Datum, Entry};
pub use nsec3::Proofs;
pub use rrset::{Rdatas, RrSet};

use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::Zone;
use crate::zone::hash::Slots;
use crate::zone::order::Order;
use arena::{Arena, Place, Sets};
use index::Hashes;

/// One zone of one view.
#[derive(Clone)]
pub struct Tree {
    apex: Name,
    apex_labels: usize,
    most_labels: usize,
    arena: Arena,
    nodes: Box<[Place]>,
    index: Slots,
    has_dnssec: bool,
    is_signed: bool,
    hides: bool,
    nsec3: Option<nsec3::Chain>,
    /// By place.
    withheld: Box<[(Place, Type)]>,
}

/// A name in a tree.
#[derive(Clone, Copy)]
pub struct Node<'t> {
    tree: &'t Tree,
    place: Place,
}

/// The result of a tree for a name at or below its apex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'t> {
    /// The name owns records.
    Records(Node<'t>),
    /// The name owns nothing, but names below it do (RFC 8020).
    EmptyNonTerminal(Node<'t>),
    /// The name is at or below this zone cut: an NS RRset that is not at the apex.
    Delegation(Node<'t>),
    /// The name is below this owner of a DNAME RRset (RFC 6672).
    Dname(Node<'t>),
    /// The name does not exist.
    Missing {
        /// The longest existing ancestor (RFC 4592 §3.3.1).
        closest_encloser: Node<'t>,
        /// The source of synthesis: `*` below the closest encloser.
        wildcard: Option<Node<'t>>,
    },
}

impl<'t> Found<'t> {
    /// The owner whose records stand for this name and any number of others.
    pub fn synthesizes_from(self) -> Option<Node<'t>> {
        match self {
            Self::Dname(source) | Self::Missing { wildcard: Some(source), .. } => Some(source),
            _ => None,
        }
    }
}

impl Tree {
    /// From records at or below `apex`; anything outside of the apex is left out, exact duplicates fall together.
    ///
    /// Within an RRset the records keep the order they come in, and all get the least of their TTLs (RFC 2181 §5.2).
    pub fn build<'r, D: Into<Datum<'r>>>(apex: Name, records: impl IntoIterator<Item = D>) -> Self {
        let data: Vec<Datum<'r>> = records.into_iter().map(Into::into).collect();
        let order = Order::of(&apex, &data, |datum| (datum.owner, datum.rtype));
        Self::build_in_order(apex, &order, |index| data.get(index as usize).copied())
    }

    /// As [`Tree::build`], of records whose order is known; those for which `datum` is none are left out.
    pub fn build_in_order<'r>(apex: Name, order: &Order, datum: impl Fn(u32) -> Option<Datum<'r>>) -> Self {
        build::build(apex, order, |index| datum(index).map_or(Entry::Absent, Entry::Shown))
    }

    /// As [`Tree::build_in_order`], of RRsets some of which are withheld: those in which a record is.
    pub fn build_withholding<'r>(apex: Name, order: &Order, entry: impl Fn(u32) -> Entry<'r>) -> Self {
        build::build(apex, order, entry)
    }

    /// All that is in the zone, whoever may see it.
    pub fn of(zone: &Zone) -> Self {
        Self::build_in_order(zone.apex.clone(), zone.order(), |index| Some(zone.record(index).into()))
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The apex as a node; it is there even in a zone without records.
    pub fn apex_node(&self) -> Node<'_> {
        self.at(self.nodes[0])
    }

    /// The zone's SOA RRset.
    pub fn soa(&self) -> Option<RrSet<'_>> {
        self.apex_node().set(Type::SOA)
    }

    /// Whether it holds signatures, keys or proofs: without them DNSSEC-OK changes no answer but in OPT.
    pub fn has_dnssec(&self) -> bool {
        self.has_dnssec
    }

    /// Whether it is signed, as D15 means it: it holds signatures, proofs or a digest. Keys alone sign nothing.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// Its NSEC3 records, if its denials are proved by them.
    pub fn nsec3(&self) -> Option<Proofs<'_>> {
        Proofs::of(self)
    }

    /// Whether any name hides what is below it: a cut, or a DNAME.
    pub fn hides(&self) -> bool {
        self.hides
    }

    /// Whether any RRset is withheld: the view cannot say yet whether it has it, so a question for it is SERVFAIL.
    #[inline]
    pub fn withholds(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// Looks up `qname`: a lower-case wire name at or below the apex.
    pub fn find(&self, qname: &[u8]) -> Found<'_> {
        let (hash, labels) = index::hash(qname, self.apex_labels);
        if labels <= self.most_labels
            && let Some(node) = self.probe(hash, qname)
            && !self.is_hash(node)
        {
            return node.as_found();
        }
        let (mut closest_encloser, mut hash) = self.closest_encloser(qname);
        if self.is_hash(closest_encloser) {
            (closest_encloser, hash) = (self.apex_node(), 0);
        }
        match closest_encloser.hider() {
            Some(hider) if hider.is_cut() => Found::Delegation(hider),
            Some(hider) => Found::Dname(hider),
            None if closest_encloser.set(Type::DNAME).is_some() => Found::Dname(closest_encloser),
            None => {
                Found::Missing { closest_encloser, wildcard: self.wildcard_below(closest_encloser, hash) }
            }
        }
    }

    /// The node of exactly this lower-case wire name, whatever hides it; also glue below a cut.
    pub fn node(&self, name: &[u8]) -> Option<Node<'_>> {
        if !name::is_at_or_under(name, self.apex.as_wire()) {
            return None;
        }
        self.probe(index::hash(name, self.apex_labels).0, name)
    }

    /// The last node that is not behind this name in canonical order; none for a name before the apex.
    pub fn at_or_before(&self, name: &[u8]) -> Option<Node<'_>> {
        let behind = self
            .nodes
            .partition_point(|place| name::canonical_cmp(self.arena.name(*place), name) != Ordering::Greater);
        behind.checked_sub(1).map(|at| self.at(self.nodes[at]))
    }

    /// Every node in canonical order, the apex first.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.nodes.iter().map(|place| self.at(*place))
    }

    /// How many names there are, empty non-terminals included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the tree has no record at all.
    pub fn is_empty(&self) -> bool {
        self.nodes().all(|node| node.is_empty())
    }

    /// The node at this place in canonical order, from 0 for the apex.
    pub fn nth(&self, position: usize) -> Option<Node<'_>> {
        self.nodes.get(position).map(|place| self.at(*place))
    }

    /// About how many bytes its records take on the wire.
    pub fn bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Gives the zone another serial, the first of the five numbers at the end of its SOA (RFC 1035 §3.3.13).
    pub fn set_serial(&mut self, serial: u32) {
        if let Some(at) = self.soa().and_then(|soa| self.arena.offset(soa.lent()?.next()?)) {
            self.arena.write_serial(at, serial);
        }
    }

    /// The memory that look-ups read, for callers that know a better place for it.
    pub(crate) fn memory(&self) -> [Range<*const u8>; 2] {
        [self.arena.memory(), self.index.memory()]
    }

    /// Whether the node is there for its NSEC3 record only.
    #[inline]
    fn is_hash(&self, node: Node<'_>) -> bool {
        self.nsec3.is_some() && node.is_proof_only()
    }

    #[inline]
    fn at(&self, place: Place) -> Node<'_> {
        Node { tree: self, place }
    }

    #[inline]
    fn probe(&self, hash: u64, name: &[u8]) -> Option<Node<'_>> {
        let is_it = |place| self.arena.name(Place(place)) == name;
        self.index.find(hash, is_it).map(|place| self.at(Place(place)))
    }

    /// Bisects between the apex, which exists, and `qname`, which does not: if a name exists, so does its parent.
    /// With the hash of what was found.
    fn closest_encloser(&self, qname: &[u8]) -> (Node<'_>, u64) {
        let (apex, most) = (self.apex_labels, self.most_labels);
        if let Some(hashes) = Hashes::<{ index::USUAL_LABELS }>::of(qname, apex, most) {
            return self.bisect(qname, &hashes);
        }
        let hashes = Hashes::<{ index::MOST_LABELS }>::of(qname, apex, most);
        self.bisect(qname, &hashes.expect("a name has at most 127 labels"))
    }

    #[inline]
    fn bisect<const N: usize>(&self, qname: &[u8], hashes: &Hashes<N>) -> (Node<'_>, u64) {
        let mut found = self.apex_node();
        let (mut exists, mut missing) = (0, hashes.labels().min(self.most_labels + 1));
        while missing - exists > 1 {
            let middle = exists + (missing - exists) / 2;
            match self.probe(hashes.hash(middle), hashes.suffix(qname, middle)) {
                Some(node) => {
                    found = node;
                    exists = middle;
                }
                None => missing = middle,
            }
        }
        (found, hashes.hash(exists))
    }

    fn wildcard_below(&self, parent: Node<'_>, hash: u64) -> Option<Node<'_>> {
        let above = parent.name();
        let is_it = |place| self.arena.name(Place(place)).strip_prefix(b"\x01*") == Some(above);
        self.index.find(index::below(hash, b"\x01*"), is_it).map(|place| self.at(Place(place)))
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("apex", &self.apex).field("names", &self.nodes.len()).finish()
    }
}

impl<'t> Node<'t> {
    /// Its lower-case wire name.
    pub fn name(self) -> &'t [u8] {
        self.tree.arena.name(self.place)
    }

    /// Its place in canonical order, from 0 for the apex.
    pub fn position(self) -> usize {
        self.tree.arena.position(self.place)
    }

    /// A number that its tree gives to no other name.
    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.place.0
    }

    /// The node before it in canonical order; none for the apex.
    pub fn previous(self) -> Option<Node<'t>> {
        self.position().checked_sub(1).map(|at| self.tree.at(self.tree.nodes[at]))
    }

    /// Its RRsets, ordered by type.
    pub fn sets(self) -> Sets<'t> {
        self.tree.arena.sets(self.place)
    }

    /// Its RRset of this type.
    pub fn set(self, rtype: Type) -> Option<RrSet<'t>> {
        self.tree.arena.set(self.place, rtype)
    }

    /// The types of its RRsets that are withheld.
    pub fn withheld(self) -> impl Iterator<Item = Type> + Clone {
        let all = &self.tree.withheld;
        let start = all.partition_point(|(place, _)| place.0 < self.place.0);
        all[start..].iter().take_while(move |(place, _)| *place == self.place).map(|(_, rtype)| *rtype)
    }

    /// Whether it owns nothing: an empty non-terminal, or one of which everything is withheld.
    pub fn is_empty(self) -> bool {
        self.sets().next().is_none()
    }

    /// Whether it is the apex.
    pub fn is_apex(self) -> bool {
        self.position() == 0
    }

    /// Whether a delegation is here: an NS RRset below the apex.
    pub fn is_cut(self) -> bool {
        !self.is_apex() && self.set(Type::NS).is_some()
    }

    /// The cut at or above it, or the DNAME above it, under which it is not authoritative data.
    pub fn hider(self) -> Option<Node<'t>> {
        self.tree.arena.hider(self.place).map(|place| self.tree.at(place))
    }

    fn as_found(self) -> Found<'t> {
        match self.hider() {
            Some(hider) if hider.is_cut() => Found::Delegation(hider),
            Some(hider) => Found::Dname(hider),
            None if self.is_empty() => Found::EmptyNonTerminal(self),
            None => Found::Records(self),
        }
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.tree, other.tree) && self.place == other.place
    }
}

impl Eq for Node<'_> {}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write_wire(self.name(), f)
    }
}

/// Canonical order of two nodes' names, for those who merge trees.
pub fn canonical_cmp(left: Node<'_>, right: Node<'_>) -> Ordering {
    name::canonical_cmp(left.name(), right.name())
}
