//! Handshakes, and what is agreed to in them.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::client::{Listener, Transport};
use crate::config::Tls;
use crate::serve::testing::{Servers, framed};
use crate::wire::tests;

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_is_not_spoken_here_is_refused() {
    let servers = Servers::new(tests::compliance().0);
    for (transport, alpn, expected) in [
        (Transport::Tls, DOT, true),
        (Transport::Tls, &[][..], true),
        (Transport::Tls, &[&b"h2"[..]], false),
        (Transport::Https, &[&b"h2"[..]], true),
        (Transport::Https, &[&b"http/1.1"[..]], true),
        (Transport::Https, &[][..], true),
        (Transport::Https, DOT, false),
    ] {
        let server = servers.address(transport, Listener::Outside);
        let shaken = servers.try_tls(server, alpn).await;
        assert_eq!(shaken.is_ok(), expected, "{transport:?} {alpn:?}");
    }
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_says_that_nothing_was_cut_off() {
    let servers = Servers::new(tests::compliance().0);
    let mut stream = servers.tls(servers.address(Transport::Tls, Listener::Outside), DOT).await;
    // No question: the server ends the connection.
    stream.write_all(&framed(b"no question")).await.unwrap();
    let mut rest = Vec::new();
    // rustls reports UnexpectedEof if close_notify is missing.
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
    servers.end().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_has_a_deadline_and_garbage_none() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [certificate, key] = ["chain.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let deadline = Duration::from_secs(5);
    let certificates = Certificates::load(&Tls { certificate, key, handshake_timeout: deadline }).unwrap();
    let acceptor = Acceptor::new(&certificates, DOT, deadline, None);
    for (sent, expected) in [
        (&b""[..], Ended::SlowHandshake),
        (&b"\x16\x03\x01\x02\x00\x01"[..], Ended::SlowHandshake),
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Ended::Handshake),
    ] {
        let (mut client, server) = duplex(1024);
        client.write_all(sent).await.unwrap();
        assert_eq!(acceptor.handshake(server).await.err(), Some(expected), "{sent:?}");
    }
}
