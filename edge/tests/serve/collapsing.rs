//! One fetch per key however many ask.

use std::sync::Arc;

use super::client::Client;
use super::rig::{Origin, Rig, response, soon};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_cause_one_request_and_all_stream_while_it_fills() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        clients.push(client);
    }
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 10\r\n\r\nfirst").as_bytes()).await;
    for client in &mut clients {
        let head = client.head().await;
        assert_eq!(head.status, 200);
        // The first half is here for everyone before the origin has sent the second.
        assert_eq!(client.bytes(5).await, b"first");
    }
    asked.write(b"later").await;
    asked.done();
    for client in &mut clients {
        assert_eq!(client.bytes(5).await, b"later");
    }
    assert_eq!(origin.count(), 1);
    rig.get("/a").await.assert_hit();
}

#[tokio::test]
async fn a_fill_goes_on_for_its_followers_when_the_first_client_leaves() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut leader = rig.client().await;
    leader.send_get("/a", "").await;
    let mut asked = origin.next().await;
    let mut follower = rig.client().await;
    follower.send_get("/a", "").await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 3000010\r\n\r\nfirst").as_bytes()).await;
    assert_eq!(leader.head().await.status, 200);
    assert_eq!(follower.head().await.status, 200);
    drop(leader);
    assert_eq!(follower.bytes(5).await, b"first");
    asked.write(&vec![b'x'; 3_000_005]).await;
    asked.done();
    assert_eq!(follower.bytes(3_000_005).await.len(), 3_000_005);
    rig.get("/a").await.assert_hit();
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_big_fill_ends_when_nobody_reads_it() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 30000000\r\n\r\nfirst").as_bytes()).await;
    client.head().await;
    drop(client);
    // It may have said no more and still read: what is sent to it tells.
    asked.write(b"more").await;
    asked.hung_up().await;
}

#[tokio::test]
async fn a_fill_that_is_nearly_done_is_finished_without_a_reader() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 10\r\n\r\nfirst").as_bytes()).await;
    client.head().await;
    drop(client);
    let mut second = rig.client().await;
    second.send_get("/a", "").await;
    asked.write(b"later").await;
    asked.done();
    assert_eq!(second.response().await.text(), "firstlater");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_private_response_is_for_its_client_and_the_others_ask_at_once() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        clients.push(client);
    }
    let mut first = origin.next().await;
    first.write(b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 2\r\n\r\n").await;
    // The first one's body is still to come, and the others are already here.
    let (second, third) = (origin.next().await, origin.next().await);
    second.respond(&response("200 OK", "Cache-Control: private\r\n", "22")).await;
    third.respond(&response("200 OK", "Cache-Control: private\r\n", "33")).await;
    first.write(b"11").await;
    first.done();
    let mut bodies = Vec::new();
    for client in &mut clients {
        bodies.push(client.response().await.text());
    }
    bodies.sort();
    assert_eq!(bodies, ["11", "22", "33"]);
}

#[tokio::test]
async fn after_a_private_response_requests_do_not_wait_for_one_another() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut first = rig.client().await;
    first.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", "Cache-Control: no-store\r\n", "1")).await;
    first.response().await;
    let (mut second, mut third) = (rig.client().await, rig.client().await);
    second.send_get("/a", "").await;
    third.send_get("/a", "").await;
    // Both are at the origin before either has an answer.
    let (one, two) = (origin.next().await, origin.next().await);
    one.respond(&response("200 OK", FRESH, "fresh")).await;
    two.respond(&response("200 OK", FRESH, "fresh")).await;
    second.response().await;
    third.response().await;
    rig.get("/a").await.assert_hit();
}

