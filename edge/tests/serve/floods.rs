//! Floods of HTTP/2 frames beside a request that is slow: each kind ends its connection, and nobody else's.

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::encrypted::{ask, connect, edge, terms};
use super::origin::Asked;
use super::rig::{Origin, Rig, soon};

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 5\r\n\r\nhello";
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field block (RFC 7541): `method` is an index, the rest literal and not indexed.
fn block(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![method, 0x87];
    for (index, text) in [(4, path), (1, "site.test")] {
        block.extend([index, u8::try_from(text.len()).unwrap()]);
        block.extend(text.as_bytes());
    }
    block
}

pub const GET: u8 = 0x82;
const POST: u8 = 0x83;

pub fn request(stream: u32, flags: u8, method: u8, path: &str) -> Vec<u8> {
    frame(1, END_HEADERS | flags, stream, &block(method, path))
}

/// A connection whose answers nobody looks at.
struct Raw {
    to: WriteHalf<TlsStream<TcpStream>>,
    /// Ends with the connection.
    read: tokio::task::JoinHandle<Vec<u8>>,
}

impl Raw {
    async fn open(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = connect(address, &terms(&["h2"])).await;
        let (mut from, to) = tokio::io::split(stream);
        let read = tokio::spawn(async move {
            let mut all = Vec::new();
            let _ = from.read_to_end(&mut all).await;
            all
        });
        let mut raw = Self { to, read };
        raw.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.write(&frame(4, 0, 0, settings)).await;
        raw
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        self.to.write_all(bytes).await.is_ok() && self.to.flush().await.is_ok()
    }

    /// Sends so many batches, and waits for the end of the connection.
    async fn flood(mut self, batches: u32, frames: impl Fn(u32) -> Vec<u8>) {
        for number in 0..batches {
            if !self.write(&frames(number)).await {
                break;
            }
        }
        self.read.await.unwrap();
    }
}

/// An edge before an origin that never answers `/slow`, and the requests for that.
async fn rig() -> (Rig, SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Asked>, tempfile::TempDir) {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (rig, address) = edge(&origin, folder.path(), "").await;
    let (held, slow) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let asked = origin.next().await;
            if asked.head.contains(" /slow") {
                if held.send(asked).is_err() {
                    return;
                }
            } else {
                tokio::spawn(async move { asked.respond(FRESH).await });
            }
        }
    });
    (rig, address, slow, folder)
}

type Batch = Arc<dyn Fn(u32) -> Vec<u8> + Send + Sync>;

