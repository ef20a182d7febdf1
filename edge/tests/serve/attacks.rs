//! Attacks, and what must not come of them: the classes of `design/EDGE.md` §2 that concern a whole edge.

use std::path::Path;

use verge_edge::clock::Clock;
use verge_edge::config;
use verge_edge::run;

use super::client::{Client, Got};
use super::rig::{Origin, Rig, response, soon};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// Row 5 (CVE-2025-4366): a body that an answer from the store leaves unread must not be read as a request.
#[tokio::test]
async fn a_body_behind_a_hit_is_no_request() {
    let origin = std::sync::Arc::new(Origin::start().await);
    let rig = Rig::start(&[origin.address]).await;
    let length = SMUGGLED.len();
    let answering = std::sync::Arc::clone(&origin);
    tokio::spawn(async move {
        loop {
            let mut asked = answering.next().await;
            if asked.head.to_ascii_lowercase().contains("content-length: ") {
                asked.read(length).await;
            }
            let body = if asked.head.contains("/smuggled") { "smuggled" } else { "hello" };
            asked.respond(&response("200 OK", FRESH, body)).await;
        }
    });
    rig.get("/a").await;
    for head in [
        format!("GET /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n"),
        format!("HEAD /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n"),
        format!(
            "GET /a HTTP/1.1\r\nHost: site.test\r\nCache-Control: only-if-cached\r\nContent-Length: {length}\r\n"
        ),
        format!("OPTIONS * HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n"),
        format!("GET /.well-known/verge/health HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n"),
    ] {
        let mut client = rig.client().await;
        client.write(format!("{head}\r\n{SMUGGLED}").as_bytes()).await;
        client.write(b"GET /last HTTP/1.0\r\nHost: site.test\r\n\r\n").await;
        let all = client.rest().await;
        assert!(!all.contains("smuggled"), "{head}: {all}");
        assert!(all.matches("HTTP/1.1 ").count() <= 2, "{head}: {all}");
    }
    assert!(origin.seen().iter().all(|head| !head.starts_with("GET /smuggled")), "{:?}", origin.seen());
}

/// Row 5: and one that is longer than anybody will drain ends the connection.
#[tokio::test]
async fn an_endless_body_behind_an_early_answer_ends_the_connection() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    let head =
        "POST /.well-known/verge/health HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1000000000\r\n\r\n";
    client.write(head.as_bytes()).await;
    assert_eq!(client.response().await.status, 200);
    let junk = vec![b'x'; 64 << 10];
    soon("the edge hanging up", async { while client.try_write(&junk).await.is_ok() {} }).await;
}

/// Row 7: a chunk's extension is bounded.
#[tokio::test]
async fn a_chunk_with_a_huge_extension_is_refused() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    let extension = "x".repeat(64 << 10);
    let head = "POST /a HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write(format!("{head}5;{extension}\r\nhello\r\n0\r\n\r\n{SMUGGLED}").as_bytes()).await;
    let got = client.response().await;
    assert!((400..500).contains(&got.status), "{got:?}");
    assert!(client.is_closed().await);
    assert!(origin.seen().iter().all(|head| !head.starts_with("GET /smuggled")));
}

/// Row 8: what an origin sends beyond its response's end belongs to no response, and nothing after it can be trusted.
#[tokio::test]
async fn surplus_bytes_of_an_origin_are_no_response() {
    let poison = response("200 OK", FRESH, "poison");
    for surplus in ["xxxxx", poison.as_str(), "HTTP/1.1 100 Continue\r\n\r\n"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        origin.next().await.respond(&format!("{}{surplus}", response("200 OK", FRESH, "hello"))).await;
        assert_eq!(client.response().await.text(), "hello");
        client.send_get("/b", "").await;
        origin.next().await.respond(&response("200 OK", FRESH, "world")).await;
        assert_eq!(client.response().await.text(), "world", "{surplus:?}");
        assert_eq!(origin.connections(), 2, "{surplus:?}");
        assert_eq!(rig.get("/b").await.text(), "world");
    }
}

