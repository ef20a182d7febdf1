//! Origins that get no more at once than they can take.

use super::rig::{Client, Origin, Rig, response};

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
