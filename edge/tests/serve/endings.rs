//! How messages end, and what that says: whole, broken off, or not to be understood.

use super::client::Client;
use super::rig::{Origin, Rig, response};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
const OLD: &[u8] = b"GET /a HTTP/1.0\r\nHost: site.test\r\n\r\n";

/// RFC 9112 §6.1, §7: such a body is not the response, and once the field is gone nobody can tell.
#[tokio::test]
async fn a_body_in_a_transfer_coding_that_nobody_asked_for_is_neither_sent_nor_stored() {
    for coding in ["gzip, chunked", "gzip", "deflate", "x-gzip, chunked", "chunked, gzip", "chunked, chunked"]
    {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        for asked in 1..=2 {
            client.send_get("/a", "").await;
            let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: {coding}\r\n\r\n");
            let mut answer = origin.next().await;
            answer.write(format!("{head}5\r\nhello\r\n0\r\n\r\n").as_bytes()).await;
            drop(answer);
            let got = client.response().await;
            assert_eq!(got.status, 502, "{coding}: {got:?}");
            let error = "verge-edge; error=http_response_transfer_coding";
            assert_eq!(got.field("proxy-status"), error, "{coding}");
            assert_eq!(origin.count(), asked);
        }
    }
}

/// RFC 9112 §6.1: an HTTP/1.0 message that has the field is framed in a way that nobody can be sure of.
#[tokio::test]
async fn an_old_response_with_a_transfer_coding_is_an_error() {
    let origin = Origin::answering(|_| {
        format!("HTTP/1.0 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    assert_eq!(rig.get("/a").await.status, 502);
    assert_eq!(rig.get("/a").await.status, 502);
}

/// §6.3 rule 4: what is no coding leaves the bytes as they are, and the connection's end is theirs.
#[tokio::test]
async fn a_name_that_is_no_transfer_coding_is_left_out() {
    for (line, body) in [("binary", "hello"), ("binary, chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        let mut asked = origin.next().await;
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: {line}\r\n\r\n");
        asked.write(format!("{head}{body}").as_bytes()).await;
        drop(asked);
        let got = client.response().await;
        assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{line}");
        assert_eq!(got.field("transfer-encoding"), "chunked", "ours: {got:?}");
        rig.until("verge_edge_fetches", 0).await;
        let hit = rig.get("/a").await;
        hit.assert_hit();
        assert_eq!((hit.text().as_str(), hit.field("transfer-encoding").as_str()), ("hello", ""), "{line}");
    }
}

/// §6.1: where there is no body the field is about another message.
#[tokio::test]
async fn a_response_without_a_body_may_name_any_transfer_coding() {
    let origin =
        Origin::answering(|_| format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: gzip, chunked\r\n\r\n"))
            .await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.write(b"HEAD /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
}

/// How a response comes from the origin, to its middle.
const HALVES: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nfirst",
];

async fn old_client(rig: &Rig) -> Client {
    let mut client = rig.client().await;
    client.write(OLD).await;
    client
}

/// RFC 9112 §8: to HTTP/1.0, which has no chunks, the end of the connection is the end of the body, but for a reset.
#[tokio::test]
async fn an_old_client_can_tell_a_response_that_broke_off_from_a_whole_one() {
    for half in HALVES {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = old_client(&rig).await;
        let mut asked = origin.next().await;
        asked.write(half.as_bytes()).await;
        let head = client.head().await;
        assert_eq!((head.field("content-length"), head.field("transfer-encoding")), ("".into(), "".into()));
        asked.reset();
        assert!(client.until_the_end().await.is_err(), "{half:?}");
        // Nor is the half of it stored.
        rig.until("verge_edge_fetches", 0).await;
        let mut again = rig.client().await;
        again.send_get("/a", "").await;
        origin.next().await.respond(&response("200 OK", "", "whole")).await;
        assert_eq!(again.response().await.text(), "whole");
    }
}

#[tokio::test]
async fn an_old_client_gets_a_whole_response_with_an_ordinary_end() {
    for half in HALVES {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let client = old_client(&rig).await;
        let mut asked = origin.next().await;
        asked.write(half.as_bytes()).await;
        if half.contains("chunked") {
            asked.write(b"0\r\n\r\n").await;
        }
        drop(asked);
        assert!(client.until_the_end().await.unwrap().ends_with("\r\n\r\nfirst"), "{half:?}");
    }
}

#[tokio::test]
async fn an_old_client_can_tell_that_an_edge_that_stops_cut_its_response_short() {
    let origin = Origin::start().await;
    let mut rig = Rig::with(&[origin.address], "[limits]\ndrain = \"1ms\"", "").await;
    let mut client = old_client(&rig).await;
    let mut asked = origin.next().await;
    asked.write(HALVES[0].as_bytes()).await;
    client.head().await;
    rig.running.take().unwrap().drain().await;
    assert!(client.until_the_end().await.is_err());
}

/// A half-closed connection still has its other half (RFC 9293 §3.6): `printf … | nc -N` waits for the answer.
#[tokio::test]
async fn a_client_that_says_no_more_gets_its_answer() {
    let big = 4_000_000;
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    for request in
        ["GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"]
    {
        let mut client = rig.client().await;
        client.write(request.as_bytes()).await;
        client.say_no_more().await;
        let mut asked = origin.next().await;
        // Its end has come to the edge by the time that others have been answered.
        for _ in 0..3 {
            assert_eq!(rig.get("/.well-known/verge/health").await.status, 200);
        }
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {big}\r\n\r\nfirst");
        asked.write(head.as_bytes()).await;
        assert_eq!(client.head().await.status, 200);
        assert_eq!(client.bytes(5).await, b"first");
        asked.write(&vec![b'x'; big - 5]).await;
        asked.done();
        assert_eq!(client.until_the_end().await.unwrap().len(), big - 5, "and then the connection ends");
    }
    // From the store, and several in a row.
    let mut client = rig.client().await;
    let hit = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    origin_answers(&origin, &rig, big).await;
    client.write(hit.repeat(3).as_bytes()).await;
    client.say_no_more().await;
    assert!(client.until_the_end().await.unwrap().len() > 3 * big);
}

/// Its end may well come behind the first bytes of its answer.
#[tokio::test]
async fn a_client_that_says_no_more_while_it_is_answered_gets_the_rest() {
    let big = 4_000_000;
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {big}\r\n\r\nfirst").as_bytes()).await;
    client.head().await;
    client.say_no_more().await;
    for _ in 0..3 {
        assert_eq!(rig.get("/.well-known/verge/health").await.status, 200);
    }
    asked.write(&vec![b'x'; big - 5]).await;
    asked.done();
    assert_eq!(client.until_the_end().await.unwrap().len(), big);
    // More than the sockets hold, so that most of it is still to be sent.
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    client.head().await.assert_hit();
    client.say_no_more().await;
    for _ in 0..3 {
        assert_eq!(rig.get("/.well-known/verge/health").await.status, 200);
    }
    assert_eq!(client.until_the_end().await.unwrap().len(), big);
}

const GET_A: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &str = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// RFC 9112 §2.2 knows the extra line; a head that is cut short is no request, and takes nothing from those before it.
#[tokio::test]
async fn what_is_no_request_behind_those_of_a_client_that_says_no_more_costs_them_nothing() {
    for (requests, behind) in [
        (vec![GET_A], "\r\n"),
        (vec!["POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"], "\r\n"),
        (vec![GET_A], "GET / HT"),
        (vec![GET_A, GET_A], "GET /b HTTP/1.1\r\nHost: a\r\n"),
        (vec![UPGRADE], ""),
        (vec![UPGRADE, GET_A], ""),
        (vec![UPGRADE, UPGRADE, GET_A], "GET"),
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.write(format!("{}{behind}", requests.concat()).as_bytes()).await;
        client.say_no_more().await;
        for _ in &requests {
            let asked = origin.next().await;
            for _ in 0..3 {
                assert_eq!(rig.get("/.well-known/verge/health").await.status, 200);
            }
            asked.respond(&response("200 OK", "Cache-Control: no-store\r\n", "hello")).await;
        }
        let answers = client.until_the_end().await.unwrap();
        let count = answers.matches("HTTP/1.1 200 OK").count();
        assert_eq!(count, requests.len(), "{requests:?} and {behind:?}: {answers}");
    }
}

/// One that has left looks the same, and its fetch is not to go on for nobody.
#[tokio::test]
async fn a_client_that_says_no_more_is_taken_for_gone_when_its_answer_does_not_come() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let asked = origin.next().await;
    drop(client);
    asked.hung_up().await;
    rig.until("verge_edge_fetches", 0).await;
    rig.until_all_have_left().await;
}

/// The POST has taken away what was stored.
async fn origin_answers(origin: &Origin, rig: &Rig, big: usize) {
    let mut client = rig.client().await;
    client.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.next().await.respond(&response("200 OK", FRESH, &"x".repeat(big))).await;
    client.response().await;
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_is_not_waited_for() {
    for says_no_more in [false, true] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        if says_no_more {
            client.say_no_more().await;
        }
        let asked = origin.next().await;
        client.reset();
        asked.hung_up().await;
    }
}

#[tokio::test]
async fn a_client_that_only_looked_as_if_it_waited_is_found_out_by_the_first_bytes() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    drop(client);
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 30000000\r\n\r\nfirst").as_bytes()).await;
    asked.hung_up().await;
}

/// A stream of events goes on for as long as its client is there: one that ends its side has left.
#[tokio::test]
async fn the_origin_hears_at_once_of_a_client_that_leaves_a_stream_of_events() {
    for (fields, silent) in [
        ("text/event-stream", true),
        ("Text/Event-Stream; charset=utf-8", false),
        ("application/x-ndjson", true),
        ("multipart/x-mixed-replace; boundary=frame", false),
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        let mut asked = origin.next().await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {fields}\r\nTransfer-Encoding: chunked\r\n\r\n");
        asked.write(head.as_bytes()).await;
        client.head().await;
        if !silent {
            asked.write(b"3\r\n:\n\n\r\n").await;
            client.bytes(3).await;
        }
        let begun = verge_edge::clock::monotonic();
        client.say_no_more().await;
        asked.hung_up().await;
        // Others are waited for for 5 s and more.
        assert!(begun.elapsed() < std::time::Duration::from_secs(4), "{fields}");
    }
}

/// Of what nobody knows to be a stream, too, the origin hears before its own limit, which keeps its place for so long.
#[tokio::test]
async fn the_origin_hears_of_a_client_that_leaves_while_nothing_comes_for_it() {
    for head in [
        "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        "Content-Type: application/grpc-web+proto\r\nConnection: close\r\n\r\nfirst",
        "Cache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    ] {
        let origin = Origin::start().await;
        let rig = Rig::with(&[origin.address], "", "between_bytes_timeout = \"10m\"").await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        let mut asked = origin.next().await;
        asked.write(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await;
        client.head().await;
        client.say_no_more().await;
        asked.hung_up().await;
        rig.until_all_have_left().await;
    }
}

/// A log of JSON lines has an end: half of a connection suffices to read it, as with `nc -N`.
#[tokio::test]
async fn who_has_ended_its_side_gets_json_lines_that_have_a_length_or_are_stored() {
    const LINES: &str = "Content-Type: application/x-ndjson\r\n";
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}{LINES}Content-Length: 6\r\n\r\n1\n").as_bytes()).await;
    client.head().await;
    assert_eq!(client.bytes(2).await, b"1\n");
    client.say_no_more().await;
    asked.write(b"2\n3\n").await;
    assert_eq!(client.bytes(4).await, b"2\n3\n");
    // The edge would ask on this connection again, where nobody reads.
    drop(asked);
    // Stored without a length that the origin told.
    let mut first = rig.client().await;
    first.send_get("/b", "").await;
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}{LINES}Transfer-Encoding: chunked\r\n\r\n");
    origin.next().await.write(format!("{head}2\r\n1\n\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(first.response().await.text(), "1\n");
    let mut second = rig.client().await;
    second.send_get("/b", "").await;
    second.say_no_more().await;
    assert_eq!(second.response().await.text(), "1\n");
}
