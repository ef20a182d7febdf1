//! Origins over HTTP/2 that say that they have not processed a request (RFC 9113 §6.8, §7, §8.7): it goes on, whatever its
//! method.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::farewells::next;
use super::floods::{END_STREAM, frame};
use super::rig::{Got, Rig, soon};
use super::speaking::{Authority, rig, server};

/// All that an origin has seen: the method of each request, its protocol where that is not HTTP/2, and the number of its
/// connection.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// The number of this request, from 0.
    pub fn note(&self, request: &str, connection: usize) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(format!("{request} on {connection}"));
        all.len() - 1
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// An origin that serves each of its connections by itself.
pub struct Origin {
    address: SocketAddr,
    pub seen: Seen,
}

impl Origin {
    /// `serve` gets each connection with its number, from 0.
    pub async fn start<F, A>(serve: F) -> Self
    where
        F: Fn(TcpStream, usize, Seen) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self { address: listener.local_addr().unwrap(), seen: Seen::default() };
        let seen = origin.seen.clone();
        tokio::spawn(async move {
            let connections = AtomicUsize::new(0);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, connections.fetch_add(1, Ordering::Relaxed), seen.clone()));
            }
        });
        origin
    }

    /// In clear text: it resets so many of its first requests for this reason, and gives the others their content back.
    async fn resetting(count: usize, reason: Reason) -> Self {
        Self::start(move |stream, number, seen| streams(stream, number, seen, count, reason)).await
    }

    fn url(&self) -> String {
        format!("\"h2c://{}\"", self.address)
    }
}

/// Serves HTTP/2.
pub async fn streams(
    io: impl AsyncRead + AsyncWrite + Unpin,
    number: usize,
    seen: Seen,
    count: usize,
    reason: Reason,
) {
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if seen.note(request.method().as_str(), number) < count {
            respond.send_reset(reason);
        } else {
            tokio::spawn(echo(request, respond));
        }
    }
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut content = request.into_body();
    let mut all = Vec::new();
    while let Some(Ok(bytes)) = content.data().await {
        all.extend_from_slice(&bytes);
        let _ = content.flow_control().release_capacity(bytes.len());
    }
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(all.into(), true).unwrap();
}

/// An edge in front of these.
pub async fn edge(origins: &[&Origin]) -> Rig {
    let origins: Vec<String> = origins.iter().map(|origin| origin.url()).collect();
    rig(&origins.join(", "), "balance = \"round-robin\"", &[]).await
}

pub async fn ask(rig: &Rig, request: &str) -> Got {
    let (line, rest) = request.split_once("\r\n").unwrap();
    rig.client().await.raw(format!("{line} HTTP/1.1\r\nHost: site.test\r\n{rest}").as_bytes()).await
}

pub const GET: &str = "GET /\r\n\r\n";
pub const POST: &str = "POST /\r\nContent-Length: 0\r\n\r\n";
const POST_CONTENT: &str = "POST /\r\nContent-Length: 3\r\n\r\nabc";
const POST_CHUNKS: &str = "POST /\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
/// Each with its content.
const REQUESTS: [(&str, &str); 5] =
    [(GET, ""), ("DELETE /\r\n\r\n", ""), (POST, ""), (POST_CONTENT, "abc"), (POST_CHUNKS, "abc")];

fn method(request: &str) -> &str {
    request.split(' ').next().unwrap()
}

pub async fn assert_up(rig: &Rig) {
    assert_eq!(rig.metric("verge_edge_origin_up{").await, 1);
}

/// RFC 9113 §8.7.
#[tokio::test]
async fn a_stream_that_is_refused_goes_on_with_every_method() {
    for (request, content) in REQUESTS {
        let method = method(request);
        let only = Origin::resetting(1, Reason::REFUSED_STREAM).await;
        let rig = edge(&[&only]).await;
        let got = ask(&rig, request).await;
        assert_eq!((got.status, got.text().as_str()), (200, content), "{request}");
        assert_eq!(only.seen.all(), [format!("{method} on 0"), format!("{method} on 1")]);
        assert_up(&rig).await;
        let (busy, other) = (
            Origin::resetting(9, Reason::REFUSED_STREAM).await,
            Origin::resetting(0, Reason::NO_ERROR).await,
        );
        let rig = edge(&[&busy, &other]).await;
        let got = ask(&rig, request).await;
        assert_eq!((got.status, got.text().as_str()), (200, content), "{request}");
        let once = [format!("{method} on 0")];
        assert_eq!((busy.seen.all(), other.seen.all()), (once.to_vec(), once.to_vec()));
    }
}

