//! Clients that take or give bytes slowly: what they may cost others, and the memory.

use std::time::Duration;

use super::client::Client;
use super::rig::{Origin, Rig, response, soon};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
/// Far more than the sockets between take of what is not read.
const BODY_BYTES: usize = 20 << 20;
/// Objects of [`BODY_BYTES`] can be kept.
const ROOMY: &str = "[cache]\nmemory = \"96MiB\"\nmax_object = \"24MiB\"\n";

async fn big() -> std::sync::Arc<Origin> {
    let body = "x".repeat(BODY_BYTES);
    Origin::answering(move |_| response("200 OK", FRESH, &body)).await
}

/// Moves the clock in small steps until so many clients have been dropped for this.
async fn until_dropped(rig: &Rig, why: &str, step: Duration) {
    soon(why, async {
        while rig.dropped(why).await == 0 {
            rig.clock.advance(step);
        }
    })
    .await;
}

/// The number of a member of the document for name servers.
async fn told(rig: &Rig, member: &str) -> f64 {
    let text = rig.get("/.well-known/verge/health").await.text();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document[member].as_f64().unwrap_or_else(|| panic!("{text} has no {member}"))
}

/// So that name servers send fewer clients to an edge whose clients take less than it has for them.
#[tokio::test]
async fn bytes_that_clients_have_not_taken_are_told_and_are_a_part_of_the_load() {
    let origin = big().await;
    let top = format!("{ROOMY}[limits]\nbytes_in_flight = \"20MiB\"");
    let rig = Rig::with(&[origin.address], &top, "").await;
    let all_taken = async || {
        soon("the last byte", async { while told(&rig, "bytes").await > 0.0 {} }).await;
    };
    assert_eq!(rig.get("/a").await.text().len(), BODY_BYTES);
    all_taken().await;
    assert!((told(&rig, "bytes_limit").await - 20.0 * f64::from(1 << 20)).abs() < 1.0);
    let mut stopped = Client::narrow(rig.public).await;
    stopped.send_get("/a", "").await;
    // A part of it is in the sockets between.
    let half = f64::from(10 << 20);
    soon("the bytes", async { while told(&rig, "bytes").await < half {} }).await;
    assert!(told(&rig, "load").await > 0.5);
    rig.until("verge_edge_in_flight_bytes", told(&rig, "bytes").await as u64).await;
    drop(stopped);
    all_taken().await;
}

