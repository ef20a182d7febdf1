//! `GET /status`: how the edge does, as numbers for people. The page and `top` draw them.
//!
//! Rates and latencies are of the last seconds, totals since the start. Lists are bounded, however many sites there are.
//!
//! Invariant: plain values; nothing here acts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::readings::{Readings, quantile};
pub use crate::log::recent::Trouble;

/// How the edge does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// The program's version.
    pub version: String,
    /// `ready` or `draining`.
    pub state: String,
    /// Seconds since 1970 at which the process started.
    pub started: f64,
    /// Bytes of memory that the process takes.
    pub resident_bytes: f64,
    /// CPU cores that it keeps busy.
    pub cores: f64,
    /// Seconds that rates and latencies are about.
    pub window_secs: f64,
    /// Requests a second.
    pub requests: f64,
    /// The part of the requests that was answered from the cache.
    pub hit_ratio: Option<f64>,
    /// 1, less the bytes from origins by those to clients.
    pub byte_hit_ratio: Option<f64>,
    /// Body bytes a second to clients.
    pub sent_bytes: f64,
    /// Body bytes a second from origins.
    pub origin_bytes: f64,
    /// Requests by how the cache answered them.
    pub outcomes: Vec<Share>,
    /// Responses by the class of their status.
    pub statuses: Vec<Share>,
    /// Requests that were refused before a site was found, by reason.
    pub refused: Vec<Share>,
    /// Until the head of an answer from memory.
    pub hit: Latency,
    /// Until the head of an answer with an origin in between.
    pub miss: Latency,
    /// Client connections open.
    pub connections: f64,
    /// As many may be open.
    pub connections_limit: f64,
    /// Fetches from origins under way.
    pub fetches: f64,
    /// The store in memory.
    pub memory: Tier,
    /// The disks.
    pub disks: Vec<Tier>,
    /// The sites with the most requests.
    pub sites: Vec<SiteBoard>,
    /// The number of all sites.
    pub sites_in_all: usize,
    /// Origins, those that rest or fail first.
    pub origins: Vec<OriginBoard>,
    /// The number of all origins.
    pub origins_in_all: usize,
    /// The last minutes, the oldest first.
    pub points: Vec<Point>,
    /// The last lines of the log at the levels warn and error, the newest first.
    pub troubles: Vec<Trouble>,
}

/// One of several kinds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// So many a second.
    pub rate: f64,
    /// So many since the start.
    pub total: f64,
}

/// Seconds below which 50, 95 and 99 percent stayed; none if there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: Option<f64>,
    /// The 95th percentile.
    pub p95: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
}

/// One tier of the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// `memory`, or the disk's folder.
    pub name: String,
    /// Whether it is used.
    pub is_up: bool,
    /// Bytes that are taken.
    pub bytes: f64,
    /// Bytes that may be taken; none: not told.
    pub capacity_bytes: Option<f64>,
    /// Responses or, in memory, keys.
    pub objects: f64,
    /// Evictions a second.
    pub evicted: f64,
    /// Failures since the start.
    pub errors: f64,
}

/// One site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteBoard {
    /// Its name.
    pub site: String,
    /// Requests a second.
    pub requests: f64,
    /// Requests since the start.
    pub total: f64,
    /// The part that was answered from the cache.
    pub hit_ratio: Option<f64>,
    /// Answers with a status of 5xx a second.
    pub errors: f64,
}

/// One origin of a site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OriginBoard {
    /// The site's name.
    pub site: String,
    /// `host:port`.
    pub origin: String,
    /// Whether it gets its share of the requests.
    pub is_up: bool,
    /// Requests a second.
    pub requests: f64,
    /// Requests that it is at.
    pub in_flight: f64,
    /// Mean seconds until a head; none if there was none.
    pub mean_secs: Option<f64>,
    /// Requests that it did not answer, by reason.
    pub errors: Vec<Share>,
}

/// One moment of the last minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// So many seconds before now.
    pub ago_secs: f64,
    /// Requests a second.
    pub requests: f64,
    /// Of these, answered from the cache.
    pub hits: f64,
}

/// Longer lists end here.
const MOST_SITES: usize = 50;
const MOST_ORIGINS: usize = 100;
/// How the cache answers that are hits.
const HITS: [&str; 4] = ["hit", "stale", "revalidated", "collapsed"];

