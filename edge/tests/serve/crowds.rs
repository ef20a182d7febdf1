//! More connections than there may be.

use super::rig::{Client, Origin, Rig, response};

const HEALTH: &str = "/.well-known/verge/health";

#[tokio::test]
async fn idle_connections_of_one_client_keep_nobody_out() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let rig = Rig::with(&[origin.address], "[limits]\nconnections = 20", "").await;
    let mut crowd: Vec<Client> = Vec::new();
    for number in 0..30 {
        let mut client = rig.client().await;
        // Some never ask, some have begun to.
        match number % 3 {
            0 => assert_eq!(client.get("/a").await.text(), "hello"),
            1 => client.write(b"GET /a HT").await,
            _ => {}
        }
        crowd.push(client);
    }
    let mut other = rig.client().await;
    assert_eq!(other.get("/a").await.text(), "hello");
    assert_eq!(other.get(HEALTH).await.status, 200);
    // NEWCOMER 30: it is not silent about that. 30 and one more came for 20 places.
    assert_eq!(rig.metric("verge_edge_limits_reached_total{limit=\"idle-connections\"} ").await, 11);
    // The longest idle ones went, the last ones are still there.
    assert!(crowd[0].is_closed().await);
    assert_eq!(crowd[27].get("/a").await.text(), "hello");
}

#[tokio::test]
async fn when_all_connections_are_in_use_a_health_check_is_answered_and_others_are_told() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "[limits]\nconnections = 2", "").await;
    let (mut first, mut second) = (rig.client().await, rig.client().await);
    first.send_get("/1", "").await;
    second.send_get("/2", "").await;
    let asked = [origin.next().await, origin.next().await];
    let mut check = rig.client().await;
    assert_eq!(check.get(HEALTH).await.status, 200);
    assert!(check.is_closed().await);
    let got = rig.client().await.get("/a").await;
    assert_eq!((got.status, got.field("retry-after").as_str()), (503, "1"));
    for asked in asked {
        asked.respond(&response("200 OK", "", "there")).await;
    }
    assert_eq!(first.response().await.text(), "there");
    assert_eq!(second.response().await.text(), "there");
}

#[tokio::test]
async fn one_network_has_its_limit() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "[limits]\nconnections_per_network = 2", "").await;
    let (mut first, mut second) = (rig.client().await, rig.client().await);
    first.send_get("/1", "").await;
    second.send_get("/2", "").await;
    let asked = [origin.next().await, origin.next().await];
    assert!(rig.client().await.is_closed().await, "both places are in use");
    assert_eq!(rig.dropped("connections-per-network").await, 1);
    for asked in asked {
        asked.respond(&response("200 OK", "", "there")).await;
    }
    first.response().await;
    second.response().await;
    // One of the two is idle now, and goes.
    assert_eq!(rig.get(HEALTH).await.status, 200);
}
