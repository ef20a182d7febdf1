//! A zone of one view, immutable: exact name, empty non-terminal, cut and closest encloser by hash look-ups.
//!
//! ```text
//! names   one arena of lower-case wire names, in canonical order (RFC 4034 §6.1)
//! nodes   one entry a name: where its name and its RRsets start, and the node that hides it
//! sets    the RRsets of all nodes, node after node, ordered by type
//! index   open addressing from the hash of a name to its node
//! ```
//!
//! Every name between the apex and a record is a node (an empty non-terminal, RFC 8020), so a name exists only if all
//! names above it up to the apex do; the closest encloser is found by bisection of the labels, not by a scan.
//!
//! Invariant: queries never insert, so the hash needs no key; a probe sequence is as long as the build made it.
//! Invariant: nothing here knows of views or marks. A tree holds what its view may show and nothing else.

#[cfg(test)]
pub(crate) mod fixture;
mod index;
mod rrset;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

pub use rrset::{Rdatas, RrSet, group};

use crate::name::{self, Name};
use crate::rtype::Type;
use index::{Hashes, Index};

/// One zone of one view.
pub struct Tree {
    apex: Name,
    apex_labels: usize,
    most_labels: usize,
    names: Box<[u8]>,
    nodes: Box<[Entry]>,
    sets: Box<[Arc<RrSet>]>,
    index: Index,
}

/// Offsets fit 32 bits: a zone whose names take 4 GiB would not be read.
#[derive(Clone, Copy)]
struct Entry {
    name_at: u32,
    sets_at: u32,
    /// The topmost cut or DNAME that hides this node, the cut itself included; [`NOBODY`] if none does.
    hidden_by: u32,
}

const NOBODY: u32 = u32::MAX;

/// A name in a tree.
#[derive(Clone, Copy)]
pub struct Node<'t> {
    tree: &'t Tree,
    id: u32,
}

/// What a tree has for a name at or below its apex.
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

impl Tree {
    /// From RRsets at or below `apex`, at most one of a type at a name; anything outside of the apex is left out.
    pub fn build(apex: Name, sets: Vec<(Name, Arc<RrSet>)>) -> Self {
        let mut sets: Vec<_> = sets.into_iter().filter(|(owner, _)| owner.is_at_or_under(&apex)).collect();
        sets.sort_by(|(a, a_set), (b, b_set)| a.canonical_cmp(b).then(a_set.rtype.cmp(&b_set.rtype)));
        Builder::new(apex).add_all(sets).finish()
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The apex as a node; it is there even in a zone without records.
    pub fn apex_node(&self) -> Node<'_> {
        Node { tree: self, id: 0 }
    }

    /// The zone's SOA RRset.
    pub fn soa(&self) -> Option<&Arc<RrSet>> {
        self.apex_node().set(Type::SOA)
    }

