//! `verge-edge simulate TRACE`: how many of a trace's requests a memory of some size would answer.

mod belady;
mod curve;
mod trace;

use std::path::PathBuf;

use verge_edge::config;
use verge_edge::store::{Eviction, Replay};

use super::Failed;
use belady::belady;
use trace::Trace;

#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// A file of lines `time,key,size`, size in bytes; plain, or packed by xz, gzip or zstd
    trace: PathBuf,
    /// Memory for bodies: such as 64MiB, or 10% of all different objects together
    #[arg(long, value_name = "SIZE", default_values = ["1%", "10%"])]
    size: Vec<String>,
    /// As in the config's [cache]; given more than once they are compared
    #[arg(long, value_name = "NAME", default_values = ["s3-fifo", "lru", "lfu"])]
    eviction: Vec<String>,
    /// Draw the share of misses at sizes from a thousandth to a half of all objects, as SVG
    #[arg(long, value_name = "FILE.svg")]
    curve: Option<PathBuf>,
}

/// Hits of a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Hits {
    requests: u64,
    bytes: u64,
}

impl Simulate {
    pub(super) fn run(&self) -> Result<(), Failed> {
        let trace = Trace::read(&self.trace).map_err(Failed::because)?;
        let evictions = self.eviction.iter().map(|name| eviction(name)).collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<u64> =
            self.size.iter().map(|text| size(text, trace.footprint())).collect::<Result<_, _>>()?;
        super::say(format!(
            "{}: {} requests for {} objects of {} together",
            self.trace.display(),
            trace.requests.len(),
            trace.objects(),
            human(trace.footprint())
        ));
        super::say(format!(
            "{:>10} {:>6}  {:8} {:>9} {:>9}   {}",
            "memory", "", "eviction", "requests", "bytes", "of the gap from LRU to Belady"
        ));
        for size in sizes {
            self.compare(&trace, size, &evictions);
        }
        match &self.curve {
            None => Ok(()),
            Some(path) => std::fs::write(path, curve::draw(&trace))
                .map_err(|error| Failed::because(format!("{}: {error}", path.display()))),
        }
    }

    fn compare(&self, trace: &Trace, size: u64, evictions: &[(&'static str, Eviction)]) {
        let (lru, best) = (replay(trace, Eviction::Lru, size), belady(trace, size));
        let part = format!("{:.3}", size as f64 * 100.0 / trace.footprint().max(1) as f64);
        let part = part.trim_end_matches('0').trim_end_matches('.');
        let line = |name: &str, hits: Hits| {
            let gap = |own: u64, lru: u64, best: u64| match best.saturating_sub(lru) {
                0 => String::new(),
                gap => format!("{:.0} %", (own as f64 - lru as f64) * 100.0 / gap as f64),
            };
            super::say(format!(
                "{:>10} {:>5}%  {name:8} {:>7.2} % {:>7.2} %   {:>5} by requests, {:>5} by bytes",
                human(size),
                part,
                hits.requests as f64 * 100.0 / trace.requests.len().max(1) as f64,
                hits.bytes as f64 * 100.0 / trace.bytes().max(1) as f64,
                gap(hits.requests, lru.requests, best.requests),
                gap(hits.bytes, lru.bytes, best.bytes),
            ));
        };
        for (name, eviction) in evictions {
            let is_lru = *eviction == Eviction::Lru;
            line(name, if is_lru { lru } else { replay(trace, *eviction, size) });
        }
        line("belady", best);
    }
}

/// The trace through the store's own table.
fn replay(trace: &Trace, eviction: Eviction, size: u64) -> Hits {
    let mut replay = Replay::new(eviction, size);
    let mut hits = Hits::default();
    for &(object, bytes) in &trace.requests {
        if replay.ask(object.into(), bytes) {
            hits.requests += 1;
            hits.bytes += u64::from(bytes);
        }
    }
    hits
}

fn eviction(name: &str) -> Result<(&'static str, Eviction), Failed> {
    let all = [("s3-fifo", Eviction::S3Fifo), ("lru", Eviction::Lru), ("lfu", Eviction::Lfu)];
    let found = all.into_iter().find(|(known, _)| *known == name);
    found.ok_or_else(|| Failed::because(format!("no eviction is called {name}: s3-fifo, lru or lfu")))
}

/// Reads `64MiB`, or `2.5%` of the footprint.
fn size(text: &str, footprint: u64) -> Result<u64, Failed> {
    let bytes = match text.strip_suffix('%') {
        None => config::bytes(text).filter(|bytes| *bytes > 0),
        Some(part) => {
            let part = part.parse().ok().filter(|part: &f64| *part > 0.0 && *part <= 100.0);
            // Of a trace that is tiny: a memory for nothing, but one.
            part.map(|part| ((footprint as f64 * part / 100.0) as u64).max(1))
        }
    };
    bytes.ok_or_else(|| Failed::because(format!("write the size as 64MiB or 10%, not {text}")))
}

fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < units.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{amount:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_a_part_of_all_objects() {
        for (text, expected) in [
            ("64MiB", Some(64 << 20)),
            ("10%", Some(100)),
            ("2.5%", Some(25)),
            ("0.01%", Some(1)),
            ("0%", None),
            ("101%", None),
            ("%", None),
            ("64", None),
            ("0B", None),
        ] {
            assert_eq!(size(text, 1_000).ok(), expected, "{text}");
        }
    }

    #[test]
    fn amounts_are_told_in_the_largest_unit_that_fits() {
        assert_eq!(
            [0, 1_023, 1_024, 3 << 19, 5 << 40].map(human),
            ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "5.0 TiB"]
        );
    }

    /// Each eviction of the store, and the best there is, on a load with a hot set and scans.
    #[test]
    fn no_eviction_hits_more_than_belady_and_the_default_more_than_lru() {
        let mut text = String::new();
        for n in 0..30_000_u64 {
            let key = if n % 3 == 0 { n + 1_000_000 } else { n * n % 977 };
            text += &format!("{n},/{key},{}\n", 100 + key % 57);
        }
        let trace = Trace::from_lines(text.as_bytes(), "test").unwrap();
        let size = trace.footprint() / 25;
        let best = belady(&trace, size);
        let [own, lru, lfu] =
            [Eviction::S3Fifo, Eviction::Lru, Eviction::Lfu].map(|eviction| replay(&trace, eviction, size));
        for hits in [own, lru, lfu] {
            assert!(hits.requests <= best.requests, "{hits:?} of {best:?}");
        }
        assert!(own.requests > lru.requests && own.bytes > lru.bytes, "{own:?} beside LRU's {lru:?}");
    }
}
