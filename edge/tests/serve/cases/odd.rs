//! Peers of all ages: what clients and origins say that is no usual HTTP/1.1.

use super::HOUR;
use crate::rig::{Client, Origin, Rig, response};

/// 40: old clients, and what is no HTTP/1 at all.
#[tokio::test]
async fn old_clients_and_strange_ones_are_answered() {
    let origin = Origin::answering(|head| match head.split(' ').next() {
        Some("GET" | "HEAD") => response("200 OK", HOUR, "page"),
        _ => response("200 OK", "", "done"),
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    let java = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA";
    for (bytes, statuses) in [
        ("GET /a HTTP/1.0\r\n\r\n".to_owned(), &[200][..]),
        ("GET /a HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n".repeat(2), &[200, 200]),
        (format!("POST /a HTTP/1.1\r\nHost: a\r\n{java}\r\nContent-Length: 3\r\n\r\nabc"), &[200]),
        ("POST /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[200]),
        ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(), &[200]),
        ("DELETE /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_owned(), &[200]),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[204]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[505]),
        ("\u{16}\u{3}\u{1}\0w\u{1}\0\0s\u{3}".to_owned(), &[400]),
        ("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400]),
        (format!("GET /a HTTP/1.1\r\nHost: a\r\nCookie: a={}\r\n\r\n", "x".repeat(20_000)), &[431]),
        (format!("GET /a HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(110)), &[431]),
    ] {
        let mut client = rig.client().await;
        client.write(bytes.as_bytes()).await;
        for status in statuses {
            assert_eq!(client.response().await.status, *status, "{bytes:.80}");
        }
    }
}

/// A client of an origin that says this and closes: the end of the connection ends an answer without a length.
async fn client_of(says: &str) -> (Rig, Client) {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "Connection: close\r\n").await;
    let mut asked = origin.next().await;
    asked.write(says.as_bytes()).await;
    drop(asked);
    (rig, client)
}

fn with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn fields(count: usize) -> String {
    (0..count).map(|at| format!("X-{at}: {}\r\n", "a".repeat(1_000))).collect()
}

/// 41: heads of CGI scripts, devices and old frameworks.
#[tokio::test]
async fn odd_heads_of_origins_are_read() {
    for (says, status, expected) in [
        ("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 2\n\nok".to_owned(), 200, "ok"),
        ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok".to_owned(), 200, "ok"),
        ("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok".to_owned(), 200, "ok"),
        ("HTTP/1.1 404 Nicht gefunden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 404, "no"),
        ("HTTP/1.1 999 Request denied\r\nContent-Length: 2\r\n\r\nno".to_owned(), 999, "no"),
        ("HTTP/1.1 600 x\r\nContent-Length: 2\r\n\r\nno".to_owned(), 600, "no"),
        (with("Content-Disposition: attachment; filename=\"\u{dc}bersicht.pdf\"\r\n"), 200, "ok"),
        (with("X-Foo : a\r\n"), 200, "ok"),
        (with("Content-Length: 2\r\n"), 200, "ok"),
        (with("Content-Type: text/html\r\nContent-Type: text/plain\r\n"), 200, "ok"),
        (with("X_Under: a\r\n"), 200, "ok"),
        (with(&fields(70)), 200, "ok"),
        (format!("HTTP/1.1 100 Continue\r\n\r\n{}", with("")), 200, "ok"),
        (format!("{}ay", with("")), 200, "ok"),
        (chunked("2   \r\nok\r\n0\r\n\r\n"), 200, "ok"),
        (chunked("00000002\r\nok\r\n00000000\r\n\r\n"), 200, "ok"),
        (chunked("2;a=b\r\nok\r\n0\r\n\r\n"), 200, "ok"),
        (chunked("2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"), 200, "ok"),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".to_owned(), 204, ""),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok".to_owned(), 204, ""),
    ] {
        let (_rig, mut client) = client_of(&says).await;
        let got = client.response().await;
        assert_eq!((got.status, got.text().as_str()), (status, expected), "{says:.90}");
    }
}

/// 41: an answer that two recipients may read differently is none (RFC 9112 §2.2, §5.1, §5.2, §6.1, §6.3).
#[tokio::test]
async fn heads_of_origins_that_can_be_read_in_two_ways_are_refused() {
    for says in [
        with("X-Long: a\r\n  b\r\n"),
        with("Garbage\r\n"),
        with(": x\r\n"),
        with("My Header: x\r\n"),
        with("X-A: a\0b\r\n"),
        with("Content-Length: 3\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok".to_owned(),
        "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "ICY 200 OK\r\nicy-name: x\r\n\r\nok".to_owned(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
    ] {
        let (_rig, mut client) = client_of(&says).await;
        assert_eq!(client.head().await.status, 502, "{says:.90}");
    }
}

/// 41: nobody takes a part for the whole.
#[tokio::test]
async fn an_answer_that_an_origin_cuts_short_breaks_off() {
    for says in [
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok".to_owned(),
        chunked("2\r\nok\r\n"),
        chunked("2\nok\n0\n\n"),
    ] {
        // The connection may end before the head is sent: that is no answer either.
        let (_rig, mut client) = client_of(&says).await;
        let answer = client.rest().await;
        let is_whole =
            answer.ends_with("\r\n0\r\n\r\n") || answer.contains("\r\nok") && answer.contains("length: 2\r");
        assert!(answer.starts_with("HTTP/1.1 502") || !is_whole, "{says}: {answer}");
    }
}
