//! Sharing of fetches: responses for one request only, responses to validate, long ones, ranges.

use super::client::Client;
use super::rig::{Origin, Rig, response};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

fn field(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
}

/// Clients that ask with these lines, one for each, and all wait, beside `before` others.
async fn waiting(rig: &Rig, before: usize, fields: &[String]) -> Vec<Client> {
    let mut clients = Vec::new();
    for lines in fields {
        let mut client = rig.client().await;
        client.send_get("/a", lines).await;
        clients.push(client);
    }
    rig.until("verge_edge_waiting", (before + fields.len()) as u64).await;
    clients
}

async fn all_get(clients: &mut [Client], status: u16, text: &str) {
    for client in clients {
        let got = client.response().await;
        assert_eq!((got.status, got.text().as_str()), (status, text), "{got:?}");
    }
}

fn times(count: usize, fields: &str) -> Vec<String> {
    vec![fields.to_owned(); count]
}

#[tokio::test]
async fn nobody_waits_for_a_response_that_will_be_for_its_request_only() {
    for own in ["Cache-Control: no-store\r\n", "Authorization: x\r\n"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut leader = waiting(&rig, 0, &times(1, own)).await;
        let first = origin.next().await;
        let mut others = waiting(&rig, 1, &times(10, "")).await;
        first.respond(&response("200 OK", FRESH, "for one")).await;
        all_get(&mut leader, 200, "for one").await;
        origin.next().await.respond(&response("200 OK", FRESH, "for all")).await;
        all_get(&mut others, 200, "for all").await;
        assert_eq!(origin.count(), 2, "{own}");
    }
}

#[tokio::test]
async fn requests_with_authorization_share_what_is_public_and_else_ask_at_once() {
    let own = "Authorization: x\r\n";
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = waiting(&rig, 0, &times(5, own)).await;
    origin.next().await.respond(&response("200 OK", "Cache-Control: public, max-age=9\r\n", "public")).await;
    all_get(&mut clients, 200, "public").await;
    assert_eq!(origin.count(), 1);

    rig.purge("/a").await;
    let mut clients = waiting(&rig, 0, &times(3, own)).await;
    origin.next().await.respond(&response("200 OK", FRESH, "own")).await;
    // The others are both here before either is answered, and so is who comes later.
    let mut asked = vec![origin.next().await, origin.next().await];
    clients.extend(waiting(&rig, 2, &times(2, own)).await);
    asked.extend([origin.next().await, origin.next().await]);
    for asked in asked {
        asked.respond(&response("200 OK", FRESH, "own")).await;
    }
    all_get(&mut clients, 200, "own").await;
}

#[tokio::test]
async fn a_cold_object_that_is_asked_for_from_its_first_byte_on_is_fetched_once() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut fields = times(10, "Range: bytes=0-\r\n");
    fields.extend(times(2, "Range: bytes=x\r\n"));
    let mut clients = waiting(&rig, 0, &fields).await;
    let mut asked = origin.next().await;
    assert_eq!(field(&asked.head, "range"), None);
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 10\r\n\r\n01234").as_bytes()).await;
    for client in &mut clients[..10] {
        let head = client.head().await;
        assert_eq!((head.status, head.field("content-range")), (206, "bytes 0-9/10".into()));
        // It streams.
        assert_eq!(client.bytes(5).await, b"01234");
    }
    asked.write(b"56789").await;
    asked.done();
    for client in &mut clients[..10] {
        assert_eq!(client.bytes(5).await, b"56789");
    }
    all_get(&mut clients[10..], 200, "0123456789").await;
    assert_eq!(origin.count(), 1);
    rig.get("/a").await.assert_hit();
}

#[tokio::test]
async fn all_of_what_is_not_stored_is_a_part_to_who_asks_so() {
    let unstored = "Cache-Control: no-store\r\nETag: \"v1\"\r\n";
    for (fields, asking, status) in [
        (unstored.to_owned(), "", 206),
        (unstored.to_owned(), "If-Range: \"v1\"\r\n", 206),
        (unstored.to_owned(), "If-Range: \"v0\"\r\n", 200),
        (unstored.to_owned(), "If-None-Match: \"v1\"\r\n", 304),
        (format!("{unstored}Accept-Ranges: none\r\n"), "", 200),
    ] {
        let origin = Origin::answering(move |_| response("200 OK", &fields, "0123456789")).await;
        let rig = Rig::start(&[origin.address]).await;
        let got = rig.client().await.get_with("/a", &format!("Range: bytes=0-\r\n{asking}")).await;
        assert_eq!(got.status, status, "{asking}");
        let expected = if status == 206 { "bytes 0-9/10" } else { "" };
        assert_eq!(got.field("content-range"), expected, "{asking}");
        assert_eq!(got.text(), if status == 304 { "" } else { "0123456789" });
    }
}

