//! The edge's choice of responses to store, and for how long.

use super::client::Client;
use super::rig::{Origin, Rig, response, soon};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

#[tokio::test]
async fn a_fresh_response_is_served_again_with_its_age() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    let first = rig.get("/a").await;
    first.assert_forwarded();
    assert_eq!((first.status, first.text().as_str()), (200, "hello"));
    rig.pass(5);
    let second = rig.get("/a").await;
    second.assert_hit();
    assert_eq!((second.status, second.text().as_str()), (200, "hello"));
    assert!(matches!(second.field("age").as_str(), "5" | "6"), "{second:?}");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_response_is_asked_for_again_when_its_time_is_over() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    rig.pass(61);
    rig.get("/a").await.assert_forwarded();
    rig.get("/a").await.assert_hit();
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn without_freshness_nothing_is_reused() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    for asked in 1..=3 {
        rig.get("/a").await.assert_forwarded();
        assert_eq!(origin.count(), asked);
    }
}

#[tokio::test]
async fn a_sites_default_ttl_gives_freshness() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let rig = Rig::with(&[origin.address], "", "default_ttl = \"10s\"").await;
    rig.get("/a").await.assert_forwarded();
    rig.get("/a").await.assert_hit();
    rig.pass(11);
    rig.get("/a").await.assert_forwarded();
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_stale_response_is_validated_and_a_304_makes_it_fresh() {
    let origin = Origin::answering(|head| {
        let fields = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";
        if head.to_ascii_lowercase().contains("if-none-match: \"v1\"") {
            format!("HTTP/1.1 304 Not Modified\r\n{fields}X-New: yes\r\n\r\n")
        } else {
            response("200 OK", fields, "hello")
        }
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    rig.pass(61);
    let validated = rig.get("/a").await;
    assert_eq!((validated.status, validated.text().as_str()), (200, "hello"));
    assert_eq!(validated.field("x-new"), "yes");
    assert!(validated.cache_status().contains("fwd=stale"), "{validated:?}");
    rig.get("/a").await.assert_hit();
    assert_eq!(origin.count(), 2);
    let seen = origin.seen();
    assert!(!seen[0].to_ascii_lowercase().contains("if-none-match"), "{}", seen[0]);
}

#[tokio::test]
async fn a_validated_response_that_changed_replaces_the_stored_one() {
    let origin = Origin::answering(|head| {
        let changed = head.to_ascii_lowercase().contains("if-none-match");
        let (tag, body) = if changed { ("\"v2\"", "new") } else { ("\"v1\"", "old") };
        response("200 OK", &format!("Cache-Control: max-age=60\r\nETag: {tag}\r\n"), body)
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    assert_eq!(rig.get("/a").await.text(), "old");
    rig.pass(61);
    assert_eq!(rig.get("/a").await.text(), "new");
    let hit = rig.get("/a").await;
    hit.assert_hit();
    assert_eq!(hit.text(), "new");
}

#[tokio::test]
async fn variants_are_kept_apart_and_each_is_served_again() {
    let origin = Origin::answering(|head| {
        let german = head.to_ascii_lowercase().contains("accept-language: de");
        response(
            "200 OK",
            &format!("{FRESH}Vary: Accept-Language\r\n"),
            if german { "hallo" } else { "hello" },
        )
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for _ in 0..2 {
        for (language, body) in [("de", "hallo"), ("en", "hello")] {
            let fields = format!("Accept-Language: {language}\r\n");
            assert_eq!(rig.client().await.get_with("/a", &fields).await.text(), body);
        }
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_conditional_request_is_answered_from_the_store() {
    let origin =
        Origin::answering(|_| response("200 OK", &format!("{FRESH}ETag: \"v1\"\r\n"), "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    let got = rig.client().await.get_with("/a", "If-None-Match: \"v1\"\r\n").await;
    assert_eq!((got.status, got.body.len()), (304, 0));
    let got = rig.client().await.get_with("/a", "If-None-Match: \"v2\"\r\n").await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_range_is_cut_from_the_stored_body() {
    let body: String = (0..50_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let whole = body.clone();
    let origin =
        Origin::answering(move |_| response("200 OK", &format!("{FRESH}ETag: \"v1\"\r\n"), &whole)).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    let got = rig.client().await.get_with("/a", "Range: bytes=40000-40009\r\n").await;
    assert_eq!((got.status, got.text().as_str()), (206, &body[40_000..40_010]));
    assert_eq!(got.field("content-range"), "bytes 40000-40009/50000");
    let got = rig.client().await.get_with("/a", "Range: bytes=-3\r\n").await;
    assert_eq!((got.status, got.text().as_str()), (206, &body[49_997..]));
    let got = rig.client().await.get_with("/a", "Range: bytes=50000-\r\n").await;
    assert_eq!(got.status, 416);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    let mut client = rig.client().await;
    client.write(b"HEAD /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let got = client.head().await;
    got.assert_hit();
    assert_eq!((got.status, got.field("content-length").as_str()), (200, "5"));
    // Nothing of a body is in the way of the next response.
    assert_eq!(client.get("/a").await.text(), "hello");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_unsafe_request_drops_what_is_stored() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    let post = b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 2\r\n\r\nxy";
    assert_eq!(rig.client().await.raw(post).await.status, 200);
    rig.get("/a").await.assert_forwarded();
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_change_takes_what_its_response_names_as_applications_write_it() {
    for (name, told) in [
        ("Location", "/\u{dc}ber uns?q={x}"),
        ("Content-Location", "http://site.test/\u{dc}ber%20uns?q={x}"),
        ("Location", "/%C3%9Cber%20uns?q=%7Bx%7D"),
    ] {
        let origin = Origin::answering(move |head| match head.starts_with("POST") {
            true => response("201 Created", &format!("{name}: {told}\r\n"), ""),
            false => response("200 OK", FRESH, "hello"),
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        let page = "/%C3%9Cber%20uns?q=%7Bx%7D";
        rig.get(page).await;
        rig.get(page).await.assert_hit();
        let post = b"POST /pages HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(rig.client().await.raw(post).await.status, 201);
        let after = rig.get(page).await;
        assert!(after.cache_status().contains("fwd="), "{name}: {told}: {after:?}");
    }
}

#[tokio::test]
async fn the_response_to_a_post_answers_a_later_get_if_it_says_so() {
    let origin = Origin::answering(|head| {
        let location = if head.starts_with("POST /own") { "Content-Location: /own\r\n" } else { "" };
        response("200 OK", &format!("{FRESH}{location}"), &head[..head.find(' ').unwrap()])
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    let check = async |path: &str, expected: &str| {
        rig.get(path).await;
        let post = format!(
            "POST {path} HTTP/1.1\r\nHost: site.test\r\nIf-None-Match: *\r\nContent-Length: 0\r\n\r\n"
        );
        let posted = rig.client().await.raw(post.as_bytes()).await;
        assert_eq!((posted.status, posted.text().as_str()), (200, "POST"));
        assert_eq!(rig.get(path).await.text(), expected, "{path}");
    };
    check("/own", "POST").await;
    check("/other", "GET").await;
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn hosts_are_kept_apart() {
    let origin = Origin::answering(|head| {
        let host = head.lines().find(|line| line.to_ascii_lowercase().starts_with("host:")).unwrap();
        response("200 OK", FRESH, host)
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for _ in 0..2 {
        for host in ["a.test", "b.test"] {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let got = rig.client().await.raw(request.as_bytes()).await;
            assert!(got.text().ends_with(host), "{got:?}");
        }
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn an_object_over_the_limit_is_passed_on_whole_and_not_kept() {
    let body = "x".repeat(300_000);
    let sent = body.clone();
    let origin = Origin::answering(move |_| response("200 OK", FRESH, &sent)).await;
    let rig = Rig::with(&[origin.address], "[cache]\nmemory = \"2MiB\"\nmax_object = \"200KB\"", "").await;
    for asked in 1..=2 {
        assert_eq!(rig.get("/a").await.text(), body);
        assert_eq!(origin.count(), asked);
    }
}

#[tokio::test]
async fn an_object_that_turns_out_too_big_is_passed_on_whole_and_not_kept() {
    let body = "x".repeat(300_000);
    let sent = body.clone();
    let origin = Origin::answering(move |_| {
        let chunks: String = sent
            .as_bytes()
            .chunks(50_000)
            .map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()))
            .collect();
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{FRESH}\r\n{chunks}0\r\n\r\n")
    })
    .await;
    let rig = Rig::with(&[origin.address], "[cache]\nmemory = \"2MiB\"\nmax_object = \"200KB\"", "").await;
    for asked in 1..=2 {
        assert_eq!(rig.get("/a").await.text(), body);
        assert_eq!(origin.count(), asked);
    }
}

/// The fetch has ended, and what its slow reader has still to read is stored: those bytes do not count twice.
#[tokio::test]
async fn what_is_stored_does_not_count_once_more_for_who_still_reads_it_as_it_came() {
    const BODY_BYTES: usize = 24 << 20;
    let body: String = (0..BODY_BYTES / 8).map(|n| format!("{n:8}")).collect();
    let sent = body.clone();
    let origin = Origin::answering(move |_| response("200 OK", FRESH, &sent)).await;
    let rig = Rig::with(&[origin.address], "[cache]\nmemory = \"128MiB\"\nmax_object = \"32MiB\"", "").await;
    let mut slow = Client::narrow(rig.public).await;
    slow.send_get("/a", "").await;
    let head = slow.head().await;
    let ended = async {
        while rig.metric("verge_edge_store_bytes ").await < BODY_BYTES as u64 {
            tokio::task::yield_now().await;
        }
    };
    soon("the object is stored", ended).await;
    rig.until("verge_edge_fill_bytes", 0).await;
    // It is the store's no more, but the reader's.
    rig.purge("/a").await;
    let (bytes, name) = (BODY_BYTES as u64, "verge_edge_fill_bytes ");
    soon("the reader has it", async { while rig.metric(name).await < bytes {} }).await;
    // Its blocks count, which the allocator rounds up by a quarter at most.
    assert!(rig.metric(name).await <= bytes + bytes / 4);
    assert!(slow.body(&head).await.is_some_and(|got| got == body.as_bytes()));
    rig.until("verge_edge_fill_bytes", 0).await;
}

#[tokio::test]
async fn memory_stays_within_its_bound() {
    let origin = Origin::answering(|_| response("200 OK", FRESH, &"x".repeat(100_000))).await;
    let rig = Rig::with(&[origin.address], "[cache]\nmemory = \"2MiB\"\neviction = \"lru\"", "").await;
    for n in 0..60 {
        rig.get(&format!("/{n}")).await;
    }
    let stored = rig.metric("verge_edge_store_bytes ").await;
    assert!((500_000..=2 << 20).contains(&stored), "{stored}");
    assert!(rig.metric("verge_edge_fill_bytes ").await <= (2 << 20) / 4);
}

/// Variants of one URL take an eighth of the memory at most, and a new one the place of the oldest.
#[tokio::test]
async fn variants_of_one_url_leave_the_rest_of_the_cache_alone() {
    let origin = Origin::answering(|head| match head.contains("GET /many ") {
        true => response("200 OK", "Cache-Control: max-age=60\r\nVary: X\r\n", &"x".repeat(500_000)),
        false => response("200 OK", FRESH, &"y".repeat(20_000)),
    })
    .await;
    let rig = Rig::with(&[origin.address], "[cache]\nmemory = \"16MiB\"\neviction = \"lru\"", "").await;
    let small = || (0..50).map(|n| format!("/{n}"));
    for path in small() {
        rig.get(&path).await;
    }
    for n in 0..30 {
        rig.client().await.get_with("/many", &format!("X: {n}\r\n")).await.assert_forwarded();
    }
    for path in small() {
        rig.get(&path).await.assert_hit();
    }
    rig.client().await.get_with("/many", "X: 29\r\n").await.assert_hit();
    rig.client().await.get_with("/many", "X: 0\r\n").await.assert_forwarded();
}

#[tokio::test]
async fn made_up_variants_do_not_switch_the_cache_off() {
    let origin =
        Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\nVary: X\r\n", "x")).await;
    let rig = Rig::start(&[origin.address]).await;
    for n in 0..100 {
        rig.client().await.get_with("/a", &format!("X: {n}\r\n")).await.assert_forwarded();
    }
    rig.get("/a").await.assert_forwarded();
    rig.get("/a").await.assert_hit();
    rig.client().await.get_with("/a", "X: 99\r\n").await.assert_hit();
    rig.client().await.get_with("/a", "X: 1\r\n").await.assert_forwarded();
}
