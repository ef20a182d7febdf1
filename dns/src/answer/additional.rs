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
        let Some(reach) = reach(set.rtype) else { return };
        for rdata in set.rdatas().take(MOST_TARGETS) {
            if let Some(target) = target(set.rtype, rdata, owner) {
                self.add_addresses(tree, target, reach);
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
                    self.add_addresses(tree, target, Reach { below_cuts: true, need, types: ADDRESSES });
                }
            }
        }
    }

    fn add_addresses(&mut self, tree: &'v Tree, target: Vec<u8>, reach: Reach) {
        if !name::is_at_or_under(&target, tree.apex().as_wire()) {
            return;
        }
        let node = match tree.find(&target) {
            Found::Records(node) => Some(node),
            Found::Missing { wildcard, .. } => wildcard.filter(|node| reach.below_cuts || !node.is_cut()),
            Found::Delegation(_) if reach.below_cuts => tree.node(&target),
            Found::Delegation(_) | Found::Dname(_) | Found::EmptyNonTerminal(_) => None,
        };
        let Some(node) = node else { return };
        for &rtype in reach.types {
            if let Some(set) = node.set(rtype) {
                self.put(Section::Additional, Cow::Owned(target.clone()), node, set, reach.need);
            }
        }
    }
}

/// Where the data of a target may come from, how much it matters, and what of it.
#[derive(Clone, Copy)]
struct Reach {
    below_cuts: bool,
    need: Need,
    types: &'static [Type],
}

const ADDRESSES: &[Type] = &[Type::A, Type::AAAA];

/// Types whose targets' addresses a client will ask for next; glue is for NS alone, as in NSD and BIND.
fn reach(rtype: Type) -> Option<Reach> {
    match rtype {
        Type::NS => Some(Reach { below_cuts: true, need: Need::Optional, types: ADDRESSES }),
        Type::MX | Type::KX | Type::RT | Type::SRV => {
            Some(Reach { below_cuts: false, need: Need::Optional, types: ADDRESSES })
        }
        // The client asks for the target's own service records next (RFC 9460 §4.1).
        Type::SVCB => {
            Some(Reach { below_cuts: false, need: Need::Optional, types: &[Type::A, Type::AAAA, Type::SVCB] })
        }
        Type::HTTPS => Some(Reach {
            below_cuts: false,
            need: Need::Optional,
            types: &[Type::A, Type::AAAA, Type::HTTPS],
        }),
        _ => None,
    }
}

/// The target of a record in lower case.
fn target(rtype: Type, rdata: &[u8], owner: &[u8]) -> Option<Vec<u8>> {
    let name = rdata::spans(rtype, rdata).find_map(|span| match span {
        Ok(span) if matches!(span.field, Field::Compressible | Field::Name) => Some(span.octets),
        _ => None,
    })?;
    let is_service = matches!(rtype, Type::SVCB | Type::HTTPS) && rdata.get(..2) != Some(&[0, 0]);
    match name {
        // In service mode "." is the owner itself (RFC 9460 §2.5.2); elsewhere it is nobody.
        [0] if is_service => Some(owner.to_vec()),
        [0] => None,
        name => Some(name.to_ascii_lowercase()),
    }
}
