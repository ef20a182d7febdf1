//! HTTP/3: the same edge over QUIC, within bounds of its own.

mod abuse;
mod early;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, SendStream, VarInt};
use verge_edge::clock::Clock;

use super::encrypted::{ask, certificate, connect, edge, terms, until_renewed};
use super::rig::{Origin, Rig, soon};

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 5\r\n\r\nhello";

type Requests = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// A client's end of HTTP/3.
pub struct Http3 {
    pub requests: Requests,
    pub connection: Connection,
    _endpoint: Endpoint,
    _driver: tokio::task::JoinHandle<()>,
}

/// A client's terms.
pub fn config(alpn: &str) -> ClientConfig {
    let tls = QuicClientConfig::try_from((*terms(&[alpn])).clone()).unwrap();
    ClientConfig::new(Arc::new(tls))
}

/// A connection without anything of HTTP/3.
async fn dial(address: SocketAddr, name: &str) -> (Endpoint, Connection) {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config("h3"), address, name).unwrap();
    let connection = soon("a handshake", connecting).await.unwrap();
    (endpoint, connection)
}

impl Http3 {
    pub async fn open(address: SocketAddr) -> Self {
        Self::with(address, config("h3")).await
    }

    /// By these terms, which may have sessions of before.
    pub async fn with(address: SocketAddr, config: ClientConfig) -> Self {
        Self::named(address, config, "site.test").await
    }

    /// The same, which asks for this name.
    pub async fn named(address: SocketAddr, config: ClientConfig, name: &str) -> Self {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, address, name).unwrap();
        let connection = soon("a handshake", connecting).await.unwrap();
        Self::over(endpoint, connection).await
    }

    async fn over(endpoint: Endpoint, connection: Connection) -> Self {
        let quic = h3_quinn::Connection::new(connection.clone());
        let (mut driver, requests) = h3::client::new(quic).await.unwrap();
        let driver =
            tokio::spawn(async move { drop(std::future::poll_fn(|cx| driver.poll_close(cx)).await) });
        Self { requests, connection, _endpoint: endpoint, _driver: driver }
    }

    /// A whole answer.
    pub async fn ask(&mut self, request: Request<()>, body: &[u8]) -> (Response<()>, Vec<u8>) {
        let mut stream = self.requests.send_request(request).await.unwrap();
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body)).await.unwrap();
        }
        stream.finish().await.unwrap();
        let response = soon("an answer", stream.recv_response()).await.unwrap();
        let mut all = Vec::new();
        while let Some(mut piece) = soon("a body", stream.recv_data()).await.unwrap() {
            all.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
        }
        (response, all)
    }

    pub async fn get(&mut self, url: &str) -> (Response<()>, Vec<u8>) {
        self.ask(Request::get(url).body(()).unwrap(), b"").await
    }
}