/// Whether a series is needed here.
pub(super) fn is_needed(name: &str) -> bool {
    const NEEDED: [&str; 30] = [
        "build_info",
        "requests_total",
        "responses_total",
        "turned_away_total",
        "hit_duration_seconds_bucket",
        "miss_duration_seconds_bucket",
        "sent_bytes_total",
        "origin_bytes_total",
        "connections",
        "connections_limit",
        "fetches",
        "store_bytes",
        "store_capacity_bytes",
        "store_keys",
        "store_evicted_total",
        "disk_up",
        "disk_size_bytes",
        "disk_files",
        "disk_evicted_total",
        "disk_errors_total",
        "disk_corrupt_total",
        "origin_up",
        "origin_requests_total",
        "origin_requests_in_flight",
        "origin_errors_total",
        "origin_duration_seconds_sum",
        "origin_duration_seconds_count",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ];
    NEEDED.contains(&name)
}

/// Requests and hits since the start.
pub(super) fn totals(readings: &Readings) -> (f64, f64) {
    let hits = HITS.map(|cache| readings.sum("requests_total", &[("cache", cache)])).iter().sum();
    (readings.sum("requests_total", &[]), hits)
}

/// Two moments, and the seconds between them.
struct Window<'a> {
    before: &'a Readings,
    now: &'a Readings,
    secs: f64,
}

