//! Orders to the loader.

use std::sync::mpsc::{Receiver, SyncSender};

use super::handover::Passing;

/// The loader's orders.
pub(super) enum Signal {
    /// Something in the folder may have changed.
    Changed,
    /// Updates wait to be made.
    Update,
    /// Read the config and the zone files now.
    Reload,
    /// Change nothing until it is clear whether another process takes over.
    Pause(Pause),
    /// Stop.
    Stop,
    /// Panic, as a fault of ours would.
    #[cfg(test)]
    Fault,
}

/// A pause of the loader.
pub(super) struct Pause {
    /// Told when it has begun: whether an edit waits for the operator's word, since it makes records public.
    pub(super) held: SyncSender<bool>,
    /// The end of it. It was for nothing if nobody can say any more.
    pub(super) end: Receiver<Over>,
}

/// Nothing is written here any more.
pub(super) enum Over {
    /// Another process has taken over, which makes the updates that come still.
    Passing(Passing),
    /// The server ends.
    Ended,
}
