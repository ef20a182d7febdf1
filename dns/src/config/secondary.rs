//! Zones that are taken from others: which, from where, and where they are kept.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::catalog::HeldCopy;
use crate::name::Name;
use crate::transfer;
use crate::transfer::members::Member;
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
    /// The certificate that this server shows to primaries over TLS.
    pub identity: Option<Identity>,
    /// It is a catalog: the zones that it names are taken, too.
    pub catalog: Option<Catalog>,
    /// The catalog that names it.
    pub member_of: Option<Name>,
    /// Its label there. Under another one it is another zone of the same name, and begins anew (RFC 9432 §5.6).
    pub entry: Option<Box<[u8]>>,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and behind it those that lead to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How the zones of a catalog are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Zones that one version may take away.
    pub most_removed: usize,
    /// Groups of zones that come from other primaries than the catalog.
    pub groups: Vec<(String, Source)>,
}

/// The servers that a zone is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As [`Secondary::primaries`].
    pub primaries: Vec<Primary>,
    /// As [`Secondary::key`].
    pub key: Option<Name>,
    /// As [`Secondary::view`].
    pub view: Which,
    /// As [`Secondary::ca`].
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
    /// A zone that this catalog names: from the primaries of the first of its groups that the config knows, else from the
    /// catalog's.
    pub(crate) fn member(&self, member: &Member) -> Self {
        let groups = self.catalog.iter().flat_map(|catalog| &catalog.groups);
        let own =
            groups.filter(|(name, _)| member.groups.contains(name)).map(|(_, source)| source.clone()).next();
        let Source { primaries, key, view, ca } = own.unwrap_or_else(|| Source {
            primaries: self.primaries.clone(),
            key: self.key.clone(),
            view: self.view,
            ca: self.ca.clone(),
        });
        let (zone, member_of) = (member.zone.clone(), Some(self.zone.clone()));
        let (identity, entry) = (self.identity.clone(), Some(member.id.clone()));
        Self { zone, primaries, key, view, ca, identity, catalog: None, member_of, entry }
    }

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
        HeldCopy::new(self.zone.clone(), self.view, &copies_folder(state), self.member_of.is_some())
    }
}

/// The folder of copies.
pub(crate) fn copies_folder(state: &Path) -> PathBuf {
    state.join("secondaries")
}