/// It goes on once: for nothing on the first connection that refuses, and then as the budget of retries allows. 10 are saved up,
/// and each 5 requests earn one. A refusal is a sign of life.
#[tokio::test]
async fn an_origin_that_refuses_all_is_asked_twice_at_most_and_stays_in_service() {
    let origin = Origin::resetting(usize::MAX, Reason::REFUSED_STREAM).await;
    let rig = edge(&[&origin]).await;
    let asked = 40;
    for _ in 0..asked {
        let before = origin.seen.all().len();
        assert_eq!(ask(&rig, POST_CONTENT).await.status, 502);
        assert!(origin.seen.all().len() - before <= 2);
    }
    let again = origin.seen.all().len() - asked;
    assert!((11..=11 + asked / 5).contains(&again), "{again}");
    assert_up(&rig).await;
}

/// Some servers take but so many requests of a connection, and say so with each one beyond.
#[tokio::test]
async fn a_connection_that_refuses_costs_no_retry_where_another_does_not() {
    let origin = Origin::start(|stream, number, seen| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let mut has_served = false;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            seen.note(request.method().as_str(), number);
            if std::mem::replace(&mut has_served, true) {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                tokio::spawn(echo(request, respond));
            }
        }
    })
    .await;
    let rig = edge(&[&origin]).await;
    for asked in 0..40 {
        assert_eq!(ask(&rig, POST_CONTENT).await.status, 200, "{asked}");
    }
    // The first one, and each other one on the connection before and on its own: none on one that is known to refuse.
    assert_eq!(origin.seen.all().len(), 1 + 2 * 39);
    assert_up(&rig).await;
}

/// Content that the edge keeps no more cannot begin again.
#[tokio::test]
async fn content_that_is_gone_is_not_sent_again() {
    let origin = Origin::start(|stream, number, seen| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            seen.note(request.method().as_str(), number);
            tokio::spawn(async move {
                let (mut content, mut length) = (request.into_body(), 0);
                while length < 100_000 {
                    let bytes = content.data().await.unwrap().unwrap();
                    length += bytes.len();
                    content.flow_control().release_capacity(bytes.len()).unwrap();
                }
                respond.send_reset(Reason::REFUSED_STREAM);
            });
        }
    })
    .await;
    let rig = edge(&[&origin]).await;
    let content = "x".repeat(100_000);
    let got = ask(&rig, &format!("POST /\r\nContent-Length: 100000\r\n\r\n{content}")).await;
    assert_eq!((got.status, origin.seen.all()), (502, vec!["POST on 0".to_owned()]));
    assert_up(&rig).await;
}

/// A connection with HTTP/2 of bare frames, as its server has it.
pub struct Bare {
    from: ReadHalf<TcpStream>,
    to: WriteHalf<TcpStream>,
}

pub const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const HTTP_1_1_REQUIRED: u32 = 13;

impl Bare {
    pub async fn open(stream: TcpStream) -> Self {
        let (from, to) = tokio::io::split(stream);
        let mut bare = Self { from, to };
        bare.from.read_exact(&mut [0; 24]).await.unwrap();
        bare.write(&frame(SETTINGS, 0, 0, b"")).await;
        bare
    }

    pub async fn write(&mut self, frame: &[u8]) {
        self.to.write_all(frame).await.unwrap();
    }

    /// The stream of the next request and its method.
    pub async fn asked(&mut self) -> (u32, &'static str) {
        loop {
            let (kind, _, stream, payload) = next(&mut self.from).await.expect("the connection is open");
            if kind == HEADERS {
                // RFC 7541, appendix A.
                return (stream, if payload[0] == 0x83 { "POST" } else { "GET" });
            }
        }
    }

    /// 200, without content.
    pub async fn answer(&mut self, stream: u32) {
        self.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])).await;
    }

    /// Says that no request beyond `last` is processed, and waits until that is read.
    async fn leave(&mut self, last: u32, code: u32) {
        let numbers = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.write(&frame(GOAWAY, 0, 0, &numbers)).await;
        // The edge may close the connection at once when no stream is left on it.
        if self.to.write_all(&frame(PING, 0, 0, b"has read")).await.is_ok() {
            while let Some((kind, flags, ..)) = next(&mut self.from).await {
                if kind == PING && flags & ACK != 0 {
                    return;
                }
            }
        }
    }

    /// Closes it in the way that lets the other side read all.
    pub async fn close(mut self) {
        // The edge may have closed it already.
        let _ = self.to.shutdown().await;
        let _ = self.from.read_to_end(&mut Vec::new()).await;
    }
}

