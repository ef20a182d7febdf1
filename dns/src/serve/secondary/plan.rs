//! The orders of a zone's task, and the things that all tasks share.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::catalog::{HeldCopy, Unsettled};
use crate::config;
use crate::metrics::Metrics;
use crate::serve::pen::Pen;
use crate::serve::signal::Signal;
use crate::world::World;
use crate::zone::privacy::Rules;

/// Zones that come at once.
const MOST_AT_ONCE: usize = 8;
/// Primaries that are asked at once.
const MOST_ASKED: usize = 64;

/// The zones that are to be taken now.
pub(in crate::serve) struct Plans {
    /// By which their versions are checked.
    pub(in crate::serve) rules: Arc<Rules>,
    pub(in crate::serve) zones: Vec<Plan>,
}

/// A zone, and where its copy is.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Plan {
    pub(in crate::serve) zone: config::Secondary,
    pub(in crate::serve) copy: HeldCopy,
    /// The serial under which this server had it, if it has a file here.
    pub(in crate::serve) own: Option<u32>,
    /// Addresses that primaries may know this server by.
    pub(in crate::serve) sources: Vec<IpAddr>,
}

impl Plan {
    /// Whether a task with this plan goes on under the other. Its own serial counts only until the first world is in service.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.zone == other.zone && self.copy == other.copy && self.sources == other.sources
    }
}

/// The things that all tasks share.
#[derive(Clone)]
pub(in crate::serve) struct Context {
    pub(in crate::serve) world: Arc<ArcSwap<World>>,
    pub(in crate::serve) metrics: Arc<Metrics>,
    /// To the loader, which serves what is on the disk.
    pub(in crate::serve) loader: Sender<Signal>,
    pub(in crate::serve) slots: Arc<Semaphore>,
    pub(in crate::serve) asks: Arc<Semaphore>,
    /// The rules of the last plans. They name all zones that are taken, so one zone more changes them for all.
    pub(in crate::serve) rules: Arc<ArcSwap<Rules>>,
    /// Zones that wait until it is known whether another server is their primary.
    pub(in crate::serve) unsettled: Unsettled,
    /// Held while a copy is changed.
    pub(in crate::serve) pen: Pen,
}

impl Context {
    pub(in crate::serve) fn new(
        world: Arc<ArcSwap<World>>,
        metrics: Arc<Metrics>,
        loader: Sender<Signal>,
        unsettled: Unsettled,
    ) -> Self {
        let (slots, asks) = (Semaphore::new(MOST_AT_ONCE), Semaphore::new(MOST_ASKED));
        let (slots, asks, rules, pen) = (Arc::new(slots), Arc::new(asks), Arc::default(), Pen::default());
        Self { world, metrics, loader, slots, asks, rules, unsettled, pen }
    }
}

/// A zone whose notices are not proved is not looked at more often: they can be forged, and a look costs both servers
/// something.
const UNPROVED_PAUSE: Duration = Duration::from_secs(5);

/// How a zone's task is told of a notice.
#[derive(Default)]
pub(super) struct Bell {
    proved: Notify,
    unproved: Notify,
    /// The primary that knows of a new version.
    by: Mutex<Option<IpAddr>>,
}

impl Bell {
    pub(super) fn ring(&self, by: IpAddr, is_proved: bool) {
        *self.by.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
        if is_proved { self.proved.notify_one() } else { self.unproved.notify_one() }
    }

    /// Until the zone is to be looked at, since a notice came. The last look ended at `looked`.
    pub(super) async fn rung(&self, looked: Option<Instant>) {
        let unproved = async {
            self.unproved.notified().await;
            if let Some(looked) = looked {
                sleep_until(looked + UNPROVED_PAUSE).await;
            }
        };
        tokio::select! {
            () = self.proved.notified() => {}
            () = unproved => {}
        }
    }

    /// The primary that rang last, once.
    pub(super) fn by(&self) -> Option<IpAddr> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For how many of `count` notices, which come every 100 ms, the zone is looked at.
    #[expect(clippy::disallowed_methods, reason = "the paused clock")]
    async fn looks(is_proved: bool, count: u32) -> u32 {
        let bell = Bell::default();
        let (mut looks, mut looked) = (0, None);
        let ring = async {
            for _ in 0..count {
                bell.ring(IpAddr::from([192, 0, 2, 1]), is_proved);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let look = async {
            loop {
                bell.rung(looked).await;
                (looks, looked) = (looks + 1, Some(Instant::now()));
            }
        };
        tokio::select! {
            () = ring => {}
            () = look => {}
        }
        looks
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_that_can_be_forged_is_obeyed_at_once_and_then_every_five_seconds() {
        assert_eq!(looks(true, 199).await, 199);
        assert_eq!(looks(false, 1).await, 1);
        assert_eq!(looks(false, 199).await, 4, "at 0, 5, 10 and 15 s");
    }
}
