//! Metrics. Each loop writes only counters of its own; a scrape adds them up.
//!
//! Labels name views, transports, response codes and, for what a reload did, zones. The listener that shows them is
//! on loopback by default, since a hidden zone's name is a secret, too (S2).

mod answering;
mod counters;
mod format;
mod pools;
mod process;
mod replication;
mod status;
mod told;
mod zones;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::client::{Listener, Transport};
use crate::ended::Ended;
use crate::rcode::Rcode;
use crate::view::Which;

pub use self::counters::Counters;
pub use self::format::Format;
use self::pools::PoolSource;
pub use self::pools::{DrainStatus, LeavingStatus, MemberStatus, NodeStatus, PoolStatus, Vote};
pub(crate) use self::pools::{Steered, worst_first};
use self::replication::Replication;
pub(crate) use self::replication::{Notified, Refreshed, Taken};
pub use self::status::{CatalogStatus, CopyStatus, Notice, Status, ZoneStatus};
pub use self::zones::{LoadError, LoadTimes, Served, ServedZone};

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    loops: Mutex<Vec<Arc<Counters>>>,
    served: Mutex<Served>,
    /// Signed zones, and when the first signature of each expires: the time of Unix.
    signatures: Mutex<Vec<(String, i64)>>,
    loads: [AtomicU64; LoadResult::ALL.len()],
    /// When everything that had changed was good, in the time of Unix; 0 for never.
    good_load_unix_seconds: AtomicU64,
    unhidden: AtomicU64,
    reload_restarts: AtomicU64,
    /// Whether reloading ended by a fault and no load has ended well since.
    reloading_is_down: AtomicBool,
    connections: [[Arc<AtomicU64>; Transport::ALL.len()]; LISTENERS.len()],
    endings: [Arc<Endings>; Transport::ALL.len()],
    /// Of each side and transport; 0 for no listener of streams.
    connections_limit: AtomicU64,
    /// Transfers and notices.
    pub(crate) replication: Replication,
    /// The pools that are steered.
    pub(crate) pools: PoolSource,
    /// The time of Unix; 0 for none.
    certificate_until: AtomicI64,
}

/// How connections of one transport ended.
#[derive(Debug, Default)]
pub struct Endings([AtomicU64; Ended::ALL.len()]);

impl Endings {
    /// Counts one.
    pub(crate) fn count(&self, ended: Ended) {
        add(&self.0[index(&Ended::ALL, &ended)], 1);
    }
}

/// Whether what is in service is what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Every zone is served, if need be by its last good version.
    Good,
    /// There is no zone at all.
    NoZone,
    /// These zones have never had a good version.
    NeverGood(Vec<String>),
    /// Reloading ended by a fault; what is in service may be old.
    ReloadingFell,
}

/// How reading the zone files went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadResult {
    /// Everything that changed is in service.
    Good,
    /// Something was refused; for it the last good state serves on.
    Refused,
}

impl LoadResult {
    const ALL: [Self; 2] = [Self::Good, Self::Refused];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Refused => "refused",
        }
    }
}

