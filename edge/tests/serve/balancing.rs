//! How the origins of a site share its requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use verge_edge::clock::Clock;

use super::rig::{Origin, Rig, response};

async fn origins(count: usize) -> Vec<Arc<Origin>> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin::answering(|_| response("200 OK", "Cache-Control: no-store\r\n", "x")).await);
    }
    origins
}

fn counts(origins: &[Arc<Origin>]) -> Vec<usize> {
    origins.iter().map(|origin| origin.count()).collect()
}

/// An edge in front of origins that are written so, and with these lines for the site.
async fn rig(origins: &[String], site: &str) -> Rig {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [{}]\n{site}\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        origins.join(", ")
    );
    Rig::of(Clock::system(), &text).await
}

fn table(origin: &Origin, more: &str) -> String {
    format!("{{ url = \"http://{}\", {more} }}", origin.address)
}

#[tokio::test]
async fn origins_get_requests_by_their_weights() {
    let three = origins(3).await;
    let weights = ["weight = 1", "weight = 1", "weight = 2"];
    let tables: Vec<String> = three.iter().zip(weights).map(|(origin, more)| table(origin, more)).collect();
    let rig = rig(&tables, "").await;
    for _ in 0..20 {
        rig.get("/").await;
    }
    assert_eq!(counts(&three), [5, 5, 10]);
    for (origin, expected) in three.iter().zip([5, 5, 10]) {
        let labels = format!("{{site=\"*\",origin=\"{}\"}} ", origin.address);
        assert_eq!(rig.metric(&format!("verge_edge_origin_requests_total{labels}")).await, expected);
        assert_eq!(rig.metric(&format!("verge_edge_origin_up{labels}")).await, 1);
    }
    let explained = rig.ask("/explain", "{\"url\": \"http://site.test/\"}").await.text();
    let heavy = format!("\"{} (weight 2)\"],\"balance\":\"round-robin\"", three[2].address);
    assert!(explained.contains(&heavy), "{explained}");
}

#[tokio::test]
async fn a_backup_is_asked_only_while_all_others_are_down() {
    let three = origins(3).await;
    let tables =
        [table(&three[0], "weight = 1"), table(&three[1], "weight = 1"), table(&three[2], "backup = true")];
    let rig = rig(&tables, "").await;
    for _ in 0..4 {
        rig.get("/").await;
    }
    assert_eq!(counts(&three), [2, 2, 0]);
    three[0].die().await;
    three[1].die().await;
    // Idle connections went with them: the first request finds out.
    for _ in 0..4 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert_eq!(counts(&three), [2, 2, 4]);
    let down = format!("verge_edge_origin_up{{site=\"*\",origin=\"{}\"}} ", three[0].address);
    assert_eq!(rig.metric(&down).await, 0);
}

/// Panic spares those that are up the load of all; where none is, backups are there.
#[tokio::test]
async fn a_backup_is_asked_also_where_panic_would_ask_those_that_are_down() {
    let two = origins(2).await;
    let tables = [table(&two[0], "weight = 1"), table(&two[1], "backup = true")];
    let rig = rig(&tables, "[site.health]\npanic = \"30%\"").await;
    two[0].die().await;
    for _ in 0..4 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert_eq!(counts(&two), [0, 4]);
}

/// The first that is tried leaves one that is up, which is panic.
#[tokio::test]
async fn a_backup_is_asked_in_panic_when_all_others_were_tried() {
    let three = origins(3).await;
    let tables =
        [table(&three[0], "weight = 1"), table(&three[1], "weight = 1"), table(&three[2], "backup = true")];
    let rig = rig(&tables, "[site.health]\npanic = \"90%\"").await;
    three[0].die().await;
    three[1].die().await;
    for _ in 0..4 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert_eq!(counts(&three), [0, 0, 4]);
}

#[tokio::test]
async fn requests_for_one_key_stay_at_one_origin() {
    let five = origins(5).await;
    let tables: Vec<String> = five.iter().map(|origin| table(origin, "weight = 1")).collect();
    let rig = rig(&tables, "balance = \"hash\"").await;
    for path in 0..20 {
        for _ in 0..3 {
            rig.get(&format!("/{path}")).await;
        }
    }
    let mut homes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, origin) in five.iter().enumerate() {
        for head in origin.seen() {
            homes.entry(head.split(' ').nth(1).unwrap().to_owned()).or_default().push(index);
        }
    }
    assert_eq!(homes.len(), 20);
    assert!(homes.values().all(|homes| homes.len() == 3 && homes.iter().all(|home| *home == homes[0])));
    assert!(counts(&five).iter().filter(|count| **count > 0).count() >= 3, "{:?}", counts(&five));
}

#[tokio::test]
async fn an_origin_that_is_busy_gets_no_more_while_another_is_not() {
    let (one, other) = (Origin::start().await, Origin::start().await);
    let rig =
        rig(&[table(&one, "weight = 1"), table(&other, "weight = 1")], "balance = \"least-loaded\"").await;
    let mut waiting = rig.client().await;
    waiting.send_get("/slow", "").await;
    let (held, free) = tokio::select! {
        held = one.next() => (held, &other),
        held = other.next() => (held, &one),
    };
    for _ in 0..8 {
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        free.next().await.respond(&response("200 OK", "Cache-Control: no-store\r\n", "x")).await;
        client.response().await;
    }
    held.respond(&response("200 OK", "", "late")).await;
    assert_eq!(waiting.response().await.text(), "late");
}