fn field(response: &Response<()>, name: &str) -> String {
    response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

async fn quic_edge(origin: &Origin) -> (Rig, SocketAddr, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (rig, tls) = edge(origin, folder.path(), "").await;
    let quic = rig.running.as_ref().unwrap().listening().quic[0];
    (rig, tls, quic, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_edge() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (rig, tls, quic, _folder) = quic_edge(&origin).await;
    let mut client = Http3::open(quic).await;
    let (response, body) = client.get("https://site.test/a").await;
    assert_eq!((response.status(), &body[..]), (StatusCode::OK, &b"hello"[..]));
    assert!(field(&response, "cache-status").contains("fwd=uri-miss"), "{response:?}");
    assert!(
        !field(&response, "date").is_empty() && field(&response, "content-length") == "5",
        "{response:?}"
    );
    assert!(
        ask(tls, "h2", "https://site.test/a").await.2.contains("hit"),
        "a key does not depend on the version"
    );
    let (response, body) = client.get("https://site.test/a").await;
    assert!(field(&response, "cache-status").contains("hit"), "{response:?}");
    assert_eq!(&body[..], b"hello");
    let head = Request::head("https://site.test/a").body(()).unwrap();
    let (response, body) = client.ask(head, b"").await;
    assert_eq!((field(&response, "content-length"), body.len()), ("5".to_owned(), 0));
    assert!(origin.seen()[0].contains("via: 3 "), "{:?}", origin.seen());
    for (protocol, count) in [("HTTP/3", 3), ("HTTP/2", 1)] {
        let line = format!("verge_edge_protocol_requests_total{{protocol=\"{protocol}\"}}");
        assert_eq!(rig.metric(&line).await, count, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_to_the_origin_with_its_length_and_back_in_whole() {
    let origin = Origin::start().await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let mut client = Http3::open(quic).await;
    let long = vec![b'x'; 300_000];
    let asked = Request::post("https://site.test/up").header("content-length", long.len()).body(()).unwrap();
    let (_, (response, body)) = tokio::join!(
        async {
            let mut asked = origin.next().await;
            assert!(asked.head.contains("ontent-") && asked.head.contains("300000"), "{}", asked.head);
            assert_eq!(asked.read(300_000).await.len(), 300_000);
            asked.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for _ in 0..30 {
                asked.write(format!("2710\r\n{}\r\n", "y".repeat(10_000)).as_bytes()).await;
            }
            asked.write(b"0\r\n\r\n").await;
            asked.done();
        },
        client.ask(asked, &long)
    );
    assert_eq!((response.status(), body.len()), (StatusCode::OK, 300_000));
    // A search by GET is another request without its content (RFC 9110 §9.3.1).
    for method in ["POST", "GET"] {
        let unsized_body = Request::builder().method(method).uri("https://site.test/up").body(()).unwrap();
        let (asked, _) = tokio::join!(
            async {
                let mut asked = origin.next().await;
                let head = asked.head.clone();
                assert_eq!(asked.read(14).await, b"4\r\nsome\r\n0\r\n\r\n");
                asked.respond("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                head
            },
            client.ask(unsized_body, b"some")
        );
        assert!(asked.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{method}: {asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_as_long_as_it_was_said_to_be_is_refused() {
    let origin = Origin::start().await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    for body in [&b"abc"[..], b"abcdefg"] {
        let mut client = Http3::open(quic).await;
        let request = Request::post("https://site.test/up").header("content-length", "5").body(()).unwrap();
        let mut stream = client.requests.send_request(request).await.unwrap();
        stream.send_data(Bytes::copy_from_slice(body)).await.unwrap();
        stream.finish().await.ok();
        let answered = soon("an end", stream.recv_response()).await;
        let status = answered.map_or(0, |response| response.status().as_u16());
        assert!(status == 0 || status >= 400, "{body:?}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_hint_comes_before_its_answer() {
    let origin = Origin::start().await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let (_endpoint, connection) = raw(quic).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    // GET https /hint site.test, by the static table.
    send.write_all(&head(b"/hint")).await.unwrap();
    send.finish().unwrap();
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await;
    let mut early = [0; 5];
    soon("a hint", receive.read_exact(&mut early)).await.unwrap();
    // HEADERS, and in it `:status` 103 of the static table (RFC 9204 Appendix A).
    assert_eq!((early[0], early[2..5].to_vec()), (1, vec![0, 0, 0xc0 | 24]), "{early:x?}");
    asked.respond("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rest = soon("the answer", receive.read_to_end(10_000)).await.unwrap();
    assert!(rest.windows(3).any(|bytes| bytes == [0, 0, 0xc0 | 25]), "{rest:x?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_over_tcp_are_told_of_it_and_told_to_forget_it() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (mut rig, tls, quic, _folder) = quic_edge(&origin).await;
    let told = async |path: &str| {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = connect(tls, &terms(&["http/1.1"])).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("an answer", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.lines().find_map(|line| line.strip_prefix("alt-svc: ").map(str::to_owned)).unwrap_or_default()
    };
    assert_eq!(told("/a").await, format!("h3=\":{}\"; ma=86400", quic.port()));
    assert_eq!(rig.get("/a").await.field("alt-svc"), "", "plain HTTP is another URL");
    let mut client = Http3::open(quic).await;
    assert_eq!(field(&client.get("https://site.test/a").await.0, "alt-svc"), "");
    // A request under way holds the drain up.
    let held =
        client.requests.send_request(Request::get("https://site.test/b").body(()).unwrap()).await.unwrap();
    let running = rig.running.take().unwrap();
    let (drained, told) = tokio::join!(running.drain(), async {
        loop {
            match told("/a").await {
                told if told == "clear" => break told,
                _ => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!((drained, told.as_str()), ((), "clear"));
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_is_under_way_and_says_where_it_ends() {
    let origin = Origin::start().await;
    let (mut rig, _, quic, _folder) = quic_edge(&origin).await;
    let mut client = Http3::open(quic).await;
    let request = Request::get("https://site.test/slow").body(()).unwrap();
    let mut stream = client.requests.send_request(request).await.unwrap();
    stream.finish().await.unwrap();
    let asked = origin.next().await;
    let running = rig.running.take().unwrap();
    let (_, answered) = tokio::join!(running.drain(), async {
        asked.respond(FRESH).await;
        let response = soon("the answer", stream.recv_response()).await.unwrap();
        let body = soon("the body", stream.recv_data())
            .await
            .unwrap()
            .map(|mut it| it.copy_to_bytes(it.remaining()));
        (response.status(), body)
    });
    assert_eq!(answered, (StatusCode::OK, Some(Bytes::from_static(b"hello"))));
    let ended = soon("the end of the connection", client.connection.closed()).await;
    // H3_NO_ERROR.
    assert!(
        matches!(&ended, ConnectionError::ApplicationClosed(it) if it.error_code == VarInt::from_u32(0x100)),
        "{ended}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_no_certificate_is_for_is_misdirected() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let mut client = Http3::open(quic).await;
    for (host, status) in [("site.test", 200), ("other.test", 200), ("third.test", 421)] {
        assert_eq!(client.get(&format!("https://{host}/")).await.0.status(), status, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (_rig, _, quic, folder) = quic_edge(&origin).await;
    let shown = async || {
        let (_endpoint, connection) = dial(quic, "site.test").await;
        let chain = connection.peer_identity().unwrap();
        let chain = chain.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
        chain[0].to_vec()
    };
    until_renewed(folder.path(), shown).await;
}

/// A connection with settings, and nothing of a client's that would be in the way.
pub async fn raw(quic: SocketAddr) -> ((Endpoint, SendStream), Connection) {
    let (endpoint, connection) = dial(quic, "site.test").await;
    let control = one_way(&connection, b"\x00\x04\x00").await;
    ((endpoint, control), connection)
}

/// Opens a stream of one direction that stays open.
async fn one_way(connection: &Connection, bytes: &[u8]) -> SendStream {
    let mut stream = connection.open_uni().await.unwrap();
    let _ = stream.write_all(bytes).await;
    stream
}

/// A HEADERS frame of a GET by the static table (RFC 9204 Appendix A).
fn head(path: &[u8]) -> Vec<u8> {
    let mut section = vec![0, 0, 0xd1, 0xd7, 0x50, 9];
    section.extend(b"site.test\x51");
    section.push(u8::try_from(path.len()).unwrap());
    section.extend(path);
    let mut frame = vec![1, u8::try_from(section.len()).unwrap()];
    frame.extend(section);
    frame
}

/// An answer that the client's system has acknowledged is not one that the client has read: a close takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_time_to_read_the_last_answer_of_a_drain() {
    let origin = Origin::start().await;
    let (mut rig, _, quic, _folder) = quic_edge(&origin).await;
    let ((_endpoint, _control), connection) = raw(quic).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&head(b"/slow")).await.unwrap();
    send.finish().unwrap();
    let asked = origin.next().await;
    let drain = tokio::spawn(rig.running.take().unwrap().drain());
    let (mut control, mut said) = (connection.accept_uni().await.unwrap(), Vec::new());
    // The last GOAWAY names the request behind this one.
    while !said.ends_with(b"\x07\x01\x04") {
        let piece = soon("a GOAWAY", control.read_chunk(1000, true)).await.unwrap().unwrap();
        said.extend(piece.bytes);
    }
    let begun = verge_edge::clock::monotonic();
    asked.respond(FRESH).await;
    let answer = soon("an answer", receive.read_to_end(1000)).await.unwrap();
    assert!(answer.ends_with(b"\x00\x05hello"), "{answer:x?}");
    assert_eq!(code(&connection, "the end of the connection").await, 0x100);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    soon("the end of the drain", drain).await.unwrap();
}

/// The code by which a connection ended.
async fn code(connection: &Connection, what: &str) -> u64 {
    match soon(what, connection.closed()).await {
        ConnectionError::ApplicationClosed(closed) => closed.error_code.into_inner(),
        other => panic!("{what}: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_for_nothing_ends_whatever_it_says_of_itself() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config = config("h3");
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(100)));
    config.transport_config(Arc::new(transport));
    let connecting = endpoint.connect_with(config, quic, "site.test").unwrap();
    let connection = soon("a handshake", connecting).await.unwrap();
    assert_eq!(code(&connection, "the end of an idle connection").await, 0x100);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_over_quic_is_refused() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (rig, _, quic, _folder) = quic_edge(&origin).await;
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config("doq"), quic, "site.test").unwrap();
    soon("a refusal", connecting).await.unwrap_err();
    rig.until("verge_edge_handshakes_failed_total{why=\"refused\"}", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_at_once_are_served_though_their_addresses_are_proved_first() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path(), &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}[[site]]\nhosts = [\"*\"]\n\
         origins = [\"http://{}\"]\n[limits]\nhandshakes_per_network = 1000\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let rig = Rig::of(Clock::system(), &text).await;
    let quic = rig.running.as_ref().unwrap().listening().quic[0];
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        all.spawn(async move { Http3::open(quic).await.get("https://site.test/").await.0.status() });
    }
    while let Some(status) = all.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
}

/// The answer to a request whose bytes arrive in these pieces, each after the one before.
async fn asked_in(connection: &Connection, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    for piece in pieces {
        send.write_all(piece).await.unwrap();
        if pieces.len() > 1 {
            // Once another request is answered, the piece is there.
            Box::pin(asked_in(connection, &[&head(b"/")])).await;
        }
    }
    send.finish().unwrap();
    soon("an answer", receive.read_to_end(1000)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_the_same_however_its_request_arrives() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (rig, _, quic, _folder) = quic_edge(&origin).await;
    let ((_endpoint, _control), connection) = raw(quic).await;
    let get = head(b"/");
    let stored = async {
        while rig.metric("verge_edge_direct_hits_total ").await == 0 {
            asked_in(&connection, &[&get]).await;
        }
    };
    soon("a hit that went the short way", stored).await;
    let (first, last) = get.split_at(get.len() / 2);
    let with_empty_data = [&get[..], b"\x00\x00"].concat();
    let behind_unknown = [&b"\x21\x00"[..], &get[..]].concat();
    let cases: [&[&[u8]]; 5] =
        [&[&get], &[first, last], &[&get, b""], &[&with_empty_data], &[&behind_unknown]];
    for pieces in cases {
        let answer = asked_in(&connection, pieces).await;
        assert!(answer.ends_with(b"\x00\x05hello"), "{pieces:x?}: {answer:x?}");
    }
    assert_eq!(origin.count(), 1);
}
