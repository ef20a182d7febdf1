//! A reload that changes listeners, certificates, limits and the operator's listener.

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use verge_edge::run::Listening;

use super::encrypted::{ask, certificate, connect, terms};
use super::quic::Http3;
use super::reloading::{Edge, origin};
use super::rig::{Client, Got, Origin, alone, soon};

const PLAIN: &str = "listen = [\"127.0.0.1:0\"]";

impl Edge {
    fn listening(&self) -> Listening {
        self.rig.running.as_ref().unwrap().listening()
    }

    /// Puts this in the place of its line with `listen`.
    async fn relisten(&self, lines: &str) -> Got {
        self.reload(&self.text.replace(PLAIN, lines)).await
    }
}

#[tokio::test]
async fn a_reload_opens_and_closes_listeners_and_drops_no_connection() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let mut kept = edge.rig.client().await;
    kept.get("/a").await.assert_forwarded();
    let first = edge.rig.public;
    let got = edge.relisten("listen = [\"127.0.0.2:0\", \"127.0.0.1:0\"]").await;
    assert!(got.text().contains("listen: [\\\"127.0.0.1:0\\\"] → "), "{}", got.text());
    assert!(got.text().ends_with("\"needs_restart\":[]}"), "{}", got.text());
    let now = edge.listening().public;
    assert_eq!((now.len(), now[1]), (2, first), "one that stays keeps its port");
    Client::connect(now[0]).await.get("/a").await.assert_hit();
    Client::connect(first).await.get("/a").await.assert_hit();
    assert_eq!(edge.relisten("listen = [\"127.0.0.2:0\"]").await.status, 200);
    assert_eq!(edge.listening().public, [now[0]]);
    let refused = async { while TcpStream::connect(first).await.is_ok() {} };
    soon("the listener to close", refused).await;
    // A connection of a listener that is closed ends with its next answer, and nothing that it asked for is lost.
    let last = kept.get("/a").await;
    last.assert_hit();
    assert_eq!(last.field("connection"), "close");
    assert!(kept.is_closed().await);
    let mut other = Client::connect(now[0]).await;
    assert_eq!(other.get("/b").await.field("connection"), "", "those of others stay");
}

#[tokio::test]
async fn a_listener_that_cannot_be_opened_changes_nothing() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = edge.text.replace("[[site]]", "[[site]]\nbypass = [\"/a\"]");
    let got = edge.reload(&text.replace(PLAIN, &format!("listen = [\"127.0.0.2:0\", \"{address}\"]"))).await;
    assert_eq!(got.status, 422);
    assert!(got.text().contains(&format!("{address} is in use")), "{}", got.text());
    assert_eq!(edge.listening().public, [edge.rig.public]);
    edge.rig.get("/a").await.assert_forwarded();
    edge.rig.get("/a").await.assert_hit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_brings_tls_changes_its_files_and_takes_it_away() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let folder = edge.rig.folder.path();
    let with = |tls: &str| {
        let listen = "listen_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]";
        format!("{PLAIN}\n{listen}\n[tls]\n{tls}")
    };
    let first = certificate(folder, &["site.test"]);
    assert_eq!(edge.relisten(&with(&first)).await.status, 200);
    let Listening { tls, quic, .. } = edge.listening();
    assert_eq!(ask(tls[0], "h2", "https://site.test/a").await.1, StatusCode::OK);
    let mut kept = Http3::open(quic[0]).await;
    assert_eq!(over_h3(&mut kept).await, (StatusCode::OK, b"one".to_vec()));
    // Another certificate in other files, and tickets by a secret: sessions of before are not resumed, later ones are.
    let other = folder.join("other");
    std::fs::create_dir(&other).unwrap();
    let secret = folder.join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let second = format!("{}ticket_secret = {secret:?}\n", certificate(&other, &["site.test"]));
    let client = terms(&["http/1.1"]);
    let before = resumable(tls[0], &client).await;
    assert_eq!(edge.relisten(&with(&second)).await.status, 200);
    assert_eq!((edge.listening().tls, edge.listening().quic), (tls.clone(), quic.clone()));
    let after = resumable(tls[0], &client).await;
    assert_ne!(before.1, after.1, "the certificate is another");
    assert_eq!(resumable(tls[0], &client).await.0, HandshakeKind::Resumed);
    // A bad one changes nothing.
    std::fs::write(folder.join("bad"), "bad").unwrap();
    let bad = second.replace("chain.pem", "none.pem");
    assert_eq!(edge.relisten(&with(&bad)).await.status, 422);
    assert_eq!(ask(tls[0], "h2", "https://site.test/a").await.1, StatusCode::OK);
    assert_eq!(edge.relisten(PLAIN).await.status, 200);
    assert!(edge.listening().tls.is_empty() && edge.listening().quic.is_empty());
    // Its connections are told to go (H3_NO_ERROR).
    let ended = soon("the end of a connection over QUIC", kept.connection.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(ended) = ended else { panic!("{ended}") };
    assert_eq!(ended.error_code, quinn::VarInt::from_u32(0x100));
    assert_eq!(edge.relisten(&with(&second)).await.status, 200);
    assert_eq!(ask(edge.listening().tls[0], "h2", "https://site.test/a").await.1, StatusCode::OK);
}

