//! Connections that change protocols, such as to WebSocket (RFC 9110 §7.8).

use std::net::SocketAddr;

use super::origin::Asked;
use super::rig::{Client, Origin, Rig, response, soon};

const ASKED: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: eA==\r\n\r\n";

async fn asked(rig: &Rig, origin: &Origin, behind: &str) -> (Client, Asked) {
    let mut client = rig.client().await;
    let head = format!("GET /chat HTTP/1.1\r\nHost: site.test\r\n{ASKED}\r\n{behind}");
    client.write(head.as_bytes()).await;
    (client, origin.next().await)
}

/// Both ends of a tunnel.
async fn open(rig: &Rig, origin: &Origin) -> (Client, Asked) {
    open_at(rig.public, origin).await
}

/// The same on an edge that listens there.
pub async fn open_at(public: SocketAddr, origin: &Origin) -> (Client, Asked) {
    let mut client = Client::connect(public).await;
    let head = format!("GET /chat HTTP/1.1\r\nHost: site.test\r\n{ASKED}\r\n");
    client.write(head.as_bytes()).await;
    let mut asked = origin.next().await;
    asked.write(AGREED.as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    (client, asked)
}

/// RFC 9110 §15.5.22: it MUST say to what; and what it says is about this connection, so nobody else gets it.
#[tokio::test]
async fn an_answer_that_wants_another_protocol_says_which() {
    let fields =
        "Connection: Upgrade, X-Own\r\nUpgrade: websocket\r\nX-Own: 1\r\nCache-Control: max-age=60\r\n";
    let origin =
        Origin::answering(move |_| response("426 Upgrade Required", fields, "use a WebSocket")).await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    for asked in ["", ASKED, "", "Connection: Upgrade\r\nUpgrade: irc\r\n"] {
        let got = client.get_with("/chat", asked).await;
        let told = ["connection", "upgrade", "x-own"].map(|name| got.field(name));
        assert_eq!((got.status, told), (426, ["upgrade", "websocket", ""].map(str::to_owned)), "{got:?}");
        assert_eq!(got.text(), "use a WebSocket");
    }
    assert_eq!(origin.count(), 4);
    // Of another answer nothing of the kind goes on.
    let origin = Origin::answering(move |_| response("400 Bad Request", fields, "")).await;
    let rig = Rig::start(&[origin.address]).await;
    let got = rig.client().await.get_with("/chat", "").await;
    assert_eq!(
        (got.status, got.field("upgrade"), got.field("connection")),
        (400, String::new(), String::new())
    );
}

#[tokio::test]
async fn bytes_pass_both_ways_once_the_origin_has_agreed() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    // Some clients send at once, before they know.
    let (mut client, mut asked) = asked(&rig, &origin, "early").await;
    let head = asked.head.to_ascii_lowercase();
    for field in
        ["\r\nconnection: upgrade\r\n", "\r\nupgrade: websocket\r\n", "\r\nsec-websocket-key: a2v5\r\n"]
    {
        assert!(head.contains(field), "{head}");
    }
    asked.write(format!("{AGREED}hello").as_bytes()).await;
    let got = client.head().await;
    assert_eq!((got.status, got.field("upgrade").as_str()), (101, "websocket"));
    assert_eq!(got.field("connection").to_ascii_lowercase(), "upgrade");
    assert_eq!(got.field("sec-websocket-accept"), "eA==");
    assert_eq!(client.bytes(5).await, b"hello");
    assert_eq!(asked.read(5).await, b"early");
    // These bytes look like a request and are none.
    client.write(b"GET /smuggled HTTP/1.1\r\n\r\n\0\xff").await;
    assert_eq!(asked.read(28).await, b"GET /smuggled HTTP/1.1\r\n\r\n\0\xff");
    let much = vec![b'x'; 300_000];
    asked.write(&much).await;
    assert_eq!(client.bytes(much.len()).await, much);
    rig.until("verge_edge_tunnels", 1).await;
    drop(asked);
    assert!(client.is_closed().await);
    drop(client);
    rig.until("verge_edge_tunnels", 0).await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn one_side_may_say_no_more_and_still_read() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let (mut client, mut asked) = open(&rig, &origin).await;
    client.write(b"last").await;
    client.say_no_more().await;
    assert_eq!(asked.read(4).await, b"last");
    asked.write(b"answer").await;
    assert_eq!(client.bytes(6).await, b"answer");
    assert_eq!(asked.until_hung_up().await, "");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_origin_that_refuses_answers_as_to_any_request() {
    for status in ["200 OK", "426 Upgrade Required", "503 Service Unavailable"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let next = "GET /next HTTP/1.1\r\nHost: site.test\r\n\r\n";
        let (mut client, asked) = asked(&rig, &origin, next).await;
        asked.respond(&response(status, "Cache-Control: max-age=60\r\n", "page")).await;
        let got = client.response().await;
        assert_eq!((got.status.to_string().as_str(), got.text().as_str()), (&status[..3], "page"));
        // The bytes that the client sent behind its head are its next request, on another connection.
        let next = origin.next().await;
        assert!(next.head.starts_with("GET /next "), "{}", next.head);
        next.respond(&response("200 OK", "", "next")).await;
        assert_eq!(client.response().await.text(), "next");
        assert_eq!(origin.connections(), 2);
        // Nothing of it was stored.
        let mut other = rig.client().await;
        other.send_get("/chat", "").await;
        origin.next().await.respond(&response("200 OK", "", "plain")).await;
        assert_eq!(other.response().await.text(), "plain");
    }
}

#[tokio::test]
async fn a_101_that_does_not_agree_to_what_was_asked_for_is_an_error() {
    for answer in [
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let (mut client, mut asked) = asked(&rig, &origin, "").await;
        asked.write(answer.as_bytes()).await;
        assert_eq!(client.response().await.status, 502, "{answer:?}");
        asked.hung_up().await;
    }
}

#[tokio::test]
async fn a_request_goes_on_as_any_other_where_no_protocol_is_passed_on() {
    let check = async |site: &str, fields: &str| {
        let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "page")).await;
        let rig = Rig::with(&[origin.address], "", site).await;
        let mut client = rig.client().await;
        assert_eq!(client.get_with("/", fields).await.text(), "page", "{fields}");
        let head = origin.seen()[0].to_ascii_lowercase();
        assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
        rig.get("/").await.assert_hit();
    };
    check("upgrades = false", ASKED).await;
    check("", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n").await;
    check("", "Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0\r\n").await;
    check("", "Upgrade: websocket\r\n").await;
}

