//! How many transfers run at once, on all transports together.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::view::Which;

/// Transfers of one view at once; one more is told to come again.
const MOST_AT_ONCE: usize = 16;

/// The transfers that may be under way. Each view has its own: how busy the inside is shows nowhere outside, and the outside
/// cannot keep the inside waiting.
#[derive(Clone)]
pub(in crate::serve) struct Slots(Arc<[Semaphore; 2]>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new([MOST_AT_ONCE; 2].map(Semaphore::new)))
    }
}

impl Slots {
    /// A place for one transfer of this view, for as long as it is held; none if all are taken.
    pub(in crate::serve) fn take(&self, view: Which) -> Option<SemaphorePermit<'_>> {
        self.0[usize::from(view == Which::Internal)].try_acquire().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_view_at_its_limit_takes_nothing_from_the_other() {
        let slots = Slots::default();
        for (full, other) in [(Which::Public, Which::Internal), (Which::Internal, Which::Public)] {
            let held: Vec<_> = (0..MOST_AT_ONCE).map_while(|_| slots.take(full)).collect();
            assert_eq!(held.len(), MOST_AT_ONCE);
            assert!(slots.take(full).is_none() && slots.take(other).is_some(), "{full:?}");
        }
    }
}
