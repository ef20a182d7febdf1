//! Attacks on caches (the classes of `design/EDGE.md` §2), each through a whole edge.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use verge_edge::http::head::{RequestHead, ResponseHead};
use verge_edge::policy::encoding::{self, Coding};
use verge_edge::policy::headers::origin::{self, Ask, Hop};
use verge_edge::policy::headers::{end_to_end, received};
use verge_edge::policy::{Admit, Entry, Reuse, admit, reuse, select};
use verge_edge::serve::h1::gate::framing::Framing;
use verge_edge::site::Rules;
use verge_edge::site::key::{Keep, KeyRules, Order, Query, key};
use verge_edge::site::pattern::{NamePattern, PathPattern};
use verge_edge::site::tags::TagFields;

use super::rig::{Origin, Rig, response};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// Class 1: what the origin heeds and the key ignores.
#[tokio::test]
async fn no_unkeyed_field_of_one_client_reaches_another_through_the_origin() {
    // An origin that puts all it is told into its page.
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let rig = Rig::start(&[origin.address]).await;
    for (number, name) in POISONS.iter().enumerate() {
        let path = format!("/{number}");
        rig.client().await.get_with(&path, &format!("{name}: evil\r\n")).await;
        let clean = rig.get(&path).await;
        clean.assert_hit();
        assert!(!clean.text().contains("evil"), "{name}: {}", clean.text());
    }
}

/// Fields that frameworks and gateways take for the request's own host, scheme, path, method or client, and
/// that scripts of old take for their environment's.
const POISONS: &[&str] = &[
    "X-Astro-Path",
    "Forwarded",
    "Forwarded-For",
    "Forwarded-Host",
    "Forwarded-Proto",
    "Front-End-Https",
    "Proxy",
    "X-Forwarded",
    "X-Forwarded-By",
    "X-Forwarded-For",
    "X-Forwarded-For-Original",
    "X-Forwarded-Host",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-SSL",
    "X-Forwarded-URI",
    "X-Forwarded-URL",
    "X-Forwarder-For",
    "X-HTTP-DestinationURL",
    "X-HTTP-Host-Override",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-HTTP-Path-Override",
    "X-Host",
    "X-Host-Override",
    "X-Method-Override",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-Path",
    "X-Original-URI",
    "X-Original-URL",
    "X-Override-URL",
    "X-Proxy-Host",
    "X-Proxy-URL",
    "X-React-Router-Prerender-Data",
    "X-React-Router-SPA-Mode",
    "X-Request-URI",
    "X-Rewrite-URI",
    "X-Rewrite-URL",
    "X-Scheme",
    "X-URL-Scheme",
];

