//! HTTP's own part of DNS over HTTPS: status codes, fields, instructions for caches.

mod attacks;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, SizeHint};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::frames;
use crate::client::{Listener, Transport};
use crate::clock;
use crate::serve::memory::{Pool, STEP_BYTES, What};
use crate::serve::table::Table;
use crate::serve::testing::{PATIENCE, Servers, base64url, request};
use crate::wire::tests;

/// One request on a connection of its own, by either version.
async fn send(
    servers: &Servers,
    http2: bool,
    server: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Response<Bytes> {
    let response = if http2 {
        servers.http2(server).await.send_request(request).await.unwrap()
    } else {
        servers.http1(server).await.send_request(request).await.unwrap()
    };
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

fn field<'r>(response: &'r Response<Bytes>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A question for A records, without EDNS.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(crate::name::Name::parse_absolute(name).unwrap().as_wire());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_are_told_the_least_ttl_outside_and_to_forget_inside() {
    let servers = Servers::new(tests::leaks("127.0.0.0/8").0);
    for (side, name, expected) in [
        (Listener::Outside, "ns1.ex.", "max-age=300"),
        (Listener::Outside, "nope.ex.", "max-age=100"),
        (Listener::Outside, "elsewhere.", "no-store"),
        // The guard stops this one.
        (Listener::Outside, "db.ex.", "no-store"),
        (Listener::Inside, "ns1.ex.", "private, no-store"),
        (Listener::Inside, "db.ex.", "private, no-store"),
        (Listener::Inside, "nope.ex.", "private, no-store"),
    ] {
        let server = servers.address(Transport::Https, side);
        for http2 in [false, true] {
            for method in [Method::GET, Method::POST] {
                let response = send(&servers, http2, server, request(&method, &question(name))).await;
                assert_eq!(field(&response, "cache-control"), expected, "{side:?} {name} {method} {http2}");
                assert_eq!(field(&response, "content-length"), response.body().len().to_string());
            }
        }
    }
    servers.end().await;
    // An insider's answer to the same URL would be another.
    let servers = Servers::new(tests::leaks("127.0.0.2/32").0);
    let server = servers.address(Transport::Https, Listener::Inside);
    let response = send(&servers, true, server, request(&Method::GET, &question("nope.ex."))).await;
    assert_eq!(field(&response, "cache-control"), "private, no-store");
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_has_a_status_of_http() {
    let servers = Servers::new(tests::compliance().0);
    let server = servers.address(Transport::Https, Listener::Outside);
    let build = |method: Method, path: &str, media_type: &str, body: Vec<u8>| {
        let uri = format!("https://localhost{path}");
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        request.header("content-type", media_type).body(Full::new(body.into())).unwrap()
    };
    let (get, post, dns) = (Method::GET, Method::POST, "application/dns-message");
    let answer = {
        let mut answer = question("ex.");
        answer[2] |= 0x80;
        answer
    };
    let good = format!("/dns-query?dns={}", base64url(&question("ex.")));
    for http2 in [false, true] {
        for (method, path, media_type, body, expected) in [
            (&get, good.as_str(), "", vec![], 200),
            (&Method::HEAD, &good, "", vec![], 200),
            (&post, "/dns-query", dns, question("ex."), 200),
            (&get, "/dns-query", "", vec![], 400),
            (&get, "/dns-query?dns=!", "", vec![], 400),
            (&get, "/dns-query?dns=AAAA", "", vec![], 400),
            (&post, "/dns-query", dns, vec![], 400),
            (&post, "/dns-query", dns, answer.clone(), 400),
            (&post, "/dns-query", "text/html", question("ex."), 415),
            (&post, "/dns-query", dns, vec![0; 65_536], 413),
            (&get, "/", "", vec![], 404),
            (&Method::DELETE, "/dns-query", "", vec![], 405),
        ] {
            let response = send(&servers, http2, server, build(method.clone(), path, media_type, body)).await;
            assert_eq!(response.status().as_u16(), expected, "{method} {path} h2: {http2}");
            if expected == 405 {
                assert_eq!(field(&response, "allow"), "GET, HEAD, POST");
            }
            if *method == Method::HEAD {
                assert!(response.body().is_empty());
            }
            let kept = if expected == 200 { "max-age=100" } else { "no-store" };
            assert_eq!(field(&response, "cache-control"), kept);
        }
    }
    servers.end().await;
}

/// Its size is announced; its first byte never comes.
struct Promised(u64);

impl hyper::body::Body for Promised {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_announced_too_long_is_refused_before_it_comes() {
    let servers = Servers::with("tcp.message_timeout = \"1h\"\n", tests::compliance().0);
    let server = servers.address(Transport::Https, Listener::Outside);
    let build = |bytes| {
        let request = Request::post("https://localhost/dns-query").header("host", "localhost");
        request.header("content-type", "application/dns-message").body(Promised(bytes)).unwrap()
    };
    for bytes in [65_536, 1 << 40, u64::from(u32::MAX) << 20] {
        let stream = TokioIo::new(servers.tls(server, &[b"http/1.1"]).await);
        let (mut send, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let client = tokio::spawn(connection);
        let refused = timeout(PATIENCE, send.send_request(build(bytes))).await.expect("an answer at once");
        assert_eq!(refused.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE, "HTTP/1.1, {bytes} bytes");
        client.abort();
        let stream = TokioIo::new(servers.tls(server, &[b"h2"]).await);
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        let client = tokio::spawn(connection);
        let refused = timeout(PATIENCE, send.send_request(build(bytes))).await.expect("an answer at once");
        assert_eq!(refused.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE, "HTTP/2, {bytes} bytes");
        client.abort();
    }
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_before_it_sends_too_much_is_not_told_to_go_on() {
    let servers = Servers::new(tests::compliance().0);
    let mut stream = servers.tls(servers.address(Transport::Https, Listener::Outside), &[b"http/1.1"]).await;
    let head = "POST /dns-query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dns-message\r\n\
                Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = String::new();
    // The server closes: nobody can tell where the next request would begin.
    timeout(PATIENCE, stream.read_to_string(&mut said)).await.expect("an end").unwrap();
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    servers.end().await;
}

/// A message of 64 KiB is a question like any other.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_message_is_taken() {
    let servers = Servers::new(tests::compliance().0);
    let server = servers.address(Transport::Https, Listener::Outside);
    let mut message = question("ex.");
    let options = 65_535 - message.len() - 11;
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0]);
    message.extend_from_slice(&u16::try_from(options).unwrap().to_be_bytes());
    message.extend_from_slice(&[255, 0]);
    message.extend_from_slice(&u16::try_from(options - 4).unwrap().to_be_bytes());
    message.resize(65_535, 0);
    for http2 in [false, true] {
        let response = send(&servers, http2, server, request(&Method::POST, &message)).await;
        assert_eq!((response.status(), response.body()[3] & 15), (StatusCode::OK, 0));
    }
    servers.end().await;
}

/// A body of frames of one byte.
struct Drops(usize);

impl hyper::body::Body for Drops {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.0.checked_sub(1);
        Poll::Ready(left.map(|left| {
            self.0 = left;
            Ok(Frame::data(Bytes::from_static(b"x")))
        }))
    }
}

#[tokio::test]
async fn a_body_in_drops_claims_what_it_takes_up_and_gives_it_back() {
    const POOL_BYTES: usize = 4 << 20;
    let now = clock::now();
    let table = Table::new((1, 1), Pool::new(POOL_BYTES), Arc::default(), now);
    let place = table.admit([192, 0, 2, 1].into(), now);
    let free = table.pool.free(What::Question);
    let question = frames(&mut Drops(60_000), &place).await.unwrap();
    assert_eq!(question.len(), 60_000);
    let claimed = free - table.pool.free(What::Question);
    assert!((60_000 - 8 * 1024..60_000 + STEP_BYTES).contains(&claimed), "{claimed} bytes of the pool");
    drop(question);
    assert_eq!(table.pool.free(What::Question), free);
    assert_eq!(frames(&mut Drops(65_536), &place).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
}
