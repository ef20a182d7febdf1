//! Settings that hold at some listeners: certificates of clients, and the PROXY protocol.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf as _;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint};
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use verge_edge::clock::Clock;
use verge_edge::run::Listening;

use super::behind::introduced;
use super::encrypted::{certificate, connect, terms};
use super::known::{Signer, get};
use super::quic::Http3;
use super::rig::{Client, Origin, Rig, response, soon};

/// An origin that says whom it was told of.
async fn origin() -> Arc<Origin> {
    Origin::answering(|head| {
        let told = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let known = told("client-cert: ").unwrap_or("nobody");
        response("200 OK", "", &format!("{known} from {}", told("x-forwarded-for: ").unwrap_or("nowhere")))
    })
    .await
}

/// A config with two listeners of each kind.
fn text(origin: &Origin, folder: &Path, top: &str, clients: &str) -> String {
    let both = "[\"127.0.0.1:0\", \"127.0.0.2:0\"]";
    let tls = certificate(folder, &["site.test"]);
    format!(
        "listen = {both}\nlisten_tls = {both}\nlisten_quic = {both}\n{top}\n[tls]\n{tls}{clients}\n\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origin.address
    )
}

fn listening(rig: &Rig) -> Listening {
    rig.running.as_ref().unwrap().listening()
}

fn over_quic(terms: &rustls::ClientConfig) -> ClientConfig {
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(terms.clone()).unwrap()))
}

fn shown(own: &CertificateDer<'_>) -> String {
    format!(":{}: from 127.0.0.1", STANDARD.encode(own))
}

const NOBODY: &str = "nobody from 127.0.0.1";

/// The body over HTTP/3; none if the edge does not take the client.
async fn get_over_quic(address: SocketAddr, config: &ClientConfig) -> Option<String> {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config.clone(), address, "site.test").unwrap();
    let connection = soon("a handshake", connecting).await.ok()?;
    let (mut driver, mut requests) =
        h3::client::new(h3_quinn::Connection::new(connection.clone())).await.ok()?;
    let asked = async {
        let request = http::Request::get("https://site.test/a").body(()).unwrap();
        let mut stream = requests.send_request(request).await.ok()?;
        stream.finish().await.ok()?;
        stream.recv_response().await.ok()?;
        let mut body = stream.recv_data().await.ok()??;
        let length = body.remaining();
        Some(String::from_utf8(body.copy_to_bytes(length).to_vec()).unwrap())
    };
    let asked = async {
        tokio::select! {
            got = asked => got,
            _ = std::future::poll_fn(|cx| driver.poll_close(cx)) => None,
        }
    };
    let got = soon("an answer or an end", asked).await;
    if got.is_none() {
        let ended = soon("the end of the connection", connection.closed()).await;
        assert!(!matches!(ended, ConnectionError::TimedOut), "{ended}");
    }
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn one_listener_asks_for_certificates_beside_another_that_is_for_everybody() {
    let origin = origin().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let signer = Signer::new(&ca);
    let clients = format!("[tls.clients]\nca = {ca:?}\nlisten = [\"127.0.0.2:0\"]");
    let rig = Rig::of(Clock::system(), &text(&origin, folder.path(), "", &clients)).await;
    let Listening { tls, quic, .. } = listening(&rig);
    let ends = |answer: Option<String>, body: &str| {
        let answer = answer.unwrap_or_default();
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}, not {body}");
        answer
    };
    let (ann, own) = signer.client("ann", "http/1.1");
    let public = ends(get(tls[0], &terms(&["http/1.1"])).await, NOBODY);
    assert_eq!(get(tls[1], &terms(&["http/1.1"])).await, None);
    let known = ends(get(tls[1], &ann).await, &shown(&own));
    ends(get(tls[0], &ann).await, NOBODY);
    // Each is told of HTTP/3 where it is the same to the edge.
    for (answer, port) in [(public, quic[0].port()), (known, quic[1].port())] {
        assert!(answer.contains(&format!("alt-svc: h3=\":{port}\";")), "{answer}");
    }
    let (ben, own) = signer.client("ben", "h3");
    let (stranger, ben) = (over_quic(&terms(&["h3"])), over_quic(&ben));
    assert_eq!(get_over_quic(quic[0], &stranger).await.unwrap(), NOBODY);
    assert_eq!(get_over_quic(quic[1], &stranger).await, None);
    assert_eq!(get_over_quic(quic[1], &ben).await.unwrap(), shown(&own));
    assert_eq!(get_over_quic(quic[0], &ben).await.unwrap(), NOBODY);
}

/// A ticket carries the certificates that its first handshake showed: where none was asked for, none.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_public_listener_is_none_where_certificates_are_asked_for() {
    let origin = origin().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let signer = Signer::new(&ca);
    let refused = "verge_edge_handshakes_failed_total{why=\"refused\"}";
    for required in [true, false] {
        let clients =
            format!("[tls.clients]\nca = {ca:?}\nrequired = {required}\nlisten = [\"127.0.0.2:0\"]");
        let rig = Rig::of(Clock::system(), &text(&origin, folder.path(), "", &clients)).await;
        let Listening { tls, quic, .. } = listening(&rig);
        for version in [&TLS13, &TLS12] {
            let (ann, own) = signer.client_by(&[version], "ann", "http/1.1");
            // The ticket of each answer is taken along to the next listener.
            for _ in 0..3 {
                assert!(get(tls[0], &ann).await.unwrap().ends_with(NOBODY));
                assert!(get(tls[1], &ann).await.unwrap().ends_with(&shown(&own)), "{version:?} {required}");
            }
        }
        let (ben, own) = signer.client("ben", "h3");
        let ben = over_quic(&ben);
        for _ in 0..3 {
            assert_eq!(get_over_quic(quic[0], &ben).await.unwrap(), NOBODY);
            assert_eq!(get_over_quic(quic[1], &ben).await.unwrap(), shown(&own), "{required}");
        }
        assert_eq!(rig.metric(refused).await, 0, "a client with a certificate is asked for it");
        // Sessions resume at the listener that they are of, all the same.
        let resumed = "verge_edge_handshakes_total{tls=\"1.3\",resumed=\"yes\"}";
        let stranger = terms(&["http/1.1"]);
        for _ in 0..2 {
            assert!(get(tls[0], &stranger).await.unwrap().ends_with(NOBODY));
        }
        assert!(rig.metric(resumed).await > 0);
        for _ in 0..3 {
            let got = get(tls[1], &stranger).await;
            assert_eq!(got.is_none(), required, "{got:?}");
        }
    }
}

