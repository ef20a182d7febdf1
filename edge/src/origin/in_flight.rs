//! One request at an origin, counted until its response's body has been read or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::metrics::UnderWay;

#[derive(Debug)]
pub(crate) struct InFlight {
    count: Arc<AtomicU32>,
    _shown: UnderWay,
}

impl InFlight {
    /// One more in `count`, and in a metric.
    pub(super) fn new(count: &Arc<AtomicU32>, shown: UnderWay) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { count: Arc::clone(count), _shown: shown }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