#[tokio::test]
async fn so_many_connections_may_have_changed_protocols() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "[limits]\nupgrades = 1", "").await;
    let (client, first) = open(&rig, &origin).await;
    let got = rig.client().await.get_with("/chat", ASKED).await;
    assert_eq!((got.status, got.field("retry-after").as_str()), (503, "10"));
    assert_eq!(origin.count(), 1);
    drop((client, first));
    rig.until("verge_edge_tunnels", 0).await;
    open(&rig, &origin).await;
}

#[tokio::test]
async fn a_tunnel_ends_when_nothing_passes() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "upgrade_idle_timeout = \"100s\"").await;
    let (mut client, asked) = open(&rig, &origin).await;
    let ended = async {
        while rig.metric("verge_edge_tunnels ").await == 1 {
            rig.pass(30);
        }
    };
    soon("the tunnel's end", ended).await;
    assert!(client.is_closed().await);
    asked.hung_up().await;
    assert_eq!(rig.metric("verge_edge_tunnels_ended_total{why=\"idle\"} ").await, 1);
}

#[tokio::test]
async fn a_tunnel_does_not_outlive_the_drain_limit() {
    let origin = Origin::start().await;
    let mut rig = Rig::with(&[origin.address], "[limits]\ndrain = \"100ms\"", "").await;
    let (mut client, asked) = open(&rig, &origin).await;
    let running = rig.running.take().unwrap();
    soon("the end of the drain", running.drain()).await;
    assert!(client.is_closed().await);
    asked.hung_up().await;
}