/// Frames that ask for nothing, a hundred at a time, and how many batches end a connection. An account begins with 2,000 frames and
/// 300 requests that are taken back; h2 has bounds of its own for some kinds. Stream 1 has a slow GET, stream 3 a slow POST.
fn floods() -> Vec<(&'static str, u32, Batch)> {
    let same = |kind: u8, flags: u8, stream: u32, payload: &[u8]| -> Batch {
        let frames = frame(kind, flags, stream, payload).repeat(100);
        Arc::new(move |_| frames.clone())
    };
    let streams = |one: fn(u32) -> Vec<u8>| -> Batch {
        Arc::new(move |batch| (0..100).flat_map(|n| one(5 + 2 * (100 * batch + n))).collect())
    };
    vec![
        ("PING", 30, same(6, 0, 0, b"abcdefgh")),
        ("SETTINGS", 30, same(4, 0, 0, b"")),
        ("SETTINGS with many settings", 1, same(4, 0, 0, &[0, 3, 0, 0, 0, 100].repeat(1000))),
        ("WINDOW_UPDATE of a connection", 30, same(8, 0, 0, &[0, 0, 0, 1])),
        ("WINDOW_UPDATE of a stream", 30, same(8, 0, 1, &[0, 0, 0, 1])),
        ("PRIORITY", 30, same(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("an unknown frame", 30, same(0xbb, 0, 0, b"")),
        ("empty DATA", 30, same(0, 0, 3, b"")),
        ("DATA of padding", 30, same(0, 8, 3, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        (
            "Rapid Reset",
            10,
            streams(|id| [request(id, END_STREAM, GET, "/x"), frame(3, 0, id, &[0, 0, 0, 8])].concat()),
        ),
        (
            "MadeYouReset",
            3,
            streams(|id| {
                [request(id, END_STREAM, GET, "/x"), frame(8, 0, id, &[0x7f, 0xff, 0xff, 0xff])].concat()
            }),
        ),
        ("streams beyond what may be open", 40, streams(|id| request(id, 0, POST, "/slow"))),
        (
            "empty CONTINUATION",
            1,
            Arc::new(|n| {
                let open = if n == 0 { frame(1, END_STREAM, 5, &block(GET, "/x")) } else { Vec::new() };
                [open, frame(9, 0, 5, b"").repeat(100)].concat()
            }),
        ),
        (
            "endless CONTINUATION",
            1,
            Arc::new(|n| {
                let open = if n == 0 { frame(1, END_STREAM, 5, &block(GET, "/x")) } else { Vec::new() };
                [open, frame(9, 0, 5, b"\x00\x01x\x01y").repeat(100)].concat()
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_ends_its_connection_though_a_slow_request_is_open_on_it() {
    let (rig, address, mut slow, _folder) = rig().await;
    for (name, batches, frames) in floods() {
        let mut raw = Raw::open(address, b"").await;
        raw.write(&request(1, END_STREAM, GET, "/slow")).await;
        raw.write(&request(3, 0, POST, "/slow")).await;
        let _held = [soon(name, slow.recv()).await, soon(name, slow.recv()).await];
        soon(name, raw.flood(batches, &*frames)).await;
        assert_eq!(
            ask(address, "h2", "https://site.test/").await.1,
            StatusCode::OK,
            "{name}: others are served"
        );
        while slow.try_recv().is_ok() {}
    }
    assert!(rig.dropped("http2-frames").await > 0, "they are counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_when_an_origin_has_them_end_their_connection() {
    let (rig, address, mut slow, _folder) = rig().await;
    let mut raw = Raw::open(address, b"").await;
    let mut stream = 1;
    while raw.write(&request(stream, END_STREAM, GET, &format!("/slow{stream}"))).await {
        let asked = tokio::select! {
            asked = slow.recv() => asked,
            _ = &mut raw.read => break,
        };
        raw.write(&frame(3, 0, stream, &[0, 0, 0, 8])).await;
        // The fetch goes on for the store's sake: it ends here.
        tokio::spawn(asked.unwrap().respond(FRESH));
        stream += 2;
        assert!(stream < 20_000, "they go on for ever");
    }
    assert!(stream > 100, "a visitor who leaves a page is no attacker");
    assert_eq!(rig.dropped("http2-resets").await, 1, "it is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_unpacks_to_more_than_a_head_is_refused() {
    let (_rig, address, _slow, _folder) = rig().await;
    // An entry of 4,000 bytes in the table, then two bytes for it a thousand times over.
    let mut bomb = block(GET, "/x");
    bomb.extend(b"\x40\x01a\x7f\xa1\x1e");
    bomb.extend([b'v'; 4000]);
    bomb.extend([0xbe; 8000]);
    let long: Vec<u8> = (0..40)
        .flat_map(|n| [&[0, 2, b'a', b'0' + n % 10, 0x7f, 0xf5, 2][..], &[b'v'; 500]].concat())
        .collect();
    for (name, block) in [("a bomb", bomb), ("a long list", [block(GET, "/x"), long].concat())] {
        let mut raw = Raw::open(address, b"").await;
        let (first, rest) = block.split_at(block.len().min(16_000));
        raw.write(&frame(1, END_STREAM, 1, first)).await;
        raw.write(&frame(9, END_HEADERS, 1, rest)).await;
        raw.to.shutdown().await.ok();
        let got = soon(name, raw.read).await.unwrap();
        // A head with `:status` of the static table's 200 begins with 0x88.
        let answered = got.windows(10).any(|bytes| bytes[3] == 1 && bytes[9] == 0x88);
        assert!(!answered, "{name} is answered");
        assert_eq!(
            ask(address, "h2", "https://site.test/").await.1,
            StatusCode::OK,
            "{name}: others are served"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_is_let_go_of_though_other_frames_come() {
    let (rig, address, _slow, _folder) = rig().await;
    // SETTINGS_INITIAL_WINDOW_SIZE 0: no answer may have a body.
    let mut raw = Raw::open(address, &[0, 4, 0, 0, 0, 0]).await;
    raw.write(&request(1, END_STREAM, GET, "/x")).await;
    let told = async {
        while rig.dropped("stalled").await == 0 {
            rig.clock.advance(std::time::Duration::from_secs(61));
            assert!(raw.write(&frame(6, 0, 0, b"abcdefgh")).await, "the connection goes on");
            tokio::task::yield_now().await;
        }
    };
    soon("the end of an answer that is held", told).await;
    // Another answer of this connection, with a window.
    raw.write(&request(3, END_STREAM, GET, "/x")).await;
    raw.write(&frame(8, 0, 3, &[0, 0, 16, 0])).await;
    // The edge ends an idle connection after a second.
    let got = soon("the rest", raw.read).await.unwrap();
    let has = |bytes: &[u8]| got.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(&[0, 0, 4, 3, 0, 0, 0, 0, 1]), "stream 1 is reset: {got:x?}");
    assert!(has(b"hello"), "stream 3 is answered");
}

/// The status of the next 1xx head.
async fn early(response: &mut h2::client::ResponseFuture) -> u16 {
    let next = std::future::poll_fn(|cx| response.poll_informational(cx));
    soon("a 1xx", next).await.unwrap().unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_and_leave_to_go_on_come_before_an_answer() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, address) = edge(&origin, folder.path(), "").await;
    let stream = connect(address, &terms(&["h2"])).await;
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = http::Request::post("https://site.test/hint").header("expect", "100-continue");
    let (mut response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    assert_eq!(early(&mut response).await, 100);
    body.send_data(bytes::Bytes::from_static(b"abc"), true).unwrap();
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await;
    assert_eq!(early(&mut response).await, 103);
    asked.respond("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(soon("the answer", response).await.unwrap().status(), 200);
}
