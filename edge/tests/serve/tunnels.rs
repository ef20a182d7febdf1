//! WebSockets on streams of HTTP/2 and HTTP/3 (RFC 8441, RFC 9220), in front of an origin that speaks HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::task::JoinHandle;
use verge_edge::clock::Clock;
use verge_edge::http::websocket;
use verge_edge::run::Listening;
use verge_edge::serve::h3::frame::{self, Frame, Frames};
use verge_edge::serve::h3::qpack;

use super::encrypted::{certificate, connect, terms};
use super::origin::Asked;
use super::rig::{Origin, Rig, response, soon};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Http2,
    Http3,
}

pub const CARRIERS: [Carrier; 2] = [Carrier::Http2, Carrier::Http3];

/// The edge's end of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Clean,
    Reset,
}

pub struct Stream {
    status: u16,
    fields: HeaderMap,
    held: Vec<u8>,
    wire: Wire,
}

enum Wire {
    Http2(h2::SendStream<Bytes>, RecvStream, JoinHandle<()>),
    Http3(Box<Http3>),
}

struct Http3 {
    to: quinn::SendStream,
    from: quinn::RecvStream,
    frames: Frames,
    connection: quinn::Connection,
    _control: quinn::SendStream,
    _endpoint: quinn::Endpoint,
}

impl Http3 {
    async fn next(&mut self) -> Result<Option<Frame>, End> {
        loop {
            if let Some(frame) = self.frames.read().unwrap() {
                return Ok(Some(frame));
            }
            let mut bytes = [0; 4096];
            match self.from.read(&mut bytes).await {
                Ok(Some(count)) => self.frames.push(&bytes[..count]),
                Ok(None) => return Ok(None),
                Err(_) => return Err(End::Reset),
            }
        }
    }
}

impl Stream {
    /// Asks for `protocol` on a stream of a new connection, and reads the head of the answer.
    async fn ask(carrier: Carrier, edge: &Edge, protocol: &'static str) -> Self {
        Self::ask_at(carrier, edge.rig.running.as_ref().unwrap().listening(), protocol).await
    }

    async fn ask_at(carrier: Carrier, edge: Listening, protocol: &'static str) -> Self {
        let asked = async {
            match carrier {
                Carrier::Http2 => Self::over_h2(edge.tls[0], protocol).await,
                Carrier::Http3 => Self::over_h3(edge.quic[0], protocol).await,
            }
        };
        soon("the head of an answer", asked).await
    }

    async fn over_h2(address: SocketAddr, protocol: &'static str) -> Self {
        let stream = connect(address, &terms(&["h2"])).await;
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        while !requests.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = Request::builder().method("CONNECT").uri("https://site.test/chat?room=1");
        for (name, value) in FIELDS {
            request = request.header(name, value);
        }
        let request = request.extension(Protocol::from_static(protocol)).body(()).unwrap();
        let (answer, to) = requests.send_request(request, false).unwrap();
        let (parts, from) = answer.await.unwrap().into_parts();
        let wire = Wire::Http2(to, from, driver);
        Self { status: parts.status.as_u16(), fields: parts.headers, held: Vec::new(), wire }
    }

    async fn over_h3(address: SocketAddr, protocol: &'static str) -> Self {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let tls = QuicClientConfig::try_from((*terms(&["h3"])).clone()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(tls));
        let connection = endpoint.connect_with(config, address, "site.test").unwrap().await.unwrap();
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(b"\x00\x04\x00").await.unwrap();
        // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 §5), the last of the edge's settings.
        let mut settings = connection.accept_uni().await.unwrap();
        let mut told = vec![0; 3];
        settings.read_exact(&mut told).await.unwrap();
        let mut rest = vec![0; usize::from(told[2])];
        settings.read_exact(&mut rest).await.unwrap();
        assert!(told[..2] == [0, 4] && rest.ends_with(&[8, 1]), "{told:x?} {rest:x?}");
        let (mut to, from) = connection.open_bi().await.unwrap();
        to.write_all(&head(protocol)).await.unwrap();
        let mut wire =
            Http3 { to, from, frames: Frames::new(8192), connection, _control: control, _endpoint: endpoint };
        let Ok(Some(Frame::Head(section))) = wire.next().await else { panic!("no head") };
        let (mut status, mut fields) = (0, HeaderMap::new());
        qpack::decode(&section, 8192, |name, value| {
            let value = std::str::from_utf8(value).unwrap();
            match http::HeaderName::from_bytes(name) {
                Ok(name) => drop(fields.append(name, value.parse().unwrap())),
                Err(_) => status = value.parse().unwrap(),
            }
        })
        .unwrap();
        Self { status, fields, held: Vec::new(), wire: Wire::Http3(Box::new(wire)) }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        let written = async {
            match &mut self.wire {
                Wire::Http2(to, ..) => to.send_data(Bytes::copy_from_slice(bytes), false).unwrap(),
                Wire::Http3(wire) => {
                    wire.to.write_all(&frame::data_header(bytes.len())).await.unwrap();
                    wire.to.write_all(bytes).await.unwrap();
                }
            }
        };
        soon("room for bytes", written).await;
    }

