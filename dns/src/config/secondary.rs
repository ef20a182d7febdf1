//! Zones that are taken from others: which, from where, and where they are kept.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::catalog::HeldCopy;
use crate::name::Name;
use crate::transfer;
use crate::view::Which;

/// A zone that is taken from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secondary {
    /// The zone.
    pub zone: Name,
    /// They are asked in this order.
    pub primaries: Vec<Primary>,
    /// The key that signs questions and answers.
    pub key: Option<Name>,
    /// The side that gets the zone: the key's, and the outside without one.
    pub view: Which,
    /// PEM: the roots that certificates of primaries lead to.
    pub ca: Option<PathBuf>,
}

/// A server that a zone is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primary {
    /// Asked over TCP.
    Tcp(SocketAddr),
    /// Asked over TLS (RFC 9103); with a name, its certificate must be for that.
    Tls(SocketAddr, Option<String>),
}

impl Primary {
    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(address) | Self::Tls(address, _) => *address,
        }
    }
}

impl Secondary {
    /// As far as answers depend on it.
    pub(super) fn in_world(&self) -> transfer::Secondary {
        transfer::Secondary {
            apex: self.zone.clone(),
            view: self.view,
            primaries: self.primaries.iter().map(|it| it.address().ip().to_canonical()).collect(),
            key: self.key.clone(),
        }
    }

    /// Where its copy is kept.
    pub(crate) fn copy(&self, state: &Path) -> HeldCopy {
        HeldCopy::new(self.zone.clone(), &copies_folder(state))
    }
}

/// The folder of copies.
fn copies_folder(state: &Path) -> PathBuf {
    state.join("secondaries")
}
