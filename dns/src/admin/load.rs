//! How the server does, as numbers for people: a part of `GET /status`. The page and `top` draw them.
//!
//! Rates and latencies are of the last seconds, totals since the start.
//!
//! Invariant: plain values; nothing here acts.

use serde::{Deserialize, Serialize};

use super::readings::{Readings, quantile};
use crate::log::recent::Trouble;
use crate::metrics::Status;

/// The content of `/status`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Zones, secondaries, pools.
    #[serde(flatten)]
    pub(crate) status: Status,
    /// Rates and latencies.
    #[serde(default)]
    pub(crate) load: Load,
}

/// How the server does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// The program's version.
    pub(crate) version: String,
    /// `ready`, `not ready` or `draining`.
    pub(crate) state: String,
    /// Seconds since 1970 at which the process started.
    pub(crate) started: f64,
    /// Bytes of memory that the process takes.
    pub(crate) resident_bytes: f64,
    /// CPU cores that it keeps busy.
    pub(crate) cores: f64,
    /// Seconds that rates and latencies are about.
    pub(crate) window_secs: f64,
    /// Answers a second to outsiders.
    pub(crate) outside: f64,
    /// Answers a second to insiders.
    pub(crate) inside: f64,
    /// Answers by view and response code; those that there were.
    pub(crate) answers: Vec<Answers>,
    /// Answers by transport; those that there were.
    pub(crate) transports: Vec<Share>,
    /// Packets that got no answer, by reason; those that there were.
    pub(crate) silent: Vec<Share>,
    /// Answers that the egress guard stopped since the start.
    pub(crate) guard_stopped: f64,
    /// From a UDP packet until its answer.
    pub(crate) latency: Latency,
    /// Open connections.
    pub(crate) connections: f64,
    /// The last minutes, the oldest first.
    pub(crate) points: Vec<Point>,
    /// The last lines of the log at the levels warn and error, the newest first.
    pub(crate) troubles: Vec<Trouble>,
}

/// Answers of a view with a response code.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// `outside` or `inside`.
    pub(crate) view: String,
    /// `NOERROR`, `NXDOMAIN` …
    pub(crate) rcode: String,
    /// So many a second.
    pub(crate) rate: f64,
    /// So many since the start.
    pub(crate) total: f64,
}

/// One of several kinds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Its name.
    pub(crate) name: String,
    /// So many a second.
    pub(crate) rate: f64,
    /// So many since the start.
    pub(crate) total: f64,
}

/// Seconds below which 50, 95 and 99 percent stayed; none if there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The median.
    pub(crate) p50: Option<f64>,
    /// The 95th percentile.
    pub(crate) p95: Option<f64>,
    /// The 99th percentile.
    pub(crate) p99: Option<f64>,
}

/// One moment of the last minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// So many seconds before now.
    pub(crate) ago_secs: f64,
    /// Answers a second, of both views.
    pub(crate) all: f64,
    /// Of these, to insiders.
    pub(crate) inside: f64,
}

/// Whether a series is needed here.
pub(super) fn is_needed(name: &str) -> bool {
    NEEDED.contains(&name)
}

const NEEDED: [&str; 9] = [
    "build_info",
    "answers_total",
    "silent_total",
    "guard_stopped_total",
    "answer_duration_seconds_bucket",
    "connections",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
];

/// Answers since the start: all, and those to insiders.
pub(super) fn totals(readings: &Readings) -> (f64, f64) {
    (readings.sum("answers_total", &[]), readings.sum("answers_total", &[("view", "inside")]))
}

