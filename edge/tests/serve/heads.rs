//! HEAD about something that is stored (RFC 9111 §4.3.5).

use super::rig::{Client, Got, Origin, Rig, response};

/// An edge that holds the answer to `GET /a` with these fields, five seconds old.
async fn holding(origin: &Origin, site: &str, asking: &str, fields: &str) -> (Rig, Client) {
    let rig = Rig::with(&[origin.address], "", site).await;
    let mut client = rig.client().await;
    client.send_get("/a", asking).await;
    origin.next().await.respond(&response("200 OK", fields, &"hello ".repeat(100))).await;
    client.response().await;
    rig.pass(5);
    (rig, client)
}

async fn send_head(client: &mut Client, fields: &str) {
    client.write(format!("HEAD /a HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n").as_bytes()).await;
}

async fn head(origin: &Origin, client: &mut Client, asking: &str, answer: &str) -> Got {
    send_head(client, asking).await;
    let asked = origin.next().await;
    assert!(asked.head.starts_with("HEAD "), "{}", asked.head);
    asked.respond(&format!("HTTP/1.1 {answer}\r\n")).await;
    client.head().await
}

const GZIP: &str = "compress = [\"br\", \"gzip\"]";
const ACCEPT: &str = "Accept-Encoding: gzip\r\n";
const PAGE: &str = "Content-Type: text/html\r\nCache-Control: max-age=1\r\n";

/// A body encoded here is not for clients that cannot read it, whatever the origin's `Vary` says.
#[tokio::test]
async fn a_head_does_not_take_away_what_an_encoded_response_depends_on() {
    for tag in ["", "ETag: \"a\"\r\n"] {
        let origin = Origin::start().await;
        let page = format!("{PAGE}{tag}Vary: X-A\r\n");
        let (_rig, mut client) = holding(&origin, GZIP, ACCEPT, &page).await;
        let newer = format!("200 OK\r\n{}", page.replace("max-age=1", "max-age=60"));
        let told = head(&origin, &mut client, ACCEPT, &newer).await;
        assert_eq!(told.field("vary"), "X-A, Accept-Encoding", "{told:?}");
        client.send_get("/a", "").await;
        let asked = origin.next().await;
        asked.respond(&response("200 OK", &page, "plain")).await;
        let plain = client.response().await;
        assert_eq!((plain.field("content-encoding").as_str(), plain.text().as_str()), ("", "plain"));
    }
}

/// RFC 9110 §9.3.2: a HEAD has the fields that a GET would have.
#[tokio::test]
async fn a_head_about_what_is_encoded_here_freshens_it_and_says_what_a_get_would() {
    let origin = Origin::start().await;
    let page = format!("{PAGE}ETag: \"a\"\r\n");
    let (_rig, mut client) = holding(&origin, GZIP, ACCEPT, &page).await;
    let newer = format!("200 OK\r\nContent-Length: 600\r\n{}", page.replace("max-age=1", "max-age=60"));
    let told = head(&origin, &mut client, ACCEPT, &newer).await;
    let names = ["etag", "content-encoding", "content-length", "vary"];
    assert_eq!(names.map(|name| told.field(name)), ["W/\"a\"", "gzip", "", "Accept-Encoding"], "{told:?}");
    let hit = client.get_with("/a", ACCEPT).await;
    hit.assert_hit();
    assert_eq!((hit.field("etag").as_str(), hit.field("content-encoding").as_str()), ("W/\"a\"", "gzip"));
    assert_eq!(origin.count(), 2);
}

