//! A site's settings: which requests they let in, and which responses they keep, obey and pass by.

use super::rig::{Client, Origin, Rig, response};
use super::rules::{FRESH, echo, explain_variants};

/// A page that answers `/account/x.css`, for a site that keeps what looks like a file.
#[tokio::test]
async fn a_page_under_a_files_name_is_not_kept_by_the_sites_own_rules() {
    let rules = "default_ttl = \"60s\"\n[[site.ttl]]\npath = \"*.css\"\nttl = \"1h\"\n\
                 [[site.ttl]]\npath = \"/static/*\"\nttl = \"1h\"";
    for (path, kind, kept) in [
        ("/account/x.css", "application/problem+json", false),
        ("/account/x.css", "text/plain", false),
        ("/account/x.css", "text/html,x", false),
        ("/account/x.css", "text/javascript", false),
        ("/account/x.css", "text/css", true),
        ("/static/a.js", "text/javascript; charset=utf-8", true),
        ("/static/..%c0%afaccount", "text/css", false),
        ("/static/..%e0%80%afaccount", "text/css", false),
        ("/static/..%ef%bc%8faccount", "text/css", false),
        ("/static/%ef%bc%8e%ef%bc%8e/account", "text/css", false),
        ("/static/..%e2%88%95account", "text/css", false),
        ("/static/..%u2215account", "text/css", false),
        ("/static/..%09/account", "text/css", false),
        ("/static/..%20/account", "text/css", false),
    ] {
        let origin = Origin::answering(move |_| {
            response("200 OK", &format!("Content-Type: {kind}\r\n"), "of one user")
        })
        .await;
        let rig = Rig::with(&[origin.address], "", rules).await;
        let first = rig.client().await.get_with(path, "Cookie: sid=1\r\n").await;
        assert_eq!(first.status, 200, "{path}: {first:?}");
        let second = rig.get(path).await;
        assert_eq!(second.cache_status().contains("; hit"), kept, "{path} {kind}: {second:?}");
    }
}

