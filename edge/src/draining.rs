//! Whether this edge takes requests, or is about to stop and says so to those who check its health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The same for all who hold a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
