//! Access to a site: networks, passwords, rates, the length of content.

use std::time::{Duration, UNIX_EPOCH};

use verge_edge::clock::Clock;

use super::rig::{Client, Got, Origin, Rig, response};
use super::rules::{FRESH, echo};

/// `htpasswd -nbB -C 5 ann secret`
const ANN: &str = "ann:$2y$05$TJysGwJAo977pCPOoUKRheG03MWAjcBnjbxO64BYgah6sEbRLiROq\n";
/// `ann:secret` and `ann:wrong` as RFC 7617 has them.
const RIGHT: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
const WRONG: &str = "Authorization: Basic YW5uOndyb25n\r\n";

/// The proxy that this test is says who its client is.
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

async fn from(rig: &Rig, path: &str, client: &str) -> Got {
    rig.client().await.get_with(path, &format!("X-Forwarded-For: {client}\r\n")).await
}

#[tokio::test]
async fn clients_of_other_networks_are_turned_away_from_all_that_is_stored() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let rules =
        "deny = [\"192.0.2.0/24\"]\n[[site.route]]\npaths = [\"/admin/*\"]\nallow = [\"10.0.0.0/8\"]\n";
    let rig = Rig::with(&[origin.address], TRUSTED, rules).await;
    for (path, client, status) in [
        ("/a", "198.51.100.1", 200),
        ("/a", "192.0.2.7", 403),
        ("/a", "::ffff:192.0.2.7", 403),
        ("/admin/x", "10.1.2.3", 200),
        ("/admin/x", "198.51.100.1", 403),
        // A path that an origin may read as the route's.
        ("/x/..%2fadmin/x", "198.51.100.1", 403),
        ("/x/..%2fadmin/x", "10.1.2.3", 200),
        // A site's own list does not hold where the route has one, but both do where it may be either.
        ("/admin/x", "192.0.2.7", 403),
    ] {
        let got = from(&rig, path, client).await;
        assert_eq!(got.status, status, "{path} {client}: {got:?}");
        if status == 403 {
            assert_eq!(got.field("cache-control"), "no-store");
        }
    }
    assert!(from(&rig, "/a", "198.51.100.1").await.cache_status().contains("; hit"));
}

/// nginx decodes `%3f` and `%2f`, removes dot segments, and cuts nothing off: one origin reads this path as the route's, and
/// the loosest one does not.
#[tokio::test]
async fn a_path_that_any_origin_may_read_as_forbidden_is() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let rules = "[[site.route]]\npaths = [\"/admin/*\"]\nallow = [\"10.0.0.0/8\"]\n\
                  [[site.route]]\npaths = [\"/login\"]\nrate_limit = \"1/h\"\n";
    let rig = Rig::with(&[origin.address], TRUSTED, rules).await;
    for (path, status) in [
        ("/pub/x%3f%2f..%2f..%2fadmin/y", 403),
        ("/pub/x%23%2f..%2f..%2fadmin/y", 403),
        ("/pub/x%0a%2f..%2f..%2fadmin/y", 403),
        ("/pub/x%253f%252f..%252f..%252fadmin/y", 403),
        ("/admin%2fy%2f..%2f..%2fpub", 403),
        ("/admin%2fy%5c..%5c..%5cpub", 403),
        ("/ADMIN/y", 403),
        ("/x/..%2fAdmin/y", 403),
        ("/pub/x%3fadmin/y", 200),
        ("/pub/a%20b", 200),
        // A part's rate counts too where an origin may read the path as one of it.
        ("/x/..%2flogin", 200),
        ("/x/..%2flogin", 429),
        ("/login", 429),
    ] {
        let got = from(&rig, path, "198.51.100.1").await;
        assert_eq!(got.status, status, "{path}: {got:?}");
    }
    assert_eq!(from(&rig, "/pub/x%3f%2f..%2f..%2fadmin/y", "10.1.2.3").await.status, 200);
}

async fn with_users(rules: &str) -> (std::sync::Arc<Origin>, Rig, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, ANN).unwrap();
    let (origin, rig) = echo(&format!("basic_auth = {file:?}\n{rules}"), FRESH).await;
    (origin, rig, folder)
}

