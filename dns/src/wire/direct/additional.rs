//! Additional data and glue, of what [`crate::answer`] says goes with a set.

use super::super::encode::Count;
use super::Draft;
use super::writer::Owner;
use crate::answer::additional::{Reach, Target, target};
use crate::name;
use crate::zone::tree::{Node, RrSet};

/// Names that are looked up for one set; larger sets are left to the plain pipeline.
const MOST_TARGETS: usize = 16;

impl<'a> Draft<'a, '_> {
    /// Adds the records that go with `set`, owned by `owner`.
    pub(super) fn add_additional(&mut self, owner: Owner<'a>, set: &RrSet<'a>) -> Option<()> {
        let Some(reach) = Reach::of(set.rtype) else { return Some(()) };
        let targets = Targets::of(set, owner)?;
        targets.iter().try_for_each(|target| self.add_target(target, reach, owner, set))
    }

    /// Glue for a referral: first what the zone below cannot be reached without, then that of its siblings.
    pub(super) fn add_glue(&mut self, cut: Node<'a>, ns: &RrSet<'a>) -> Option<()> {
        let owner = self.writer.owner(cut.name());
        let targets = Targets::of(ns, owner)?;
        for required in [true, false] {
            let some = targets.iter().filter(|target| name::is_at_or_under(target, cut.name()) == required);
            some.into_iter().try_for_each(|target| self.add_target(target, Reach::GLUE, owner, ns))?;
        }
        Some(())
    }

    /// Everything that is left out where it does not fit is a matter of the plain pipeline.
    fn add_target(
        &mut self,
        target: &'a [u8],
        reach: Reach,
        asked: Owner<'a>,
        set: &RrSet<'a>,
    ) -> Option<()> {
        let Some(node) = reach.node(self.tree, target) else { return Some(()) };
        let owner = self.writer.owner(target);
        for &rtype in reach.types {
            // A service record that names its owner is in the answer.
            let is_there = rtype == set.rtype && target == asked.name;
            if let Some(found) = node.set(rtype).filter(|_| !is_there) {
                self.put(Count::Additionals, owner, node, &found)?;
            }
        }
        Some(())
    }
}

/// The different names that a set leads to, in its order.
struct Targets<'a> {
    names: [&'a [u8]; MOST_TARGETS],
    count: usize,
}

impl<'a> Targets<'a> {
    /// None if there are too many, or some whose letters are not the tree's.
    fn of(set: &RrSet<'a>, owner: Owner<'a>) -> Option<Self> {
        let mut targets = Self { names: [&[]; MOST_TARGETS], count: 0 };
        for (at, rdata) in set.lent()?.enumerate() {
            if at == MOST_TARGETS {
                return None;
            }
            match target(set.rtype, rdata) {
                Some(Target::Owner) => targets.add(owner.name),
                Some(Target::Name(name)) if name.iter().any(u8::is_ascii_uppercase) => return None,
                Some(Target::Name(name)) => targets.add(name),
                None => {}
            }
        }
        Some(targets)
    }

    fn add(&mut self, name: &'a [u8]) {
        if !self.names[..self.count].contains(&name) {
            self.names[self.count] = name;
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.names[..self.count].iter().copied()
    }
}
