//! The origin's answer about a stale response: its effect on the store, and the part that is one client's.

use super::rig::{Client, Got, Origin, Rig, response};

const STALE_SOON: &str = "Cache-Control: max-age=1\r\nETag: \"a\"\r\n";

/// An edge that holds `/a` with these fields, stale since a moment ago.
async fn holding(origin: &Origin, top: &str, site: &str, fields: &str) -> (Rig, Client) {
    let rig = Rig::with(&[origin.address], top, site).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", fields, "old")).await;
    client.response().await;
    rig.pass(5);
    (rig, client)
}

/// Asks, and the origin answers so.
async fn ask(origin: &Origin, client: &mut Client, fields: &str, answer: &str) -> Got {
    client.send_get("/a", fields).await;
    origin.next().await.respond(answer).await;
    client.response().await
}

/// RFC 9111 §4.3.3: a full response shows that what is stored is suitable no more, stored or not.
#[tokio::test]
async fn a_full_answer_that_is_not_stored_still_ends_what_was_stored() {
    for (status, fields, asking, stays) in [
        ("404 Not Found", "", "", false),
        ("403 Forbidden", "", "", false),
        ("401 Unauthorized", "", "", false),
        ("301 Moved Permanently", "Location: /x\r\n", "", false),
        ("200 OK", "Cache-Control: private\r\n", "", false),
        ("200 OK", "Cache-Control: no-store\r\n", "", false),
        ("200 OK", "Cache-Control: max-age=60\r\nVary: *\r\n", "", false),
        ("503 Service Unavailable", "", "", true),
        ("500 Internal Server Error", "Cache-Control: no-store\r\n", "", true),
        ("200 OK", "Cache-Control: max-age=60\r\n", "Cache-Control: no-store\r\n", true),
        ("200 OK", "Cache-Control: max-age=60\r\n", "Authorization: x\r\n", true),
    ] {
        let origin = Origin::start().await;
        let (_rig, mut client) = holding(&origin, "", "", STALE_SOON).await;
        let got = ask(&origin, &mut client, asking, &response(status, fields, "new")).await;
        assert_eq!(got.text(), "new", "{status} {fields:?}");
        // The origin is lost: what is still stored may be served stale for a day.
        client.send_get("/a", "").await;
        origin.next().await.fail();
        let got = client.response().await;
        assert_eq!((got.status == 200, got.text() == "old"), (stays, stays), "{status} {fields:?} {got:?}");
    }
}

/// RFC 9111 §7.3, §3.2.
#[tokio::test]
async fn a_cookie_that_a_304_sets_is_its_clients_alone() {
    for (site, more) in [
        ("", "Cache-Control: max-age=60\r\n"),
        ("", ""),
        ("set_cookie = \"strip\"", "Cache-Control: max-age=60\r\n"),
    ] {
        let origin = Origin::start().await;
        let (_rig, mut client) = holding(&origin, "", site, STALE_SOON).await;
        let confirmed = format!(
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n{more}Set-Cookie: sid=ALICE\r\nSet-Cookie: b=c\r\n\r\n"
        );
        let own = ask(&origin, &mut client, "Cookie: ALICE\r\n", &confirmed).await;
        assert_eq!((own.text().as_str(), own.field("set-cookie").as_str()), ("old", "sid=ALICE, b=c"));
        assert!(own.cache_status().contains("fwd-status=304; stored"), "{site:?} {more:?}: {own:?}");
        let other = client.get("/a").await;
        other.assert_hit();
        assert_eq!(other.field("set-cookie"), "", "{site:?} {more:?}: {other:?}");
    }
}

#[tokio::test]
async fn a_field_that_a_304_calls_private_is_its_clients_alone() {
    let origin = Origin::start().await;
    let (_rig, mut client) = holding(&origin, "", "", STALE_SOON).await;
    let confirmed = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=60, private=\"x\"\r\nX: ALICE\r\nY: all\r\n\r\n";
    let own = ask(&origin, &mut client, "", confirmed).await;
    assert_eq!((own.field("x").as_str(), own.field("y").as_str()), ("ALICE", "all"));
    let other = client.get("/a").await;
    other.assert_hit();
    assert_eq!((other.field("x").as_str(), other.field("y").as_str()), ("", "all"));
}

/// Another client waited for the same 304.
#[tokio::test]
async fn a_cookie_that_a_304_sets_is_not_for_those_who_waited_for_it() {
    let origin = Origin::start().await;
    let (rig, mut leader) = holding(&origin, "", "", STALE_SOON).await;
    leader.send_get("/a", "").await;
    let asked = origin.next().await;
    let mut follower = rig.client().await;
    follower.send_get("/a", "").await;
    rig.until("verge_edge_waiting", 2).await;
    asked
        .respond("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\nSet-Cookie: sid=ALICE\r\n\r\n")
        .await;
    assert_eq!(leader.response().await.field("set-cookie"), "sid=ALICE");
    let other = follower.response().await;
    assert!(other.cache_status().contains("collapsed"), "{other:?}");
    assert_eq!(other.field("set-cookie"), "");
}

