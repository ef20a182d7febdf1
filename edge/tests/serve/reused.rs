//! Connections to an origin that serve more than one request, and those that must not.

use super::rig::{Origin, Rig, response};

const PAGE: &str = "Cache-Control: no-store\r\n";

/// One request, and the next one on the connection that it left.
async fn first(rig: &Rig, origin: &Origin, fields: &str) {
    let mut client = rig.client().await;
    client.send_get("/first", "").await;
    origin.next().await.respond(&response("200 OK", &format!("{PAGE}{fields}"), "")).await;
    client.response().await;
}

fn request(method: &str, fields: &str) -> String {
    format!("{method} /second HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// RFC 9112 §9.3.1, RFC 9110 §9.2.2.
#[tokio::test]
async fn what_may_be_repeated_is_sent_again_when_a_used_connection_closes_before_an_answer() {
    let check = async |method: &str, fields: &str, expected: &[u16]| {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        first(&rig, &origin, "").await;
        let mut client = rig.client().await;
        client.write(request(method, fields).as_bytes()).await;
        drop(origin.next().await);
        if expected == [200] {
            origin.next().await.respond(&response("200 OK", PAGE, "")).await;
        }
        let got = client.head().await;
        assert!(expected.contains(&got.status), "{method}: {got:?}");
        assert_eq!(origin.count(), 2 + usize::from(got.status == 200), "{method}");
        assert_eq!(origin.connections(), origin.count() - 1, "{method}");
    };
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND"] {
        check(method, "Content-Length: 0\r\n", &[200]).await;
    }
    // Idempotent by the registry of RFC 9110 §16.1, which LOCK is not.
    for method in ["MKCOL", "COPY", "MOVE", "PROPPATCH", "UNLOCK", "VERSION-CONTROL"] {
        check(method, "", &[200]).await;
    }
    for method in ["POST", "PATCH", "UNKNOWN", "LOCK"] {
        check(method, "Content-Length: 0\r\n", &[502]).await;
    }
}

#[tokio::test]
async fn a_request_is_sent_again_once_and_only_if_no_byte_of_an_answer_came() {
    let check = async |said: &str| {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        first(&rig, &origin, "").await;
        let mut client = rig.client().await;
        client.send_get("/second", "").await;
        let mut asked = origin.next().await;
        asked.write(said.as_bytes()).await;
        drop(asked);
        if said.is_empty() {
            drop(origin.next().await);
        }
        let mut got = client.head().await;
        while got.status == 103 {
            got = client.head().await;
        }
        assert_eq!(got.status, 502, "{said:?}");
        assert_eq!(origin.count(), 2 + usize::from(said.is_empty()), "{said:?}");
    };
    check("").await;
    check("H").await;
    check("HTTP/1.1 103 Early Hints\r\n\r\n").await;
    check("HTTP/1.1 200 OK\r\n").await;
}

/// By NTLM, and at many origins by Negotiate, the connection is authenticated and not the request.
#[tokio::test]
async fn a_connection_that_stands_for_one_user_serves_nobody_else() {
    let check = async |asked: &str, answered: &str, connections: usize| {
        let origin = Origin::answering({
            let answered = answered.to_owned();
            move |_| response("401 Unauthorized", &format!("{PAGE}{answered}"), "")
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        rig.client().await.get_with("/", asked).await;
        rig.get("/").await;
        assert_eq!(origin.connections(), connections, "{asked} {answered}");
    };
    for scheme in ["NTLM", "Negotiate", "ntlm TlRMTVNTUAACAAAA"] {
        check("", &format!("WWW-Authenticate: {scheme}\r\n"), 2).await;
        check("", &format!("WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: {scheme}\r\n"), 2).await;
    }
    check("Authorization: Negotiate YIIB\r\n", "", 2).await;
    check("", "Persistent-Auth: true\r\n", 2).await;
    check("Authorization: Basic YTpi\r\n", "WWW-Authenticate: Basic realm=\"a\"\r\n", 1).await;
}

/// An origin that does not read such content takes it for the next request on the connection.
#[tokio::test]
async fn a_connection_that_carried_unusual_content_is_not_used_again() {
    let check = async |method: &str, connections: usize| {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.write(format!("{}hello", request(method, "Content-Length: 5\r\n")).as_bytes()).await;
        let mut asked = origin.next().await;
        assert_eq!(asked.read(5).await, b"hello");
        asked.respond(&response("200 OK", PAGE, "")).await;
        client.head().await;
        first(&rig, &origin, "").await;
        assert_eq!(origin.connections(), connections, "{method}");
    };
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        check(method, 2).await;
    }
    for method in ["POST", "PUT", "PROPFIND"] {
        check(method, 1).await;
    }
}

/// RFC 9112 §6.3, RFC 9110 §9.3.1: a search by GET with its criteria in chunks is another request without them.
#[tokio::test]
async fn content_in_chunks_reaches_the_origin_whole_with_every_method() {
    for method in ["GET", "HEAD", "POST", "DELETE", "QUERY"] {
        let origin = Origin::start().await;
        // A QUERY whose content the edge reads gets a length.
        let rig = Rig::with(&[origin.address], "", "query_body = \"0B\"").await;
        let mut client = rig.client().await;
        let body = "5\r\nhello\r\n0\r\n\r\n";
        let sent = format!("{}{body}", request(method, "Transfer-Encoding: chunked\r\n"));
        client.write(sent.as_bytes()).await;
        let mut asked = origin.next().await;
        assert!(asked.head.to_ascii_lowercase().contains("transfer-encoding: chunked\r\n"), "{}", asked.head);
        assert_eq!(String::from_utf8_lossy(&asked.read(body.len()).await), body, "{method}");
        asked.respond(&response("200 OK", PAGE, "")).await;
        assert_eq!(client.head().await.status, 200, "{method}");
    }
}

#[tokio::test]
async fn a_bad_chunk_is_no_whole_request_at_the_origin() {
    for chunk in ["x\r\n", "\r\n", "5\r\nhelloX", "0x5\r\nhello\r\n0\r\n\r\n"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        let sent = format!("{}{chunk}", request("GET", "Transfer-Encoding: chunked\r\n"));
        client.write(sent.as_bytes()).await;
        assert_eq!(client.response().await.status, 400, "{chunk:?}");
        for seen in origin.seen() {
            assert!(seen.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{chunk:?}: {seen}");
        }
        if origin.count() == 1 {
            let rest = origin.next().await.until_hung_up().await;
            assert!(!rest.contains("0\r\n\r\n"), "{chunk:?}: {rest:?}");
        }
    }
}

/// Heads as origins of all ages write them.
#[tokio::test]
async fn a_response_is_read_as_it_was_meant_where_that_is_plain() {
    let check = async |fields: &str, body: &str, expected: Option<&str>| {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        // The connection stays open: the head alone says where the body ends.
        origin.next().await.respond(&format!("HTTP/1.1 200 OK\r\n{PAGE}{fields}\r\n{body}")).await;
        let got = client.response().await;
        match expected {
            Some(expected) => assert_eq!((got.status, got.text().as_str()), (200, expected), "{fields}"),
            None => assert_eq!(got.status, 502, "{fields}"),
        }
        got
    };
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunks, Some("hello")).await;
    check("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello", Some("hello")).await;
    check("Content-Length: 5\r\nTransfer-Encoding: Identity\r\n", "hello and more", Some("hello")).await;
    let twice = "Transfer-Encoding: identity\r\nContent-Length: 5\r\nContent-Length: 5\r\n";
    check(twice, "hello", Some("hello")).await;
    for nothing in ["", " ", ",", "identity,"] {
        let fields = format!("Transfer-Encoding: {nothing}\r\nContent-Length: 5\r\n");
        check(&fields, "hello and more", Some("hello")).await;
    }
    check("Transfer-Encoding: , chunked\r\n", chunks, Some("hello")).await;
    check("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", chunks, Some("hello")).await;
    check("Transfer-Encoding: chunked, chunked\r\n", chunks, None).await;
    check("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", "hello", None).await;
    let cors = "Access-Control-Allow-Credentials : true\r\nContent-Length: 5\r\n";
    let got = check(cors, "hello", Some("hello")).await;
    assert_eq!(got.field("access-control-allow-credentials"), "true");
    check("X-A\t : b\r\nContent-Length: 5\r\n", "hello", Some("hello")).await;
    check("Content-Length : 5\r\n", "hello", None).await;
    check("Transfer-Encoding\t: chunked\r\n", chunks, None).await;
}
