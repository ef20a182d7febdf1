//! The socket that operators arrive at: of TCP, perhaps with TLS around it, or in the file system.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// The listener's socket.
pub(crate) enum Arrivals {
    /// With TLS around each connection, if there is a certificate.
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

/// A connection, whatever carries it.
pub(super) type Stream = Box<dyn Carrier>;

pub(super) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// A client that takes longer is none of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Arrivals {
    /// Whether other machines may reach it. A socket in the file system has the rights of its file.
    pub(super) fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp(listener, _) => {
                listener.local_addr().map_or(true, |address| !address.ip().is_loopback())
            }
            Self::Unix(_) => false,
        }
    }

    /// The next connection, and the TLS that is to be agreed on first.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<TlsAcceptor>)> {
        Ok(match self {
            Self::Tcp(listener, tls) => (Box::new(listener.accept().await?.0), tls.clone()),
            Self::Unix(listener) => (Box::new(listener.accept().await?.0), None),
        })
    }
}

/// Agrees on TLS, if there is any; none if the client does not.
pub(super) async fn agreed(stream: Stream, tls: Option<TlsAcceptor>) -> Option<Stream> {
    let Some(tls) = tls else { return Some(stream) };
    let agreed = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    Some(Box::new(agreed.ok()?.ok()?))
}