#[tokio::test]
async fn a_follower_whose_variant_differs_gets_its_own_and_shares_it_with_its_like() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let (english, german) = ("Accept-Language: en\r\n", "Accept-Language: de\r\n");
    let mut leader = rig.client().await;
    leader.send_get("/a", english).await;
    let first = origin.next().await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut client = rig.client().await;
        client.send_get("/a", german).await;
        others.push(client);
    }
    let fields = format!("{FRESH}Vary: Accept-Language\r\n");
    first.respond(&response("200 OK", &fields, "hello")).await;
    assert_eq!(leader.response().await.text(), "hello");
    let second = origin.next().await;
    assert!(second.head.to_ascii_lowercase().contains("accept-language: de"), "{}", second.head);
    second.respond(&response("200 OK", &fields, "hallo")).await;
    for client in &mut others {
        assert_eq!(client.response().await.text(), "hallo");
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn variants_of_a_key_that_is_known_to_vary_are_fetched_at_the_same_time() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let fields = format!("{FRESH}Vary: Accept-Language\r\n");
    let mut first = rig.client().await;
    first.send_get("/a", "Accept-Language: en\r\n").await;
    origin.next().await.respond(&response("200 OK", &fields, "en")).await;
    first.response().await;
    let mut clients = Vec::new();
    for language in ["de", "fr", "de", "fr"] {
        let mut client = rig.client().await;
        client.send_get("/a", &format!("Accept-Language: {language}\r\n")).await;
        clients.push((client, language));
    }
    // Neither waits for the other's head.
    for asked in [origin.next().await, origin.next().await] {
        let body = if asked.head.to_ascii_lowercase().contains("language: de") { "de" } else { "fr" };
        asked.respond(&response("200 OK", &fields, body)).await;
    }
    for (client, language) in &mut clients {
        assert_eq!(client.response().await.text(), *language);
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_purge_is_in_effect_when_it_returns() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    rig.get("/a").await.assert_hit();
    let purged = rig.purge("/a").await;
    assert_eq!((purged.status, purged.text().as_str()), (200, "{\"purged\":1}"));
    rig.get("/a").await.assert_forwarded();
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_was_being_filled_when_a_purge_came_is_neither_joined_nor_stored() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut early = rig.client().await;
    early.send_get("/a", "").await;
    let mut old = origin.next().await;
    old.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 6\r\n\r\nold").as_bytes()).await;
    early.head().await;
    assert_eq!(rig.purge("/a").await.status, 200);
    let mut late = rig.client().await;
    late.send_get("/a", "").await;
    let new = origin.next().await;
    new.respond(&response("200 OK", FRESH, "newnew")).await;
    assert_eq!(late.response().await.text(), "newnew");
    // The old one ends last, and must not take the new one's place.
    old.write(b"old").await;
    old.done();
    assert_eq!(early.bytes(6).await, b"oldold");
    let hit = rig.get("/a").await;
    hit.assert_hit();
    assert_eq!(hit.text(), "newnew");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_purge_during_a_revalidation_wins() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let fields = format!("{FRESH}ETag: \"v1\"\r\n");
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", &fields, "old")).await;
    client.response().await;
    rig.pass(61);
    client.send_get("/a", "").await;
    let validating = origin.next().await;
    rig.purge("/a").await;
    validating.respond(&format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")).await;
    // The purged body must not be served on the strength of a 304 from before the purge.
    let whole = origin.next().await;
    assert!(!whole.head.to_ascii_lowercase().contains("if-none-match"), "{}", whole.head);
    whole.respond(&response("200 OK", &fields, "new")).await;
    assert_eq!(client.response().await.text(), "new");
}

#[tokio::test]
async fn stale_while_revalidate_answers_at_once_and_refreshes_once() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let fields = "Cache-Control: max-age=10, stale-while-revalidate=60\r\n";
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", fields, "old")).await;
    client.response().await;
    rig.pass(20);
    for _ in 0..3 {
        assert_eq!(rig.get("/a").await.text(), "old");
    }
    let refresh = origin.next().await;
    assert_eq!(origin.count(), 2);
    refresh.respond(&response("200 OK", fields, "new")).await;
    soon("the refreshed response", async {
        while rig.get("/a").await.text() != "new" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(origin.count(), 2);
}

/// RFC 5861 §3: what is refreshed is what is stored, not what this client wants of it.
#[tokio::test]
async fn a_refresh_is_for_the_whole_response_whoever_causes_it() {
    let head = "HEAD /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let range = "GET /a HTTP/1.1\r\nHost: site.test\r\nRange: bytes=0-0\r\n\r\n";
    for request in [head, range] {
        for validator in ["", "ETag: \"v1\"\r\n"] {
            let origin = Origin::start().await;
            let rig = Rig::start(&[origin.address]).await;
            let fields = format!("Cache-Control: max-age=10, stale-while-revalidate=60\r\n{validator}");
            let mut client = rig.client().await;
            client.send_get("/a", "").await;
            origin.next().await.respond(&response("200 OK", &fields, "old")).await;
            client.response().await;
            rig.pass(20);
            let mut other = rig.client().await;
            other.write(request.as_bytes()).await;
            other.head().await.assert_hit();
            let refresh = origin.next().await;
            assert!(refresh.head.starts_with("GET "), "{}", refresh.head);
            assert!(!refresh.head.to_ascii_lowercase().contains("\r\nrange:"), "{}", refresh.head);
            refresh.respond(&response("200 OK", FRESH, "new")).await;
            rig.until("verge_edge_fetches", 0).await;
            let hit = rig.get("/a").await;
            assert_eq!((hit.text().as_str(), hit.cache_status().contains("hit")), ("new", true));
        }
    }
}

#[tokio::test]
async fn a_broken_response_is_not_stored_and_every_reader_learns_of_it() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let (mut leader, mut follower) = (rig.client().await, rig.client().await);
    leader.send_get("/a", "").await;
    let mut asked = origin.next().await;
    follower.send_get("/a", "").await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 10\r\n\r\nfirst").as_bytes()).await;
    let heads: [_; 2] = [leader.head().await, follower.head().await];
    drop(asked);
    for (client, head) in [&mut leader, &mut follower].into_iter().zip(&heads) {
        assert_eq!(client.body(head).await, None, "the body must not look whole");
    }
    let mut again = rig.client().await;
    again.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", FRESH, "whole")).await;
    assert_eq!(again.response().await.text(), "whole");
}

#[tokio::test]
async fn a_slow_reader_does_not_slow_another_reader_of_the_same_fill() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut slow = rig.client().await;
    slow.send_get("/a", "").await;
    let mut asked = origin.next().await;
    let mut quick = rig.client().await;
    quick.send_get("/a", "").await;
    let size = 20_000_000;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {size}\r\n\r\n").as_bytes()).await;
    // The slow one reads its head and no more: far less than the body fits in any socket between.
    slow.head().await;
    let body = Arc::new(vec![b'x'; size]);
    let writing = tokio::spawn({
        let body = Arc::clone(&body);
        async move {
            asked.write(&body).await;
            asked.done();
        }
    });
    assert_eq!(quick.response().await.body.len(), size);
    writing.await.unwrap();
    let again: Client = rig.client().await;
    drop(again);
    assert_eq!(slow.bytes(size).await.len(), size);
    assert_eq!(origin.count(), 1);
}
