//! The terms that a handshake agrees to, beside versions and protocols.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::compress::{CertDecompressor, DecompressionFailed};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{CertificateCompressionAlgorithm, NamedGroup};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use verge_edge::clock::Clock;

use super::encrypted::{certificate, connect, counting, edge, terms};
use super::quic::Http3;
use super::rig::{Origin, Rig, soon};

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 5\r\n\r\nhello";

/// Unpacks certificates, and counts them.
#[derive(Debug)]
struct Unpacking(CertificateCompressionAlgorithm, &'static AtomicUsize);

impl CertDecompressor for Unpacking {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let mut reader: Box<dyn std::io::Read> = match self.0 {
            CertificateCompressionAlgorithm::Brotli => Box::new(brotli::Decompressor::new(input, 4096)),
            _ => Box::new(flate2::read::ZlibDecoder::new(input)),
        };
        reader.read_exact(output).map_err(|_| DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        self.0
    }
}

#[tokio::test]
async fn a_certificate_is_compressed_for_clients_that_ask_for_that() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, tls) = edge(&origin, folder.path(), "").await;
    for algorithm in [CertificateCompressionAlgorithm::Brotli, CertificateCompressionAlgorithm::Zlib] {
        let unpacked: &'static AtomicUsize = Box::leak(Box::default());
        let mut terms = (*terms(&["h2"])).clone();
        terms.cert_decompressors = vec![Box::leak(Box::new(Unpacking(algorithm, unpacked)))];
        let stream = connect(tls, &Arc::new(terms)).await;
        assert_eq!(unpacked.load(Ordering::Relaxed), 1, "{algorithm:?}");
        let written = std::fs::read_to_string(folder.path().join("chain.pem")).unwrap();
        let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
        let shown = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, shown);
        assert!(written.replace(['\n', '\r'], "").contains(&shown));
    }
}

#[tokio::test]
async fn a_client_that_prefers_a_key_exchange_that_withstands_quantum_computers_gets_it() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, tls) = edge(&origin, folder.path(), "").await;
    for (groups, expected) in [
        (vec![kx_group::X25519MLKEM768, kx_group::X25519], NamedGroup::X25519MLKEM768),
        (vec![kx_group::X25519MLKEM768], NamedGroup::X25519MLKEM768),
        (vec![kx_group::X25519], NamedGroup::X25519),
    ] {
        let mut terms = (*terms(&["h2"])).clone();
        let mut provider = (**terms.crypto_provider()).clone();
        provider.kx_groups = groups;
        terms = rebuilt(&terms, provider);
        let stream = connect(tls, &Arc::new(terms)).await;
        let agreed = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
        assert_eq!(agreed.name(), expected);
    }
}

/// The same terms with other cryptography.
fn rebuilt(terms: &rustls::ClientConfig, provider: rustls::crypto::CryptoProvider) -> rustls::ClientConfig {
    let alpn: Vec<&str> =
        terms.alpn_protocols.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
    super::encrypted::counting_with(provider, &alpn, &Arc::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_over_quic_resumes_on_another_edge_that_has_the_same_secret() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = one.path().join("tickets.secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    for (line, expected) in [(format!("ticket_secret = {secret:?}"), [1, 1, 1]), (String::new(), [1, 1, 2])] {
        let (first, second) =
            (edge(&origin, one.path(), &line).await, edge(&origin, two.path(), &line).await);
        let shown = Arc::new(AtomicUsize::new(0));
        let config = QuicClientConfig::try_from(counting(&["h3"], &shown)).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(config));
        let mut counts = Vec::new();
        for (rig, _) in [&first, &first, &second] {
            let quic = rig.running.as_ref().unwrap().listening().quic[0];
            let mut client = Http3::with(quic, config.clone()).await;
            // The ticket comes before the answer.
            assert_eq!(client.get("https://site.test/a").await.0.status(), 200);
            counts.push(shown.load(Ordering::Relaxed));
        }
        assert_eq!(counts, expected, "{line}");
    }
}

