//! Bytes behind a switch of protocols are neither a request nor a tunnel before the answer says so.

use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verge_edge::serve::h1::gate::Gate;

use super::server::{HalfClose, MAX_HEAD_BYTES, Seen, listen, read_until, statuses, talk};

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

fn upgrade(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
}

#[tokio::test]
async fn bytes_behind_a_switch_go_through_the_tunnel_unread() {
    let (answer, seen) = talk(format!("{}{NEXT}\0\n\r", upgrade("/switch")).as_bytes()).await;
    assert!(answer.ends_with(&format!("\r\n\r\n{NEXT}\0\n\r")), "{answer:?}");
    assert_eq!(statuses(&answer), [101]);
    assert_eq!(seen, []);
}

#[tokio::test]
async fn more_than_is_held_goes_through_the_tunnel() {
    let long = "x".repeat(300 * 1024);
    let (answer, _) = talk(format!("{}{long}", upgrade("/switch")).as_bytes()).await;
    assert!(answer.ends_with(&format!("\r\n\r\n{long}")));
}

#[tokio::test]
async fn an_upgrade_that_is_not_taken_up_is_a_request_like_others() {
    let (answer, seen) = talk(format!("{}{NEXT}{NEXT}", upgrade("/plain")).as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 200, 200], "{answer:?}");
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_bad_head_behind_an_upgrade_that_is_not_taken_up_is_refused() {
    let (answer, seen) = talk(format!("{}GET /next HTTP/1.1\r\n\r\n", upgrade("/plain")).as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 400], "{answer:?}");
    assert_eq!(seen, [Seen::new("GET", "/plain", b"")]);
}

#[tokio::test]
async fn a_body_before_a_switch_is_a_body() {
    let request = "POST /plain HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let (answer, seen) = talk(format!("{request}{NEXT}").as_bytes()).await;
    assert_eq!(statuses(&answer), [200, 200], "{answer:?}");
    assert_eq!(seen, [Seen::new("POST", "/plain", b"hi"), Seen::new("GET", "/next", b"")]);
}

/// hyper has found nothing to read while it answered: the gate must tell it that there is something now.
#[tokio::test]
async fn what_was_held_is_read_when_the_answer_is_given() {
    let (address, log) = listen(HalfClose::Abort).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{}{NEXT}", upgrade("/plain")).as_bytes()).await.unwrap();
    let answers = read_until(&mut stream, "/next").await;
    assert_eq!(statuses(&answers), [200, 200], "{answers:?}");
    assert_eq!(log.take().len(), 2);
}

/// A server that has said all through the tunnel may still listen.
#[tokio::test]
async fn a_tunnel_that_is_closed_one_way_stays_open_the_other_way() {
    let (mut client, server) = tokio::io::duplex(4096);
    let mut gate = Gate::new(server, MAX_HEAD_BYTES);
    let turns = gate.turns();
    client.write_all(upgrade("/").as_bytes()).await.unwrap();
    gate.read_exact(&mut vec![0; upgrade("/").len()]).await.unwrap();
    turns.begin(Version::HTTP_11).unwrap().switch();
    client.write_all(b"more").await.unwrap();
    gate.shutdown().await.unwrap();
    drop(client);
    let mut more = [0; 4];
    gate.read_exact(&mut more).await.unwrap();
    assert_eq!(&more, b"more");
}