/// Row 8: a response that can end in two places, or has a line that is none, is not passed on and not stored.
#[tokio::test]
async fn a_response_that_can_be_read_in_two_ways_is_refused_or_made_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        "HTTP/1.1 0200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "nonsense\r\n\r\n",
        // Nobody asked for another protocol.
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        origin.next().await.respond(answer).await;
        assert_eq!(client.head().await.status, 502, "{answer:?}");
    }
    // Both framings at once: the length is a lie of the origin's (RFC 9112 §6.3), and must not reach the client.
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let both =
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    origin.next().await.respond(both).await;
    let got = client.response().await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    assert_eq!(got.field("content-length"), "");
    client.send_get("/b", "").await;
    origin.next().await.respond(&response("200 OK", "", "world")).await;
    assert_eq!(client.response().await.text(), "world");
    assert_eq!(origin.connections(), 2);
}

/// Row 8: what a redirect takes from the path stays one field.
#[tokio::test]
async fn a_line_end_in_a_path_ends_no_line_of_a_redirect() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let rules = "[[site.redirect]]\nfrom = \"/old/*\"\nto = \"https://www.example.com/new/*\"";
    let rig = Rig::with(&[origin.address], "", rules).await;
    for path in ["/old/%0d%0aSet-Cookie:x=1", "/old/%0D%0A%0D%0Aevil?%0d%0aSet-Cookie:x=1"] {
        let got = rig.get(path).await;
        assert_eq!((got.status, got.field("set-cookie").as_str(), got.body.len()), (301, "", 0), "{got:?}");
        assert!(
            got.field("location").to_ascii_lowercase().starts_with("https://www.example.com/new/%0d%0a"),
            "{got:?}"
        );
    }
}

/// Row 31: what a key holds is nobody's business.
#[tokio::test]
async fn no_answer_tells_its_key() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::with(&[origin.address], "", "[site.key]\ncookies = [\"tenant\"]").await;
    for fields in
        ["", "Cookie: tenant=secret\r\n", "Cache-Control: only-if-cached\r\n", "Pragma: x-get-cache-key\r\n"]
    {
        for path in ["/a", "/b"] {
            let got = rig.client().await.get_with(path, fields).await;
            assert!(!got.cache_status().contains("key="), "{got:?}");
            assert!(got.fields.iter().all(|(_, value)| !value.contains("secret")), "{got:?}");
        }
    }
}

/// Row 16: connections that drip a head cost others nothing, and end.
#[tokio::test]
async fn clients_that_never_end_their_heads_keep_nobody_out() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::with(&[origin.address], "[limits]\nhead_timeout = \"1s\"", "").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = rig.client().await;
        client.write(b"GET /a HTTP/1.1\r\nHost: site.te").await;
        slow.push(client);
    }
    for _ in 0..5 {
        assert_eq!(rig.get("/a").await.text(), "hello");
    }
    for client in &mut slow {
        assert!(!client.rest().await.contains("hello"));
    }
    assert_eq!(origin.count(), 1);
}

