//! How many transfers run at once, on all transports together.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Transfers at once; one more is told to come again.
const MOST_AT_ONCE: usize = 16;

/// The transfers that may be under way.
#[derive(Clone)]
pub(in crate::serve) struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_AT_ONCE)))
    }
}

impl Slots {
    /// A place for one transfer, for as long as it is held; none if all are taken.
    pub(in crate::serve) fn take(&self) -> Option<SemaphorePermit<'_>> {
        self.0.try_acquire().ok()
    }
}