    async fn more(&mut self) -> Result<(), End> {
        match &mut self.wire {
            Wire::Http2(_, from, _) => match from.data().await {
                Some(Ok(bytes)) => {
                    from.flow_control().release_capacity(bytes.len()).unwrap();
                    self.held.extend_from_slice(&bytes);
                }
                Some(Err(_)) => return Err(End::Reset),
                None => return Err(End::Clean),
            },
            Wire::Http3(wire) => match wire.next().await? {
                Some(Frame::Data(bytes)) => self.held.extend_from_slice(bytes.chunk()),
                Some(Frame::Head(_)) => panic!("no head may follow"),
                None => return Err(End::Clean),
            },
        }
        Ok(())
    }

    pub async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.held.len() < count {
            soon("bytes", self.more()).await.unwrap();
        }
        self.held.drain(..count).collect()
    }

    /// Waits for the end of the edge's side.
    pub async fn end(&mut self) -> End {
        loop {
            if let Err(end) = soon("the end of a stream", self.more()).await {
                return end;
            }
        }
    }

    fn say_no_more(&mut self) {
        match &mut self.wire {
            Wire::Http2(to, ..) => to.send_data(Bytes::new(), true).unwrap(),
            Wire::Http3(wire) => wire.to.finish().unwrap(),
        }
    }

    fn reset(&mut self) {
        match &mut self.wire {
            Wire::Http2(to, ..) => to.send_reset(Reason::CANCEL),
            Wire::Http3(wire) => wire.to.reset(0x10c_u32.into()).unwrap(),
        }
    }

    /// Whether the connection under it has ended.
    fn is_over(&self) -> bool {
        match &self.wire {
            Wire::Http2(_, _, driver) => driver.is_finished(),
            Wire::Http3(wire) => wire.connection.close_reason().is_some(),
        }
    }
}

const FIELDS: [(&str, &str); 3] =
    [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat"), ("origin", "https://site.test")];

/// The HEADERS frame of an extended CONNECT, by the static table (RFC 9204 Appendix A) and literals.
fn head(protocol: &str) -> Vec<u8> {
    let mut section = vec![0, 0, 0xc0 | 15, 0xc0 | 23];
    let text = |section: &mut Vec<u8>, text: &str| {
        section.push(u8::try_from(text.len()).unwrap());
        section.extend(text.as_bytes());
    };
    for (index, value) in [(0x50, "site.test"), (0x51, "/chat?room=1")] {
        section.push(index);
        text(&mut section, value);
    }
    for (name, value) in [(":protocol", protocol)].into_iter().chain(FIELDS) {
        // A literal name, without Huffman (RFC 9204 §4.5.6): three bits of its length, and the rest of it.
        match u8::try_from(name.len()).unwrap() {
            length @ 0..7 => section.push(0x20 | length),
            length => section.extend([0x27, length - 7]),
        }
        section.extend(name.as_bytes());
        text(&mut section, value);
    }
    frame::headers(&section).to_vec()
}

struct Edge {
    rig: Rig,
}

async fn edge(origin: &Origin, limits: &str, site: &str) -> Edge {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path(), &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}\
         [limits]\n{limits}\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n{site}\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origin.address
    );
    let rig = Rig::in_folder(folder, Clock::system(), &text).await;
    Edge { rig }
}

