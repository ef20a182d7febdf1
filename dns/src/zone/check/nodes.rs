//! The names of a zone, looked up as an answer would look them up.

use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::tree::{Node, Tree};

/// The records that a name owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owns {
    pub(super) address: bool,
    pub(super) cname: bool,
    pub(super) dname: bool,
    pub(super) ns: bool,
}

impl Owns {
    fn of(node: Node<'_>) -> Self {
        let mut owns = Self::default();
        for set in node.sets() {
            match set.rtype {
                Type::A | Type::AAAA => owns.address = true,
                Type::CNAME => owns.cname = true,
                Type::DNAME => owns.dname = true,
                Type::NS => owns.ns = true,
                _ => {}
            }
        }
        owns
    }
}

/// Every name that exists in a zone, empty non-terminals included.
pub(super) struct Nodes<'t> {
    apex: &'t Name,
    tree: &'t Tree,
}

/// The result of looking a name up.
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

impl<'t> Nodes<'t> {
    /// `tree` holds all records of the zone.
    pub(super) fn of(tree: &'t Tree) -> Self {
        Self { apex: tree.apex(), tree }
    }

    pub(super) fn apex(&self) -> &'t Name {
        self.apex
    }

    /// Whether anything in the zone can hide anything else; most zones have no such thing.
    pub(super) fn has_cuts(&self) -> bool {
        self.tree.hides()
    }

    fn get(&self, wire: &[u8]) -> Option<Owns> {
        self.tree.node(wire).map(Owns::of)
    }

    /// Whether the zone has a node of exactly this name.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.tree.node(name.as_wire()).is_some()
    }

    pub(super) fn owns(&self, name: &Name) -> Owns {
        self.get(name.as_wire()).unwrap_or_default()
    }

    /// The topmost cut or DNAME strictly above `name`, which is in the zone.
    pub(super) fn above(&self, name: &[u8]) -> Option<(&'t [u8], Owns)> {
        if !self.has_cuts() {
            return None;
        }
        let above = std::iter::successors(name::parent(name), |wire| name::parent(wire));
        let closest = above.into_iter().find_map(|wire| self.tree.node(wire))?;
        let dname = || Some(closest).filter(|node| node.set(Type::DNAME).is_some());
        let hider = closest.hider().or_else(dname)?;
        Some((hider.name(), Owns::of(hider)))
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
            if self.tree.node(encloser).is_some() {
                let mut wildcard = vec![1, b'*'];
                wildcard.extend_from_slice(encloser);
                return self.get(&wildcard).map_or(Lookup::Missing, Lookup::Exists);
            }
            above = name::parent(encloser);
        }
        Lookup::Missing
    }
}
