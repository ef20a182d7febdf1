//! Which view a client gets. It is chosen first, once, and only by what an outsider cannot forge.
//!
//! A [`View`] owns its zones, so an answer cannot reach another view's data.
//!
//! Invariant: [`choose`] reads the listener and the real source address and nothing of the packet; an EDNS client
//! subnet (V1), a PROXY header that was not checked (V2) or an HTTP header (V3) has no way in. Only who proves a key by a
//! signature ([`crate::tsig`]) gets the key's view instead.
//! Invariant: a client that matches nothing gets the public view.

use ipnet::IpNet;

use crate::client::{Client, Listener};
use crate::steer::Pools;
use crate::zone::set::Zones;

/// The zones of one view.
#[derive(Debug, Default)]
pub struct View {
    /// The zones that are served here, by apex.
    pub zones: Zones,
    /// The RRsets of them that are steered.
    pub pools: Pools,
}

/// Which of the two views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The view of outsiders.
    Public,
    /// The view of insiders.
    Internal,
}

impl Which {
    /// As the config, commands, logs and metrics name the side that gets it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "outside",
            Self::Internal => "inside",
        }
    }
}

/// Which clients are inside, if they also ask on an internal listener.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Exact prefixes that the operator wrote; there is no default (V6).
    pub clients: Vec<IpNet>,
    /// Outsiders reach a listener of the inside, too, so that they can forge the address of an insider there (V5).
    pub is_shared: bool,
}

/// The view of a client: internal only on a listener that is marked for it and from an exact prefix (V5); public else.
pub fn choose(access: &Access, client: &Client) -> Which {
    let address = client.real_address();
    match client.listener {
        Listener::Inside if access.clients.iter().any(|net| net.contains(&address)) => Which::Internal,
        Listener::Inside | Listener::Outside => Which::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::client::{Proved, Transport};

    #[test]
    fn inside_needs_both_a_marked_listener_and_an_exact_prefix() {
        let clients = ["10.1.0.0/16", "fd00::/64"].map(|net| net.parse().unwrap()).to_vec();
        let access = Access { clients, is_shared: false };
        for (address, listener, expected) in [
            ("10.1.2.3", Listener::Inside, Which::Internal),
            ("::ffff:10.1.2.3", Listener::Inside, Which::Internal),
            ("fd00::5", Listener::Inside, Which::Internal),
            ("10.2.0.1", Listener::Inside, Which::Public),
            ("::ffff:10.2.0.1", Listener::Inside, Which::Public),
            ("::10.1.2.3", Listener::Inside, Which::Public),
            ("127.0.0.1", Listener::Inside, Which::Public),
            ("10.1.2.3", Listener::Outside, Which::Public),
            ("::ffff:10.1.2.3", Listener::Outside, Which::Public),
        ] {
            for transport in [Transport::Udp, Transport::Tcp] {
                let (address, proved) = (address.parse().unwrap(), Proved::default());
                let client = Client { address, port: 4000, listener, transport, proved, is_to_close: false };
                assert_eq!(choose(&access, &client), expected, "{address} {listener:?}");
            }
        }
    }

    #[test]
    fn no_clients_means_nobody_is_inside() {
        let client = Client {
            address: "10.0.0.1".parse().unwrap(),
            port: 4000,
            listener: Listener::Inside,
            transport: Transport::Tcp,
            proved: Proved::default(),
            is_to_close: false,
        };
        assert_eq!(choose(&Access::default(), &client), Which::Public);
    }
}
