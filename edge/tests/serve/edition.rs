//! What the newest public suite asks of a proxy and the published one does not.

use super::rig::{Origin, Rig, response, soon};

/// Whether a response with these fields, a minute old, answers a second request.
async fn check(rows: &'static [(&'static str, bool)]) {
    let origin = Origin::answering(|head| {
        let row: usize = head[5..].split(' ').next().unwrap().parse().unwrap();
        response("200 OK", rows[row].0, "hello")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (row, (fields, reused)) in rows.iter().enumerate() {
        rig.get(&format!("/{row}")).await.assert_forwarded();
        rig.pass(60);
        let second = rig.get(&format!("/{row}")).await;
        assert_eq!(second.cache_status().contains("hit"), *reused, "{fields:?}: {second:?}");
    }
}

/// RFC 9111 §5.1: the first member counts, and what is not delta-seconds is ignored.
#[tokio::test]
async fn age_is_read_by_the_letter() {
    check(&[
        ("Cache-Control: max-age=3600\r\nAge: abc\r\n", true),
        ("Cache-Control: max-age=3600\r\nAge: -7200\r\n", true),
        ("Cache-Control: max-age=3600\r\nAge: 7200.0\r\n", true),
        ("Cache-Control: max-age=3600\r\nAge: 7200;foo=bar\r\n", true),
        ("Cache-Control: max-age=3600\r\nAge: 2147483647\r\n", false),
        ("Cache-Control: max-age=3600\r\nAge: 2147483648\r\n", false),
        ("Cache-Control: max-age=3600\r\nAge: 2147483649\r\n", false),
        ("Cache-Control: max-age=3600\r\nAge: 99999999999999999999999\r\n", false),
        ("Cache-Control: max-age=3600\r\nAge: 7200, 0\r\n", false),
        ("Cache-Control: max-age=3600\r\nAge: 0, 7200\r\n", true),
        ("Cache-Control: max-age=3600\r\nAge: 7200\r\nAge: 0\r\n", false),
        ("Cache-Control: max-age=3600\r\nAge: 0\r\nAge: 7200\r\n", true),
        ("Cache-Control: max-age=3600\r\nAge: 0, 0\r\n", true),
        ("Cache-Control: max-age=10000\r\nAge: 3600\r\nAge: 3600\r\n", true),
    ])
    .await;
}

/// RFC 9110 §5.6.7: three forms, all of which a recipient reads, and nothing near them.
#[tokio::test]
async fn expires_is_read_by_the_letter() {
    check(&[
        ("Expires: Thu, 18 Aug 2050 02:01:18 GMT\r\n", true),
        ("Expires: Thursday, 18-Aug-50 02:01:18 GMT\r\n", true),
        ("Expires: Thu Aug 18 02:01:18 2050\r\n", true),
        ("Expires: Sun, 21 Nov 2286 04:46:39 GMT\r\n", true),
        ("Expires: THU, 18 Aug 2050 02:01:18 GMT\r\n", true),
        ("Expires: Thu, 18 AUG 2050 02:01:18 GMT\r\n", true),
        ("Expires: Thu, 18 Aug 2050 02:01:18 gMT\r\n", true),
        ("Expires: Thu, 18 Aug 2050 02:01:18 UTC\r\n", false),
        ("Expires: Thu, 18 Aug 2050 02:01:18 AEST\r\n", false),
        ("Expires: Thu, 18 Aug 50 02:01:18 GMT\r\n", false),
        ("Expires: Thu 18 Aug 2050 02:01:18 GMT\r\n", false),
        ("Expires: Thu, 18  Aug  2050 02:01:18 GMT\r\n", false),
        ("Expires: Thu, 18-Aug-2050 02:01:18 GMT\r\n", false),
        ("Expires: Thu, 18 Aug 2050 02.01.18 GMT\r\n", false),
        ("Expires: Thu, 18 Aug 2050 2:01:18 GMT\r\n", false),
        ("Expires: Thu, 18 Aug 2050 02:01:18 GMT\r\nExpires: Thu, 18 Aug 2050 02:01:19 GMT\r\n", false),
    ])
    .await;
}

/// RFC 9111 §4.2.4, §5.2.2: where stale is forbidden and the origin hangs up, the answer is our own error.
#[tokio::test]
async fn nothing_stale_comes_from_the_store_where_a_directive_forbids_it() {
    for (directive, stale) in [
        ("must-revalidate", false),
        ("proxy-revalidate", false),
        ("no-cache", false),
        ("s-maxage=2", false),
        ("stale-if-error=60", true),
        ("public", true),
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        let fields = format!("Cache-Control: max-age=2, {directive}\r\nX-Number: 1\r\n");
        origin.next().await.respond(&response("200 OK", &fields, "hello")).await;
        client.response().await;
        rig.pass(5);
        client.send_get("/a", "").await;
        drop(origin.next().await);
        let got = client.response().await;
        assert_eq!((got.status == 200, got.field("x-number") == "1"), (stale, stale), "{directive}: {got:?}");
    }
}

/// RFC 5861 §3: what the refresh brought replaces what was served stale, and its directives rule.
#[tokio::test]
async fn stale_while_revalidate_ends_with_the_response_that_allowed_it() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let fields = "Cache-Control: max-age=1, stale-while-revalidate=4\r\nETag: \"abc\"\r\n";
    origin.next().await.respond(&response("200 OK", fields, "old")).await;
    client.response().await;
    rig.pass(3);
    assert_eq!(client.get("/a").await.text(), "old");
    let refresh = origin.next().await;
    refresh.respond(&response("200 OK", "Cache-Control: no-cache\r\nETag: \"def\"\r\n", "new")).await;
    soon("a request about the new response", async {
        loop {
            client.send_get("/a", "").await;
            let asked = tokio::select! {
                asked = origin.next() => asked,
                got = client.response() => {
                    assert_eq!(got.text(), "old", "the refresh is not stored yet");
                    continue;
                }
            };
            assert!(asked.head.contains("\"def\""), "{}", asked.head);
            return asked.respond("HTTP/1.1 304 Not Modified\r\nETag: \"def\"\r\n\r\n").await;
        }
    })
    .await;
    assert_eq!(client.response().await.text(), "new");
    let window = Origin::answering(|_| {
        response("200 OK", "Cache-Control: max-age=1, stale-while-revalidate=4\r\n", "x")
    })
    .await;
    let rig = Rig::start(&[window.address]).await;
    rig.get("/a").await;
    rig.pass(6);
    rig.get("/a").await.assert_forwarded();
}

/// RFC 9111 §3: only a final response is stored; RFC 9110 §15.2: those before it are passed on.
#[tokio::test]
async fn early_heads_are_passed_on_and_leave_nothing_behind() {
    for early in ["102 Processing", "103 Early Hints"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        let head = format!("HTTP/1.1 {early}\r\nLink: </a.css>; rel=preload\r\nX-Early: yes\r\n\r\n");
        let answer = response("200 OK", "Cache-Control: max-age=60\r\n", "hello");
        origin.next().await.respond(&format!("{head}{answer}")).await;
        let got = client.head().await;
        assert_eq!((got.status.to_string(), got.field("x-early").as_str()), (early[..3].into(), "yes"));
        for _ in 0..2 {
            let got = client.response().await;
            assert_eq!((got.status, got.text().as_str(), got.field("x-early").as_str()), (200, "hello", ""));
            client.send_get("/a", "").await;
        }
        assert_eq!(origin.count(), 1);
    }
}

/// RFC 9111 §3.1: neither the fields of the connection nor those that `Connection` names are stored or passed on.
#[tokio::test]
async fn no_field_of_the_connection_is_passed_on_or_stored() {
    let names = [
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "X-Named",
        "Cookie2",
    ];
    let fields: String = names.iter().map(|name| format!("{name}: x\r\n")).collect();
    let fields = format!(
        "Connection: X-Named\r\nconnection: COOKIE2,, \r\nCache-Control: max-age=60\r\nX-Kept: yes\r\n{fields}"
    );
    let origin = Origin::answering(move |_| response("200 OK", &fields, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    for request in ["GET", "GET", "HEAD"] {
        let mut client = rig.client().await;
        client.write(format!("{request} /a HTTP/1.1\r\nHost: site.test\r\n\r\n").as_bytes()).await;
        let got = client.head().await;
        assert_eq!(got.field("x-kept"), "yes");
        for name in names.iter().chain(&["Connection"]) {
            assert_eq!(got.field(name), "", "{request}: {got:?}");
        }
    }
    assert_eq!(origin.count(), 1);
    // And in a 304: what it names is neither taken into the stored response nor told.
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let stored = "Cache-Control: max-age=1\r\nETag: \"a\"\r\nX-Named: old\r\n";
    origin.next().await.respond(&response("200 OK", stored, "hello")).await;
    client.response().await;
    rig.pass(5);
    client.send_get("/a", "").await;
    let newer = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nConnection: X-Named\r\nX-Named: new\r\nCache-Control: max-age=60\r\n\r\n";
    origin.next().await.respond(newer).await;
    assert_eq!(client.response().await.field("x-named"), "old");
    assert_eq!(client.get("/a").await.field("x-named"), "old");
}
