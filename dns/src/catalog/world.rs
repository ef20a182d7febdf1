//! The world of what was settled on.

use std::collections::HashSet;
use std::sync::Arc;

use super::Catalog;
use super::report::{State, ZoneReport};
use crate::name::Name;
use crate::steer::Pools;
use crate::steer::hints::targets;
use crate::transfer::Versions;
use crate::view::View;
use crate::world::{Guard, Unfollowed, World};
use crate::zone::privacy::is_internal_zone;
use crate::zone::set::{Served, Zones};

impl Catalog {
    /// Whether the config makes a pool of this name.
    pub(crate) fn steers(&self, name: &Name) -> bool {
        self.terms.steer.named(name).is_some()
    }

    /// The world. Adds to the reports what only the zones together show.
    pub(super) fn world(&self, zones: &mut [ZoneReport]) -> World {
        let world = self.compiled(zones);
        let unfollowed = Unfollowed::of([&world.public, &world.internal]);
        // Positions in an older version mean nothing in the file as it is now.
        for report in zones.iter_mut().filter(|report| report.state == State::Current) {
            let problems = report.zone.as_ref().map(|zone| unfollowed.problems(zone)).unwrap_or_default();
            report.news.extend(self.news(&report.apex, &problems));
            report.problems.extend(problems);
        }
        world
    }

    fn compiled(&self, zones: &[ZoneReport]) -> World {
        let (mut public, mut internal) = (Zones::default(), Zones::default());
        let mut catalogs = <[View; 2]>::default();
        let mut published = HashSet::new();
        let (mut public_pools, mut internal_pools) =
            (Pools::of(&self.terms.steer), Pools::of(&self.terms.steer));
        for zone in zones {
            match self.good.get(&zone.apex) {
                Some(good) if self.terms.catalogs.contains(&zone.apex) => {
                    let trees = [good.public.as_ref(), Some(&good.internal)];
                    for (catalogs, tree) in catalogs.iter_mut().zip(trees) {
                        let tree = tree.map(|tree| Served::Zone(Arc::clone(tree)));
                        tree.into_iter().for_each(|tree| catalogs.zones.insert(zone.apex.clone(), tree));
                    }
                }
                None if self.terms.catalogs.contains(&zone.apex) => {}
                Some(good) => {
                    internal.insert(zone.apex.clone(), Served::Zone(Arc::clone(&good.internal)));
                    if let Some(tree) = &good.public {
                        public.insert(zone.apex.clone(), Served::Zone(Arc::clone(tree)));
                    }
                    published.extend(good.version().divided.published.iter().cloned());
                    for owner in good.steered.iter() {
                        internal_pools.add(&good.internal, owner, &self.terms.steer);
                        good.public.iter().for_each(|tree| public_pools.add(tree, owner, &self.terms.steer));
                    }
                }
                // Names that were answered a moment ago stay answered as they were, by a parent perhaps. Not those of a copy
                // that has ended: it is somebody's zone still.
                None if !self.unknown.contains(&zone.apex) && !zone.source.is_copy() => {}
                None => {
                    internal.insert(zone.apex.clone(), Served::Broken);
                    // Outside, a zone that is declared internal is as if it was not there (D12, D14); so is one of which all
                    // that was understood is hidden. SERVFAIL would show that it exists.
                    if !zone.is_hidden && !is_internal_zone(&zone.apex, &self.rules) {
                        public.insert(zone.apex.clone(), Served::Broken);
                    }
                }
            }
        }
        self.follow_aliases((&public, &mut public_pools), (&internal, &mut internal_pools));
        World {
            public: View { zones: public, pools: public_pools },
            internal: View { zones: internal, pools: internal_pools },
            catalogs,
            access: self.terms.access.clone(),
            guard: Guard { private: self.terms.rules.private.clone(), published },
            protocol: self.terms.protocol.clone(),
            versions: Versions::default(),
            standing: Arc::clone(&self.standing),
            expiries: Arc::clone(&self.expiries),
        }
    }

    /// Hints follow pools through the aliases of all zones, so this comes when all pools are there.
    fn follow_aliases(&self, public: (&Zones, &mut Pools), internal: (&Zones, &mut Pools)) {
        for good in self.good.values() {
            internal.1.follow(internal.0, good.hinted.iter());
            match &good.outside {
                Some(shown) => public.1.follow(public.0, &targets(&shown.zone)),
                None => public.1.follow(public.0, good.hinted.iter()),
            }
        }
    }
}
