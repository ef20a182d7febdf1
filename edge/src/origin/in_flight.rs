//! One request at an origin, counted until its response's body has been read or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::queue::Queue;
use crate::metrics::{OriginMetrics, UnderWay};
use crate::policy::headers::status::ProxyError;

/// The requests that an origin is at.
#[derive(Debug)]
pub(super) struct Requests {
    under_way: AtomicU32,
    metrics: OriginMetrics,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    requests: Arc<Requests>,
    /// Responses whose bodies broke off, of those that were asked for in the same way.
    broken: Arc<AtomicU32>,
    _shown: UnderWay,
    /// For those that wait until it is over.
    queue: Queue,
}

impl Requests {
    /// None.
    pub(super) fn new(metrics: OriginMetrics) -> Self {
        Self { under_way: AtomicU32::new(0), metrics }
    }

    /// How many are under way.
    pub(super) fn count(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// One more, if that is less than `most`. `broken` counts its response if that breaks off.
    pub(super) fn begin(
        self: &Arc<Self>,
        most: u32,
        queue: &Queue,
        broken: &Arc<AtomicU32>,
    ) -> Option<InFlight> {
        let more = |count| (count < most).then_some(count + 1);
        self.under_way.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        let (requests, broken) = (Arc::clone(self), Arc::clone(broken));
        Some(InFlight { requests, broken, _shown: self.metrics.asking(), queue: queue.clone() })
    }
}

impl InFlight {
    /// The body of its response broke off, for which the origin is to blame.
    pub(super) fn broke_off(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
        self.requests.metrics.failed(ProxyError::HttpResponseIncomplete);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.requests.under_way.fetch_sub(1, Ordering::AcqRel);
        self.queue.freed();
    }
}
