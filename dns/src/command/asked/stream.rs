//! A connection to a server's admin listener: over TCP, with TLS around it, or to a socket in the file system.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned,
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::peer;
use crate::clock;
use crate::config::{Admin, AdminAddress};

pub(super) enum Stream {
    Plain(Patient),
    Tls(Box<StreamOwned<ClientConnection, Patient>>),
}

/// A connection that does not wait for ever.
pub(super) struct Patient {
    socket: Socketed,
    /// For each reading and writing, and until when for all of them; none: for ever.
    patience: Option<(Duration, Instant)>,
}

enum Socketed {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects. A listener over TLS is believed by the certificate that the config has it show. Each step may take as long as
    /// `patience`, and all of them as long as `in_all`.
    pub(super) fn connect(admin: &Admin, patience: Duration, in_all: Duration) -> io::Result<Self> {
        let patience = (patience, clock::now() + in_all);
        match &admin.listen {
            AdminAddress::Unix(path) => Ok(Self::Plain(Patient {
                socket: Socketed::Unix(connected(path)?),
                patience: Some(patience),
            })),
            AdminAddress::Tcp(listen) => {
                let address = reachable(*listen);
                let socket = Socketed::Tcp(TcpStream::connect_timeout(&address, patience.0)?);
                let stream = Patient { socket, patience: Some(patience) };
                let Some(tls) = &admin.tls else { return Ok(Self::Plain(stream)) };
                let (terms, name) = (terms(&tls.certificate)?, ServerName::from(address.ip()));
                let tls = ClientConnection::new(Arc::new(terms), name).map_err(io::Error::other)?;
                Ok(Self::Tls(Box::new(StreamOwned::new(tls, stream))))
            }
        }
    }

    /// # Errors
    /// If another user listens at the path of a socket than one who may have the token.
    pub(super) fn may_see_token(&self, admin: &Admin) -> io::Result<()> {
        match (self, &admin.listen) {
            (Self::Plain(Patient { socket: Socketed::Unix(stream), .. }), AdminAddress::Unix(path)) => {
                let user = sockopt::socket_peercred(stream)?.uid.as_raw();
                peer::trusted(user, path, &admin.token_file)
            }
            // By TLS, or as the config has it.
            _ => Ok(()),
        }
    }

    /// From now on it waits for ever.
    pub(super) fn wait_for_ever(&mut self) -> io::Result<()> {
        let patient = match self {
            Self::Plain(patient) => patient,
            Self::Tls(stream) => &mut stream.sock,
        };
        patient.patience = None;
        patient.socket.set_timeouts(None)
    }
}

impl Patient {
    /// Before each reading and writing: it may take as long as is left.
    fn allow(&self) -> io::Result<()> {
        let Some((each, until)) = self.patience else { return Ok(()) };
        let left = each.min(until.saturating_duration_since(clock::now()));
        if left.is_zero() {
            return Err(io::Error::new(ErrorKind::TimedOut, "its answer does not end"));
        }
        self.socket.set_timeouts(Some(left))
    }
}

impl Socketed {
    fn set_timeouts(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience))
            }
        }
    }
}

/// A connection to a socket in the file system, at once: a blocking one would wait without an end for a server that is stopped, once
/// so many others wait for it as may.
fn connected(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::WouldBlock, "it does not answer"),
        _ => error,
    })?;
    socket.set_nonblocking(false)?;
    Ok(OwnedFd::from(socket).into())
}

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.allow()?;
        match &mut self.socket {
            Socketed::Tcp(stream) => stream.read(into),
            Socketed::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.allow()?;
        match &mut self.socket {
            Socketed::Tcp(stream) => stream.write(bytes),
            Socketed::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A server that listens everywhere is here, too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => ([127, 0, 0, 1], address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, address.port()).into()
        }
        other => other,
    }
}

fn terms(certificate: &Path) -> io::Result<ClientConfig> {
    let own = CertificateDer::from_pem_file(certificate).map_err(|error| {
        let kind = if let pem::Error::Io(error) = &error { error.kind() } else { ErrorKind::Other };
        io::Error::new(kind, format!("{}: {error}", certificate.display()))
    })?;
    let provider = aws_lc_rs::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let verifier = Arc::new(Own { own, algorithms });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Believes the certificate of the config and no other, whoever signed it and whatever the name.
#[derive(Debug)]
struct Own {
    own: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.own == *shown {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// It does not wait, either.
    #[test]
    fn a_listener_that_accepts_nobody_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let token_file = folder.path().join("token");
        let admin = Admin { listen: AdminAddress::Unix(path), tls: None, token_file, hosts: Vec::new() };
        let connect = || Stream::connect(&admin, Duration::from_secs(1), Duration::from_secs(1));
        let waiting = connect().unwrap();
        waiting.may_see_token(&admin).unwrap();
        let error = connect().err().unwrap();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::WouldBlock, "it does not answer"));
    }

    /// Each of its bytes comes in time.
    #[test]
    fn an_answer_that_never_ends_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = AdminAddress::Tcp(listener.local_addr().unwrap());
        let admin = Admin { listen, tls: None, token_file: "none".into(), hosts: Vec::new() };
        let mut stream = Stream::connect(&admin, Duration::from_secs(60), Duration::from_millis(50)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let server = thread::spawn(move || while server.write_all(b"x").is_ok() {});
        let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::TimedOut, "its answer does not end")
        );
        drop(stream);
        server.join().unwrap();
    }
}