#[tokio::test]
async fn requests_for_one_range_cause_one_fetch_of_it() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut clients = waiting(&rig, 0, &times(5, "Range: bytes=3-5\r\n")).await;
    let first = origin.next().await;
    assert_eq!(field(&first.head, "range").as_deref(), Some("bytes=3-5"));
    // Another one is fetched beside it, and so is what depends on a validator.
    let mut other = waiting(&rig, 5, &["Range: bytes=4-5\r\n".into()]).await;
    let second = origin.next().await;
    let mut conditional = waiting(&rig, 6, &["Range: bytes=3-5\r\nIf-Range: \"v0\"\r\n".into()]).await;
    let third = origin.next().await;
    assert_eq!(field(&third.head, "if-range").as_deref(), Some("\"v0\""));
    let part = |range: &str| format!("{FRESH}ETag: \"v1\"\r\nContent-Range: bytes {range}/10\r\n");
    first.respond(&response("206 Partial Content", &part("3-5"), "345")).await;
    all_get(&mut clients, 206, "345").await;
    second.respond(&response("206 Partial Content", &part("4-5"), "45")).await;
    all_get(&mut other, 206, "45").await;
    third.respond(&response("200 OK", &format!("{FRESH}ETag: \"v1\"\r\n"), "0123456789")).await;
    all_get(&mut conditional, 200, "0123456789").await;
    assert_eq!(origin.count(), 3);
}

/// A range that no origin serves in parts is no reason to wait twice.
#[tokio::test]
async fn requests_for_a_range_that_cannot_be_stored_ask_at_once() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let range = "Range: bytes=3-5\r\n";
    let mut clients = waiting(&rig, 0, &times(3, range)).await;
    let several =
        response("206 Partial Content", &format!("{FRESH}Content-Type: multipart/byteranges\r\n"), "x");
    origin.next().await.respond(&several).await;
    let mut asked = vec![origin.next().await, origin.next().await];
    clients.extend(waiting(&rig, 2, &times(2, range)).await);
    asked.extend([origin.next().await, origin.next().await]);
    for asked in asked {
        asked.respond(&several).await;
    }
    all_get(&mut clients, 206, "x").await;
}

/// RangeAmp (RFC 9110 §17.15): what is asked for twice, an origin would send twice.
#[tokio::test]
async fn no_origin_is_asked_for_more_than_one_range() {
    let many = ["0-"; 300].join(",");
    for (range, whole, passed) in [
        ("bytes=0-,0-,0-,0-", None, Some("bytes=0-")),
        (&format!("bytes={many}"), None, None),
        ("bytes=5-9,7-20", Some("bytes=5-20"), Some("bytes=5-20")),
        ("bytes=0-9,500-509", None, None),
        ("bytes=7-7", Some("bytes=7-7"), Some("bytes=7-7")),
    ] {
        let origin = Origin::answering(|_| response("200 OK", "Cache-Control: no-store\r\n", "whole")).await;
        let rig = Rig::with(&[origin.address], "", "bypass = [\"/bypass/*\"]").await;
        for path in ["/a", "/bypass/a"] {
            rig.client().await.get_with(path, &format!("Range: {range}\r\n")).await;
        }
        let seen: Vec<_> = origin.seen().iter().map(|head| field(head, "range")).collect();
        assert_eq!(seen, [whole.map(str::to_owned), passed.map(str::to_owned)], "{range}");
    }
}

