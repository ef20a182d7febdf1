//! A connection to a primary, over TCP or TLS (RFC 9103): questions go out signed, and what comes back is proved.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::clock;
use crate::config::{Identity, Primary};
use crate::serve::tls::{DOT, STREAM_VERSIONS};
use crate::tsig::{Key, Sequence, SignedError, Signer, Unproved};
use crate::wire;

/// A primary that takes longer is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From a question to the first message, and from one message to the next.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    key: Option<Arc<Key>>,
    proof: Option<Sequence>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nobody is there, or the connection broke.
    Io(io::Error),
    /// It took too long.
    Slow,
    /// The roots of its certificate cannot be read.
    Roots(String),
    /// The certificate of this server cannot be read.
    Own(String),
    /// It is not signed by the key.
    Unproved(Unproved),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("it closed the connection before the end")
            }
            Self::Io(error) => error.fmt(f),
            Self::Slow => f.write_str("it does not answer in time"),
            Self::Roots(error) => write!(f, "the roots of its certificate (`ca`): {error}"),
            Self::Own(error) => write!(f, "this server's own certificate (`certificate`): {error}"),
            Self::Unproved(unproved) => unproved.fmt(f),
        }
    }
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Line {
    /// Connects, from one of `sources` if the primary may know this server by it.
    pub(super) async fn connect(
        primary: &Primary,
        (ca, identity): (Option<&Path>, Option<&Identity>),
        key: Option<Arc<Key>>,
        sources: &[IpAddr],
    ) -> Result<Self, NoAnswer> {
        let connected = async {
            let stream = connect(primary.address(), sources).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match primary {
                Primary::Tcp(_) => Box::new(stream),
                Primary::Tls(address, name) => {
                    let ca = name.as_ref().and(ca).map(Path::to_path_buf);
                    let identity = identity.cloned();
                    // Files may be long, and the disk slow.
                    let read = spawn_blocking(move || terms(ca.as_deref(), identity.as_ref()));
                    let terms = read.await.map_err(io::Error::other)??;
                    let server = match name {
                        Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
                        None => ServerName::IpAddress(address.ip().into()),
                    };
                    Box::new(TlsConnector::from(Arc::new(terms)).connect(server, stream).await?)
                }
            };
            Ok(Self { stream, key, proof: None })
        };
        timeout(CONNECT_TIMEOUT, connected).await.unwrap_or(Err(NoAnswer::Slow))
    }

    /// Sends a question.
    pub(super) async fn ask(&mut self, mut message: Vec<u8>) -> Result<(), NoAnswer> {
        self.proof = self.key.as_ref().map(|key| {
            let mut signer = Signer::of_request(key);
            signer.sign(&mut message, SignedError::None, clock::moment().unix_seconds);
            Sequence::after(&signer)
        });
        let bytes = u16::try_from(message.len()).expect("a question of ours is short");
        let framed = [&bytes.to_be_bytes()[..], &message].concat();
        let sent = async {
            self.stream.write_all(&framed).await?;
            self.stream.flush().await
        };
        timeout(MESSAGE_TIMEOUT, sent).await.map_err(|_| NoAnswer::Slow)?.map_err(NoAnswer::Io)
    }

    /// The next message of the answer.
    pub(super) async fn next(&mut self, message: &mut Vec<u8>) -> Result<(), NoAnswer> {
        let read = async {
            let bytes = self.stream.read_u16().await?;
            message.resize(usize::from(bytes), 0);
            self.stream.read_exact(message).await
        };
        timeout(MESSAGE_TIMEOUT, read).await.map_err(|_| NoAnswer::Slow)??;
        if let Some(proof) = &mut self.proof {
            let tsig = wire::tsig_of(message);
            let now = clock::moment().unix_seconds;
            proof.judge(message, tsig.as_ref(), now).map_err(NoAnswer::Unproved)?;
        }
        Ok(())
    }

    /// Whether all that came is proved, so that the answer may end here.
    pub(super) fn may_end(&self) -> Result<(), NoAnswer> {
        match &self.proof {
            Some(proof) if !proof.may_end() => Err(NoAnswer::Unproved(Unproved::Unsigned)),
            _ => Ok(()),
        }
    }
}

async fn connect(to: SocketAddr, sources: &[IpAddr]) -> io::Result<TcpStream> {
    let fits = |from: &&IpAddr| {
        from.is_ipv4() == to.is_ipv4()
            && from.is_loopback() == to.ip().is_loopback()
            && !from.is_unspecified()
    };
    if let Some(from) = sources.iter().find(fits) {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if socket.bind((*from, 0).into()).is_ok() {
            return socket.connect(to).await;
        }
    }
    TcpStream::connect(to).await
}