/// Class 2: what shares a key is the same to the origin.
#[tokio::test]
async fn requests_that_an_origin_could_tell_apart_share_nothing() {
    let origin = Origin::answering(|head| {
        let target = head.split(' ').nth(1).unwrap();
        let host = head.lines().find(|line| line.to_ascii_lowercase().starts_with("host:")).unwrap();
        response("200 OK", FRESH, &format!("{target} {host}"))
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    let mut seen = std::collections::HashSet::new();
    for (path, host) in [
        ("/a?a=1&b", "s.test"),
        ("/a?a=1;b", "s.test"),
        ("/a?a=1&b=", "s.test"),
        ("/a?b&a=1", "s.test"),
        ("/a;a=1?b", "s.test"),
        ("/a%3Fa=1&b", "s.test"),
        ("/a?a=1&b", "s.test:1337"),
        ("/a?a=1%26b", "s.test"),
        ("/a%2F", "s.test"),
        ("/a/", "s.test"),
        ("//a/", "s.test"),
        ("/a?", "s.test"),
        ("/a", "s.test"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        for _ in 0..2 {
            let got = rig.client().await.raw(request.as_bytes()).await;
            assert!(got.text().starts_with(path), "{path} got {}", got.text());
            seen.insert(got.text());
        }
    }
    assert_eq!(seen.len(), origin.count());
}

/// Class 2: a GET whose body says more than its key.
#[tokio::test]
async fn a_get_with_a_body_neither_fills_nor_reads_the_store() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    let fat = b"GET /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 6\r\n\r\nid=2&x";
    rig.client().await.raw(fat).await.assert_forwarded();
    rig.get("/a").await.assert_forwarded();
    rig.get("/a").await.assert_hit();
    rig.client().await.raw(fat).await.assert_forwarded();
    assert_eq!(origin.count(), 3);
}

/// A length that is not the body's ends an answer somewhere else: what is behind that end would be the next answer.
#[tokio::test]
async fn no_origin_has_a_stored_answer_end_where_its_body_does_not() {
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let body = format!("hello{smuggled:.<100}");
    for named in ["transfer-encoding", "content-length, Transfer-Encoding", "keep-alive, transfer-encoding"] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: {named}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n{FRESH}\r\n"
        );
        let answer = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let origin = Origin::answering(move |_| answer.clone()).await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        let first = client.get("/a").await;
        assert_eq!(first.text(), body, "{named}: {first:?}");
        for _ in 0..2 {
            let hit = client.get("/a").await;
            hit.assert_hit();
            assert_eq!((hit.field("content-length"), hit.text()), (body.len().to_string(), body.clone()));
        }
        let part = client.get_with("/a", "Range: bytes=2-6\r\n").await;
        assert_eq!((part.status, part.text().as_str()), (206, "lloHT"));
        client.write(b"HEAD /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("content-length")), (200, body.len().to_string()), "{named}");
        // The next answer follows, and nothing before it.
        let last = client.get("/a").await;
        assert_eq!((last.status, last.text(), origin.count()), (200, body.clone(), 1), "{named}: {last:?}");
    }
}

/// Class 3: cache deception, with the rule that invites it.
#[tokio::test]
async fn a_private_page_under_a_files_name_is_not_kept_by_the_sites_rules() {
    let origin = Origin::answering(|head| {
        let who = if head.contains("session=1") { "alice" } else { "nobody" };
        response("200 OK", "Content-Type: text/html\r\n", who)
    })
    .await;
    let rules = "default_ttl = \"60s\"\n[[site.ttl]]\npath = \"*.css\"\nttl = \"1h\"\n[[site.ttl]]\npath = \"/static/*\"\nttl = \"1h\"";
    let rig = Rig::with(&[origin.address], "", rules).await;
    for path in [
        "/account/x.css",
        "/account;x.css",
        "/account%2fx.js",
        "/static/..%2faccount%2fx.css",
        "/account%00.css",
        "/account%0a.png",
        "/static/../account/x.gif",
    ] {
        let own = rig.client().await.get_with(path, "Cookie: session=1\r\n").await;
        if own.status == 400 {
            continue;
        }
        assert_eq!(own.text(), "alice", "{path}");
        let other = rig.get(path).await;
        other.assert_forwarded();
        assert_eq!(other.text(), "nobody", "{path}");
    }
}

/// Class 9: a request that makes an origin refuse must not make a cold key an error for others.
#[tokio::test]
async fn an_error_that_one_client_provoked_is_not_served_to_the_next() {
    let origin = Origin::answering(|head| {
        let head = head.to_ascii_lowercase();
        if head.contains("x-http-method-override") {
            response("405 Method Not Allowed", "", "no")
        } else if head.contains("x-odd") {
            response("400 Bad Request", "", "no")
        } else if head.len() > 8_000 {
            response("431 Request Header Fields Too Large", "", "no")
        } else {
            response("200 OK", FRESH, "fine")
        }
    })
    .await;
    let rig = Rig::with(&[origin.address], "", "default_ttl = \"60s\"\nnegative_ttl = \"60s\"").await;
    let oversize = format!("X-Long: {}\r\n", "a".repeat(9_000));
    for (number, fields) in
        ["X-HTTP-Method-Override: DELETE\r\n", "X-Odd: y\r\n", &oversize].into_iter().enumerate()
    {
        let path = format!("/{number}");
        rig.client().await.get_with(&path, fields).await;
        let clean = rig.get(&path).await;
        assert_eq!((clean.status, clean.text().as_str()), (200, "fine"), "{fields:.30}");
    }
    // A character that origins refuse is refused here.
    let asked = origin.count();
    let control = b"GET /9 HTTP/1.1\r\nHost: site.test\r\nX-Odder: \x07\r\n\r\n";
    assert_eq!(rig.client().await.raw(control).await.status, 400);
    assert_eq!(origin.count(), asked);
    assert_eq!(rig.get("/9").await.status, 200);
}

/// Class 26: variants are bounded, and who comes later takes the place of who came first.
#[tokio::test]
async fn a_thousand_user_agents_make_no_more_variants_than_the_bound() {
    let fields = format!("{FRESH}Vary: User-Agent\r\n");
    let origin = Origin::answering(move |_| response("200 OK", &fields, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    for number in 0..1_000 {
        let got = client.get_with("/a", &format!("User-Agent: a{number}\r\n")).await;
        assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    }
    let mut hits = 0;
    // The newest first: a miss makes a new variant, which takes the place of an old one.
    for number in (0..1_000).rev() {
        let got = client.get_with("/a", &format!("User-Agent: a{number}\r\n")).await;
        hits += usize::from(got.cache_status().contains("; hit"));
    }
    assert_eq!(hits, 64);
}

/// Class 23: names that collide under a sum, a xor or a multiplication by 31 or 33 of their letters.
#[tokio::test]
async fn crafted_parameters_and_cookies_collide_with_nothing() {
    let words: Vec<String> =
        (0..64u32).map(|n| (0..6).map(|bit| if n >> bit & 1 == 1 { "Aa" } else { "BB" }).collect()).collect();
    let (origin, rig) = {
        let origin =
            Origin::answering(|head| response("200 OK", FRESH, head.split(' ').nth(1).unwrap())).await;
        let rules = "[site.key]\nquery_sorted = true\ncookies = [\"id\"]";
        let rig = Rig::with(&[origin.address], "", rules).await;
        (origin, rig)
    };
    let mut client = rig.client().await;
    for _ in 0..2 {
        for word in &words {
            let path = format!("/?{word}=1&z");
            assert_eq!(client.get_with(&path, &format!("Cookie: id={word}\r\n")).await.text(), path);
        }
    }
    assert_eq!(origin.count(), words.len());
}

/// Class 23: what a client or an origin chooses costs work in proportion to its length. Each is 200,000 elements long,
/// a hundred times what a head may be; work by its square would be 40 billion steps, which no machine does in the time
/// that this waits for, and linear work is done in a moment.
#[test]
fn nothing_that_is_sent_costs_the_square_of_its_length() {
    const MANY: usize = 200_000;
    let list = |element: &dyn Fn(usize) -> String, between: &str| {
        (0..MANY).map(element).collect::<Vec<_>>().join(between)
    };
    let distinct = |prefix: &'static str| move |n: usize| format!("{prefix}{n:x}");
    // From the last to the first: the worst for sorting by insertion.
    let falling = list(&|n| format!("p{:06}=1", MANY - n), "&");
    linear("a query that is sorted", move || {
        let query = Query { keep: Keep::All, order: Order::Sorted };
        assert!(query.normal(&falling).unwrap().starts_with("p000001=1&"));
    });
    let same = list(&|_| "a=1".to_owned(), "&");
    linear("a query of one name", move || {
        let query = Query { keep: Keep::Except(vec!["b*".into()]), order: Order::Sorted };
        assert_eq!(query.normal(&same).unwrap().len(), same.len());
    });
    let cookies = field("cookie", &list(&|n| format!("c{n:x}=1"), "; "));
    linear("cookies", move || {
        let rules = KeyRules {
            cookies: ["c7", "none"].map(|name| NamePattern::parse(name).unwrap()).into(),
            ..KeyRules::default()
        };
        key(&get(cookies), &rules);
    });
    for (name, between) in [
        ("cache-control", ", "),
        ("accept-encoding", ", "),
        ("if-none-match", ", "),
        ("cdn-loop", ", "),
        ("connection", ", "),
        ("vary", ", "),
        ("surrogate-key", " "),
        ("cdn-cache-control", ", "),
    ] {
        let quoted = |n: usize| format!("\"{n:x}\"");
        let text =
            if name == "if-none-match" { list(&quoted, between) } else { list(&distinct("x"), between) };
        let headers = field(name, &text);
        linear(name, move || judged(headers));
    }
    let ranges = field("range", &format!("bytes={}", list(&|n| format!("{n}-{}", n + 1), ",")));
    linear("range", move || judged(ranges));
    let pattern = PathPattern::parse("/*a*a*a*b").unwrap();
    linear("a path", move || assert!(!pattern.matches(&format!("/{}", "a".repeat(MANY)))));
    let field_line = "a: b\r\n".repeat(MANY / 6);
    linear("a head that comes byte by byte", move || {
        let mut framing = Framing::new(2 * MANY);
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n{field_line}", "a".repeat(MANY));
        for end in 1..head.len() {
            framing.judge(&head.as_bytes()[..end]);
        }
    });
}

/// All that is asked about a request and a response with these fields.
fn judged(headers: HeaderMap) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let rules = Rules::default();
    let mut request = received(get(headers.clone()), &[]);
    encoding::normalise(&mut request.headers, &[Coding::Br, Coding::Gzip]);
    let mut headers = end_to_end(&headers);
    headers.insert("etag", HeaderValue::from_static("\"none\""));
    headers.append("cache-control", HeaderValue::from_static("max-age=60"));
    let response = ResponseHead { status: StatusCode::OK, headers };
    let _ = TagFields::default().of(&response.headers);
    let hop = Hop {
        name: "edge",
        client: [192, 0, 2, 1].into(),
        version: Version::HTTP_11,
        limits: (64 << 20).into(),
    };
    let _ = origin::fields(&request, &Ask::AsSent, &hop);
    if let Admit::Keep(lifetime) = admit(&request, &response, now, &rules, now) {
        let entry = Entry::new(&request, &response, lifetime, now, now, Some(1_000_000));
        if let Reuse::Fresh { .. } = reuse(&request, &[&entry], &rules, now) {
            select(&request, &entry);
        }
    }
}

fn get(headers: HeaderMap) -> RequestHead {
    RequestHead { method: Method::GET, uri: "http://site.test/".parse().unwrap(), headers }
}

fn field(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
}

/// Done within a time that linear work does not need on any machine, and quadratic work exceeds on all.
#[track_caller]
fn linear(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    wait.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{what}: {error}"));
}
