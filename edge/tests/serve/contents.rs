//! The content of requests: QUERY is cached by it, uploads wait for the origin's word, some origins want it whole.

use std::sync::Arc;

use super::client::{Client, Got};
use super::over_h2::{Edge, fields};
use super::rig::{Origin, Rig, response, soon};

const FRESH: &str = "Cache-Control: max-age=60\r\nETag: \"q\"\r\nAccept-Query: \"application/json\"\r\n";

fn query(path: &str, more: &str, content: &str) -> String {
    let length = content.len();
    format!("QUERY {path} HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n{more}\r\n{content}")
}

const JSON: &str = "Content-Type: application/json\r\n";

async fn ask(rig: &Rig, request: &str) -> Got {
    rig.client().await.raw(request.as_bytes()).await
}

/// Answers a QUERY with its content, once all of that has come.
async fn echoing(fields: &'static str) -> Arc<Origin> {
    let origin = Arc::new(Origin::start().await);
    let serving = Arc::clone(&origin);
    tokio::spawn(async move {
        loop {
            let mut asked = serving.next_or_end().await;
            let head = asked.head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let content = asked.read(length.map_or(0, |length| length.parse().unwrap())).await;
            let method = asked.head.split(' ').next().unwrap().to_owned();
            let body = format!("{method} {}", String::from_utf8(content).unwrap());
            let answer = match head.contains("if-none-match") {
                true => format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"),
                false => response("200 OK", fields, &body),
            };
            asked.respond(&answer).await;
        }
    });
    origin
}

#[tokio::test]
async fn a_query_is_a_hit_for_the_same_content_and_no_other() {
    let origin = echoing(FRESH).await;
    let rig = Rig::start(&[origin.address]).await;
    let mut count = 0;
    for (more, content) in [
        (JSON, "{\"a\":1}"),
        (JSON, "{\"a\":2}"),
        (JSON, "{ \"a\":1}"),
        ("Content-Type: text/plain\r\n", "{\"a\":1}"),
        ("Content-Type: application/json\r\nContent-Encoding: x\r\n", "{\"a\":1}"),
        (JSON, ""),
    ] {
        let first = ask(&rig, &query("/q", more, content)).await;
        assert_eq!(first.text(), format!("QUERY {content}"), "{more} {content}");
        first.assert_forwarded();
        count += 1;
        let chunked = format!(
            "QUERY /q HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n{more}\r\n{}0\r\n\r\n",
            if content.is_empty() { String::new() } else { format!("{:x}\r\n{content}\r\n", content.len()) }
        );
        for again in [query("/q", more, content), chunked] {
            let hit = ask(&rig, &again).await;
            hit.assert_hit();
            assert_eq!(
                (hit.text(), hit.field("accept-query")),
                (first.text(), "\"application/json\"".to_owned())
            );
        }
        assert_eq!(origin.count(), count);
    }
    // A GET is another request, and its response another one.
    assert_eq!(rig.get("/q").await.text(), "GET ");
    rig.get("/q").await.assert_hit();
    ask(&rig, &query("/q", JSON, "{\"a\":1}")).await.assert_hit();
    let unmodified =
        ask(&rig, &query("/q", "Content-Type: application/json\r\nIf-None-Match: \"q\"\r\n", "{\"a\":1}"))
            .await;
    assert_eq!(unmodified.status, 304);
    let whole =
        ask(&rig, &query("/q", "Content-Type: application/json\r\nRange: bytes=0-1\r\n", "{\"a\":1}")).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "QUERY {\"a\":1}"));
}

#[tokio::test]
async fn a_query_is_validated_and_collapsed_as_a_get_is() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let request = query("/q", JSON, "{}");
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    one.write(request.as_bytes()).await;
    let mut asked = origin.next().await;
    assert_eq!(asked.read(2).await, b"{}");
    two.write(request.as_bytes()).await;
    rig.until("verge_edge_waiting", 2).await;
    asked.respond(&response("200 OK", FRESH, "answer")).await;
    assert_eq!(
        (one.response().await.text(), two.response().await.text()),
        ("answer".into(), "answer".into())
    );
    rig.pass(61);
    one.write(request.as_bytes()).await;
    let mut asked = origin.next().await;
    assert!(
        asked.head.starts_with("QUERY /q ") && asked.head.contains("if-none-match: \"q\""),
        "{}",
        asked.head
    );
    assert_eq!(asked.read(2).await, b"{}");
    asked.respond(&format!("HTTP/1.1 304 Not Modified\r\n{FRESH}\r\n")).await;
    assert_eq!(one.response().await.text(), "answer");
}

