//! Routes: parts of a site that have settings of their own, by path.

use super::rig::{Got, Origin, Rig, response};

/// An origin that names itself and answers with the head that it got, under these fields.
async fn named(name: &'static str, fields: &'static str) -> std::sync::Arc<Origin> {
    Origin::answering(move |head| response("200 OK", fields, &format!("{name} {head}"))).await
}

const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// A site with an API of its own origin, with its prefix stripped, and static files that are kept long.
async fn site() -> (std::sync::Arc<Origin>, std::sync::Arc<Origin>, Rig) {
    let (web, api) = (named("web", "").await, named("api", FRESH).await);
    let rules = format!(
        "[site.response]\nset = {{ x-frame-options = \"DENY\", x-part = \"site\" }}\n\
         [[site.route]]\npaths = [\"/api\", \"/api/*\"]\norigins = [\"http://{}\"]\norigin_path = \"/*\"\n\
         [site.route.response]\nset = {{ x-part = \"api\" }}\n[site.route.key]\nquery = \"none\"\n\
         [[site.route]]\npaths = [\"/static/*\"]\ndefault_ttl = \"1h\"\n\
         [[site.route]]\npaths = [\"/admin/*\"]\nbypass = [\"*\"]\n",
        api.address
    );
    let rig = Rig::with(&[web.address], "", &rules).await;
    (web, api, rig)
}