/// A response of unknown length that outgrows what may be kept, read by one who stops and one who does not.
#[tokio::test]
async fn a_client_that_stops_reading_does_not_stop_another_that_reads_the_same_response() {
    let origin = Origin::start().await;
    let top = "[cache]\nmemory = \"16MiB\"\nmax_object = \"1MiB\"\n[limits]\nstall_timeout = \"1h\"";
    let rig = Rig::with(&[origin.address], top, "").await;
    let (mut stopped, mut quick) = (Client::narrow(rig.public).await, rig.client().await);
    stopped.send_get("/a", "").await;
    let mut asked = origin.next().await;
    quick.send_get("/a", "").await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let heads = (stopped.head().await, quick.head().await);
    tokio::spawn(async move {
        let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
        for _ in 0..BODY_BYTES / 0x10000 {
            asked.write(&chunk).await;
        }
        asked.write(b"0\r\n\r\n").await;
        asked.done();
    });
    let reading = tokio::spawn(async move { quick.body(&heads.1).await });
    until_dropped(&rig, "left-behind", Duration::from_millis(100)).await;
    assert_eq!(soon("the quick one's end", reading).await.unwrap().map(|body| body.len()), Some(BODY_BYTES));
    assert_eq!(stopped.body(&heads.0).await, None, "the other must not look whole");
    // A client that asks again does not depend on others for a while.
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    one.send_get("/a", "").await;
    two.send_get("/a", "").await;
    let _both = (origin.next().await, origin.next().await);
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_client_that_reads_alone_sets_the_pace() {
    let origin = Origin::start().await;
    let top = "[cache]\nmemory = \"16MiB\"\nmax_object = \"1MiB\"";
    let rig = Rig::with(&[origin.address], top, "").await;
    let mut client = Client::narrow(rig.public).await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let head = client.head().await;
    tokio::spawn(async move {
        let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
        for _ in 0..BODY_BYTES / 0x10000 {
            asked.write(&chunk).await;
        }
        asked.write(b"0\r\n\r\n").await;
        asked.done();
    });
    for _ in 0..5 {
        rig.clock.advance(Duration::from_secs(10));
        rig.metric("verge_edge_fill_bytes ").await;
    }
    assert_eq!(client.body(&head).await.map(|body| body.len()), Some(BODY_BYTES));
    assert_eq!(rig.dropped("left-behind").await, 0);
}

#[tokio::test]
async fn a_client_that_takes_no_byte_is_dropped_after_the_stall_timeout() {
    let origin = big().await;
    let rig = Rig::with(&[origin.address], &format!("{ROOMY}[limits]\nmin_rate = \"0B\""), "").await;
    let mut client = Client::narrow(rig.public).await;
    client.send_get("/a", "").await;
    let head = client.head().await;
    until_dropped(&rig, "stalled", Duration::from_secs(5)).await;
    assert_eq!(client.body(&head).await, None, "the rest is not sent any more");
}

/// Linux lets a socket be written again only when a third of its buffer is free: megabytes, where it was fast at first.
#[tokio::test]
async fn a_client_that_reads_twice_as_fast_as_it_must_is_not_dropped_however_little_that_is() {
    let origin = big().await;
    let rig = Rig::with(&[origin.address], ROOMY, "").await;
    let mut client = Client::narrow(rig.public).await;
    client.send_get("/a", "").await;
    client.head().await;
    for _ in 0..20 {
        client.bytes(50 * 2 * 240).await;
        rig.clock.advance(Duration::from_secs(50));
        assert_eq!((rig.dropped("stalled").await, rig.dropped("below-min-rate").await), (0, 0));
    }
    // And no longer than it reads.
    soon("the end of its grace", async {
        while rig.dropped("stalled").await + rig.dropped("below-min-rate").await == 0 {
            rig.clock.advance(Duration::from_secs(5));
        }
    })
    .await;
}

/// Reads as little as lets the edge write again, fifty seconds after the last time; so often, or until it is dropped.
async fn drip(rig: &Rig, client: &mut Client, times: usize) {
    for _ in 0..times {
        let before = rig.metric("verge_edge_sent_bytes").await;
        while rig.metric("verge_edge_sent_bytes").await == before {
            if client.try_bytes(0x10000).await.is_none() {
                return;
            }
        }
        rig.clock.advance(Duration::from_secs(50));
    }
}

#[tokio::test]
async fn a_client_that_drips_is_dropped_although_it_never_stalls() {
    let origin = big().await;
    let rig = Rig::with(&[origin.address], &format!("{ROOMY}[limits]\nmin_rate = \"1MB\""), "").await;
    let mut client = Client::narrow(rig.public).await;
    client.send_get("/a", "").await;
    let head = client.head().await;
    drip(&rig, &mut client, usize::MAX).await;
    assert_eq!((rig.dropped("below-min-rate").await, rig.dropped("stalled").await), (1, 0));
    assert_eq!(client.body(&head).await, None);
}

#[tokio::test]
async fn without_a_lowest_rate_a_client_may_drip() {
    let origin = big().await;
    let rig = Rig::with(&[origin.address], &format!("{ROOMY}[limits]\nmin_rate = \"0B\""), "").await;
    let mut client = Client::narrow(rig.public).await;
    client.send_get("/a", "").await;
    client.head().await;
    let (before, times) = (rig.metric("verge_edge_sent_bytes").await, 5);
    drip(&rig, &mut client, times).await;
    assert!(rig.metric("verge_edge_sent_bytes").await > before);
    assert_eq!((rig.dropped("below-min-rate").await, rig.dropped("stalled").await), (0, 0));
    client.bytes(0x10000).await;
}

#[tokio::test]
async fn a_request_body_that_drips_is_dropped_and_the_client_is_told() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.write(b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1000000\r\n\r\n").await;
    client.write(b"0123456789").await;
    let mut asked = origin.next().await;
    asked.read(10).await;
    soon("the client being dropped", async {
        while rig.dropped("below-min-rate").await == 0 {
            rig.clock.advance(Duration::from_secs(50));
            if client.try_write(b"0123456789").await.is_ok() && rig.dropped("below-min-rate").await == 0 {
                asked.read(10).await;
            }
        }
    })
    .await;
    assert_eq!(rig.dropped("stalled").await, 0);
    assert_eq!(client.response().await.status, 408);
    asked.hung_up().await;
}

/// Three in a row would take the origin out of service for a while.
#[tokio::test]
async fn an_origin_that_waits_for_a_slow_upload_is_not_late() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "first_byte_timeout = \"50ms\"").await;
    let (mut uploading, mut other) = (rig.client().await, rig.client().await);
    uploading.write(b"POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\n01234").await;
    let mut asked = origin.next().await;
    asked.read(5).await;
    // Later requests have run out of time by now: so the time was over for the first one, too.
    for path in ["/b", "/c"] {
        other.send_get(path, "").await;
        assert_eq!(other.response().await.status, 504);
        let _late = origin.next().await;
    }
    asked.respond(&response("200 OK", "", "stored")).await;
    assert_eq!(uploading.response().await.text(), "stored");
}