#[tokio::test]
async fn a_query_that_a_closing_connection_swallowed_is_sent_again() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", "", "a")).await;
    client.response().await;
    client.write(query("/q", JSON, "{}").as_bytes()).await;
    let mut asked = origin.next().await;
    assert_eq!(asked.read(2).await, b"{}");
    drop(asked);
    let mut asked = origin.next().await;
    assert_eq!(asked.read(2).await, b"{}");
    asked.respond(&response("200 OK", "", "answer")).await;
    assert_eq!(client.response().await.text(), "answer");
}

#[tokio::test]
async fn what_makes_a_url_gone_makes_its_queries_gone() {
    let origin = echoing(FRESH).await;
    let rig = Rig::start(&[origin.address]).await;
    let request = query("/q", JSON, "{}");
    for round in 0..3 {
        ask(&rig, &request).await.assert_forwarded();
        rig.get("/q").await.assert_forwarded();
        ask(&rig, &request).await.assert_hit();
        rig.get("/q").await.assert_hit();
        match round {
            0 => drop(rig.purge("/q").await),
            _ => drop(ask(&rig, "POST /q HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n").await),
        }
    }
    // A QUERY itself makes nothing stale.
    ask(&rig, &request).await;
    rig.get("/q").await;
    ask(&rig, &query("/q", JSON, "[]")).await.assert_forwarded();
    rig.get("/q").await.assert_hit();
}

/// Before the first QUERY of a process nothing says that a URL has more than one key.
#[tokio::test]
async fn a_purge_after_a_restart_takes_the_queries_of_before() {
    let (origin, folder) = (echoing(FRESH).await, tempfile::tempdir().unwrap());
    let top = format!("[cache]\ndisk = {{ path = {:?}, size = \"64MiB\" }}\n", folder.path().join("cache"));
    let edge = async || {
        let rig = Rig::with(&[origin.address], &top, "").await;
        let is_used = async {
            while rig.metric("verge_edge_disk_up{").await != 1 {
                tokio::task::yield_now().await;
            }
        };
        soon("the disk is used", is_used).await;
        rig
    };
    let mut before = edge().await;
    let request = query("/q", JSON, "{}");
    ask(&before, &request).await.assert_forwarded();
    before.get("/b").await;
    before.running.take().unwrap().drain().await;
    let after = edge().await;
    after.purge("/q").await;
    ask(&after, &request).await.assert_forwarded();
    after.get("/b").await.assert_hit();
    ask(&after, &request).await.assert_hit();
}

#[tokio::test]
async fn a_long_query_and_one_where_the_site_keeps_none_are_passed() {
    let origin = echoing(FRESH).await;
    for (site, content) in [("", "x".repeat((64 << 10) + 1)), ("query_body = \"0B\"", "{}".into())] {
        let rig = Rig::with(&[origin.address], "", site).await;
        for _ in 0..2 {
            let got = ask(&rig, &query("/q", JSON, &content)).await;
            got.assert_forwarded();
            assert_eq!(got.text(), format!("QUERY {content}"));
        }
    }
}

#[tokio::test]
async fn a_query_over_http_2_is_the_same() {
    let origin = echoing(FRESH).await;
    let edge = Edge::with(&origin, "", "").await;
    let json = || fields(&[("content-type", "application/json")]);
    for hit in [false, true] {
        let got = edge.ask("QUERY", "/q", json(), "{}").await;
        assert_eq!(got.body().as_ref(), b"QUERY {}");
        assert_eq!(got.headers()["cache-status"].to_str().unwrap().contains("hit"), hit);
    }
}

