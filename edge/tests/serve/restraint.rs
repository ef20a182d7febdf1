//! Origins that get no more at once than they can take.

use super::origin::Asked;
use super::rig::{Client, Got, Origin, Rig, response, soon};

const NONE: &str = "Cache-Control: no-store\r\n";

async fn ask(rig: &Rig, path: &str) -> Client {
    let mut client = rig.client().await;
    client.send_get(path, "").await;
    client
}

#[tokio::test]
async fn requests_beyond_what_an_origin_may_have_wait_and_those_beyond_the_queue_are_refused() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "origin_requests = 2\norigin_queue = 1").await;
    let mut first = ask(&rig, "/1").await;
    let held = origin.next().await;
    let mut second = ask(&rig, "/2").await;
    let other = origin.next().await;
    let mut waiting = ask(&rig, "/3").await;
    rig.until("verge_edge_waiting", 3).await;
    let refused = rig.get("/4").await;
    assert_eq!((refused.status, refused.field("retry-after").as_str()), (503, "2"), "{refused:?}");
    assert!(refused.field("proxy-status").contains("error=connection_limit_reached"), "{refused:?}");
    assert_eq!(origin.count(), 2);
    held.respond(&response("200 OK", NONE, "1")).await;
    assert_eq!(first.response().await.text(), "1");
    origin.next().await.respond(&response("200 OK", NONE, "3")).await;
    assert_eq!(waiting.response().await.text(), "3");
    other.respond(&response("200 OK", NONE, "2")).await;
    assert_eq!(second.response().await.text(), "2");
    assert_eq!(rig.metric("verge_edge_limits_reached_total{limit=\"origin-requests\"} ").await, 1);
}

#[tokio::test]
async fn a_request_waits_for_an_origin_no_longer_than_the_config_says() {
    let origin = Origin::start().await;
    let site = "origin_requests = 1\norigin_queue_timeout = \"50ms\"";
    let rig = Rig::with(&[origin.address], "", site).await;
    let mut first = ask(&rig, "/1").await;
    let held = origin.next().await;
    assert_eq!(rig.get("/2").await.status, 503);
    held.respond(&response("200 OK", NONE, "1")).await;
    first.response().await;
    let mut next = ask(&rig, "/3").await;
    origin.next().await.respond(&response("200 OK", NONE, "3")).await;
    assert_eq!(next.response().await.text(), "3");
}

/// A request that one origin may not have goes to another.
#[tokio::test]
async fn an_origin_that_has_all_it_may_have_is_passed_by() {
    let (one, other) = (Origin::start().await, Origin::start().await);
    let rig = Rig::with(&[one.address, other.address], "", "origin_requests = 1").await;
    let mut first = ask(&rig, "/1").await;
    let held = one.next().await;
    for path in ["/2", "/3", "/4"] {
        let mut client = ask(&rig, path).await;
        other.next().await.respond(&response("200 OK", NONE, path)).await;
        assert_eq!(client.response().await.text(), path);
    }
    held.respond(&response("200 OK", NONE, "1")).await;
    assert_eq!(first.response().await.text(), "1");
}

/// Retries cost the origins a fifth of what clients ask at most: here 10 that are saved up, and one for each 5.
#[tokio::test]
async fn retries_are_a_fifth_of_the_requests_at_most() {
    let failing = Origin::start().await;
    let living = Origin::answering(|_| response("200 OK", NONE, "x")).await;
    let site = "balance = \"round-robin\"\nslow_start = \"0s\"";
    let rig = Rig::with(&[failing.address, living.address], "", site).await;
    let (mut failed, mut asked) = (0, 0);
    while asked < 100 {
        let mut client = ask(&rig, &format!("/{asked}")).await;
        asked += 1;
        let got = tokio::select! {
            held = failing.next_or_end() => {
                held.fail();
                client.response().await
            }
            got = client.response() => got,
        };
        failed += usize::from(got.status != 200);
        // An answer in between: it never fails three times in a row.
        rig.pass(40);
    }
    let retried = failing.count() - failed;
    assert!(
        retried <= 10 + asked / 5 && failed > 0,
        "{retried} retried, {failed} failed of {}",
        failing.count()
    );
}

const RETRIES: &str = "verge_edge_limits_reached_total{limit=\"retries\"} ";