const LISTENERS: [Listener; 2] = [Listener::Outside, Listener::Inside];
const VIEWS: [Which; 2] = [Which::Public, Which::Internal];
const RCODES: [Rcode; 12] = [
    Rcode::NoError,
    Rcode::FormErr,
    Rcode::ServFail,
    Rcode::NxDomain,
    Rcode::NotImp,
    Rcode::Refused,
    Rcode::YxDomain,
    Rcode::YxRrset,
    Rcode::NxRrset,
    Rcode::NotAuth,
    Rcode::NotZone,
    Rcode::BadVers,
];
impl Metrics {
    /// Counters for one more loop.
    pub fn counters(&self, transport: Transport) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(transport));
        lock(&self.loops).push(Arc::clone(&counters));
        counters
    }

    /// How many connections are open on the listeners of one side; whoever opens and closes them sets it.
    pub fn connections(&self, listener: Listener, transport: Transport) -> Arc<AtomicU64> {
        Arc::clone(&self.connections[index(&LISTENERS, &listener)][index(&Transport::ALL, &transport)])
    }

    /// As many connections may be open on each side, over each transport.
    pub(crate) fn connections_limit(&self, limit: usize) {
        self.connections_limit.store(u64::try_from(limit).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How connections ended.
    pub(crate) fn endings(&self, transport: Transport) -> Arc<Endings> {
        Arc::clone(&self.endings[index(&Transport::ALL, &transport)])
    }

    /// Another load of the zone files has ended.
    pub fn loaded(&self, result: LoadResult, served: Served) {
        add(&self.loads[result as usize], 1);
        if result == LoadResult::Good {
            self.good_load_unix_seconds.store(crate::clock::moment().unix_seconds, Ordering::Relaxed);
        }
        lock(&self.served).follow(served, crate::clock::moment().unix_seconds);
        self.reloading_stands();
    }

    /// When the first signature of each signed zone expires: the time of Unix.
    pub(crate) fn signatures_expire(&self, zones: Vec<(String, i64)>) {
        *lock(&self.signatures) = zones;
    }

    /// So many records became public though their own text had not changed.
    pub(crate) fn unhidden(&self, records: usize) {
        add(&self.unhidden, u64::try_from(records).unwrap_or(u64::MAX));
    }

    /// Reloading ended by a fault of ours and starts again.
    pub(crate) fn reloading_fell(&self) {
        add(&self.reload_restarts, 1);
        self.reloading_is_down.store(true, Ordering::Release);
    }

    /// A load has ended without a fault of ours.
    pub(crate) fn reloading_stands(&self) {
        self.reloading_is_down.store(false, Ordering::Release);
    }

    /// The zones in service, and whether the server follows the zone files.
    pub(crate) fn standing(&self) -> Standing {
        let served = lock(&self.served);
        let never_good: Vec<String> =
            served.zones.iter().filter(|zone| zone.state == "broken").map(|zone| zone.apex.clone()).collect();
        if self.reloading_is_down.load(Ordering::Acquire) {
            Standing::ReloadingFell
        } else if served.zones.len() == never_good.len() && never_good.is_empty() {
            Standing::NoZone
        } else if !never_good.is_empty() {
            Standing::NeverGood(never_good)
        } else {
            Standing::Good
        }
    }

    /// Until when the certificate in service is good, as the time of Unix; none if there is none.
    pub(crate) fn certificate_until(&self, unix_seconds: Option<i64>) {
        self.certificate_until.store(unix_seconds.unwrap_or_default(), Ordering::Relaxed);
    }

    /// All of it in a format for scrapers.
    pub fn encode(self: &Arc<Self>, format: Format) -> String {
        let mut registry = Registry::with_prefix("verge_dns");
        registry.register_collector(Box::new(Arc::clone(self)));
        let mut text = String::new();
        process::encode(&mut text)
            .and_then(|()| prometheus_client::encoding::text::encode(&mut text, &registry))
            .expect("a String takes any text");
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => format::as_prometheus(&text),
        }
    }

    fn sum(&self, transport: Option<Transport>, of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        lock(&self.loops)
            .iter()
            .filter(|counters| transport.is_none_or(|wanted| counters.transport == wanted))
            .map(|counters| of(counters).load(Ordering::Relaxed))
            .sum()
    }
}

/// Of each transport that has connections.
fn connected<T>(of: &[T; Transport::ALL.len()]) -> impl Iterator<Item = (Transport, &T)> {
    Transport::ALL.into_iter().zip(of).filter(|(transport, _)| *transport != Transport::Udp)
}

fn index<T: PartialEq>(all: &[T], wanted: &T) -> usize {
    all.iter().position(|one| one == wanted).expect("the tables name every variant")
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_answering_to(&mut encoder)?;
        self.encode_kinds(&mut encoder)?;
        self.encode_queries(&mut encoder)?;
        self.encode_truncated(&mut encoder)?;
        self.encode_cookies(&mut encoder)?;
        let refused = [([("transport", "udp")], self.sum(None, |c| &c.refused_by_kernel))];
        counters(&mut encoder, "unsent", "Answers the kernel would not take", refused)?;
        let shortened = [([("transport", "udp")], self.sum(None, |c| &c.shortened))];
        let help =
            "Answers longer than the interface takes, sent as 'come back by TCP'; lower `udp.max_payload`";
        counters(&mut encoder, "shortened", help, shortened)?;
        let loads = LoadResult::ALL.map(|result| {
            ([("result", result.as_str())], self.loads[result as usize].load(Ordering::Relaxed))
        });
        counters(
            &mut encoder,
            "loads",
            "Times the zone files were read, at the start and after changes",
            loads,
        )?;
        let restarts = self.reload_restarts.load(Ordering::Relaxed);
        let help = "Times reloading ended by a fault and started again";
        counter(&mut encoder, "reload_restarts", help, restarts)?;
        let lost = crate::log::lines_lost();
        counter(&mut encoder, "log_lines_lost", "Log lines that could not be written", lost)?;
        self.encode_certificate(&mut encoder)?;
        self.replication.encode(&mut encoder)?;
        self.pools.encode(&mut encoder)?;
        self.encode_zones(&mut encoder)
    }
}

