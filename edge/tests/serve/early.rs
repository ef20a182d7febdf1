//! Early data: what comes with the first flight of a session that resumes (RFC 8446 §2.3, RFC 8470).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use verge_edge::run::Listening;

use super::encrypted::{certificate, counting};
use super::known::Signer;
use super::reloading::Edge;
use super::rig::{Origin, response, soon};

/// A client with early data that keeps its sessions.
fn client(protocol: &str) -> Arc<ClientConfig> {
    let mut config = counting(&[protocol], &Arc::default());
    config.enable_early_data = true;
    Arc::new(config)
}

struct Connection {
    session: ClientConnection,
    socket: TcpStream,
}

impl Connection {
    fn new(address: SocketAddr, client: &Arc<ClientConfig>) -> Self {
        let session = ClientConnection::new(Arc::clone(client), "site.test".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { session, socket }
    }

    /// The first flight, with this as early data if the session of before allows it.
    fn first_flight(&mut self, early: &[u8]) -> Vec<u8> {
        if let Some(mut data) = self.session.early_data() {
            data.write_all(early).unwrap();
        }
        let mut flight = Vec::new();
        self.session.write_tls(&mut flight).unwrap();
        flight
    }

    /// Reads until `enough` of the answer is here, and sends nothing: the handshake does not end.
    fn read_only(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut got = Vec::new();
        while !enough(&got) {
            assert!(self.session.read_tls(&mut self.socket).unwrap() > 0, "closed after {got:?}");
            self.session.process_new_packets().unwrap();
            let mut piece = [0; 4096];
            while let Ok(bytes @ 1..) = self.session.reader().read(&mut piece) {
                got.extend_from_slice(&piece[..bytes]);
            }
        }
        got
    }

    /// A request and its answer with the handshake done, to the connection's end.
    fn ask(&mut self, request: &[u8]) -> String {
        let mut all = Vec::new();
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.socket);
        stream.write_all(request).unwrap();
        let _ = stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").into_bytes()
}

fn is_whole(answer: &[u8]) -> bool {
    answer.windows(4).any(|window| window == b"\r\n\r\n") && answer.ends_with(b"page")
}

/// An edge with early data, and its address.
struct Started {
    edge: Edge,
    address: SocketAddr,
    tls: String,
}

const PLAIN: &str = "listen = [\"127.0.0.1:0\"]";

impl Started {
    async fn with(origin: &Origin) -> Self {
        let edge = Edge::start(origin).await;
        let tls = certificate(edge.rig.folder.path(), &["site.test"]);
        let started = Self { edge, address: ([127, 0, 0, 1], 0).into(), tls };
        started.reload("early_data = \"get\"").await;
        let Listening { tls, .. } = started.edge.rig.running.as_ref().unwrap().listening();
        Self { address: tls[0], ..started }
    }

