//! A site's rules, applied to requests and responses.

use super::rig::{Origin, Rig, response};

pub const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// An origin whose answer's body is the request's head, with these field lines.
pub async fn echo(rules: &str, fields: &'static str) -> (std::sync::Arc<Origin>, Rig) {
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
        (403, false),
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

/// `python -m http.server` and most file servers send a Last-Modified and no lifetime. `apt-get update` and `pip`
/// ask with max-age=0, a hard reload with no-cache.
#[tokio::test]
async fn a_client_that_asks_for_validation_gets_the_new_file_where_the_lifetime_is_a_guess() {
    use std::sync::atomic::{AtomicU64, Ordering};
    const OLD: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let asks = ["Cache-Control: max-age=0\r\n", "Cache-Control: no-cache\r\n", "Pragma: no-cache\r\n"];
    for (rules, ask, plain) in asks.map(|ask| ("", ask, "v1")).into_iter().chain([
        ("heuristic = \"0s\"", "", "v2"),
        ("heuristic = \"1%\"\nheuristic_max = \"1h\"", asks[0], "v1"),
    ]) {
        let version = std::sync::Arc::new(AtomicU64::new(1));
        let current = std::sync::Arc::clone(&version);
        let origin = Origin::answering(move |head| {
            let current = current.load(Ordering::Relaxed);
            match head.to_ascii_lowercase().contains("if-modified-since: sun, 06 nov 1994") {
                true if current == 1 => "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
                _ if current == 1 => response("200 OK", OLD, "v1"),
                _ => response("200 OK", "Last-Modified: Mon, 07 Nov 1994 08:49:37 GMT\r\n", "v2"),
            }
        })
        .await;
        let rig = Rig::with(&[origin.address], "", rules).await;
        assert_eq!(rig.get("/Packages").await.text(), "v1");
        let confirmed = rig.client().await.get_with("/Packages", ask).await;
        assert_eq!((confirmed.text().as_str(), origin.count()), ("v1", 2), "{rules} {ask}: {confirmed:?}");
        version.store(2, Ordering::Relaxed);
        assert_eq!(rig.get("/Packages").await.text(), plain, "{rules}");
        assert_eq!(rig.client().await.get_with("/Packages", ask).await.text(), "v2", "{rules} {ask}");
        assert_eq!(rig.get("/Packages").await.text(), "v2");
    }
}

#[tokio::test]
async fn clients_that_ask_for_validation_at_once_share_two_conditional_requests() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let modified = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    origin.next().await.respond(&response("200 OK", modified, "x")).await;
    client.response().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = rig.client().await;
        client.send_get("/a", "Cache-Control: no-cache\r\n").await;
        clients.push(client);
    }
    // The first asked before the others came, so its answer may be too old for them; they share the next.
    for waiting in [5, 4] {
        let asked = origin.next().await;
        rig.until("verge_edge_waiting", waiting).await;
        asked.respond("HTTP/1.1 304 Not Modified\r\n\r\n").await;
    }
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "x");
    }
    assert_eq!(origin.count(), 3);
}

/// A framework sets the lifetime before its handler fails, or an error page has one.
#[tokio::test]
async fn an_error_is_kept_for_seconds_and_never_in_the_place_of_a_good_response() {
    for (status, site) in [
        (500, ""),
        (500, "stale_if_error = \"1h\""),
        (502, ""),
        (503, "stale_while_revalidate = \"1s\""),
        (501, ""),
        (507, ""),
        (429, ""),
        (400, ""),
        (431, "stale_on_disconnect = \"1h\""),
    ] {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let origin = Origin::answering(move |head| {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let fails = head.contains("/first") || number > 0;
            match fails {
                true => response(
                    &format!("{status} Oops"),
                    "Cache-Control: public, max-age=3600\r\nETag: \"a\"\r\n",
                    "bad",
                ),
                false => response("200 OK", "Cache-Control: max-age=2\r\n", "good"),
            }
        })
        .await;
        let rig = Rig::with(&[origin.address], "", site).await;
        assert_eq!(rig.get("/later").await.text(), "good");
        rig.pass(10);
        for _ in 0..2 {
            let got = rig.get("/later").await;
            let stands_in = site.starts_with("stale_if_error") && got.status == 200;
            assert!(
                stands_in || got.cache_status().contains("fwd=") && !got.cache_status().contains("; stored"),
                "{got:?}"
            );
        }
        let kept = explain_variants(&rig, "/later").await;
        assert!(kept.contains("\"status\":200"), "{status} {site}: {kept}");
        assert_eq!(rig.get("/first").await.status, status);
        rig.get("/first").await.assert_hit();
        rig.pass(6);
        rig.get("/first").await.assert_forwarded();
        assert!(!origin.seen().iter().any(|head| head.contains("if-none-match")), "{status}");
    }
}

pub async fn explain_variants(rig: &Rig, path: &str) -> String {
    rig.ask("/explain", &format!("{{\"url\": \"http://site.test{path}\"}}")).await.text()
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
