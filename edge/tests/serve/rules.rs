//! What a site's rules make of requests and responses.

use super::rig::{Origin, Rig, response};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// An origin whose answer's body is the request's head, with these field lines.
async fn echo(rules: &str, fields: &'static str) -> (std::sync::Arc<Origin>, Rig) {
    let origin = Origin::answering(move |head| response("200 OK", fields, head)).await;
    let rig = Rig::with(&[origin.address], "", rules).await;
    (origin, rig)
}

#[tokio::test]
async fn a_ttl_rule_replaces_the_origins_number_for_its_paths_and_statuses() {
    let rules = "[[site.ttl]]\npath = \"/img/*\"\nttl = \"10s\"\n[[site.ttl]]\nstatus = [503]\nttl = \"5s\"";
    let origin = Origin::answering(|head| {
        let status = if head.contains("/down") { "503 Service Unavailable" } else { "200 OK" };
        let fields = if head.contains("/secret") { "Cache-Control: no-store\r\n" } else { FRESH };
        response(status, if head.contains("/down") { "" } else { fields }, "x")
    })
    .await;
    let rig = Rig::with(&[origin.address], "", rules).await;
    for path in ["/img/%61", "/other", "/down", "/img/secret"] {
        rig.get(path).await;
    }
    rig.get("/img/a").await.assert_hit();
    rig.get("/down").await.assert_hit();
    rig.get("/img/secret").await.assert_forwarded();
    rig.pass(11);
    rig.get("/img/a").await.assert_forwarded();
    rig.get("/down").await.assert_forwarded();
    rig.get("/other").await.assert_hit();
}

/// EDGE §2, class 9: what a client's own request may have caused is kept for nobody.
#[tokio::test]
async fn the_negative_ttl_is_for_what_is_missing_and_not_for_refused_requests() {
    let rules = "negative_ttl = \"60s\"\ndefault_ttl = \"60s\"";
    let origin = Origin::answering(|head| {
        let status = head.split(['/', ' ']).nth(2).unwrap();
        response(&format!("{status} Whatever"), "", "x")
    })
    .await;
    let rig = Rig::with(&[origin.address], "", rules).await;
    for (status, kept) in [
        (404, true),
        (410, true),
        (400, false),
        (405, false),
        (413, false),
        (414, false),
        (431, false),
        (501, false),
    ] {
        let path = format!("/{status}");
        assert_eq!(rig.get(&path).await.status, status);
        assert_eq!(rig.get(&path).await.cache_status().contains("; hit"), kept, "{status}");
    }
}

#[tokio::test]
async fn a_bypassed_path_is_never_kept_however_it_is_spelt() {
    let (origin, rig) = echo("bypass = [\"/admin/*\"]", FRESH).await;
    for (number, path) in ["/admin/x", "/%61dmin/x", "/y/../admin/x", "/admin/x"].iter().enumerate() {
        rig.get(path).await.assert_forwarded();
        assert_eq!(origin.count(), number + 1);
    }
}

