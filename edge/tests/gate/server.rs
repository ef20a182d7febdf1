//! A small hyper server behind a gate. Its paths say what the service does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use verge_edge::serve::h1::gate::{Direct, Gate, Interim, Refusal, Sent, Turn, Turns};

pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Bigger than what any socket here takes at once.
pub(crate) const BIG_BYTES: usize = 4 * 1024 * 1024;
/// For a test that fails: none waits so long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A whole request as the service saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn new(method: &str, target: &str, body: &[u8]) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), body: body.to_owned() }
    }
}

/// The requests that the service saw on all connections of one test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub(crate) fn note(&self, request: Seen) {
        self.0.lock().unwrap().push(request);
    }

    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// hyper's reaction to a client that ends its side while its request is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfClose {
    /// It answers.
    Answer,
    /// It takes the client for gone, hyper's default.
    Abort,
}

/// A server on a free port of this machine.
pub(crate) async fn listen(half_close: HalfClose) -> (std::net::SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, log) = (listener.local_addr().unwrap(), Log::default());
    let service_log = log.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, service_log.clone(), half_close));
        }
    });
    (address, log)
}

/// A server at the other end of a pipe that holds so many bytes each way.
pub(crate) fn pipe(bytes: usize) -> (DuplexStream, Log) {
    let (client, server) = tokio::io::duplex(bytes);
    let log = Log::default();
    tokio::spawn(serve(server, log.clone(), HalfClose::Answer));
    (client, log)
}

/// Sends `request` and says no more; everything that comes until the server closes.
pub(crate) async fn talk(request: &[u8]) -> (String, Vec<Seen>) {
    exchange(request, true).await
}

/// As [`talk`], but it is for the server to end the connection.
pub(crate) async fn listen_until_closed(request: &[u8]) -> (String, Vec<Seen>) {
    exchange(request, false).await
}

async fn exchange(request: &[u8], says_no_more: bool) -> (String, Vec<Seen>) {
    let (address, log) = listen(HalfClose::Answer).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    if says_no_more {
        stream.shutdown().await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    (answer, log.take())
}

pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("still open after {:?}", head_of(&answer))).unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads until `end` has come.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        answer.push(char::from(byte.unwrap_or_else(|_| panic!("no more after {answer:?}")).unwrap()));
    }
    answer
}

fn head_of(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned()
}

/// The status lines, in order; bodies here hold none.
pub(crate) fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].parse().unwrap()).collect()
}

async fn serve<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T, log: Log, half_close: HalfClose) {
    serve_behind(Gate::new(io, MAX_HEAD_BYTES), log, half_close).await;
}

/// Serves what the gate lets through.
pub(crate) async fn serve_behind<T, D>(gate: Gate<T, D>, log: Log, half_close: HalfClose)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    D: Direct<Rest: Send> + Send + 'static,
{
    let turns = gate.turns();
    let service = service_fn(move |request| answer(turns.clone(), log.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(half_close == HalfClose::Answer)
        .serve_connection(TokioIo::new(gate), service)
        .with_upgrades();
    // An error on a connection is for its client to see.
    let _ = connection.await;
}

type Answer = Response<Full<Bytes>>;

async fn answer(turns: Turns, log: Log, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let turn = match turns.begin(request.version()) {
        Ok(turn) => turn,
        Err(Refusal::Unseen) => panic!("hyper read a request where the gate read none"),
        Err(refusal) => return Ok(refuse(refusal)),
    };
    Ok(match request.uri().path() {
        "/unread" => {
            log.note(Seen::new(request.method().as_str(), "/unread", b""));
            text(StatusCode::OK, vec![b'u'; BIG_BYTES])
        }
        "/unread-empty" => {
            let mut answer = text(StatusCode::NO_CONTENT, Vec::new());
            answer.headers_mut().insert("x-long", HeaderValue::try_from("x".repeat(8000)).unwrap());
            answer
        }
        "/switch" => switch(turn, request),
        _ => whole(turn, log, request).await,
    })
}

async fn whole(turn: Turn, log: Log, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    hints(turn.interim().open(), head.uri.path()).await;
    match body.collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            log.note(Seen::new(head.method.as_str(), &head.uri.to_string(), &body));
            text(StatusCode::OK, head.uri.path().as_bytes().to_vec())
        }
        Err(_) => turn.body_refusal().map_or_else(|| text(StatusCode::BAD_REQUEST, b"cut".to_vec()), refuse),
    }
}

/// 1xx heads, each way that a service may send them.
async fn hints(interim: Interim, path: &str) {
    let mut fields = HeaderMap::new();
    fields.insert(header::LINK, HeaderValue::from_static("</a.css>"));
    match path {
        // From another task, while the service waits.
        "/hints" => {
            let (done, wait) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                assert_eq!(interim.send(StatusCode::PROCESSING, &HeaderMap::new()), Sent::Queued);
                tokio::task::yield_now().await;
                assert_eq!(interim.send(StatusCode::EARLY_HINTS, &fields), Sent::Queued);
                let _ = done.send(());
            });
            wait.await.unwrap();
        }
        // Right before the answer.
        "/late-hint" => {
            tokio::task::yield_now().await;
            assert_eq!(interim.send(StatusCode::EARLY_HINTS, &fields), Sent::Queued);
        }
        "/old-client" => assert_eq!(interim.send(StatusCode::EARLY_HINTS, &fields), Sent::Closed),
        // From another task, which nobody waits for.
        "/background-hint" => {
            tokio::spawn(async move {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(interim.send(StatusCode::EARLY_HINTS, &fields), Sent::Queued);
            });
        }
        // To a client that does not read.
        "/flood" => {
            let sent = (0..100_000).map(|_| interim.send(StatusCode::EARLY_HINTS, &fields));
            assert!(sent.into_iter().any(|sent| sent == Sent::Full));
        }
        _ => {}
    }
}

/// 101, and then an echo.
fn switch(turn: Turn, request: Request<Incoming>) -> Answer {
    turn.switch();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.unwrap();
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, Vec::new());
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("echo"));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}

fn refuse(refusal: Refusal) -> Answer {
    let mut answer = text(refusal.status(), refusal.as_str().as_bytes().to_vec());
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn text(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer
}
