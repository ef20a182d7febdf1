//! The full tree of one zone with a count of what is still public at and below each name.
//!
//! Invariant: counts only fall, so each name dies at most once and the closure is linear.

use super::names::ancestry;
use crate::name::{self, MAX_NAME_BYTES};
use crate::rtype::Type;
use crate::zone::Zone;
use crate::zone::hash::HashMap;

/// Index of a node in [`Nodes`].
pub(super) type NodeId = u32;
/// No node.
pub(super) const NONE: NodeId = NodeId::MAX;

/// One name that owns records, or has names below it that do (an empty non-terminal).
pub(super) struct Node<'z> {
    /// Lower-case wire form, a part of some owner.
    pub(super) name: &'z [u8],
    pub(super) parent: NodeId,
    first_child: NodeId,
    next_sibling: NodeId,
    /// Public records at this name.
    pub(super) live: u32,
    /// Children that are not dead.
    pub(super) live_children: u32,
    /// Records that lead to an address: see [`is_address`].
    pub(super) addresses: u32,
    pub(super) live_addresses: u32,
    /// Public aliases that a mark keeps although their target is hidden: they lead to no address.
    pub(super) faded: u32,
    pub(super) live_mx: u32,
    pub(super) live_ns: u32,
    pub(super) live_dname: u32,
    pub(super) live_srv: u32,
    /// The full tree has a DNAME here.
    pub(super) is_dname: bool,
    pub(super) is_apex: bool,
    /// A delegation: NS below the apex, with no other one above it (RFC 9499 "zone cut").
    pub(super) is_cut: bool,
    /// D7 has taken the other data of this host.
    pub(super) is_hidden_host: bool,
    /// A hidden host that outsiders send mail to all the same (D7).
    pub(super) keeps_mail: bool,
    /// A service of which every SRV is hidden (D7).
    pub(super) is_hidden_service: bool,
    /// Nothing public is left at or below this name.
    pub(super) is_dead: bool,
}

/// The nodes of one zone and which records they own.
pub(super) struct Nodes<'z> {
    pub(super) list: Vec<Node<'z>>,
    ids: HashMap<&'z [u8], NodeId>,
    /// The node of each record.
    pub(super) of_record: Vec<NodeId>,
    /// Record indices grouped by node; the group of node `n` is `starts[n]..starts[n + 1]`.
    grouped: Vec<u32>,
    starts: Vec<u32>,
}

/// The node that answers for a name in the full tree of its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    /// The node of the name itself, or the wildcard that it comes from.
    Own(NodeId),
    /// The cut or DNAME above the name.
    Above(NodeId),
    /// Nothing: a name error below this node, its closest encloser.
    Nothing { encloser: NodeId },
}

impl Answering {
    pub(super) fn node(self) -> NodeId {
        match self {
            Self::Own(id) | Self::Above(id) | Self::Nothing { encloser: id } => id,
        }
    }
}

/// Whether a host "has an address" by a record of this type (D7): one that holds it, or an alias that leads to it.
pub(super) fn is_address(rtype: Type) -> bool {
    matches!(rtype, Type::A | Type::AAAA | Type::CNAME | Type::A6 | Type::L32 | Type::L64)
}

impl<'z> Nodes<'z> {
    pub(super) fn build(zone: &'z Zone) -> Self {
        let mut nodes = Self {
            list: Vec::new(),
            ids: HashMap::with_capacity_and_hasher(zone.records.len() / 2, Default::default()),
            of_record: Vec::with_capacity(zone.records.len()),
            grouped: Vec::new(),
            starts: Vec::new(),
        };
        let apex = nodes.intern(zone.apex.as_wire(), zone.apex.as_wire());
        nodes.list[apex as usize].is_apex = true;
        for record in &zone.records {
            let id = nodes.intern_after(record.owner.as_wire(), zone.apex.as_wire());
            nodes.of_record.push(id);
            nodes.list[id as usize].count(record.rtype);
        }
        nodes.group();
        nodes.find_cuts();
        nodes
    }

    /// Records of one owner usually stand together.
    fn intern_after(&mut self, wire: &'z [u8], apex: &[u8]) -> NodeId {
        match self.of_record.last() {
            Some(last) if self.list[*last as usize].name == wire => *last,
            _ => self.intern(wire, apex),
        }
    }

    fn intern(&mut self, wire: &'z [u8], apex: &[u8]) -> NodeId {
        if let Some(id) = self.ids.get(wire) {
            return *id;
        }
        let parent = match name::parent(wire) {
            // An owner outside the zone has no parent here; readers refuse it.
            Some(parent) if wire != apex && wire.len() > apex.len() => self.intern(parent, apex),
            _ => NONE,
        };
        let id = NodeId::try_from(self.list.len()).expect("a zone has fewer than 2^32 names");
        let next_sibling = self.list.get_mut(parent as usize).map_or(NONE, |parent| {
            parent.live_children += 1;
            std::mem::replace(&mut parent.first_child, id)
        });
        self.list.push(Node::new(wire, parent, next_sibling));
        self.ids.insert(wire, id);
        id
    }