/// WordPress and its like: pages without freshness, kept for visitors by `default_ttl`.
#[tokio::test]
async fn requests_with_a_named_cookie_field_or_parameter_are_passed_by() {
    let rules = "default_ttl = \"60s\"\nbypass_cookies = [\"wordpress_logged_in_*\"]\n\
                 bypass_headers = [\"X-Preview\"]\nbypass_query = [\"preview\"]";
    let (origin, rig) = echo(rules, "Content-Type: text/html\r\n").await;
    rig.get("/").await.assert_forwarded();
    rig.client().await.get_with("/", "Cookie: wp-settings=1\r\n").await.assert_hit();
    for (path, fields) in [
        ("/", "Cookie: a=1; wordpress_logged_in_0c5f=admin\r\n"),
        ("/", "x-preview: 1\r\n"),
        ("/?preview=true", ""),
        ("/?preview=true", ""),
    ] {
        let got = rig.client().await.get_with(path, fields).await;
        assert!(
            got.cache_status().contains("fwd=bypass") && !got.cache_status().contains("stored"),
            "{got:?}"
        );
    }
    rig.get("/").await.assert_hit();
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn cookies_that_do_not_count_reach_neither_key_nor_vary_nor_origin() {
    let vary = "Cache-Control: max-age=60\r\nVary: Cookie\r\n";
    for rules in ["drop_cookies = [\"_ga*\", \"_gid\"]", "keep_cookies = [\"lang\"]"] {
        let (origin, rig) = echo(&format!("{rules}\n[site.key]\ncookies = [\"la*\"]"), vary).await;
        let first = rig.client().await.get_with("/a", "Cookie: _ga=GA1.2; lang=de; _ga_X=3\r\n").await;
        assert!(first.text().contains("ookie: lang=de\r\n"), "{rules}: {}", first.text());
        rig.client().await.get_with("/a", "Cookie: _gid=7; lang=de\r\n").await.assert_hit();
        rig.client().await.get_with("/a", "Cookie: lang=en\r\n").await.assert_forwarded();
        assert_eq!(origin.count(), 2, "{rules}");
    }
}

#[tokio::test]
async fn a_field_that_origins_take_for_more_than_the_key_holds_does_not_reach_them() {
    let (_origin, rig) = echo("allow_fields = [\"CF-*\", \"x_tenant\"]", FRESH).await;
    let sent = "X-Middleware-Subrequest: evil\r\nRemote-User: evil\r\nX_Forwarded_Host: evil\r\nX-ARR-SSL: evil\r\n\
                X-Forward-For: evil\r\nX.Forwarded.Host: evil\r\nX-Sendfile-Type: evil\r\nX-Tenant: own\r\n\
                X_Tenant: own\r\nCF-Connecting-IP: own\r\n";
    let seen = rig.client().await.get_with("/a", sent).await.text();
    assert!(!seen.contains("evil"), "{seen}");
    assert_eq!(seen.matches("own").count(), 3, "{seen}");
    let post = format!(
        "POST /b HTTP/1.1\r\nHost: site.test\r\nX-HTTP-Method-Override: DELETE\r\n{sent}Content-Length: 0\r\n\r\n"
    );
    let seen = rig.client().await.raw(post.as_bytes()).await.text().to_ascii_lowercase();
    assert!(seen.contains("x-http-method-override: delete") && !seen.contains("evil"), "{seen}");
}

/// An authenticating proxy in front tells the application who asks in fields of this kind.
#[tokio::test]
async fn a_site_lets_in_who_its_gateway_says_asks_and_no_other_address() {
    let names = ["User", "Groups", "Email", "Port", "Client-Cert", "Preferred-Username", "Access-Token"];
    let allowed: Vec<String> = names.iter().map(|name| format!("\"X-Forwarded-{name}\"")).collect();
    let sent: String = names.iter().map(|name| format!("X-Forwarded-{name}: own\r\n")).collect();
    let sent = format!(
        "{sent}X-Forwarded-For: evil\r\nX-Forwarded-Proto: evil\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: evil\r\nX-Forwarded-Server: evil\r\n"
    );
    for (rules, own) in
        [(format!("allow_fields = [{}]", allowed.join(", ")), names.len()), (String::new(), 0)]
    {
        let (_origin, rig) = echo(&rules, FRESH).await;
        let seen = rig.client().await.get_with("/a", &sent).await.text();
        assert_eq!((seen.matches("own").count(), seen.contains("evil")), (own, false), "{seen}");
    }
}

/// RFC 9213 names the list of targeted fields a cache's configuration.
#[tokio::test]
async fn the_first_targeted_field_that_is_there_rules_and_ends_here() {
    let rules = "targeted = [\"surrogate-control\", \"Cloudflare-CDN-Cache-Control\", \"x-accel-expires\", \
                 \"cdn-cache-control\"]";
    for (fields, kept) in [
        ("Surrogate-Control: no-store\r\nCache-Control: max-age=300\r\n", false),
        ("Surrogate-Control: max-age=300, content=\"ESI/1.0\"\r\nCache-Control: no-store\r\n", true),
        ("Surrogate-Control: content=\"ESI/1.0\"\r\nCache-Control: max-age=300\r\n", true),
        ("Cloudflare-CDN-Cache-Control: max-age=300\r\nCDN-Cache-Control: no-store\r\n", true),
        ("X-Accel-Expires: 300\r\nCache-Control: private\r\n", true),
        ("X-Accel-Expires: 0\r\nCache-Control: max-age=300\r\n", false),
        ("CDN-Cache-Control: max-age=300\r\nCache-Control: no-store\r\n", true),
        ("Vercel-CDN-Cache-Control: max-age=300\r\nCache-Control: no-store\r\n", false),
    ] {
        let (_origin, rig) = echo(rules, fields).await;
        let first = rig.get("/a").await;
        for name in ["surrogate-control", "cloudflare-cdn-cache-control", "x-accel-expires"] {
            assert_eq!(first.field(name), "", "{fields}: {first:?}");
        }
        assert_eq!(
            first.field("cdn-cache-control").is_empty(),
            !fields.contains("\nCDN-") && !fields.starts_with("CDN-")
        );
        let second = rig.get("/a").await;
        assert_eq!(second.cache_status().contains("; hit"), kept, "{fields}: {second:?}");
    }
    let (_origin, rig) = echo("", "Surrogate-Control: no-store\r\nCache-Control: max-age=300\r\n").await;
    assert_eq!(rig.get("/a").await.field("surrogate-control"), "no-store");
    rig.get("/a").await.assert_hit();
}

#[tokio::test]
async fn a_window_beside_s_maxage_counts_in_a_targeted_field() {
    for (name, stale) in [("CDN-Cache-Control", true), ("Cache-Control", false)] {
        let origin = Origin::answering(move |_| {
            response("200 OK", &format!("{name}: s-maxage=1, stale-while-revalidate=60\r\n"), "x")
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        rig.get("/a").await;
        rig.pass(5);
        let explained = explain_variants(&rig, "/a").await;
        assert_eq!(explained.contains("yields-to-windows"), !stale, "{explained}");
        assert_eq!(rig.get("/a").await.cache_status().contains("; hit"), stale, "{name}");
    }
}

#[tokio::test]
async fn an_operator_names_the_fields_that_hold_tags() {
    let fields =
        "Cache-Control: max-age=60\r\nxkey: a b\r\nX-Magento-Tags: cat_c,cat_p\r\nCache-Groups: \"g h\"\r\n";
    for tag in ["b", "cat_p", "g h"] {
        let origin = Origin::answering(move |_| response("200 OK", fields, "x")).await;
        let top = "[cache]\ntag_fields = [\"xkey\", \"x-magento-tags\"]";
        let rig = Rig::with(&[origin.address], top, "").await;
        let first = rig.get("/a").await;
        assert_eq!((first.field("xkey"), first.field("x-magento-tags")), (String::new(), String::new()));
        assert_eq!(first.field("cache-groups"), "\"g h\"");
        rig.get("/a").await.assert_hit();
        rig.ask("/purge", "{\"tag\": \"other\"}").await;
        rig.get("/a").await.assert_hit();
        rig.ask("/purge", &format!("{{\"tag\": \"{tag}\"}}")).await;
        rig.get("/a").await.assert_forwarded();
    }
}

/// RFC 9875 §3.
#[tokio::test]
async fn the_response_to_an_unsafe_request_invalidates_groups() {
    let origin = Origin::answering(|head| {
        let status = if head.contains("/fails") { "500 Oops" } else { "200 OK" };
        let invalidates = "Cache-Group-Invalidation: \"articles\", \"x\"\r\n";
        match head.starts_with("GET /read") {
            true => response(
                "200 OK",
                "Cache-Control: max-age=60\r\nCache-Groups: \"home\", \"articles\"\r\n",
                "x",
            ),
            false => response(status, invalidates, ""),
        }
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for (request, gone) in [("GET /told", false), ("POST /fails", false), ("POST /edit", true)] {
        rig.get("/read").await;
        rig.get("/read").await.assert_hit();
        let head = format!("{request} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
        rig.client().await.raw(head.as_bytes()).await;
        assert_eq!(rig.get("/read").await.cache_status().contains("; hit"), !gone, "{request}");
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_is_named() {
    let origin = Origin::answering(|_| {
        let fields = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: max-age=3600\r\nETag: \"a\"\r\n";
        response("200 OK", fields, "x")
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    let explained = explain_variants(&rig, "/a").await;
    assert!(explained.contains("the origin's clock is ") && explained.contains("s behind"), "{explained}");
}

/// An application signs the address as it writes it, and clients encode what they must.
#[tokio::test]
async fn a_link_is_good_in_the_spelling_that_was_signed() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url.key");
    std::fs::write(&file, "a new secret of 25 bytes\n").unwrap();
    let rules = format!("signed_paths = [\"/video/*\"]\nsigning_keys = [\"{}\"]", file.display());
    let rig = Rig::with(&[origin.address], "", &rules).await;
    let key = verge_edge::site::signed::SigningKey::new(b"a new secret of 25 bytes").unwrap();
    for (signed, sent) in [
        ("/video/a|b?expires=9000000000", "/video/a|b?expires=9000000000"),
        ("/video/a|b?expires=9000000000", "/video/a%7Cb?expires=9000000000"),
        ("/video/\u{dc}?q={x}&expires=9000000000", "/video/\u{dc}?q={x}&expires=9000000000"),
        ("/video/\u{dc}?q={x}&expires=9000000000", "/video/%C3%9C?q=%7Bx%7D&expires=9000000000"),
        ("/video/%c3%9c?expires=9000000000", "/video/%c3%9c?expires=9000000000"),
        ("/video/a%2Db?expires=9000000000", "/video/a%2Db?expires=9000000000"),
    ] {
        let got = rig.get(&format!("{sent}&signature={}", key.sign(signed))).await;
        assert_eq!(got.status, 200, "{signed} as {sent}: {got:?}");
        let other = rig.get(&format!("{sent}x&signature={}", key.sign(signed))).await;
        assert_eq!(other.status, 403, "{signed} as {sent}x: {other:?}");
    }
    // One address is kept once, in whatever spelling it was signed.
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn holders_of_signed_links_share_what_is_stored() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url.key");
    std::fs::write(&file, "a new secret of 25 bytes\n").unwrap();
    let rules = format!("signed_paths = [\"/video/*\"]\nsigning_keys = [\"{}\"]", file.display());
    let rig = Rig::with(&[origin.address], "", &rules).await;
    let key = verge_edge::site::signed::SigningKey::new(b"a new secret of 25 bytes").unwrap();
    let link = |target: &str| format!("{target}&signature={}", key.sign(target));
    let first = rig.get(&link("/video/a?expires=9000000000")).await;
    assert!(first.text().starts_with("GET /video/a HTTP/1.1\r\n"), "{first:?}");
    rig.get(&link("/video/a?expires=9000000001")).await.assert_hit();
    for target in
        ["/video/a", "/video/a?expires=9000000000", "/%76ideo/a", &link("/video/a?expires=1000000000")]
    {
        assert_eq!(rig.get(target).await.status, 403, "{target}");
    }
    assert_eq!((rig.get("/b").await.status, origin.count()), (200, 2));
    let explain = async |target: &str| {
        rig.ask("/explain", &format!("{{\"url\": \"http://site.test{target}\"}}")).await.text()
    };
    let explained = explain(&link("/video/a?expires=9000000002")).await;
    assert!(explained.contains("\"verdict\":\"fresh\"") && explained.contains("/video/a\""), "{explained}");
    for (target, why) in [
        ("/video/a", "403 from here: this address needs a signature"),
        ("/video/a?expires=9000000000&signature=00", "403 from here: the signature is wrong"),
        (&link("/video/a?expires=1000000000"), "403 from here: the link has expired"),
    ] {
        let explained = explain(target).await;
        assert!(explained.contains("\"verdict\":\"refuse\"") && explained.contains(why), "{explained}");
        assert!(explained.contains("\"chosen\":false"), "{explained}");
    }
    let purged = rig.purge(&link("/video/a?expires=1000000000")).await;
    assert!(purged.text().contains("\"purged\":1"), "{purged:?}");
    let fresh_link = link("/video/a?expires=9000000000");
    rig.get(&fresh_link).await.assert_forwarded();
    let push = format!(
        "PUT /push HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\nVerge-URL: http://site.test{fresh_link}\r\n\
         Verge-TTL: 60\r\nContent-Length: 6\r\n\r\npushed",
        rig.token()
    );
    assert_eq!(Client::connect(rig.admin).await.raw(push.as_bytes()).await.status, 200);
    let got = rig.get(&fresh_link).await;
    assert_eq!(got.text(), "pushed", "{got:?}");
}

#[tokio::test]
async fn what_https_only_redirects_is_explained_so() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::with(&[origin.address], "", "https_only = \"1d\"").await;
    let explained = rig.ask("/explain", "{\"url\": \"http://site.test/a\"}").await.text();
    assert!(
        explained.contains("\"verdict\":\"redirect\"") && explained.contains("https_only sends it"),
        "{explained}"
    );
    let explained = rig.ask("/explain", "{\"url\": \"https://site.test/a\"}").await.text();
    assert!(explained.contains("\"verdict\":\"fetch\""), "{explained}");
}

#[tokio::test]
async fn a_signed_link_is_sent_to_https_with_its_signature() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url.key");
    std::fs::write(&file, "a new secret of 25 bytes\n").unwrap();
    let rules = format!(
        "https_only = \"365d\"\nsigned_paths = [\"/video/*\"]\nsigning_keys = [\"{}\"]",
        file.display()
    );
    let rig = Rig::with(&[origin.address], "trusted_proxies = [\"127.0.0.1\"]", &rules).await;
    let key = verge_edge::site::signed::SigningKey::new(b"a new secret of 25 bytes").unwrap();
    let link = format!("/video/a?expires=9000000000&signature={}", key.sign("/video/a?expires=9000000000"));
    for target in [&*link, "/video/a", "/b"] {
        let sent = rig.get(target).await;
        assert_eq!((sent.status, sent.field("location")), (301, format!("https://site.test{target}")));
    }
    for (target, status) in [(&*link, 200), ("/video/a", 403)] {
        let got = rig.client().await.get_with(target, "X-Forwarded-Proto: https\r\n").await;
        assert_eq!(got.status, status, "{target}");
    }
}

/// RFC 9110 §8.6.
#[tokio::test]
async fn a_204_has_no_length_whoever_asks() {
    let head = "HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\nContent-Length: 54\r\n\r\n";
    let origin = Origin::answering(move |_| head.to_owned()).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    for path in ["/a", "/b"] {
        let asked = format!("HEAD {path} HTTP/1.1\r\nHost: site.test\r\n\r\n");
        let mut client = rig.client().await;
        client.write(asked.as_bytes()).await;
        let got = client.head().await;
        assert_eq!((got.status, got.field("content-length")), (204, String::new()), "{path}: {got:?}");
    }
}
