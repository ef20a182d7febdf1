//! Sockets to listen on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::start_error::StartError;
use crate::serve::BACKLOG;

/// The purpose of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Tls,
    Quic,
    Admin,
}

/// A socket that is bound, and listens if it is of TCP.
#[derive(Debug)]
pub(super) struct Bound<S> {
    /// As the config has it: port 0 is any free port.
    pub(super) configured: SocketAddr,
    pub(super) address: SocketAddr,
    pub(super) socket: S,
}

impl Kind {
    /// The config's key.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Plain => "listen",
            Self::Tls => "listen_tls",
            Self::Quic => "listen_quic",
            Self::Admin => "admin.listen",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.setting())
    }
}

/// Binds an address for TCP.
pub(super) fn tcp(kind: Kind, configured: SocketAddr) -> Result<Bound<TcpListener>, StartError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(configured), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of a process that has ended may still be closing.
        socket.set_reuse_address(true)?;
        socket.bind(&configured.into())?;
        socket.listen(i32::from(BACKLOG))?;
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from(socket);
        Ok(Bound { configured, address: socket.local_addr()?, socket })
    };
    bind().map_err(|error| failed(kind, configured, error))
}

/// Binds an address for UDP.
pub(super) fn udp(kind: Kind, configured: SocketAddr) -> Result<Bound<UdpSocket>, StartError> {
    let bind = || {
        let socket = UdpSocket::bind(configured)?;
        Ok(Bound { configured, address: socket.local_addr()?, socket })
    };
    bind().map_err(|error| failed(kind, configured, error))
}

pub(super) fn failed(kind: Kind, address: SocketAddr, error: io::Error) -> StartError {
    StartError::Bind { setting: kind.setting(), address, error }
}
