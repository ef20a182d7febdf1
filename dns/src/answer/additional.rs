//! Additional data (RFC 1034 §4.3.2 step 6) and glue (RFC 9471): addresses of the names that records point at.
//!
//! They come from the zone of the record that points, as in NSD, Knot and BIND.

use std::borrow::Cow;

use super::{Draft, Need, Section};
use crate::name;
use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::tree::{Found, Node, RrSet, Tree};

/// Targets of one RRset that are looked up; a larger set would cost more than its addresses are worth.
const MOST_TARGETS: usize = 128;

impl<'v: 'a, 'a> Draft<'v, 'a> {
    /// Addresses of the targets of `set`, owned by `owner`.
    pub(super) fn add_additional(&mut self, tree: &'v Tree, owner: &[u8], set: &RrSet<'_>) {
        let Some(reach) = Reach::of(set.rtype) else { return };
        for rdata in set.rdatas().take(MOST_TARGETS) {
            match target(set.rtype, rdata) {
                Some(Target::Owner) => self.add_target(tree, owner.to_vec(), reach),
                Some(Target::Name(name)) => self.add_target(tree, name.to_ascii_lowercase(), reach),
                None => {}
            }
        }
    }

    /// Glue for a referral: first what the zone below cannot be reached without, then that of its siblings.
    pub(super) fn add_glue(&mut self, tree: &'v Tree, cut: Node<'v>, ns: &RrSet<'_>) {
        for required in [true, false] {
            for rdata in ns.rdatas().take(MOST_TARGETS) {
                let target = rdata.to_ascii_lowercase();
                if name::is_at_or_under(&target, cut.name()) == required {
                    // In-domain glue must be there or TC must be set (RFC 9471 §3.1).
                    let need = if required { Need::Required } else { Need::Optional };
                    self.add_target(tree, target, Reach { need, ..Reach::GLUE });
                }
            }
        }
    }

    fn add_target(&mut self, tree: &'v Tree, target: Vec<u8>, reach: Reach) {
        let Some(node) = reach.node(tree, &target) else { return };
        for &rtype in reach.types {
            if let Some(set) = node.set(rtype) {
                self.put(Section::Additional, Cow::Owned(target.clone()), node, set, reach.need);
            }
        }
    }
}

/// Where the data of a target may come from, how much it matters, and what of it.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    below_cuts: bool,
    need: Need,
    pub(crate) types: &'static [Type],
}

const ADDRESSES: &[Type] = &[Type::A, Type::AAAA];

impl Reach {
    /// Of the name servers of a cut.
    pub(crate) const GLUE: Self = Self { below_cuts: true, need: Need::Optional, types: ADDRESSES };

    /// For types whose targets' addresses a client will ask for next; glue is for NS alone, as in NSD and BIND.
    pub(crate) fn of(rtype: Type) -> Option<Self> {
        let types: &[Type] = match rtype {
            Type::NS => return Some(Self::GLUE),
            Type::MX | Type::KX | Type::RT | Type::SRV => ADDRESSES,
            // The client asks for the target's own service records next (RFC 9460 §4.1).
            Type::SVCB => &[Type::A, Type::AAAA, Type::SVCB],
            Type::HTTPS => &[Type::A, Type::AAAA, Type::HTTPS],
            _ => return None,
        };
        Some(Self { below_cuts: false, need: Need::Optional, types })
    }

    /// The node in `tree` that has the data of a target, a lower-case wire name.
    pub(crate) fn node<'v>(self, tree: &'v Tree, target: &[u8]) -> Option<Node<'v>> {
        if !name::is_at_or_under(target, tree.apex().as_wire()) {
            return None;
        }
        match tree.find(target) {
            Found::Records(node) => Some(node),
            Found::Missing { wildcard, .. } => wildcard.filter(|node| self.below_cuts || !node.is_cut()),
            Found::Delegation(_) if self.below_cuts => tree.node(target),
            Found::Delegation(_) | Found::Dname(_) | Found::EmptyNonTerminal(_) => None,
        }
    }
}

/// The name that a record leads to.
#[derive(Clone, Copy)]
pub(crate) enum Target<'r> {
    /// Its own owner.
    Owner,
    /// This one, letters as written.
    Name(&'r [u8]),
}

/// Where a record leads; none for one that leads nowhere.
pub(crate) fn target(rtype: Type, rdata: &[u8]) -> Option<Target<'_>> {
    let name = rdata::spans(rtype, rdata).find_map(|span| match span {
        Ok(span) if matches!(span.field, Field::Compressible | Field::Name) => Some(span.bytes),
        _ => None,
    })?;
    let is_service = matches!(rtype, Type::SVCB | Type::HTTPS) && rdata.get(..2) != Some(&[0, 0]);
    match name {
        // In service mode "." is the owner itself (RFC 9460 §2.5.2); elsewhere it is nobody.
        [0] if is_service => Some(Target::Owner),
        [0] => None,
        name => Some(Target::Name(name)),
    }
}