/// The load at `now`, with rates since `before`, which was some seconds earlier.
pub(super) fn load(before: &Readings, now: &Readings, secs: f64) -> Load {
    let least = secs.max(0.001);
    let rate = |name: &str, wanted: &[(&str, &str)]| {
        (now.sum(name, wanted) - before.sum(name, wanted)).max(0.0) / least
    };
    let shares = |name: &str, label: &str| -> Vec<Share> {
        let old = before.by(name, [label], &[]);
        let share = |(kind, total): ([String; 1], f64)| {
            let rate = (total - old.get(&kind).copied().unwrap_or_default()).max(0.0) / least;
            let [name] = kind;
            Share { name, rate, total }
        };
        now.by(name, [label], &[]).into_iter().filter(|(_, total)| *total > 0.0).map(share).collect()
    };
    let old = before.by("answers_total", ["view", "rcode"], &[]);
    let answers =
        now.by("answers_total", ["view", "rcode"], &[]).into_iter().filter(|(_, total)| *total > 0.0);
    let answers = answers.map(|(key, total)| {
        let rate = (total - old.get(&key).copied().unwrap_or_default()).max(0.0) / least;
        let [view, rcode] = key;
        Answers { view, rcode, rate, total }
    });
    Load {
        version: now.label("build_info", "version").unwrap_or_default().to_owned(),
        started: now.sum("process_start_time_seconds", &[]),
        resident_bytes: now.sum("process_resident_memory_bytes", &[]),
        cores: rate("process_cpu_seconds_total", &[]),
        window_secs: secs,
        outside: rate("answers_total", &[("view", "outside")]),
        inside: rate("answers_total", &[("view", "inside")]),
        answers: answers.collect(),
        transports: shares("answers_total", "transport"),
        silent: shares("silent_total", "reason"),
        guard_stopped: now.sum("guard_stopped_total", &[]),
        latency: latency(before, now),
        connections: now.sum("connections", &[]),
        ..Load::default()
    }
}

fn latency(before: &Readings, now: &Readings) -> Latency {
    const NAME: &str = "answer_duration_seconds_bucket";
    let old = before.by(NAME, ["le"], &[]);
    let bound =
        |text: &str| if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap_or(f64::INFINITY) };
    let grown =
        |(le, count): ([String; 1], f64)| (bound(&le[0]), count - old.get(&le).copied().unwrap_or_default());
    let mut buckets: Vec<(f64, f64)> = now.by(NAME, ["le"], &[]).into_iter().map(grown).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| quantile(&buckets, part));
    Latency { p50, p95, p99 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn each_series_that_is_needed_is_in_the_short_text() {
        let readings = Readings::read(&Arc::<Metrics>::default().encode_answering(), |_| true);
        for name in NEEDED {
            assert!(readings.has(name), "{name}");
        }
    }

    #[test]
    fn rates_are_of_the_window_and_totals_of_all_time() {
        let before = "verge_dns_answers_total{transport=\"udp\",view=\"outside\",rcode=\"NOERROR\"} 100\n";
        let now = "verge_dns_build_info{version=\"1.2\"} 1\nverge_dns_answers_total{transport=\"udp\",view=\"outside\",rcode=\"NOERROR\"} 150\n\
                   verge_dns_answers_total{transport=\"tcp\",view=\"outside\",rcode=\"NXDOMAIN\"} 10\nverge_dns_answers_total{transport=\"udp\",view=\"inside\",rcode=\"SERVFAIL\"} 0\n\
                   verge_dns_answers_total{transport=\"udp\",view=\"inside\",rcode=\"NOERROR\"} 20\nverge_dns_silent_total{reason=\"too_short\"} 5\n\
                   verge_dns_answer_duration_seconds_bucket{le=\"0.00001\"} 40\nverge_dns_answer_duration_seconds_bucket{le=\"+Inf\"} 40\n";
        let load = load(&Readings::read(before, is_needed), &Readings::read(now, is_needed), 10.0);
        assert_eq!((load.outside, load.inside, &*load.version), (6.0, 2.0, "1.2"));
        let answers: Vec<_> =
            load.answers.iter().map(|it| (&*it.view, &*it.rcode, it.rate, it.total)).collect();
        assert_eq!(
            answers,
            [
                ("inside", "NOERROR", 2.0, 20.0),
                ("outside", "NOERROR", 5.0, 150.0),
                ("outside", "NXDOMAIN", 1.0, 10.0)
            ]
        );
        assert_eq!(load.silent, [Share { name: "too_short".into(), rate: 0.5, total: 5.0 }]);
        assert_eq!(load.latency.p50, Some(0.000_005));
        assert_eq!(totals(&Readings::read(now, is_needed)), (180.0, 20.0));
    }
}
