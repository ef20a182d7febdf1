//! Whether this edge takes requests, or is about to stop and says so to those who check its health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The same for all who hold a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draining(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    has_begun: AtomicBool,
    has_left: AtomicBool,
}

impl Draining {
    /// From now on.
    pub(crate) fn begin(&self) {
        self.0.has_begun.store(true, Ordering::Release);
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Acquire)
    }

    /// Another process takes the requests from now on: each connection here ends with its next answer.
    pub(crate) fn leave(&self) {
        self.0.has_left.store(true, Ordering::Release);
    }

    /// Whether another process takes the requests.
    pub(crate) fn has_left(&self) -> bool {
        self.0.has_left.load(Ordering::Acquire)
    }
}
