//! As many at once of something as a limit allows, which a reload may change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All of them.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: AtomicUsize,
    taken: AtomicUsize,
}

/// One of them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Permits>);

impl Permits {
    /// None is taken yet.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), taken: AtomicUsize::new(0) })
    }

    /// From now on there are so many. Those that are taken beyond it stay until they are given back.
    pub(super) fn obey(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// One, unless as many are taken as there are.
    pub(super) fn take(self: &Arc<Self>) -> Option<Permit> {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |taken: usize| (taken < limit).then(|| taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_the_limit_of_now_allows() {
        let permits = Permits::new(2);
        let (first, second) = (permits.take().unwrap(), permits.take().unwrap());
        assert!(permits.take().is_none());
        permits.obey(1);
        drop(first);
        assert!(permits.take().is_none(), "one is taken, and there is one");
        drop(second);
        let _third = permits.take().unwrap();
        permits.obey(3);
        let _others = [permits.take().unwrap(), permits.take().unwrap()];
        assert!(permits.take().is_none());
    }
}