/// A body that a purge, an eviction or a replacement removes stays in memory while somebody reads it.
#[tokio::test]
async fn what_is_read_though_no_longer_stored_counts_until_its_memory_is_needed_for_what_is_to_be_kept() {
    let body = "x".repeat(BODY_BYTES);
    let small = "y".repeat(BODY_BYTES / 2);
    let origin = Origin::answering(move |head| {
        response("200 OK", FRESH, if head.contains("/other") { &small } else { &body })
    })
    .await;
    let rig = Rig::with(&[origin.address], ROOMY, "").await;
    rig.get("/a").await;
    let mut slow = Client::narrow(rig.public).await;
    slow.send_get("/a", "").await;
    let head = slow.head().await;
    head.assert_hit();
    let taken = async || rig.metric("verge_edge_fill_bytes ").await;
    soon("the fetch's readers being gone", async { while taken().await > 0 {} }).await;
    rig.purge("/a").await;
    // Its blocks count, which the allocator rounds up by a quarter at most.
    let bytes = BODY_BYTES as u64;
    assert!((bytes..=bytes + bytes / 4).contains(&taken().await));
    let got = rig.get("/other").await;
    assert_eq!(got.body.len(), BODY_BYTES / 2);
    assert_eq!(rig.dropped("let-go").await, 1);
    assert_eq!(slow.body(&head).await, None, "it must not look whole");
    rig.get("/other").await.assert_hit();
    soon("all being given back", async { while taken().await > 0 {} }).await;
}

/// More than what fills may take together, and each client reads as little as it may.
#[tokio::test]
async fn slow_readers_of_what_is_stored_keep_nothing_out() {
    let body = "x".repeat(BODY_BYTES / 2);
    let origin = Origin::answering(move |head| {
        response("200 OK", FRESH, if head.contains("/small") { "small" } else { &body })
    })
    .await;
    let rig = Rig::with(&[origin.address], ROOMY, "").await;
    let mut slow = Vec::new();
    for number in 0..5 {
        let mut client = Client::narrow(rig.public).await;
        client.send_get(&format!("/{number}"), "").await;
        let head = client.head().await;
        assert!(head.cache_status().contains("stored"), "{head:?}");
        soon("its being stored", async {
            while rig.metric("verge_edge_store_keys ").await <= number {
                tokio::task::yield_now().await;
            }
        })
        .await;
        slow.push((client, head));
    }
    rig.until("verge_edge_fill_bytes", 0).await;
    rig.get("/small").await.assert_forwarded();
    rig.get("/small").await.assert_hit();
    for (mut client, head) in slow {
        assert_eq!(client.body(&head).await.map(|body| body.len()), Some(BODY_BYTES / 2));
    }
}

