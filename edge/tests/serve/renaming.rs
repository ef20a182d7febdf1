//! The names by which an origin knows itself are the client's when they reach the client.

use super::rig::{Origin, Rig, response};

/// Sends every client to the origin's own address, which `ADDRESS` stands for.
async fn origin_that_names_itself(status: &'static str, fields: &'static str) -> std::sync::Arc<Origin> {
    Origin::answering(move |head| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        response(status, &fields.replace("HOST", host), "")
    })
    .await
}

#[tokio::test]
async fn a_stored_redirect_to_the_origins_own_name_is_right_for_each_host_that_asks() {
    let fields = "Cache-Control: max-age=60\r\nLocation: http://app.internal/next\r\n";
    let origin = origin_that_names_itself("302 Found", fields).await;
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\n[[site]]\nhosts = [\"*\"]\n\
         origins = [{{ url = \"http://{}\", host = \"app.internal\" }}]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let rig = Rig::of(verge_edge::clock::Clock::system(), &text).await;
    for (host, proto, expected) in [
        ("a.test", "http", "http://a.test/next"),
        ("b.test:8080", "http", "http://b.test:8080/next"),
        ("a.test", "https", "https://a.test/next"),
    ] {
        let ask = format!("GET /old HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {proto}\r\n\r\n");
        for hit in [false, true] {
            let got = rig.client().await.raw(ask.as_bytes()).await;
            assert_eq!((got.status, got.field("location").as_str()), (302, expected), "{host} {proto}");
            assert_eq!(got.cache_status().contains("hit"), hit, "{got:?}");
        }
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn what_is_passed_is_renamed_too_and_other_names_are_not() {
    let fields = "Location: http://own.test:81/a\r\nContent-Location: http://other.test/b\r\n\
                  Set-Cookie: a=1; Domain=own.test\r\nSet-Cookie: b=2\r\nRefresh: 1; url=http://own.test:81/c\r\n";
    let origin = origin_that_names_itself("201 Created", fields).await;
    let rig = Rig::with(&[origin.address], "", "origin_names = [\"own.test:81\"]").await;
    let ask = b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    let got = rig.client().await.raw(ask).await;
    let found = ["location", "content-location", "set-cookie", "refresh"].map(|name| got.field(name));
    assert_eq!(
        found,
        [
            "http://site.test/a",
            "http://other.test/b",
            "a=1; Domain=site.test, b=2",
            "1; url=http://site.test/c"
        ]
    );
    let rig = Rig::with(&[origin.address], "", "rewrite_origin_names = false").await;
    assert_eq!(rig.client().await.raw(ask).await.field("location"), "http://own.test:81/a");
}

/// Tomcat names the folder of an application without its slash.
#[tokio::test]
async fn a_cookie_and_a_redirect_for_the_folder_that_a_route_leads_to_are_for_the_clients_folder() {
    let fields = "Set-Cookie: a=1; Path=/app; HttpOnly\r\nSet-Cookie: b=1; Path=/application\r\nLocation: /app?x=1\r\n";
    let origin = origin_that_names_itself("302 Found", fields).await;
    for (paths, next) in [("\"/shop/*\"", "/shop/?x=1"), ("\"/shop\", \"/shop/*\"", "/shop?x=1")] {
        let rules = format!("[[site.route]]\npaths = [{paths}]\norigin_path = \"/app/*\"");
        let rig = Rig::with(&[origin.address], "", &rules).await;
        let got = rig.get("/shop/login").await;
        assert_eq!(got.field("set-cookie"), "a=1; Path=/shop; HttpOnly, b=1; Path=/application");
        assert_eq!(got.field("location"), next);
    }
}

#[tokio::test]
async fn a_post_whose_location_names_the_origin_makes_the_sites_own_page_stale() {
    let origin = Origin::answering(|head| {
        if head.starts_with("POST") {
            let fields = "Location: http://own.test/list\r\n";
            response("201 Created", fields, "")
        } else {
            response("200 OK", "Cache-Control: max-age=60\r\n", "list")
        }
    })
    .await;
    let rig = Rig::with(&[origin.address], "", "origin_names = [\"own.test\"]").await;
    rig.get("/list").await.assert_forwarded();
    rig.get("/list").await.assert_hit();
    let ask = b"POST /new HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(rig.client().await.raw(ask).await.field("location"), "http://site.test/list");
    rig.get("/list").await.assert_forwarded();
}

#[tokio::test]
async fn an_origins_own_name_is_not_told_to_the_one_that_is_asked_in_its_place() {
    let told = Origin::answering(|head| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        response("200 OK", "", host)
    })
    .await;
    // Nobody listens there.
    let gone = crate::ports::address();
    for scheme in ["http", "h2c"] {
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [{{ url = \"{scheme}://{gone}\", host = \"app.internal\" }}, \
             {{ url = \"http://{}\", backup = true }}]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            told.address
        );
        let rig = Rig::of(verge_edge::clock::Clock::system(), &text).await;
        assert_eq!(rig.client().await.get("/").await.text(), "site.test", "{scheme}");
    }
}

/// Many frameworks write a title into a redirect's path as it is.
#[tokio::test]
async fn an_origins_name_goes_whatever_stands_beside_it() {
    let fields = "Location: http://own.test:81/\u{fc}ber\r\nSet-Cookie: a=\u{fc}; Domain=own.test\r\n\
                  Refresh: 1; url=http://own.test:81/\u{fc}\r\nContent-Location: /\u{fc}\r\n";
    let origin = origin_that_names_itself("201 Created", fields).await;
    let rig = Rig::with(&[origin.address], "", "origin_names = [\"own.test:81\"]").await;
    let ask = b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    let got = rig.client().await.raw(ask).await;
    let found = ["location", "set-cookie", "refresh", "content-location"].map(|name| got.field(name));
    let expected = [
        "http://site.test/%C3%BCber",
        "a=\u{fc}; Domain=site.test",
        "1; url=http://site.test/%C3%BC",
        "/\u{fc}",
    ];
    assert_eq!(found, expected);
}
