//! New origins that get a share of a site's fetches, and reloads that are watched.

use std::sync::Arc;

use super::reloading::Edge;
use super::rig::{Origin, Rig, response, soon};

async fn origin(status: &'static str, body: &'static str) -> Arc<Origin> {
    Origin::answering(move |_| response(status, "Cache-Control: no-store\r\n", body)).await
}

async fn rig(old: &Origin, new: &Origin, canary: &str) -> Rig {
    let site = format!("[site.canary]\norigins = [\"http://{}\"]\n{canary}", new.address);
    Rig::with(&[old.address], "", &site).await
}

#[tokio::test]
async fn a_canary_gets_its_share() {
    let (old, new) = (origin("200 OK", "old").await, origin("200 OK", "new").await);
    let rig = rig(&old, &new, "share = \"30%\"").await;
    let mut client = rig.client().await;
    for _ in 0..300 {
        let got = client.get("/").await.text();
        assert!(got == "old" || got == "new", "{got}");
    }
    // 30 %; the bounds are five deviations away.
    assert!((50..130).contains(&new.count()) && old.count() + new.count() == 300, "{}", new.count());
    let told = rig.ask("/origins", "{}").await.text();
    assert!(told.contains("\"canary\":{\"share\":30,\"ended\":false,"), "{told}");
}

