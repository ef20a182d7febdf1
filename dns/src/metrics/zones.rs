//! The zones in service, as metrics.

use std::collections::{BTreeMap, HashMap};
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
    /// The first error of the last load.
    pub error: Option<LoadError>,
    /// Records that outsiders do not see, by the rule that hides them.
    pub hidden: BTreeMap<String, usize>,
    /// Its loads, of which a [`Served`] that follows another one learns.
    pub loads: LoadTimes,
}

/// The first error of a zone's last load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadError {
    /// Its place and its message, which may name hidden records.
    pub text: String,
    /// Its code and its place, which name none.
    pub open: String,
}

/// When a zone was loaded: seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadTimes {
    /// The last time without an error.
    pub good: Option<u64>,
    /// The last time with one.
    pub failed: Option<u64>,
}

impl Served {
    /// Takes the place of what was in service before. All of `next` was loaded now.
    pub(super) fn follow(&mut self, mut next: Self, unix_seconds: u64) {
        let before: HashMap<_, _> = self.zones.iter().map(|zone| (zone.apex.as_str(), zone.loads)).collect();
        for zone in &mut next.zones {
            let loads = before.get(zone.apex.as_str()).copied().unwrap_or_default();
            zone.loads = match zone.error {
                None => LoadTimes { good: Some(unix_seconds), ..loads },
                Some(_) => LoadTimes { failed: Some(unix_seconds), ..loads },
            };
        }
        *self = next;
    }

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
        let help = "When each zone was last loaded without an error";
        let name = "zone_last_good_load_timestamp_seconds";
        self.encode_times(encoder, name, help, |loads| loads.good)?;
        let help = "When each zone that was ever at fault was last loaded with an error";
        let name = "zone_last_error_timestamp_seconds";
        self.encode_times(encoder, name, help, |loads| loads.failed)?;
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

    fn encode_times(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        time: fn(LoadTimes) -> Option<u64>,
    ) -> fmt::Result {
        let mut times = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for zone in &self.zones {
            if let Some(time) = time(zone.loads) {
                times.encode_family(&[("zone", zone.apex.as_str())])?.encode_gauge(&time)?;
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_keeps_when_it_was_good_while_it_fails_and_when_it_failed_once_it_is_good() {
        let load = |error: Option<&str>| {
            let zone = ServedZone {
                apex: "example.com.".to_owned(),
                state: "current",
                serial: None,
                records: None,
                journal_bytes: 0,
                undecided: 0,
                error: error.map(|text| LoadError { text: text.to_owned(), ..LoadError::default() }),
                hidden: BTreeMap::new(),
                loads: LoadTimes::default(),
            };
            Served { generation: 1, zones: vec![zone] }
        };
        let mut served = Served::default();
        for (time, error, good, failed) in [
            (10, None, Some(10), None),
            (20, Some("a fault"), Some(10), Some(20)),
            (30, Some("a fault"), Some(10), Some(30)),
            (40, None, Some(40), Some(30)),
        ] {
            served.follow(load(error), time);
            assert_eq!(served.zones[0].loads, LoadTimes { good, failed }, "at {time}");
        }
        // A zone that came back begins anew.
        served.follow(Served::default(), 50);
        served.follow(load(None), 60);
        assert_eq!(served.zones[0].loads, LoadTimes { good: Some(60), failed: None });
    }
}
