//! The readings of the last minutes, as few as are needed.
//!
//! Invariant: plain values; the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::board::{Board, Point, board, totals};
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
            let ((all_before, hits_before), (all, hits)) = (totals(&self.now.1), totals(&readings));
            self.points.push_back((
                at,
                (all - all_before).max(0.0) / secs,
                (hits - hits_before).max(0.0) / secs,
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

    /// The board of the last reading.
    pub(super) fn board(&self) -> Board {
        let secs = self.now.0.saturating_duration_since(self.before.0).as_secs_f64();
        let point = |(at, requests, hits): &(Instant, f64, f64)| Point {
            ago_secs: self.now.0.saturating_duration_since(*at).as_secs_f64(),
            requests: *requests,
            hits: *hits,
        };
        Board { points: self.points.iter().map(point).collect(), ..board(&self.before.1, &self.now.1, secs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(hits: u64) -> Readings {
        Readings::read(&format!("verge_edge_requests_total{{site=\"a\",cache=\"hit\"}} {hits}\n"), |_| true)
    }

    #[test]
    fn rates_are_of_ten_to_twenty_seconds_and_the_curve_of_ten_minutes() {
        let start = crate::clock::monotonic().into_std();
        let mut history = History::new(start);
        for tick in 1..=1_000 {
            // 5 a second, and from second 1000 on 50 a second.
            let secs: u64 = tick * 2;
            let hits = 5 * secs + 45 * secs.saturating_sub(1_000);
            history.add(start + Duration::from_secs(secs), readings(hits));
            let board = history.board();
            assert!(secs < 12 || (10.0..=22.0).contains(&board.window_secs), "{secs}: {}", board.window_secs);
            assert!(
                !(22..=1_000).contains(&secs) || (board.requests - 5.0).abs() < 1e-9,
                "{secs}: {}",
                board.requests
            );
        }
        let board = history.board();
        assert!((board.requests - 50.0).abs() < 1e-9);
        assert_eq!(board.points.len(), 301);
        assert_eq!((board.points[0].ago_secs, board.points[300].ago_secs), (600.0, 0.0));
        assert!((board.points[0].requests - 50.0).abs() < 1e-9);
    }

    #[test]
    fn readings_in_a_rush_take_bounded_memory() {
        let start = crate::clock::monotonic().into_std();
        let mut history = History::new(start);
        for tick in 0..5_000 {
            history.add(start + Duration::from_millis(tick), readings(tick));
        }
        assert!(history.board().points.len() <= MOST_POINTS);
    }
}