/// Its socket lasts as long as its connections do.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_over_quic_comes_back_while_connections_of_before_are_open() {
    let origin = Origin::start().await;
    let edge = Edge::start(&origin).await;
    let tls = certificate(edge.rig.folder.path(), &["site.test"]);
    let at = crate::ports::address();
    let with = format!("{PLAIN}\nlisten_quic = [\"{at}\"]\n[tls]\n{tls}");
    assert_eq!(edge.relisten(&with).await.status, 200);
    let address = edge.listening().quic[0];
    let mut old = Http3::open(address).await;
    let mut held = async || over_h3(&mut old).await.0;
    let second = async {
        let mut asked = origin.next().await;
        assert_eq!(edge.relisten(PLAIN).await.status, 200);
        for _ in 0..2 {
            let got = edge.relisten(&with).await;
            assert_eq!(got.status, 200, "{}", got.text());
            assert_eq!(edge.listening().quic, [address]);
            let mut new = Http3::open(address).await;
            let answer = async {
                let mut asked = origin.next().await;
                asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                asked.done();
            };
            let (_, (response, _)) = tokio::join!(answer, new.get("https://site.test/b"));
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(edge.relisten(PLAIN).await.status, 200);
        }
        asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        asked.done();
    };
    let (status, ()) = tokio::join!(held(), second);
    assert_eq!(status, StatusCode::OK, "the first has its answer");
}

async fn over_h3(client: &mut Http3) -> (StatusCode, Vec<u8>) {
    let (response, body) = client.get("https://site.test/a").await;
    (response.status(), body)
}

/// How a handshake went, and the certificate; the client has tickets after it.
async fn resumable(address: SocketAddr, client: &Arc<ClientConfig>) -> (HandshakeKind, Option<Vec<u8>>) {
    let mut stream = connect(address, client).await;
    let request = b"GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    // Tickets come with the answer.
    let _ = soon("an answer", stream.read_to_end(&mut Vec::new())).await;
    let session = stream.get_ref().1;
    let certificate = session.peer_certificates().map(|chain| chain[0].to_vec());
    (session.handshake_kind().unwrap(), certificate)
}

#[tokio::test]
async fn a_reload_changes_limits_for_those_who_come() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let mut kept = edge.rig.client().await;
    kept.get("/a").await.assert_forwarded();
    let text = edge.text.replace("[admin]", "[limits]\nconnections_per_network = 1\nfields = 3\n[admin]");
    assert_eq!(edge.reload(&text).await.status, 200);
    let many = b"GET /a HTTP/1.1\r\nHost: site.test\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n";
    assert_eq!(kept.raw(many).await.status, 200, "a connection keeps the limits that it began with");
    // The one that was idle longest goes for a new one.
    let mut other = edge.rig.client().await;
    assert_eq!(other.raw(many).await.status, 431);
    assert!(kept.is_closed().await, "the first was sent away");
}

#[tokio::test]
async fn a_reload_moves_the_operators_listener_and_changes_its_token() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let line = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let token = edge.rig.token();
    std::fs::write(edge.rig.folder.path().join("other"), "another-token").unwrap();
    let kept = edge.text.replace(line, &format!("{line}token_file = \"other\"\n"));
    assert_eq!(edge.reload(&kept).await.status, 200);
    let with = |token: &str| {
        format!(
            "POST /reload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let ask =
        async |token: &str| Client::connect(edge.rig.admin).await.raw(with(token).as_bytes()).await.status;
    assert_eq!((ask(&token).await, ask("another-token").await), (401, 200));
    let reload = |text: &str| {
        std::fs::write(edge.rig.folder.path().join("edge.toml"), text).unwrap();
        alone(edge.rig.running.as_ref().unwrap().reload()).unwrap();
        edge.listening().admin
    };
    let moved = reload(&edge.text.replace(line, "[admin]\nlisten = \"127.0.0.2:0\"\n")).unwrap();
    let ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(Client::connect(moved).await.raw(ready).await.status, 200);
    let refused = async { while TcpStream::connect(edge.rig.admin).await.is_ok() {} };
    soon("the old one to close", refused).await;
    assert_eq!(reload(&edge.text.replace(line, "")), None);
    assert!(reload(&edge.text).is_some());
}

/// How clients come in at an address.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Over HTTP/1.1 or through a stream.
    Plain,
    Tls,
    Admin,
    AdminTls,
}

