//! The number of what is in service: it changes with all that decides what is made of a request's head.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A number for all that one edge has in service, which nothing else in the process has, before or after.
#[derive(Debug)]
pub(super) struct Edition {
    /// 0 while it changes.
    number: AtomicU64,
    changing: Mutex<()>,
}

/// The last number that was given out.
static LAST: AtomicU64 = AtomicU64::new(0);

impl Edition {
    pub(super) fn new() -> Self {
        Self { number: AtomicU64::new(next()), changing: Mutex::new(()) }
    }

    /// None while it changes. A caller that finds the same number before and after a look at the things in service has seen no
    /// others.
    pub(super) fn number(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.number.load(Ordering::SeqCst))
    }

    /// Puts something else in service.
    pub(super) fn change<R>(&self, put: impl FnOnce() -> R) -> R {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.number.store(0, Ordering::SeqCst);
        let result = put();
        self.number.store(next(), Ordering::SeqCst);
        result
    }
}

fn next() -> u64 {
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_editions_share_a_number_and_one_that_changes_has_none() {
        let (one, other) = (Edition::new(), Edition::new());
        let mut seen = vec![one.number(), other.number()];
        for edition in [&one, &other, &one] {
            edition.change(|| assert_eq!(edition.number(), None));
            seen.push(edition.number());
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.iter().flatten().count(), 5);
    }
}
