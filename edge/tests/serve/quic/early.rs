//! Early data over HTTP/3: what comes in 0-RTT packets of a session that resumes (RFC 9001 §4.6, RFC 8470).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, NoneTokenStore, ZeroRttAccepted};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use verge_edge::clock::Clock;

use super::{Http3, head, one_way};
use crate::encrypted::{certificate, counting};
use crate::rig::{Origin, Rig, response, soon};

const ASKED: &str = "verge_edge_protocol_requests_total{protocol=\"HTTP/3\"}";

/// A client with early data that keeps its sessions and tokens.
fn client() -> ClientConfig {
    let mut tls = counting(&["h3"], &Arc::default());
    tls.enable_early_data = true;
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

async fn origin() -> Arc<Origin> {
    Origin::answering(|head| {
        let is_refused = head.starts_with("GET /once ") && head.contains("early-data: 1\r\n");
        let fresh = if head.starts_with("GET /kept ") { "max-age=60" } else { "no-store" };
        let status = if is_refused { "425 Too Early" } else { "200 OK" };
        response(status, &format!("Cache-Control: {fresh}\r\n"), "page")
    })
    .await
}

/// An edge, and its two listeners.
struct Started {
    rig: Rig,
    quic: [SocketAddr; 2],
    text: String,
    _folder: tempfile::TempDir,
}

impl Started {
    /// With this line in `[tls]`.
    async fn with(origin: &Origin, line: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = certificate(folder.path(), &["site.test"]);
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n[tls]\n{tls}{line}\n\
             [limits]\nhead_size = \"32KiB\"\n[[site]]\nhosts = [\"site.test\"]\norigins = [\"http://{}\"]\n\
             [admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
            origin.address
        );
        let rig = Rig::by(Clock::system(), &text, true).await;
        let quic = rig.running.as_ref().unwrap().listening().quic.clone().try_into().unwrap();
        Self { rig, quic, text, _folder: folder }
    }

    async fn early(origin: &Origin) -> Self {
        Self::with(origin, "early_data = \"get\"").await
    }

    /// A session for `client`, by a request that is answered in the ordinary way.
    async fn session(&self, client: &ClientConfig) {
        let (answer, _) = Http3::with(self.quic[0], client.clone()).await.get("https://site.test/kept").await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

/// Carries packets between a client and an edge. Those of the edge wait until they are let go, so no handshake ends before.
struct Relay {
    address: SocketAddr,
    may_go: watch::Sender<bool>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Relay {
    async fn to(edge: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        back.connect(edge).await.unwrap();
        let address = front.local_addr().unwrap();
        let (may_go, mut go) = watch::channel(false);
        let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let noted = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            let (mut client, mut waiting) = (None, Vec::new());
            let (mut out, mut back_in) = ([0; 2048], [0; 2048]);
            loop {
                tokio::select! {
                    Ok((bytes, from)) = front.recv_from(&mut out) => {
                        client = Some(from);
                        noted.lock().unwrap().push(out[..bytes].to_vec());
                        let _ = back.send(&out[..bytes]).await;
                    }
                    Ok(bytes) = back.recv(&mut back_in) => waiting.push(back_in[..bytes].to_vec()),
                    Ok(()) = go.changed() => {}
                    else => return,
                }
                if let Some(client) = client.filter(|_| *go.borrow()) {
                    for packet in waiting.drain(..) {
                        let _ = front.send_to(&packet, client).await;
                    }
                }
            }
        });
        Self { address, may_go, sent, task }
    }

    fn let_go(&self) {
        self.may_go.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that has a session, and whether the edge takes its early data.
fn resume(address: SocketAddr, client: &ClientConfig) -> (Endpoint, Connection, ZeroRttAccepted) {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(client.clone(), address, "site.test").unwrap();
    let (connection, is_taken) = connecting.into_0rtt().expect("the session has early data");
    (endpoint, connection, is_taken)
}

async fn resume_http3(address: SocketAddr, client: &ClientConfig) -> (Http3, ZeroRttAccepted) {
    let (endpoint, connection, is_taken) = resume(address, client);
    (Http3::over(endpoint, connection).await, is_taken)
}

fn told(origin: &Origin) -> Vec<bool> {
    origin.seen().iter().map(|head| head.contains("early-data: 1\r\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_is_answered_before_the_handshake_has_ended() {
    let origin = origin().await;
    let started = Started::early(&origin).await;
    // From the store, from the origin, and what that does not want to do twice.
    let paths = [("kept", StatusCode::OK), ("other", StatusCode::OK), ("once", StatusCode::TOO_EARLY)];
    for ((path, status), asked) in paths.into_iter().zip([2, 4, 6]) {
        let client = client();
        started.session(&client).await;
        let relay = Relay::to(started.quic[0]).await;
        let (mut http3, is_taken) = resume_http3(relay.address, &client).await;
        let url = format!("https://site.test/{path}");
        let before_the_end = async {
            started.rig.until(ASKED, asked).await;
            relay.let_go();
        };
        let ((answer, body), ()) = tokio::join!(http3.get(&url), before_the_end);
        assert_eq!((answer.status(), &body[..]), (status, &b"page"[..]), "{path}");
        assert!(soon("the handshake", is_taken).await, "{path}");
    }
    assert_eq!(told(&origin), [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_repeated_is_too_early_until_the_handshake_has_ended() {
    let origin = origin().await;
    let started = Started::early(&origin).await;
    for ((method, body), asked) in [("POST", ""), ("GET", "x"), ("DELETE", "")].into_iter().zip(1..) {
        let request = || {
            let request = Request::builder().method(method).uri("https://site.test/a");
            request.header("content-length", body.len()).body(()).unwrap()
        };
        let client = client();
        started.session(&client).await;
        let relay = Relay::to(started.quic[0]).await;
        let (mut http3, is_taken) = resume_http3(relay.address, &client).await;
        let before_the_end = async {
            started.rig.until("verge_edge_turned_away_total{why=\"early\"}", asked).await;
            relay.let_go();
        };
        let ((answer, _), ()) = tokio::join!(http3.ask(request(), body.as_bytes()), before_the_end);
        assert_eq!(answer.status(), StatusCode::TOO_EARLY, "{method}");
        assert!(soon("the handshake", is_taken).await, "{method}");
        assert_eq!(origin.count() as u64, asked, "{method}");
        // The connection is one like others now.
        let (answer, _) = http3.ask(request(), body.as_bytes()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{method}");
    }
    assert_eq!(told(&origin), [false; 4]);
}

/// RFC 8446 §8.1: the bytes of a flight are public, and mean something once.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_flight_is_answered_once() {
    let origin = origin().await;
    let started = Started::early(&origin).await;
    let client = client();
    started.session(&client).await;
    let relay = Relay::to(started.quic[0]).await;
    let (mut http3, is_taken) = resume_http3(relay.address, &client).await;
    let before_the_end = async {
        started.rig.until(ASKED, 2).await;
        let flight = relay.sent.lock().unwrap().clone();
        relay.let_go();
        flight
    };
    let ((answer, _), flight) = tokio::join!(http3.get("https://site.test/other"), before_the_end);
    assert!(answer.status() == StatusCode::OK && soon("the handshake", is_taken).await);
    // The first listener knows these packets; the second has the same sessions.
    let thief = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    thief.connect(started.quic[1]).await.unwrap();
    for packet in &flight {
        thief.send(packet).await.unwrap();
    }
    // A handshake without the session: its flight is here, and an answer would have come with it.
    assert!(soon("a flight", thief.recv(&mut [0; 2048])).await.unwrap() > 0);
    // A request of the thief's connection would be there before this.
    let (answer, _) = Http3::with(started.quic[1], self::client()).await.get("https://site.test/last").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let asked = origin.seen().iter().filter(|head| head.starts_with("GET /other ")).count();
    assert_eq!((asked, origin.count()), (1, 3));
}

/// RFC 9000 §8.1: anybody can write another's address on a packet.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_handshake_where_no_token_proves_the_address() {
    let origin = origin().await;
    let started = Started::early(&origin).await;
    let mut client = client();
    client.token_store(Arc::new(NoneTokenStore));
    started.session(&client).await;
    let relay = Relay::to(started.quic[0]).await;
    let (_endpoint, connection, is_taken) = resume(relay.address, &client);
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&head(b"/other")).await.unwrap();
    send.finish().unwrap();
    let is_sent = async {
        while connection.stats().frame_tx.stream == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the request", is_sent).await;
    relay.let_go();
    assert!(soon("the handshake", is_taken).await);
    let _control = one_way(&connection, b"\x00\x04\x00").await;
    let answer = soon("an answer", receive.read_to_end(1 << 16)).await.unwrap();
    assert!(answer.ends_with(b"page"));
    assert_eq!(told(&origin), [false, false]);
}

/// RFC 9114 §7.2.4.2: a client goes by the settings of before, which must not have become less.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_of_before_is_early_when_a_setting_has_changed() {
    let origin = origin().await;
    let started = Started::early(&origin).await;
    let client = client();
    started.session(&client).await;
    started.rig.reload(&started.text.replace("32KiB", "16KiB")).await;
    assert!(!is_early(started.quic[0], &client).await);
    // Sessions that were told the setting of now are.
    let client = self::client();
    started.session(&client).await;
    assert!(is_early(started.quic[0], &client).await);
}

/// Whether the edge takes the early data of a session.
async fn is_early(address: SocketAddr, client: &ClientConfig) -> bool {
    let (_endpoint, connection, is_taken) = resume(address, client);
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&head(b"/other")).await.unwrap();
    soon("the handshake", is_taken).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_early_by_default() {
    let origin = origin().await;
    let started = Started::with(&origin, "").await;
    let client = client();
    started.session(&client).await;
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(client, started.quic[0], "site.test").unwrap();
    assert!(connecting.into_0rtt().is_err(), "the session allows no early data");
}