const FIELDS: &str = "Cache-Control: max-age=60\r\nETag: \"1\"\r\n";

/// The next request of a client, however long it takes. Parents are asked how they are as well.
async fn asked_for(origin: &Origin, path: &str) -> Asked {
    loop {
        let asked = origin.next_or_end().await;
        if asked.head.starts_with(&format!("GET {path} ")) {
            return asked;
        }
        asked.respond(&response("200 OK", NONE, "")).await;
    }
}

/// Asks for a path whose response breaks off and goes on, which is free. The request for its rest is answered in part.
async fn going_on(rig: &Rig, origin: &Origin, path: &str) -> (Client, Got, Asked) {
    let mut client = ask(rig, path).await;
    let mut asked = soon("the request", asked_for(origin, path)).await;
    asked.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n{FIELDS}\r\nfirst").as_bytes()).await;
    let head = client.head().await;
    drop(asked);
    let mut rest = soon("the request for the rest", asked_for(origin, path)).await;
    assert!(rest.head.contains("range: bytes=5-\r\n"), "{}", rest.head);
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5";
    rest.write(format!("{part}\r\n{FIELDS}\r\n-la").as_bytes()).await;
    (client, head, rest)
}

/// Asks for a path whose response breaks off twice. Whether all of it came.
async fn broken_off(rig: &Rig, origin: &Origin, path: &str) -> bool {
    let (mut client, head, asked) = going_on(rig, origin, path).await;
    drop(asked);
    tokio::select! {
        rest = origin.next_or_end() => {
            assert!(rest.head.contains("range: bytes=8-\r\n"), "{}", rest.head);
            let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 8-9/10\r\nContent-Length: 2";
            rest.respond(&format!("{part}\r\n{FIELDS}\r\nst")).await;
            assert_eq!(client.body(&head).await.as_deref(), Some(b"first-last".as_slice()));
            true
        }
        body = client.body(&head) => {
            assert_eq!(body, None);
            false
        }
    }
}

/// The rest of a response that broke off is a request that no client made, and asks for what is owed.
#[tokio::test]
async fn the_first_rest_of_what_broke_off_is_free_and_others_are_of_the_budget_of_retries() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let asked = 40;
    let mut resumed = 0;
    for number in 0..asked {
        resumed += usize::from(broken_off(&rig, &origin, &format!("/{number}")).await);
    }
    // 10 were saved up.
    assert!((10..=10 + asked / 5).contains(&resumed), "{resumed}");
    assert_eq!(origin.count(), 2 * asked + resumed);
    assert_eq!(rig.metric(RETRIES).await, (asked - resumed) as u64);
}

/// A retry that had nowhere to go leaves its share to others.
#[tokio::test]
async fn the_failures_of_an_only_origin_cost_nothing_of_the_budget() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    for number in 0..30 {
        let mut client = ask(&rig, &format!("/fails/{number}")).await;
        origin.next().await.fail();
        assert_eq!(client.response().await.status, 502);
    }
    assert_eq!((origin.count(), rig.metric(RETRIES).await), (30, 0));
    for number in 0..10 {
        assert!(broken_off(&rig, &origin, &format!("/{number}")).await, "{number}");
    }
}

/// An origin that dies with many bodies under way gets no request for their rests, so they cost nothing.
#[tokio::test]
async fn the_rest_that_nobody_was_asked_for_costs_nothing_of_the_budget() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut under_way = Vec::new();
    // 10 are saved up.
    for number in 0..12 {
        under_way.push(going_on(&rig, &origin, &format!("/{number}")).await);
    }
    origin.die().await;
    for (mut client, head, asked) in under_way {
        drop(asked);
        assert_eq!(client.body(&head).await, None);
    }
    assert_eq!(rig.metric(RETRIES).await, 0);
}

