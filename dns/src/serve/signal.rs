//! Orders to the loader.

/// The loader's orders.
pub(super) enum Signal {
    /// Something in the folder may have changed.
    Changed,
    /// Updates wait to be made.
    Update,
    /// Read the config and the zone files now.
    Reload,
    /// Stop.
    Stop,
    /// Panic, as a fault of ours would.
    #[cfg(test)]
    Fault,
}
