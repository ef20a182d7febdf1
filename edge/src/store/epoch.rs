//! The purge epoch that a stored response is from, and up to which purge it has been compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The epoch that a stored response is from: how many purges had happened when it was asked for.
#[derive(Debug)]
pub struct Epoch {
    /// As long as it lives, marks from after it are kept.
    birth: Arc<u64>,
    /// No purge up to this one covers it.
    clear_until: AtomicU64,
    /// The number of its fetch; 0 if a disk had it.
    fetch: u64,
}

impl Epoch {
    /// The epoch that `birth` stands for, compared with the purges up to `clear_until`, of the fetch with this number.
    pub(super) fn new(birth: Arc<u64>, clear_until: u64, fetch: u64) -> Self {
        Self { birth, clear_until: AtomicU64::new(clear_until), fetch }
    }

    /// The birth that keeps the marks from after it.
    pub(super) fn birth(&self) -> &Arc<u64> {
        &self.birth
    }

    /// Its number, for people.
    #[must_use]
    pub fn number(&self) -> u64 {
        *self.birth
    }

    /// The number of its fetch, in the order in which they began.
    pub(super) fn fetch(&self) -> u64 {
        self.fetch
    }

    /// No purge up to this one covers it.
    pub(super) fn clear_until(&self) -> u64 {
        self.clear_until.load(Ordering::Relaxed)
    }

    /// From now on no purge up to `until` is compared with it.
    pub(super) fn clear(&self, until: u64) {
        self.clear_until.fetch_max(until, Ordering::Relaxed);
    }
}

impl Clone for Epoch {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.birth), self.clear_until(), self.fetch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_the_purges_before_it_and_what_it_was_compared_with() {
        let epoch = Epoch::new(Arc::new(7), 9, 3);
        epoch.clear(8);
        assert_eq!((epoch.number(), epoch.clear_until()), (7, 9));
        epoch.clear(12);
        let other = epoch.clone();
        assert_eq!((other.number(), other.clear_until(), other.fetch()), (7, 12, 3));
    }
}
