//! One request reaches the origin however many clients ask, and all of them stream while it is still answering.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HOST};
use http::{Request, Response};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, watch};
use verge_stack::http_client;

const CLIENTS: usize = 100;
const FIRST_HALF: &[u8] = b"the first half, ";
const SECOND_HALF: &[u8] = b"the second half";

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_cause_one_origin_request_and_stream_while_it_fills() {
    let origin = HeldOrigin::start().await;
    let edge = start_edge(origin.address).await;
    let server = edge.listening().public[0];
    // The origin holds back its second half until every client has the first: so all hundred wait for one fetch.
    let halfway = Arc::new(Barrier::new(CLIENTS + 1));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(read_in_two_halves(server, halfway.clone()))).collect();
    halfway.wait().await;
    origin.release.send_replace(true);
    for client in clients {
        assert_eq!(client.await.unwrap(), [FIRST_HALF, SECOND_HALF].concat());
    }
    assert_eq!(origin.asked.load(Ordering::SeqCst), 1);

    let later = http_client::get(server, "example.com", "/held").await.unwrap();
    assert!(later.header("cache-status").contains("; hit"), "{:?}", later.headers);
    assert!(!later.header("age").is_empty(), "{:?}", later.headers);
    assert_eq!(later.body, [FIRST_HALF, SECOND_HALF].concat());
    assert_eq!(origin.asked.load(Ordering::SeqCst), 1);
    edge.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_addresses_are_two_requests() {
    let origin = HeldOrigin::start().await;
    origin.release.send_replace(true);
    let edge = start_edge(origin.address).await;
    let server = edge.listening().public[0];
    for path in ["/a", "/b", "/a", "/b?x", "/b"] {
        let answer = http_client::get(server, "example.com", path).await.unwrap();
        assert_eq!(answer.body, [FIRST_HALF, SECOND_HALF].concat());
    }
    assert_eq!(origin.asked.load(Ordering::SeqCst), 3);
    edge.drain().await;
}

/// Reads the first half, waits for all the others to have it, and reads the rest.
async fn read_in_two_halves(server: SocketAddr, halfway: Arc<Barrier>) -> Vec<u8> {
    let stream = TcpStream::connect(server).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/held").header(HOST, "example.com").body(Empty::<Bytes>::new()).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let mut read = Vec::new();
    while read.len() < FIRST_HALF.len() {
        read.extend(next_piece(&mut body).await.expect("the body goes on"));
    }
    assert_eq!(read, FIRST_HALF);
    halfway.wait().await;
    while let Some(piece) = next_piece(&mut body).await {
        read.extend(piece);
    }
    read
}

async fn next_piece(body: &mut Incoming) -> Option<Bytes> {
    let frame = body.frame().await?.expect("the body ends as it should");
    Some(frame.into_data().unwrap_or_default())
}

async fn start_edge(origin: SocketAddr) -> verge_edge::run::Running {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[cache]\nmemory = \"16MiB\"\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{origin}\"]\n"
    );
    let config = verge_edge::config::parse(&text, Path::new("."), Path::new("edge.toml")).unwrap();
    verge_edge::run::start(config).await.unwrap()
}

/// An origin that sends half of its answer and the rest when it is released.
struct HeldOrigin {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    release: watch::Sender<bool>,
}

impl HeldOrigin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (release, released) = watch::channel(false);
        let origin = Self { address: listener.local_addr().unwrap(), asked: Arc::default(), release };
        let asked = origin.asked.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, asked.clone(), released.clone()));
            }
        });
        origin
    }
}

async fn serve(stream: TcpStream, asked: Arc<AtomicUsize>, released: watch::Receiver<bool>) {
    let service = service_fn(move |_: Request<Incoming>| {
        asked.fetch_add(1, Ordering::SeqCst);
        let released = released.clone();
        async move { Ok::<_, Infallible>(halves(released)) }
    });
    // The edge may close the connection at any time; the test looks at what clients got.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn halves(mut released: watch::Receiver<bool>) -> Response<Channel<Bytes>> {
    let (mut pieces, body) = Channel::new(2);
    tokio::spawn(async move {
        // Each step fails only when nobody reads any more.
        pieces.send_data(Bytes::from_static(FIRST_HALF)).await.ok()?;
        released.wait_for(|released| *released).await.ok()?;
        pieces.send_data(Bytes::from_static(SECOND_HALF)).await.ok()
    });
    Response::builder().header(CACHE_CONTROL, "max-age=60").body(body).unwrap()
}
