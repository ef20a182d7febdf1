//! Each way to make two servers see different requests: refused and closed, or exactly one request.

use super::server::{Seen, listen_until_closed, statuses, talk};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// The service sees nothing of it, nor of what follows; the server answers and closes.
async fn refused(status: u16, raw: &str) {
    let (answer, seen) = listen_until_closed(format!("{raw}{SMUGGLED}").as_bytes()).await;
    assert_eq!(statuses(&answer), [status], "{raw:?} got {answer:?}");
    assert_eq!(seen, [], "{raw:?}");
}

/// A request before it is answered all the same, a request behind it is not.
async fn refused_behind_another(status: u16, raw: &str) {
    let (answer, seen) =
        listen_until_closed(format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{raw}{SMUGGLED}").as_bytes()).await;
    assert_eq!(statuses(&answer), [200, status], "{raw:?} got {answer:?}");
    assert_eq!(seen, [Seen::new("GET", "/1", b"")], "{raw:?}");
}

async fn one(raw: &str, expected: Seen) {
    let (answer, seen) = talk(format!("{raw}GET /next HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 200], "{raw:?} got {answer:?}");
    assert_eq!(seen, [expected, Seen::new("GET", "/next", b"")], "{raw:?}");
}

/// hyper 1.12 takes these for requests and answers with 200 when nothing stands before it.
#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_refused() {
    let host = "Host: a\r\n";
    let heads = [
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        (400, "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a/../b@c\r\n\r\n".to_owned()),
        (400, "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, format!("GET p HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET * HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /#f HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /\u{e9}#f HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /\u{e9}\\ HTTP/1.1\r\n{host}\r\n")),
        (400, format!("CONNECT /p HTTP/1.1\r\n{host}\r\n")),
        (400, "GET / HTTP/1.1\nHost: a\n\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned()),
        (400, format!("\nGET / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}A: b\r\n c\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}A : b\r\n\r\n")),
        (417, format!("POST / HTTP/1.1\r\n{host}Expect: y 100-continue\r\nContent-Length: 5\r\n\r\nhello")),
        (501, format!("{} / HTTP/1.1\r\n{host}\r\n", "A".repeat(40))),
        (505, format!("GET / HTTP/2.0\r\n{host}\r\n")),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (414, format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(9000))),
        (431, format!("GET / HTTP/1.1\r\n{host}A: {}\r\n\r\n", "a".repeat(20_000))),
        (431, format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(100))),
    ];
    for (status, head) in heads {
        refused(status, &head).await;
        refused_behind_another(status, &head).await;
    }
}

#[tokio::test]
async fn a_body_that_can_end_in_two_places_is_refused() {
    let heads = [
        (400, "Content-Length: 005"),
        (400, "Content-Length: 5\r\nContent-Length: 5"),
        (400, "Content-Length: 5\r\nContent-Length: 6"),
        (400, "Content-Length: 5, 5"),
        (400, "Content-Length: +5"),
        (400, "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        (400, "Transfer-Encoding: chunked, chunked"),
        (400, "Transfer-Encoding: chunked, identity"),
        (400, "Transfer-Encoding: xchunked"),
        (400, "Transfer-Encoding : chunked"),
        (400, "Transfer-Encoding:\u{b}chunked"),
        (400, "Transfer-Encoding\r\n: chunked"),
        (400, "X: y\nTransfer-Encoding: chunked"),
        (400, "X: y\rTransfer-Encoding: chunked"),
        (400, "X:\r\n Transfer-Encoding: chunked"),
        (501, "Transfer-Encoding: gzip, chunked"),
        (400, "Transfer_Encoding: chunked"),
        (400, "Content_Length: 5"),
    ];
    for (status, fields) in heads {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        refused(status, &raw).await;
        refused_behind_another(status, &raw).await;
    }
    refused(400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn chunks_that_can_end_in_two_places_break_off() {
    let bodies = [
        (400, "5;a\0b\r\nhello\r\n0\r\n\r\n".to_owned()),
        (400, "5 \r\nhello\r\n0\r\n\r\n".to_owned()),
        (400, "5 ;a\r\nhello\r\n0\r\n\r\n".to_owned()),
        (400, "0x5\r\nhello\r\n0\r\n\r\n".to_owned()),
        (400, "5\nhello\n0\n\n".to_owned()),
        (400, "5;a\nhello\r\n0\r\n\r\n".to_owned()),
        (400, "5;\rx\r\nhello\r\n0\r\n\r\n".to_owned()),
        (400, "5\r\nhello0\r\n\r\n".to_owned()),
        (400, "5\r\nhelloXX0\r\n\r\n".to_owned()),
        (400, "10000000000000005\r\nhello\r\n0\r\n\r\n".to_owned()),
        (400, format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(64 * 1024))),
        (400, "0\r\nContent-Length: 5\r\n\r\n".to_owned()),
        (400, "0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
        (400, "0\r\nHost: b\r\n\r\n".to_owned()),
        (400, "0\r\nA : b\r\n\r\n".to_owned()),
        (431, format!("0\r\n{}\r\n", format!("A: {}\r\n", "b".repeat(100)).repeat(90))),
    ];
    for (status, body) in bodies {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        refused(status, &raw).await;
        refused_behind_another(status, &raw).await;
    }
}

#[tokio::test]
async fn what_can_be_read_in_one_way_is_one_request() {
    one("GET /a?b=c|d HTTP/1.1\r\nHost: a\r\n\r\n", Seen::new("GET", "/a?b=c%7Cd", b"")).await;
    one(
        "POST /\u{e9} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        Seen::new("POST", "/%C3%A9", b"hi"),
    )
    .await;
    one("\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", Seen::new("GET", "/a", b"")).await;
    one("GET http://A:80/a HTTP/1.1\r\nHost: a:80\r\n\r\n", Seen::new("GET", "http://A:80/a", b"")).await;
    one("GET http://a:80/a HTTP/1.1\r\nHost: a\r\n\r\n", Seen::new("GET", "http://a:80/a", b"")).await;
    one("GET /a HTTP/1.2\r\nHost: a\r\n\r\n", Seen::new("GET", "/a", b"")).await;
    let later = "POST /a HTTP/1.9\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    one(later, Seen::new("POST", "/a", b"hi")).await;
    one("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Seen::new("OPTIONS", "*", b"")).await;
    // A body that looks like a request is a body.
    let len = SMUGGLED.len();
    let sized = format!("GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{SMUGGLED}");
    one(&sized, Seen::new("GET", "/a", SMUGGLED.as_bytes())).await;
    let chunked = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n{len:X};a=b\r\n{SMUGGLED}\r\n000\r\nA: b\r\n\r\n"
    );
    one(&chunked, Seen::new("POST", "/a", SMUGGLED.as_bytes())).await;
    let expects = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n{SMUGGLED}"
    );
    let (answer, seen) = talk(expects.as_bytes()).await;
    assert_eq!(statuses(&answer).last(), Some(&200), "{answer:?}");
    assert_eq!(seen, [Seen::new("POST", "/a", SMUGGLED.as_bytes())]);
}

#[tokio::test]
async fn a_request_cut_short_is_no_request() {
    for raw in ["GET /a HTTP/1.1\r\nHost: a\r\n", "GET /a", "\r\n"] {
        assert_eq!(talk(raw.as_bytes()).await, (String::new(), vec![]), "{raw:?}");
    }
    for body in ["Content-Length: 5\r\n\r\nhell", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"] {
        let (_, seen) = talk(format!("POST /a HTTP/1.1\r\nHost: a\r\n{body}").as_bytes()).await;
        assert_eq!(seen, [], "{body:?}");
    }
}
