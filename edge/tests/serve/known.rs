//! Clients that are known by their certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use verge_edge::clock::Clock;

use super::encrypted::{ask_by, certificate, terms};
use super::quic::Http3;
use super::rig::{Origin, Rig, response, soon};

/// Signs certificates of clients.
pub struct Signer(Issuer<'static, KeyPair>);

impl Signer {
    pub fn new(file: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "signer");
        let key = KeyPair::generate().unwrap();
        std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// The terms of a client with this name, who keeps its sessions, and its certificate.
    pub fn client(&self, name: &str, alpn: &str) -> (Arc<ClientConfig>, CertificateDer<'static>) {
        self.client_by(rustls::DEFAULT_VERSIONS, name, alpn)
    }

    /// The same by these versions of TLS.
    pub fn client_by(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        name: &str,
        alpn: &str,
    ) -> (Arc<ClientConfig>, CertificateDer<'static>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.0).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let plain = terms(&[alpn]);
        let mut known = ClientConfig::builder_with_provider(Arc::clone(plain.crypto_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(super::encrypted::trusting())
            .with_client_auth_cert(vec![own.clone()], key)
            .unwrap();
        known.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        (Arc::new(known), own)
    }
}

async fn edge(origin: &Origin, folder: &Path, more: &str) -> Rig {
    edge_with(origin, folder, more, "").await
}

/// As `edge`, with more lines for the site.
async fn edge_with(origin: &Origin, folder: &Path, more: &str, site: &str) -> Rig {
    let tls = certificate(folder, &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}{more}\n\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n{site}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origin.address
    );
    Rig::of(Clock::system(), &text).await
}

/// The body of the answer by these terms over TCP; none if the edge does not take the client.
pub async fn get(address: SocketAddr, terms: &Arc<ClientConfig>) -> Option<String> {
    let asked = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = "site.test".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::clone(terms)).connect(name, stream).await.ok()?;
        let request =
            b"GET /a HTTP/1.1\r\nHost: site.test\r\nClient-Cert: :Zm9yZ2Vk:\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        (!answer.is_empty()).then_some(answer)
    };
    soon("an answer or an end", asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_to_the_origin_by_its_certificate_and_by_nothing_that_it_sends() {
    let origin = Origin::answering(|head| {
        let told = head.lines().find_map(|line| line.strip_prefix("client-cert: ")).unwrap_or("nobody");
        response("200 OK", "Cache-Control: public, max-age=60\r\n", told)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let signer = Signer::new(&ca);
    let stranger = Signer::new(&folder.path().join("other.pem"));
    let check = async |required: bool| {
        let rig =
            edge(&origin, folder.path(), &format!("[tls.clients]\nca = {ca:?}\nrequired = {required}\n"))
                .await;
        let listening = rig.running.as_ref().unwrap().listening();
        let tls = listening.tls[0];
        let field = |own: &CertificateDer<'_>| format!(":{}:", STANDARD.encode(own));
        let (ann, ann_shown) = signer.client("ann", "http/1.1");
        let (ben, ben_shown) = signer.client("ben", "http/1.1");
        // An answer to one is not kept for another; the second time, a session resumes.
        for _ in 0..2 {
            assert!(get(tls, &ann).await.unwrap().ends_with(&field(&ann_shown)));
            assert!(get(tls, &ben).await.unwrap().ends_with(&field(&ben_shown)));
        }
        let (over_h2, shown) = signer.client("cleo", "h2");
        assert_eq!(ask_by(tls, &over_h2, "h2", "https://site.test/a").await.3, field(&shown).as_bytes());
        let (over_h3, shown) = signer.client("dan", "h3");
        let config =
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from((*over_h3).clone()).unwrap()));
        let mut client = Http3::with(listening.quic[0], config).await;
        assert_eq!(client.get("https://site.test/a").await.1, field(&shown).as_bytes());
        assert_eq!(get(tls, &stranger.client("eve", "http/1.1").0).await, None, "nobody here signed that");
        let unknown = get(tls, &terms(&["http/1.1"])).await;
        assert_eq!(unknown.is_none(), required, "{unknown:?}");
        assert!(unknown.is_none_or(|answer| answer.ends_with("\r\n\r\nnobody")));
    };
    check(true).await;
    check(false).await;
}

/// A parent withholds the field, as it does of every client: it cannot tell a child's word from that of the child's clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_certificate_is_told_to_the_origin_and_not_to_a_parent() {
    let origin = Origin::answering(|head| {
        let told = head.lines().find_map(|line| line.strip_prefix("client-cert: ")).unwrap_or("nobody");
        response("200 OK", "Cache-Control: public, max-age=60\r\n", told)
    })
    .await;
    let parent = Rig::with(&[origin.address], "name = \"shield\"\nchildren = [\"127.0.0.1\"]", "").await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let signer = Signer::new(&ca);
    let clients = format!("[tls.clients]\nca = {ca:?}\nrequired = false\n");
    let parents = format!("parents = [\"http://{}\"]", parent.public);
    let rig = edge_with(&origin, folder.path(), &clients, &parents).await;
    let tls = rig.running.as_ref().unwrap().listening().tls[0];
    let (ann, shown) = signer.client("ann", "http/1.1");
    let answer = get(tls, &ann).await.unwrap();
    assert!(answer.ends_with(&format!(":{}:", STANDARD.encode(shown))), "{answer}");
    assert!(!answer.contains("shield;"), "{answer}");
    let unknown = get(tls, &terms(&["http/1.1"])).await.unwrap();
    assert!(unknown.ends_with("nobody") && unknown.contains("shield; fwd="), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_begun_where_no_certificate_is_asked_for_is_none_where_one_is() {
    let origin = Origin::answering(|_| response("200 OK", "", "page")).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let _signer = Signer::new(&ca);
    let secret = folder.path().join("tickets.secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let secret = format!("ticket_secret = {secret:?}\n");
    let open = edge(&origin, folder.path(), &secret).await;
    let closed = edge(&origin, folder.path(), &format!("{secret}[tls.clients]\nca = {ca:?}\n")).await;
    let tls = |rig: &Rig| rig.running.as_ref().unwrap().listening().tls[0];
    let client = terms(&["http/1.1"]);
    assert!(get(tls(&open), &client).await.is_some());
    assert_eq!(get(tls(&closed), &client).await, None);
    assert!(get(tls(&open), &client).await.is_some());
}
