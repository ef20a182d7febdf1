//! `Cache-Status` (RFC 9211) and `Proxy-Status` (RFC 9209), where an answer is another request's or cannot be kept.

use super::rig::{Client, Got, Origin, Rig, response};

/// RFC 9211 §2.6: `stored` says that the cache stored the response.
#[tokio::test]
async fn a_304_that_forbids_to_keep_what_it_confirms_is_not_said_to_be_stored() {
    for (fields, stored) in [
        ("Cache-Control: max-age=10\r\n", true),
        ("Cache-Control: no-store\r\n", false),
        ("Cache-Control: private\r\n", false),
        ("Vary: *\r\n", false),
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        let first = "Cache-Control: max-age=10\r\nETag: \"a\"\r\n";
        origin.next().await.respond(&response("200 OK", first, "hello")).await;
        client.response().await;
        rig.pass(20);
        client.send_get("/a", "").await;
        let confirmed = format!("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n{fields}\r\n");
        origin.next().await.respond(&confirmed).await;
        let got = client.response().await;
        assert_eq!(got.text(), "hello");
        let status = got.cache_status();
        assert!(status.starts_with("verge-edge; fwd=stale; fwd-status=304"), "{status}");
        assert_eq!(status.contains("; stored"), stored, "{fields:?}: {status}");
    }
}

/// Three requests for one URL: the origin has the first, and the others wait for its answer.
async fn three(rig: &Rig) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        clients.push(client);
    }
    rig.until("verge_edge_waiting", 3).await;
    clients
}

async fn answers(clients: &mut [Client]) -> Vec<Got> {
    let mut all = Vec::new();
    for client in clients {
        all.push(client.response().await);
    }
    all
}

/// RFC 9211 §2.7. A fault of the origin's answer concerns all who waited for it, and each is told.
#[tokio::test]
async fn who_shares_a_failure_is_told_so_and_why() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = three(&rig).await;
    // One more is asked, as the first request may have caused it.
    for left in [2, 0] {
        let asked = origin.next().await;
        asked.respond("SSH-2.0-OpenSSH\r\n\r\n").await;
        rig.until("verge_edge_waiting", left).await;
    }
    let all = answers(&mut clients).await;
    let mut statuses: Vec<String> = all.iter().map(Got::cache_status).collect();
    statuses.sort();
    let shared = "verge-edge; fwd=uri-miss; collapsed";
    let own = "verge-edge; fwd=uri-miss";
    assert_eq!(statuses, [own, own, shared]);
    for got in all {
        assert_eq!(got.status, 502);
        assert_eq!(got.field("proxy-status"), "verge-edge; error=http_protocol_error");
    }
    assert_eq!(origin.count(), 2, "nobody asks once more for the same answer");
}

/// A connection that is lost is one request's misfortune. The others', which were never sent, have one successor.
#[tokio::test]
async fn a_lost_leader_has_one_successor() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = three(&rig).await;
    drop(origin.next().await);
    let successor = origin.next().await;
    rig.until("verge_edge_waiting", 2).await;
    successor.respond(&response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let mut seen: Vec<u16> = answers(&mut clients).await.iter().map(|got| got.status).collect();
    seen.sort_unstable();
    assert_eq!(seen, [200, 200, 502]);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_successor_that_is_lost_too_is_the_last() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = three(&rig).await;
    drop(origin.next().await);
    let successor = origin.next().await;
    rig.until("verge_edge_waiting", 2).await;
    drop(successor);
    let mut statuses = Vec::new();
    for got in answers(&mut clients).await {
        assert_eq!(got.status, 502);
        assert_eq!(got.field("proxy-status"), "verge-edge; error=connection_terminated");
        statuses.push(got.cache_status());
    }
    statuses.sort();
    let own = "verge-edge; fwd=uri-miss";
    assert_eq!(statuses, [own, own, "verge-edge; fwd=uri-miss; collapsed"]);
    assert_eq!(origin.count(), 2);
}

/// RFC 9211 §2: the caches behind this one come first, and are told of where they have handled the request.
#[tokio::test]
async fn other_caches_are_told_of_in_their_order_and_only_where_they_were_asked() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    let fresh = "Cache-Control: max-age=10, stale-if-error=100\r\nETag: \"a\"\r\n";
    let first = format!("{fresh}Cache-Status: far; hit\r\nCache-Status: near; fwd=miss\r\n");
    let of_304 = |status: &str| format!("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n{status}\r\n");
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", &first, "hello")).await;
    let got = client.response().await.cache_status();
    assert!(got.starts_with("far; hit, near; fwd=miss, verge-edge; fwd=uri-miss"), "{got}");
    let got = client.get("/a").await.cache_status();
    assert!(got.starts_with("verge-edge; hit"), "{got}");
    for (status, told) in [("Cache-Status: near; hit\r\n", "near; hit, "), ("", "")] {
        rig.pass(20);
        client.send_get("/a", "").await;
        origin.next().await.respond(&of_304(status)).await;
        let got = client.response().await.cache_status();
        assert!(got.starts_with(&format!("{told}verge-edge; fwd=stale; fwd-status=304")), "{got}");
        let got = client.get("/a").await.cache_status();
        assert!(got.starts_with("verge-edge; hit"), "{got}");
    }
    // Stale, as the origin fails.
    rig.pass(20);
    client.send_get("/a", "").await;
    let failed = "Cache-Status: near; fwd=miss\r\nCache-Control: no-store\r\n";
    origin.next().await.respond(&response("503 No", failed, "")).await;
    let got = client.response().await.cache_status();
    assert!(got.starts_with("verge-edge; fwd=stale; fwd-status=503"), "{got}");
    // A response that is not stored tells of them as it comes.
    client.send_get("/b", "").await;
    origin.next().await.respond(&response("200 OK", failed, "")).await;
    let got = client.response().await.cache_status();
    assert!(got.starts_with("near; fwd=miss, verge-edge; fwd=uri-miss"), "{got}");
}