impl Metrics {
    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric =
            encoder.encode_descriptor("connections", "Open connections", None, MetricType::Gauge)?;
        for (listener, open) in LISTENERS.iter().zip(&self.connections) {
            for (transport, open) in connected(open) {
                let labels = [("transport", transport.as_str()), ("listener", listener.as_str())];
                metric.encode_family(&labels)?.encode_gauge(&open.load(Ordering::Relaxed))?;
            }
        }
        let limit = self.connections_limit.load(Ordering::Relaxed);
        if limit != 0 {
            let help = "Connections that `tcp.max_connections` allows over each transport of each side";
            let name = "connections_limit";
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&limit)?;
        }
        let ended = connected(&self.endings).flat_map(|(transport, endings)| {
            Ended::ALL.iter().zip(&endings.0).map(move |(ended, count)| {
                let labels = [("transport", transport.as_str()), ("reason", ended.as_str())];
                (labels, count.load(Ordering::Relaxed))
            })
        });
        counters(encoder, "connections_ended", "Connections that ended, by what ended them", ended)
    }

    fn encode_certificate(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let until = self.certificate_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(());
        }
        let help = "When the first certificate of the chain in service expires";
        let mut metric = encoder.encode_descriptor(
            "tls_certificate_expiry_timestamp_seconds",
            help,
            None,
            MetricType::Gauge,
        )?;
        metric.encode_gauge(&until)
    }

    fn encode_zones(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let good = self.good_load_unix_seconds.load(Ordering::Relaxed);
        if good != 0 {
            let help = "When the zone files were last read and nothing was refused";
            let name = "last_good_load_timestamp_seconds";
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&good)?;
        }
        let unhidden = self.unhidden.load(Ordering::Relaxed);
        let help = "Records that became public though their own text had not changed";
        counter(encoder, "unhidden_records", help, unhidden)?;
        zones::encode_signatures(&lock(&self.signatures), encoder)?;
        let served = lock(&self.served).clone();
        served.encode(encoder)
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<[(&str, &str); 0], _, u64>(&value, None)
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&value, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::answer::Kind;
    use crate::cookie::Proof;
    use crate::rtype::Type;
    use crate::wire::{Gist, Guarded, Outcome, Sent, Why};

    fn sent(rcode: Rcode, gist: Gist, truncated: bool) -> Outcome<'static> {
        Outcome::Sent(Sent {
            view: Which::Internal,
            zone: None,
            qtype: Some(Type::A),
            rcode,
            gist,
            truncated,
            guard: Guarded::NotNeeded,
            cookie: Some(Proof::Unproved),
        })
    }

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|there| there == *line), "{line} is not in\n{text}");
        }
    }

    fn zone_at_fault() -> ServedZone {
        ServedZone {
            apex: "example.com.".into(),
            state: "previous",
            serial: Some(7),
            records: Some(12),
            journal_bytes: 0,
            undecided: 2,
            error: Some(LoadError { text: "example.com.zone:1:1: …".to_owned(), ..LoadError::default() }),
            hidden: Default::default(),
            loads: LoadTimes::default(),
        }
    }

    #[test]
    fn loops_are_added_up_at_a_scrape() {
        let metrics = Arc::new(Metrics::default());
        let sent = sent(Rcode::NxDomain, Gist::Answer(Kind::NxDomain), true);
        for _ in 0..2 {
            metrics.counters(Transport::Udp).count(&sent);
        }
        let loop_of_batches = metrics.counters(Transport::Udp);
        loop_of_batches.took(Duration::from_micros(30), 3);
        loop_of_batches.took(Duration::from_secs(2), 1);
        metrics.connections_limit(4096);
        metrics.counters(Transport::Tcp).count(&sent);
        metrics.counters(Transport::Udp).count(&Outcome::Silent(Why::TooShort));
        let zone = zone_at_fault();
        metrics.endings(Transport::Tls).count(Ended::SlowHandshake);
        metrics.connections(Listener::Inside, Transport::Tcp).store(4, Ordering::Relaxed);
        metrics.certificate_until(Some(1_800_000_000));
        metrics.unhidden(5);
        metrics.signatures_expire(vec![("example.com.".to_owned(), 1_900_000_000)]);
        metrics.loaded(LoadResult::Refused, Served { generation: 3, zones: vec![zone] });
        let text = metrics.encode(Format::Prometheus);
        let lines = [
            "verge_dns_answers_total{transport=\"udp\",view=\"inside\",rcode=\"NXDOMAIN\"} 2",
            "verge_dns_answers_total{transport=\"tcp\",view=\"inside\",rcode=\"NXDOMAIN\"} 1",
            "verge_dns_truncated_total{view=\"inside\"} 3",
            "verge_dns_queries_total{view=\"inside\",type=\"A\"} 3",
            "verge_dns_queries_total{view=\"outside\",type=\"other\"} 0",
            "verge_dns_answer_duration_seconds_bucket{le=\"0.000025\"} 0",
            "verge_dns_answer_duration_seconds_bucket{le=\"0.00005\"} 3",
            "verge_dns_answer_duration_seconds_count 4",
            "verge_dns_connections_limit 4096",
            "verge_dns_silent_total{reason=\"too_short\"} 1",
            "verge_dns_loads_total{result=\"refused\"} 1",
            "verge_dns_cookies_total{result=\"unproved\"} 3",
            "verge_dns_cookies_total{result=\"proved\"} 0",
            "verge_dns_zone_serial{zone=\"example.com.\"} 7",
            "verge_dns_zone_records{zone=\"example.com.\"} 12",
            "verge_dns_zones{state=\"previous\"} 1",
            "verge_dns_zone_state{zone=\"example.com.\",state=\"previous\"} 1",
            "verge_dns_undecided_records 2",
            "verge_dns_unhidden_records_total 5",
            "verge_dns_zone_signatures_expiry_timestamp_seconds{zone=\"example.com.\"} 1900000000",
            "verge_dns_generation 3",
            "verge_dns_connections{transport=\"tcp\",listener=\"inside\"} 4",
            "verge_dns_tls_certificate_expiry_timestamp_seconds 1800000000",
            "verge_dns_connections_ended_total{transport=\"tls\",reason=\"slow_handshake\"} 1",
        ];
        assert_lines(&text, &lines);
    }

    #[test]
    fn answers_are_counted_by_kind_and_rcode_and_slips_are_no_long_answers() {
        let metrics = Arc::new(Metrics::default());
        let counters = metrics.counters(Transport::Udp);
        for (rcode, gist, truncated) in [
            (Rcode::NoError, Gist::Answer(Kind::Positive), true),
            (Rcode::NoError, Gist::Answer(Kind::NoData), false),
            (Rcode::NoError, Gist::Answer(Kind::Partial), false),
            (Rcode::Refused, Gist::Answer(Kind::NoZone), false),
            (Rcode::NoError, Gist::Slipped, true),
            (Rcode::NoError, Gist::Slipped, true),
            (Rcode::NoError, Gist::Other, false),
            (Rcode::Refused, Gist::Other, false),
            (Rcode::FormErr, Gist::Other, false),
        ] {
            counters.count(&sent(rcode, gist, truncated));
        }
        let text = metrics.encode(Format::Prometheus);
        let lines = [
            "verge_dns_answer_kinds_total{view=\"inside\",kind=\"positive\"} 1",
            "verge_dns_answer_kinds_total{view=\"inside\",kind=\"nodata\"} 1",
            "verge_dns_answer_kinds_total{view=\"inside\",kind=\"alias\"} 1",
            "verge_dns_answer_kinds_total{view=\"inside\",kind=\"no_zone\"} 1",
            "verge_dns_answer_kinds_total{view=\"inside\",kind=\"referral\"} 0",
            "verge_dns_answer_kinds_total{view=\"inside\",kind=\"slipped\"} 2",
            "verge_dns_answer_kinds_total{view=\"inside\",kind=\"other\"} 3",
            "verge_dns_answer_kinds_total{view=\"outside\",kind=\"other\"} 0",
            "verge_dns_answers_total{transport=\"udp\",view=\"inside\",rcode=\"NOERROR\"} 6",
            "verge_dns_answers_total{transport=\"udp\",view=\"inside\",rcode=\"REFUSED\"} 2",
            "verge_dns_answers_total{transport=\"udp\",view=\"inside\",rcode=\"FORMERR\"} 1",
            "verge_dns_truncated_total{view=\"inside\"} 1",
        ];
        assert_lines(&text, &lines);
    }
}
