//! The state of a server for people: each zone, under which serial each side has it, and which secondaries know of that.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{LeavingStatus, Metrics, NodeStatus, PoolStatus, Steered, lock};
use crate::view::Which;

/// The content of `/status`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Versions of the zones and settings that have been in service since the start.
    pub generation: u64,
    /// When the zone files were last read and nothing was refused, in Unix seconds.
    pub last_good_load: Option<u64>,
    /// Each zone, ordered by name.
    pub zones: Vec<ZoneStatus>,
    /// The outcome of the last notice to each secondary of each zone.
    pub notices: Vec<Notice>,
    /// Zones that are taken from others, ordered by name.
    #[serde(default)]
    pub secondaries: Vec<CopyStatus>,
    /// Catalogs of zones that are taken from others.
    #[serde(default)]
    pub catalogs: Vec<CatalogStatus>,
    /// The pools, ordered by name.
    #[serde(default)]
    pub pools: Vec<PoolStatus>,
    /// The other name servers that tell who is up.
    #[serde(default)]
    pub nodes: Vec<NodeStatus>,
    /// Members that no pool has any more, while answers that name them may be kept.
    #[serde(default)]
    pub leaving: Vec<LeavingStatus>,
}

/// A catalog of zones that are taken from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogStatus {
    /// Its name.
    pub catalog: String,
    /// Zones that are taken because of it.
    pub zones: usize,
    /// Zones among them that it names no longer, and that stay because they are too many.
    pub waiting: usize,
    /// The obstacle, if there is one; a reader without the token learns only that there is.
    pub error: Option<String>,
}

/// A zone that is taken from others. Times are in Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// The zone.
    pub zone: String,
    /// The side that has it: `outside` or `inside`.
    pub view: String,
    /// `primary` or `asks_others` where there is a zone file; else `good`, `late`, `half_gone`, `nearly_gone`, `expired` or `absent`.
    pub state: String,
    /// The version here.
    pub serial: Option<u32>,
    /// The primary that answered last.
    pub primary: Option<String>,
    /// Its version.
    pub primary_serial: Option<u32>,
    /// When a primary last confirmed the version.
    pub checked: Option<u64>,
    /// When the primaries are asked next.
    pub next_refresh: u64,
    /// When the version expires unless a primary confirms it.
    pub expires: Option<u64>,
    /// The obstacle, if there is one; a reader without the token learns only that there is.
    pub error: Option<String>,
}

/// A zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Its apex.
    pub zone: String,
    /// `current`, `previous`, `broken` or `inside_only`.
    pub state: String,
    /// The serial of its file.
    pub serial: Option<u32>,
    /// The serial under which secondaries of the outside get it; none if nobody may take it there.
    pub outside: Option<u32>,
    /// The same inside.
    pub inside: Option<u32>,
    /// Bytes of the journal of its updates; none if there is none.
    #[serde(default)]
    pub journal: Option<u64>,
    /// The first error of the last load, with its place; for a reader without the token its code and its place.
    #[serde(default)]
    pub error: Option<String>,
    /// Records that outsiders do not see, by the rule that hides them.
    #[serde(default)]
    pub hidden: BTreeMap<String, usize>,
}

/// The last notice of a zone to a secondary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The zone.
    pub zone: String,
    /// `outside` or `inside`.
    pub view: String,
    /// The secondary's address.
    pub secondary: String,
    /// The version that it was told of.
    pub serial: u32,
    /// `taken`, `refused` or `unanswered`.
    pub result: String,
}

/// In the place of an error that may name hidden records.
const WITHHELD: &str = "the log has the reason, and this page with the token";

impl Metrics {
    /// The state of now, as a reader may know it who has shown the token (`is_trusted`), or has not.
    ///
    /// Invariant: no error names a record to a reader who has not.
    pub(crate) fn status(&self, is_trusted: bool) -> Status {
        let served = lock(&self.served).clone();
        let serials = self.replication.of_zones();
        let serial = |zone: &str, view| serials.get(&(view, zone.to_owned())).copied();
        let zones = served.zones.iter().map(|zone| ZoneStatus {
            zone: zone.apex.clone(),
            state: zone.state.to_owned(),
            serial: zone.serial,
            outside: serial(&zone.apex, Which::Public),
            inside: serial(&zone.apex, Which::Internal),
            journal: (zone.journal_bytes > 0).then_some(zone.journal_bytes),
            error: zone
                .error
                .as_ref()
                .map(|error| if is_trusted { &error.text } else { &error.open }.clone()),
            hidden: zone.hidden.clone(),
        });
        let mut zones: Vec<ZoneStatus> = zones.collect();
        zones.sort_unstable_by(|a, b| a.zone.cmp(&b.zone));
        let Steered { pools, nodes, leaving, .. } = self.pools.get();
        let good = self.good_load_unix_seconds.load(Ordering::Relaxed);
        let (mut secondaries, mut catalogs) = (self.replication.copies(), self.replication.of_catalogs());
        if !is_trusted {
            let errors = secondaries.iter_mut().map(|copy| &mut copy.error);
            let errors = errors.chain(catalogs.iter_mut().map(|catalog| &mut catalog.error));
            errors.flatten().for_each(|error| WITHHELD.clone_into(error));
        }
        Status {
            generation: served.generation,
            last_good_load: (good != 0).then_some(good),
            zones,
            notices: self.replication.notices(),
            secondaries,
            catalogs,
            pools,
            nodes,
            leaving,
        }
    }
}
