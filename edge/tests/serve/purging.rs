//! The responses that a purge takes, and when.

use std::time::{Duration, SystemTime};

use verge_edge::clock::Clock;

use super::client::Client;
use super::rig::{Origin, Rig, response, soon};

const TAGGED: &str = "Cache-Control: max-age=60\r\nSurrogate-Key: all one\r\n";

/// Whether each path is still a hit after this purge of an edge that holds them all.
async fn check(purge: &str, expected: &[(&str, bool)]) {
    let origin = Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        response("200 OK", &format!("Cache-Control: max-age=60\r\nCache-Tag: all,{}\r\n", &path[1..2]), path)
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (path, _) in expected {
        rig.get(path).await.assert_forwarded();
        rig.get(path).await.assert_hit();
    }
    assert_eq!(rig.ask("/purge", purge).await.status, 200, "{purge}");
    for (path, stays) in expected {
        let got = rig.get(path).await;
        assert_eq!(got.cache_status().contains("; hit"), *stays, "{purge} {path}: {got:?}");
        rig.get(path).await.assert_hit();
    }
}

#[tokio::test]
async fn every_scope_takes_what_it_names_and_no_more() {
    let of = |a, aa, b| [("/a/1", a), ("/a/2?x", aa), ("/b/1", b)];
    check(r#"{"url": "http://SITE.test:80/a/./1"}"#, &of(false, true, true)).await;
    check(r#"{"url": "http://site.test/a/2?x"}"#, &of(true, false, true)).await;
    check(r#"{"prefix": "http://Site.test/a/"}"#, &of(false, false, true)).await;
    check(r#"{"prefix": "http://site.test/a/2?"}"#, &of(true, false, true)).await;
    check(r#"{"prefix": "http://site.test"}"#, &of(false, false, false)).await;
    check(r#"{"prefix": "http://other.test/"}"#, &of(true, true, true)).await;
    check(r#"{"url": "http://site.test/a/*"}"#, &of(false, false, true)).await;
    check(r#"{"url": "http://SITE.test:80/*/1"}"#, &of(false, true, false)).await;
    check(r#"{"url": "http://site.test/*?x"}"#, &of(true, false, true)).await;
    check(r#"{"url": "https://site.test/a/*"}"#, &of(false, false, true)).await;
    check(r#"{"url": "https://site.test:443/a/1"}"#, &of(false, true, true)).await;
    check(r#"{"prefix": "https://site.test/a/"}"#, &of(false, false, true)).await;
    check(r#"{"tag": "b"}"#, &of(true, true, false)).await;
    check(r#"{"tag": "all", "site": "*"}"#, &of(false, false, false)).await;
    check(r#"{"tag": "ALL"}"#, &of(true, true, true)).await;
    check(r#"{"site": "*"}"#, &of(false, false, false)).await;
    check(r#"{"all": true}"#, &of(false, false, false)).await;
}

/// Clients encode what stands in an address, people and applications write it as it is.
#[tokio::test]
async fn a_purge_names_an_address_as_people_write_it() {
    let of = |one, other| [("/%C3%9Cber%20uns.pdf", one), ("/a?q=%7Bx%7D", other)];
    check(r#"{"url": "http://site.test/\u00dcber uns.pdf"}"#, &of(false, true)).await;
    check(r#"{"url": "http://site.test/%c3%9cber%20uns.pdf"}"#, &of(false, true)).await;
    check(r#"{"url": "http://site.test/\u00dcb*"}"#, &of(false, true)).await;
    check(r#"{"prefix": "http://site.test/\u00dcb"}"#, &of(false, true)).await;
    check(r#"{"url": "http://site.test/a?q={x}"}"#, &of(true, false)).await;
    check(r#"{"prefix": "http://site.test/a?q={"}"#, &of(true, false)).await;
}

#[tokio::test]
async fn what_is_not_one_purge_is_refused_with_what_to_write() {
    let origin = Origin::answering(|_| response("200 OK", TAGGED, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    for (body, status) in [
        ("{}", 400),
        ("", 400),
        (r#"{"soft": true}"#, 400),
        (r#"{"url": "/a"}"#, 400),
        (r#"{"url": "http://site.test/a", "all": true}"#, 400),
        (r#"{"prefix": "http://site.test/a", "tag": "x"}"#, 400),
        (r#"{"tag": ""}"#, 400),
        (r#"{"prefix": "http://site.test/*"}"#, 400),
        (r#"{"url": "http://*/a"}"#, 400),
        (r#"{"url": "http://*.site.test/a*"}"#, 400),
        (r#"{"url": "http://site.test:*/a"}"#, 400),
        (r#"{"tag": "one*"}"#, 400),
        (r#"{"url": "http://site.test/*********"}"#, 400),
        (r#"{"url": "ftp://site.test/a"}"#, 400),
        (r#"{"tags": ["x"]}"#, 400),
        (r#"{"site": "none.test"}"#, 404),
        (&*format!("{{\"prefix\": \"http://site.test/{}\"}}", "a".repeat(1_100)), 400),
    ] {
        let got = rig.ask("/purge", body).await;
        assert_eq!(got.status, status, "{body}: {got:?}");
    }
    rig.get("/a").await.assert_hit();
}

#[tokio::test]
async fn a_soft_purge_validates_and_the_304_makes_it_fresh_again() {
    let origin = Origin::answering(|head| {
        let fields = format!("{TAGGED}ETag: \"v1\"\r\n");
        if head.to_ascii_lowercase().contains("if-none-match: \"v1\"") {
            format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")
        } else {
            response("200 OK", &fields, "hello")
        }
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (number, purge) in [
        r#"{"tag": "one", "soft": true}"#,
        r#"{"url": "http://site.test/a", "soft": true}"#,
        r#"{"all": true, "soft": true}"#,
    ]
    .into_iter()
    .enumerate()
    {
        rig.get("/a").await;
        rig.get("/a").await.assert_hit();
        rig.ask("/purge", purge).await;
        let validated = rig.get("/a").await;
        assert_eq!((validated.status, validated.text().as_str()), (200, "hello"), "{purge}");
        assert!(validated.cache_status().contains("fwd=stale; fwd-status=304"), "{purge}: {validated:?}");
        rig.get("/a").await.assert_hit();
        assert_eq!(origin.count(), number + 2);
    }
}

#[tokio::test]
async fn a_softly_purged_response_is_served_while_it_is_refreshed_if_it_may_be() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let fields = "Cache-Control: max-age=600, stale-while-revalidate=30\r\nCache-Tag: t\r\n";
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", fields, "old")).await;
    client.response().await;
    rig.ask("/purge", r#"{"tag": "t", "soft": true}"#).await;
    // The window of 30 seconds runs from the purge.
    rig.pass(29);
    assert_eq!(rig.get("/a").await.text(), "old");
    origin.next().await.respond(&response("200 OK", fields, "new")).await;
    soon("the refreshed response", async {
        while rig.get("/a").await.text() != "new" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    rig.ask("/purge", r#"{"tag": "t", "soft": true}"#).await;
    rig.pass(31);
    client.send_get("/a", "").await;
    origin.next().await.respond(&response("200 OK", fields, "newest")).await;
    assert_eq!(client.response().await.text(), "newest");
}

#[tokio::test]
async fn a_softly_purged_response_stands_in_for_an_origin_that_is_gone() {
    let origin = Origin::answering(|_| response("200 OK", TAGGED, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    origin.die().await;
    rig.ask("/purge", r#"{"tag": "one", "soft": true}"#).await;
    assert_eq!(rig.get("/a").await.text(), "hello");
    rig.ask("/purge", r#"{"tag": "one"}"#).await;
    assert!(matches!(rig.get("/a").await.status, 502..=504));
}

#[tokio::test]
async fn a_tag_purge_before_the_head_came_takes_what_turns_out_to_have_the_tag() {
    for purge in [r#"{"tag": "one"}"#, r#"{"tag": "one", "soft": true}"#, r#"{"site": "*"}"#] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut early = rig.client().await;
        early.send_get("/a", "").await;
        let old = origin.next().await;
        rig.ask("/purge", purge).await;
        let mut late = rig.client().await;
        late.send_get("/a", "").await;
        // The late one may wait for the old head, but not take it.
        old.respond(&response("200 OK", TAGGED, "old")).await;
        assert_eq!(early.response().await.text(), "old");
        origin.next().await.respond(&response("200 OK", TAGGED, "new")).await;
        assert_eq!(late.response().await.text(), "new", "{purge}");
        let hit = rig.get("/a").await;
        hit.assert_hit();
        assert_eq!(hit.text(), "new", "{purge}");
    }
}

/// EDGE §2, class 27.
#[tokio::test]
async fn nobody_purges_without_the_token_nor_on_the_public_listener() {
    let origin = Origin::answering(|_| response("200 OK", TAGGED, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    let body = r#"{"all": true}"#;
    let post = format!("POST /purge HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(Client::connect(rig.admin).await.raw(post.as_bytes()).await.status, 401);
    let metrics = Client::connect(rig.admin).await.get("/metrics").await.text();
    assert!(metrics.contains("verge_edge_admin_requests_total{what=\"unauthorized\"} 1\n"), "{metrics}");
    // An origin may have a PURGE and a /purge of its own: they are requests as others are.
    let purge = b"PURGE /a HTTP/1.1\r\nHost: other.test\r\n\r\n";
    assert_eq!(rig.client().await.raw(purge).await.status, 200);
    rig.client().await.raw(post.as_bytes()).await;
    assert_eq!(origin.count(), 3);
    rig.get("/a").await.assert_hit();
}

/// EDGE §2, class 27: nor, with the token, as often as a script that runs wild would.
#[tokio::test]
async fn purges_beyond_what_a_minute_may_have_wait() {
    let origin = Origin::answering(|_| response("200 OK", TAGGED, "hello")).await;
    let clock = Clock::standing(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\npurges_per_minute = 2\nhosts = [\"site.test\"]\n",
        origin.address
    );
    let rig = Rig::of(clock, &text).await;
    let all = r#"{"all": true}"#;
    for _ in 0..2 {
        assert_eq!(rig.ask("/purge", all).await.status, 200);
    }
    rig.get("/a").await;
    let refused = rig.ask("/purge", all).await;
    assert_eq!((refused.status, refused.field("retry-after").as_str()), (429, "30"));
    rig.get("/a").await.assert_hit();
    rig.pass(30);
    assert_eq!(rig.ask("/purge", all).await.status, 200);
    rig.get("/a").await.assert_forwarded();
    let metrics = Client::connect(rig.admin).await.get("/metrics").await.text();
    for line in [
        "verge_edge_admin_requests_total{what=\"purged\"} 3",
        "verge_edge_admin_requests_total{what=\"too-many-purges\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
}

const FROM_HERE: &str = "purge_from = [\"127.0.0.1\"]";

/// An edge for two hosts that takes purges from here, and holds these paths of the first over http and https.
async fn holding(paths: &[&str], site: &str) -> (std::sync::Arc<Origin>, Rig) {
    let origin = Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        response("200 OK", &format!("Cache-Control: max-age=60\r\nCache-Tag: {}\r\n", &path[1..2]), path)
    })
    .await;
    let rig = Rig::with(&[origin.address], "trusted_proxies = [\"127.0.0.1\"]", site).await;
    for path in paths {
        for scheme in ["http", "https"] {
            rig.client()
                .await
                .get_with(path, &format!("X-Forwarded-Proto: {scheme}\r\n"))
                .await
                .assert_forwarded();
        }
    }
    (origin, rig)
}

async fn is_hit(rig: &Rig, path: &str, scheme: &str) -> bool {
    let got = rig.client().await.get_with(path, &format!("X-Forwarded-Proto: {scheme}\r\n")).await;
    got.cache_status().contains("; hit")
}

#[tokio::test]
async fn a_cms_purges_what_it_names_over_both_schemes() {
    let check = async |request: &str, taken: &[&str], kept: &[&str]| {
        let (_origin, rig) = holding(&["/a/1", "/a/2?x", "/b/1"], FROM_HERE).await;
        let head = format!("{request}Host: site.test\r\n\r\n");
        let got = rig.client().await.raw(head.as_bytes()).await;
        assert_eq!(got.status, 200, "{request}: {got:?}");
        for scheme in ["http", "https"] {
            for path in taken {
                assert!(!is_hit(&rig, path, scheme).await, "{request} leaves {scheme} {path}");
            }
            for path in kept {
                assert!(is_hit(&rig, path, scheme).await, "{request} takes {scheme} {path}");
            }
        }
    };
    // WordPress.
    check("PURGE /a/1 HTTP/1.1\r\n", &["/a/1"], &["/a/2?x", "/b/1"]).await;
    check("PURGE /a/.* HTTP/1.1\r\nX-Purge-Method: regex\r\n", &["/a/1", "/a/2?x"], &["/b/1"]).await;
    check("PURGE /* HTTP/1.1\r\n", &["/a/1", "/a/2?x", "/b/1"], &[]).await;
    // Drupal, Magento.
    check("BAN / HTTP/1.1\r\nCache-Tags: b other\r\n", &["/b/1"], &["/a/1", "/a/2?x"]).await;
    let tags = "PURGE / HTTP/1.1\r\nX-Magento-Tags-Pattern: ((^|,)a(,|$))|((^|,)c(,|$))\r\n";
    check(tags, &["/a/1", "/a/2?x"], &["/b/1"]).await;
    let all = "PURGE / HTTP/1.1\r\nX-Magento-Tags-Pattern: .*\r\n";
    check(all, &["/a/1", "/a/2?x", "/b/1"], &[]).await;
    // Varnish's xkey, also in several lines and as FOSHttpCache sends it.
    for name in ["xkey", "xkey-purge", "xkey-softpurge", "X-Cache-Tags"] {
        check(&format!("BAN / HTTP/1.1\r\n{name}: other\r\n{name}: b\r\n"), &["/b/1"], &["/a/1"]).await;
    }
    let symfony = "BAN / HTTP/1.1\r\nX-Host: .*\r\nX-Url: .*\r\nX-Cache-Tags: (^|,)(a|c)(,|$)\r\n";
    check(symfony, &["/a/1", "/a/2?x"], &["/b/1"]).await;
}

/// A soft purge leaves what it takes for when the origin fails.
#[tokio::test]
async fn a_cms_may_have_what_it_purges_become_stale() {
    for (fields, stays) in
        [("Fastly-Soft-Purge: 1\r\n", true), ("xkey-softpurge: a\r\n", true), ("xkey: a\r\n", false)]
    {
        let (origin, rig) = holding(&["/a/1"], FROM_HERE).await;
        let head = format!("PURGE /a/1 HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n");
        assert_eq!(rig.client().await.raw(head.as_bytes()).await.status, 200, "{fields}");
        origin.die().await;
        assert_eq!(rig.get("/a/1").await.status == 200, stays, "{fields}");
    }
}

/// The URL of such a request stands for nothing: to purge that, and say so, would leave what is meant where it is.
#[tokio::test]
async fn a_cms_that_selects_in_another_way_is_told_so_and_purges_nothing() {
    let (origin, rig) = holding(&["/a/1", "/b/1"], FROM_HERE).await;
    let before = origin.count();
    for field in [
        "X-Url: ^/a",
        "X-Host: other.test",
        "X-Ban-Url: /a",
        "X-Purge-Regex: ^/a",
        "Varnish-Ban-All: 1",
        "X-Content-Type: text/css",
    ] {
        for method in ["PURGE", "BAN"] {
            let head = format!("{method} / HTTP/1.1\r\nHost: site.test\r\n{field}\r\n\r\n");
            let got = rig.client().await.raw(head.as_bytes()).await;
            assert_eq!(
                (got.status, got.text().contains("selects nothing here")),
                (400, true),
                "{field}: {got:?}"
            );
        }
    }
    assert!(is_hit(&rig, "/b/1", "http").await && is_hit(&rig, "/a/1", "https").await);
    assert_eq!(origin.count(), before);
}

#[tokio::test]
async fn a_cms_elsewhere_purges_nothing() {
    let check = async |site: &str, fields: &str, status: u16, reaches_the_origin: bool| {
        let (origin, rig) = holding(&["/a/1"], site).await;
        let before = origin.count();
        let head = format!("PURGE /a/[1] HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n");
        assert_eq!(rig.client().await.raw(head.as_bytes()).await.status, status, "{site} {fields}");
        assert_eq!(origin.count() > before, reaches_the_origin, "{site} {fields}");
        assert!(is_hit(&rig, "/a/1", "http").await, "{site} {fields}");
    };
    // The address is the client's that the trusted proxy names.
    check(FROM_HERE, "X-Forwarded-For: 192.0.2.1\r\n", 403, false).await;
    check("purge_from = [\"192.0.2.7\"]", "", 403, false).await;
    check(FROM_HERE, "X-Purge-Method: regex\r\n", 400, false).await;
    check(FROM_HERE, "Cache-Tags: [a]\r\n", 400, false).await;
    check("", "", 200, true).await;
}

#[tokio::test]
async fn a_cms_purges_what_links_are_signed_for_by_its_address_alone() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url.key");
    std::fs::write(&file, "a new secret of 25 bytes\n").unwrap();
    let key = verge_edge::site::signed::SigningKey::new(b"a new secret of 25 bytes").unwrap();
    let signed = |target: &str| format!("{target}&signature={}", key.sign(target));
    let site = format!("signed_paths = [\"/video/*\"]\nsigning_keys = [\"{}\"]", file.display());
    let link = signed("/video/a?expires=9000000000");
    let check = async |purge_from: &str, method: &str, target: &str, status: u16, is_gone: bool| {
        let rig = Rig::with(&[origin.address], "", &format!("{purge_from}\n{site}")).await;
        rig.get(&link).await.assert_forwarded();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: site.test\r\n\r\n");
        assert_eq!(rig.client().await.raw(head.as_bytes()).await.status, status, "{method} {target}");
        assert_eq!(rig.get(&link).await.cache_status().contains("; hit"), !is_gone, "{method} {target}");
    };
    check(FROM_HERE, "PURGE", "/video/a", 200, true).await;
    check(FROM_HERE, "BAN", "/video/*", 200, true).await;
    check(FROM_HERE, "PURGE", &signed("/video/a?expires=1000000000"), 200, true).await;
    check("purge_from = [\"192.0.2.7\"]", "PURGE", "/video/a", 403, false).await;
    // No purge there: a method of the origin's, and its URL needs a signature.
    check("", "PURGE", "/video/a", 403, false).await;
    check(FROM_HERE, "POST", "/video/a", 403, false).await;
}

#[tokio::test]
async fn a_purge_that_takes_nothing_says_what_is_near() {
    let (_origin, rig) = holding(&["/a/1", "/a/2?x"], "").await;
    let port = rig.public.port();
    let head = format!("GET /a/3 HTTP/1.1\r\nHost: site.test:{port}\r\n\r\n");
    rig.client().await.raw(head.as_bytes()).await.assert_forwarded();
    let check = async |url: &str, expected: &str| {
        let got = rig.ask("/purge", &format!("{{\"url\": \"{url}\"}}")).await;
        assert_eq!(got.text(), expected, "{url}");
    };
    check("http://site.test/a/3", &format!("{{\"purged\":0,\"near\":[\"http://site.test:{port}/a/3\"]}}"))
        .await;
    check("http://site.test/a/1/", r#"{"purged":0,"near":["http://site.test/a/1","https://site.test/a/1"]}"#)
        .await;
    check("http://site.test/nothing", r#"{"purged":0}"#).await;
    check("http://site.test/a/1", r#"{"purged":2}"#).await;
}
