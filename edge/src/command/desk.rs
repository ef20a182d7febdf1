//! The way to an edge's admin listener: over TCP, perhaps with TLS around it, or to a socket in the file system.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use verge_edge::config::{self, AdminAddress};

use super::{Failed, own_tls, peer};

/// Where an admin listener is, and whom to believe that it is the one.
pub(super) struct Desk {
    pub(super) address: AdminAddress,
    tls: Option<TlsConnector>,
    /// Of the token that it is shown; none: it is shown none.
    token_file: Option<PathBuf>,
}

/// A connection to it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Desk").field(&self.address).finish()
    }
}

impl Desk {
    /// That of a config, which is believed by its own certificate unless `ca` is another.
    pub(super) fn of(admin: &config::Admin, ca: Option<&Path>) -> Result<Self, Failed> {
        let tls = match (&admin.tls, ca) {
            (_, Some(ca)) => Some(own_tls::signed_by(ca)?),
            (Some(files), None) => Some(own_tls::only(&[&files.certificate])?),
            (None, None) => None,
        };
        Ok(Self { address: admin.listen.clone(), tls, token_file: None })
    }

    /// That of an address: over TLS if `ca` says by whom its certificate is signed.
    pub(super) fn at(address: AdminAddress, ca: Option<&PathBuf>) -> Result<Self, Failed> {
        Ok(Self { address, tls: ca.map(|ca| own_tls::signed_by(ca)).transpose()?, token_file: None })
    }

    /// The same, which is shown the token of this file: so it must be one that has it already, or may have it.
    pub(super) fn shown(self, token_file: &Path) -> Self {
        Self { token_file: Some(token_file.to_owned()), ..self }
    }

    /// Whether it is on another machine, and spoken to without TLS.
    pub(super) fn is_read_on_the_way(&self) -> bool {
        match &self.address {
            AdminAddress::Unix(_) => false,
            AdminAddress::Tcp(listen) => {
                self.tls.is_none() && !reachable(*listen).ip().to_canonical().is_loopback()
            }
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let address = match &self.address {
            AdminAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(overfull)?;
                if let Some(token_file) = &self.token_file {
                    peer::trusted(stream.peer_cred()?.uid(), path, token_file)?;
                }
                return Ok(Box::new(stream));
            }
            AdminAddress::Tcp(listen) => reachable(*listen),
        };
        let stream = TcpStream::connect(address).await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => Ok(Box::new(tls.connect(ServerName::from(address.ip()), stream).await?)),
        }
    }

    /// As requests name it.
    pub(super) fn host(&self) -> String {
        match &self.address {
            AdminAddress::Tcp(address) => address.to_string(),
            AdminAddress::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// One that accepts nobody, as one that is stopped, has no room for more.
fn overfull(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::WouldBlock, "it does not answer"),
        _ => error,
    }
}

/// An edge that listens everywhere is here, too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let here = if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(if listen.ip().is_unspecified() { here } else { listen.ip() }, listen.port())
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    #[test]
    fn without_tls_a_token_is_read_on_the_way_to_other_machines_alone() {
        let check = |address: &str, expected: bool| {
            let address = match address.strip_prefix("unix:") {
                Some(path) => AdminAddress::Unix(path.into()),
                None => AdminAddress::Tcp(address.parse().unwrap()),
            };
            let desk = Desk::at(address, None).unwrap();
            assert_eq!(desk.is_read_on_the_way(), expected, "{desk:?}");
        };
        check("unix:/run/admin.sock", false);
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "0.0.0.0:1", "[::]:1"] {
            check(here, false);
        }
        for there in ["192.0.2.1:1", "10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"] {
            check(there, true);
        }
        let pem = rcgen::generate_simple_self_signed(vec!["edge.test".to_owned()]).unwrap().cert.pem();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), pem).unwrap();
        let there = AdminAddress::Tcp("192.0.2.1:1".parse().unwrap());
        let desk = Desk::at(there, Some(&ca.path().to_owned())).unwrap();
        assert!(!desk.is_read_on_the_way());
    }

    /// It does not wait, either.
    #[tokio::test]
    async fn a_listener_that_accepts_nobody_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let desk = Desk::at(AdminAddress::Unix(path.clone()), None).unwrap().shown(&path);
        let _waiting = desk.connect().await.unwrap_or_else(|error| panic!("this user's: {error}"));
        let error = desk.connect().await.err().unwrap();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::WouldBlock, "it does not answer"));
    }
}
