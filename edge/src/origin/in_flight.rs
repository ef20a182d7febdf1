//! One request at an origin, counted until its response's body has been read or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::queue::Queue;
use crate::metrics::UnderWay;

#[derive(Debug)]
pub(crate) struct InFlight {
    count: Arc<AtomicU32>,
    _shown: UnderWay,
    /// For those that wait until it is over.
    queue: Queue,
}

impl InFlight {
    /// One more in `count`, if that is less than `most`, and in a metric.
    pub(super) fn new(
        count: &Arc<AtomicU32>,
        most: u32,
        shown: impl FnOnce() -> UnderWay,
        queue: &Queue,
    ) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Self { count: Arc::clone(count), _shown: shown(), queue: queue.clone() })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
        self.queue.freed();
    }
}
