//! Counts of zone transfers and of notices of change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::status::Notice;
use super::{VIEWS, add, counters, index, lock};
use crate::name::Name;
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
}

impl Replication {
    pub(crate) fn taken(&self, view: Which, taken: Taken) {
        add(&self.taken[index(&VIEWS, &view)][index(&Taken::ALL, &taken)], 1);
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
        Ok(())
    }
}
