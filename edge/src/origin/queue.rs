//! Requests that wait until an origin may get one more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// The queue of one site; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    count: AtomicU32,
    freed: Notify,
}

/// A place in it, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Queue);

/// An origin may have room because another site's request to it has ended, which nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Queue {
    /// A place, if there are fewer than `most`.
    pub(super) fn enter(&self, most: u32) -> Option<Place> {
        let more = |count| (count < most).then_some(count + 1);
        self.0.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Place(self.clone()))
    }

    /// A request has ended.
    pub(super) fn freed(&self) {
        self.0.freed.notify_one();
    }
}

impl Place {
    /// Waits until it is worth to look again.
    pub(super) async fn wait(&self) {
        let _ = timeout(LOOK_AGAIN, self.0.0.freed.notified()).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.count.fetch_sub(1, Ordering::AcqRel);
        // It may have been woken just now: the next one takes its turn.
        self.0.freed();
    }
}
