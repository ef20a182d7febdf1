//! Everything that answers depend on, as one immutable value that a reload replaces as a whole.

mod unfollowed;
mod unsteered;

pub(crate) use self::unfollowed::Unfollowed;
pub use self::unsteered::unsteered;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::cookie::Secrets;
use crate::name::Name;
use crate::transfer::{Expiries, Listing, Rulebook, Secondaries, Versions};
use crate::tsig::Keys;
use crate::update::Policy;
use crate::view::{Access, View, Which};
use crate::zone::set::Served;
use crate::zone::tree::Tree;

/// Everything that answers depend on; immutable, swapped as a whole by a reload.
#[derive(Debug, Default)]
pub struct World {
    /// The view of outsiders.
    pub public: View,
    /// The view of insiders.
    pub internal: View,
    /// Catalog zones (RFC 9432) of the outside and of the inside. They are given to those who may take them and prove a key, and
    /// answer nobody else.
    pub catalogs: [View; 2],
    /// Which clients are inside.
    pub access: Access,
    /// Addresses that never leave by the public view.
    pub guard: Guard,
    /// The operator's choices about the protocol.
    pub protocol: Protocol,
    /// The last changes of zones that are transferred.
    pub versions: Versions,
    /// Zones that have a file here and are taken from others, too.
    pub standing: Arc<HashMap<Name, Standing>>,
    /// When the copies of zones that are taken from others end.
    pub expiries: Arc<Expiries>,
}

impl World {
    /// The view of this name.
    pub fn view(&self, which: Which) -> &View {
        match which {
            Which::Public => &self.public,
            Which::Internal => &self.internal,
        }
    }

    /// Whether this zone is taken from others, and not this server's own now.
    pub fn is_taken(&self, apex: &Name) -> bool {
        self.protocol.secondaries.get(apex.as_wire()).is_some()
            && self.standing.get(apex) != Some(&Standing::Leads)
    }

    /// The catalog zones of this view.
    pub fn catalogs(&self, which: Which) -> &View {
        &self.catalogs[usize::from(which == Which::Internal)]
    }

    /// The zone that is transferred from this view, or the catalog.
    pub fn given(&self, which: Which, apex: &Name) -> Option<&Served> {
        self.view(which).zones.get(apex).or_else(|| self.catalogs(which).zones.get(apex))
    }

    /// Whether this name is that of a catalog, and of no zone.
    pub fn is_catalog(&self, which: Which, apex: &[u8]) -> bool {
        self.catalogs(which).zones.has_apex(apex) && !self.view(which).zones.has_apex(apex)
    }

    /// Makes the catalogs that the operator asks for, under a serial for those that are new.
    pub fn list(&mut self, serial: u32) {
        for listing in &*Arc::clone(&self.protocol.catalogs) {
            for which in [Which::Public, Which::Internal] {
                let terms = (&self.protocol.transfers, &self.protocol.keys);
                if let Some(tree) = listing.tree(which, self.view(which), terms, serial) {
                    let catalogs = &mut self.catalogs[usize::from(which == Which::Internal)];
                    catalogs.zones.insert(listing.apex.clone(), Served::Zone(tree));
                }
            }
        }
    }

    /// The trees that `before` does not have, each once.
    pub fn new_trees<'a>(&'a self, before: &Self) -> Vec<(&'a Name, &'a Arc<Tree>)> {
        let mut seen: HashSet<*const Tree> = before.trees().map(|(_, tree)| Arc::as_ptr(tree)).collect();
        self.trees().filter(|(_, tree)| seen.insert(Arc::as_ptr(tree))).collect()
    }

    fn trees(&self) -> impl Iterator<Item = (&Name, &Arc<Tree>)> {
        let zones = self.public.zones.iter().chain(self.internal.zones.iter());
        zones.filter_map(|(apex, served)| match served {
            Served::Zone(tree) => Some((apex, tree)),
            Served::Broken => None,
        })
    }
}

/// How this server stands in a zone that has a file here and is taken from others, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the primary: the zone file counts.
    Leads,
    /// It is not known yet, and the zone is SERVFAIL.
    Waits,
    /// Another server has replaced it: the copy counts.
    Follows,
}

/// The names and addresses that the egress guard knows: see [`crate::wire::guard`].
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The config's `private` prefixes: hidden like D1.
    pub private: Vec<IpNet>,
    /// (owner, address) pairs that a mark published; the owner may be a wildcard.
    pub published: HashSet<(Name, IpAddr)>,
}

impl Guard {
    /// Whether a mark published this address at `owner`, or at a wildcard that `owner` can come from.
    pub fn publishes(&self, owner: &Name, address: IpAddr) -> bool {
        let mut key = (owner.clone(), address);
        if self.published.is_empty() || self.published.contains(&key) {
            return !self.published.is_empty();
        }
        let mut above = owner.parent();
        while let Some(parent) = above {
            above = parent.parent();
            let Some(wildcard) = parent.wildcard() else { continue };
            key.0 = wildcard;
            if self.published.contains(&key) {
                return true;
            }
        }
        false
    }
}

/// The operator's choices about the protocol.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// Largest UDP answer in bytes, whatever the client offers.
    pub udp_limit_bytes: u16,
    /// The server's identifier for clients that ask for it (RFC 5001); without one, none is told (S1).
    pub nsid: Option<Box<[u8]>>,
    /// Secrets for server cookies (RFC 7873, RFC 9018); none: cookies are ignored.
    pub cookies: Option<Secrets>,
    /// Keys by which other servers prove who they are (RFC 8945).
    pub keys: Keys,
    /// The rules by which zones may be taken; without one nobody may.
    pub transfers: Rulebook,
    /// The certificates that lead to those of clients, in DER, by the file that holds them.
    pub roots: Roots,
    /// The catalogs that are made of the zones that may be taken.
    pub catalogs: Arc<[Listing]>,
    /// Zones that are taken from others.
    pub secondaries: Secondaries,
    /// The rules by which zones may be changed; without one nobody may.
    pub updates: Arc<[Policy]>,
    /// How long a connection may be idle between messages; clients that ask are told (RFC 7828).
    pub idle_timeout: Duration,
}

/// Certificates in DER, by the file that holds them.
pub type Roots = Arc<HashMap<PathBuf, Vec<Box<[u8]>>>>;

/// Fits every path of today's Internet without IP fragments (flag day 2020, RFC 9715 §3.1).
pub const UDP_LIMIT_BYTES: u16 = 1232;
/// RFC 7766 §6.2.3 asks for seconds; resolvers that pipeline keep within it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

impl Default for Protocol {
    fn default() -> Self {
        Self {
            udp_limit_bytes: UDP_LIMIT_BYTES,
            nsid: None,
            cookies: None,
            keys: Keys::default(),
            transfers: Rulebook::default(),
            roots: Roots::default(),
            catalogs: Arc::default(),
            secondaries: Secondaries::default(),
            updates: Arc::default(),
            idle_timeout: IDLE_TIMEOUT,
        }
    }
}
