//! NSEC and NSEC3 records. A validating resolver needs them of a zone that came to us signed (RFC 4035 §3.1):
//! they prove what does not exist. Signatures travel with their RRset: [`Placed::signatures`](super::Placed).

mod nsec3;

use super::Need;
use super::walk::{Section, Sink, Walk};
use crate::name::MAX_NAME_BYTES;
use crate::rtype::Type;
use crate::zone::tree::{Node, Tree};

impl<'a, S: Sink<'a>> Walk<'_, 'a, '_, S> {
    /// The name has no such type (RFC 4035 §3.1.3.1), also where the name is a wildcard's (§3.1.3.4).
    pub(super) fn prove_no_data(
        &mut self,
        tree: &'a Tree,
        node: Node<'a>,
        name: &[u8],
    ) -> Result<(), S::Left> {
        if !self.proves {
            return Ok(());
        }
        match tree.nsec3() {
            Some(proofs) if node.name() == name => self.prove_types(proofs, name),
            Some(proofs) => self.prove_wildcard_types(proofs, node, name),
            None => {
                self.put_nsec(node)?;
                self.prove_expansion(tree, node, name)
            }
        }
    }

    /// A wildcard answers only for a name that does not exist (RFC 4035 §3.1.3.3).
    #[inline]
    pub(super) fn prove_expansion(
        &mut self,
        tree: &'a Tree,
        node: Node<'a>,
        name: &[u8],
    ) -> Result<(), S::Left> {
        if !self.proves || node.name() == name {
            return Ok(());
        }
        match (tree.nsec3(), crate::name::parent(node.name())) {
            (Some(proofs), Some(encloser)) => self.prove_next_closer(proofs, encloser, name),
            _ => self.prove_no_name(tree, name),
        }
    }

    /// The name does not exist, or is an empty non-terminal: the NSEC before it passes over it (RFC 4035 §3.1.3.2).
    pub(super) fn prove_no_name(&mut self, tree: &'a Tree, name: &[u8]) -> Result<(), S::Left> {
        if !self.proves {
            return Ok(());
        }
        match tree.nsec3() {
            Some(proofs) => self.prove_types(proofs, name),
            None => nsec_before(tree, name).map_or(Ok(()), |before| self.put_nsec(before)),
        }
    }

    /// No wildcard below the closest encloser answers for the name either (RFC 4035 §3.1.3.2).
    pub(super) fn prove_no_wildcard(
        &mut self,
        tree: &'a Tree,
        closest_encloser: Node<'a>,
        name: &[u8],
    ) -> Result<(), S::Left> {
        let above = closest_encloser.name();
        if !self.proves {
            return Ok(());
        }
        if let Some(proofs) = tree.nsec3() {
            return self.prove_no_wildcard_by_hash(proofs, name);
        }
        if above.len() + 2 > MAX_NAME_BYTES {
            return Ok(());
        }
        let mut wildcard = [0; MAX_NAME_BYTES];
        wildcard[..2].copy_from_slice(b"\x01*");
        wildcard[2..above.len() + 2].copy_from_slice(above);
        self.prove_no_name(tree, &wildcard[..above.len() + 2])
    }

    /// A referral says whether the zone below is signed: by its DS, or by an NSEC without one (RFC 4035 §3.1.4).
    pub(super) fn prove_delegation(
        &mut self,
        tree: &'a Tree,
        cut: Node<'a>,
        owner: &S::Owner,
    ) -> Result<(), S::Left> {
        match (cut.set(Type::DS), tree.nsec3()) {
            (Some(ds), _) => {
                self.put(Section::Authority, owner, cut, &ds, Need::Required)?;
                Ok(())
            }
            (None, Some(proofs)) => self.prove_types(proofs, cut.name()),
            (None, None) => self.put_nsec(cut),
        }
    }

    fn put_nsec3(&mut self, node: Option<Node<'a>>) -> Result<(), S::Left> {
        self.sink.unusual()?;
        node.map_or(Ok(()), |node| self.put_proof(node, Type::NSEC3))
    }

    fn put_nsec(&mut self, node: Node<'a>) -> Result<(), S::Left> {
        if self.proved.is_new(node) { self.put_proof(node, Type::NSEC) } else { Ok(()) }
    }

    fn put_proof(&mut self, node: Node<'a>, rtype: Type) -> Result<(), S::Left> {
        if let Some(set) = node.set(rtype) {
            let owner = self.sink.owner(node.name());
            self.put(Section::Authority, &owner, node, &set, Need::Required)?;
        }
        Ok(())
    }
}

/// Empty non-terminals and what lies below a cut have no NSEC; a signed zone has one at all other names.
const MOST_STEPS: usize = 256;

/// The last node at or before `name` in canonical order that has an NSEC.
fn nsec_before<'v>(tree: &'v Tree, name: &[u8]) -> Option<Node<'v>> {
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