    /// What there is for `qname`: a lower-case wire name at or below the apex.
    pub fn find(&self, qname: &[u8]) -> Found<'_> {
        let mut hashes = Hashes::default();
        let labels = hashes.fill(qname, self.apex_labels);
        if let Some(node) = self.probe(hashes.of(labels), qname) {
            return node.as_found();
        }
        let closest_encloser = self.closest_encloser(qname, &hashes, labels);
        match closest_encloser.hider() {
            Some(hider) if hider.is_cut() => Found::Delegation(hider),
            Some(hider) => Found::Dname(hider),
            None if closest_encloser.set(Type::DNAME).is_some() => Found::Dname(closest_encloser),
            None => Found::Missing { closest_encloser, wildcard: self.wildcard_below(closest_encloser) },
        }
    }

    /// The node of exactly this lower-case wire name, whatever hides it; also glue below a cut.
    pub fn node(&self, name: &[u8]) -> Option<Node<'_>> {
        if !name::is_at_or_under(name, self.apex.as_wire()) {
            return None;
        }
        let mut hashes = Hashes::default();
        let labels = hashes.fill(name, self.apex_labels);
        self.probe(hashes.of(labels), name)
    }

    /// The last node that is not behind this name in canonical order; none for a name before the apex.
    pub fn at_or_before(&self, name: &[u8]) -> Option<Node<'_>> {
        let (mut low, mut high) = (0, self.nodes.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match name::canonical_cmp(self.name_of(as_id(middle)), name) {
                Ordering::Greater => high = middle,
                Ordering::Less | Ordering::Equal => low = middle + 1,
            }
        }
        low.checked_sub(1).map(|at| Node { tree: self, id: as_id(at) })
    }

    /// Every node in canonical order, the apex first.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.nodes.len()).map(|at| Node { tree: self, id: u32::try_from(at).expect("ids fit 32 bits") })
    }

    /// How many names there are, empty non-terminals included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the tree has no record at all.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    fn probe(&self, hash: u64, name: &[u8]) -> Option<Node<'_>> {
        let id = self.index.find(hash, |id| self.name_of(id) == name)?;
        Some(Node { tree: self, id })
    }

    /// Bisects between the apex, which exists, and `qname`, which does not: if a name exists, so does its parent.
    fn closest_encloser(&self, qname: &[u8], hashes: &Hashes, labels: usize) -> Node<'_> {
        let mut found = self.apex_node();
        let (mut exists, mut missing) = (0, labels.min(self.most_labels + 1));
        while missing - exists > 1 {
            let middle = exists + (missing - exists) / 2;
            match self.probe(hashes.of(middle), hashes.suffix(qname, middle)) {
                Some(node) => {
                    found = node;
                    exists = middle;
                }
                None => missing = middle,
            }
        }
        found
    }

    fn wildcard_below(&self, parent: Node<'_>) -> Option<Node<'_>> {
        let above = parent.name();
        let mut wildcard = [0; name::MAX_NAME_OCTETS + 2];
        wildcard[..2].copy_from_slice(&[1, b'*']);
        wildcard[2..2 + above.len()].copy_from_slice(above);
        let wildcard = &wildcard[..2 + above.len()];
        if wildcard.len() > name::MAX_NAME_OCTETS {
            return None;
        }
        let mut hashes = Hashes::default();
        let labels = hashes.fill(wildcard, self.apex_labels);
        self.probe(hashes.of(labels), wildcard)
    }

    fn name_of(&self, id: u32) -> &[u8] {
        let at = as_index(id);
        let end = self.nodes.get(at + 1).map_or(self.names.len(), |next| as_index(next.name_at));
        &self.names[as_index(self.nodes[at].name_at)..end]
    }

    fn sets_of(&self, id: u32) -> &[Arc<RrSet>] {
        let at = as_index(id);
        let end = self.nodes.get(at + 1).map_or(self.sets.len(), |next| as_index(next.sets_at));
        &self.sets[as_index(self.nodes[at].sets_at)..end]
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
        self.tree.name_of(self.id)
    }

    /// Its place in canonical order, from 0 for the apex.
    pub fn position(self) -> usize {
        as_index(self.id)
    }

    /// The node before it in canonical order; none for the apex.
    pub fn previous(self) -> Option<Node<'t>> {
        self.id.checked_sub(1).map(|id| Node { tree: self.tree, id })
    }

    /// Its RRsets, ordered by type.
    pub fn sets(self) -> &'t [Arc<RrSet>] {
        self.tree.sets_of(self.id)
    }

    /// Its RRset of this type.
    pub fn set(self, rtype: Type) -> Option<&'t Arc<RrSet>> {
        self.sets().iter().find(|set| set.rtype == rtype)
    }

    /// Whether it is the apex.
    pub fn is_apex(self) -> bool {
        self.id == 0
    }

    /// Whether a delegation is here: an NS RRset below the apex.
    pub fn is_cut(self) -> bool {
        !self.is_apex() && self.set(Type::NS).is_some()
    }

    /// The cut at or above it, or the DNAME above it, under which it is not authoritative data.
    pub fn hider(self) -> Option<Node<'t>> {
        let id = self.tree.nodes[as_index(self.id)].hidden_by;
        (id != NOBODY).then_some(Node { tree: self.tree, id })
    }

    fn as_found(self) -> Found<'t> {
        match self.hider() {
            Some(hider) if hider.is_cut() => Found::Delegation(hider),
            Some(hider) => Found::Dname(hider),
            None if self.sets().is_empty() => Found::EmptyNonTerminal(self),
            None => Found::Records(self),
        }
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.tree, other.tree) && self.id == other.id
    }
}

impl Eq for Node<'_> {}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write_wire(self.name(), f)
    }
}

