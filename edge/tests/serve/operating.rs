//! The operator's view: health, metrics, purge's token, drain, ports.

use std::io::{Read as _, Write as _};
use std::path::Path;

use verge_edge::clock::Clock;
use verge_edge::{config, run};

use super::client::Client;
use super::rig::{Origin, Rig, response, soon};

const HEALTH: &str = "/.well-known/verge/health";

#[tokio::test]
async fn a_draining_edge_says_503_and_finishes_what_is_in_flight() {
    let origin = Origin::start().await;
    let mut rig = Rig::start(&[origin.address]).await;
    assert_eq!(rig.get(HEALTH).await.status, 200);
    let mut idle = rig.client().await;
    assert_eq!(idle.get(HEALTH).await.status, 200);
    let mut busy = rig.client().await;
    busy.send_get("/a", "").await;
    let asked = origin.next().await;
    let drain = tokio::spawn(rig.running.take().unwrap().drain());
    assert!(idle.is_closed().await, "an idle connection closes");
    assert_eq!(rig.get(HEALTH).await.status, 503);
    let ready = Client::connect(rig.admin).await.get("/readyz").await;
    assert_eq!(ready.status, 503);
    asked.respond(&response("200 OK", "", "hello")).await;
    assert_eq!(busy.response().await.text(), "hello");
    assert!(busy.is_closed().await);
    soon("the end of the drain", drain).await.unwrap();
    assert!(tokio::net::TcpStream::connect(rig.public).await.is_err());
    assert!(tokio::net::TcpStream::connect(rig.admin).await.is_err());
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let origin = Origin::start().await;
    let mut rig = Rig::with(&[origin.address], "[limits]\ndrain = \"50ms\"", "").await;
    let mut busy = rig.client().await;
    busy.send_get("/a", "").await;
    let _held = origin.next().await;
    soon("the end of the drain", rig.running.take().unwrap().drain()).await;
}