#[tokio::test]
async fn when_a_fetch_takes_long_one_of_those_who_wait_asks_once_more_and_all_take_what_comes_first() {
    for first_wins in [true, false] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut clients = waiting(&rig, 0, &times(1, "")).await;
        let first = origin.next().await;
        clients.extend(waiting(&rig, 1, &times(7, "")).await);
        rig.pass(16);
        let second = origin.next().await;
        // A request that comes now waits for that one.
        let mut late = waiting(&rig, 8, &times(1, "")).await;
        let (answered, other) = if first_wins { (first, second) } else { (second, first) };
        answered.respond(&response("200 OK", FRESH, "hello")).await;
        let waited = if first_wins { &mut clients[..] } else { &mut clients[1..] };
        all_get(waited, 200, "hello").await;
        other.respond(&response("200 OK", FRESH, "hello")).await;
        if !first_wins {
            all_get(&mut clients[..1], 200, "hello").await;
        }
        all_get(&mut late, 200, "hello").await;
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn what_must_be_validated_at_each_use_is_validated_once_for_all_who_wait() {
    for control in ["no-cache", "max-age=0, must-revalidate"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let fields = format!("Cache-Control: {control}\r\nETag: \"v1\"\r\n");
        let not_modified = format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n");
        // Nothing is stored: the first fetches, and one validates for all others.
        let mut clients = waiting(&rig, 0, &times(8, "")).await;
        origin.next().await.respond(&response("200 OK", &fields, "hello")).await;
        let second = origin.next().await;
        assert_eq!(field(&second.head, "if-none-match").as_deref(), Some("\"v1\""), "{control}");
        rig.until("verge_edge_waiting", 7).await;
        second.respond(&not_modified).await;
        all_get(&mut clients, 200, "hello").await;
        assert_eq!(origin.count(), 2);
        // Something is: a validation that began before one came is none for him; the next is, for all.
        let mut clients = waiting(&rig, 0, &times(1, "")).await;
        let before = origin.next().await;
        clients.extend(waiting(&rig, 1, &times(7, "")).await);
        before.respond(&not_modified).await;
        let after = origin.next().await;
        rig.until("verge_edge_waiting", 7).await;
        after.respond(&not_modified).await;
        all_get(&mut clients, 200, "hello").await;
        assert_eq!(origin.count(), 4);
    }
}

#[tokio::test]
async fn what_must_be_validated_at_each_use_is_validated_for_each_user() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let fields = "Cache-Control: no-cache\r\nETag: \"v1\"\r\n";
    let mut first = waiting(&rig, 0, &times(1, "")).await;
    origin.next().await.respond(&response("200 OK", fields, "hello")).await;
    all_get(&mut first, 200, "hello").await;
    rig.until("verge_edge_fetches", 0).await;
    // Nobody waits for somebody else's, and nobody gets it.
    let users: Vec<String> = ["a", "b", "c"].iter().map(|user| format!("Cookie: {user}\r\n")).collect();
    let mut clients = waiting(&rig, 0, &users).await;
    for asked in [origin.next().await, origin.next().await, origin.next().await] {
        let user = field(&asked.head, "cookie").unwrap();
        let own = format!("Cache-Control: no-cache\r\nETag: \"{user}\"\r\n");
        asked.respond(&response("200 OK", &own, &user)).await;
    }
    for (client, user) in clients.iter_mut().zip(["a", "b", "c"]) {
        assert_eq!(client.response().await.text(), user);
    }
}

#[tokio::test]
async fn who_polls_a_slow_page_that_is_not_shared_waits_for_nobody() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut first = waiting(&rig, 0, &times(1, "")).await;
    let slow = origin.next().await;
    rig.pass(14);
    slow.respond(&response("200 OK", "Cache-Control: no-store\r\n", "own")).await;
    all_get(&mut first, 200, "own").await;
    rig.pass(14);
    let mut clients = waiting(&rig, 0, &times(2, "")).await;
    for asked in [origin.next().await, origin.next().await] {
        asked.respond(&response("200 OK", "Cache-Control: no-store\r\n", "own")).await;
    }
    all_get(&mut clients, 200, "own").await;
}

#[tokio::test]
async fn what_outgrew_an_object_is_not_kept_again_for_a_while() {
    let top = "[cache]\nmemory = \"16MiB\"\nmax_object = \"1MiB\"";
    let origin = Origin::answering(|head| {
        let body = if head.contains("small") { "s".to_owned() } else { "x".repeat(1_100_000) };
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    })
    .await;
    let rig = Rig::with(&[origin.address], top, "").await;
    let first = rig.get("/a").await;
    assert_eq!(first.body.len(), 1_100_000);
    let second = rig.get("/a").await;
    assert_eq!(second.body.len(), 1_100_000);
    assert!(second.cache_status().contains("was-too-big"), "{}", second.cache_status());
    // It is small by now; that is found out after a while.
    let now_small = rig.client().await.get_with("/a", "X: small\r\n").await;
    assert!(now_small.cache_status().contains("was-too-big"), "{}", now_small.cache_status());
    rig.pass(61);
    rig.client().await.get_with("/a", "X: small\r\n").await;
    rig.get("/a").await.assert_hit();
}

