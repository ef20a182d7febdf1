//! The readings of the last minutes, as few as are needed.
//!
//! Invariant: plain values; the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::load::{Load, Point, load, totals};
use super::readings::Readings;

/// Rates are about this long at least, as soon as there are readings that old.
const WINDOW: Duration = Duration::from_secs(10);
/// Points are kept for this long …
const REMEMBERED: Duration = Duration::from_secs(600);
/// … and are never more than this many.
const MOST_POINTS: usize = 400;

/// The readings that rates are taken from, and the points of a curve.
#[derive(Debug)]
pub(super) struct History {
    /// Rates are since then.
    before: (Instant, Readings),
    /// It takes the place of `before` when it is old enough.
    between: (Instant, Readings),
    now: (Instant, Readings),
    points: VecDeque<(Instant, f64, f64)>,
}

impl History {
    /// A process that starts: nothing was counted yet.
    pub(super) fn new(at: Instant) -> Self {
        let nothing = (at, Readings::default());
        Self { before: nothing.clone(), between: nothing.clone(), now: nothing, points: VecDeque::new() }
    }

    /// Takes a reading in.
    pub(super) fn add(&mut self, at: Instant, readings: Readings) {
        let secs = at.saturating_duration_since(self.now.0).as_secs_f64();
        if secs > 0.0 {
            let ((all_before, inside_before), (all, inside)) = (totals(&self.now.1), totals(&readings));
            self.points.push_back((
                at,
                (all - all_before).max(0.0) / secs,
                (inside - inside_before).max(0.0) / secs,
            ));
        }
        let is_old = |(then, ..): &(Instant, f64, f64)| at.saturating_duration_since(*then) > REMEMBERED;
        while self.points.len() > MOST_POINTS || self.points.front().is_some_and(is_old) {
            self.points.pop_front();
        }
        self.now = (at, readings);
        if at.saturating_duration_since(self.between.0) >= WINDOW {
            self.before = std::mem::replace(&mut self.between, self.now.clone());
        }
    }

    /// The load at the last reading.
    pub(super) fn load(&self) -> Load {
        let secs = self.now.0.saturating_duration_since(self.before.0).as_secs_f64();
        let point = |(at, all, inside): &(Instant, f64, f64)| Point {
            ago_secs: self.now.0.saturating_duration_since(*at).as_secs_f64(),
            all: *all,
            inside: *inside,
        };
        Load { points: self.points.iter().map(point).collect(), ..load(&self.before.1, &self.now.1, secs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(count: u64) -> Readings {
        Readings::read(&format!("verge_dns_answers_total{{view=\"inside\"}} {count}\n"), |_| true)
    }

    #[test]
    fn rates_are_of_ten_to_twenty_seconds_and_the_curve_of_ten_minutes() {
        let start = crate::clock::now();
        let mut history = History::new(start);
        for tick in 1..=1_000 {
            // 5 a second, and from second 1000 on 50 a second.
            let secs: u64 = tick * 2;
            let count = 5 * secs + 45 * secs.saturating_sub(1_000);
            history.add(start + Duration::from_secs(secs), readings(count));
            let load = history.load();
            assert!(secs < 12 || (10.0..=22.0).contains(&load.window_secs), "{secs}: {}", load.window_secs);
            assert!(
                !(22..=1_000).contains(&secs) || (load.inside - 5.0).abs() < 1e-9,
                "{secs}: {}",
                load.inside
            );
        }
        let load = history.load();
        assert!((load.inside - 50.0).abs() < 1e-9);
        assert_eq!(load.points.len(), 301);
        assert_eq!((load.points[0].ago_secs, load.points[300].ago_secs), (600.0, 0.0));
        assert!((load.points[0].all - 50.0).abs() < 1e-9);
    }

    #[test]
    fn readings_in_a_rush_take_bounded_memory() {
        let start = crate::clock::now();
        let mut history = History::new(start);
        for tick in 0..5_000 {
            history.add(start + Duration::from_millis(tick), readings(tick));
        }
        assert!(history.load().points.len() <= MOST_POINTS);
    }
}