#[tokio::test]
async fn those_with_a_password_share_what_is_stored_and_the_origin_does_not_see_it() {
    let (origin, rig, _folder) = with_users("realm = \"staff\"").await;
    let got = rig.get("/a").await;
    assert_eq!(
        (got.status, got.field("www-authenticate")),
        (401, "Basic realm=\"staff\", charset=\"UTF-8\"".into())
    );
    assert_eq!(rig.client().await.get_with("/a", WRONG).await.status, 401);
    assert_eq!(origin.count(), 0);
    let got = rig.client().await.get_with("/a", RIGHT).await;
    assert_eq!(got.status, 200);
    assert!(!got.text().to_ascii_lowercase().contains("authorization"), "{}", got.text());
    rig.client().await.get_with("/a", RIGHT).await.assert_hit();
    // A stored response is for nobody else.
    assert_eq!(rig.get("/a").await.status, 401);
    assert_eq!(rig.client().await.get_with("/a", WRONG).await.status, 401);
    let both = format!("{RIGHT}{WRONG}");
    assert_eq!(rig.client().await.get_with("/a", &both).await.status, 401);
}

#[tokio::test]
async fn a_route_is_open_where_it_says_so() {
    let (_origin, rig, _folder) =
        with_users("[[site.route]]\npaths = [\"/public/*\"]\nbasic_auth = \"off\"").await;
    assert_eq!(rig.get("/public/a").await.status, 200);
    assert_eq!(rig.get("/public/..%2fa").await.status, 401);
    assert_eq!(rig.get("/a").await.status, 401);
}

/// A guess costs a hash that is slow by design; a list of words must not cost the edge its cores.
#[tokio::test]
async fn a_network_has_a_few_wrong_guesses_a_minute_and_known_users_stay_in() {
    let (_origin, rig, _folder) = with_users("").await;
    assert_eq!(rig.client().await.get_with("/a", RIGHT).await.status, 200);
    let mut statuses = Vec::new();
    for _ in 0..21 {
        statuses.push(rig.client().await.get_with("/a", WRONG).await);
    }
    assert_eq!(statuses[19].status, 401);
    // A guess comes back every three seconds; some of them may have passed.
    let wait = statuses[20].field("retry-after").parse();
    assert!(statuses[20].status == 429 && matches!(wait, Ok(1..=3)), "{:?}", statuses[20]);
    // Right passwords that were seen before need no guess.
    assert_eq!(rig.client().await.get_with("/a", RIGHT).await.status, 200);
    rig.pass(4);
    assert_eq!(rig.client().await.get_with("/a", WRONG).await.status, 401);
}

#[tokio::test]
async fn users_change_with_the_file_at_a_reload() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let folder = tempfile::tempdir().unwrap();
    let (users, file) = (folder.path().join("users"), folder.path().join("edge.toml"));
    std::fs::write(&users, ANN).unwrap();
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"site.test\"]\n\
         origins = [\"http://{}\"]\nbasic_auth = \"users\"\n",
        origin.address
    );
    std::fs::write(&file, text).unwrap();
    let config = verge_edge::config::load(&file).unwrap();
    let clock = Clock::system();
    let running = verge_edge::run::start_at(config, clock.clone()).await.unwrap();
    let (public, admin) = (running.listening().public[0], running.listening().admin.unwrap());
    let rig = Rig { running: Some(running), clock, public, admin, folder };
    assert_eq!(rig.client().await.get_with("/a", RIGHT).await.status, 200);
    std::fs::write(&users, ANN.replace("ann", "bob")).unwrap();
    assert_eq!(rig.ask("/reload", "").await.status, 200);
    assert_eq!(rig.client().await.get_with("/a", RIGHT).await.status, 401);
    // A file that cannot be read changes nothing.
    std::fs::write(&users, "bob:plain").unwrap();
    let got = rig.ask("/reload", "").await;
    assert!(got.status == 422 && got.text().contains("line 1 has no bcrypt hash"), "{}", got.text());
}

#[tokio::test]
async fn each_network_has_its_rate_and_a_route_its_own() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let rules = "rate_limit = \"3/s\"\n[[site.route]]\npaths = [\"/login\"]\nrate_limit = \"1/m\"\n\
                 [[site.route]]\npaths = [\"/static/*\"]\n[[site.route]]\npaths = [\"/free\"]\nrate_limit = \"off\"";
    let clock = Clock::standing(UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let rig = Rig::at(clock, "\"*\"", &[origin.address], TRUSTED, rules).await;
    let check = async |path: &str, client: &str, status: u16| {
        let got = from(&rig, path, client).await;
        assert_eq!(got.status, status, "{path} {client} {got:?}");
        got
    };
    for path in ["/a", "/a", "/static/a"] {
        check(path, "192.0.2.1", 200).await;
    }
    let got = check("/a", "192.0.2.1", 429).await;
    assert_eq!((got.field("retry-after"), got.field("cache-control")), ("1".into(), "no-store".into()));
    check("/static/a", "192.0.2.1", 429).await;
    check("/free", "192.0.2.1", 200).await;
    check("/login", "192.0.2.1", 200).await;
    let got = check("/login", "192.0.2.1", 429).await;
    assert!(matches!(got.field("retry-after").parse(), Ok(58..=60)), "{got:?}");
    check("/a", "192.0.2.2", 200).await;
    check("/a", "2001:db8::1", 200).await;
    rig.pass(1);
    check("/a", "192.0.2.1", 200).await;
    check("/login", "192.0.2.1", 429).await;
}

