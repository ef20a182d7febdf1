//! Whether a stored response is on a disk, or on its way to one.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it was offered to a disk and taken.
#[derive(Debug, Default)]
pub struct OnDisk(AtomicBool);

impl OnDisk {
    /// From now on it was.
    pub fn offer(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Asked on every hit.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clone for OnDisk {
    fn clone(&self) -> Self {
        Self(self.is_offered().into())
    }
}
