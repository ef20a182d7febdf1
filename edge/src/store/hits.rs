//! How often a stored response was the answer.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count of answers.
#[derive(Debug, Default)]
pub struct Hits(AtomicU64);

impl Hits {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Goes on from what another form of the same response has counted.
    pub fn go_on_from(&self, other: &Self) {
        self.0.fetch_add(other.count(), Ordering::Relaxed);
    }
}

impl Clone for Hits {
    fn clone(&self) -> Self {
        Self(self.count().into())
    }
}
