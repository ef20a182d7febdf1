//! Which view a client is in, chosen first, once, and only by what an outsider cannot choose.
//!
//! A [`View`] owns its zones, so an answer cannot reach another view's data.
//!
//! Invariant: [`choose`] reads the listener and the real source address and nothing of the packet; an EDNS client
//! subnet (V1), a PROXY header that was not checked (V2) or an HTTP header (V3) has no way in.
//! Invariant: whatever is unknown or does not match is the public view.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::limit::cookie::Secrets;
use crate::name::Name;
use crate::zone::set::Zones;

/// Everything that answers depend on; immutable, swapped as a whole by a reload.
#[derive(Debug, Default)]
pub struct World {
    /// What outsiders see.
    pub public: View,
    /// What insiders see.
    pub internal: View,
    /// Who is inside.
    pub access: Access,
    /// Addresses that never leave by the public view.
    pub guard: Guard,
    /// What the operator chose about the protocol.
    pub protocol: Protocol,
}

/// The zones of one view.
#[derive(Debug, Default)]
pub struct View {
    /// What is served here, by apex.
    pub zones: Zones,
}

/// Which of the two views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// What outsiders see.
    Public,
    /// What insiders see.
    Internal,
}

impl Which {
    /// The label of logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
        }
    }
}

/// Who is inside, beside the listener.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Exact prefixes; none of them is a default (V6).
    pub clients: Vec<IpNet>,
}

/// What the egress guard knows: see [`crate::wire::guard`].
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

/// What the operator chose about the protocol.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// Largest UDP answer in octets, whatever the client offers.
    pub udp_limit_octets: u16,
    /// The server's identifier for who asks for it (RFC 5001); none keeps it to ourselves (S1).
    pub nsid: Option<Box<[u8]>>,
    /// Secrets for server cookies (RFC 7873, RFC 9018); none: cookies are ignored.
    pub cookies: Option<Secrets>,
    /// How long a connection may be idle between messages; clients that ask are told (RFC 7828).
    pub idle_timeout: Duration,
}

/// Fits every path of today's Internet without IP fragments (flag day 2020, RFC 9715 §3.1).
pub const UDP_LIMIT_OCTETS: u16 = 1232;
/// RFC 7766 §6.2.3 asks for seconds; resolvers that pipeline keep within it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

impl Default for Protocol {
    fn default() -> Self {
        Self { udp_limit_octets: UDP_LIMIT_OCTETS, nsid: None, cookies: None, idle_timeout: IDLE_TIMEOUT }
    }
}

/// Who asks, as the socket saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Source address as received; an IPv4-mapped one is normalised here (V7).
    pub address: IpAddr,
    /// Source port.
    pub port: u16,
    /// Where it was received.
    pub listener: Listener,
    /// How it was received.
    pub transport: Transport,
}

impl Client {
    /// The address that rules are about: IPv4 even if a dual-stack socket received it (V7).
    pub fn real_address(&self) -> IpAddr {
        self.address.to_canonical()
    }
}

/// What a listener was configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Whoever asks here is outside.
    Outside,
    /// Whoever asks here is inside if their address is in [`Access::clients`].
    Inside,
}

/// What carries the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: the source may be forged and the size is limited.
    Udp,
    /// A stream: the source has proved its address.
    Tcp,
    /// The same stream inside TLS (RFC 7858).
    Tls,
    /// A body in an HTTP request inside TLS (RFC 8484).
    Https,
    /// A QUIC stream (RFC 9250); the source has proved its address by the handshake.
    Quic,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Https, Self::Quic];

    /// The label of logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
        }
    }

    /// Whether only the two ends can read it, so that padding hides something (RFC 7830 §6).
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https | Self::Quic)
    }

    /// Whether messages follow each other on one connection that the client keeps open (RFC 7828 §3.1). QUIC and
    /// HTTP have means of their own (RFC 9250 §5.5.2).
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

/// The view of a client: internal only on a listener that is marked for it and from an exact prefix (V5); public else.
pub fn choose(access: &Access, client: &Client) -> Which {
    let address = client.real_address();
    match client.listener {
        Listener::Inside if access.clients.iter().any(|net| net.contains(&address)) => Which::Internal,
        Listener::Inside | Listener::Outside => Which::Public,
    }
}

impl World {
    /// The view of this name.
    pub fn view(&self, which: Which) -> &View {
        match which {
            Which::Public => &self.public,
            Which::Internal => &self.internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_needs_both_a_marked_listener_and_an_exact_prefix() {
        let clients = ["10.1.0.0/16", "fd00::/64"].map(|net| net.parse().unwrap()).to_vec();
        let access = Access { clients };
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
                let client = Client { address: address.parse().unwrap(), port: 4000, listener, transport };
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
        };
        assert_eq!(choose(&Access::default(), &client), Which::Public);
    }
}