/// Two that are being fetched have no room beside one another.
#[tokio::test]
async fn what_there_is_no_memory_for_is_not_said_to_be_stored() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "[cache]\nmemory = \"16MiB\"\nmax_object = \"3MiB\"", "").await;
    let (mut one, mut two, mut three) = (rig.client().await, rig.client().await, rig.client().await);
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {}\r\n\r\n", 3 << 20);
    let body = vec![b'x'; 3 << 20];
    one.send_get("/one", "").await;
    let mut first = origin.next().await;
    first.write(head.as_bytes()).await;
    let one_head = one.head().await;
    assert!(one_head.cache_status().ends_with("; stored; ttl=60"), "{one_head:?}");
    two.send_get("/two", "").await;
    let mut second = origin.next().await;
    three.send_get("/two", "").await;
    rig.until("verge_edge_waiting", 2).await;
    second.write(head.as_bytes()).await;
    for client in [&mut two, &mut three] {
        let head = client.head().await;
        let status = head.cache_status();
        assert!(!status.contains("stored") && status.ends_with("; detail=no-memory"), "{head:?}");
    }
    // Neither waits long for the other, so both read.
    let ((), got_two, got_three) =
        tokio::join!(second.write(&body), two.bytes(body.len()), three.bytes(body.len()));
    assert!(got_two == body && got_three == body);
    first.write(&body).await;
    assert!(one.bytes(body.len()).await == body);
    rig.get("/one").await.assert_hit();
    assert_eq!(origin.count(), 2);
}

/// There is room for one encoder, and a client that does not read has it.
#[tokio::test]
async fn an_encoder_does_not_wait_long_for_who_reads_slowly_what_is_not_kept() {
    let origin = Origin::start().await;
    let top = "[cache]\nmemory = \"36MiB\"\nmax_object = \"1MiB\"\n[limits]\nstall_timeout = \"1h\"";
    let rig = Rig::with(&[origin.address], top, "compress = [\"br\"]").await;
    let mut slow = Client::narrow(rig.public).await;
    let accepts = "Accept-Encoding: br\r\n";
    let css = format!("{FRESH}Content-Type: text/css\r\n");
    slow.send_get("/a", accepts).await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{css}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let head = slow.head().await;
    assert_eq!(head.field("content-encoding"), "br");
    let sending = tokio::spawn(async move {
        // Bytes that brotli cannot make smaller.
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        loop {
            let chunk: Vec<u8> = (0..0x10000).map(|_| noise()).collect();
            asked.write(&[b"10000\r\n", &chunk[..], b"\r\n"].concat()).await;
        }
    });
    until_dropped(&rig, "let-go", Duration::from_secs(1)).await;
    sending.abort();
    assert_eq!(slow.body(&head).await, None, "it must not look whole");
    let mut other = rig.client().await;
    other.send_get("/b", accepts).await;
    origin.next().await.respond(&response("200 OK", &css, &"page ".repeat(1000))).await;
    assert_eq!(other.response().await.field("content-encoding"), "br");
}

/// RFC 9110 §15.5.9; a connection that is idle for as long as it may be is closed without a word.
#[tokio::test]
async fn a_head_that_is_late_is_told_so_and_an_idle_connection_is_not() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let limits = "[limits]\nhead_timeout = \"1s\"\nidle_timeout = \"2s\"";
    let rig = Rig::with(&[origin.address], limits, "").await;
    for before in [0, 1] {
        let mut client = rig.client().await;
        for _ in 0..before {
            assert_eq!(client.get("/a").await.text(), "hello");
        }
        client.write(b"GET /a HTTP/1.1\r\nHost: site.te").await;
        let got = client.response().await;
        assert_eq!((got.status, got.field("connection").as_str()), (408, "close"));
        assert!(client.is_closed().await);
    }
    let begun = verge_edge::clock::monotonic();
    let mut new = rig.client().await;
    assert!(new.is_closed().await, "nothing came");
    assert!(begun.elapsed() >= Duration::from_millis(990));
    let mut idle = rig.client().await;
    assert_eq!(idle.get("/a").await.text(), "hello");
    let begun = verge_edge::clock::monotonic();
    assert!(idle.is_closed().await, "no further request came");
    assert!(begun.elapsed() >= Duration::from_millis(1990), "{:?}", begun.elapsed());
    assert_eq!(origin.count(), 2);
}

/// The limits are on clients: an answer may take longer than they are.
#[tokio::test]
async fn a_client_that_waits_for_its_answer_is_not_idle() {
    let origin = Origin::start().await;
    let limits = "[limits]\nhead_timeout = \"50ms\"\nidle_timeout = \"50ms\"";
    let rig = Rig::with(&[origin.address], limits, "").await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    // Another connection is closed meanwhile, so the time is over.
    assert!(rig.client().await.is_closed().await);
    asked.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
    let head = client.head().await;
    assert!(rig.client().await.is_closed().await);
    asked.write(b"-last").await;
    asked.done();
    assert_eq!(client.body(&head).await.unwrap(), b"first-last");
}