/// First packets of so many handshakes that do not go on.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = QuicClientConfig::try_from((*terms(&["h3"])).clone()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(config));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let (mut packets, mut connecting) = (Vec::<Vec<u8>>::new(), Vec::new());
    for _ in 0..count {
        let to = sink.local_addr().unwrap();
        connecting.push(endpoint.connect_with(config.clone(), to, "site.test").unwrap());
    }
    // RFC 9000 §17.2: the ID that the client chose for the server stands behind its length.
    let id = |packet: &[u8]| packet[6..6 + usize::from(packet[5])].to_vec();
    let mut bytes = [0; 2048];
    while packets.len() < count {
        let length = soon("a first packet", sink.recv(&mut bytes)).await.unwrap();
        let packet = bytes[..length].to_vec();
        if packets.iter().all(|known| id(known) != id(&packet)) {
            packets.push(packet);
        }
    }
    packets
}

/// RFC 9000 §17.2.5: a packet with a long header, of the type Retry.
fn is_retry(packet: &[u8]) -> bool {
    packet[0] & 0xf0 == 0xf0
}

const CROWDED: &str = "verge_edge_handshakes_failed_total{why=\"crowded\"}";

/// An edge with this limit, over TCP and QUIC.
async fn limited(origin: &Origin, folder: &std::path::Path, limit: &str) -> Rig {
    let tls = certificate(folder, &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[limits]\nhead_timeout = \"10s\"\n{limit}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origin.address
    );
    Rig::of(Clock::system(), &text).await
}

/// Two clients that say nothing: the one has the place, and the other was turned away.
async fn silent(rig: &Rig) -> [TcpStream; 2] {
    let tls = rig.running.as_ref().unwrap().listening().tls[0];
    let before = rig.metric(CROWDED).await;
    let [one, two] = [TcpStream::connect(tls).await.unwrap(), TcpStream::connect(tls).await.unwrap()];
    rig.until(CROWDED, before + 1).await;
    [one, two]
}

/// Whether a client with this address comes through its handshake.
async fn is_met(tls: std::net::SocketAddr, address: &str) -> bool {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    let stream = socket.connect(tls).await.unwrap();
    let name = "site.test".try_into().unwrap();
    soon("a handshake", TlsConnector::from(terms(&["h2"])).connect(name, stream)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_have_a_bound_in_all_and_for_each_network_until_one_has_had_its_time() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    for limit in ["handshakes = 1", "handshakes_per_network = 1"] {
        let rig = limited(&origin, folder.path(), limit).await;
        let tls = rig.running.as_ref().unwrap().listening().tls[0];
        let held = silent(&rig).await;
        if limit.contains("network") {
            assert!(is_met(tls, "127.0.0.2:0").await, "another network has places of its own");
            assert_eq!(rig.metric(CROWDED).await, 1);
        }
        // The silent one makes room when a second has passed.
        soon("a place", async { while !is_met(tls, "127.0.0.1:0").await {} }).await;
        assert!(rig.metric(CROWDED).await >= 2, "one of the two was sent away for that");
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_over_quic_takes_a_place_among_those_over_tcp() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let packets = first_packets(64).await;
    for limit in ["handshakes = 1", "handshakes_per_network = 1"] {
        let rig = limited(&origin, folder.path(), limit).await;
        let quic = rig.running.as_ref().unwrap().listening().quic[0];
        let mut unproved = Vec::new();
        for packet in &packets {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.send_to(packet, quic).await.unwrap();
            soon("an answer", socket.recv(&mut [0; 2048])).await.unwrap();
            unproved.push(socket);
        }
        let held = silent(&rig).await;
        let before = rig.metric(CROWDED).await;
        // This client proves its address, and gets in when the silent one has had its second.
        let mut client = Http3::open(quic).await;
        assert_eq!(client.get("https://site.test/a").await.0.status(), 200);
        assert!(rig.metric(CROWDED).await > before, "{limit}");
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_mark_a_client_proves_its_address_before_anything_is_kept_for_it() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path(), &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}[[site]]\nhosts = [\"*\"]\n\
         origins = [\"http://{}\"]\n[limits]\nhead_timeout = \"10s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let rig = Rig::of(Clock::system(), &text).await;
    let quic = rig.running.as_ref().unwrap().listening().quic[0];
    let packets = first_packets(65).await;
    let mut answers = Vec::new();
    for packet in &packets {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(packet, quic).await.unwrap();
        let mut answer = [0; 2048];
        let length = soon("an answer", socket.recv(&mut answer)).await.unwrap();
        answers.push(is_retry(&answer[..length]));
    }
    assert_eq!(answers.iter().filter(|it| **it).count(), 1, "{answers:?}");
    assert!(answers[64], "those before had a place each");
    let mut client = Http3::open(quic).await;
    assert_eq!(client.get("https://site.test/a").await.0.status(), 200, "one that proves its address");
}