    fn group(&mut self) {
        let mut starts = vec![0; self.list.len() + 1];
        for id in &self.of_record {
            starts[*id as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        self.grouped = vec![0; self.of_record.len()];
        for (index, id) in (0..).zip(&self.of_record) {
            let slot = &mut next[*id as usize];
            self.grouped[*slot as usize] = index;
            *slot += 1;
        }
        self.starts = starts;
    }

    fn find_cuts(&mut self) {
        for id in 0..self.list.len() {
            let node = &self.list[id];
            if node.live_ns > 0 && !node.is_apex {
                let occluded = self.above(node.parent).any(|above| !above.is_apex && above.live_ns > 0);
                self.list[id].is_cut = !occluded;
            }
        }
    }

    /// The node and its ancestors, upwards.
    fn above(&self, id: NodeId) -> impl Iterator<Item = &Node<'z>> {
        std::iter::successors(self.list.get(id as usize), |node| self.list.get(node.parent as usize))
    }

    pub(super) fn get(&self, wire: &[u8]) -> Option<NodeId> {
        self.ids.get(wire).copied()
    }

    /// The records that a node owns, by rising index.
    pub(super) fn records(&self, id: NodeId) -> &[u32] {
        let at = id as usize;
        &self.grouped[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    pub(super) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let next = |id: NodeId| self.list.get(id as usize).map(|_| id);
        std::iter::successors(next(self.list[id as usize].first_child), move |id| {
            next(self.list[*id as usize].next_sibling)
        })
    }

    /// The node and everything below it.
    pub(super) fn subtree(&self, top: NodeId) -> Vec<NodeId> {
        let mut found = vec![top];
        let mut at = 0;
        while let Some(id) = found.get(at).copied() {
            found.extend(self.children(id));
            at += 1;
        }
        found
    }

    /// Where the full tree's answer to `wire`, a name of this zone, comes from (RFC 1034 §4.3.2, RFC 6672 §3.2,
    /// RFC 4592).
    pub(super) fn answering(&self, wire: &[u8]) -> Answering {
        let exact = self.get(wire);
        let encloser = ancestry(wire).find_map(|name| self.get(name)).expect("the apex is a node");
        let redirecting = |id: &NodeId| {
            let node = &self.list[*id as usize];
            node.is_cut || (node.is_dname && Some(*id) != exact)
        };
        match (self.ancestors(encloser).filter(redirecting).last(), exact) {
            // A client gets a referral, but glue is all that the referral says of the name.
            (Some(above), Some(id)) if self.is_cut(above) && !self.records(id).is_empty() => {
                Answering::Own(id)
            }
            (Some(above), _) => Answering::Above(above),
            (None, Some(id)) => Answering::Own(id),
            (None, None) => self.wildcard(encloser).map_or(Answering::Nothing { encloser }, Answering::Own),
        }
    }

    fn is_cut(&self, id: NodeId) -> bool {
        self.list[id as usize].is_cut
    }

    fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(id), |id| Some(self.list[*id as usize].parent).filter(|id| *id != NONE))
    }

    fn wildcard(&self, encloser: NodeId) -> Option<NodeId> {
        let name = self.list[encloser as usize].name;
        if name.len() + 2 > MAX_NAME_BYTES {
            return None;
        }
        self.get(&[b"\x01*", name].concat())
    }
}

impl<'z> Node<'z> {
    fn new(name: &'z [u8], parent: NodeId, next_sibling: NodeId) -> Self {
        Self {
            name,
            parent,
            first_child: NONE,
            next_sibling,
            live: 0,
            live_children: 0,
            addresses: 0,
            live_addresses: 0,
            faded: 0,
            live_mx: 0,
            live_ns: 0,
            live_dname: 0,
            live_srv: 0,
            is_dname: false,
            is_apex: false,
            is_cut: false,
            is_hidden_host: false,
            keeps_mail: false,
            is_hidden_service: false,
            is_dead: false,
        }
    }

    fn count(&mut self, rtype: Type) {
        self.live += 1;
        self.addresses += u32::from(is_address(rtype));
        self.live_addresses += u32::from(is_address(rtype));
        self.live_mx += u32::from(rtype == Type::MX);
        self.live_ns += u32::from(rtype == Type::NS);
        self.live_dname += u32::from(rtype == Type::DNAME);
        self.live_srv += u32::from(rtype == Type::SRV);
        self.is_dname |= rtype == Type::DNAME;
    }

    /// One record less.
    pub(super) fn discount(&mut self, rtype: Type) {
        self.live -= 1;
        self.live_addresses -= u32::from(is_address(rtype));
        self.live_mx -= u32::from(rtype == Type::MX);
        self.live_ns -= u32::from(rtype == Type::NS);
        self.live_dname -= u32::from(rtype == Type::DNAME);
        self.live_srv -= u32::from(rtype == Type::SRV);
    }

    /// D6: the full tree gives this name addresses (or an alias that leads to some), the public tree none.
    pub(super) fn has_lost_its_addresses(&self) -> bool {
        self.addresses > 0 && self.live_addresses <= self.faded
    }
}
