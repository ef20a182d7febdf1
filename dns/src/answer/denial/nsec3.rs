//! Proofs by hash (RFC 5155 §7.2), for zones that were signed with NSEC3.

use super::super::Draft;
use crate::name::{self, MAX_NAME_OCTETS};
use crate::zone::tree::{Node, Proofs};

impl<'v: 'a, 'a> Draft<'v, 'a> {
    /// §7.2.1: the closest encloser exists, and the name one label below it does not.
    pub(super) fn prove_closest_encloser(&mut self, proofs: Proofs<'v>, name: &[u8]) {
        if let Some((encloser, next_closer)) = proofs.closest_provable_encloser(name) {
            self.put_nsec3(Some(encloser));
            self.put_nsec3(proofs.covering(next_closer));
        }
    }

    /// §7.2.3 to §7.2.5, §7.2.7: the record of the name. An unsigned delegation in an opt-out span has none, nor has an empty
    /// name that leads to such delegations only; there the span proves it.
    pub(super) fn prove_types(&mut self, proofs: Proofs<'v>, name: &[u8]) {
        match proofs.matching(name) {
            Some(node) => self.put_nsec3(Some(node)),
            None => self.prove_closest_encloser(proofs, name),
        }
    }

    /// §7.2.5: the wildcard has no such type, and answers for the name because that does not exist.
    pub(super) fn prove_wildcard_types(&mut self, proofs: Proofs<'v>, wildcard: Node<'v>, name: &[u8]) {
        self.prove_closest_encloser(proofs, name);
        self.put_nsec3(proofs.matching(wildcard.name()));
    }

    /// §7.2.6: the name for which a wildcard below `encloser` answers does not exist.
    pub(super) fn prove_next_closer(&mut self, proofs: Proofs<'v>, encloser: &[u8], name: &[u8]) {
        let ancestors = std::iter::successors(Some(name), |name| name::parent(name));
        if let Some(next_closer) = ancestors.take_while(|ancestor| ancestor.len() > encloser.len()).last() {
            self.put_nsec3(proofs.covering(next_closer));
        }
    }

    /// §7.2.2: no wildcard answers for the name either. It is the one below the encloser that was proved.
    pub(super) fn prove_no_wildcard_by_hash(&mut self, proofs: Proofs<'v>, name: &[u8]) {
        let proved = proofs.closest_provable_encloser(name);
        let Some(encloser) = proved.and_then(|(_, next_closer)| name::parent(next_closer)) else { return };
        let wildcard = [b"\x01*", encloser].concat();
        if wildcard.len() <= MAX_NAME_OCTETS {
            self.put_nsec3(proofs.covering(&wildcard));
        }
    }
}
