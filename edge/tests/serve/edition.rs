//! Tests for proxies from the newest public suite that the published one does not have.

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
        origin.next().await.fail();
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

/// RFC 9111 §3: any final status is kept with explicit freshness, and no longer than that says.
#[tokio::test]
async fn every_final_status_is_reused_while_it_is_fresh() {
    let origin = Origin::answering(|head| {
        let mut parts = head.split(['/', ' ']).skip(2);
        let (status, age) = (parts.next().unwrap(), parts.next().unwrap());
        let body = if status == "204" { "" } else { "hello" };
        let fields = format!("Cache-Control: max-age=100\r\nAge: {age}\r\nLocation: /elsewhere\r\n");
        response(&format!("{status} Whatever"), &fields, body)
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        for (age, reused) in [(0, true), (100, false)] {
            let path = format!("/{status}/{age}");
            rig.get(&path).await.assert_forwarded();
            let second = rig.get(&path).await;
            let found = (second.status, second.cache_status().contains("hit"));
            assert_eq!(found, (status, reused), "{second:?}");
        }
    }
}

/// RFC 9111 §4.2.2, RFC 9110 §15.1; §5.2.2.9 of the former lets `public` speak for other statuses.
#[tokio::test]
async fn only_some_statuses_are_fresh_without_saying_so() {
    let origin = Origin::answering(|head| {
        let status = head.split(['/', ' ']).nth(2).unwrap();
        let public = if head.contains("public") { "Cache-Control: public\r\n" } else { "" };
        let fields = format!("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n{public}");
        response(&format!("{status} Whatever"), &fields, if status == "204" { "" } else { "hello" })
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (paths, reused) in [
        (&["/200", "/203", "/204", "/404", "/405", "/410", "/414", "/501", "/599/public"][..], true),
        (&["/201", "/202", "/403", "/502", "/503", "/504", "/599"][..], false),
    ] {
        for path in paths {
            rig.get(path).await;
            let second = rig.get(path).await;
            assert_eq!(second.cache_status().contains("hit"), reused, "{path}: {second:?}");
        }
    }
}

/// RFC 9111 §5.2.2.3: beside `must-understand`, `no-store` is for caches that do not know the status.
#[tokio::test]
async fn a_status_that_must_be_understood_is_kept_only_if_it_is() {
    let origin = Origin::answering(|head| {
        let status = head.split(['/', ' ']).nth(2).unwrap();
        let fields = "Cache-Control: max-age=3600, no-store, must-understand\r\n";
        response(&format!("{status} Whatever"), fields, "hello")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (path, reused) in [("/200", true), ("/404", true), ("/599", false), ("/299", false)] {
        rig.get(path).await;
        assert_eq!(rig.get(path).await.cache_status().contains("hit"), reused, "{path}");
    }
}

/// RFC 9111 §4, §5.1; RFC 9110 §6.6.1: the cache tells how old a response is, and changes nothing that its origin says.
#[tokio::test]
async fn a_stored_response_comes_with_its_age_and_its_own_dates() {
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let dates = "Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n";
    let expires = "Expires: Tue, 09 Oct 2001 01:46:40 GMT\r\n";
    for freshness in ["Cache-Control: max-age=600\r\n", expires] {
        for (age, expected) in [("", 3), ("Age: 30\r\n", 33)] {
            let fields = format!("{dates}{freshness}{age}");
            let origin = Origin::answering(move |_| response("200 OK", &fields, "hello")).await;
            let clock = verge_edge::clock::Clock::standing(now);
            let rig = Rig::at(clock, "\"*\"", &[origin.address], "", "").await;
            rig.get("/a").await;
            rig.pass(3);
            let hit = rig.get("/a").await;
            hit.assert_hit();
            assert_eq!(hit.field("age"), expected.to_string(), "{freshness:?} {age:?}");
            assert_eq!(format!("Date: {}\r\n", hit.field("date")), dates);
            if freshness == expires {
                assert_eq!(format!("Expires: {}\r\n", hit.field("expires")), expires);
            }
        }
    }
}

/// RFC 9111 §4.4.
#[tokio::test]
async fn an_unsafe_request_takes_away_what_is_stored_only_if_it_succeeds() {
    let origin = Origin::answering(|head| {
        let status = if head.contains("x-fail") { "500 No" } else { "200 OK" };
        response(status, "Cache-Control: max-age=60\r\n", "hello")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for method in ["POST", "PUT", "DELETE", "M-SEARCH", "BREW"] {
        for (fails, stays) in [("X-Fail: 1\r\n", true), ("", false)] {
            let path = format!("/{method}");
            rig.get(&path).await;
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 3\r\n{fails}\r\nabc");
            rig.client().await.raw(head.as_bytes()).await;
            let after = rig.get(&path).await;
            assert_eq!(after.cache_status().contains("hit"), stays, "{method} {fails:?}: {after:?}");
        }
    }
}

/// RFC 9111 §3.2, §4.3.4; what is about the bytes stays theirs (RFC 9110 §8.6). A part has the fields of its whole.
#[tokio::test]
async fn a_304_updates_the_fields_of_what_is_stored_but_for_the_length() {
    let named = ["Test-Header", "X-Test-Header", "Content-Foo", "X-Content-Foo"];
    let fields = move |value: &str, secs: u64| -> String {
        let named: String = named.iter().map(|name| format!("{name}: {value}\r\n")).collect();
        format!("{named}Cache-Control: max-age={secs}\r\nETag: \"a\"\r\n")
    };
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let first = format!("{}X-Stays: yes\r\n", fields("old", 1));
    origin.next().await.respond(&response("200 OK", &first, "hello")).await;
    client.response().await;
    rig.pass(5);
    client.send_get("/a", "").await;
    let confirmed = format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n{}\r\n", fields("new", 3600));
    origin.next().await.respond(&confirmed).await;
    let range = "Range: bytes=0-1\r\n";
    for (asked, body) in [(None, "hello"), (Some(""), "hello"), (Some(range), "he")] {
        if let Some(fields) = asked {
            client.send_get("/a", fields).await;
        }
        let got = client.response().await;
        let found: Vec<String> = named.iter().map(|name| got.field(name)).collect();
        assert_eq!(found, ["new"; 4], "{got:?}");
        assert_eq!((got.field("cache-control"), got.field("x-stays")), ("max-age=3600".into(), "yes".into()));
        assert_eq!((got.text().as_str(), got.field("content-length")), (body, body.len().to_string()));
    }
    assert_eq!(origin.count(), 2);
}

/// RFC 9111 §4.3.2: without `Last-Modified` the stored response's `Date` is what the client's date is held against.
#[tokio::test]
async fn if_modified_since_is_judged_by_the_stored_response() {
    let modified = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let dated = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (fields, since, status) in [
        (modified, "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        (modified, "Sunday, 06-Nov-94 08:49:37 GMT", 304),
        (modified, "Sun Nov  6 08:49:37 1994", 304),
        (modified, "Mon, 07 Nov 1994 08:49:37 GMT", 304),
        (modified, "Sun, 06 Nov 1994 08:49:36 GMT", 200),
        (modified, "yesterday", 200),
        (dated, "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        (dated, "Sun, 06 Nov 1994 07:59:37 GMT", 200),
    ] {
        let fields = format!("Cache-Control: max-age=2000000000\r\n{fields}");
        let origin = Origin::answering(move |_| response("200 OK", &fields, "hello")).await;
        let rig = Rig::start(&[origin.address]).await;
        rig.get("/a").await;
        let got = rig.client().await.get_with("/a", &format!("If-Modified-Since: {since}\r\n")).await;
        got.assert_hit();
        assert_eq!(got.status, status, "{since}");
    }
}