fn line(got: &Got) -> String {
    got.text().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_route_has_its_own_origins_and_path_and_the_key_stays_the_clients() {
    let (web, api, rig) = site().await;
    let got = rig.get("/api/users?id=1").await;
    assert_eq!(line(&got), "api GET /users?id=1 HTTP/1.1");
    assert_eq!(line(&rig.get("/api").await), "api GET / HTTP/1.1");
    assert_eq!(line(&rig.get("/users").await), "web GET /users HTTP/1.1");
    // A response stored under the route's path answers for that alone, and by its own key rules.
    rig.get("/api/users?id=2").await.assert_hit();
    rig.get("/users").await.assert_forwarded();
    assert_eq!((web.count(), api.count()), (2, 2));
    let mut client = rig.client().await;
    client.write(b"HEAD /api/users HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    client.head().await.assert_hit();
}

#[tokio::test]
async fn a_route_has_the_sites_settings_where_it_has_none_of_its_own() {
    let (_web, _api, rig) = site().await;
    let of = |got: &Got| (got.field("x-frame-options"), got.field("x-part"));
    assert_eq!(of(&rig.get("/api/x").await), ("DENY".to_owned(), "api".to_owned()));
    assert_eq!(of(&rig.get("/static/x").await), ("DENY".to_owned(), "site".to_owned()));
    rig.get("/static/x").await.assert_hit();
    rig.get("/x").await;
    rig.get("/x").await.assert_forwarded();
    rig.get("/admin/x").await;
    let got = rig.get("/admin/x").await;
    assert!(got.cache_status().contains("fwd=bypass"), "{got:?}");
}

/// RFC 4918 §10.3: an origin looks for the target of a MOVE where it keeps its own.
#[tokio::test]
async fn the_destination_of_a_move_is_a_path_of_the_origin() {
    let origin = named("dav", "").await;
    let rules = "[[site.route]]\npaths = [\"/files/*\"]\norigin_path = \"/dav/*\"";
    let rig = Rig::with(&[origin.address], "", rules).await;
    for (method, destination, expected) in [
        ("MOVE", "http://site.test/files/b%20c", "http://site.test/dav/b%20c"),
        ("COPY", "/files/b", "/dav/b"),
        ("MOVE", "/files/../x", "/files/../x"),
        ("MOVE", "http://other.test/files/b", "http://other.test/files/b"),
        ("MOVE", "/x", "/x"),
        ("PUT", "/files/b", "/files/b"),
    ] {
        let fields = format!("Host: site.test\r\nContent-Length: 0\r\nDestination: {destination}\r\n");
        let got =
            rig.client().await.raw(format!("{method} /files/a HTTP/1.1\r\n{fields}\r\n").as_bytes()).await;
        assert_eq!(line(&got), format!("dav {method} /dav/a HTTP/1.1"));
        assert!(got.text().contains(&format!("destination: {expected}\r\n")), "{destination}: {got:?}");
    }
}

/// EDGE §2, class 3: an origin that decodes such a path answers with another part's page.
#[tokio::test]
async fn a_path_that_an_origin_may_take_for_another_routes_is_passed_and_never_kept() {
    let (_web, _api, rig) = site().await;
    for path in ["/static/..%2fadmin/x", "/x/..%2fapi/users", "//admin/x", "/static/..;/x"] {
        for _ in 0..2 {
            let got = rig.get(path).await;
            assert!(got.cache_status().contains("fwd=bypass"), "{path}: {got:?}");
        }
        let pushed = format!(
            "PUT /push HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nVerge-URL: http://site.test{path}\r\n\
             Verge-TTL: 60\r\nContent-Length: 1\r\n\r\nx",
            rig.token()
        );
        let got = super::rig::Client::connect(rig.admin).await.raw(pushed.as_bytes()).await;
        assert_eq!(got.status, 422, "{path}: {got:?}");
    }
}

/// Where an origin is asked below a path of its own, no client leads it out of there.
#[tokio::test]
async fn a_path_that_may_lead_out_of_where_a_route_leads_is_refused() {
    let (_web, api, rig) = site().await;
    for path in ["/api/..%2fx", "/api/a/..%5c..%5c..%5cx", "/api/..;/x", "/api/%252e%252e%252fx"] {
        let got = rig.get(path).await;
        assert_eq!((got.status, api.count()), (400, 0), "{path}: {got:?}");
    }
    // One that stays inside goes there as it came.
    assert_eq!(line(&rig.get("/api/group%2fproject").await), "api GET /group%2Fproject HTTP/1.1");
}

#[tokio::test]
async fn purges_and_pushes_and_explanations_know_routes() {
    let (_web, api, rig) = site().await;
    let hit = async |path: &str| rig.get(path).await.cache_status().contains("; hit");
    rig.get("/api/a?x=1").await;
    assert!(hit("/api/a?y").await);
    assert_eq!(rig.purge("/api/a").await.text(), "{\"purged\":1}");
    assert!(!hit("/api/a").await);
    rig.ask("/purge", "{\"prefix\": \"http://site.test/api/\"}").await;
    assert!(!hit("/api/a").await);
    rig.ask("/purge", "{\"site\": \"*\"}").await;
    assert!(!hit("/api/a").await);
    let explained = rig.ask("/explain", "{\"url\": \"http://site.test/api/a?q\"}").await.text();
    for part in [
        "\"verdict\":\"fresh\"",
        "\"route\":\"/api\"",
        "\"path\":\"/a\"",
        "\"key\":\"http://site.test/api/a\"",
        &format!("\"origins\":[\"{}\"]", api.address),
    ] {
        assert!(explained.contains(part), "{part} {explained}");
    }
    let explained = rig.ask("/explain", "{\"url\": \"http://site.test/x/..%2fadmin/a\"}").await.text();
    assert!(
        explained.contains("\"verdict\":\"pass\"") && explained.contains("one of /admin/*"),
        "{explained}"
    );
    let explained = rig.ask("/explain", "{\"url\": \"http://site.test/api/..%2fadmin/a\"}").await.text();
    assert!(explained.contains("\"verdict\":\"refuse\""), "{explained}");
}

/// RFC 9111 §4.4, where the key of what is invalidated is another route's.
#[tokio::test]
async fn an_unsafe_request_invalidates_what_another_route_keeps() {
    let origin = Origin::answering(|head| match head.starts_with("POST") {
        true => response("201 Created", "Location: /items/1\r\nContent-Location: /list?all\r\n", ""),
        false => response("200 OK", FRESH, "x"),
    })
    .await;
    let rules = "[[site.route]]\npaths = [\"/api/list\"]\n[site.route.key]\nquery = \"none\"\n\
                 [[site.route]]\npaths = [\"/api/*\"]\norigin_path = \"/*\"\n";
    let rig = Rig::with(&[origin.address], "", rules).await;
    for path in ["/api/items/1", "/api/list?a", "/items/1"] {
        rig.get(path).await;
        rig.get(path).await.assert_hit();
    }
    let post = b"POST /api/items HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(rig.client().await.raw(post).await.status, 201);
    rig.get("/api/items/1").await.assert_forwarded();
    rig.get("/api/list").await.assert_forwarded();
    rig.get("/items/1").await.assert_hit();
}

#[tokio::test]
async fn uploads_and_other_methods_take_the_route_too() {
    let (_web, _api, rig) = site().await;
    let post = b"POST /api/users HTTP/1.1\r\nHost: site.test\r\nContent-Length: 2\r\nX-Forwarded-Prefix: /evil\r\n\r\nhi";
    let got = rig.client().await.raw(post).await;
    assert_eq!(line(&got), "api POST /users HTTP/1.1");
    // The application makes its links with the prefix that it does not see.
    let told = |got: &Got, prefix: &str| got.text().to_ascii_lowercase().contains(prefix);
    assert!(told(&got, "x-forwarded-prefix: /api\r\n") && !told(&got, "evil"), "{got:?}");
    let got = rig.get("/api/b").await;
    assert!(told(&got, "x-forwarded-prefix: /api\r\n"), "{got:?}");
    assert!(!told(&rig.get("/other").await, "x-forwarded-prefix"));
}
