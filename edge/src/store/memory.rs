//! How the configured bytes are shared out, and the part that fills under way may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The parts of the configured memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// For what is stored.
    pub(super) objects_bytes: u64,
    /// For what is being fetched to be stored.
    pub(super) fills_bytes: u64,
}

/// A quarter for fills: moka's capacity is fixed, so the bound over both can only be the sum of two.
pub(super) fn shares(memory_bytes: u64) -> Shares {
    let fills_bytes = memory_bytes / 4;
    Shares { objects_bytes: memory_bytes - fills_bytes, fills_bytes }
}

/// Bytes that several fills share.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    taken_bytes: AtomicU64,
}

/// One fill's part of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { limit_bytes, taken_bytes: AtomicU64::new(0) })
    }

    /// An empty share.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    /// A share of so many bytes that are held already, whether or not they are left.
    pub(super) fn owe(self: &Arc<Self>, bytes: u64) -> Share {
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        Share { budget: Arc::clone(self), bytes }
    }

    /// What all shares may hold together.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What all shares hold together; more than the limit only by what was owed.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes more from the budget; false if that much is not left, and then nothing is taken.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let within = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.budget.limit_bytes);
        let grown =
            self.budget.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// What it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what it holds beyond this.
    pub fn shrink_to(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        self.budget.taken_bytes.fetch_sub(back, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_their_budget_and_return_what_they_took() {
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.grow(6));
        assert!(!b.grow(5));
        assert!(b.grow(4));
        assert!(!b.grow(u64::MAX));
        assert_eq!(budget.taken_bytes(), 10);
        a.shrink_to(7);
        assert_eq!(a.bytes(), 6);
        a.shrink_to(5);
        assert_eq!(budget.taken_bytes(), 9);
        drop(a);
        assert_eq!(budget.taken_bytes(), 4);
        assert!(b.grow(6));
    }

    #[test]
    fn what_is_owed_counts_beyond_the_limit_and_leaves_nothing_for_others() {
        let budget = Budget::new(10);
        let owed = budget.owe(12);
        assert_eq!(budget.taken_bytes(), 12);
        assert!(!budget.share().grow(1));
        drop(owed);
        assert!(budget.share().grow(10));
    }
}