impl Window<'_> {
    /// The growth of a counter.
    fn growth(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        (self.now.sum(name, wanted) - self.before.sum(name, wanted)).max(0.0)
    }

    fn rate(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        self.growth(name, wanted) / self.secs
    }

    /// The kinds of a counter that were ever seen.
    fn shares(&self, name: &str, label: &str) -> Vec<Share> {
        let before = self.before.by(name, [label], &[]);
        let shares = self.now.by(name, [label], &[]).into_iter().filter(|(_, total)| *total > 0.0);
        let share = |(kind, total): ([String; 1], f64)| {
            let grown = total - before.get(&kind).copied().unwrap_or_default();
            let [name] = kind;
            Share { name, rate: grown.max(0.0) / self.secs, total }
        };
        shares.map(share).collect()
    }

    fn latency(&self, name: &str) -> Latency {
        let before = self.before.by(name, ["le"], &[]);
        let bound =
            |text: &str| if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap_or(f64::INFINITY) };
        let mut buckets: Vec<(f64, f64)> = self
            .now
            .by(name, ["le"], &[])
            .into_iter()
            .map(|(le, count)| (bound(&le[0]), count - before.get(&le).copied().unwrap_or_default()))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| quantile(&buckets, part));
        Latency { p50, p95, p99 }
    }

    fn sites(&self) -> Vec<SiteBoard> {
        let before = self.before.by("requests_total", ["site", "cache"], &[]);
        let mut sites = Vec::<SiteBoard>::new();
        let mut hits = 0.0;
        for ([site, cache], total) in self.now.by("requests_total", ["site", "cache"], &[]) {
            if sites.last().is_none_or(|last| last.site != site) {
                sites.push(SiteBoard { site: site.clone(), ..SiteBoard::default() });
                hits = 0.0;
            }
            let grown = total - before.get(&[site, cache.clone()]).copied().unwrap_or_default();
            let last = sites.last_mut().expect("one was pushed");
            (last.requests, last.total) = (last.requests + grown / self.secs, last.total + total);
            hits += if HITS.contains(&&*cache) { grown / self.secs } else { 0.0 };
            last.hit_ratio = (last.requests > 0.0).then(|| hits / last.requests);
        }
        let wanted = [("status", "5xx")];
        let errors = self.now.by("responses_total", ["site"], &wanted);
        let before = self.before.by("responses_total", ["site"], &wanted);
        for site in &mut sites {
            let name = std::slice::from_ref(&site.site);
            let of = |sums: &BTreeMap<[String; 1], f64>| sums.get(name).copied();
            site.errors = (of(&errors).unwrap_or_default() - of(&before).unwrap_or_default()) / self.secs;
        }
        sites.sort_by(|a, b| {
            (b.requests, b.total).partial_cmp(&(a.requests, a.total)).unwrap_or(Ordering::Equal)
        });
        sites
    }

    fn origins(&self) -> Vec<OriginBoard> {
        const PLACE: [&str; 2] = ["site", "origin"];
        let both = |name| (self.before.by(name, PLACE, &[]), self.now.by(name, PLACE, &[]));
        let [requests, seconds, answers] =
            ["origin_requests_total", "origin_duration_seconds_sum", "origin_duration_seconds_count"]
                .map(both);
        let in_flight = self.now.by("origin_requests_in_flight", PLACE, &[]);
        let mut errors = self.errors();
        let mut origins: Vec<OriginBoard> = self
            .now
            .by("origin_up", PLACE, &[])
            .into_iter()
            .map(|(place, up)| {
                let grown = |(before, now): &(BTreeMap<_, f64>, BTreeMap<_, f64>)| {
                    now.get(&place).copied().unwrap_or_default()
                        - before.get(&place).copied().unwrap_or_default()
                };
                let answered = grown(&answers);
                OriginBoard {
                    is_up: up > 0.0,
                    requests: grown(&requests) / self.secs,
                    in_flight: in_flight.get(&place).copied().unwrap_or_default(),
                    mean_secs: (answered > 0.0).then(|| grown(&seconds) / answered),
                    errors: errors.remove(&place).unwrap_or_default(),
                    site: place[0].clone(),
                    origin: place[1].clone(),
                }
            })
            .collect();
        let failing = |origin: &OriginBoard| origin.errors.iter().map(|error| error.rate).sum::<f64>();
        origins.sort_by(|a, b| {
            let rank = |origin: &OriginBoard| (!origin.is_up, failing(origin), origin.requests);
            rank(b).partial_cmp(&rank(a)).unwrap_or(Ordering::Equal)
        });
        origins
    }

    fn errors(&self) -> BTreeMap<[String; 2], Vec<Share>> {
        const PLACE: [&str; 3] = ["site", "origin", "error"];
        let before = self.before.by("origin_errors_total", PLACE, &[]);
        let mut errors = BTreeMap::<[String; 2], Vec<Share>>::new();
        for (place, total) in self.now.by("origin_errors_total", PLACE, &[]) {
            let grown = total - before.get(&place).copied().unwrap_or_default();
            let [site, origin, name] = place;
            errors.entry([site, origin]).or_default().push(Share { name, rate: grown / self.secs, total });
        }
        errors
    }

    fn disks(&self) -> Vec<Tier> {
        let disks = self.now.by("disk_up", ["disk"], &[]).into_iter();
        let disk = |([name], up): ([String; 1], f64)| {
            let wanted = [("disk", name.as_str())];
            let sum = |series| self.now.sum(series, &wanted);
            Tier {
                is_up: up > 0.0,
                bytes: sum("disk_size_bytes"),
                capacity_bytes: None,
                objects: sum("disk_files"),
                evicted: self.rate("disk_evicted_total", &wanted),
                errors: sum("disk_errors_total") + sum("disk_corrupt_total"),
                name: name.clone(),
            }
        };
        disks.map(disk).collect()
    }
}