/// RFC 9110 §10.1.1.
#[tokio::test]
async fn content_waits_for_the_origins_word() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let head = "PUT /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    // The origin says no before anything was sent.
    let mut client = rig.client().await;
    client.write(head.as_bytes()).await;
    let asked = origin.next().await;
    assert!(asked.head.contains("expect: 100-continue"), "{}", asked.head);
    asked.respond(&response("401 Unauthorized", "", "no")).await;
    assert_eq!(client.response().await.status, 401, "no 100 before it");
    // A client that stays sends its content all the same; it is no request.
    client.write(b"hello").await;
    client.send_get("/b", "").await;
    let asked = origin.next().await;
    assert!(asked.head.starts_with("GET /b "), "{}", asked.head);
    asked.respond(&response("200 OK", "", "b")).await;
    assert_eq!(client.response().await.text(), "b");
    // The origin says yes.
    let mut client = rig.client().await;
    client.write(head.as_bytes()).await;
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status, 100);
    client.write(b"hello").await;
    assert_eq!(asked.read(5).await, b"hello");
    asked.respond(&response("200 OK", "", "yes")).await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn an_origin_that_does_not_know_the_expectation_gets_the_content_all_the_same() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client
        .write(b"PUT /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let mut asked = origin.next().await;
    assert_eq!(client.head().await.status, 100);
    client.write(b"hello").await;
    assert_eq!(asked.read(5).await, b"hello");
    asked.respond(&response("200 OK", "", "yes")).await;
    assert_eq!(client.response().await.status, 200);
}

async fn slowly(client: &mut Client, pieces: &[&str]) {
    for piece in pieces {
        client.write(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await;
    }
}

const CHUNKED: &str =
    "POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn an_origin_that_wants_content_whole_gets_it_with_its_length() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "buffer_requests = \"1KiB\"").await;
    let mut client = rig.client().await;
    client.write(CHUNKED.as_bytes()).await;
    slowly(&mut client, &["some", " content"]).await;
    assert_eq!(client.head().await.status, 100);
    assert_eq!(origin.count(), 0, "the origin is not asked before all is here");
    client.write(b"0\r\n\r\n").await;
    let mut asked = origin.next().await;
    let head = asked.head.to_ascii_lowercase();
    assert!(
        head.contains("content-length: 12") && !head.contains("chunked") && !head.contains("expect"),
        "{head}"
    );
    assert_eq!(asked.read(12).await, b"some content");
    asked.respond(&response("200 OK", "", "")).await;
    assert_eq!(client.response().await.status, 200);
    // Longer content goes on as it comes.
    client.write(CHUNKED.as_bytes()).await;
    slowly(&mut client, &[&"x".repeat(800), &"y".repeat(800)]).await;
    let mut asked = origin.next().await;
    assert!(asked.head.to_ascii_lowercase().contains("transfer-encoding: chunked"));
    soon("the content", asked.read(1_600)).await;
    client.write(b"0\r\n\r\n").await;
    asked.respond(&response("200 OK", "", "")).await;
    assert_eq!(client.head().await.status, 100);
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn content_that_breaks_off_while_it_is_waited_for_reaches_no_origin() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "buffer_requests = \"1KiB\"").await;
    let got = ask(
        &rig,
        "POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    )
    .await;
    assert_eq!((got.status, origin.count()), (400, 0));
}

#[tokio::test]
async fn an_old_origin_gets_names_with_capitals() {
    let origin = Origin::answering(|_| response("200 OK", "", "")).await;
    let rig = Rig::with(&[origin.address], "", "origin_title_case = true").await;
    ask(&rig, "POST /a HTTP/1.1\r\nHost: site.test\r\nx-any: 1\r\nContent-Length: 0\r\n\r\n").await;
    let head = origin.seen().remove(0);
    for name in ["Host", "X-Any", "Content-Length", "X-Forwarded-For", "Via"] {
        assert!(head.contains(&format!("\r\n{name}: ")), "{name} {head}");
    }
}

/// Over HTTP/1: hits, passed responses and the edge's own words.
#[tokio::test]
async fn an_old_client_gets_names_with_capitals() {
    let origin = Origin::answering(|head| match head.starts_with("GET") {
        true => response("200 OK", "cache-control: max-age=60\r\n", "a"),
        false => response("302 Found", "location: /next\r\n", ""),
    })
    .await;
    let rig = Rig::with(&[origin.address], "title_case = true", "").await;
    for (request, names) in [
        ("GET /a", &["Content-Length", "Cache-Control", "Cache-Status"][..]),
        ("GET /a", &["Content-Length", "Cache-Control", "Age"]),
        ("POST /a", &["Content-Length", "Location"]),
        ("CONNECT a:1", &["Content-Length", "Connection"]),
    ] {
        let mut client = rig.client().await;
        let request = format!("{request} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
        client.write(request.replace("Host: site.test", "Host: a:1").as_bytes()).await;
        let answer = client.rest().await;
        for name in names {
            assert!(answer.contains(&format!("\r\n{name}: ")), "{name}: {answer}");
        }
    }
}
