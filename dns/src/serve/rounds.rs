//! Whether the threads that answer by UDP go on: each counts its rounds, and a count that stands still tells of one that hangs.
//!
//! Invariant: a round costs its thread one relaxed store.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Some times as long as a thread without packets sleeps.
const LEAST_LIMIT: Duration = Duration::from_secs(2);

/// The rounds of a thread, which has this to itself.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    count: u64,
    shown: Arc<Shown>,
}

/// A count for others to read. No other thread writes to its cache lines (two, since processors fetch them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shown(AtomicU64);

impl Rounds {
    /// Another one begins.
    pub(super) fn begin(&mut self) {
        self.count = self.count.wrapping_add(1);
        self.shown.0.store(self.count, Ordering::Relaxed);
    }
}

/// The threads whose rounds are watched. A clone watches them anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched(Vec<Loop>);

#[derive(Debug, Clone)]
struct Loop {
    address: SocketAddr,
    /// Gone when the thread has ended.
    shown: Weak<Shown>,
    /// The last count, and when it was seen first.
    seen: Option<(u64, Instant)>,
    is_told: bool,
}

impl Watched {
    /// And a thread that answers at this address.
    pub(super) fn add(&mut self, address: SocketAddr, rounds: &Rounds) {
        let shown = Arc::downgrade(&rounds.shown);
        self.0.push(Loop { address, shown, seen: None, is_told: false });
    }

    /// Calls `alive` now and after each `pause`, but not while a thread has made no round for as long, or for two seconds if
    /// that is longer.
    pub(crate) async fn tell(mut self, pause: Duration, now: impl Fn() -> Instant, alive: impl Fn()) {
        loop {
            if self.go_on(now(), pause.max(LEAST_LIMIT)) {
                alive();
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether no thread has the count that it had this long ago.
    fn go_on(&mut self, now: Instant, limit: Duration) -> bool {
        // All are asked, so that each that hangs is told of.
        let stuck = self.0.iter_mut().map(|one| one.is_stuck(now, limit)).filter(|is_stuck| *is_stuck);
        stuck.count() == 0
    }
}

impl Loop {
    fn is_stuck(&mut self, now: Instant, limit: Duration) -> bool {
        // One that was told to end makes no rounds any more.
        let Some(count) = self.shown.upgrade().map(|shown| shown.0.load(Ordering::Relaxed)) else {
            return false;
        };
        let since = self.seen.filter(|(seen, _)| *seen == count).map_or(now, |(_, since)| since);
        self.seen = Some((count, since));
        let is_stuck = now.saturating_duration_since(since) >= limit;
        if is_stuck && !self.is_told {
            tracing::error!(
                address = %self.address,
                "a UDP loop hangs, so that systemd is no longer told that this process answers; please report this"
            );
        }
        self.is_told = is_stuck;
        is_stuck
    }
}

#[cfg(test)]
impl Watched {
    /// The counts of those that have not ended.
    pub(super) fn counts(&self) -> Vec<u64> {
        let shown = self.0.iter().filter_map(|one| one.shown.upgrade());
        shown.map(|shown| shown.0.load(Ordering::Relaxed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::clock;

    const PAUSE: Duration = Duration::from_secs(30);

    fn watched<'a>(all: impl IntoIterator<Item = &'a Rounds>) -> Watched {
        let mut watched = Watched::default();
        all.into_iter().for_each(|rounds| watched.add("127.0.0.1:53".parse().unwrap(), rounds));
        watched
    }

    #[test]
    fn one_thread_without_a_round_is_enough_and_one_that_has_ended_hangs_no_more() {
        let (mut first, second, begun) = (Rounds::default(), Rounds::default(), clock::now());
        let mut watched = watched([&first, &second]);
        let mut check = |secs, expected: bool| {
            assert_eq!(watched.go_on(begun + Duration::from_secs(secs), PAUSE), expected, "{secs}");
        };
        check(0, true);
        first.begin();
        check(29, true);
        first.begin();
        check(30, false);
        drop(second);
        check(58, true);
        check(60, false);
        first.begin();
        check(90, true);
        check(119, true);
        check(120, false);
    }

    fn count(told: &Arc<AtomicUsize>) -> impl Fn() + Send + use<> {
        let told = Arc::clone(told);
        move || {
            told.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_told_while_a_thread_hangs() {
        #[expect(clippy::disallowed_methods, reason = "the paused clock of the runtime")]
        let now = || tokio::time::Instant::now().into_std();
        let (mut rounds, told) = (Rounds::default(), Arc::new(AtomicUsize::default()));
        tokio::spawn(watched([&rounds]).tell(PAUSE, now, count(&told)));
        let after = async |time: Duration, expected: usize| {
            tokio::time::sleep(time).await;
            assert_eq!(told.swap(0, Ordering::Relaxed), expected);
        };
        after(PAUSE / 2, 1).await;
        rounds.begin();
        after(PAUSE, 1).await;
        after(9 * PAUSE, 0).await;
        rounds.begin();
        after(PAUSE, 1).await;
        drop(rounds);
        after(9 * PAUSE, 9).await;
    }

    /// Threads without packets sleep longer than such a pause.
    #[tokio::test(start_paused = true)]
    async fn a_thread_that_sleeps_for_want_of_packets_does_not_hang() {
        #[expect(clippy::disallowed_methods, reason = "the paused clock of the runtime")]
        let now = || tokio::time::Instant::now().into_std();
        let (rounds, told) = (Rounds::default(), Arc::new(AtomicUsize::default()));
        tokio::spawn(watched([&rounds]).tell(Duration::from_millis(100), now, count(&told)));
        tokio::time::sleep(Duration::from_millis(550)).await;
        assert_eq!(told.load(Ordering::Relaxed), 6);
    }
}
