//! The trees of both views of a divided zone. Where both views see the same, they share one tree.

use std::sync::Arc;

use super::{Divided, Kept, Seen, Selection};
use crate::zone::Zone;
use crate::zone::tree::{Datum, Entry, Tree};

/// The tree that each view serves for one zone.
#[derive(Clone, Debug)]
pub struct Trees {
    /// None if outside there is no such zone, or if the zone must not be served.
    pub public: Option<Arc<Tree>>,
    /// The tree of the inside.
    pub internal: Arc<Tree>,
}

/// Builds both trees of `zone`, which must be the zone that was divided.
pub fn trees(zone: &Zone, divided: &Divided) -> Trees {
    trees_beside(zone, divided, None)
}

/// As [`trees`], where the tree of all the zone's records is there already: a view that shows them all has that one.
pub fn trees_beside(zone: &Zone, divided: &Divided, full: Option<&Arc<Tree>>) -> Trees {
    let build = |selection: &Selection| match full {
        Some(full) if selection.is_whole() => Arc::clone(full),
        _ => Arc::new(selection.tree(zone, &[])),
    };
    let internal = build(&divided.internal);
    let public = match &divided.public {
        Some(public) if !divided.undecided.is_empty() => {
            Some(Arc::new(public.tree(zone, &divided.undecided)))
        }
        Some(public) if *public == divided.internal => Some(Arc::clone(&internal)),
        public => public.as_ref().map(build),
    };
    Trees { public, internal }
}

impl Selection {
    /// `withheld` stands by rising index.
    fn tree(&self, zone: &Zone, withheld: &[u32]) -> Tree {
        let kept = self.as_set(zone.records.len());
        let seen = |index: u32| {
            let record = zone.record(index);
            let rewritten = self.rewritten.binary_search_by_key(&index, |(at, _)| *at);
            let rdata = rewritten.map_or(&*record.rdata, |at| &self.rewritten[at].1);
            Datum::from(Seen { record, rdata })
        };
        Tree::build_withholding(zone.apex.clone(), zone.order(), |index| match kept.has(index) {
            true => Entry::Shown(seen(index)),
            false if withheld.binary_search(&index).is_ok() => Entry::Withheld(zone.record(index).into()),
            false => Entry::Absent,
        })
    }

    /// Its records as a set, for callers that ask out of order. `records` is how many the zone has.
    pub(crate) fn as_set(&self, records: usize) -> Set {
        match &self.kept {
            Kept::All => Set(None),
            Kept::Only(indices) => {
                let mut words = vec![0; records.div_ceil(64)];
                indices.iter().for_each(|index| words[*index as usize / 64] |= 1_u64 << (index % 64));
                Set(Some(words))
            }
        }
    }
}

/// Record indices as bits; none for all.
pub(crate) struct Set(Option<Vec<u64>>);

impl Set {
    pub(crate) fn has(&self, index: u32) -> bool {
        self.0.as_ref().is_none_or(|words| words[index as usize / 64] >> (index % 64) & 1 == 1)
    }
}

impl<'a> From<Seen<'a>> for Datum<'a> {
    fn from(Seen { record, rdata }: Seen<'a>) -> Self {
        Self { owner: &record.owner, rtype: record.rtype, ttl: record.ttl, rdata }
    }
}