/// A canary's requests that go on to the others are of the same budget, and so is the rest of what broke off.
#[tokio::test]
async fn a_site_has_one_budget_for_all_its_groups() {
    let old = Origin::start().await;
    let new = Origin::answering(|_| response("500 No", NONE, "new")).await;
    let canary =
        format!("[site.canary]\norigins = [\"http://{}\"]\nshare = \"100%\"\nanswers = 1000", new.address);
    let rig = Rig::with(&[old.address], "", &canary).await;
    let (mut passed_on, asked) = (0, 40);
    for number in 0..asked {
        let mut client = ask(&rig, &format!("/{number}")).await;
        let got = tokio::select! {
            held = old.next_or_end() => {
                held.respond(&response("200 OK", NONE, "old")).await;
                passed_on += 1;
                client.response().await
            }
            got = client.response() => got,
        };
        assert_eq!(got.status, if got.text() == "old" { 200 } else { 500 }, "{number}");
    }
    assert!((10..=10 + asked / 5).contains(&passed_on), "{passed_on}");
    assert_eq!((old.count(), new.count()), (passed_on, asked));
    // Each request counts once at the canary, and none at the others for what they were not asked.
    let told = rig.ask("/origins", "{}").await.text();
    assert!(told.contains("\"ended\":false"), "{told}");
    assert_eq!(rig.metric(RETRIES).await, (asked - passed_on) as u64);
}

/// A parent that says that it is not the one to ask has had the request for the rest, also where no origin is up then.
#[tokio::test]
async fn the_rest_that_a_parent_was_asked_for_is_paid_for_where_no_origin_is_up() {
    let gone = crate::ports::address();
    let parent = Origin::start().await;
    let rig = Rig::with(&[gone], "", &format!("parents = [\"http://{}\"]", parent.address)).await;
    let (mut rests, asked) = (0, 40);
    for number in 0..asked {
        let path = format!("/{number}");
        let (mut client, head, first) = going_on(&rig, &parent, &path).await;
        drop(first);
        let body = tokio::select! {
            rest = asked_for(&parent, &path) => {
                rest.respond(&response("421 Misdirected Request", "", "")).await;
                rests += 1;
                client.body(&head).await
            }
            body = client.body(&head) => body,
        };
        assert_eq!(body, None);
    }
    // 10 were saved up.
    assert!((10..=10 + asked / 5).contains(&rests), "{rests}");
    assert_eq!(rig.metric(RETRIES).await, (asked - rests) as u64);
}

/// The place of a parent among the parents is no origin's.
#[tokio::test]
async fn the_rest_of_what_a_parent_broke_off_goes_to_the_origin_whose_turn_it_is() {
    let (first, second, parent) = (Origin::start().await, Origin::start().await, Origin::start().await);
    let site = format!("balance = \"round-robin\"\nparents = [\"http://{}\"]", parent.address);
    let rig = Rig::with(&[first.address, second.address], "", &site).await;
    let mut client = ask(&rig, "/a").await;
    let mut asked = soon("the request", asked_for(&parent, "/a")).await;
    asked.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n{FIELDS}\r\nfirst").as_bytes()).await;
    let head = client.head().await;
    parent.die().await;
    drop(asked);
    let rest = first.next().await;
    assert!(rest.head.contains("range: bytes=5-\r\n"), "{}", rest.head);
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5";
    rest.respond(&format!("{part}\r\n{FIELDS}\r\n-last")).await;
    assert_eq!(client.body(&head).await.as_deref(), Some(b"first-last".as_slice()));
    assert_eq!((first.count(), second.count()), (1, 0));
}

/// As an origin that broke off a response gets no request for its rest while another one is up.
#[tokio::test]
async fn the_rest_of_what_a_parent_broke_off_goes_to_another_parent() {
    let (origin, one, other) = (Origin::start().await, Origin::start().await, Origin::start().await);
    let site = format!("parents = [\"http://{}\", \"http://{}\"]", one.address, other.address);
    let rig = Rig::with(&[origin.address], "", &site).await;
    for number in 0..4 {
        let path = format!("/{number}");
        let mut client = ask(&rig, &path).await;
        let begun = tokio::select! {
            asked = asked_for(&one, &path) => (asked, &other),
            asked = asked_for(&other, &path) => (asked, &one),
        };
        let (mut asked, next) = begun;
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n";
        asked.write(format!("{whole}{FIELDS}\r\nfirst").as_bytes()).await;
        let head = client.head().await;
        drop(asked);
        let rest = soon("the request for the rest", asked_for(next, &path)).await;
        assert!(rest.head.contains("range: bytes=5-\r\n"), "{}", rest.head);
        let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5";
        rest.respond(&format!("{part}\r\n{FIELDS}\r\n-last")).await;
        assert_eq!(client.body(&head).await.as_deref(), Some(b"first-last".as_slice()), "{path}");
    }
    assert_eq!(origin.count(), 0);
}
