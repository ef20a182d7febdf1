//! A zone in service, compiled.

use std::sync::Arc;

use super::unhidden::Version;
use crate::name::Name;
use crate::steer::Settings;
use crate::steer::hints::targets;
use crate::steer::marks::owners;
use crate::zone::privacy::{Divided, Trees, trees, trees_beside};
use crate::zone::tree::Tree;
use crate::zone::{Severity, Zone};

/// A zone in service.
#[derive(Clone)]
pub(super) struct Good {
    pub(super) zone: Arc<Zone>,
    pub(super) divided: Arc<Divided>,
    /// The text and the division from which outsiders are served, if they are not those of insiders.
    pub(super) outside: Option<Shown>,
    /// The last text that outsiders might see; none once the author has made the zone internal.
    pub(super) publishable: Option<Arc<Zone>>,
    /// None if outside there is no such zone.
    pub(super) public: Option<Arc<Tree>>,
    pub(super) internal: Arc<Tree>,
    /// The names of its pools.
    pub(super) steered: Arc<[Name]>,
    /// The names to which its records with hints lead.
    pub(super) hinted: Arc<[Name]>,
}

/// The version of a zone that outsiders see.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) zone: Arc<Zone>,
    pub(super) divided: Arc<Divided>,
}

impl Shown {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.zone, &other.zone) && is_same_outside(&self.divided, &other.divided)
    }
}

fn is_same_outside(one: &Divided, other: &Divided) -> bool {
    one.public == other.public && one.undecided == other.undecided
}

/// Whether a fault takes the zone from outsiders (D13, D15).
pub(super) fn is_at_fault(divided: &Divided) -> bool {
    divided.public.is_none() && divided.problems.iter().any(|problem| problem.severity == Severity::Error)
}

impl Good {
    /// The version that outsiders see.
    pub(super) fn version(&self) -> Version<'_> {
        match &self.outside {
            Some(shown) => Version { zone: &shown.zone, divided: &shown.divided },
            None => Version { zone: &self.zone, divided: &self.divided },
        }
    }

    /// With the names of its pools, and of those that may lead to pools. New settings come with zones that are read again, so those of the same zone stand.
    pub(super) fn steered_by(self, settings: &Settings, before: Option<&Self>) -> Self {
        let kept = before.filter(|before| Arc::ptr_eq(&before.zone, &self.zone));
        let (steered, hinted) = match kept {
            Some(it) => (Arc::clone(&it.steered), Arc::clone(&it.hinted)),
            None => (owners(&self.zone, settings).into(), targets(&self.zone).into()),
        };
        Self { steered, hinted, ..self }
    }

    fn new(
        zone: Arc<Zone>,
        divided: Arc<Divided>,
        publishable: Option<Arc<Zone>>,
        Trees { public, internal }: Trees,
    ) -> Self {
        let (steered, hinted) = (Arc::default(), Arc::default());
        Self { zone, divided, outside: None, publishable, public, internal, steered, hinted }
    }

    /// Takes over from `before` what is the same. `full` is the tree of all records of `zone`, if there is one.
    pub(super) fn compile(
        zone: Arc<Zone>,
        divided: Arc<Divided>,
        full: Option<&Arc<Tree>>,
        before: Option<&Self>,
        outside: Option<Shown>,
    ) -> Self {
        let publishable = match divided.public {
            Some(_) => Some(Arc::clone(&zone)),
            _ if is_at_fault(&divided) => before.and_then(|before| before.publishable.clone()),
            _ => None,
        };
        // Often only the other zones changed, and mostly not in a way that this one sees.
        let kept = before.filter(|before| Arc::ptr_eq(&before.zone, &zone));
        let internal = kept.filter(|before| before.divided.internal == divided.internal);
        let public =
            kept.filter(|before| before.outside.is_none() && is_same_outside(&before.divided, &divided));
        let mut new = match (internal, public) {
            (Some(internal), Some(public)) => {
                let (public, internal) = (public.public.clone(), Arc::clone(&internal.internal));
                Self::new(zone, divided, publishable, Trees { public, internal })
            }
            _ => {
                let trees = trees_beside(&zone, &divided, full);
                Self::new(zone, divided, publishable, trees)
            }
        };
        if let Some(shown) = outside {
            let same = before.filter(|before| before.outside.as_ref().is_some_and(|old| old.is_same(&shown)));
            new.public = match same {
                Some(before) => before.public.clone(),
                None => trees(&shown.zone, &shown.divided).public,
            };
            new.outside = Some(shown);
        }
        new
    }
}
