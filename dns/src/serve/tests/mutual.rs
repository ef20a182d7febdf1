//! Secondaries that must show a certificate (mutual TLS, RFC 9103 §9.3.3).

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::secondaries::{KEYS, keys, until};
use super::*;
use crate::client::Transport;
use crate::serve::testing::{Duplex, framed, over_quic};
use crate::tsig::{Algorithm, Key, SignedError, Signer};
use crate::view::Which;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const BYTES: &[u8] = b"0123456789abcdef0123456789abcdef";
const RULES: &str = "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n\
    [[transfer]]\nkeys = [\"outer\", \"inner\"]\nclient_ca = \"clients.pem\"\nclient_names = [\"ns2.example\"]\n\
    [[transfer]]\nzones = [\"b.example\"]\nclient_ca = \"clients.pem\"\nclient_names = [\"ns2.example\"]\n";

fn made(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// A server, and its certificate. `clients` are those that it knows.
fn primary(clients: &[&CertifiedKey<KeyPair>]) -> (Site, String, CertifiedKey<KeyPair>) {
    let (site, own) = (Site::new(), made("localhost"));
    site.write("secret.key", SECRET);
    site.write("chain.pem", &own.cert.pem());
    site.write("key.pem", &own.signing_key.serialize_pem());
    site.write("clients.pem", &clients.iter().map(|it| it.cert.pem()).collect::<String>());
    site.write("zones/b.example.zone", ZONE);
    let listen = "listen_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n";
    (site, format!("{listen}{KEYS}{CONFIG}{}", keys(RULES)), own)
}

/// A question for all of a zone, signed if there is a key.
fn axfr(zone: &str, key: Option<&Arc<Key>>) -> Vec<u8> {
    let mut message = question(zone);
    let at = message.len() - 3;
    message[at] = 252;
    if let Some(key) = key {
        Signer::of_request(key).sign(&mut message, SignedError::None, crate::clock::moment().unix_seconds);
    }
    message
}

struct Asker<'a> {
    running: &'a Running,
    trusted: &'a CertifiedKey<KeyPair>,
}

impl Asker<'_> {
    fn terms(&self, identity: Option<&CertifiedKey<KeyPair>>, alpn: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let mut terms = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![identity.cert.der().clone()], key).unwrap()
            }
        };
        terms.alpn_protocols = vec![alpn.to_vec()];
        terms
    }

    /// The answer to a message by one who shows this certificate.
    async fn ask(
        &self,
        transport: Transport,
        identity: Option<&CertifiedKey<KeyPair>>,
        message: &[u8],
    ) -> Vec<u8> {
        let listening = self.running.listening();
        let encrypted = listening.encrypted.iter().find(|it| it.transport == transport);
        let server = encrypted.map_or(listening.outside[0], |it| it.address);
        if transport == Transport::Quic {
            let crypto =
                quinn::crypto::rustls::QuicClientConfig::try_from(self.terms(identity, b"doq")).unwrap();
            let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
            let config = quinn::ClientConfig::new(Arc::new(crypto));
            let connection = endpoint.connect_with(config, server, "localhost").unwrap().await.unwrap();
            // RFC 9250 §4.2.1: the message ID is 0.
            let mut message = message.to_vec();
            message[..2].fill(0);
            return over_quic(&connection, &framed(&message)).await.unwrap();
        }
        let stream = tokio::net::TcpStream::connect(server).await.unwrap();
        let mut stream: Box<dyn Duplex> = match transport {
            Transport::Tls => {
                let connector = tokio_rustls::TlsConnector::from(Arc::new(self.terms(identity, b"dot")));
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(connector.connect(name, stream).await.unwrap())
            }
            _ => Box::new(stream),
        };
        stream.write_all(&framed(message)).await.unwrap();
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    }
}