/// The board of `now`, with rates since `before`, which was some seconds earlier.
pub(super) fn board(before: &Readings, now: &Readings, secs: f64) -> Board {
    let window = Window { before, now, secs: secs.max(0.001) };
    let ((all_before, hits_before), (all, hits)) = (totals(before), totals(now));
    let (sent, fetched) = (window.rate("sent_bytes_total", &[]), window.rate("origin_bytes_total", &[]));
    let (mut sites, mut origins) = (window.sites(), window.origins());
    let (sites_in_all, origins_in_all) = (sites.len(), origins.len());
    sites.truncate(MOST_SITES);
    origins.truncate(MOST_ORIGINS);
    Board {
        version: now.label("build_info", "version").unwrap_or_default().to_owned(),
        started: now.sum("process_start_time_seconds", &[]),
        resident_bytes: now.sum("process_resident_memory_bytes", &[]),
        cores: window.rate("process_cpu_seconds_total", &[]),
        window_secs: secs,
        requests: window.rate("requests_total", &[]),
        hit_ratio: (all > all_before).then(|| (hits - hits_before) / (all - all_before)),
        byte_hit_ratio: (sent > 0.0).then(|| (1.0 - fetched / sent).max(0.0)),
        sent_bytes: sent,
        origin_bytes: fetched,
        outcomes: window.shares("requests_total", "cache"),
        statuses: window.shares("responses_total", "status"),
        refused: window.shares("turned_away_total", "why"),
        hit: window.latency("hit_duration_seconds_bucket"),
        miss: window.latency("miss_duration_seconds_bucket"),
        connections: now.sum("connections", &[]),
        connections_limit: now.sum("connections_limit", &[]),
        fetches: now.sum("fetches", &[]),
        memory: Tier {
            name: "memory".to_owned(),
            is_up: true,
            bytes: now.sum("store_bytes", &[]),
            capacity_bytes: Some(now.sum("store_capacity_bytes", &[])),
            objects: now.sum("store_keys", &[]),
            evicted: window.rate("store_evicted_total", &[]),
            errors: 0.0,
        },
        disks: window.disks(),
        sites,
        sites_in_all,
        origins,
        origins_in_all,
        ..Board::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "verge_edge_requests_total{site=\"a\",cache=\"hit\"} 100\nverge_edge_sent_bytes_total 1000\n";
    const NOW: &str = "verge_edge_build_info{version=\"1.2\"} 1\nverge_edge_requests_total{site=\"a\",cache=\"hit\"} 130\n\
                       verge_edge_requests_total{site=\"a\",cache=\"miss\"} 10\nverge_edge_requests_total{site=\"b\",cache=\"pass\"} 0\n\
                       verge_edge_responses_total{site=\"a\",status=\"5xx\"} 20\nverge_edge_sent_bytes_total 2000\nverge_edge_origin_bytes_total 250\n\
                       verge_edge_hit_duration_seconds_bucket{le=\"0.001\"} 30\nverge_edge_hit_duration_seconds_bucket{le=\"+Inf\"} 30\n\
                       verge_edge_origin_up{site=\"a\",origin=\"o:1\"} 1\nverge_edge_origin_up{site=\"a\",origin=\"o:2\"} 0\n\
                       verge_edge_origin_errors_total{site=\"a\",origin=\"o:2\",error=\"connection_refused\"} 4\n\
                       verge_edge_disk_up{disk=\"/d\"} 0\nverge_edge_disk_errors_total{disk=\"/d\"} 3\n";

    fn boarded(now: &str) -> Board {
        board(&Readings::read(BEFORE, is_needed), &Readings::read(now, is_needed), 10.0)
    }

    #[test]
    fn rates_are_of_the_window_and_totals_of_all_time() {
        let board = boarded(NOW);
        assert_eq!((board.requests, board.hit_ratio, board.byte_hit_ratio), (4.0, Some(0.75), Some(0.75)));
        assert_eq!(board.outcomes[0], Share { name: "hit".into(), rate: 3.0, total: 130.0 });
        assert_eq!(board.hit.p50, Some(0.000_5));
        assert_eq!(board.miss, Latency::default());
        let site = &board.sites[0];
        assert_eq!(
            (&*site.site, site.requests, site.total, site.hit_ratio, site.errors),
            ("a", 4.0, 140.0, Some(0.75), 2.0)
        );
        assert_eq!(board.sites[1].hit_ratio, None);
        assert_eq!(board.version, "1.2");
        assert_eq!((board.disks[0].is_up, board.disks[0].errors), (false, 3.0));
    }

    #[test]
    fn an_origin_that_rests_comes_first_with_its_errors() {
        let board = boarded(NOW);
        let first = &board.origins[0];
        assert_eq!((&*first.origin, first.is_up, first.errors[0].rate), ("o:2", false, 0.4));
        assert!(board.origins[1].is_up && board.origins[1].errors.is_empty());
    }

    #[test]
    fn lists_are_bounded_and_say_of_how_many() {
        let mut now = String::new();
        for n in 0..3_000 {
            now += &format!(
                "verge_edge_requests_total{{site=\"s{n}\",cache=\"miss\"}} {n}\nverge_edge_origin_up{{site=\"s{n}\",origin=\"o\"}} 1\n"
            );
        }
        let board = boarded(&now);
        assert_eq!(
            (board.sites.len(), board.sites_in_all, board.origins.len(), board.origins_in_all),
            (50, 3_000, 100, 3_000)
        );
        assert_eq!(board.sites[0].site, "s2999", "the busiest first");
    }
}
