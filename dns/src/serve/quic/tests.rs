//! QUIC's own part of DNS over QUIC (RFC 9250): streams, their ends, and fatal errors.

use std::net::UdpSocket;
use std::time::Duration;

use quinn::{ConnectionError, Endpoint, VarInt};

use crate::client::{Listener, Transport};
use crate::rtype::Type;
use crate::serve::testing::{PATIENCE, Servers, framed, over_quic};
use crate::wire::tests;

/// A question for the SOA record, with an OPT record of these options.
fn question(id: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(crate::name::Name::parse_absolute("ex.").unwrap().as_wire());
    message.extend_from_slice(&Type::SOA.0.to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, u8::try_from(options.len()).unwrap()]);
    message.extend_from_slice(options);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_is_fatal_to_the_connection() {
    let servers = Servers::new(tests::compliance().0);
    let server = servers.address(Transport::Quic, Listener::Outside);
    let good = framed(&question(0, b""));
    let mut answer = question(0, b"");
    answer[2] |= 0x80;
    for (test, bytes) in [
        ("an ID", framed(&question(1, b""))),
        ("the keepalive of TCP", framed(&question(0, &[0, 11, 0, 0]))),
        ("two questions on a stream", [&good[..], &good].concat()),
        ("a byte too many", [&good[..], b"x"].concat()),
        ("a byte too few", good[..good.len() - 1].to_vec()),
        ("half a length", vec![0]),
        ("nothing", vec![]),
        ("no header", framed(b"12345")),
        ("an answer", framed(&answer)),
    ] {
        let connection = servers.quic(server).await;
        assert_eq!(over_quic(&connection, &good).await.unwrap()[3] & 15, 0, "{test}: the connection is good");
        assert!(over_quic(&connection, &bytes).await.is_err(), "{test}");
        let closed = tokio::time::timeout(PATIENCE, connection.closed()).await.expect(test);
        let ConnectionError::ApplicationClosed(closed) = closed else { panic!("{test}: {closed}") };
        assert_eq!(closed.error_code, VarInt::from_u32(2), "{test}: DOQ_PROTOCOL_ERROR");
    }
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stops_half_way_holds_nobody_up() {
    let servers = Servers::new(tests::compliance().0);
    let connection = servers.quic(servers.address(Transport::Quic, Listener::Outside)).await;
    let good = framed(&question(0, b""));
    let mut halves = Vec::new();
    for _ in 0..50 {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&good[..10]).await.unwrap();
        halves.push((send, receive));
    }
    for _ in 0..200 {
        assert_eq!(over_quic(&connection, &good).await.unwrap()[3] & 15, 0);
    }
    for (mut send, mut receive) in halves {
        send.write_all(&good[10..]).await.unwrap();
        send.finish().unwrap();
        assert!(receive.read_to_end(1000).await.unwrap().len() > 12);
    }
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_changes_its_mind_breaks_nothing() {
    let servers = Servers::new(tests::compliance().0);
    let connection = servers.quic(servers.address(Transport::Quic, Listener::Outside)).await;
    let good = framed(&question(0, b""));
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&good[..10]).await.unwrap();
    // DOQ_REQUEST_CANCELLED (RFC 9250 §4.3).
    send.reset(VarInt::from_u32(3)).unwrap();
    receive.stop(VarInt::from_u32(3)).unwrap();
    assert_eq!(over_quic(&connection, &good).await.unwrap()[3] & 15, 0);
    servers.end().await;
}

