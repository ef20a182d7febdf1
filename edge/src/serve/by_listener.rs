//! Settings that hold at some listeners and not at others. A reload may change which those are, and a listener that stays goes by
//! the new ones from its next connection on.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The listeners that a setting is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Chosen {
    /// Every one that it can be for.
    #[default]
    All,
    /// Those with these addresses, as the config has them.
    At(Vec<SocketAddr>),
}

impl Chosen {
    /// No listener.
    #[must_use]
    pub fn none() -> Self {
        Self::At(Vec::new())
    }

    /// Whether the listener that the config has at this address is one of them.
    #[must_use]
    pub fn has(&self, configured: SocketAddr) -> bool {
        match self {
            Self::All => true,
            Self::At(addresses) => addresses.contains(&configured),
        }
    }
}

/// Two of a kind: one for the listeners that ask clients for certificates, one for the others.
#[derive(Debug, Clone)]
pub(crate) struct ByListener<T> {
    asking: T,
    open: T,
    chosen: Arc<ArcSwap<Chosen>>,
}

impl<T> ByListener<T> {
    /// `chosen` are the listeners that ask.
    pub(crate) fn new(asking: T, open: T, chosen: &Arc<ArcSwap<Chosen>>) -> Self {
        Self { asking, open, chosen: Arc::clone(chosen) }
    }

    /// The one for the listener that the config has at this address.
    pub(crate) fn of(&self, configured: SocketAddr) -> &T {
        if self.asks(configured) { &self.asking } else { &self.open }
    }

    /// Whether that listener asks.
    pub(crate) fn asks(&self, configured: SocketAddr) -> bool {
        self.chosen.load().has(configured)
    }

    /// The one for listeners that do not ask.
    pub(crate) fn open(&self) -> &T {
        &self.open
    }
}