/// The rcode and how many records came.
fn got(answer: &[u8]) -> (u8, u8) {
    (answer[3] & 15, answer[7])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_given_to_the_owner_of_the_certificate_and_the_key_alone() {
    let (right, other, twin) = (made("ns2.example"), made("ns3.example"), made("ns2.example"));
    let (site, config, own) = primary(&[&right, &other]);
    let running = site.start(&config).await;
    let asker = Asker { running: &running, trusted: &own };
    let name = |text: &str| crate::name::Name::parse_absolute(text).unwrap();
    let key =
        |text: &str, view, bytes: &[u8]| Arc::new(Key::new(name(text), Algorithm::HmacSha256, bytes, view));
    let (inner, outer) = (key("inner", Which::Internal, BYTES), key("outer", Which::Public, BYTES));
    let wrong = key("inner", Which::Internal, b"another secret of enough bytes..");
    let (refused, notauth) = ((5, 0), (9, 0));
    for transport in [Transport::Tls, Transport::Quic, Transport::Tcp] {
        let is_shown = transport != Transport::Tcp;
        for (case, identity, expected) in [
            ("right", Some(&right), is_shown),
            ("another name", Some(&other), false),
            ("another's of the same name", Some(&twin), false),
            ("none", None, false),
        ] {
            for (zone, key, records) in [
                ("example.com", Some(&inner), (0, 6)),
                ("example.com", Some(&outer), (0, 5)),
                ("example.com", None, refused),
                ("example.com", Some(&wrong), notauth),
                ("b.example", None, (0, 5)),
                ("b.example", Some(&inner), refused),
                ("c.example", None, refused),
                ("c.example", Some(&inner), refused),
            ] {
                // With QUIC the signature covers the ID 0.
                let message = match (transport, key) {
                    (Transport::Quic, Some(key)) => {
                        let mut message = axfr(zone, None);
                        message[..2].fill(0);
                        let now = crate::clock::moment().unix_seconds;
                        Signer::of_request(key).sign(&mut message, SignedError::None, now);
                        message
                    }
                    _ => axfr(zone, key),
                };
                let answer = asker.ask(transport, identity, &message).await;
                let expected = if expected || records.0 != 0 { records } else { refused };
                let key = key.map(|key| key.name.to_string());
                assert_eq!(got(&answer), expected, "{transport:?} {case} {zone} {key:?}");
            }
            // Whatever it shows, its questions are answered.
            let answer = asker.ask(transport, identity, &question("www.example.com")).await;
            assert_eq!(got(&answer), (0, 1), "{transport:?} {case}");
        }
    }
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_takes_a_zone_by_its_certificate() {
    let right = made("ns2.example");
    let (site, config, own) = primary(&[&right]);
    let running = site.start(&config).await;
    let tls = running.listening().encrypted.iter().find(|it| it.transport == Transport::Tls).unwrap().address;
    let second = Site::new();
    fs::remove_file(second.path("zones/example.com.zone")).unwrap();
    second.write("secret.key", SECRET);
    second.write("ca.pem", &own.cert.pem());
    second.write("me.pem", &right.cert.pem());
    second.write("me.key", &right.signing_key.serialize_pem());
    let from = format!(
        "[[secondary]]\nzone = \"example.com\"\nprimaries = [\"tls://{tls}#localhost\"]\nca = \"ca.pem\"\nkey = \"inner\"\n\
         certificate = \"me.pem\"\ncertificate_key = \"me.key\"\n"
    );
    let taker = second.start(&format!("{KEYS}{CONFIG}{}", keys(&from))).await;
    let inside = taker.listening().inside[0];
    until(&taker, inside, "db.example.com", address("10.0.0.5")).await;

    // A reload that knows other clients holds for the next connection.
    site.write("clients.pem", &made("ns2.example").cert.pem());
    let mut loads = running.loads();
    loads.borrow_and_update();
    running.reload();
    timeout(LIMIT, loads.changed()).await.unwrap().unwrap();
    let asker = Asker { running: &running, trusted: &own };
    let key = Arc::new(Key::new(
        crate::name::Name::parse_absolute("inner").unwrap(),
        Algorithm::HmacSha256,
        BYTES,
        Which::Internal,
    ));
    let answer = asker.ask(Transport::Tls, Some(&right), &axfr("example.com", Some(&key))).await;
    assert_eq!(got(&answer), (5, 0));
    taker.drain().await;
    running.drain().await;
}
