//! The names of a zone, looked up as an answer would look them up.

use std::hash::BuildHasher;

use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::hash::{Keyed, Slots};
use crate::zone::{Record, Zone};

/// What a name owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owns {
    pub(super) address: bool,
    pub(super) cname: bool,
    pub(super) dname: bool,
    pub(super) ns: bool,
}

/// Every name that exists in a zone, empty non-terminals included.
pub(super) struct Nodes<'z> {
    apex: &'z Name,
    keyed: Keyed,
    by_name: Slots,
    /// Of each node.
    names: Vec<&'z [u8]>,
    owns: Vec<Owns>,
    /// The name whose node and whose ancestors' were looked for last.
    last_above: &'z [u8],
    /// Whether any name hides what is below it; most zones have none, and need no walk up from every name.
    has_cuts: bool,
    /// Node and type of each record with its index, sorted: RRsets stand together.
    pub(super) sorted: Vec<(u64, u32)>,
}

/// What looking a name up comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It is not in this zone.
    Outside,
    /// It is at or below a delegation; what it owns here is glue.
    Delegated(Owns),
    /// A DNAME above rewrites it.
    Rewritten,
    /// It exists, or a wildcard stands in for it.
    Exists(Owns),
    Missing,
}

impl<'z> Nodes<'z> {
    pub(super) fn of(zone: &'z Zone) -> Self {
        let mut nodes = Self {
            apex: &zone.apex,
            keyed: Keyed::default(),
            by_name: Slots::with_room(zone.records.len()),
            names: Vec::with_capacity(zone.records.len()),
            last_above: &[],
            owns: Vec::with_capacity(zone.records.len()),
            has_cuts: false,
            sorted: Vec::with_capacity(zone.records.len()),
        };
        let mut last: Option<(&Name, u32)> = None;
        for (index, record) in (0_u32..).zip(&zone.records) {
            let node = match last {
                Some((owner, node)) if *owner == record.owner => node,
                _ => nodes.add(record.owner.as_wire()),
            };
            last = Some((&record.owner, node));
            nodes.note(node, record);
            nodes.sorted.push((u64::from(node) << 16 | u64::from(record.rtype.0), index));
        }
        nodes.sorted.sort_unstable();
        nodes
    }

    /// The node of a name; those of its ancestors come with it.
    fn add(&mut self, wire: &'z [u8]) -> u32 {
        let (node, was_there) = self.find_or_push(wire);
        let mut above = name::parent(wire).filter(|above| !was_there && *above != self.last_above);
        self.last_above = above.unwrap_or(self.last_above);
        while let Some(wire) = above {
            let (_, was_there) = self.find_or_push(wire);
            above = name::parent(wire).filter(|_| !was_there);
        }
        node
    }

    /// The node of a name, and whether it was there.
    fn find_or_push(&mut self, wire: &'z [u8]) -> (u32, bool) {
        let hash = self.keyed.hash_one(wire);
        if let Some(node) = self.by_name.find(hash, |node| self.names[node as usize] == wire) {
            return (node, true);
        }
        let node = u32::try_from(self.owns.len()).expect("the reader caps the number of records");
        let Self { keyed, by_name, names, .. } = self;
        by_name.reserve(1, |node| keyed.hash_one(names[node as usize]));
        by_name.insert(hash, node);
        names.push(wire);
        self.owns.push(Owns::default());
        (node, false)
    }

    fn node(&self, wire: &[u8]) -> Option<u32> {
        self.by_name.find(self.keyed.hash_one(wire), |node| self.names[node as usize] == wire)
    }

    fn note(&mut self, node: u32, record: &Record) {
        let owns = &mut self.owns[node as usize];
        match record.rtype {
            Type::A | Type::AAAA => owns.address = true,
            Type::CNAME => owns.cname = true,
            Type::DNAME => owns.dname = true,
            Type::NS => owns.ns = true,
            _ => return,
        }
        self.has_cuts |= owns.dname || (owns.ns && record.owner != *self.apex);
    }

    /// Whether anything in the zone can hide anything else.
    pub(super) fn has_cuts(&self) -> bool {
        self.has_cuts
    }

    fn get(&self, wire: &[u8]) -> Option<Owns> {
        self.node(wire).map(|node| self.owns[node as usize])
    }

    pub(super) fn owns(&self, name: &Name) -> Owns {
        self.get(name.as_wire()).unwrap_or_default()
    }

    /// The topmost cut or DNAME strictly above `name`, and whether it is a cut.
    pub(super) fn above<'n>(&self, name: &'n [u8]) -> Option<(&'n [u8], Owns)> {
        if !self.has_cuts {
            return None;
        }
        let mut topmost = None;
        let mut above = name::parent(name);
        while let Some(wire) = above.filter(|wire| wire.len() >= self.apex.as_wire().len()) {
            let owns = self.get(wire).unwrap_or_default();
            let is_apex = wire.len() == self.apex.as_wire().len();
            if (owns.ns && !is_apex) || owns.dname {
                topmost = Some((wire, owns));
            }
            above = name::parent(wire);
        }
        topmost
    }

    pub(super) fn lookup(&self, name: &Name) -> Lookup {
        let wire = name.as_wire();
        if !name.is_at_or_under(self.apex) {
            return Lookup::Outside;
        }
        let here = self.get(wire);
        match self.above(wire) {
            Some((_, owns)) if owns.dname => return Lookup::Rewritten,
            Some(_) => return Lookup::Delegated(here.unwrap_or_default()),
            None => {}
        }
        match here {
            Some(owns) if owns.ns && name != self.apex => Lookup::Delegated(owns),
            Some(owns) => Lookup::Exists(owns),
            None => self.wildcard(wire),
        }
    }

    /// The wildcard of the closest encloser (RFC 4592 §3.3.1).
    fn wildcard(&self, wire: &[u8]) -> Lookup {
        let mut above = name::parent(wire);
        while let Some(encloser) = above {
            if self.node(encloser).is_some() {
                let mut wildcard = vec![1, b'*'];
                wildcard.extend_from_slice(encloser);
                return self.get(&wildcard).map_or(Lookup::Missing, Lookup::Exists);
            }
            above = name::parent(encloser);
        }
        Lookup::Missing
    }
}
