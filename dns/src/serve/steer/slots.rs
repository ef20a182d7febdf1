//! How many checks run at once: each holds a descriptor.
//!
//! A target that hangs holds its slot until the timeout. In a great outage such targets would take all slots and keep those waiting
//! that answer, until nobody knows any more who is up. So checks that take long give their slot up for one of others, and a
//! target that hung the last time waits for one of those from the beginning.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::clock;
use crate::serve::sys::descriptor_limit;
use crate::steer::health::Seen;

/// Slots of each lane, whatever the limit of descriptors is.
const FEWEST: usize = 128;
/// A check by TLS has some tens of kilobytes of state.
const MOST: usize = 1024;
/// Of all descriptors, each lane takes one in as many.
const PART: u64 = 8;
/// A check that is not done by then gives up its slot, if there is another one for it.
const LONG: Duration = Duration::from_millis(200);
/// Between two warnings.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The slots that a check takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Of targets that answer, or fail at once.
    Swift,
    /// Of targets that hung the last time, and of checks that take long.
    Slow,
}

/// The slots of all checks, and how many checks began late.
pub(in crate::serve) struct Slots {
    swift: Semaphore,
    slow: Semaphore,
    /// How many each lane has.
    each: usize,
    late: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Slots {
    /// As many as the limit of descriptors leaves.
    pub(in crate::serve) fn of_process() -> Self {
        let part = descriptor_limit().map_or(0, |limit| limit / PART);
        Self::new(usize::try_from(part).unwrap_or(MOST).clamp(FEWEST, MOST))
    }

    fn new(each: usize) -> Self {
        let lane = || Semaphore::new(each);
        Self { swift: lane(), slow: lane(), each, late: AtomicU64::default(), told: Mutex::default() }
    }

    /// Checks that began more than an interval late.
    pub(in crate::serve) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Runs a check once it has a slot: its result, and the lane of the next check of its target. Without a slot a check would
    /// have begun `interval` later at most.
    pub(super) async fn run<C: Future<Output = Seen>>(
        &self,
        lane: Lane,
        interval: Duration,
        check: impl FnOnce() -> C,
    ) -> (Seen, Lane) {
        let due = clock::now();
        let semaphore = if lane == Lane::Swift { &self.swift } else { &self.slow };
        // Nobody closes them.
        let slot = semaphore.acquire().await.ok();
        self.note(clock::now().saturating_duration_since(due), interval);
        // A check has some kilobytes of state; a target that waits for its next one has none of it.
        let mut check = Box::pin(check());
        match timeout(LONG, &mut check).await {
            Ok(seen) => (seen, Lane::Swift),
            Err(_) => {
                let _slot = self.make_way(slot);
                let seen = check.await;
                // A target that is far away answers late, and is no reason for others to wait.
                let next = if seen.good { Lane::Swift } else { Lane::Slow };
                (seen, next)
            }
        }
    }

    /// Leaves a slot to others if the slow ones have another, for which nobody waits.
    fn make_way<'s>(&'s self, slot: Option<SemaphorePermit<'s>>) -> Option<SemaphorePermit<'s>> {
        self.slow.try_acquire().ok().or(slot)
    }

    fn note(&self, waited: Duration, interval: Duration) {
        if waited <= interval {
            return;
        }
        let late = self.late.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if told.is_some_and(|at| now.saturating_duration_since(at) < TELL_EVERY) {
            return;
        }
        *told = Some(now);
        tracing::warn!(
            waited = waited.as_secs_f64(),
            late,
            slots = 2 * self.each,
            "checks of members begin late, since many do not answer: one has waited for {waited:.1?}; raise the limit of open files, \
             or make `timeout` shorter or `interval` longer"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;
    use crate::steer::health::Load;

    const HOUR: Duration = Duration::from_secs(3600);

    async fn check(takes: Duration, good: bool) -> Seen {
        sleep(takes).await;
        Seen { good, why: String::new(), load: Load::Untold, rtt: None }
    }

    /// Whether a target that answers at once is checked while as many checks hang as there are slots in all.
    async fn is_checked_while(lane: Lane, hang: usize) -> bool {
        let slots = Arc::new(Slots::new(2));
        for _ in 0..hang {
            let slots = Arc::clone(&slots);
            tokio::spawn(async move { slots.run(lane, HOUR, || check(HOUR, false)).await });
        }
        tokio::task::yield_now().await;
        let soon = slots.run(Lane::Swift, HOUR, || check(Duration::ZERO, true));
        timeout(Duration::from_secs(1), soon).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn targets_that_hang_keep_none_waiting_that_answers() {
        for (lane, hang, expected) in [
            (Lane::Swift, 1, true),
            // They give their slots up for those of others.
            (Lane::Swift, 2, true),
            (Lane::Swift, 3, true),
            (Lane::Swift, 4, false),
            (Lane::Slow, 4, true),
            (Lane::Slow, 100, true),
        ] {
            assert_eq!(is_checked_while(lane, hang).await, expected, "{hang} that hang, {lane:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_target_that_hung_waits_among_those_that_hang() {
        let slots = Slots::new(1);
        for (lane, takes, good, next) in [
            (Lane::Swift, Duration::ZERO, true, Lane::Swift),
            (Lane::Swift, Duration::ZERO, false, Lane::Swift),
            (Lane::Swift, LONG * 2, true, Lane::Swift),
            (Lane::Swift, LONG * 2, false, Lane::Slow),
            (Lane::Slow, LONG * 2, false, Lane::Slow),
            (Lane::Slow, Duration::ZERO, false, Lane::Swift),
        ] {
            assert_eq!(
                slots.run(lane, HOUR, || check(takes, good)).await.1,
                next,
                "{lane:?} {takes:?} {good}"
            );
        }
        assert_eq!((slots.swift.available_permits(), slots.slow.available_permits()), (1, 1));
    }

    #[test]
    fn a_check_that_waits_for_longer_than_its_interval_is_late() {
        let slots = Slots::new(1);
        slots.note(Duration::from_secs(2), Duration::from_secs(2));
        assert_eq!(slots.late(), 0);
        slots.note(Duration::from_secs(3), Duration::from_secs(2));
        slots.note(Duration::from_secs(3), Duration::from_secs(2));
        assert_eq!(slots.late(), 2);
    }
}