/// Row 18: what a `Connection` names is the client's own; what we say to the origin stays.
#[tokio::test]
async fn a_connection_field_takes_nothing_of_ours_away() {
    let ours =
        ["host", "via", "cdn-loop", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"];
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    let fields =
        format!("Connection: {}\r\nX-Forwarded-For: 6.6.6.6\r\nCDN-Loop: other\r\n", ours.join(", "));
    assert_eq!(rig.client().await.get_with("/a", &fields).await.status, 200);
    let seen = origin.seen()[0].to_ascii_lowercase();
    for name in ours {
        assert!(seen.lines().any(|line| line.starts_with(&format!("{name}: "))), "{name} in {seen}");
    }
    assert!(!seen.contains("6.6.6.6") && seen.contains("cdn-loop: other"), "{seen}");
}

/// Row 19: nothing that one user gets with credentials is served to another, unless the origin says that it may be.
#[tokio::test]
async fn what_one_user_gets_is_not_for_another() {
    for (request, fields, shared) in [
        ("Authorization: Basic YWxpY2U=\r\n", FRESH, false),
        ("Authorization: Basic YWxpY2U=\r\n", "Cache-Control: max-age=60, private\r\n", false),
        ("Authorization: Basic YWxpY2U=\r\n", "Expires: Sun, 06 Nov 2094 08:49:37 GMT\r\n", false),
        ("Authorization: Basic YWxpY2U=\r\n", "ETag: \"a\"\r\n", false),
        ("Authorization: Basic YWxpY2U=\r\n", "Cache-Control: max-age=60, public\r\n", true),
        ("Authorization: Basic YWxpY2U=\r\n", "Cache-Control: s-maxage=60\r\n", true),
        ("Authorization: Basic YWxpY2U=\r\n", "Cache-Control: max-age=60, must-revalidate\r\n", true),
        ("Cookie: user=alice\r\n", "", false),
        ("Cookie: user=alice\r\n", "Vary: Cookie\r\nCache-Control: max-age=60\r\n", false),
        ("Cookie: user=alice\r\n", "Cache-Control: no-cache=\"Set-Cookie\"\r\n", false),
        ("Cookie: user=alice\r\n", FRESH, true),
        ("", "Set-Cookie: user=alice\r\n", false),
        ("", "Set-Cookie: user=alice\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", false),
        ("", "Set-Cookie: user=alice\r\nETag: \"a\"\r\n", false),
        ("", "Set-Cookie: user=alice\r\nCache-Control: max-age=60\r\n", false),
        ("", "Set-Cookie: user=alice\r\nCache-Control: public, s-maxage=60\r\n", false),
        ("", "Set-Cookie2: user=alice\r\nCDN-Cache-Control: max-age=60\r\n", false),
    ] {
        let own = fields;
        let origin = Origin::answering(move |head| {
            let head = head.to_ascii_lowercase();
            if head.contains("x-user: bob") {
                response("200 OK", "", "bob's")
            } else {
                response("200 OK", own, "alice's")
            }
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        assert_eq!(rig.client().await.get_with("/a", request).await.text(), "alice's");
        for credentials in ["", "Cookie: user=bob\r\n", "Authorization: Basic Ym9i\r\n"] {
            let got = rig.client().await.get_with("/a", &format!("X-User: bob\r\n{credentials}")).await;
            assert_eq!(got.text() == "alice's", shared, "{request:?} {fields:?} {credentials:?}: {got:?}");
            let cookies = got.field("set-cookie") + &got.field("set-cookie2");
            assert!(!cookies.contains("alice"), "{got:?}");
        }
    }
}

/// Row 20 (RFC 8586): two edges that take each other for the origin.
#[tokio::test]
async fn a_loop_of_edges_ends_at_the_first_that_sees_a_request_again() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    drop(other);
    let first = Rig::with(&[address], "name = \"edge-1\"", "").await;
    let text = format!(
        "name = \"edge-2\"\nlisten = [\"{address}\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n",
        first.public
    );
    let config = config::parse(&text, first.folder.path(), Path::new("edge.toml")).unwrap();
    let _second = run::start(config).await.unwrap();
    for fields in ["", "Connection: CDN-Loop\r\n", "CDN-Loop: a, b;c=\"edge-3\"\r\n"] {
        let got = first.client().await.get_with("/a", fields).await;
        assert_eq!(got.status, 508, "{got:?}");
        assert!(got.field("proxy-status").contains("proxy_loop_detected"), "{got:?}");
    }
    let metrics = Client::connect(first.admin).await.get("/metrics").await.text();
    let refused = metrics.lines().filter(|line| line.starts_with("verge_edge_requests")).collect::<Vec<_>>();
    assert!(refused.iter().any(|line| line.contains("refused") && line.ends_with(" 3")), "{refused:?}");
}

/// Row 21: a request chooses among the configured sites and nothing else; what an origin redirects to is the client's.
#[tokio::test]
async fn a_host_leads_to_no_place_that_is_not_configured() {
    let elsewhere = Origin::answering(|_| response("200 OK", "", "inside")).await;
    let target = format!("http://{}/", elsewhere.address);
    let location = format!("Location: {target}\r\n");
    let origin = Origin::answering(move |_| response("302 Found", &location, "")).await;
    let rig = Rig::for_hosts("\"site.test\"", &[origin.address], "", "").await;
    let ask = async |request: String| -> Got { rig.client().await.raw(request.as_bytes()).await };
    for host in [
        "169.254.169.254",
        "localhost",
        &elsewhere.address.to_string(),
        "site.test.evil",
        "[::1]",
        "evil-site.test",
    ] {
        assert_eq!(ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.status, 421, "{host}");
        assert_eq!(
            ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.status,
            421,
            "{host}"
        );
        assert_eq!(
            ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: site.test\r\n\r\n")).await.status,
            400,
            "{host}"
        );
    }
    assert_eq!(origin.count(), 0);
    let got = ask("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n".into()).await;
    assert_eq!((got.status, got.field("location")), (302, target));
    assert_eq!((origin.count(), elsewhere.count()), (1, 0));
}

/// RFC 1035 §2.3.1: a label has a character at least.
#[tokio::test]
async fn a_wildcard_of_hosts_has_the_names_below_it_and_no_others() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::for_hosts("\"*.b.test\"", &[origin.address], "", "").await;
    for (host, status) in [
        ("x.b.test", 200),
        ("Y.X.B.test.", 200),
        ("b.test", 421),
        (".b.test", 421),
        ("xb.test", 421),
        ("x.b.test.evil", 421),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let got = rig.client().await.raw(request.as_bytes()).await;
        assert_eq!(got.status, status, "{host}: {got:?}");
    }
}

/// Row 21: a name is DNS's to lead anywhere, so it leads to public addresses only, or where the config says.
#[tokio::test]
async fn a_name_leads_to_no_private_address_that_the_config_does_not_name() {
    let origin = Origin::answering(|_| response("200 OK", "", "inside")).await;
    let port = origin.address.port();
    let get = async |host: &str, networks: &str| {
        let site = format!("origin_networks = [{networks}]");
        let rig = Rig::named(Clock::system(), "\"*\"", &[format!("{host}:{port}")], "", &site).await;
        rig.get("/").await
    };
    // No URL calls these an address, so they are names, and every resolver turns them into 127.0.0.1.
    for (number, name) in ["127.1", "2130706433", "0x7f.1"].into_iter().enumerate() {
        for elsewhere in ["", "\"10.0.0.0/8\", \"::1\""] {
            let got = get(name, elsewhere).await;
            assert_eq!(got.status, 502, "{name} {got:?}");
            assert!(got.field("proxy-status").contains("error=destination_ip_prohibited"), "{got:?}");
            assert_eq!(origin.connections(), number, "{name} was connected to");
        }
        assert_eq!(get(name, "\"127.0.0.0/8\"").await.text(), "inside");
    }
    assert_eq!(get("localhost", "").await.text(), "inside");
    assert_eq!(get("127.0.0.1", "").await.text(), "inside");
}

/// Row 24: however many ask at once, the origin is asked once; and when its answer breaks off, once more, not by all.
#[tokio::test]
async fn a_thundering_herd_is_one_request() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut herd = Vec::new();
    for _ in 0..400 {
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        herd.push(client);
    }
    rig.until("verge_edge_waiting", 400).await;
    origin.next().await.fail();
    let successor = origin.next().await;
    rig.until("verge_edge_waiting", 399).await;
    drop(successor);
    // Clients that waited for the answer that never came are told so; a second wave is one request again.
    for client in &mut herd {
        assert_eq!(client.response().await.status, 502);
    }
    assert_eq!(origin.count(), 2);
    for client in &mut herd {
        client.send_get("/a", "").await;
    }
    let asked = origin.next().await;
    asked.respond(&response("200 OK", FRESH, "hello")).await;
    for client in &mut herd {
        assert_eq!(client.response().await.text(), "hello");
    }
    assert_eq!(origin.count(), 3);
}
