//! NSEC and NSEC3 records. A validating resolver needs them of a zone that came to us signed (RFC 4035 §3.1):
//! they prove what does not exist. Signatures travel with their RRset: [`Placed::signatures`](super::Placed).

mod nsec3;

use std::borrow::Cow;

use super::{Draft, Need, Section};
use crate::name::MAX_NAME_BYTES;
use crate::rtype::Type;
use crate::zone::tree::{Node, Tree};

impl<'v: 'a, 'a> Draft<'v, 'a> {
    /// The name has no such type (RFC 4035 §3.1.3.1), also where the name is a wildcard's (§3.1.3.4).
    pub(super) fn prove_no_data(&mut self, tree: &'v Tree, node: Node<'v>, name: &[u8]) {
        if !self.query.dnssec_ok {
            return;
        }
        match tree.nsec3() {
            Some(proofs) if node.name() == name => self.prove_types(proofs, name),
            Some(proofs) => self.prove_wildcard_types(proofs, node, name),
            None => {
                self.put_nsec(node);
                self.prove_expansion(tree, node, name);
            }
        }
    }

    /// A wildcard answers only for a name that does not exist (RFC 4035 §3.1.3.3).
    pub(super) fn prove_expansion(&mut self, tree: &'v Tree, node: Node<'v>, name: &[u8]) {
        if node.name() == name || !self.query.dnssec_ok {
            return;
        }
        match (tree.nsec3(), crate::name::parent(node.name())) {
            (Some(proofs), Some(encloser)) => self.prove_next_closer(proofs, encloser, name),
            _ => self.prove_no_name(tree, name),
        }
    }

    /// The name does not exist, or is an empty non-terminal: the NSEC before it passes over it (RFC 4035 §3.1.3.2).
    pub(super) fn prove_no_name(&mut self, tree: &'v Tree, name: &[u8]) {
        if !self.query.dnssec_ok {
            return;
        }
        match tree.nsec3() {
            Some(proofs) => self.prove_types(proofs, name),
            None => {
                if let Some(before) = nsec_before(tree, name) {
                    self.put_nsec(before);
                }
            }
        }
    }

    /// No wildcard below the closest encloser answers for the name either (RFC 4035 §3.1.3.2).
    pub(super) fn prove_no_wildcard(&mut self, tree: &'v Tree, closest_encloser: Node<'v>, name: &[u8]) {
        if let Some(proofs) = tree.nsec3().filter(|_| self.query.dnssec_ok) {
            return self.prove_no_wildcard_by_hash(proofs, name);
        }
        let wildcard = [b"\x01*", closest_encloser.name()].concat();
        if wildcard.len() <= MAX_NAME_BYTES {
            self.prove_no_name(tree, &wildcard);
        }
    }

    /// A referral says whether the zone below is signed: by its DS, or by an NSEC without one (RFC 4035 §3.1.4).
    pub(super) fn prove_delegation(&mut self, tree: &'v Tree, cut: Node<'v>) {
        match (cut.set(Type::DS), tree.nsec3()) {
            (Some(ds), _) => {
                self.put(Section::Authority, Cow::Borrowed(cut.name()), cut, ds, Need::Required);
            }
            (None, Some(proofs)) => self.prove_types(proofs, cut.name()),
            (None, None) => self.put_nsec(cut),
        }
    }

    fn put_nsec3(&mut self, node: Option<Node<'v>>) {
        let set = node.and_then(|node| Some((node, node.set(Type::NSEC3)?)));
        if let Some((node, set)) = set {
            self.put(Section::Authority, Cow::Borrowed(node.name()), node, set, Need::Required);
        }
    }

    fn put_nsec(&mut self, node: Node<'v>) {
        if let Some(nsec) = node.set(Type::NSEC) {
            self.put(Section::Authority, Cow::Borrowed(node.name()), node, nsec, Need::Required);
        }
    }
}

/// Empty non-terminals and what lies below a cut have no NSEC; a signed zone has one at all other names.
const MOST_STEPS: usize = 256;

/// The last node at or before `name` in canonical order that has an NSEC.
pub(crate) fn nsec_before<'v>(tree: &'v Tree, name: &[u8]) -> Option<Node<'v>> {
    let mut node = tree.at_or_before(name)?;
    for _ in 0..MOST_STEPS {
        // One step passes over everything below a cut or a DNAME, however much it is.
        node = node.hider().unwrap_or(node);
        if node.set(Type::NSEC).is_some() {
            return Some(node);
        }
        node = node.previous()?;
    }
    None
}