/// An origin whose first connection is the test's; all later ones answer.
async fn with_first<F, A>(first: F) -> Origin
where
    F: Fn(Bare, Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    Origin::start(move |stream, number, seen| {
        let first = first.clone();
        async move {
            match number {
                0 => first(Bare::open(stream).await, seen).await,
                _ => streams(stream, number, seen, 0, Reason::NO_ERROR).await,
            }
        }
    })
    .await
}

/// RFC 9113 §6.8: it was not processed, whatever the code says, and whether the connection has served others.
#[tokio::test]
async fn a_request_beyond_the_last_stream_of_a_goaway_goes_on_with_every_method() {
    for (request, content) in [(GET, ""), (POST, ""), (POST_CONTENT, "abc"), (POST_CHUNKS, "abc")] {
        for (served, code) in
            [(true, NO_ERROR), (true, INTERNAL_ERROR), (false, NO_ERROR), (false, INTERNAL_ERROR)]
        {
            let origin = with_first(move |mut first, seen| async move {
                let mut last = 0;
                if served {
                    let (stream, method) = first.asked().await;
                    seen.note(method, 0);
                    first.answer(stream).await;
                    last = stream;
                }
                let (_, method) = first.asked().await;
                seen.note(method, 0);
                first.leave(last, code).await;
                first.close().await;
            })
            .await;
            let rig = edge(&[&origin]).await;
            let mut expected = Vec::new();
            if served {
                assert_eq!(ask(&rig, "GET /first\r\n\r\n").await.status, 200);
                expected.push("GET on 0".to_owned());
            }
            let got = ask(&rig, request).await;
            let what = format!("{request:?} {served} {code}");
            assert_eq!((got.status, got.text().as_str()), (200, content), "{what}");
            expected.extend([0, 1].map(|number| format!("{} on {number}", method(request))));
            assert_eq!(origin.seen.all(), expected, "{what}");
            assert_eq!(ask(&rig, POST).await.status, 200);
            assert_eq!(origin.seen.all().last().unwrap(), "POST on 1", "{what}");
            assert_up(&rig).await;
        }
    }
}

/// RFC 9113 §6.8: such a one may have been processed.
#[tokio::test]
async fn a_request_that_a_goaway_leaves_without_an_answer_is_repeated_only_if_that_does_no_harm() {
    for (request, status, seen) in [
        (GET, 200, &["GET on 0", "GET on 1"][..]),
        (POST, 502, &["POST on 0"]),
        (POST_CONTENT, 502, &["POST on 0"]),
    ] {
        for code in [NO_ERROR, INTERNAL_ERROR] {
            let origin = with_first(move |mut first, seen| async move {
                let (stream, method) = first.asked().await;
                seen.note(method, 0);
                first.leave(stream, code).await;
                first.close().await;
            })
            .await;
            let rig = edge(&[&origin]).await;
            assert_eq!(ask(&rig, request).await.status, status, "{request:?} {code}");
            assert_eq!(origin.seen.all(), seen, "{request:?} {code}");
            assert_eq!(ask(&rig, POST_CONTENT).await.text(), "abc");
            assert_eq!(origin.seen.all().last().unwrap(), "POST on 1");
            assert_up(&rig).await;
        }
    }
}

