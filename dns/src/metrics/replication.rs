//! Counts of zone transfers and of notices of change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::status::{CatalogStatus, CopyStatus, Notice};
use super::{RCODES, VIEWS, add, counters, index, lock};
use crate::name::Name;
use crate::rcode::Rcode;
use crate::view::Which;
use crate::wire::TransferKind;

/// The outcome of a transfer that a client was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The client has the whole zone.
    Whole,
    /// It has what changed.
    Changes,
    /// It has the version already.
    Current,
    /// It has a part.
    BrokenOff,
    /// It is to come again, because too many others were under way.
    Busy,
}

impl Taken {
    const ALL: [Self; 5] = [Self::Whole, Self::Changes, Self::Current, Self::BrokenOff, Self::Busy];

    fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Changes => "changes",
            Self::Current => "current",
            Self::BrokenOff => "broken_off",
            Self::Busy => "busy",
        }
    }
}

impl From<TransferKind> for Taken {
    fn from(kind: TransferKind) -> Self {
        match kind {
            TransferKind::Whole => Self::Whole,
            TransferKind::Changes => Self::Changes,
            TransferKind::Current => Self::Current,
        }
    }
}

/// The outcome of a notice (NOTIFY, RFC 1996).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notified {
    /// The secondary took it.
    Taken,
    /// The secondary refused it.
    Refused,
    /// The secondary did not answer, however often it was asked.
    Unanswered,
}

impl Notified {
    const ALL: [Self; 3] = [Self::Taken, Self::Refused, Self::Unanswered];

    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

/// The outcome of a question to the primaries of a zone that is taken from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// All of it came.
    Whole,
    /// The changes came.
    Changes,
    /// Ours is as new.
    Current,
    /// No primary answered well, or what came is not taken.
    Failed,
}

impl Refreshed {
    const ALL: [Self; 4] = [Self::Whole, Self::Changes, Self::Current, Self::Failed];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Changes => "changes",
            Self::Current => "current",
            Self::Failed => "failed",
        }
    }
}

/// A zone, a side and a secondary.
type Told = (String, &'static str, SocketAddr);

/// All counts of replication.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    taken: [[AtomicU64; Taken::ALL.len()]; VIEWS.len()],
    notified: [AtomicU64; Notified::ALL.len()],
    /// The serials under which zones are transferred.
    serials: Mutex<Vec<(Which, String, u32)>>,
    /// By zone, side and secondary: the version that it was told of last.
    notices: Mutex<BTreeMap<Told, (u32, Notified)>>,
    refreshed: [AtomicU64; Refreshed::ALL.len()],
    updated: [AtomicU64; RCODES.len()],
    /// By name: the zones that are taken from others.
    copies: Mutex<BTreeMap<String, CopyStatus>>,
    catalogs: Mutex<Vec<CatalogStatus>>,
}

impl Replication {
    pub(crate) fn taken(&self, view: Which, taken: Taken) {
        add(&self.taken[index(&VIEWS, &view)][index(&Taken::ALL, &taken)], 1);
    }

    /// An update was made, or not.
    pub(crate) fn updated(&self, rcode: Rcode) {
        add(&self.updated[index(&RCODES, &rcode)], 1);
    }

    /// The primaries of a zone were asked.
    pub(crate) fn refreshed(&self, refreshed: Refreshed) {
        add(&self.refreshed[index(&Refreshed::ALL, &refreshed)], 1);
    }

    /// The state of a zone that is taken from others.
    pub(crate) fn copy(&self, zone: &Name, status: CopyStatus) {
        lock(&self.copies).insert(zone.to_string(), status);
    }

    /// The state of all catalogs of zones that are taken from others.
    pub(crate) fn catalogs(&self, catalogs: Vec<CatalogStatus>) {
        *lock(&self.catalogs) = catalogs;
    }

    pub(super) fn of_catalogs(&self) -> Vec<CatalogStatus> {
        lock(&self.catalogs).clone()
    }

    /// A zone is taken from others no longer.
    pub(crate) fn no_copy(&self, zone: &Name) {
        lock(&self.copies).remove(&zone.to_string());
    }

