//! HTTP/2 clients hear of the end of their connection before it comes (GOAWAY, RFC 9113 §6.8).

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::encrypted::{connect, edge, terms};
use super::floods::{END_STREAM, GET, frame, request};
use super::rig::{Origin, response, soon};

const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// A frame: its kind, its flags, its stream and what is in it; none at the end of the connection.
pub async fn next(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    soon("a frame", from.read_exact(&mut head)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length as usize];
    soon("a frame", from.read_exact(&mut payload)).await.ok()?;
    Some((head[3], head[4], stream, payload))
}

/// The next frame of this kind.
async fn one_of(from: &mut (impl AsyncRead + Unpin), kind: u8) -> Vec<u8> {
    loop {
        let (other, flags, _, payload) = next(from).await.expect("the connection is open");
        if other == kind && (kind != PING || flags & ACK == 0) {
            return payload;
        }
    }
}

/// The last stream that is answered, and the error code.
fn goaway(payload: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    (number(0), number(4))
}

/// The first GOAWAY names no stream, so that requests which cross it are answered; the second names the last one.
#[tokio::test]
async fn a_drain_is_told_and_all_that_was_asked_until_then_is_answered() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, address) = edge(&origin, folder.path(), "").await;
    let (mut from, mut to) = tokio::io::split(connect(address, &terms(&["h2"])).await);
    to.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    to.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
    to.write_all(&request(1, END_STREAM, GET, "/first")).await.unwrap();
    let first = origin.next().await;
    let drain = tokio::spawn(rig.running.take().unwrap().drain());
    assert_eq!(goaway(&one_of(&mut from, GOAWAY).await), (u32::MAX >> 1, 0));
    let ping = one_of(&mut from, PING).await;
    // This one was on its way; the answer to the PING says that none is any more.
    to.write_all(&request(3, END_STREAM, GET, "/crossed")).await.unwrap();
    to.write_all(&frame(PING, ACK, 0, &ping)).await.unwrap();
    let crossed = origin.next().await;
    assert_eq!(goaway(&one_of(&mut from, GOAWAY).await), (3, 0));
    to.write_all(&request(5, END_STREAM, GET, "/beyond")).await.unwrap();
    for asked in [crossed, first] {
        asked.respond(&response("200 OK", "", "hello")).await;
    }
    let (mut bodies, mut ended) = (BTreeMap::<u32, Vec<u8>>::new(), BTreeSet::new());
    while let Some((kind, flags, stream, payload)) = next(&mut from).await {
        if kind == DATA {
            bodies.entry(stream).or_default().extend(payload);
            ended.extend(Some(stream).filter(|_| flags & END_STREAM != 0));
        }
    }
    assert_eq!(ended, BTreeSet::from([1, 3]));
    assert!(bodies.values().eq([b"hello", b"hello"]), "{bodies:?}");
    soon("the end of the drain", drain).await.unwrap();
    assert_eq!(origin.count(), 2);
}
