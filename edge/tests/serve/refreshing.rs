//! Refreshing behind a stale answer (RFC 5861 §3).

use super::rig::{Client, Origin, Rig, response, soon};

const FIELDS: &str = "Cache-Control: max-age=1, stale-while-revalidate=600\r\n";

/// An edge that may serve `/a` stale for ten minutes, and an origin that was asked once.
async fn holding(origin: &Origin, more: &str) -> (Rig, Client) {
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", &format!("{FIELDS}{more}"), "0123456789")).await;
    client.response().await;
    rig.pass(5);
    (rig, client)
}

/// Waits until no fetch is under way.
async fn done(rig: &Rig) {
    rig.until("verge_edge_fetches", 0).await;
}

/// One client was served stale; the refresh is for all.
#[tokio::test]
async fn a_refresh_asks_for_all_of_what_is_stored() {
    for (method, asking, length) in [
        ("GET", "", 10),
        ("HEAD", "", 10),
        ("GET", "Range: bytes=0-4\r\n", 5),
        ("GET", "Cache-Control: no-store\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 10),
    ] {
        for tag in ["", "ETag: \"a\"\r\n"] {
            let origin = Origin::start().await;
            let (rig, _) = holding(&origin, tag).await;
            let mut client = rig.client().await;
            client.write(format!("{method} /a HTTP/1.1\r\nHost: site.test\r\n{asking}\r\n").as_bytes()).await;
            let stale = client.head().await;
            assert_eq!(stale.field("content-length"), length.to_string(), "{method} {asking:?}");
            let asked = origin.next().await;
            let head = asked.head.to_ascii_lowercase();
            assert!(head.starts_with("get /a ") && !head.contains("range:"), "{head}");
            assert!(!head.contains("if-modified-since") && !head.contains("no-store"), "{head}");
            assert_eq!(head.contains("if-none-match: \"a\""), !tag.is_empty(), "{head}");
            asked.respond(&response("200 OK", "Cache-Control: max-age=60\r\n", "new and whole")).await;
            done(&rig).await;
            let got = rig.get("/a").await;
            got.assert_hit();
            assert_eq!(got.text(), "new and whole", "{method} {asking:?}");
        }
    }
}

/// RFC 9111 §4.3.3: also behind a stale answer.
#[tokio::test]
async fn a_refresh_that_finds_something_else_ends_the_stale_answers() {
    let origin = Origin::start().await;
    let (rig, mut client) = holding(&origin, "").await;
    assert_eq!(client.get("/a").await.text(), "0123456789");
    origin.next().await.respond(&response("404 Not Found", "", "gone")).await;
    done(&rig).await;
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("404 Not Found", "", "gone")).await;
    assert_eq!(client.response().await.status, 404);
}

/// An origin in trouble is asked once in a while, not once for each stale answer.
#[tokio::test]
async fn a_refresh_that_fails_is_one_and_is_not_tried_again_at_once() {
    for status in [Some("500 Internal Server Error"), Some("503 Service Unavailable"), None] {
        let origin = Origin::start().await;
        let (rig, mut client) = holding(&origin, "").await;
        let fail = async || {
            let asked = origin.next().await;
            match status {
                Some(status) => asked.respond(&response(status, "", "no")).await,
                None => asked.fail(),
            }
        };
        for round in 1..=3 {
            let asked = 1 + round;
            assert_eq!(client.get("/a").await.text(), "0123456789");
            soon("the refresh", async {
                while origin.count() < asked {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            for _ in 0..5 {
                assert_eq!(client.get("/a").await.text(), "0123456789");
            }
            assert_eq!(origin.count(), asked, "one is under way");
            fail().await;
            done(&rig).await;
            for _ in 0..5 {
                let got = client.get("/a").await;
                assert_eq!(got.text(), "0123456789", "{got:?}");
            }
            done(&rig).await;
            assert_eq!(origin.count(), asked, "one failed a moment ago");
            rig.pass(6);
        }
        assert_eq!(client.get("/a").await.text(), "0123456789");
        origin.next().await.respond(&response("200 OK", "Cache-Control: max-age=60\r\n", "new")).await;
        done(&rig).await;
        assert_eq!(client.get("/a").await.text(), "new");
    }
}

/// A server's error says nothing of whether the next response may be shared.
#[tokio::test]
async fn after_an_error_requests_still_wait_for_one_another() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = [rig.client().await, rig.client().await, rig.client().await];
    clients[0].send_get("/a", "").await;
    origin.next().await.respond(&response("503 Service Unavailable", "", "no")).await;
    assert_eq!(clients[0].response().await.status, 503);
    for client in &mut clients {
        client.send_get("/a", "").await;
    }
    rig.until("verge_edge_waiting", 3).await;
    origin.next().await.respond(&response("200 OK", "Cache-Control: max-age=60\r\n", "back")).await;
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "back");
    }
    assert_eq!(origin.count(), 2);
}

/// Clients that waited for an error ask once more, together; then they take it for the origin's state.
#[tokio::test]
async fn an_origin_in_trouble_is_not_asked_by_each_who_waited() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        clients.push(client);
    }
    rig.until("verge_edge_waiting", 10).await;
    origin
        .next()
        .await
        .respond(&response("503 Service Unavailable", "Cache-Control: no-store\r\n", "one's own"))
        .await;
    let successor = origin.next().await;
    rig.until("verge_edge_waiting", 9).await;
    successor.respond(&response("503 Service Unavailable", "", "one's own")).await;
    let mut own = 0;
    for client in &mut clients {
        let got = client.response().await;
        let status = got.cache_status();
        assert_eq!(got.status, 503);
        assert!(status.starts_with("verge-edge; fwd=uri-miss; fwd-status=503"), "{status}");
        own += usize::from(got.text() == "one's own");
        assert_eq!(got.text() != "one's own", status.ends_with("; collapsed"), "{got:?}");
    }
    assert_eq!((own, origin.count()), (2, 2));
}

/// An error may be the matter of the one request that met it.
#[tokio::test]
async fn an_error_of_one_is_not_that_of_all() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = [rig.client().await, rig.client().await, rig.client().await];
    for client in &mut clients {
        client.send_get("/a", "").await;
    }
    rig.until("verge_edge_waiting", 3).await;
    origin.next().await.respond(&response("500 Internal Server Error", "", "no")).await;
    origin.next().await.respond(&response("200 OK", "Cache-Control: max-age=60\r\n", "yes")).await;
    let mut texts = Vec::new();
    for client in &mut clients {
        texts.push(client.response().await.text());
    }
    texts.sort();
    assert_eq!((texts, origin.count()), (vec!["no".into(), "yes".into(), "yes".to_owned()], 2));
}
