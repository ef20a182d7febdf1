//! NSEC records for clients that want them, where [`crate::answer`] puts them.

use super::super::encode::Count;
use super::Draft;
use super::writer::Owner;
use crate::answer::denial::nsec_before;
use crate::name::MAX_NAME_BYTES;
use crate::rtype::Type;
use crate::zone::tree::Node;

/// Nodes whose NSEC is in the message: each is there once.
#[derive(Default)]
pub(super) struct Proved<'a> {
    nodes: [Option<Node<'a>>; MOST_PROVED],
}

/// One for the name and one for the wildcard.
const MOST_PROVED: usize = 2;

impl<'a> Draft<'a, '_> {
    /// The name has no such type (RFC 4035 §3.1.3.1), also where the name is a wildcard's (§3.1.3.4).
    pub(super) fn prove_no_data(&mut self, node: Node<'a>, name: &[u8]) -> Option<()> {
        if !self.dnssec_ok {
            return Some(());
        }
        self.has_nsec()?;
        self.put_nsec(node)?;
        self.prove_expansion(node, name)
    }

    /// A wildcard answers only for a name that does not exist (RFC 4035 §3.1.3.3).
    #[inline]
    pub(super) fn prove_expansion(&mut self, node: Node<'a>, name: &[u8]) -> Option<()> {
        if !self.dnssec_ok || node.name() == name {
            return Some(());
        }
        self.prove_no_name(name)
    }

    /// The name does not exist, or is an empty non-terminal (RFC 4035 §3.1.3.2).
    pub(super) fn prove_no_name(&mut self, name: &[u8]) -> Option<()> {
        if !self.dnssec_ok {
            return Some(());
        }
        self.has_nsec()?;
        nsec_before(self.tree, name).map_or(Some(()), |node| self.put_nsec(node))
    }

    /// No wildcard below the closest encloser answers for the name either (RFC 4035 §3.1.3.2).
    pub(super) fn prove_no_wildcard(&mut self, closest_encloser: Node<'a>) -> Option<()> {
        let above = closest_encloser.name();
        if !self.dnssec_ok || above.len() + 2 > MAX_NAME_BYTES {
            return Some(());
        }
        let mut wildcard = [0; MAX_NAME_BYTES];
        wildcard[..2].copy_from_slice(b"\x01*");
        wildcard[2..above.len() + 2].copy_from_slice(above);
        self.prove_no_name(&wildcard[..above.len() + 2])
    }

    /// A referral says whether the zone below is signed: by its DS, or by an NSEC without one (RFC 4035 §3.1.4).
    pub(super) fn prove_delegation(&mut self, cut: Node<'a>, owner: Owner<'a>) -> Option<()> {
        match cut.set(Type::DS) {
            Some(ds) => self.put(Count::Authorities, owner, cut, &ds),
            None => {
                self.has_nsec()?;
                self.put_nsec(cut)
            }
        }
    }

    /// Proofs by hash are left to the plain pipeline.
    fn has_nsec(&self) -> Option<()> {
        self.tree.nsec3().is_none().then_some(())
    }

    fn put_nsec(&mut self, node: Node<'a>) -> Option<()> {
        let Some(nsec) = node.set(Type::NSEC) else { return Some(()) };
        if self.proved.nodes.contains(&Some(node)) {
            return Some(());
        }
        *self.proved.nodes.iter_mut().find(|place| place.is_none())? = Some(node);
        let owner = self.writer.owner(node.name());
        self.put(Count::Authorities, owner, node, &nsec)
    }
}