/// RFC 9111 §3, §3.5: the 304 may not be stored; what it confirms was stored for another request.
#[tokio::test]
async fn a_304_that_may_not_be_stored_for_the_requests_sake_leaves_what_is_stored() {
    for (asking, more, freshened) in [
        ("Cache-Control: no-store\r\n", "Cache-Control: public, max-age=60\r\n", false),
        ("Authorization: x\r\n", "Cache-Control: max-age=60\r\n", false),
        ("Authorization: x\r\n", "Cache-Control: public, max-age=60\r\n", true),
    ] {
        let origin = Origin::start().await;
        let (_rig, mut client) = holding(&origin, "", "", STALE_SOON).await;
        let confirmed = format!("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n{more}X: new\r\n\r\n");
        let own = ask(&origin, &mut client, asking, &confirmed).await;
        assert_eq!((own.text().as_str(), own.field("x").as_str()), ("old", "new"), "{asking:?}");
        assert_eq!(own.cache_status().contains("; stored"), freshened, "{asking:?} {own:?}");
        client.send_get("/a", "").await;
        if !freshened {
            let asked = origin.next().await;
            assert!(asked.head.to_ascii_lowercase().contains("if-none-match: \"a\""), "{}", asked.head);
            asked.respond(&confirmed).await;
        }
        let next = client.response().await;
        assert_eq!((next.text().as_str(), next.cache_status().contains("hit")), ("old", freshened));
    }
}

/// A client's range is an answer to that client; others keep the whole.
#[tokio::test]
async fn a_whole_that_has_become_stale_is_not_replaced_by_a_part() {
    let origin = Origin::start().await;
    let (_rig, mut client) = holding(&origin, "", "", "Cache-Control: max-age=1\r\n").await;
    client.send_get("/a", "Range: bytes=0-1\r\n").await;
    let asked = origin.next().await;
    assert!(!asked.head.to_ascii_lowercase().contains("range:"), "{}", asked.head);
    asked.respond(&response("200 OK", "Cache-Control: max-age=60\r\n", "new")).await;
    let part = client.response().await;
    assert_eq!((part.status, part.text().as_str()), (206, "ne"));
    let whole = client.get("/a").await;
    whole.assert_hit();
    assert_eq!(whole.text(), "new");
}

/// RFC 9211 §2.1: `hit` is for what was not forwarded.
#[tokio::test]
async fn what_stands_in_for_a_failed_origin_says_so_to_all_who_share_it() {
    for (failure, expected) in [(Some("503 Service Unavailable"), "; fwd-status=503"), (None, "")] {
        let origin = Origin::start().await;
        let fields = "Cache-Control: max-age=1, stale-if-error=600\r\n";
        let (rig, leader) = holding(&origin, "", "", fields).await;
        let mut clients = [leader, rig.client().await];
        clients[0].send_get("/a", "").await;
        let asked = origin.next().await;
        clients[1].send_get("/a", "").await;
        rig.until("verge_edge_waiting", 2).await;
        match failure {
            Some(status) => asked.respond(&response(status, "", "")).await,
            None => asked.fail(),
        }
        for (client, collapsed) in clients.iter_mut().zip(["", "; collapsed"]) {
            let got = client.response().await;
            assert_eq!((got.status, got.text().as_str()), (200, "old"));
            let status = got.cache_status();
            assert!(
                status.starts_with(&format!("verge-edge; fwd=stale{expected}{collapsed}; ttl=-")),
                "{status}"
            );
            assert!(status.ends_with("; detail=stale-if-error"), "{status}");
        }
        assert_eq!(origin.count(), 2);
    }
}

const FULL: &str = "client_control = \"full\"";

/// RFC 9111 §5.2.1.4: the client would rather have had it validated, which is not possible.
#[tokio::test]
async fn what_is_fresh_is_served_when_it_cannot_be_validated() {
    for failure in [Some("503 Service Unavailable"), None] {
        let origin = Origin::start().await;
        let (_rig, mut client) = holding(&origin, "", FULL, "Cache-Control: max-age=60\r\n").await;
        client.send_get("/a", "Cache-Control: no-cache\r\n").await;
        let asked = origin.next().await;
        match failure {
            Some(status) => asked.respond(&response(status, "", "")).await,
            None => asked.fail(),
        }
        let got = client.response().await;
        assert_eq!((got.status, got.text().as_str()), (200, "old"));
        assert!(got.cache_status().contains("fwd=request"), "{got:?}");
    }
}

/// RFC 5861 §4: it is the request's own wish, and nobody else's.
#[tokio::test]
async fn a_clients_own_stale_if_error_is_for_that_client() {
    let origin = Origin::start().await;
    let (rig, mut leader) = holding(&origin, "", FULL, "Cache-Control: max-age=1\r\n").await;
    leader.send_get("/a", "Cache-Control: stale-if-error=60\r\n").await;
    let asked = origin.next().await;
    let mut follower = rig.client().await;
    follower.send_get("/a", "").await;
    rig.until("verge_edge_waiting", 2).await;
    asked.respond(&response("503 Service Unavailable", "", "no")).await;
    let own = leader.response().await;
    assert_eq!((own.status, own.text().as_str()), (200, "old"));
    origin.next().await.respond(&response("503 Service Unavailable", "", "no")).await;
    assert_eq!(follower.response().await.status, 503);
}