#[tokio::test]
async fn no_request_goes_on_a_connection_that_ends_and_those_that_are_there_are_answered() {
    let go_on = Arc::new(tokio::sync::Notify::new());
    let told = Arc::new(tokio::sync::Notify::new());
    let (may_answer, has_told) = (Arc::clone(&go_on), Arc::clone(&told));
    let origin = with_first(move |mut first, seen| {
        let (may_answer, has_told) = (Arc::clone(&may_answer), Arc::clone(&has_told));
        async move {
            let (stream, method) = first.asked().await;
            seen.note(method, 0);
            first.leave(stream, NO_ERROR).await;
            has_told.notify_one();
            may_answer.notified().await;
            first.answer(stream).await;
            while let Some((kind, ..)) = next(&mut first.from).await {
                if kind == HEADERS {
                    seen.note("a late one", 0);
                }
            }
        }
    })
    .await;
    let rig = edge(&[&origin]).await;
    let mut slow = rig.client().await;
    slow.send_get("/slow", "").await;
    soon("the end of the first connection", told.notified()).await;
    for request in [POST_CONTENT, POST_CHUNKS] {
        assert_eq!(ask(&rig, request).await.text(), "abc");
    }
    assert_eq!(origin.seen.all(), ["GET on 0", "POST on 1", "POST on 1"]);
    go_on.notify_one();
    assert_eq!(slow.response().await.status, 200);
    assert_eq!(origin.seen.all().len(), 3);
}

/// An origin over TLS that speaks these. Over HTTP/2 it resets so many of its first requests and asks for HTTP/1.1.
async fn choosing(authority: &Authority, alpn: &[&str], count: usize) -> Origin {
    let config = server(&authority.issue("app.test", |_| {}), alpn, None);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Origin::start(move |stream, number, seen| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                return streams(stream, number, seen, count, Reason::HTTP_1_1_REQUIRED).await;
            }
            let answer = service_fn(move |request: Request<Incoming>| {
                seen.note(&format!("{} by {:?}", request.method(), request.version()), number);
                async move {
                    let content = request.into_body().collect().await.unwrap().to_bytes();
                    Response::builder().body(Full::new(content))
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        }
    })
    .await
}

/// An edge in front of it.
async fn trusting(authority: &Authority, origin: &Origin) -> Rig {
    let url = format!("{{ url = \"https://{}\", sni = \"app.test\" }}", origin.address);
    rig(&url, "origin_roots = \"ca.pem\"", &[("ca.pem", &authority.pem())]).await
}

/// RFC 9113 §7.
#[tokio::test]
async fn an_origin_that_requires_http1_gets_the_request_by_that_and_all_later_ones() {
    let ours = Authority::new();
    for (request, content) in REQUESTS {
        let origin = choosing(&ours, &["h2", "http/1.1"], usize::MAX).await;
        let rig = trusting(&ours, &origin).await;
        for _ in 0..2 {
            let got = ask(&rig, request).await;
            assert_eq!((got.status, got.text().as_str()), (200, content), "{request}");
        }
        let method = method(request);
        let seen = origin.seen.all();
        assert_eq!(seen[..2], [format!("{method} on 0"), format!("{method} by HTTP/1.1 on 1")]);
        assert!(seen.len() == 3 && seen[2].starts_with(&format!("{method} by HTTP/1.1 on ")), "{seen:?}");
        assert_up(&rig).await;
    }
}

/// It offers nothing else, so the request cannot be served; the next one may be.
#[tokio::test]
async fn an_origin_that_requires_http1_and_has_none_is_asked_by_http2_again() {
    let ours = Authority::new();
    let origin = choosing(&ours, &["h2"], 1).await;
    let rig = trusting(&ours, &origin).await;
    let got = ask(&rig, POST_CONTENT).await;
    assert_eq!(got.status, 502);
    assert!(got.field("proxy-status").contains("error=http_protocol_error"), "{got:?}");
    assert_eq!(ask(&rig, POST_CONTENT).await.text(), "abc");
    assert_eq!(origin.seen.all().len(), 2);
    assert_up(&rig).await;
}

/// Prior knowledge leaves no choice (RFC 9113 §3.3): the config is wrong.
#[tokio::test]
async fn an_origin_by_prior_knowledge_that_requires_http1_is_an_error() {
    for request in [GET, POST, POST_CONTENT] {
        let resetting = Origin::resetting(usize::MAX, Reason::HTTP_1_1_REQUIRED).await;
        let leaving = with_first(|mut first, seen| async move {
            let (_, method) = first.asked().await;
            seen.note(method, 0);
            first.leave(0, HTTP_1_1_REQUIRED).await;
            first.close().await;
        })
        .await;
        for origin in [resetting, leaving] {
            let rig = edge(&[&origin]).await;
            let got = ask(&rig, request).await;
            assert_eq!(got.status, 502, "{request:?}");
            assert!(got.field("proxy-status").contains("error=http_protocol_error"), "{got:?}");
            assert_eq!(origin.seen.all(), [format!("{} on 0", method(request))]);
        }
    }
}
