//! The client of a query, as the socket saw it. Nothing else about a client decides which view it gets.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The sender of a query, as the socket saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Source address as received; an IPv4-mapped one is normalised here (V7).
    pub address: IpAddr,
    /// Source port.
    pub port: u16,
    /// Where it was received.
    pub listener: Listener,
    /// How it was received.
    pub transport: Transport,
    /// The demands that its certificate meets; none if it showed none.
    pub proved: Proved,
    /// It is to close its connection, since the server is about to do so: it ends, or another one takes its place.
    pub is_to_close: bool,
}

/// The demands of `[[transfer]]` that the certificate of a client meets (mutual TLS, RFC 9103 §9.3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proved(Option<Arc<HashSet<Demand>>>);

/// A certificate that a client must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    /// PEM: the roots that it leads to, or the certificate itself.
    pub roots: PathBuf,
    /// Names of which it must be for one; none for any certificate of the roots.
    pub names: Vec<String>,
}

impl Proved {
    /// By a certificate that meets all of these.
    pub fn of(met: impl IntoIterator<Item = Demand>) -> Self {
        let met: HashSet<Demand> = met.into_iter().collect();
        Self((!met.is_empty()).then(|| met.into()))
    }

    /// Whether this is among what was proved.
    pub fn meets(&self, demand: &Demand) -> bool {
        self.0.as_ref().is_some_and(|met| met.contains(demand))
    }
}

impl Client {
    /// The address that rules are about: IPv4 even if a dual-stack socket received it (V7).
    #[inline]
    pub fn real_address(&self) -> IpAddr {
        self.address.to_canonical()
    }
}

/// The side that a listener was configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Every client here is outside.
    Outside,
    /// A client here is inside if its address is in [`Access::clients`](crate::view::Access::clients).
    Inside,
}

impl Listener {
    /// As announcements and metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

/// The transport that carries the message.
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
