//! Over TLS: HTTP/1.1 and HTTP/2 are the same edge, sessions outlive it, and what a carrier brings of its own is bounded.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use verge_edge::clock::Clock;

use super::rig::{Origin, Rig, soon};

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 5\r\n\r\nhello";

/// Takes every certificate, and counts them: a session that resumes shows none.
#[derive(Debug)]
struct Trusting(CryptoProvider, Arc<AtomicUsize>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes every certificate.
pub fn trusting() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Trusting(aws_lc_rs::default_provider(), Arc::default()))
}

/// A client that asks for these protocols and keeps its sessions.
pub fn terms(alpn: &[&str]) -> Arc<ClientConfig> {
    Arc::new(counting(alpn, &Arc::default()))
}

/// The same, which counts the certificates that it is shown.
pub fn counting(alpn: &[&str], shown: &Arc<AtomicUsize>) -> ClientConfig {
    counting_with(aws_lc_rs::default_provider(), alpn, shown)
}

/// The same by this cryptography.
pub fn counting_with(provider: CryptoProvider, alpn: &[&str], shown: &Arc<AtomicUsize>) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider, Arc::clone(shown))))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

pub async fn connect(address: SocketAddr, terms: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("site.test").unwrap();
    soon("a handshake", TlsConnector::from(Arc::clone(terms)).connect(name, stream)).await.unwrap()
}

/// The answer to a request: version, status, the verdict and the body.
pub type Got = (Version, StatusCode, String, Bytes);

pub async fn ask(address: SocketAddr, protocol: &str, uri: &str) -> Got {
    ask_by(address, &terms(&[protocol]), protocol, uri).await
}

/// The same by these terms.
pub async fn ask_by(address: SocketAddr, terms: &Arc<ClientConfig>, protocol: &str, uri: &str) -> Got {
    let stream = connect(address, terms).await;
    let request = Request::get(uri).header("host", "site.test").body(Full::<Bytes>::default()).unwrap();
    let response = if protocol == "h2" {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        soon("an answer", sender.send_request(request)).await.unwrap()
    } else {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        soon("an answer", sender.send_request(request)).await.unwrap()
    };
    let verdict = response.headers().get("cache-status").map(|value| value.to_str().unwrap().to_owned());
    let (version, status) = (response.version(), response.status());
    let body = soon("a body", response.into_body().collect()).await.unwrap().to_bytes();
    (version, status, verdict.unwrap_or_default(), body)
}

/// A certificate for these names in `folder`; the lines of `[tls]` for it.
pub fn certificate(folder: &Path, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let [chain, key]: [PathBuf; 2] = ["chain.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    format!("certificate = {chain:?}\nkey = {key:?}\n")
}

pub async fn edge(origin: &Origin, folder: &Path, more: &str) -> (Rig, SocketAddr) {
    let tls = certificate(folder, &["site.test", "other.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}{more}\n[[site]]\nhosts = [\"*\"]\n\
         origins = [\"http://{}\"]\n[limits]\nhead_timeout = \"1s\"\nidle_timeout = \"1s\"\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origin.address
    );
    let rig = Rig::of(Clock::system(), &text).await;
    let address = rig.running.as_ref().unwrap().listening().tls[0];
    (rig, address)
}

#[tokio::test]
async fn a_key_does_not_depend_on_the_version_and_depends_on_the_scheme() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let (rig, tls) = edge(&origin, folder.path(), "").await;
    let (version, status, verdict, body) = ask(tls, "http/1.1", "/a").await;
    assert_eq!((version, status, &body[..]), (Version::HTTP_11, StatusCode::OK, &b"hello"[..]));
    assert!(verdict.contains("fwd=uri-miss"), "{verdict}");
    let (version, status, verdict, body) = ask(tls, "h2", "https://site.test/a").await;
    assert_eq!((version, status, &body[..]), (Version::HTTP_2, StatusCode::OK, &b"hello"[..]));
    assert!(verdict.contains("hit"), "{verdict}");
    assert!(rig.get("/a").await.cache_status().contains("fwd=uri-miss"), "plain HTTP is another URL");
}

#[tokio::test]
async fn a_session_resumes_on_another_edge_that_has_the_same_secret() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = one.path().join("tickets.secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let line = format!("ticket_secret = {secret:?}");
    let kinds = async |line: &str| {
        let (first, second) = (edge(&origin, one.path(), line).await, edge(&origin, two.path(), line).await);
        let terms = terms(&["http/1.1"]);
        let mut kinds = Vec::new();
        for address in [first.1, second.1] {
            let mut stream = connect(address, &terms).await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            // The ticket comes behind the handshake, before what is asked for.
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            soon("an answer", stream.read_to_end(&mut Vec::new())).await.unwrap();
        }
        kinds
    };
    assert_eq!(kinds(&line).await, [HandshakeKind::Full, HandshakeKind::Resumed]);
    assert_eq!(
        kinds("").await,
        [HandshakeKind::Full, HandshakeKind::Full],
        "without a secret that they share"
    );
}

#[tokio::test]
async fn a_host_that_no_certificate_is_for_is_misdirected_and_one_that_is_covered_may_share_the_connection() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, tls) = edge(&origin, folder.path(), "").await;
    let mut statuses = Vec::new();
    for host in ["site.test", "other.test", "third.test"] {
        let stream = connect(tls, &terms(&["h2"])).await;
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(format!("https://{host}/")).body(Full::<Bytes>::default()).unwrap();
        statuses.push(soon("an answer", sender.send_request(request)).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 421]);
}

