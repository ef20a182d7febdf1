//! Requests on their way to the origin, and answers that come back past the cache.

use super::rig::{Origin, Rig, response, soon};

#[tokio::test]
async fn hop_by_hop_fields_stay_behind_both_ways_and_end_to_end_fields_travel() {
    let origin = Origin::answering(|_| {
        let fields = "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: yes\r\nCache-Control: max-age=60\r\n";
        response("200 OK", fields, "hello")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    let fields = "Connection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nX-Mine: yes\r\n";
    for _ in 0..2 {
        let got = rig.client().await.get_with("/a", fields).await;
        assert_eq!(got.field("x-kept"), "yes");
        for name in ["x-hop", "keep-alive", "connection"] {
            assert_eq!(got.field(name), "", "{got:?}");
        }
        assert!(got.field("via").contains("verge-edge"), "{got:?}");
    }
    let seen = origin.seen()[0].to_ascii_lowercase();
    assert!(seen.contains("x-mine: yes"), "{seen}");
    for name in ["x-private:", "keep-alive:", "te:", "proxy-connection:"] {
        assert!(!seen.lines().any(|line| line.starts_with(name)), "{name} in {seen}");
    }
    assert!(seen.contains("\r\nvia: "), "{seen}");
    assert!(seen.contains("\r\nx-forwarded-for: 127.0.0.1"), "{seen}");
    assert!(seen.contains("\r\nhost: site.test"), "{seen}");
}

#[tokio::test]
async fn an_upload_streams_to_the_origin_as_the_client_sends_it() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.write(b"PUT /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\nfirst").await;
    let mut asked = origin.next().await;
    assert!(asked.head.starts_with("PUT /a HTTP/1.1\r\n"), "{}", asked.head);
    assert!(asked.head.to_ascii_lowercase().contains("content-length: 10"), "{}", asked.head);
    assert_eq!(asked.read(5).await, b"first");
    client.write(b"later").await;
    assert_eq!(asked.read(5).await, b"later");
    asked.respond(&response("201 Created", "", "made")).await;
    let got = client.response().await;
    assert_eq!((got.status, got.text().as_str()), (201, "made"));
}

#[tokio::test]
async fn a_chunked_upload_arrives_whole() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.write(b"POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n").await;
    let mut asked = origin.next().await;
    assert!(asked.head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{}", asked.head);
    assert_eq!(asked.read(15).await, b"5\r\nfirst\r\n0\r\n\r\n");
    asked.respond(&response("200 OK", "", "ok")).await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn every_method_and_status_passes() {
    let origin = Origin::answering(|head| {
        let status = head.split(['/', ' ']).nth(2).unwrap();
        response(&format!("{status} Odd"), "", "")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (method, status) in
        [("GET", 299), ("DELETE", 200), ("PATCH", 499), ("OPTIONS", 599), ("BREW", 418), ("GET", 999)]
    {
        let request = format!("{method} /{status} HTTP/1.1\r\nHost: site.test\r\n\r\n");
        assert_eq!(rig.client().await.raw(request.as_bytes()).await.status, status, "{method}");
        assert!(origin.seen().last().unwrap().starts_with(method));
    }
}

#[tokio::test]
async fn a_response_without_length_is_read_to_its_end_and_stored() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nfirst, ").await;
    asked.write(b"last").await;
    drop(asked);
    assert_eq!(client.response().await.text(), "first, last");
    soon("the stored response", async {
        let hit = rig.get("/a").await;
        hit.assert_hit();
        assert_eq!(hit.text(), "first, last");
    })
    .await;
}

#[tokio::test]
async fn early_hints_reach_the_client_before_the_response() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await;
    let early = client.head().await;
    assert_eq!((early.status, early.field("link").as_str()), (103, "</a.css>; rel=preload"));
    asked.respond(&response("200 OK", "", "hello")).await;
    assert_eq!(client.response().await.text(), "hello");
}

#[tokio::test]
async fn connections_to_the_origin_are_used_again() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/a").await.text(), "hello");
    }
    assert_eq!(origin.count(), 3);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_never_reaches_the_origin() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = rig.client().await;
        assert_eq!(client.raw(head.as_bytes()).await.status, 400, "{head}");
        assert!(client.is_closed().await, "{head}");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_precondition_reaches_the_origin_that_is_asked() {
    let origin = Origin::answering(|head| match head.to_ascii_lowercase().contains("if-match: \"v1\"") {
        true => response("412 Precondition Failed", "", "another"),
        false => response("200 OK", "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n", "hello"),
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    let wanting = "If-Match: \"v1\"\r\n";
    assert_eq!(rig.client().await.get_with("/a", wanting).await.status, 412);
    rig.get("/a").await.assert_forwarded();
    rig.pass(61);
    assert_eq!(rig.client().await.get_with("/a", wanting).await.status, 412);
}

#[tokio::test]
async fn a_condition_on_what_is_not_stored_is_judged() {
    let origin =
        Origin::answering(|_| response("200 OK", "Cache-Control: private\r\nETag: \"v1\"\r\n", "mine")).await;
    let rig = Rig::start(&[origin.address]).await;
    for (tag, status, body) in [("\"v1\"", 304, ""), ("\"v0\"", 200, "mine"), ("W/\"v1\"", 304, "")] {
        let got = rig.client().await.get_with("/a", &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((got.status, got.text().as_str()), (status, body), "{tag} {got:?}");
        assert_eq!((got.field("etag").as_str(), got.field("age").as_str()), ("\"v1\"", ""), "{got:?}");
        got.assert_forwarded();
    }
}

#[tokio::test]
async fn a_body_that_a_304_stands_for_is_read_out_and_its_connection_serves_again() {
    let body = "x".repeat(50_000);
    let origin =
        Origin::answering(move |_| response("200 OK", "Cache-Control: private\r\nETag: \"v1\"\r\n", &body))
            .await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    for _ in 0..20 {
        assert_eq!(client.get_with("/a", "If-None-Match: \"v1\"\r\n").await.status, 304);
    }
    // A client that asks at once may find it still being read.
    assert!(origin.connections() < 10, "{}", origin.connections());
}

#[tokio::test]
async fn the_last_hop_that_is_wanted_answers_itself() {
    let origin = Origin::answering(|_| response("200 OK", "", "origin")).await;
    let rig = Rig::start(&[origin.address]).await;
    let asking = |method: &str, hops: &str| {
        format!("{method} /a HTTP/1.1\r\nHost: site.test\r\nMax-Forwards: {hops}\r\n\r\n")
    };
    for (method, hops, status, count) in
        [("OPTIONS", "0", 200, 0), ("TRACE", "0", 405, 0), ("TRACE", "5", 405, 0), ("OPTIONS", "1", 200, 1)]
    {
        let got = rig.client().await.raw(asking(method, hops).as_bytes()).await;
        assert_eq!((got.status, origin.count()), (status, count), "{method} {hops} {got:?}");
    }
    assert!(origin.seen()[0].to_ascii_lowercase().contains("max-forwards: 0"), "{:?}", origin.seen());
}

#[tokio::test]
async fn a_length_is_passed_on_once() {
    for length in ["5, 5", "05"] {
        let head =
            format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {length}\r\n\r\nhello");
        let origin = Origin::answering(move |_| head.clone()).await;
        let rig = Rig::start(&[origin.address]).await;
        for _ in 0..2 {
            let got = rig.get("/a").await;
            assert_eq!(
                (got.field("content-length").as_str(), got.text().as_str()),
                ("5", "hello"),
                "{length}"
            );
        }
    }
}

/// Editors send a DELETE as a POST that says so; a GET that says so would poison what others get.
#[tokio::test]
async fn a_method_override_reaches_the_origin_with_methods_that_the_store_never_answers() {
    for (method, passes) in
        [("POST", true), ("PUT", true), ("PATCH", true), ("DELETE", true), ("GET", false), ("HEAD", false)]
    {
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            let origin = Origin::answering(|_| response("200 OK", "", "")).await;
            let rig = Rig::start(&[origin.address]).await;
            let head =
                format!("{method} /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{name}: DELETE\r\n\r\n");
            let mut client = rig.client().await;
            client.write(head.as_bytes()).await;
            client.head().await;
            let seen = origin.seen()[0].to_ascii_lowercase();
            assert_eq!(seen.contains(&format!("\r\n{name}: delete\r\n")), passes, "{method} {name}");
        }
    }
}

/// RFC 9110 §8.6.
#[tokio::test]
async fn a_204_has_no_length_whatever_the_origin_says() {
    let fields = "HTTP/1.1 204 No Content\r\nContent-Length: 54\r\nCache-Control: max-age=60\r\n\r\n";
    let origin = Origin::answering(move |_| fields.to_owned()).await;
    let rig = Rig::start(&[origin.address]).await;
    for method in ["HEAD", "GET", "HEAD", "POST"] {
        let head = format!("{method} /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
        let mut client = rig.client().await;
        client.write(head.as_bytes()).await;
        let got = client.head().await;
        assert_eq!((got.status, got.field("content-length").as_str()), (204, ""), "{method}");
    }
}

/// RFC 4918 §9.8 and §9.9: what they write is at their `Destination`.
#[tokio::test]
async fn a_move_and_a_copy_drop_what_was_stored_at_their_destination() {
    let check = async |method: &str, destination: &str, status: &'static str, dropped: bool| {
        let origin = Origin::answering(move |head| match head.split(' ').next() {
            Some("GET") => response("200 OK", "Cache-Control: max-age=60\r\n", "old"),
            _ => response(status, "", ""),
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        rig.get("/c").await;
        let host = "Host: site.test";
        let destination = destination.replace("HOST", "site.test");
        let head = format!("{method} /e HTTP/1.1\r\n{host}\r\nDestination: {destination}\r\n\r\n");
        rig.client().await.raw(head.as_bytes()).await;
        rig.get("/c").await;
        assert_eq!(origin.count(), 2 + usize::from(dropped), "{method} {destination} {status}");
    };
    for method in ["MOVE", "COPY"] {
        check(method, "http://HOST/c", "201 Created", true).await;
        check(method, "/c", "204 No Content", true).await;
        check(method, "http://HOST/c", "412 Precondition Failed", false).await;
        check(method, "http://other.test/c", "201 Created", false).await;
    }
    check("LOCK", "http://HOST/c", "200 OK", false).await;
}