/// An origin in trouble is not asked by a whole crowd at once, though no request takes another's error for its own.
#[tokio::test]
async fn a_crowd_of_unlike_requests_asks_a_failing_origin_a_few_at_a_time() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    const CROWD: usize = 40;
    let mut clients = Vec::new();
    for number in 0..CROWD {
        let mut client = rig.client().await;
        client.send_get("/a", &format!("X-Number: {number}\r\n")).await;
        clients.push(client);
    }
    rig.until("verge_edge_waiting", CROWD as u64).await;
    // The leader's own, and one more for all others.
    for _ in 0..2 {
        origin.next().await.respond(&response("500 Oops", "", "bad")).await;
    }
    let mut asked: std::collections::VecDeque<_> = Default::default();
    for _ in 0..16 {
        asked.push_back(origin.next().await);
    }
    rig.until("verge_edge_fetches", 16).await;
    assert_eq!(origin.waiting(), 0);
    // One that ends makes room for one: each request gets the answer to itself.
    for left in (0..CROWD - 2).rev() {
        let one = asked.pop_front().unwrap();
        let number = one.head.split("umber: ").nth(1).unwrap().split('\r').next().unwrap().to_owned();
        one.respond(&response("500 Oops", "", &number)).await;
        if left >= 16 {
            asked.push_back(origin.next().await);
        }
    }
    let mut own = 0;
    for (number, mut client) in clients.into_iter().enumerate() {
        let got = client.response().await;
        assert_eq!(got.status, 500);
        own += usize::from(got.text() == number.to_string());
    }
    assert_eq!((own, origin.count()), (CROWD - 2, CROWD));
}

/// Any field can make an origin fail: nothing that one client sends decides what another one gets.
#[tokio::test]
async fn an_error_is_told_to_requests_that_are_the_same_and_the_others_get_their_own_answer() {
    for error in ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut attackers = waiting(&rig, 0, &times(1, "X-Bad: 1\r\n")).await;
        let first = origin.next().await;
        attackers.extend(waiting(&rig, 1, &times(5, "X-Bad: 1\r\n")).await);
        let mut others = waiting(&rig, 6, &["Cookie: a\r\n".to_owned(), String::new()]).await;
        first.respond(&response(error, "", "bad")).await;
        let answering = async {
            loop {
                let asked = origin.next().await;
                match field(&asked.head, "x-bad") {
                    Some(_) => asked.respond(&response(error, "", "bad")).await,
                    None => asked.respond(&response("200 OK", "Cache-Control: no-cache\r\n", "good")).await,
                }
            }
        };
        let getting = async {
            all_get(&mut others, 200, "good").await;
            let mut statuses = Vec::new();
            for client in &mut attackers {
                statuses.push(client.response().await.status);
            }
            statuses
        };
        let statuses = tokio::select! {
            statuses = getting => statuses,
            () = answering => unreachable!("it answers as long as it is asked"),
        };
        assert!(statuses.iter().all(|status| error.starts_with(&status.to_string())), "{statuses:?}");
        // The first, and two more at most for each that waited for it: one together with the others, as far as they are
        // there in time, and one with those that are the same.
        assert!(origin.count() <= 1 + 2 * 7, "{}", origin.count());
    }
}

/// A request can have an origin answer with what is no response, or not answer at all.
#[tokio::test]
async fn a_failure_that_a_request_may_have_caused_is_not_told_to_others() {
    for broken in ["NO HTTP\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ""] {
        let origin = Origin::start().await;
        // Long enough for the answers of the others on a slow machine.
        let limit = if broken.is_empty() { "first_byte_timeout = \"5s\"" } else { "" };
        let rig = Rig::with(&[origin.address], "", limit).await;
        let mut attacker = waiting(&rig, 0, &times(1, "X-Bad: 1\r\n")).await;
        let mut first = origin.next().await;
        let mut others = waiting(&rig, 1, &["Cookie: a\r\n".to_owned(), String::new()]).await;
        first.write(broken.as_bytes()).await;
        // They wait, or are over.
        let mut bad = vec![first];
        let answering = async {
            loop {
                let mut asked = origin.next_or_end().await;
                match field(&asked.head, "x-bad") {
                    Some(_) => {
                        asked.write(broken.as_bytes()).await;
                        bad.push(asked);
                    }
                    None => asked.respond(&response("200 OK", "Cache-Control: no-cache\r\n", "good")).await,
                }
            }
        };
        let getting = async {
            all_get(&mut others, 200, "good").await;
            attacker[0].response().await.status
        };
        let status = tokio::select! {
            status = getting => status,
            () = answering => unreachable!("it answers as long as it is asked"),
        };
        assert_eq!(status, if broken.is_empty() { 504 } else { 502 }, "{broken}");
    }
}

/// A response to a request with credentials is likely to be for its user alone (RFC 9111 §3.5).
#[tokio::test]
async fn users_do_not_wait_for_each_other_where_nothing_is_known_of_the_key() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let users: Vec<String> =
        ["a", "b", "c"].iter().map(|user| format!("Authorization: {user}\r\n")).collect();
    let mut clients = waiting(&rig, 0, &users).await;
    // All are asked for before any is answered.
    for asked in [origin.next().await, origin.next().await, origin.next().await] {
        let user = field(&asked.head, "authorization").unwrap();
        asked.respond(&response("200 OK", "Cache-Control: no-store\r\n", &user)).await;
    }
    for (client, user) in clients.iter_mut().zip(["a", "b", "c"]) {
        assert_eq!(client.response().await.text(), user);
    }
}