    /// The zones that are taken from others.
    pub(super) fn copies(&self) -> Vec<CopyStatus> {
        lock(&self.copies).values().cloned().collect()
    }

    /// A notice of this version came to an end.
    pub(crate) fn notified(
        &self,
        zone: &Name,
        view: Which,
        serial: u32,
        secondary: SocketAddr,
        notified: Notified,
    ) {
        add(&self.notified[index(&Notified::ALL, &notified)], 1);
        lock(&self.notices).insert((zone.to_string(), view.as_str(), secondary), (serial, notified));
    }

    /// The last notice to each secondary of each zone, for zones that somebody may take still.
    pub(super) fn notices(&self) -> Vec<Notice> {
        let notices = lock(&self.notices);
        let shown = notices.iter().map(|((zone, view, secondary), (serial, result))| Notice {
            zone: zone.clone(),
            view: (*view).to_owned(),
            secondary: secondary.to_string(),
            serial: *serial,
            result: result.as_str().to_owned(),
        });
        shown.collect()
    }

    pub(super) fn of_zones(&self) -> HashMap<(Which, String), u32> {
        lock(&self.serials).iter().map(|(view, zone, serial)| ((*view, zone.clone()), *serial)).collect()
    }

    pub(crate) fn serials(&self, serials: Vec<(Which, String, u32)>) {
        // Zones that are gone, or that nobody may take any longer, are forgotten with their secondaries.
        let there: HashSet<&str> = serials.iter().map(|(_, zone, _)| zone.as_str()).collect();
        lock(&self.notices).retain(|(zone, ..), _| there.contains(zone.as_str()));
        *lock(&self.serials) = serials;
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let taken = VIEWS.iter().zip(&self.taken).flat_map(|(view, taken)| {
            Taken::ALL.iter().zip(taken).map(move |(result, count)| {
                let labels = [("view", view.as_str()), ("result", result.as_str())];
                (labels, count.load(Ordering::Relaxed))
            })
        });
        counters(encoder, "transfers", "Zones that clients took, by what they got", taken)?;
        let notified = Notified::ALL.iter().zip(&self.notified);
        let notified =
            notified.map(|(result, count)| ([("result", result.as_str())], count.load(Ordering::Relaxed)));
        counters(encoder, "notifies", "Notices of change to secondaries, by what became of them", notified)?;
        let help = "Serial under which each zone is transferred; the outside has numbers of its own where something is hidden";
        let mut metric = encoder.encode_descriptor("transfer_serial", help, None, MetricType::Gauge)?;
        for (view, zone, serial) in lock(&self.serials).iter() {
            let labels = [("zone", zone.as_str()), ("view", view.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&u64::from(*serial))?;
        }
        self.encode_copies(encoder)
    }

    fn encode_copies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let updated =
            RCODES.iter().zip(&self.updated).map(|(rcode, count)| (rcode, count.load(Ordering::Relaxed)));
        let updated = updated.filter(|(rcode, count)| **rcode == Rcode::NoError || *count > 0);
        let updated = updated.map(|(rcode, count)| ([("rcode", rcode.as_str())], count));
        let help = "Updates by keys that may change something, by the answer";
        counters(encoder, "updates", help, updated)?;
        let refreshed = Refreshed::ALL.iter().zip(&self.refreshed);
        let refreshed =
            refreshed.map(|(result, count)| ([("result", result.as_str())], count.load(Ordering::Relaxed)));
        let help = "Questions to the primaries of zones that are taken from them, by what came of them";
        counters(encoder, "secondary_refreshes", help, refreshed)?;
        let copies = lock(&self.copies).clone();
        let times = [
            (
                "secondary_expiry_timestamp_seconds",
                "When each zone that is taken from others expires, unless a primary confirms it",
            ),
            (
                "secondary_checked_timestamp_seconds",
                "When a primary last confirmed each zone that is taken from others",
            ),
        ];
        for (at, (name, help)) in times.into_iter().enumerate() {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (zone, copy) in &copies {
                let time = if at == 0 { copy.expires } else { copy.checked };
                metric.encode_family(&[("zone", zone.as_str())])?.encode_gauge(&time.unwrap_or(0))?;
            }
        }
        Ok(())
    }
}