#[tokio::test]
async fn a_canary_that_fails_costs_no_client_a_request_and_gets_no_more() {
    for fails in ["500 No", ""] {
        let (old, new) = (origin("200 OK", "old").await, origin(fails, "new").await);
        if fails.is_empty() {
            new.die().await;
        }
        // Little enough that each of its failures can go on to the others.
        let rig = rig(&old, &new, "share = \"10%\"\nanswers = 10").await;
        let mut client = rig.client().await;
        let ended = async {
            while !rig.ask("/origins", "{}").await.text().contains("\"ended\":true") {
                let got = client.get("/").await;
                assert_eq!((got.status, got.text().as_str()), (200, "old"));
            }
        };
        soon("the end of the canary", ended).await;
        let (by_then, of_old) = (new.count(), old.count());
        for _ in 0..30 {
            assert_eq!(client.get("/").await.status, 200);
        }
        assert_eq!((new.count(), old.count()), (by_then, of_old + 30), "{fails}");
        let told = rig.ask("/origins", "{}").await.text();
        let seen = |name: &str| -> u32 {
            let rest = told.split(&format!("\"{name}\":")).nth(1).unwrap();
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        // More of them only while the others were not known.
        assert!((10..20).contains(&seen("errors")) && seen("answers") == seen("errors"), "{told}");
        assert_eq!(seen("others_percent"), 0, "{told}");
    }
}

/// It fails before the others are known, and they fail, too.
#[tokio::test]
async fn a_canary_is_not_judged_before_the_others_are_known() {
    let (old, new) = (origin("500 No", "old").await, origin("500 No", "new").await);
    let rig = rig(&old, &new, "share = \"90%\"\nanswers = 10").await;
    let mut client = rig.client().await;
    // Nothing of these goes on to the others.
    let asked = async {
        while new.count() < 40 {
            client.raw(b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n").await;
        }
    };
    soon("requests at the canary", asked).await;
    let told = rig.ask("/origins", "{}").await.text();
    assert!(told.contains("\"ended\":false"), "{told}");
}

#[tokio::test]
async fn a_canary_that_gets_all_is_judged_by_itself() {
    let (old, new) = (origin("200 OK", "old").await, origin("500 No", "new").await);
    let rig = rig(&old, &new, "share = \"100%\"\nanswers = 10").await;
    let mut client = rig.client().await;
    let post = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..10 {
        assert_eq!(client.raw(post).await.status, 500);
    }
    assert_eq!(client.raw(post).await.status, 200);
    assert_eq!((new.count(), old.count()), (10, 1));
}

#[tokio::test]
async fn a_canary_is_not_blamed_for_what_all_origins_do() {
    let (old, new) = (origin("500 No", "old").await, origin("500 No", "new").await);
    let rig = rig(&old, &new, "share = \"10%\"\nanswers = 10").await;
    let mut client = rig.client().await;
    let asked = async {
        while new.count() < 15 {
            client.get("/").await;
        }
    };
    soon("requests at the canary", asked).await;
    let told = rig.ask("/origins", "{}").await.text();
    assert!(told.contains("\"ended\":false") && told.contains("\"others_percent\":100"), "{told}");
}

/// Five requests a minute.
#[tokio::test]
async fn a_canary_that_gets_little_is_judged_by_all_that_it_answered() {
    let (old, new) = (origin("200 OK", "old").await, origin("500 No", "new").await);
    let rig = rig(&old, &new, "share = \"50%\"\nanswers = 20").await;
    let ended = async {
        while !rig.ask("/origins", "{}").await.text().contains("\"ended\":true") {
            rig.pass(12);
            rig.get("/").await;
        }
    };
    soon("the end of the canary", ended).await;
    assert!((20..100).contains(&new.count()), "{}", new.count());
}

#[tokio::test]
async fn a_canary_that_has_ended_gets_nothing_until_its_origins_are_others() {
    let (old, new) = (origin("200 OK", "old").await, origin("500 No", "new").await);
    let edge = Edge::start(&old).await;
    let text = |site: &str, new: &Origin| {
        let canary = format!("[site.canary]\norigins = [\"http://{}\"]\n", new.address);
        format!("{}{site}\n{canary}share = \"100%\"\nanswers = 10\n", edge.text)
    };
    assert_eq!(edge.reload(&text("", &new)).await.status, 200);
    let mut client = edge.rig.client().await;
    let post = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..10 {
        assert_eq!(client.raw(post).await.status, 500);
    }
    for other in [
        "slow_start = \"1s\"",
        "connect_timeout = \"2s\"",
        "origin_idle_timeout = \"1s\"",
        "origin_title_case = true",
        "[site.health]\npanic = \"10%\"",
    ] {
        assert_eq!(edge.reload(&text(other, &new)).await.status, 200, "{other}");
        assert_eq!(client.raw(post).await.status, 200, "{other}");
        let told = edge.rig.ask("/origins", "{}").await.text();
        assert!(told.contains("\"ended\":true,\"answers\":10,\"errors\":10"), "{told}");
    }
    assert_eq!(new.count(), 10);
    let newer = origin("500 No", "newer").await;
    assert_eq!(edge.reload(&text("", &newer)).await.status, 200);
    assert_eq!(client.raw(post).await.status, 500);
    assert_eq!((new.count(), newer.count()), (10, 1));
}

/// Waits until no reload is watched any more.
async fn stood(edge: &Edge) {
    let stood = async {
        while !edge.rig.ask("/guard", "").await.text().contains("\"watched\":[]") {
            edge.rig.pass(1);
        }
    };
    soon("the end of a watch", stood).await;
}

/// Asks for this host, so many seconds apart, until a reload is undone.
async fn until_undone(edge: &Edge, host: &str, seconds: u64) {
    let undone = async {
        while !edge.rig.ask("/guard", "").await.text().contains("\"is_undone\":true") {
            edge.rig.pass(seconds);
            get(edge, host).await;
        }
    };
    soon("the end of the reload", undone).await;
}

async fn get(edge: &Edge, host: &str) -> u16 {
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    edge.rig.client().await.raw(head.as_bytes()).await.status
}

/// Five requests a minute.
#[tokio::test]
async fn a_reload_is_judged_by_all_answers_since_however_slowly_they_come() {
    let (good, bad) = (origin("200 OK", "good").await, origin("500 No", "bad").await);
    let edge = Edge::start(&good).await;
    let guarded = format!("{}[guard]\nanswers = 20\nwindow = \"30m\"\n", edge.text);
    assert_eq!(edge.reload(&guarded).await.status, 200);
    let broken = guarded.replace(&good.address.to_string(), &bad.address.to_string());
    assert_eq!(edge.reload(&broken).await.status, 200);
    until_undone(&edge, "site.test", 12).await;
    assert!(bad.count() >= 20, "{}", bad.count());
    assert_eq!(get(&edge, "site.test").await, 200);
    // Its errors went with it: the same is undone again.
    let before = bad.count();
    assert_eq!(edge.reload(&broken).await.status, 200);
    until_undone(&edge, "site.test", 12).await;
    assert!(bad.count() - before >= 20, "{}", bad.count());
}

#[tokio::test]
async fn a_reload_is_not_blamed_for_a_slow_site_that_failed_before() {
    let bad = origin("500 No", "bad").await;
    let edge = Edge::start(&bad).await;
    let guarded = format!("{}[guard]\nanswers = 20\nwindow = \"10m\"\n", edge.text);
    assert_eq!(edge.reload(&guarded.replace("10m", "1s")).await.status, 200);
    stood(&edge).await;
    let ask = async || {
        for _ in 0..25 {
            edge.rig.pass(12);
            assert_eq!(get(&edge, "site.test").await, 500);
        }
    };
    ask().await;
    assert_eq!(edge.reload(&guarded).await.status, 200);
    ask().await;
    stood(&edge).await;
    let told = edge.rig.ask("/guard", "").await.text();
    assert!(told.contains("\"is_undone\":false,\"undone\":[]"), "{told}");
}

#[tokio::test]
async fn a_second_reload_is_watched_where_the_first_one_changed_nothing() {
    let (good, bad) = (origin("200 OK", "good").await, origin("500 No", "bad").await);
    let edge = Edge::start(&good).await;
    let guarded = format!("{}[guard]\nanswers = 10\nwindow = \"5m\"\n", edge.text);
    let site = |host: &str, origin: &Origin| {
        format!("[[site]]\nhosts = [\"{host}\"]\norigins = [\"http://{}\"]\n", origin.address)
    };
    let two = format!("{guarded}{}", site("b.test", &good));
    assert_eq!(edge.reload(&two).await.status, 200);
    stood(&edge).await;
    let first = format!("{two}default_ttl = \"1m\"\n");
    assert_eq!(edge.reload(&first).await.status, 200);
    let second = first.replacen(&good.address.to_string(), &bad.address.to_string(), 1);
    assert_eq!(edge.reload(&second).await.status, 200);
    until_undone(&edge, "site.test", 0).await;
    assert_eq!(get(&edge, "site.test").await, 200);
    // A site that the first one brought goes back to what that made it, and is not taken away.
    assert_eq!(edge.reload(&two).await.status, 200);
    stood(&edge).await;
    assert_eq!(edge.reload(&format!("{two}{}", site("c.test", &good))).await.status, 200);
    assert_eq!(edge.reload(&format!("{two}{}", site("c.test", &bad))).await.status, 200);
    until_undone(&edge, "c.test", 0).await;
    assert_eq!(get(&edge, "c.test").await, 200);
}

/// The first of two reloads brings a site that fails; the second has nothing to do with it.
#[tokio::test]
async fn a_second_reload_is_not_undone_for_a_site_that_the_first_one_brought() {
    let (good, bad) = (origin("200 OK", "good").await, origin("500 No", "bad").await);
    let edge = Edge::start(&good).await;
    let guarded = format!("{}[guard]\nanswers = 10\nwindow = \"5m\"\n", edge.text);
    assert_eq!(edge.reload(&guarded).await.status, 200);
    stood(&edge).await;
    let site = format!("[[site]]\nhosts = [\"b.test\"]\norigins = [\"http://{}\"]\n", bad.address);
    let first = format!("{guarded}{site}");
    assert_eq!(edge.reload(&first).await.status, 200);
    for _ in 0..5 {
        assert_eq!(get(&edge, "b.test").await, 500);
    }
    let own = "hosts = [\"site.test\"]";
    let second = first.replace(own, &format!("{own}\ndefault_ttl = \"1m\""));
    assert_eq!(edge.reload(&second).await.status, 200);
    for _ in 0..20 {
        assert_eq!(get(&edge, "b.test").await, 500);
    }
    stood(&edge).await;
    let told = edge.rig.ask("/guard", "").await.text();
    assert!(told.contains("\"is_undone\":false,\"undone\":[]"), "{told}");
}

#[tokio::test]
async fn a_reload_that_brings_parents_which_fail_is_undone() {
    let good = origin("200 OK", "good").await;
    let bad = Origin::answering(|head| {
        let is_check = head.starts_with("GET /.well-known/verge/health ");
        response(if is_check { "200 OK" } else { "500 No" }, "", "bad")
    })
    .await;
    let edge = Edge::start(&good).await;
    let guarded = format!("{}[guard]\nanswers = 10\nwindow = \"30s\"\n", edge.text);
    assert_eq!(edge.reload(&guarded).await.status, 200);
    let mut client = edge.rig.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let origins = format!("origins = [\"http://{}\"]", good.address);
    let behind = guarded.replace(&origins, &format!("{origins}\nparents = [\"http://{}\"]", bad.address));
    assert_eq!(edge.reload(&behind).await.status, 200);
    let undone = async {
        while !edge.rig.ask("/guard", "").await.text().contains("\"is_undone\":true") {
            client.get("/").await;
        }
    };
    soon("the end of the reload", undone).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_reload_is_undone_only_where_it_is_to_blame() {
    let (good, bad) = (origin("200 OK", "good").await, origin("500 No", "bad").await);
    let edge = Edge::start(&good).await;
    let guarded = format!("{}[guard]\nanswers = 10\nwindow = \"30s\"\n", edge.text);
    assert_eq!(edge.reload(&guarded).await.status, 200);
    let mut client = edge.rig.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    // A change of another site: this one's errors have another reason.
    let other = format!("{guarded}[[site]]\nhosts = [\"b.test\"]\norigins = [\"http://{}\"]\n", bad.address);
    assert_eq!(edge.reload(&other).await.status, 200);
    let told = edge.rig.ask("/guard", "").await.text();
    assert!(told.contains("\"is_undone\":false") && told.contains("site b.test: origins"), "{told}");
    // This one is to blame.
    let broken = other.replace(&good.address.to_string(), &bad.address.to_string());
    assert_eq!(edge.reload(&broken).await.status, 200);
    let undone = async {
        while !edge.rig.ask("/guard", "").await.text().contains("\"is_undone\":true") {
            client.get("/").await;
        }
    };
    soon("the end of the reload", undone).await;
    assert_eq!(client.get("/").await.status, 200);
    // Asked for again it is tried again, and one that stays good is left.
    assert_eq!(edge.reload(&guarded).await.status, 200);
    let told = edge.rig.ask("/guard", "").await.text();
    assert!(told.contains("\"is_undone\":false") && told.contains("\"percent\":100"), "{told}");
}