/// With roots, the certificate must be for the name; without, TLS hides what is said from those who only listen (RFC 9103
/// §9.3.1), and the key proves who says it.
/// With an identity, this server shows a certificate to who asks for one (RFC 9103 §9.3.3).
fn terms(ca: Option<&Path>, identity: Option<&Identity>) -> Result<ClientConfig, NoAnswer> {
    let mut config = believing(ca, identity)?;
    config.alpn_protocols = DOT.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Terms under which certificates are believed that lead to the roots of a file; all of them without one.
pub(super) fn believing(ca: Option<&Path>, identity: Option<&Identity>) -> Result<ClientConfig, NoAnswer> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(STREAM_VERSIONS)
        .expect("the provider has these versions");
    let known = ca.map(|path| Known::new(path, &provider)).transpose()?;
    let verifier = Arc::new(Verifier { known, algorithms: provider.signature_verification_algorithms });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = shown(identity).map_err(NoAnswer::Own)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| NoAnswer::Own(error.to_string()))
}

/// The certificate of this server, and its key.
pub(in crate::serve) fn shown(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let fault = |path: &Path, error: String| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(&identity.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| fault(&identity.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&identity.key);
    Ok((chain, key.map_err(|error| fault(&identity.key, error.to_string()))?))
}

/// Believes certificates that lead to the roots of a file, and those that stand in it themselves: `openssl req -x509` makes
/// one that is its own root, which no chain may end in.
#[derive(Debug)]
struct Known {
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<WebPkiServerVerifier>,
}

impl Known {
    fn new(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, NoAnswer> {
        let fault = |error: String| NoAnswer::Roots(format!("{}: {error}", path.display()));
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = read.map_err(|error| fault(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let built =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        Ok(Self { certificates, roots: built.map_err(|error| fault(error.to_string()))? })
    }
}

impl Known {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.iter().any(|known| known.as_ref() == certificate.as_ref()) {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.roots.verify_server_cert(certificate, chain, name, ocsp, now)
    }
}

/// Verifies that the primary has the key of its certificate, and the certificate where some are known.
#[derive(Debug)]
struct Verifier {
    known: Option<Known>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.known {
            Some(known) => known.verify(certificate, chain, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    const NAME: &str = "ns1.example.net";

    /// Whether a primary that shows `shown` is believed by the name [`NAME`], with these certificates in `ca`.
    fn check(case: &str, ca: Option<&str>, shown: &CertificateDer<'_>, expected: bool) {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, ca.unwrap_or_default()).unwrap();
        let known = ca.map(|_| Known::new(&path, &provider).unwrap());
        let verifier = Verifier { known, algorithms: provider.signature_verification_algorithms };
        let name = ServerName::try_from(NAME).unwrap();
        // 2026-01-01; rcgen's certificates are good from 1975 to 4096.
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));
        let found = verifier.verify_server_cert(shown, &[], &name, &[], now);
        assert_eq!(found.is_ok(), expected, "{case}: {found:?}");
    }

    #[test]
    fn with_roots_a_primary_has_a_certificate_of_theirs_for_its_name() {
        let own = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert;
        let (right, other) = (own(NAME), own("ns2.example.net"));
        check("no roots", None, other.der(), true);
        check("the certificate itself", Some(&right.pem()), right.der(), true);
        check("itself, of another name", Some(&other.pem()), other.der(), false);
        check("another's certificate", Some(&right.pem()), own(NAME).der(), false);
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        for (name, expected) in [(NAME, true), ("ns2.example.net", false)] {
            let key = KeyPair::generate().unwrap();
            let leaf =
                CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
            check(name, Some(&authority.pem()), leaf.der(), expected);
        }
    }

    /// Mutual TLS (RFC 9103 §9.3.3).
    #[tokio::test]
    async fn a_primary_that_wants_a_certificate_gets_the_one_that_is_configured() {
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (server, client) = (made(NAME), made("secondary.example.net"));
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let own = Identity {
            certificate: path("me.pem", client.cert.pem()),
            key: path("me.key", client.signing_key.serialize_pem()),
        };
        let mut roots = RootCertStore::empty();
        roots.add(client.cert.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let asks = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&provider),
        );
        let key = PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(asks.build().unwrap())
            .with_single_cert(vec![server.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let primary = Primary::Tls(listener.local_addr().unwrap(), None);
        for (identity, expected) in [(Some(&own), true), (None, false)] {
            let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await.is_ok() };
            let connect = Line::connect(&primary, (None, identity), None, &[]);
            let (accepted, _line) = tokio::join!(accept, connect);
            assert_eq!(accepted, expected, "{identity:?}");
        }
        let absent = Identity { key: folder.path().join("absent"), ..own };
        let error = terms(None, Some(&absent)).err().unwrap().to_string();
        assert!(error.contains("absent") && error.contains("certificate"), "{error}");
    }
}
