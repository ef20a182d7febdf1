//! The generation in a folder's identity.

use super::{Desk, Phase};

impl Desk {
    /// The generation that this process has written last; 0 if it wrote none.
    pub(in crate::store::disk) fn identified(&self) -> u64 {
        self.lock().identified
    }

    /// This generation is written.
    pub(in crate::store::disk) fn has_identified(&self, generation: u64) {
        self.lock().identified = generation;
        self.settled.send_replace(());
    }

    /// Has this generation written, as soon as the disk is used.
    pub(in crate::store::disk) fn want_identity(&self, generation: u64) {
        self.lock().wanted_generation = generation;
        self.keeper.notify_one();
    }

    pub(in crate::store::disk) fn is_used(&self) -> bool {
        self.lock().phase == Phase::Ready
    }

    /// Whether it is away, and a later start may take it for what it was.
    pub(in crate::store::disk) fn is_away(&self) -> bool {
        matches!(self.lock().phase, Phase::Off { is_distrusted: false, .. })
    }
}
