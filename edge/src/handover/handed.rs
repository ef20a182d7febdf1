//! Sockets on their way to another process, and the listeners that they are for.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

/// A socket that a process hands over.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The listener that it is for.
    pub(crate) listener: Listener,
    pub(crate) socket: OwnedFd,
    /// The ways to processes that still have connections of this socket, by their generations; for QUIC alone.
    pub(crate) channels: Vec<(u8, OwnedFd)>,
}

/// The listener that a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// That of a setting's address, as the config has it.
    Of(Setting, SocketAddr),
    /// Any that is for this address and this kind of socket.
    At(Transport, SocketAddr),
    /// That of a path, which the socket itself knows: the operator's.
    Path {
        /// Whether systemd has passed it, and made its file.
        is_of_systemd: bool,
    },
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(setting, address) => write!(f, "{address} of `{}`", setting.as_str()),
            Self::At(Transport::Tcp, address) => write!(f, "{address} of TCP"),
            Self::At(Transport::Udp, address) => write!(f, "{address} of UDP"),
            Self::Path { .. } => f.write_str("a Unix socket"),
        }
    }
}

/// A setting with addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Setting {
    #[serde(rename = "listen")]
    Plain,
    #[serde(rename = "listen_tls")]
    Tls,
    #[serde(rename = "listen_quic")]
    Quic,
    #[serde(rename = "admin.listen")]
    Admin,
    #[serde(rename = "stream.listen")]
    Stream,
}

/// A kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Listener {
    /// None: a Unix socket.
    pub(crate) fn transport(self) -> Option<Transport> {
        match self {
            Self::Of(setting, _) => Some(setting.transport()),
            Self::At(transport, _) => Some(transport),
            Self::Path { .. } => None,
        }
    }
}

impl Setting {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Plain, Self::Tls, Self::Quic, Self::Admin, Self::Stream];

    /// As the config has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "listen",
            Self::Tls => "listen_tls",
            Self::Quic => "listen_quic",
            Self::Admin => "admin.listen",
            Self::Stream => "stream.listen",
        }
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Plain | Self::Tls | Self::Admin | Self::Stream => Transport::Tcp,
            Self::Quic => Transport::Udp,
        }
    }
}