#[tokio::test]
async fn request_fields_are_set_and_removed_before_key_and_vary_look() {
    let rules = "[site.request]\nset = { x-cdn = \"verge\" }\nremove = [\"cookie\"]";
    let (origin, rig) = echo(rules, "Cache-Control: max-age=60\r\nVary: Cookie, X-Cdn\r\n").await;
    let first = rig.client().await.get_with("/a", "Cookie: a=1\r\nX-CDN: evil\r\n").await;
    let seen = first.text().to_ascii_lowercase();
    assert!(seen.contains("x-cdn: verge") && !seen.contains("cookie") && !seen.contains("evil"), "{seen}");
    rig.client().await.get_with("/a", "Cookie: a=2\r\n").await.assert_hit();
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn response_fields_are_set_and_removed_on_misses_hits_and_passes() {
    let rules = "[site.response]\nset = { x-frame-options = \"DENY\" }\nremove = [\"server\"]";
    let fields = "Cache-Control: max-age=60\r\nServer: x\r\nSurrogate-Key: a\r\nCache-Tag: b\r\n";
    let (_origin, rig) = echo(rules, fields).await;
    let post = b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    for got in [rig.get("/a").await, rig.get("/a").await, rig.client().await.raw(post).await] {
        assert_eq!(got.field("x-frame-options"), "DENY", "{got:?}");
        for name in ["server", "surrogate-key", "cache-tag"] {
            assert_eq!(got.field(name), "", "{got:?}");
        }
    }
    let (_origin, rig) = echo("forward_tags = true", fields).await;
    for got in [rig.get("/a").await, rig.get("/a").await] {
        assert_eq!((got.field("surrogate-key").as_str(), got.field("cache-tag").as_str()), ("a", "b"));
    }
}

#[tokio::test]
async fn a_redirect_is_answered_here_and_splits_nothing() {
    let rules = "[[site.redirect]]\nfrom = \"/old/*\"\nto = \"/new/*\"\nstatus = 308\n\
                 [[site.redirect]]\nfrom = \"/x/*\"\nto = \"/*\"";
    let (origin, rig) = echo(rules, FRESH).await;
    for (path, status, location) in [
        ("/old/a/b?q=1", 308, "/new/a/b?q=1"),
        ("/%6fld/a", 308, "/new/a"),
        ("/x/%0d%0aSet-Cookie:x", 301, "/%0D%0ASet-Cookie:x"),
        ("/x//evil.test", 301, "/evil.test"),
    ] {
        let got = rig.get(path).await;
        assert_eq!((got.status, got.field("location").as_str()), (status, location), "{path}");
        assert_eq!(got.field("set-cookie"), "");
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_sites_own_object_limit_counts() {
    let body = "x".repeat(5_000);
    let origin = Origin::answering(move |_| response("200 OK", FRESH, &body)).await;
    let rig = Rig::with(&[origin.address], "", "max_object = \"4KB\"").await;
    for asked in 1..=2 {
        assert_eq!(rig.get("/a").await.body.len(), 5_000);
        assert_eq!(origin.count(), asked);
    }
}

#[tokio::test]
async fn a_stripped_cookie_is_for_the_one_who_caused_the_fetch() {
    let fields = "Cache-Control: max-age=60\r\nSet-Cookie: session=1\r\n";
    for (rule, first, second, requests) in [
        ("", "session=1", "session=1", 2),
        ("set_cookie = \"never\"", "session=1", "session=1", 2),
        ("set_cookie = \"strip\"", "session=1", "", 1),
        ("set_cookie = \"when-explicit\"", "session=1", "session=1", 1),
    ] {
        let (origin, rig) = echo(rule, fields).await;
        assert_eq!(rig.get("/a").await.field("set-cookie"), first, "{rule}");
        assert_eq!(rig.get("/a").await.field("set-cookie"), second, "{rule}");
        assert_eq!(origin.count(), requests, "{rule}");
    }
}

/// A session middleware in front of static files, as Express applications have it: each visitor's first response, of
/// whatever URL and status, sets a session cookie.
#[tokio::test]
async fn no_visitor_gets_the_session_of_another() {
    for (status, fresh) in [
        ("200 OK", "Cache-Control: public, max-age=3600\r\n"),
        ("200 OK", "Cache-Control: s-maxage=3600, immutable\r\nETag: \"a\"\r\n"),
        ("200 OK", "Expires: Sun, 06 Nov 2094 08:49:37 GMT\r\n"),
        ("301 Moved Permanently", "Location: /b\r\nCache-Control: max-age=3600\r\n"),
        ("404 Not Found", "CDN-Cache-Control: max-age=3600\r\n"),
        ("500 Oops", "Cache-Control: s-maxage=3600\r\n"),
    ] {
        let visitors = std::sync::atomic::AtomicUsize::new(1);
        let origin = Origin::answering(move |_| {
            let number = visitors.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let fields = format!("{fresh}Set-Cookie: sid=visitor-{number}; Path=/; HttpOnly\r\n");
            response(status, &fields, "body {}")
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        for number in 1..=3 {
            let got = rig.get("/app.css").await;
            let expected = format!("sid=visitor-{number}; Path=/; HttpOnly");
            assert_eq!(got.field("set-cookie"), expected, "{status} {fresh}");
            assert!(got.cache_status().contains("detail=set-cookie"), "{got:?}");
        }
    }
}

#[tokio::test]
async fn key_rules_say_which_requests_are_the_same() {
    let rules = "[site.key]\nquery_except = [\"utm_*\"]\nquery_sorted = true\ncookies = [\"lang\"]\n\
                 headers = [\"x-tenant\"]\ndevice = true";
    let (origin, rig) = echo(rules, FRESH).await;
    let get = async |path: &str, fields: &str| rig.client().await.get_with(path, fields).await;
    get("/a?b=2&a=1", "").await;
    get("/a?a=1&utm_source=x&b=2", "Cookie: other=1\r\n").await.assert_hit();
    assert_eq!(origin.count(), 1);
    for (number, fields) in
        ["Cookie: lang=de\r\n", "X-Tenant: a\r\n", "User-Agent: Mobile\r\n"].iter().enumerate()
    {
        get("/a?a=1&b=2", fields).await.assert_forwarded();
        get("/a?b=2&a=1", fields).await.assert_hit();
        assert_eq!(origin.count(), number + 2);
    }
    // A purge of the URL, as anyone may write it, takes them all.
    rig.purge("/a?b=2&utm_medium=y&a=1").await;
    for fields in ["", "Cookie: lang=de\r\n", "X-Tenant: a\r\n", "User-Agent: Mobile\r\n"] {
        get("/a?a=1&b=2", fields).await.assert_forwarded();
    }
    // So does an unsafe request, whatever it carries.
    let post = b"POST /a?a=1&b=2 HTTP/1.1\r\nHost: site.test\r\nX-Tenant: b\r\nContent-Length: 0\r\n\r\n";
    rig.client().await.raw(post).await;
    get("/a?a=1&b=2", "X-Tenant: a\r\n").await.assert_forwarded();
}