/// A client must not choose the answer by which what others are served is judged.
#[tokio::test]
async fn a_head_that_asks_for_something_special_changes_nothing_that_is_stored() {
    for (lifetime, asking) in [
        (600, "If-Match: \"zz\"\r\nCache-Control: no-store\r\n"),
        (600, "If-Match: \"zz\"\r\n"),
        (600, "Content-Length: 4\r\n"),
        (1, "Cache-Control: no-store\r\n"),
        (1, "Authorization: x\r\n"),
    ] {
        let origin = Origin::start().await;
        let fields =
            format!("Cache-Control: max-age={lifetime}, stale-if-error=600\r\nETag: \"a\"\r\nX: 1\r\n");
        let (_rig, mut client) = holding(&origin, "", "", &fields).await;
        let mut other = _rig.client().await;
        send_head(&mut other, asking).await;
        if asking.starts_with("Content-Length") {
            other.write(b"evil").await;
        }
        let asked = origin.next().await;
        asked
            .respond("HTTP/1.1 200 OK\r\nCache-Control: max-age=900\r\nETag: \"evil\"\r\nX: evil\r\n\r\n")
            .await;
        assert_eq!(other.head().await.field("x"), "evil");
        client.send_get("/a", "").await;
        if lifetime == 1 {
            origin.next().await.respond(&response("503 Service Unavailable", "", "")).await;
        }
        let got = client.response().await;
        assert_eq!((got.status, got.field("x").as_str()), (200, "1"), "{asking:?}: {got:?}");
    }
}

#[tokio::test]
async fn a_head_updates_what_it_describes_but_for_its_cookies() {
    let origin = Origin::start().await;
    let fields = "Cache-Control: max-age=1\r\nETag: \"a\"\r\nX: 1\r\n";
    let (_rig, mut client) = holding(&origin, "", "", fields).await;
    let newer = "200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nX: 2\r\nSet-Cookie: sid=ALICE\r\n";
    let own = head(&origin, &mut client, "", newer).await;
    assert_eq!(own.field("set-cookie"), "sid=ALICE");
    let hit = client.get("/a").await;
    hit.assert_hit();
    assert_eq!((hit.field("x").as_str(), hit.field("set-cookie").as_str()), ("2", ""));
}

/// RFC 9111 §4.3.5: an origin that tells no validator may have answered with another representation, chosen by a field
/// that no key has.
#[tokio::test]
async fn a_head_without_a_validator_changes_neither_type_nor_lifetime_for_all() {
    for length in ["", "Content-Length: 600\r\n"] {
        let origin = Origin::start().await;
        let fields = "Cache-Control: max-age=1\r\nContent-Type: text/plain\r\n";
        let (_rig, mut client) = holding(&origin, "", "", fields).await;
        let evil = format!("200 OK\r\nCache-Control: max-age=900\r\nContent-Type: text/html\r\n{length}");
        let own = head(&origin, &mut client, "X-Format: html\r\n", &evil).await;
        assert_eq!(own.field("content-type"), "text/html", "it is its own client's");
        client.send_get("/a", "").await;
        origin.next().await.respond(&response("200 OK", fields, "new")).await;
        let got = client.response().await;
        assert_eq!((got.field("content-type"), got.text()), ("text/plain".into(), "new".into()));
    }
}

/// RFC 5861 §4, RFC 9111 §4.2.4: for a HEAD as for a GET.
#[tokio::test]
async fn a_head_gets_the_stale_answer_that_a_get_would() {
    for (directive, failure, expected) in [
        ("stale-if-error=600", Some("503 Service Unavailable"), 200),
        ("stale-if-error=600", Some("404 Not Found"), 404),
        ("public", Some("503 Service Unavailable"), 503),
        ("public", None, 200),
        ("must-revalidate", None, 504),
        ("no-cache", None, 502),
    ] {
        for tag in ["", "ETag: \"a\"\r\n"] {
            let origin = Origin::start().await;
            let fields = format!("Cache-Control: max-age=1, {directive}\r\n{tag}X: stored\r\n");
            if directive == "no-cache" && tag.is_empty() {
                continue;
            }
            let (_rig, mut client) = holding(&origin, "", "", &fields).await;
            send_head(&mut client, "").await;
            let asked = origin.next().await;
            match failure {
                Some(status) => asked.respond(&format!("HTTP/1.1 {status}\r\n\r\n")).await,
                None => asked.fail(),
            }
            let got = client.head().await;
            assert_eq!(got.status, expected, "{directive} {failure:?} {got:?}");
            assert_eq!(got.field("x") == "stored", expected == 200, "{directive} {failure:?}");
            assert!(got.cache_status().contains("fwd="), "{got:?}");
        }
    }
}
