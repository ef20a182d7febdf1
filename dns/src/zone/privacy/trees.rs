//! The trees of both views of a divided zone. Equal RRsets are one value in memory, and so are equal trees.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Divided, Selection};
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::tree::{RrSet, Tree, group};
use crate::zone::{Record, Zone};

/// What each view serves for one zone.
#[derive(Clone, Debug)]
pub struct Trees {
    /// None if outside there is no such zone, or if the zone must not be served.
    pub public: Option<Arc<Tree>>,
    /// What the inside sees.
    pub internal: Arc<Tree>,
}

/// RRsets with their owners.
type Sets = Vec<(Name, Arc<RrSet>)>;

/// Builds both trees of `zone`, which must be the zone that was divided.
pub fn trees(zone: &Zone, divided: &Divided) -> Trees {
    let internal_sets = divided.internal.sets(zone);
    let build = |sets| Arc::new(Tree::build(zone.apex.clone(), sets));
    match &divided.public {
        None => Trees { public: None, internal: build(internal_sets) },
        Some(public) if *public == divided.internal => {
            let both = build(internal_sets);
            Trees { public: Some(Arc::clone(&both)), internal: both }
        }
        Some(public) => {
            let public_sets = shared(public.sets(zone), &internal_sets);
            Trees { public: Some(build(public_sets)), internal: build(internal_sets) }
        }
    }
}

impl Selection {
    /// The view's RRsets. `zone` must be the zone that was divided.
    pub fn sets(&self, zone: &Zone) -> Vec<(Name, Arc<RrSet>)> {
        let changed: Vec<Record> = self.records(zone).filter_map(|seen| seen.changed()).collect();
        let mut next = changed.iter();
        let mut in_place = |record, is_changed: bool| {
            if is_changed { next.next().expect("one for each changed record") } else { record }
        };
        group(self.records(zone).map(|seen| in_place(seen.record, seen.is_changed())))
    }
}

/// `sets` with the values of `known` wherever they are equal.
fn shared(sets: Sets, known: &Sets) -> Sets {
    let known: HashMap<(&Name, Type), &Arc<RrSet>> =
        known.iter().map(|(owner, set)| ((owner, set.rtype), set)).collect();
    let one = |(owner, set): (Name, Arc<RrSet>)| {
        let twin = known.get(&(&owner, set.rtype)).filter(|twin| ***twin == set);
        let set = twin.map_or(set, |twin| Arc::clone(twin));
        (owner, set)
    };
    sets.into_iter().map(one).collect()
}