#[tokio::test]
async fn a_connection_that_carries_nothing_ends() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, tls) = edge(&origin, folder.path(), "").await;
    let mut silent = TcpStream::connect(tls).await.unwrap();
    soon("the end of a handshake that does not begin", silent.read_to_end(&mut Vec::new())).await.ok();
    let mut idle = connect(tls, &terms(&["h2"])).await;
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    soon("the end of an idle connection", idle.read_to_end(&mut Vec::new())).await.ok();
}

/// Renews the certificate in this folder, and waits until clients are shown another.
pub async fn until_renewed(folder: &Path, shown: impl AsyncFn() -> Vec<u8>) {
    let first = shown().await;
    certificate(folder, &["site.test"]);
    let renewed = async {
        while shown().await == first {
            tokio::task::yield_now().await;
        }
    };
    soon("another certificate", renewed).await;
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_without_a_restart() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, tls) = edge(&origin, folder.path(), "").await;
    let shown = async || {
        let stream = connect(tls, &terms(&["http/1.1"])).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    until_renewed(folder.path(), shown).await;
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    assert_eq!(ask(tls, "h2", "https://site.test/").await.1, StatusCode::OK, "a bad one changes nothing");
}

#[tokio::test]
async fn a_site_for_https_alone_sends_clients_there_and_tells_them_to_stay() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path(), &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n[tls]\n{tls}[[site]]\nhosts = [\"*\"]\n\
         origins = [\"http://{}\"]\nhttps_only = \"180d\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let rig = Rig::of(Clock::system(), &text).await;
    let port = rig.running.as_ref().unwrap().listening().tls[0].port();
    for (request, status, location) in [
        ("GET /a?b HTTP/1.1\r\nHost: site.test\r\n\r\n", 301, "https://site.test/a?b".to_owned()),
        ("GET /a HTTP/1.1\r\nHost: site.test:81\r\n\r\n", 301, format!("https://site.test:{port}/a")),
        (
            "POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n",
            308,
            "https://site.test/a".to_owned(),
        ),
    ] {
        let got = rig.client().await.raw(request.as_bytes()).await;
        assert_eq!((got.status, got.field("location")), (status, location), "{request}");
        assert_eq!(got.field("strict-transport-security"), "", "a browser must not believe it without TLS");
    }
    assert_eq!(origin.count(), 0);
    let mut stream = connect(rig.running.as_ref().unwrap().listening().tls[0], &terms(&["http/1.1"])).await;
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = soon("an answer", stream.read_to_string(&mut answer)).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ")
            && answer.contains("strict-transport-security: max-age=15552000\r\n"),
        "{answer}"
    );
}