#[tokio::test]
async fn content_that_is_too_long_is_refused_at_once_or_where_it_gets_too_long() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "max_request_body = \"10B\"").await;
    let told = b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 11\r\n\r\n";
    assert_eq!(rig.client().await.raw(told).await.status, 413);
    let expecting =
        b"POST /a HTTP/1.1\r\nHost: site.test\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n";
    assert_eq!(rig.client().await.raw(expecting).await.status, 413);
    assert_eq!(origin.count(), 0);
    let mut client = rig.client().await;
    client
        .write(b"POST /b HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n")
        .await;
    let asked = origin.next().await;
    client.write(b"5\r\n12345\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 413);
    // The origin never gets a whole request.
    let rest = asked.until_hung_up().await;
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
    // An origin is not put out of service by that.
    let short = b"POST /c HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\n1234567890";
    let mut client = rig.client().await;
    client.write(short).await;
    origin.next().await.respond(&response("200 OK", "", "ok")).await;
    assert_eq!(client.response().await.status, 200);
}

/// Behind an early head the response breaks off with the connection, which the edge closes.
#[tokio::test]
async fn content_that_gets_too_long_behind_an_early_head_is_not_its_origins_fault() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "max_request_body = \"4B\"").await;
    for _ in 0..4 {
        let mut client = rig.client().await;
        client
            .write(b"POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
            .await;
        let mut asked = origin.next().await;
        asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npa").await;
        let head = client.head().await;
        client.write(b"4\r\nmore\r\n").await;
        assert_eq!(client.body(&head).await, None);
    }
    assert_eq!(rig.metric("verge_edge_origin_errors_total{").await, 0);
}

/// RFC 9111 §5.2.2.7: another shared cache on the way would hand what is `public` to clients that are kept out here.
#[tokio::test]
async fn what_some_clients_alone_may_have_leaves_as_private() {
    let fields = "Cache-Control: public, s-maxage=60, max-age=50\r\nCDN-Cache-Control: max-age=60\r\n";
    let origin = Origin::answering(move |_| response("200 OK", fields, "a")).await;
    let rules = "[[site.route]]\npaths = [\"/in/*\"]\nallow = [\"127.0.0.0/8\"]\n\
                 [[site.route]]\npaths = [\"/deny/*\"]\ndeny = [\"192.0.2.0/24\"]\n\
                 [[site.route]]\npaths = [\"/own/*\"]\nallow = [\"127.0.0.0/8\"]\n\
                 response.set = { cache-control = \"public\" }\n";
    let rig = Rig::with(&[origin.address], "", rules).await;
    for (path, control, targeted) in [
        ("/open", "public, s-maxage=60, max-age=50", "max-age=60"),
        ("/in/a", "max-age=50, private", ""),
        ("/deny/a", "max-age=50, private", ""),
        // A path that an origin may read as a guarded one.
        ("/x/..%2fin/b", "max-age=50, private", ""),
        ("/own/a", "public", ""),
    ] {
        for round in 0..2 {
            let got = rig.get(path).await;
            assert_eq!((got.status, got.text().as_str()), (200, "a"), "{got:?}");
            let fields = (got.field("cache-control"), got.field("cdn-cache-control"));
            assert_eq!(fields, (control.to_owned(), targeted.to_owned()), "{path}");
            // Among those who may ask it is shared all the same.
            assert!(round == 0 || path.contains("..") || got.cache_status().contains("; hit"), "{got:?}");
        }
    }
}

#[tokio::test]
async fn conditions_are_explained() {
    let rules = "allow = [\"127.0.0.0/8\"]\nrate_limit = \"600/m\"\nmax_request_body = \"1KiB\"";
    let (_origin, rig, _folder) = with_users(rules).await;
    let explained = rig.ask("/explain", "{\"url\": \"http://site.test/a\"}").await.text();
    for rule in [
        "allow: only clients in 127.0.0.0/8",
        "basic_auth: 1 users by name and password",
        "rate_limit: 600 requests in 60 s for each network",
        "max_request_body: 1024 bytes",
    ] {
        assert!(explained.contains(rule), "{rule}: {explained}");
    }
    assert_eq!(Client::connect(rig.public).await.get_with("/a", RIGHT).await.status, 200);
}