/// Adds RRsets in canonical order and keeps the chain of names above the last one.
struct Builder {
    apex: Name,
    names: Vec<u8>,
    nodes: Vec<Entry>,
    sets: Vec<Arc<RrSet>>,
    /// Nodes from the apex down to the last one added.
    path: Vec<u32>,
    most_labels: usize,
}

impl Builder {
    fn new(apex: Name) -> Self {
        let mut new = Self {
            apex: apex.clone(),
            names: Vec::new(),
            nodes: Vec::new(),
            sets: Vec::new(),
            path: Vec::new(),
            most_labels: 0,
        };
        new.push(apex.as_wire());
        new
    }

    fn add_all(mut self, sets: Vec<(Name, Arc<RrSet>)>) -> Self {
        self.sets.reserve_exact(sets.len());
        for (owner, set) in sets {
            if self.last_name() != owner.as_wire() {
                self.open(owner.as_wire());
            }
            self.sets.push(set);
        }
        self
    }

    /// Opens the node of `name` and those of the empty non-terminals between it and what is there.
    fn open(&mut self, name: &[u8]) {
        while !name::is_at_or_under(name, self.last_name()) {
            self.path.pop();
        }
        let above = self.last_name().len();
        let mut missing = Vec::new();
        let mut rest = name;
        while rest.len() > above {
            missing.push(rest);
            rest = name::parent(rest).expect("a name below another has a parent");
        }
        for name in missing.into_iter().rev() {
            self.push(name);
        }
    }

    fn push(&mut self, name: &[u8]) {
        let id = as_id(self.nodes.len());
        let entry =
            Entry { name_at: as_id(self.names.len()), sets_at: as_id(self.sets.len()), hidden_by: NOBODY };
        self.names.extend_from_slice(name);
        self.nodes.push(entry);
        self.path.push(id);
        self.most_labels = self.most_labels.max(self.path.len() - 1);
    }

    fn last_name(&self) -> &[u8] {
        let id = self.path.last().expect("the apex is never taken from the path");
        let at = as_index(*id);
        let end = self.nodes.get(at + 1).map_or(self.names.len(), |next| as_index(next.name_at));
        &self.names[as_index(self.nodes[at].name_at)..end]
    }

    fn finish(self) -> Tree {
        let apex_labels = self.apex.label_count();
        let mut tree = Tree {
            apex: self.apex,
            apex_labels,
            most_labels: self.most_labels,
            names: self.names.into(),
            nodes: self.nodes.into(),
            sets: self.sets.into(),
            index: Index::default(),
        };
        tree.index = index_of(&tree);
        hide(&mut tree);
        tree
    }
}

fn index_of(tree: &Tree) -> Index {
    let mut index = Index::for_entries(tree.nodes.len());
    for node in tree.nodes() {
        let mut hashes = Hashes::default();
        let labels = hashes.fill(node.name(), tree.apex_labels);
        index.insert(hashes.of(labels), node.id);
    }
    index
}

/// Marks every node at or below a cut and below a DNAME with the topmost of them (RFC 2181 §6, RFC 6672 §2.4).
///
/// In canonical order a subtree is one run, so the current hider holds until a name leaves it.
fn hide(tree: &mut Tree) {
    let mut current: Option<u32> = None;
    for id in 0..as_id(tree.nodes.len()) {
        if current.is_some_and(|hider| !name::is_at_or_under(tree.name_of(id), tree.name_of(hider))) {
            current = None;
        }
        let node = Node { tree, id };
        let (is_cut, has_dname) = (node.is_cut(), node.set(Type::DNAME).is_some());
        if current.is_none() && is_cut {
            current = Some(id);
        }
        tree.nodes[as_index(id)].hidden_by = current.unwrap_or(NOBODY);
        if current.is_none() && has_dname {
            // The owner of a DNAME keeps its own records (RFC 6672 §2.3); what is below is hidden.
            current = Some(id);
        }
    }
}

fn as_id(at: usize) -> u32 {
    u32::try_from(at).ok().filter(|id| *id != NOBODY).expect("a zone has less than 4 GiB of names")
}

fn as_index(id: u32) -> usize {
    usize::try_from(id).expect("32 bits fit a usize")
}

/// Canonical order of two nodes' names, for those who merge trees.
pub fn canonical_cmp(left: Node<'_>, right: Node<'_>) -> Ordering {
    name::canonical_cmp(left.name(), right.name())
}
