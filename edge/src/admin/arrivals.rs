//! The socket that operators arrive at: of TCP, perhaps with TLS around it, or in the file system.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// The listener's socket.
#[derive(Debug)]
pub(crate) enum Arrivals {
    Tcp(TcpListener),
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
            Self::Tcp(listener) => listener.local_addr().map_or(true, |address| !address.ip().is_loopback()),
            Self::Unix(_) => false,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }

    /// The connections that the kernel has made already, of a listener that closes: its address may be another setting's
    /// from now on. One in the file system is nobody else's.
    pub(super) fn waiting(self) -> impl Iterator<Item = Stream> + Send {
        let listener = match self {
            Self::Tcp(listener) => listener.into_std().ok(),
            Self::Unix(_) => None,
        };
        let next = move |_| match listener.as_ref()?.accept() {
            Ok((stream, _)) => {
                Some(stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)).ok())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // Its client has gone.
            Err(_) => Some(None),
        };
        (0..MOST_WAITING).map_while(next).flatten().map(|stream| Box::new(stream) as Stream)
    }
}

/// Of a listener that closes.
const MOST_WAITING: usize = 64;

/// Agrees on TLS; none if the client does not.
pub(super) async fn agreed(stream: Stream, tls: &TlsAcceptor) -> Option<Stream> {
    let agreed = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    Some(Box::new(agreed.ok()?.ok()?))
}