    /// With these lines in `[tls]`.
    async fn reload(&self, lines: &str) {
        let listen = format!("{PLAIN}\nlisten_tls = [\"127.0.0.1:0\"]\n[tls]\n{}\n{lines}", self.tls);
        let got = self.edge.reload(&self.edge.text.replace(PLAIN, &listen)).await;
        assert_eq!(got.status, 200, "{}", got.text());
    }
}

/// Does this where it may block.
async fn apart<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    soon("the client", tokio::task::spawn_blocking(act)).await.unwrap()
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

/// A session for `client`, by a request that is answered in the ordinary way.
async fn session(address: SocketAddr, client: &Arc<ClientConfig>, path: &'static str) {
    let client = Arc::clone(client);
    apart(move || {
        let mut first = Connection::new(address, &client);
        assert!(first.session.early_data().is_none(), "there is no session");
        let answer = first.ask(&get(path));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    })
    .await;
}

/// The answer to early data, and whether that was taken.
async fn early(address: SocketAddr, client: &Arc<ClientConfig>, request: Vec<u8>) -> (String, bool) {
    let client = Arc::clone(client);
    apart(move || {
        let mut connection = Connection::new(address, &client);
        let flight = connection.first_flight(&request);
        connection.socket.write_all(&flight).unwrap();
        let answer = connection.read_only(|got| got.ends_with(b"page") || got.ends_with(b"ended\n"));
        // Nothing was sent since: the handshake is still to end.
        let is_accepted = connection.session.is_early_data_accepted();
        (String::from_utf8_lossy(&answer).into_owned(), is_accepted)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_is_answered_before_the_handshake_has_ended() {
    let origin = origin().await;
    let started = Started::with(&origin).await;
    // From the store, from the origin, and what that does not want to do twice.
    for (path, status, asked) in
        [("/kept", "200 OK", 1), ("/other", "200 OK", 2), ("/once", "425 Too Early", 3)]
    {
        let client = client("http/1.1");
        session(started.address, &client, "/kept").await;
        let (answer, is_accepted) = early(started.address, &client, get(path)).await;
        assert!(is_accepted && answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {answer}");
        assert_eq!(origin.count(), asked, "{path}");
    }
    let told: Vec<bool> = origin.seen().iter().map(|head| head.contains("early-data: 1\r\n")).collect();
    assert_eq!(told, [false, true, true]);
    // When the handshake has ended, nothing is early any more.
    let client = client("http/1.1");
    session(started.address, &client, "/kept").await;
    session_goes_on(started.address, &client).await;
    assert!(!origin.seen().last().unwrap().contains("early-data"));
}

/// A connection that began with early data is one like others, both ways, with much to carry.
async fn session_goes_on(address: SocketAddr, client: &Arc<ClientConfig>) {
    let client = Arc::clone(client);
    apart(move || {
        let mut connection = Connection::new(address, &client);
        let flight = connection.first_flight(b"GET /kept HTTP/1.1\r\nHost: site.test\r\n\r\n");
        connection.socket.write_all(&flight).unwrap();
        connection.read_only(is_whole);
        let body = "x".repeat(300_000);
        let head = "POST /post HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\nContent-Length: 300000";
        let answer = connection.ask(format!("{head}\r\n\r\n{body}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("page"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_repeated_is_too_early() {
    let origin = origin().await;
    let started = Started::with(&origin).await;
    let host = "Host: site.test\r\nConnection: close\r\n";
    for request in [
        format!("POST /a HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n"),
        format!("GET /a HTTP/1.1\r\n{host}Content-Length: 1\r\n\r\nx"),
        format!("DELETE /a HTTP/1.1\r\n{host}\r\n"),
        "GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
    ] {
        let client = client("http/1.1");
        session(started.address, &client, "/kept").await;
        let (answer, is_accepted) = early(started.address, &client, request.clone().into_bytes()).await;
        assert!(is_accepted && answer.starts_with("HTTP/1.1 425 Too Early\r\n"), "{request}: {answer}");
    }
    assert_eq!(origin.count(), 1);
}

/// RFC 8446 §8.1: the bytes of a flight are public, and mean something once.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_flight_is_answered_once() {
    let origin = origin().await;
    let started = Started::with(&origin).await;
    let (address, client) = (started.address, client("http/1.1"));
    session(address, &client, "/kept").await;
    apart(move || {
        let mut connection = Connection::new(address, &client);
        let flight = connection.first_flight(&get("/other"));
        connection.socket.write_all(&flight).unwrap();
        assert!(is_whole(&connection.read_only(is_whole)) && connection.session.is_early_data_accepted());
        for _ in 0..3 {
            let mut thief = TcpStream::connect(address).unwrap();
            thief.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            thief.write_all(&flight).unwrap();
            // A handshake without the session: its flight is here, and an answer would have come with it.
            assert!(thief.read(&mut [0; 4096]).unwrap() > 0);
        }
    })
    .await;
    // Requests of the thief's connections would be there before this.
    session(started.address, &self::client("http/1.1"), "/last").await;
    let asked = origin.seen().iter().filter(|head| head.starts_with("GET /other ")).count();
    assert_eq!((asked, origin.count()), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_of_before_is_early_once_clients_show_certificates() {
    let origin = origin().await;
    let started = Started::with(&origin).await;
    let client = client("http/1.1");
    session(started.address, &client, "/kept").await;
    let ca = started.edge.rig.folder.path().join("ca.pem");
    let _signer = Signer::new(&ca);
    started.reload(&format!("[tls.clients]\nca = {ca:?}\nrequired = false")).await;
    let address = started.address;
    let kind = apart(move || {
        let mut connection = Connection::new(address, &client);
        let flight = connection.first_flight(&get("/other"));
        assert!(connection.session.early_data().is_some(), "the client tries");
        connection.socket.write_all(&flight).unwrap();
        let answer = connection.ask(&get("/later"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!connection.session.is_early_data_accepted());
        connection.session.handshake_kind()
    })
    .await;
    assert_eq!(kind, Some(HandshakeKind::Full));
    assert!(!origin.seen().iter().any(|head| head.starts_with("GET /other ")), "{:?}", origin.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn early_data_may_be_a_stream_of_http2() {
    let origin = origin().await;
    let started = Started::with(&origin).await;
    let (address, client) = (started.address, client("h2"));
    session_of_http2(address, &client).await;
    apart(move || {
        let mut connection = Connection::new(address, &client);
        let flight = connection.first_flight(&over_http2());
        connection.socket.write_all(&flight).unwrap();
        connection.read_only(|got| got.ends_with(b"page"));
        assert!(connection.session.is_early_data_accepted());
    })
    .await;
    let told: Vec<bool> = origin.seen().iter().map(|head| head.contains("early-data: 1\r\n")).collect();
    assert_eq!(told, [false, true]);
}

async fn session_of_http2(address: SocketAddr, client: &Arc<ClientConfig>) {
    let client = Arc::clone(client);
    apart(move || {
        let mut first = Connection::new(address, &client);
        let mut stream = rustls::Stream::new(&mut first.session, &mut first.socket);
        stream.write_all(&over_http2()).unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"page") {
            let mut piece = [0; 4096];
            let bytes = stream.read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..bytes]);
        }
    })
    .await;
}

/// The preface, no settings, and `GET https://site.test/other` (RFC 9113 §3.4, RFC 7541 §6).
fn over_http2() -> Vec<u8> {
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // :method GET, :scheme https, then :path and :authority as literals.
    let block = [b"\x82\x87\x04\x06/other\x01\x09site.test".as_slice()].concat();
    all.extend_from_slice(&[0, 0, u8::try_from(block.len()).unwrap(), 1, 0b101, 0, 0, 0, 1]);
    all.extend_from_slice(&block);
    all
}

#[tokio::test]
async fn early_data_goes_with_neither_shared_tickets_nor_certificates_of_clients() {
    for (lines, expected) in [
        ("ticket_secret = \"s\"", "`early_data` and `ticket_secret` exclude each other"),
        ("[tls.clients]\nca = \"c\"", "no request is early where clients show certificates"),
    ] {
        let text = format!(
            "listen_tls = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\nearly_data = \"get\"\n{lines}\n\
             [[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:1\"]\n"
        );
        let error = verge_edge::config::parse(&text, ".".as_ref(), "edge.toml".as_ref()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