/// As many as would fill the pool many times over, if what was answered still had its room.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_for_its_client_holds_no_question() {
    const MANY: usize = 20;
    let servers = Servers::with("tcp.max_buffered = \"256KiB\"\n", tests::compliance().0);
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1));
    let server = servers.address(Transport::Quic, Listener::Outside);
    let connection = servers.quic_with(&endpoint, transport, server).await;
    let mut long = question(0, b"");
    long.resize(60_000, 0);
    let mut halves = Vec::new();
    for _ in 0..MANY {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&framed(&long)).await.unwrap();
        send.finish().unwrap();
        let mut first = [1];
        // The first byte is there, so the rest waits.
        receive.read_exact(&mut first).await.expect("it is answered");
        halves.push((send, receive));
    }
    for (_send, mut receive) in halves {
        assert!(receive.read_to_end(1000).await.unwrap().len() >= 12);
    }
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_is_let_go_of() {
    let servers = Servers::with("tcp.write_timeout = \"200ms\"\n", tests::compliance().0);
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1));
    let server = servers.address(Transport::Quic, Listener::Outside);
    let connection = servers.quic_with(&endpoint, transport, server).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&framed(&question(0, b""))).await.unwrap();
    send.finish().unwrap();
    let reset = tokio::time::timeout(PATIENCE, receive.received_reset()).await.expect("it ends");
    assert_eq!(reset.unwrap(), Some(VarInt::from_u32(4)), "DOQ_EXCESSIVE_LOAD");
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_open_streams_of_one_direction() {
    let servers = Servers::new(tests::compliance().0);
    let connection = servers.quic(servers.address(Transport::Quic, Listener::Outside)).await;
    tokio::select! {
        biased;
        opened = connection.open_uni() => panic!("there is credit for one: {opened:?}"),
        () = std::future::ready(()) => {}
    }
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_idle_timeout_and_pings_do_not_stretch_it() {
    let servers = Servers::new(tests::compliance().0);
    let mut world = tests::compliance().0;
    world.protocol.idle_timeout = Duration::from_secs(2);
    servers.reload(world);
    let server = servers.address(Transport::Quic, Listener::Outside);
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    for keep_alive in [None, Some(Duration::from_millis(50))] {
        let mut transport = quinn::TransportConfig::default();
        // Its own is far away, so that what the client does is the server's.
        transport.keep_alive_interval(keep_alive);
        let connection = servers.quic_with(&endpoint, transport, server).await;
        let good = framed(&question(0, b""));
        assert_eq!(over_quic(&connection, &good).await.unwrap()[3] & 15, 0);
        let closed = tokio::time::timeout(PATIENCE, connection.closed()).await.expect("it is closed");
        match (closed, keep_alive) {
            // RFC 9250 §5.5: DOQ_NO_ERROR, if the silence that QUIC itself counts was not sooner.
            (ConnectionError::ApplicationClosed(closed), _) => assert_eq!(closed.error_code.into_inner(), 0),
            (ConnectionError::TimedOut, None) => {}
            (other, _) => panic!("{keep_alive:?}: {other}"),
        }
    }
    servers.end().await;
}

/// A client that forges an address inside must not cause an answer that then finds its way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_stays_at_the_address_of_its_handshake() {
    let (world, hidden) = tests::leaks("127.0.0.2/32");
    let servers = Servers::new(world);
    let server = servers.address(Transport::Quic, Listener::Inside);
    let mut question = hidden[0].clone();
    question[..2].fill(0);
    let rcode = |answer: Vec<u8>| answer[3] & 15;

    let insider = Endpoint::client("127.0.0.2:0".parse().unwrap()).unwrap();
    let connection = servers.quic_from(&insider, server).await;
    assert_eq!(
        rcode(over_quic(&connection, &framed(&question)).await.unwrap()),
        0,
        "it is not hidden inside"
    );

    let outsider = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(VarInt::from_u32(3000).into()));
    let connection = servers.quic_with(&outsider, transport, server).await;
    assert_eq!(rcode(over_quic(&connection, &framed(&question)).await.unwrap()), 2, "the guard stops it");
    outsider.rebind(UdpSocket::bind("127.0.0.2:0").unwrap()).unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&framed(&question)).await.unwrap();
    send.finish().unwrap();
    let answer = tokio::time::timeout(PATIENCE, receive.read_to_end(65_537)).await.expect("it ends");
    assert!(answer.is_err(), "it is answered at an address that has not shaken hands");
    servers.end().await;
}