/// A request on a connection over TLS that stays, and the body of its answer.
async fn ask(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(NOBODY.as_bytes()) {
        answer.push(soon("an answer", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_moves_a_setting_to_another_listener_and_drops_no_connection() {
    let origin = origin().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let signer = Signer::new(&ca);
    let at = |asking: &str, introduced: &str| {
        let clients = format!("[tls.clients]\nca = {ca:?}\nlisten = [\"{asking}:0\"]");
        let top = format!("proxy_protocol = [\"127.0.0.0/8\"]\nproxy_protocol_listen = [\"{introduced}:0\"]");
        let listen = "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]";
        // Over TLS nobody introduces clients here.
        let others = "listen = [\"127.0.0.3:0\", \"127.0.0.4:0\"]";
        text(&origin, folder.path(), &top, &clients).replacen(listen, others, 1)
    };
    let rig = Rig::by(Clock::system(), &at("127.0.0.2", "127.0.0.3"), true).await;
    let Listening { public, tls, quic, .. } = listening(&rig);
    let request = "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let health = "/.well-known/verge/health";
    let mut kept = connect(tls[0], &terms(&["http/1.1"])).await;
    ask(&mut kept).await;
    let mut kept_plain = Client::connect(public[1]).await;
    assert_eq!(kept_plain.get(health).await.status, 200);
    let mut kept_quic = Http3::open(quic[0]).await;
    assert_eq!(kept_quic.get("https://site.test/a").await.0.status(), 200);
    let is_introduced = async |address: SocketAddr| {
        let mut client = Client::connect(address).await;
        let got = client.raw(&introduced([203, 0, 113, 7], request)).await;
        (got.status == 200).then(|| assert_eq!(got.text(), "nobody from 203.0.113.7")).is_some()
    };
    let (ann, own) = signer.client("ann", "http/1.1");
    let check = async |asking: usize, introducing: usize| {
        let open = 1 - asking;
        assert!(get(tls[open], &terms(&["http/1.1"])).await.unwrap().ends_with(NOBODY));
        assert_eq!(get(tls[asking], &terms(&["http/1.1"])).await, None);
        assert!(get(tls[asking], &ann).await.unwrap().ends_with(&shown(&own)));
        assert_eq!(get_over_quic(quic[asking], &over_quic(&terms(&["h3"]))).await, None);
        // The same sender is introduced at the one listener, and a client at the other: a balancer that looks whether the edge is well.
        assert!(is_introduced(public[introducing]).await && !is_introduced(public[1 - introducing]).await);
        assert_eq!(Client::connect(public[1 - introducing]).await.get(health).await.status, 200);
        let mut bare = Client::connect(public[introducing]).await;
        bare.write(request.as_bytes()).await;
        assert_eq!(bare.until_the_end().await.unwrap_or_default(), "");
    };
    check(1, 0).await;
    rig.reload(&at("127.0.0.1", "127.0.0.4")).await;
    assert_eq!((listening(&rig).tls, listening(&rig).public), (tls.clone(), public.clone()));
    check(0, 1).await;
    ask(&mut kept).await;
    assert_eq!(kept_plain.get(health).await.status, 200);
    assert_eq!(kept_quic.get("https://site.test/a").await.0.status(), 200);
}

#[tokio::test]
async fn a_proxy_names_its_client_before_the_handshake_of_tls() {
    let origin = origin().await;
    let folder = tempfile::tempdir().unwrap();
    for at in ["", "proxy_protocol_listen = [\"127.0.0.1:0\"]"] {
        let top = format!("proxy_protocol = [\"127.0.0.0/8\"]\n{at}");
        let rig = Rig::of(Clock::system(), &text(&origin, folder.path(), &top, "")).await;
        let Listening { tls, .. } = listening(&rig);
        let mut stream = TcpStream::connect(tls[0]).await.unwrap();
        stream.write_all(&introduced([203, 0, 113, 7], "")).await.unwrap();
        let connecting =
            TlsConnector::from(terms(&["http/1.1"])).connect("site.test".try_into().unwrap(), stream);
        let mut stream = soon("a handshake", connecting).await.unwrap();
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let _ = soon("an answer", stream.read_to_string(&mut answer)).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("nobody from 203.0.113.7"),
            "{answer}"
        );
        // A handshake without the header is refused there; elsewhere it is a client's.
        assert_eq!(get(tls[0], &terms(&["http/1.1"])).await, None);
        assert_eq!(rig.dropped("not-introduced").await, 1);
        assert_eq!(get(tls[1], &terms(&["http/1.1"])).await.is_some(), !at.is_empty());
    }
}
