//! Additional data (RFC 1034 §4.3.2 step 6) and glue (RFC 9471): addresses of the names that records point at.
//!
//! They come from the zone of the record that points, as in NSD, Knot and BIND.

use smallvec::SmallVec;

use super::Need;
use super::reach::Reach;
use super::walk::{Section, Sink, Walk};
use crate::name;
use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::tree::{Node, RrSet, Tree};

/// Targets of one RRset that are looked up; a larger set would cost more than its addresses are worth.
const MOST_TARGETS: usize = 128;

/// The different names that an RRset leads to, in its order; most sets have a few.
type Targets<'a> = SmallVec<[Target<'a>; 8]>;

impl<'a, S: Sink<'a>> Walk<'_, 'a, '_, S> {
    /// Addresses of the targets of `set`, owned by `owner`.
    pub(super) fn add_additional(
        &mut self,
        tree: &'a Tree,
        owner: &S::Owner,
        set: &RrSet<'a>,
        reach: Reach,
    ) -> Result<(), S::Left> {
        for target in targets(set) {
            let name = match target {
                Target::Owner => owner.clone(),
                Target::Name(name) => self.sink.target(name)?,
            };
            // A service record that names its owner is in the answer.
            let there = (name.as_ref() == owner.as_ref()).then_some(set.rtype);
            self.add_target(tree, &name, reach, there)?;
        }
        Ok(())
    }

    /// Glue for a referral: first what the zone below cannot be reached without, then that of its siblings.
    pub(super) fn add_glue(&mut self, tree: &'a Tree, cut: Node<'a>, ns: &RrSet<'a>) -> Result<(), S::Left> {
        let targets = targets(ns);
        for required in [true, false] {
            for target in &targets {
                let Target::Name(target) = *target else { continue };
                if name::is_at_or_under(target, cut.name()) == required {
                    // In-domain glue must be there or TC must be set (RFC 9471 §3.1).
                    let need = if required { Need::Required } else { Need::Optional };
                    let name = self.sink.target(target)?;
                    self.add_target(tree, &name, Reach { need, ..Reach::GLUE }, None)?;
                }
            }
        }
        Ok(())
    }

    /// `there`: the type that the answer holds of this name already.
    fn add_target(
        &mut self,
        tree: &'a Tree,
        target: &S::Owner,
        reach: Reach,
        there: Option<Type>,
    ) -> Result<(), S::Left> {
        let Some(node) = reach.node(tree, target.as_ref()) else { return Ok(()) };
        for &rtype in reach.types {
            if let Some(set) = node.set(rtype).filter(|_| there != Some(rtype)) {
                match reach.whole_pools {
                    true => self.put_whole(Section::Additional, target, node, &set, reach.need)?,
                    false => self.put(Section::Additional, target, node, &set, reach.need)?,
                };
            }
        }
        Ok(())
    }
}

/// Names that differ in the letters' case alone stay apart here.
fn targets<'a>(set: &RrSet<'a>) -> Targets<'a> {
    let mut targets = Targets::new();
    for rdata in set.lent().into_iter().flatten().take(MOST_TARGETS) {
        if let Some(target) = target(set.rtype, rdata).filter(|target| !targets.contains(target)) {
            targets.push(target);
        }
    }
    targets
}

/// The name that a record leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target<'r> {
    /// Its own owner.
    Owner,
    /// This one, letters as written.
    Name(&'r [u8]),
}

/// Where a record leads; none for one that leads nowhere.
fn target(rtype: Type, rdata: &[u8]) -> Option<Target<'_>> {
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
