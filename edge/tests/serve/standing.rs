//! Origins that are not well: what finds it out, and what becomes of requests meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use verge_edge::clock::Clock;

use super::rig::{Origin, Rig, response, soon};

/// Answers with this status, checks and requests alike.
async fn origin(status: &Arc<AtomicU16>) -> Arc<Origin> {
    let status = Arc::clone(status);
    Origin::answering(move |_| {
        let status = status.load(Ordering::Relaxed);
        response(&format!("{status} x"), "Cache-Control: no-store\r\n", "x")
    })
    .await
}

async fn origins(statuses: &[Arc<AtomicU16>]) -> Vec<Arc<Origin>> {
    let mut origins = Vec::new();
    for status in statuses {
        origins.push(origin(status).await);
    }
    origins
}

fn statuses<const N: usize>(statuses: [u16; N]) -> [Arc<AtomicU16>; N] {
    statuses.map(|status| Arc::new(AtomicU16::new(status)))
}

/// An edge whose clock stands, in front of these.
async fn rig(origins: &[Arc<Origin>], site: &str) -> Rig {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let clock = Clock::standing(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let site = format!("slow_start = \"0s\"\n{site}");
    Rig::at(clock, "\"*\"", &addresses, "", &site).await
}

/// Requests of clients that it has seen.
fn asked(origin: &Origin) -> usize {
    origin.seen().iter().filter(|head| !head.contains(" /healthz ")).count()
}

async fn told(rig: &Rig) -> String {
    rig.ask("/origins", "{}").await.text()
}

/// Waits until so many checks of this origin came out so, and lets time pass for them.
async fn checks(rig: &Rig, origin: &Origin, result: &str, count: u64) {
    let line = format!(
        "verge_edge_origin_checks_total{{site=\"*\",origin=\"{}\",result=\"{result}\"}} ",
        origin.address
    );
    soon("checks of an origin", async {
        while rig.metric(&line).await < count {
            rig.pass(1);
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_origin_that_fails_its_checks_gets_no_requests_until_it_passes_again() {
    let statuses = statuses([200, 200]);
    let both = origins(&statuses).await;
    let rig = rig(&both, "[site.health]\npath = \"/healthz\"\ninterval = \"1s\"\nfall = 2\nrise = 2").await;
    checks(&rig, &both[0], "passed", 1).await;
    checks(&rig, &both[1], "passed", 1).await;
    statuses[0].store(503, Ordering::Relaxed);
    checks(&rig, &both[0], "failed", 2).await;
    for _ in 0..4 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert_eq!((asked(&both[0]), asked(&both[1])), (0, 4));
    let told_down = told(&rig).await;
    assert!(told_down.contains("\"state\":\"fails-checks\",\"why\":\"status 503\""), "{told_down}");
    let check = both[0].seen().into_iter().find(|head| head.starts_with("GET /healthz HTTP/1.1")).unwrap();
    assert!(check.contains(&format!("host: {}\r\n", both[0].address)), "{check}");
    statuses[0].store(200, Ordering::Relaxed);
    let line = format!("verge_edge_origin_up{{site=\"*\",origin=\"{}\"}} ", both[0].address);
    soon("the origin is back", async {
        while rig.metric(&line).await == 0 {
            rig.pass(1);
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..4 {
        rig.get("/").await;
    }
    assert_eq!((asked(&both[0]), asked(&both[1])), (2, 6));
}

#[tokio::test]
async fn an_operator_takes_an_origin_out_and_puts_it_back() {
    let both = origins(&statuses([200, 200])).await;
    let rig = rig(&both, "").await;
    let switch = async |drain: &str| {
        let text = format!("{{\"origin\": \"{}\", \"drain\": {drain}}}", both[0].address);
        let got = rig.ask("/origins", &text).await;
        assert_eq!(got.status, 200, "{got:?}");
        let before = (both[0].count(), both[1].count());
        for _ in 0..4 {
            rig.get("/").await;
        }
        (both[0].count() - before.0, both[1].count() - before.1)
    };
    assert_eq!(switch("true").await, (0, 4));
    assert!(told(&rig).await.contains("\"state\":\"drained\",\"in_flight\":0"), "{}", told(&rig).await);
    assert_eq!(switch("null").await, (2, 2));
    assert_eq!(rig.ask("/origins", "{\"origin\": \"a:1\", \"drain\": true}").await.status, 400);
    assert_eq!(rig.ask("/origins", "{\"drain\": true}").await.status, 400);
}

#[tokio::test]
async fn an_origin_that_answers_with_errors_while_others_do_not_is_taken_out_for_a_while() {
    let three = origins(&statuses([200, 500, 200])).await;
    let rig = rig(&three, "").await;
    let ask = async |count: usize| {
        let before = three[1].count();
        for _ in 0..count {
            rig.get("/").await;
        }
        three[1].count() - before
    };
    assert_eq!(ask(36).await, 12);
    rig.pass(11);
    ask(3).await;
    assert_eq!(ask(9).await, 0);
    assert!(told(&rig).await.contains("\"state\":\"ejected\",\"why\":\"errors\""), "{}", told(&rig).await);
    rig.pass(31);
    assert_eq!(ask(9).await, 3);
}

#[tokio::test]
async fn an_origin_whose_bodies_break_off_is_taken_out_for_a_while() {
    let broken = Origin::start().await;
    let good = Origin::answering(|_| response("200 OK", "Cache-Control: no-store\r\n", "0123456789")).await;
    let rig = Rig::with(&[broken.address, good.address], "", "").await;
    let mut asked = 0;
    for _ in 0..24 {
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        tokio::select! {
            held = broken.next() => {
                let mut held = held;
                asked += 1;
                held.write(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 10\r\n\r\n01234").await;
                let head = client.head().await;
                held.reset();
                assert_eq!(client.body(&head).await, None);
            }
            got = client.response() => assert_eq!(got.text(), "0123456789"),
        }
    }
    assert_eq!(asked, 12);
    let line = format!(
        "verge_edge_origin_errors_total{{site=\"*\",origin=\"{}\",error=\"http_response_incomplete\"}} ",
        broken.address
    );
    assert_eq!(rig.metric(&line).await, 12);
    rig.pass(11);
    // The good one's answer is the occasion to look.
    let mut client = rig.client().await;
    client.send_get("/", "").await;
    let turn = tokio::select! {
        held = broken.next() => { held.respond(&response("200 OK", "Cache-Control: no-store\r\n", "x")).await; client.response().await }
        got = client.response() => got,
    };
    assert_eq!(turn.status, 200);
    for _ in 0..6 {
        assert_eq!(rig.get("/").await.text(), "0123456789");
    }
    assert!(told(&rig).await.contains("\"state\":\"ejected\",\"why\":\"errors\""), "{}", told(&rig).await);
}

/// Where nobody listens, a request finds that out each second; others are told at once.
#[tokio::test]
async fn while_no_origin_takes_connections_one_request_a_second_looks_whether_one_is_back() {
    let place = Origin::start().await;
    let address = place.address;
    place.die().await;
    let rig = rig(&[Arc::new(place)], "").await;
    for second in 0..8 {
        let got = rig.get("/").await;
        assert_eq!(got.status, 502, "{second} s: {got:?}");
        for _ in 0..3 {
            let got = rig.get("/").await;
            assert_eq!((got.status, got.field("retry-after").as_str()), (503, "2"), "{second} s: {got:?}");
            assert!(got.field("proxy-status").contains("destination_unavailable"), "{got:?}");
        }
        rig.pass(1);
    }
    let back = Origin::at(address, |_| response("200 OK", "Cache-Control: no-store\r\n", "x")).await;
    for _ in 0..3 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert_eq!(back.count(), 3);
}

/// As without panic.
#[tokio::test]
async fn in_panic_too_one_request_a_second_looks_whether_an_origin_is_back_that_takes_no_connections() {
    let place = Origin::start().await;
    place.die().await;
    let rig = rig(&[Arc::new(place)], "[site.health]\npanic = \"50%\"").await;
    for second in 0..4 {
        assert_eq!(rig.get("/").await.status, 502, "{second} s");
        for _ in 0..3 {
            assert_eq!(rig.get("/").await.status, 503, "{second} s");
        }
        rig.pass(1);
    }
}

/// Every third of its requests is answered, so it never fails three in a row.
#[tokio::test]
async fn an_origin_that_loses_most_requests_is_taken_out_for_a_while() {
    let (bad, good) = (Origin::start().await, origin(&statuses([200])[0]).await);
    let rig = Rig::with(&[bad.address, good.address], "", "slow_start = \"0s\"").await;
    let bad_address = bad.address;
    tokio::spawn(async move {
        for turn in 0.. {
            let asked = bad.next_or_end().await;
            match turn % 3 {
                2 => asked.respond(&response("200 OK", "Cache-Control: no-store\r\n", "x")).await,
                _ => asked.fail(),
            }
        }
    });
    // Nobody sends these again.
    let post = async || {
        let post = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
        rig.client().await.raw(post).await.status
    };
    let mut failed = 0;
    for _ in 0..36 {
        failed += usize::from(post().await == 502);
    }
    assert_eq!((failed, good.count()), (12, 18));
    rig.pass(11);
    // A request that is lost is an occasion to look, too.
    assert_eq!(post().await, 502);
    let told = told(&rig).await;
    let of_bad = told.split(&format!("\"origin\":\"{bad_address}\"")).nth(1).unwrap();
    let of_bad = of_bad.split("\"origin\":").next().unwrap();
    assert!(of_bad.contains("\"state\":\"ejected\",\"why\":\"errors\""), "{told}");
    for _ in 0..6 {
        assert_eq!(post().await, 200);
    }
}

#[tokio::test]
async fn an_origin_that_others_always_outrun_is_slow() {
    let (slow, fast) = (Origin::start().await, origin(&statuses([200])[0]).await);
    let site = "slow_start = \"0s\"\nhedge = \"500ms\"\n[site.health]\nslow = 5";
    let clock = Clock::standing(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let rig = Rig::at(clock, "\"*\"", &[slow.address, fast.address], "", site).await;
    // It keeps all that it gets waiting.
    let mut held = Vec::new();
    while held.len() < 10 {
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        tokio::select! {
            asked = slow.next() => {
                held.push(asked);
                rig.pass(1);
                assert_eq!(client.response().await.status, 200);
            }
            got = client.response() => assert_eq!(got.status, 200),
        }
    }
    rig.get("/").await;
    assert!(told(&rig).await.contains("\"state\":\"ejected\",\"why\":\"slow\""), "{}", told(&rig).await);
}

#[tokio::test]
async fn in_panic_an_origin_is_asked_though_all_fail_their_checks() {
    let statuses = statuses([503, 503]);
    let both = origins(&statuses).await;
    let health = "[site.health]\npath = \"/healthz\"\ninterval = \"1s\"\nfall = 1\nrise = 1";
    let ask = async |panic: &str| {
        let rig = rig(&both, &format!("{health}\n{panic}")).await;
        checks(&rig, &both[0], "failed", 1).await;
        checks(&rig, &both[1], "failed", 1).await;
        let before = asked(&both[0]) + asked(&both[1]);
        for _ in 0..4 {
            assert_eq!(rig.get("/").await.status, 503);
        }
        asked(&both[0]) + asked(&both[1]) - before
    };
    assert_eq!(ask("").await, 0);
    assert_eq!(ask("panic = \"50%\"").await, 4);
}

#[tokio::test]
async fn when_too_few_are_up_all_are_asked() {
    let statuses = statuses([200, 503, 503]);
    let three = origins(&statuses).await;
    let health = "[site.health]\npath = \"/healthz\"\ninterval = \"1s\"\nfall = 1\nrise = 1";
    let ask = async |rig: &Rig| {
        checks(rig, &three[1], "failed", 1).await;
        checks(rig, &three[2], "failed", 1).await;
        let before: Vec<usize> = three.iter().map(|origin| asked(origin)).collect();
        for _ in 0..6 {
            rig.get("/").await;
        }
        three.iter().zip(before).map(|(origin, before)| asked(origin) - before).collect::<Vec<_>>()
    };
    assert_eq!(ask(&rig(&three, health).await).await, [6, 0, 0]);
    assert_eq!(ask(&rig(&three, &format!("{health}\npanic = \"50%\"")).await).await, [2, 2, 2]);
}
