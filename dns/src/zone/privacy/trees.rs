//! The trees of both views of a divided zone. Where both views see the same, they share one tree.

use std::sync::Arc;

use super::{Divided, Seen, Selection};
use crate::zone::Zone;
use crate::zone::tree::{Datum, Tree};

/// What each view serves for one zone.
#[derive(Clone, Debug)]
pub struct Trees {
    /// None if outside there is no such zone, or if the zone must not be served.
    pub public: Option<Arc<Tree>>,
    /// What the inside sees.
    pub internal: Arc<Tree>,
}

/// Builds both trees of `zone`, which must be the zone that was divided.
pub fn trees(zone: &Zone, divided: &Divided) -> Trees {
    let build = |selection: &Selection| Arc::new(Tree::build(zone.apex.clone(), selection.records(zone)));
    match &divided.public {
        None => Trees { public: None, internal: build(&divided.internal) },
        Some(public) if *public == divided.internal => {
            let both = build(public);
            Trees { public: Some(Arc::clone(&both)), internal: both }
        }
        Some(public) => Trees { public: Some(build(public)), internal: build(&divided.internal) },
    }
}

impl<'a> From<Seen<'a>> for Datum<'a> {
    fn from(Seen { record, rdata }: Seen<'a>) -> Self {
        Self { owner: &record.owner, rtype: record.rtype, ttl: record.ttl, rdata }
    }
}
