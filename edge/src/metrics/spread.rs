//! Counters that threads add to without waiting for each other: each has a part of its own, and a scrape adds them up.
//!
//! A number that all threads write is a cache line that goes from core to core, for each request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::{self, Atomic};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A counter of the registry, of such parts.
pub(super) type Counter = counter::Counter<u64, Spread>;

/// Parts of a sum. Threads beyond share them.
const PARTS: usize = 8;

/// A number in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicU64);

/// The parts of one counter.
#[derive(Debug, Default)]
pub(super) struct Spread([Part; PARTS]);

impl Atomic<u64> for Spread {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    fn inc_by(&self, more: u64) -> u64 {
        self.0[mine()].0.fetch_add(more, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

/// A number that threads add to and take from, each from a part of its own.
#[derive(Debug, Default)]
pub(super) struct Level([Part; PARTS]);

impl Level {
    pub(super) fn add(&self, more: u64) {
        self.0[mine()].0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn take(&self, less: u64) {
        self.0[mine()].0.fetch_sub(less, Ordering::Relaxed);
    }

    /// A part alone may be below zero, as what one thread has added another takes; so may the sum, for a moment.
    pub(super) fn get(&self) -> u64 {
        let parts = self.0.iter().map(|part| part.0.load(Ordering::Relaxed));
        u64::try_from(parts.fold(0, u64::wrapping_add).cast_signed()).unwrap_or(0)
    }
}

/// A histogram of durations; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Durations {
    own: Arc<[Observed; PARTS]>,
    /// Another histogram, whose durations are in this one, too.
    also: Arc<OnceLock<Arc<[Observed; PARTS]>>>,
}

/// As many as a part has room for in two cache lines, with the one beyond the last bound.
const MAX_BUCKETS: usize = 13;

/// The durations that the threads of one part have seen.
#[derive(Debug)]
#[repr(align(64))]
struct Observed {
    bounds: &'static [f64],
    counts: [AtomicU64; MAX_BUCKETS],
    sum_nanos: AtomicU64,
}

impl Durations {
    /// Below each of these bounds, in seconds, and beyond the last one.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() < MAX_BUCKETS, "one is left for what is beyond");
        let new = |_| Observed { bounds, counts: Default::default(), sum_nanos: AtomicU64::new(0) };
        Self { own: Arc::new(std::array::from_fn(new)), also: Arc::default() }
    }

    /// From now on a duration that `other` is told of is in this histogram, too: one that is to be in both is told once. Of
    /// bounds that only `other` has, the next one here counts. A histogram takes in one other.
    pub(super) fn take_in(&self, other: &Self) {
        let taken = self.also.get_or_init(|| Arc::clone(&other.own));
        debug_assert!(Arc::ptr_eq(taken, &other.own), "it has one already");
    }

    pub(super) fn observe(&self, duration: Duration) {
        let Observed { bounds, counts, sum_nanos } = &self.own[mine()];
        counts[bucket(bounds, duration.as_secs_f64())].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let bounds = self.own[0].bounds;
        let (mut counts, mut nanos) = ([0_u64; MAX_BUCKETS], 0_u64);
        for part in [Some(&self.own), self.also.get()].into_iter().flatten().flat_map(|parts| &**parts) {
            for (bound, count) in up_to_infinity(part.bounds).zip(&part.counts) {
                counts[bucket(bounds, bound)] += count.load(Ordering::Relaxed);
            }
            nanos += part.sum_nanos.load(Ordering::Relaxed);
        }
        let buckets: Vec<(f64, u64)> = up_to_infinity(bounds).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = Duration::from_nanos(nanos).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// The place of the first bound that is not exceeded; beyond them all, the one behind the last.
fn bucket(bounds: &[f64], seconds: f64) -> usize {
    bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len())
}

fn up_to_infinity(bounds: &[f64]) -> impl Iterator<Item = f64> {
    bounds.iter().copied().chain([f64::INFINITY])
}

/// The part that this thread adds to.
fn mine() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % PARTS;
    }
    // A thread that ends has none any more.
    MINE.try_with(|mine| *mine).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_one_thread_adds_another_takes() {
        let level = Level::default();
        std::thread::scope(|scope| {
            for thread in 0..3 * PARTS as u64 {
                let level = &level;
                scope.spawn(move || if thread % 2 == 0 { level.add(10) } else { level.take(7) });
            }
        });
        assert_eq!(level.get(), 12 * 3);
        level.take(37);
        assert_eq!(level.get(), 0, "not below");
    }

    #[test]
    fn what_all_threads_added_is_the_sum() {
        let (counter, durations) = (Counter::default(), Durations::new(&[0.001, 0.01]));
        std::thread::scope(|scope| {
            for thread in 0..3 * PARTS as u64 {
                let (counter, durations) = (&counter, &durations);
                scope.spawn(move || {
                    counter.inc_by(thread);
                    durations.observe(Duration::from_millis(thread));
                });
            }
        });
        assert_eq!(counter.get(), (0..24).sum::<u64>());
        let lines = [
            "d_sum 0.276\n",
            "d_count 24\n",
            "{le=\"0.001\"} 2\n",
            "{le=\"0.01\"} 11\n",
            "{le=\"+Inf\"} 24\n",
        ];
        assert_shown(&durations, &lines);
    }

    #[track_caller]
    fn assert_shown(durations: &Durations, lines: &[&str]) {
        let mut registry = Registry::default();
        registry.register("d", "Durations", durations.clone());
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        for line in lines {
            assert!(out.contains(line), "{line}: {out}");
        }
    }

    #[test]
    fn what_one_histogram_is_told_is_in_those_that_take_it_in() {
        const FINE: &[f64] = &[0.001, 0.01];
        const COARSE: &[f64] = &[0.002, 0.1, 1.0];
        let [small, fine, coarse] = [FINE, FINE, COARSE].map(Durations::new);
        fine.take_in(&small);
        coarse.take_in(&small);
        // As when a site is asked for again.
        coarse.take_in(&small);
        for millis in [1, 2, 50] {
            small.observe(Duration::from_millis(millis));
        }
        fine.observe(Duration::from_millis(5));
        coarse.observe(Duration::from_secs(1));
        let check = assert_shown;
        check(&small, &["d_count 3\n", "{le=\"0.001\"} 1\n", "{le=\"0.01\"} 2\n", "d_sum 0.053\n"]);
        check(&fine, &["d_count 4\n", "{le=\"0.001\"} 1\n", "{le=\"0.01\"} 3\n", "d_sum 0.058\n"]);
        // A duration beyond all bounds of the one counts as beyond all bounds of the other.
        let lines = ["{le=\"0.002\"} 1\n", "{le=\"0.1\"} 2\n", "{le=\"1.0\"} 3\n", "{le=\"+Inf\"} 4\n"];
        check(&coarse, &lines);
    }
}
