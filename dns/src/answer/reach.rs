//! The types whose records lead to names that a client asks for next, and where the data of those may come from.

use super::Need;
use crate::name;
use crate::rtype::Type;
use crate::zone::tree::{Found, Node, Tree};

/// Where the data of a target may come from, how much it matters, and what of it.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    pub(super) below_cuts: bool,
    /// All records of a pool are given, and not those that are chosen for the client.
    pub(super) whole_pools: bool,
    pub(super) need: Need,
    pub(super) types: &'static [Type],
}

const ADDRESSES: &[Type] = &[Type::A, Type::AAAA];

impl Reach {
    /// Of the name servers of a cut. Glue is how they are reached: no pool of ours.
    pub(super) const GLUE: Self =
        Self { below_cuts: true, whole_pools: true, need: Need::Optional, types: ADDRESSES };

    /// For types whose targets' addresses a client will ask for next; glue is for NS alone, as in NSD and BIND.
    #[inline]
    pub(super) fn of(rtype: Type) -> Option<Self> {
        let types: &[Type] = match rtype {
            Type::NS => return Some(Self { whole_pools: false, ..Self::GLUE }),
            Type::MX | Type::KX | Type::RT | Type::SRV => ADDRESSES,
            // The client asks for the target's own service records next (RFC 9460 §4.1).
            Type::SVCB => &[Type::A, Type::AAAA, Type::SVCB],
            Type::HTTPS => &[Type::A, Type::AAAA, Type::HTTPS],
            _ => return None,
        };
        Some(Self { below_cuts: false, whole_pools: false, need: Need::Optional, types })
    }

    /// The node in `tree` that has the data of a target, a lower-case wire name.
    pub(super) fn node<'v>(self, tree: &'v Tree, target: &[u8]) -> Option<Node<'v>> {
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
