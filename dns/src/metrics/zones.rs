//! The zones in service, as metrics.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

/// The zones in service, as the last reload left them.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Counts the worlds that have been in service.
    pub generation: u64,
    /// Each zone with its state.
    pub zones: Vec<ServedZone>,
}

/// A zone in service.
#[derive(Clone, Debug)]
pub struct ServedZone {
    /// Its apex.
    pub apex: String,
    /// `current`, `previous` (its file is broken, the last good version serves) or `broken`.
    pub state: &'static str,
    /// Of its SOA; none if it never had a good version.
    pub serial: Option<u32>,
    /// Records of the version in service, of both sides; none if it never had a good version.
    pub records: Option<usize>,
    /// Of the journal of its updates.
    pub journal_bytes: u64,
    /// Records for which outsiders get SERVFAIL, since they lead into a zone that never had a good version.
    pub undecided: usize,
    /// The first error of the last load, with its place.
    pub error: Option<String>,
    /// Records that outsiders do not see, by the rule that hides them.
    pub hidden: BTreeMap<String, usize>,
}

impl Served {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Versions of the zones and settings that have been in service since the start";
        gauge(encoder, "generation", help, self.generation)?;
        let help = "Serial of each zone in service";
        let mut serials = encoder.encode_descriptor("zone_serial", help, None, MetricType::Gauge)?;
        for zone in &self.zones {
            if let Some(serial) = zone.serial {
                let labels = [("zone", zone.apex.as_str())];
                serials.encode_family(&labels)?.encode_gauge(&u64::from(serial))?;
            }
        }
        let help = "Records of each zone in service, as it was written: those of both sides";
        let mut records = encoder.encode_descriptor("zone_records", help, None, MetricType::Gauge)?;
        for zone in &self.zones {
            if let Some(count) = zone.records {
                let labels = [("zone", zone.apex.as_str())];
                records.encode_family(&labels)?.encode_gauge(&(count as u64))?;
            }
        }
        let help = "Size of the journal of each zone's updates, if it has one";
        let mut journals =
            encoder.encode_descriptor("update_journal_bytes", help, None, MetricType::Gauge)?;
        for zone in self.zones.iter().filter(|zone| zone.journal_bytes > 0) {
            let labels = [("zone", zone.apex.as_str())];
            journals.encode_family(&labels)?.encode_gauge(&zone.journal_bytes)?;
        }
        let undecided: usize = self.zones.iter().map(|zone| zone.undecided).sum();
        let help =
            "Records for which outsiders get SERVFAIL: they lead into a zone that never had a good version";
        gauge(encoder, "undecided_records", help, undecided as u64)?;
        self.encode_states(encoder)
    }

    fn encode_states(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Zones by state: current, previous (the file is broken, or waits for SIGHUP), broken (never was good) \
                    \
                    inside_only (a fault takes it from outsiders) or outside_previous (for that they get its last version)";
        let mut states = encoder.encode_descriptor("zones", help, None, MetricType::Gauge)?;
        for state in ["current", "previous", "broken", "inside_only", "outside_previous"] {
            let count = self.zones.iter().filter(|zone| zone.state == state).count() as u64;
            states.encode_family(&[("state", state)])?.encode_gauge(&count)?;
        }
        let help = "Zones that are not current, by name: 1 for the state that each is in";
        let mut at_fault = encoder.encode_descriptor("zone_state", help, None, MetricType::Gauge)?;
        for zone in self.zones.iter().filter(|zone| zone.state != "current") {
            let labels = [("zone", zone.apex.as_str()), ("state", zone.state)];
            at_fault.encode_family(&labels)?.encode_gauge(&1_u64)?;
        }
        Ok(())
    }
}

pub(super) fn encode_signatures(zones: &[(String, i64)], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "When the first signature of each zone that was signed elsewhere expires";
    let name = "zone_signatures_expiry_timestamp_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (zone, expires) in zones {
        metric.encode_family(&[("zone", zone.as_str())])?.encode_gauge(expires)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}