#[tokio::test]
async fn a_drain_waits_for_who_was_connected_and_not_accepted_yet() {
    let origin = Origin::start().await;
    let mut rig = Rig::start(&[origin.address]).await;
    // By the kernel alone: no task of this thread runs until the drain has begun.
    let mut client = std::net::TcpStream::connect(rig.public).unwrap();
    client.write_all(b"GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").unwrap();
    let drain = tokio::spawn(rig.running.take().unwrap().drain());
    let asked = soon("the request", origin.next()).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!drain.is_finished());
    asked.respond(&response("200 OK", "", "hello")).await;
    soon("the end of the drain", drain).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn who_asks_and_does_not_read_keeps_nobody_from_the_admin_listener() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut greedy = Vec::new();
    // More than have a place, each with more answers than a socket takes.
    for _ in 0..70 {
        let mut client = Client::narrow(rig.admin).await;
        client.write(&b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000)).await;
        greedy.push(client);
    }
    assert_eq!(Client::connect(rig.admin).await.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn strangers_are_told_no_more_of_the_health_than_the_config_says() {
    let origin = Origin::start().await;
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\n[[site]]\nhosts = [\"site.test\"]\norigins = [\"http://{}\"]\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let rig = Rig::by(Clock::system(), &text, true).await;
    let told = async |rig: &Rig, client: &str| {
        let fields = if client.is_empty() { String::new() } else { format!("X-Forwarded-For: {client}\r\n") };
        let got = rig.client().await.get_with(HEALTH, &fields).await;
        assert_eq!((got.status, got.field("content-type").as_str()), (200, "application/json"));
        let document: serde_json::Value = serde_json::from_str(&got.text()).unwrap();
        let mut members: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        members.join(" ")
    };
    let all = "bytes limit load processors requests status";
    for (client, expected) in [
        ("", all),
        ("10.1.2.3", all),
        ("fd00::1", all),
        ("9.9.9.9", "load status"),
        ("2620:fe::fe", "load status"),
    ] {
        assert_eq!(told(&rig, client).await, expected, "{client}");
    }
    rig.reload(&format!("health_from = [\"9.9.9.0/24\"]\n{text}")).await;
    for (client, expected) in
        [("", "status"), ("10.1.2.3", "status"), ("9.9.9.9", all), ("9.9.8.9", "status")]
    {
        assert_eq!(told(&rig, client).await, expected, "{client}");
    }
}

#[tokio::test]
async fn purge_needs_the_token() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await;
    let body = "{\"url\": \"http://site.test/a\"}";
    for field in ["", "Authorization: Bearer wrong\r\n"] {
        let head =
            format!("POST /purge HTTP/1.1\r\nHost: a\r\n{field}Content-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(Client::connect(rig.admin).await.raw(head.as_bytes()).await.status, 401);
    }
    rig.get("/a").await.assert_hit();
}

#[tokio::test]
async fn metrics_count_requests_by_what_became_of_them() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    for _ in 0..3 {
        rig.get("/a").await;
    }
    let metrics = Client::connect(rig.admin).await.get("/metrics").await.text();
    for line in [
        "verge_edge_requests_total{site=\"*\",cache=\"miss\"} 1",
        "verge_edge_requests_total{site=\"*\",cache=\"hit\"} 2",
        "verge_edge_sent_bytes_total{site=\"*\"} 15",
        "verge_edge_origin_bytes_total{site=\"*\"} 5",
        "verge_edge_fills_total{site=\"*\"} 1",
        "verge_edge_hit_duration_seconds_count{site=\"*\"} 2",
        "verge_edge_miss_duration_seconds_count{site=\"*\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
}

#[tokio::test]
async fn before_a_drain_health_checks_are_told_and_all_else_goes_on() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let top = "[limits]\ndrain_delay = \"1h\"\ndrain = \"1s\"";
    let mut rig = Rig::with(&[origin.address], top, "").await;
    let mut kept = rig.client().await;
    kept.get("/a").await.assert_forwarded();
    let drained = tokio::spawn(rig.running.take().unwrap().drain());
    let ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let told = async { while Client::connect(rig.admin).await.raw(ready).await.status != 503 {} };
    soon("the operator to be told", told).await;
    assert_eq!(kept.get(verge_edge::serve::HEALTH_PATH).await.status, 503);
    for _ in 0..2 {
        let got = kept.get("/a").await;
        got.assert_hit();
        assert_eq!(got.field("connection"), "", "the connection goes on");
    }
    rig.get("/a").await.assert_hit();
    assert!(!drained.is_finished());
    rig.pass(3600);
    assert!(kept.is_closed().await);
    soon("the end", drained).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_names_the_setting() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let site = "[[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:1\"]\n";
    let check = async |text: String, setting: &str| {
        let folder = tempfile::tempdir().unwrap();
        let config = config::parse(&text, folder.path(), Path::new("edge.toml")).unwrap();
        let error = run::start(config).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains(&format!("`{setting}`")), "{error}");
    };
    check(format!("listen = [\"{address}\"]\n{site}"), "listen").await;
    let admin = format!("listen = [\"127.0.0.1:0\"]\n{site}[admin]\nlisten = \"{address}\"\n");
    check(admin, "admin.listen").await;
}

#[tokio::test]
async fn a_host_without_a_site_is_misdirected() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"site.test\"]\norigins = [\"http://{}\"]\n",
        origin.address
    );
    let config = config::parse(&text, folder.path(), Path::new("edge.toml")).unwrap();
    let running = run::start(config).await.unwrap();
    let mut client = Client::connect(running.listening().public[0]).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.raw(b"GET / HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n").await.status, 421);
    assert_eq!(origin.count(), 1);
}

/// A scraper that hangs, or somebody who opens connections and says nothing, must not keep the operator out.
#[tokio::test]
async fn idle_connections_to_the_admin_listener_keep_nobody_out() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(Client::connect(rig.admin).await);
    }
    assert_eq!(Client::connect(rig.admin).await.get("/healthz").await.status, 200);
    assert_eq!(rig.purge("/a").await.status, 200);
    assert!(idle[0].is_closed().await);
}