/// The origin's 101, with its proof that it has read the key.
fn agreed(asked: &Asked) -> String {
    let key = asked.head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let random: [u8; 16] =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key).unwrap().try_into().unwrap();
    assert_eq!(websocket::Key::of(random).field(), key);
    let accept = websocket::Key::of(random).accept();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Both ends of a tunnel.
async fn open(carrier: Carrier, edge: &Edge, origin: &Origin) -> (Stream, Asked) {
    open_at(carrier, edge.rig.running.as_ref().unwrap().listening(), origin).await
}

/// The same on an edge that listens there.
pub async fn open_at(carrier: Carrier, edge: Listening, origin: &Origin) -> (Stream, Asked) {
    let (stream, asked) = tokio::join!(Stream::ask_at(carrier, edge, "websocket"), async {
        let mut asked = origin.next().await;
        let answer = agreed(&asked);
        asked.write(answer.as_bytes()).await;
        asked
    });
    assert_eq!(stream.status, 200, "{carrier:?}");
    (stream, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_carries_a_websocket_and_its_origin_sees_an_upgrade() {
    for carrier in CARRIERS {
        let origin = Origin::start().await;
        let edge = edge(&origin, "", "").await;
        let (mut stream, mut asked) = open(carrier, &edge, &origin).await;
        let head = asked.head.to_ascii_lowercase();
        assert!(head.starts_with("get /chat?room=1 http/1.1\r\n"), "{head}");
        for field in [
            "\r\nhost: site.test\r\n",
            "\r\nconnection: upgrade\r\n",
            "\r\nupgrade: websocket\r\n",
            "\r\nsec-websocket-version: 13\r\n",
            "\r\nsec-websocket-protocol: chat\r\n",
            "\r\nx-forwarded-proto: https\r\n",
        ] {
            assert!(head.contains(field), "{carrier:?}: {field} {head}");
        }
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
        assert_eq!(stream.fields["sec-websocket-protocol"], "chat");
        for name in ["sec-websocket-accept", "content-length", "upgrade", "connection"] {
            assert!(!stream.fields.contains_key(name), "{carrier:?}: {:?}", stream.fields);
        }
        asked.write(b"hello").await;
        assert_eq!(stream.read(5).await, b"hello");
        // Small messages, one by one, are no flood.
        for _ in 0..30 {
            for _ in 0..200 {
                stream.write(b"x").await;
            }
            assert_eq!(asked.read(200).await, [b'x'; 200]);
        }
        let much = vec![b'y'; 300_000];
        tokio::join!(asked.write(&much), async { assert_eq!(stream.read(300_000).await, much) });
        edge.rig.until("verge_edge_tunnels", 1).await;
        // One side may say no more and still read.
        stream.write(b"last").await;
        stream.say_no_more();
        assert_eq!(asked.read(4).await, b"last");
        asked.write(b"answer").await;
        assert_eq!(stream.read(6).await, b"answer");
        assert_eq!(asked.until_hung_up().await, "");
        assert_eq!(stream.end().await, End::Clean, "{carrier:?}");
        edge.rig.until("verge_edge_tunnels", 0).await;
        edge.rig.until("verge_edge_tunnels_ended_total{why=\"closed\"}", 1).await;
        let sent = edge.rig.metric("verge_edge_tunnel_bytes_total{towards=\"client\"} ").await;
        assert_eq!(sent, 300_011, "{carrier:?}");
        assert!(!stream.is_over(), "{carrier:?}: the connection goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_but_an_agreement_is_a_success() {
    let unproved = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let wrong =
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: eA==\r\n\r\n";
    let other = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    for carrier in CARRIERS {
        for (answer, status) in [
            (response("403 Forbidden", "", "no"), 403),
            (response("426 Upgrade Required", "", "no"), 426),
            (response("200 OK", "", "a page"), 502),
            (unproved.to_owned(), 502),
            (wrong.to_owned(), 502),
            (other.to_owned(), 502),
        ] {
            let origin = Origin::start().await;
            let edge = edge(&origin, "", "").await;
            let (stream, ()) = tokio::join!(Stream::ask(carrier, &edge, "websocket"), async {
                origin.next().await.respond(&answer).await;
            });
            assert_eq!(stream.status, status, "{carrier:?} {answer}");
            edge.rig.until("verge_edge_tunnels", 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_passed_on_is_told_so_at_once() {
    let origin = Origin::start().await;
    for carrier in CARRIERS {
        let none = edge(&origin, "", "upgrades = false").await;
        assert_eq!(Stream::ask(carrier, &none, "websocket").await.status, 501, "{carrier:?}");
        let any = edge(&origin, "", "").await;
        assert_eq!(Stream::ask(carrier, &any, "connect-udp").await.status, 501, "{carrier:?}");
        let guarded = edge(&origin, "", "allow = [\"10.0.0.0/8\"]").await;
        assert_eq!(Stream::ask(carrier, &guarded, "websocket").await.status, 403, "{carrier:?}");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_carry_another_protocol_count_as_connections_that_do() {
    for carrier in CARRIERS {
        let origin = Origin::start().await;
        let edge = edge(&origin, "upgrades = 1", "").await;
        let (mut first, _asked) = open(carrier, &edge, &origin).await;
        let second = Stream::ask(carrier, &edge, "websocket").await;
        assert_eq!((second.status, second.fields["retry-after"].to_str().unwrap()), (503, "10"));
        assert_eq!(origin.count(), 1);
        first.reset();
        edge.rig.until("verge_edge_tunnels", 0).await;
        open(carrier, &edge, &origin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_gives_up_or_whose_origin_is_gone_is_reset() {
    for carrier in CARRIERS {
        let origin = Origin::start().await;
        let edge = edge(&origin, "", "").await;
        let (mut stream, asked) = open(carrier, &edge, &origin).await;
        stream.reset();
        asked.hung_up().await;
        edge.rig.until("verge_edge_tunnels_ended_total{why=\"broken\"}", 1).await;
        // A client that is gone with its connection.
        let (stream, asked) = open(carrier, &edge, &origin).await;
        match stream.wire {
            Wire::Http2(.., driver) => driver.abort(),
            Wire::Http3(wire) => wire.connection.close(0x100_u32.into(), b""),
        }
        asked.hung_up().await;
        edge.rig.until("verge_edge_tunnels_ended_total{why=\"broken\"}", 2).await;
        let (mut stream, asked) = open(carrier, &edge, &origin).await;
        asked.reset();
        assert_eq!(stream.end().await, End::Reset, "{carrier:?}");
        edge.rig.until("verge_edge_tunnels_ended_total{why=\"broken\"}", 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_nothing_passes_and_its_connection_does_not() {
    for carrier in CARRIERS {
        let origin = Origin::start().await;
        let edge = edge(&origin, "", "upgrade_idle_timeout = \"100s\"").await;
        let (mut stream, asked) = open(carrier, &edge, &origin).await;
        let ended = async {
            while edge.rig.metric("verge_edge_tunnels ").await == 1 {
                edge.rig.pass(30);
            }
        };
        soon("the tunnel's end", ended).await;
        assert_eq!(stream.end().await, End::Reset, "{carrier:?}");
        asked.hung_up().await;
        assert_eq!(edge.rig.metric("verge_edge_tunnels_ended_total{why=\"idle\"} ").await, 1);
        assert!(!stream.is_over(), "{carrier:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_while_the_edge_drains_and_not_beyond() {
    for carrier in CARRIERS {
        let origin = Origin::start().await;
        let mut edge = edge(&origin, "drain = \"4s\"", "").await;
        let (mut stream, mut asked) = open(carrier, &edge, &origin).await;
        let running = edge.rig.running.take().unwrap();
        let begun = verge_edge::clock::monotonic();
        let draining = tokio::spawn(running.drain());
        while edge.rig.get("/.well-known/verge/health").await.status != 503 {
            tokio::task::yield_now().await;
        }
        stream.write(b"still").await;
        assert_eq!(asked.read(5).await, b"still");
        asked.write(b"there").await;
        assert_eq!(stream.read(5).await, b"there");
        assert_eq!(stream.end().await, End::Reset, "{carrier:?}");
        assert!(begun.elapsed() >= Duration::from_secs(4), "{carrier:?}");
        asked.hung_up().await;
        soon("the end of the drain", draining).await.unwrap();
    }
}
