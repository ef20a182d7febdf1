//! The metrics of answers' times, of bytes that clients send, and of connections.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use verge_edge::clock::Clock;

use super::client::Client;
use super::encrypted::{ask, certificate, connect, terms};
use super::quic::Http3;
use super::rig::{Origin, Rig, response, soon};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
/// Far more than the sockets between take of what is not read.
const BODY_BYTES: usize = 20 << 20;

const HEADS_OF_HITS: &str = "verge_edge_hit_duration_seconds_count{site=\"*\"}";
const HEADS_OF_MISSES: &str = "verge_edge_miss_duration_seconds_count{site=\"*\"}";
const HITS: &str = "verge_edge_response_duration_seconds_count{site=\"*\",result=\"hit\"}";
const MISSES: &str = "verge_edge_response_duration_seconds_count{site=\"*\",result=\"miss\"}";
const RECEIVED: &str = "verge_edge_received_bytes_total{site=\"*\"}";

/// An edge that speaks all protocols, with more lines for the site.
async fn edge(origin: &Origin, site: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path(), &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}\
         [cache]\nmemory = \"96MiB\"\nmax_object = \"24MiB\"\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n{site}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origin.address
    );
    Rig::in_folder(folder, Clock::system(), &text).await
}

/// Heads of hits and of misses, ends of hits and of misses.
async fn assert_counted(rig: &Rig, expected: [u64; 4]) {
    for (name, expected) in [HEADS_OF_HITS, HEADS_OF_MISSES, HITS, MISSES].into_iter().zip(expected) {
        rig.until(name, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_counts_once_by_the_time_of_its_head_and_once_by_that_of_its_end() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = edge(&origin, "").await;
    let (tls, quic) = {
        let listening = rig.running.as_ref().unwrap().listening();
        (listening.tls[0], listening.quic[0])
    };
    rig.get("/a").await;
    assert_counted(&rig, [0, 1, 0, 1]).await;
    rig.get("/a").await.assert_hit();
    assert_counted(&rig, [1, 1, 1, 1]).await;
    // Not the short way.
    rig.client().await.get_with("/a", "Range: bytes=0-0,2-2\r\n").await;
    assert_counted(&rig, [2, 1, 2, 1]).await;
    for _ in 0..2 {
        ask(tls, "h2", "https://site.test/a").await;
    }
    assert_counted(&rig, [3, 2, 3, 2]).await;
    let mut client = Http3::open(quic).await;
    client.get("https://site.test/a").await;
    let head = Request::head("https://site.test/a").body(()).unwrap();
    client.ask(head, b"").await;
    assert_counted(&rig, [5, 2, 5, 2]).await;
}

#[tokio::test]
async fn an_answer_ends_when_its_last_byte_is_taken_or_its_client_goes() {
    let body = "x".repeat(BODY_BYTES);
    let origin = Origin::answering(move |_| response("200 OK", FRESH, &body)).await;
    let rig = edge(&origin, "").await;
    rig.get("/a").await;
    assert_counted(&rig, [0, 1, 0, 1]).await;
    let mut stopped = Client::narrow(rig.public).await;
    stopped.send_get("/a", "").await;
    stopped.head().await;
    rig.until(HEADS_OF_HITS, 1).await;
    assert_eq!(rig.metric(HITS).await, 0, "nobody has taken it");
    drop(stopped);
    assert_counted(&rig, [1, 1, 1, 1]).await;
}

/// As a browser's window may be, which is full of other answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_answer_that_waits_for_its_clients_window_has_not_ended() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = edge(&origin, "").await;
    let tls = rig.running.as_ref().unwrap().listening().tls[0];
    ask(tls, "h2", "https://site.test/a").await;
    assert_counted(&rig, [0, 1, 0, 1]).await;
    let stream = TokioIo::new(connect(tls, &terms(&["h2"])).await);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.initial_stream_window_size(1).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://site.test/a").body(Empty::<Bytes>::new()).unwrap();
    let answer = soon("a head", sender.send_request(request)).await.unwrap();
    rig.until(HEADS_OF_HITS, 1).await;
    assert_eq!(rig.metric(HITS).await, 0, "nobody has taken it");
    assert_eq!(soon("a body", answer.into_body().collect()).await.unwrap().to_bytes(), "hello");
    assert_counted(&rig, [1, 1, 1, 1]).await;
}

/// Of a flood that is refused, percentiles of hits would tell nothing but that.
#[tokio::test]
async fn what_the_edge_makes_up_itself_is_not_in_the_times_of_hits() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let site =
        "rate_limit = \"2/h\"\n[[site.redirect]]\nfrom = \"/old/*\"\nto = \"https://www.example.com/new/*\"";
    let rig = edge(&origin, site).await;
    rig.get("/a").await;
    rig.get("/a").await.assert_hit();
    for (path, status) in [("/a", 429), ("/a", 429), ("/old/a", 301)] {
        let got = rig.get(path).await;
        assert_eq!(got.status, status, "{got:?}");
    }
    let counted = rig.metric("verge_edge_requests_total{site=\"*\",cache=\"refused\"}").await;
    assert_eq!(counted, 2);
    assert_counted(&rig, [1, 1, 1, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_clients_send_are_counted_whatever_carries_them() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let rig = edge(&origin, "max_request_body = \"8B\"").await;
    let (tls, quic) = {
        let listening = rig.running.as_ref().unwrap().listening();
        (listening.tls[0], listening.quic[0])
    };
    rig.get("/a").await;
    assert_eq!(rig.metric(RECEIVED).await, 0);
    let post = "POST /a HTTP/1.1\r\nHost: site.test\r\n";
    for (fields, body, sum) in [
        ("Content-Length: 5\r\n", "12345", 5),
        ("Transfer-Encoding: chunked\r\n", "3\r\n123\r\n0\r\n\r\n", 8),
        // Too long, and that is found out as it comes.
        ("Transfer-Encoding: chunked\r\n", "9\r\n123456789\r\n0\r\n\r\n", 17),
        // The same, of which nothing is read.
        ("Content-Length: 9\r\n", "123456789", 17),
    ] {
        rig.client().await.raw(format!("{post}{fields}\r\n{body}").as_bytes()).await;
        rig.until(RECEIVED, sum).await;
    }
    let over_h2 = async |body: &str| {
        let stream = TokioIo::new(connect(tls, &terms(&["h2"])).await);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("https://site.test/a").body(body.to_owned()).unwrap();
        soon("an answer", sender.send_request(request)).await.unwrap();
    };
    over_h2("1234").await;
    rig.until(RECEIVED, 21).await;
    let request = Request::post("https://site.test/a").body(()).unwrap();
    Http3::open(quic).await.ask(request, b"123456").await;
    rig.until(RECEIVED, 27).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_by_what_they_speak() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = edge(&origin, "").await;
    let (tls, quic) = {
        let listening = rig.running.as_ref().unwrap().listening();
        (listening.tls[0], listening.quic[0])
    };
    let assert_open = async |expected: [u64; 4]| {
        for (protocol, expected) in ["http1", "http2", "http3", "none"].into_iter().zip(expected) {
            rig.until(&format!("verge_edge_connections{{protocol=\"{protocol}\"}}"), expected).await;
        }
    };
    assert_open([0; 4]).await;
    assert!(rig.metric("verge_edge_connections_limit ").await > 0, "before anybody has come");
    let mut plain = rig.client().await;
    plain.get("/a").await;
    assert_open([1, 0, 0, 0]).await;
    let silent = TcpStream::connect(tls).await.unwrap();
    assert_open([1, 0, 0, 1]).await;
    let old = connect(tls, &terms(&["http/1.1"])).await;
    assert_open([2, 0, 0, 1]).await;
    let new = connect(tls, &terms(&["h2"])).await;
    assert_open([2, 1, 0, 1]).await;
    let newest = Http3::open(quic).await;
    assert_open([2, 1, 1, 1]).await;
    drop((plain, silent, old, new));
    newest.connection.close(0_u8.into(), b"");
    rig.until_all_have_left().await;
}