async fn answered(stream: std::net::TcpStream, way: Way) -> String {
    stream.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(stream).unwrap();
    let is_admin = matches!(way, Way::Admin | Way::AdminTls);
    let path = if is_admin { "/readyz" } else { "/a" };
    let host = if is_admin { "localhost" } else { "site.test" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    if matches!(way, Way::Tls | Way::AdminTls) {
        let name = rustls::pki_types::ServerName::try_from("site.test").unwrap();
        let connector = tokio_rustls::TlsConnector::from(terms(&["http/1.1"]));
        let mut stream = soon("a handshake", connector.connect(name, stream)).await.unwrap();
        return asked(&mut stream, &request).await;
    }
    asked(&mut stream, &request).await
}

/// The head of the answer, or all that comes.
async fn asked(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    while !all.ends_with(b"\r\n\r\n")
        && matches!(soon("an answer", stream.read_u8()).await.map(|byte| all.push(byte)), Ok(()))
    {}
    String::from_utf8_lossy(&all).into_owned()
}

/// Its address would be in use otherwise; and the connections that wait for it get what they came for.
#[tokio::test]
async fn a_listener_whose_address_is_another_settings_now_keeps_its_socket_and_its_queue() {
    let one = Origin::answering(|_| {
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\nConnection: close\r\n\r\none"
            .to_owned()
    })
    .await;
    let edge = Edge::start(&one).await;
    let at = crate::ports::address();
    let tls = certificate(edge.rig.folder.path(), &["site.test"]);
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    let lines = |more: &str| edge.text.replace(PLAIN, &format!("{PLAIN}{more}"));
    let texts = [
        (Way::Plain, edge.text.replace(PLAIN, &format!("listen = [\"127.0.0.1:0\", \"{at}\"]"))),
        (Way::Tls, lines(&format!("\nlisten_tls = [\"{at}\"]\n[tls]\n{tls}"))),
        (
            Way::Plain,
            lines(&format!("\n[[stream]]\nlisten = [\"{at}\"]\norigins = [\"tcp://{}\"]", one.address)),
        ),
        (Way::Admin, edge.text.replace(admin, &format!("[admin]\nlisten = \"{at}\"\n"))),
    ];
    let reload = |text: &str| {
        std::fs::write(edge.rig.folder.path().join("edge.toml"), text).unwrap();
        alone(edge.rig.running.as_ref().unwrap().reload()).unwrap();
    };
    let (mut way, mut first) = (Way::Plain, true);
    // Each comes behind each other.
    for next in [0, 1, 0, 2, 0, 3, 0, 3, 1, 3, 2, 1, 2, 3] {
        // The kernel has made them, and nobody has looked yet: nothing else runs on this thread meanwhile.
        let connect = || std::net::TcpStream::connect(at).unwrap();
        let waiting: Vec<_> = std::iter::repeat_with(connect).take(if first { 0 } else { 20 }).collect();
        reload(&texts[next].1);
        for stream in waiting {
            let answer = answered(stream, way).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{way:?}, then {:?}: {answer:?}", texts[next].0);
        }
        (way, first) = (texts[next].0, false);
        let answer = answered(connect(), way).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{way:?}: {answer:?}");
    }
}

/// As above, where a handshake comes first.
#[tokio::test]
async fn operators_that_wait_for_a_listener_with_tls_are_answered_when_its_address_is_anothers_now() {
    let one = Origin::answering(|_| "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none".to_owned()).await;
    let edge = Edge::start(&one).await;
    let at = crate::ports::address();
    let tls = certificate(edge.rig.folder.path(), &["localhost"]);
    let text = |admin: &str| {
        let line = "[admin]\nlisten = \"127.0.0.1:0\"\n";
        format!(
            "{}\n[admin.tls]\n{tls}\n",
            edge.text.replace(line, &format!("[admin]\nlisten = \"{admin}\"\n"))
        )
    };
    let reload = |text: &str| {
        std::fs::write(edge.rig.folder.path().join("edge.toml"), text).unwrap();
        alone(edge.rig.running.as_ref().unwrap().reload()).unwrap();
    };
    reload(&text(&at.to_string()));
    let waiting = [(); 3].map(|()| std::net::TcpStream::connect(at).unwrap());
    reload(&text("127.0.0.1:0").replace(PLAIN, &format!("listen = [\"127.0.0.1:0\", \"{at}\"]")));
    for stream in waiting {
        let answer = answered(stream, Way::AdminTls).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
}
