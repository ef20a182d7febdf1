//! What is QUIC's own about DNS over QUIC (RFC 9250): streams, their ends, and what is fatal.

use quinn::{ConnectionError, VarInt};

use crate::rtype::Type;
use crate::serve::carrier::{PATIENCE, Servers, framed, over_quic};
use crate::view::{Listener, Transport};
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
    for (test, octets) in [
        ("an ID", framed(&question(1, b""))),
        ("the keepalive of TCP", framed(&question(0, &[0, 11, 0, 0]))),
        ("two questions on a stream", [&good[..], &good].concat()),
        ("an octet too many", [&good[..], b"x"].concat()),
        ("an octet too few", good[..good.len() - 1].to_vec()),
        ("half a length", vec![0]),
        ("nothing", vec![]),
        ("no header", framed(b"12345")),
        ("an answer", framed(&answer)),
    ] {
        let connection = servers.quic(server).await;
        assert_eq!(over_quic(&connection, &good).await.unwrap()[3] & 15, 0, "{test}: the connection is good");
        assert!(over_quic(&connection, &octets).await.is_err(), "{test}");
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
