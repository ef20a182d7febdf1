//! The disks of one edge watch each other: what happens while one is away is not in its journal, so the others note that it is
//! of the past.
//!
//! Each disk's identity has a generation, and a start trusts those of the highest alone. When a disk goes away, the others
//! take a higher one.
//!
//! Invariant: a disk that went away is trusted at no later start that has one of the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::desk::Desk;

/// The disks that an edge uses, by their desks.
#[derive(Debug, Default)]
pub(super) struct Circle {
    desks: Mutex<Vec<Weak<Desk>>>,
    generation: AtomicU64,
}

impl Circle {
    /// Of an edge that begins in this generation.
    pub(super) fn new(generation: u64) -> Arc<Self> {
        Arc::new(Self { desks: Mutex::default(), generation: generation.into() })
    }

    /// The generation that a disk takes which is used from now on.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn join(&self, desk: &Arc<Desk>) {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(desk));
    }

    /// This one is away: the others are to know.
    pub(super) fn disown(&self, away: &Desk) {
        let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if away.identified() < self.generation() {
            return;
        }
        let next = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let others =
            desks.iter().filter_map(Weak::upgrade).filter(|desk| !std::ptr::eq(&raw const **desk, away));
        others.for_each(|desk| desk.want_identity(next));
    }

    /// Whether another one is used, which may be told.
    pub(super) fn has_others(&self, away: &Desk) -> bool {
        let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = desks.iter().filter_map(Weak::upgrade);
        others.any(|desk| !std::ptr::eq(&raw const *desk, away) && desk.is_used())
    }

    /// Whether another one knows that this one was away.
    pub(super) fn has_disowned(&self, away: &Desk) -> bool {
        let desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = desks.iter().filter_map(Weak::upgrade);
        others.any(|desk| desk.is_used() && desk.identified() > away.identified())
    }
}
