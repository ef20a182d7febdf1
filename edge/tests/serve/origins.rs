//! Which origin is asked, and what happens when none answers.

use super::rig::{Origin, Rig, response};

#[tokio::test]
async fn origins_take_turns() {
    let (a, b) = (
        Origin::answering(|_| response("200 OK", "", "a")).await,
        Origin::answering(|_| response("200 OK", "", "b")).await,
    );
    let rig = Rig::start(&[a.address, b.address]).await;
    for _ in 0..6 {
        rig.get("/").await;
    }
    assert_eq!((a.count(), b.count()), (3, 3));
}

#[tokio::test]
async fn a_dead_origin_is_skipped() {
    let living = Origin::answering(|_| response("200 OK", "", "alive")).await;
    let rig = Rig::start(&[crate::ports::address(), living.address]).await;
    for asked in 1..=6 {
        let got = rig.get("/").await;
        assert_eq!((got.status, got.text().as_str()), (200, "alive"));
        assert_eq!(living.count(), asked);
    }
}

#[tokio::test]
async fn an_origin_that_comes_back_is_found() {
    let place = crate::ports::address();
    let living = Origin::answering(|_| response("200 OK", "", "old")).await;
    let rig = Rig::start(&[place, living.address]).await;
    for _ in 0..4 {
        rig.get("/").await;
    }
    let back = Origin::at(place, |_| response("200 OK", "", "back")).await;
    rig.pass(60);
    for _ in 0..4 {
        rig.get("/").await;
    }
    assert!(back.count() >= 1, "{}", back.count());
}

#[tokio::test]
async fn when_all_origins_are_down_the_client_is_told_so() {
    let rig = Rig::start(&[crate::ports::address(), crate::ports::address()]).await;
    let got = rig.get("/").await;
    assert_eq!(got.status, 502);
    assert!(got.text().contains("no origin"), "{got:?}");
    assert!(got.field("proxy-status").contains("error=connection_refused"), "{got:?}");
    got.assert_forwarded();
}

#[tokio::test]
async fn an_origin_that_does_not_answer_in_time_is_a_504() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "first_byte_timeout = \"50ms\"").await;
    let got = rig.get("/").await;
    assert_eq!(got.status, 504);
    assert!(got.field("proxy-status").contains("error=http_response_timeout"), "{got:?}");
}

#[tokio::test]
async fn a_request_that_one_origin_has_seen_goes_to_another_only_if_that_does_no_harm() {
    let check = async |request: &'static str, expected: u16| {
        let failing = Origin::start().await;
        let living = Origin::answering(|_| response("200 OK", "", "alive")).await;
        let rig = Rig::start(&[failing.address, living.address]).await;
        let mut client = rig.client().await;
        client.write(request.as_bytes()).await;
        failing.next().await.fail();
        let got = client.response().await;
        assert_eq!(got.status, expected, "{request}");
        assert_eq!(failing.count(), 1, "never the same origin twice");
        assert_eq!(living.count(), usize::from(expected == 200));
    };
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200).await;
    check("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 200).await;
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 502).await;
    check("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 502).await;
}

#[tokio::test]
async fn a_stale_response_is_served_when_the_origin_cannot_be_reached() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/").await;
    origin.die().await;
    rig.pass(61);
    let got = rig.get("/").await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    let status = got.cache_status();
    assert!(status.starts_with("verge-edge; fwd=stale; ttl=-"), "{status}");
    assert!(status.ends_with("; detail=disconnected"), "{status}");
}

/// RFC 9111 §5.2.2.2, §4.2.4: nothing stale may be served, so another origin is worth the asking.
#[tokio::test]
async fn another_origin_is_asked_where_nothing_stale_may_be_served() {
    let check = async |method: &str, directive: &str, expected: (u16, &str)| {
        let failing = Origin::start().await;
        let living = Origin::start().await;
        let rig = Rig::start(&[failing.address, living.address]).await;
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        let fields = format!("Cache-Control: max-age=1, {directive}\r\nETag: \"a\"\r\n");
        failing.next().await.respond(&response("200 OK", &fields, "old")).await;
        client.response().await;
        rig.pass(5);
        // The origins take turns: this one is the living one's.
        client.send_get("/other", "").await;
        living.next().await.respond(&response("200 OK", "", "")).await;
        client.response().await;
        client.write(format!("{method} / HTTP/1.1\r\nHost: site.test\r\n\r\n").as_bytes()).await;
        failing.next().await.fail();
        if expected.1 != "old" {
            let asked = living.next().await;
            let answer = response("200 OK", "", "new");
            let head = &answer[..answer.len() - if method == "HEAD" { 3 } else { 0 }];
            asked.respond(head).await;
        }
        let got = client.head().await;
        assert_eq!(got.status, expected.0, "{method} {directive}");
        assert_eq!(got.field("content-length"), expected.1.len().to_string());
        assert_eq!(got.cache_status().contains("fwd-status=200"), expected.1 == "new", "{got:?}");
        assert_eq!((failing.count(), living.count()), (2, if expected.1 == "new" { 2 } else { 1 }));
    };
    for method in ["GET", "HEAD"] {
        check(method, "must-revalidate", (200, "new")).await;
        check(method, "no-cache", (200, "new")).await;
        check(method, "public", (200, "old")).await;
    }
}

/// RFC 9111 §5.2.2.2; and the sentence says what the status does.
#[tokio::test]
async fn what_must_be_validated_and_cannot_be_is_a_504() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/", "").await;
    let fields = "Cache-Control: max-age=1, must-revalidate\r\n";
    origin.next().await.respond(&response("200 OK", fields, "old")).await;
    client.response().await;
    rig.pass(5);
    client.send_get("/", "").await;
    origin.next().await.fail();
    let got = client.response().await;
    assert_eq!(got.status, 504);
    assert!(got.text().starts_with("504 Gateway Timeout: no origin"), "{got:?}");
    client.write(b"HEAD / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    origin.next().await.fail();
    assert_eq!(client.head().await.status, 504);
}

#[tokio::test]
async fn a_malformed_response_is_a_502() {
    let origin =
        Origin::answering(|_| "HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n".to_owned()).await;
    let rig = Rig::start(&[origin.address]).await;
    assert_eq!(rig.get("/").await.status, 502);
}

#[tokio::test]
async fn a_stale_variant_is_served_only_to_those_whose_variant_it_is() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let (english, german) = ("Accept-Language: en\r\n", "Accept-Language: de\r\n");
    let mut first = rig.client().await;
    first.send_get("/", english).await;
    let fields = "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n";
    origin.next().await.respond(&response("200 OK", fields, "hello")).await;
    first.response().await;
    rig.pass(61);
    let mut other = rig.client().await;
    first.send_get("/", english).await;
    let stale = origin.next().await;
    other.send_get("/", german).await;
    let missing = origin.next().await;
    stale.fail();
    missing.fail();
    let (english, german) = (first.response().await, other.response().await);
    assert_eq!((english.status, english.text().as_str()), (200, "hello"));
    assert_eq!(german.status, 502);
}
