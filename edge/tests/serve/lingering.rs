//! Answers that come before all of their request has: the client reads them whole, however much it still sends.

use bytes::Bytes;
use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::encrypted::{connect, edge, terms};
use super::farewells::next;
use super::floods::{END_STREAM, GET, frame, request};
use super::quic::Http3;
use super::rig::{Origin, Rig, response, soon};

/// More than the sockets of both sides and the first reads hold.
const CONTENT_BYTES: usize = 6 << 20;

/// Sends a request with its content and reads only then; all that comes.
async fn sent_first(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> String {
    stream.write_all(head.as_bytes()).await.unwrap();
    soon("the edge taking all", stream.write_all(&vec![b'x'; CONTENT_BYTES])).await.unwrap();
    let mut all = Vec::new();
    soon("the end of the connection", stream.read_to_end(&mut all)).await.unwrap();
    String::from_utf8(all).unwrap()
}

fn upload(target: &str, fields: &str) -> String {
    format!("POST {target} HTTP/1.1\r\n{fields}Content-Length: {CONTENT_BYTES}\r\n\r\n")
}

const HOST: &str = "Host: site.test\r\n";
const HEALTH: &str = "/.well-known/verge/health";

fn assert_whole(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    assert_eq!(length, Some(body.len()), "{answer}");
}

/// RFC 9112 §9.6: a reset would take the answer away.
#[tokio::test]
async fn a_client_of_http1_that_reads_when_it_has_sent_all_gets_the_early_answer() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "max_request_body = \"1KiB\"").await;
    for (head, status) in [
        (upload("/a", HOST), 413),
        (upload(HEALTH, HOST), 200),
        (upload("/a", ""), 400),
        (upload("/a", &format!("{HOST}Transfer-Encoding: nonsense\r\n")), 400),
    ] {
        let stream = TcpStream::connect(rig.public).await.unwrap();
        assert_whole(&sent_first(stream, &head).await, status);
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_client_of_http1_over_tls_gets_the_early_answer_too() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    for early_data in ["", "early_data = \"get\""] {
        let (_rig, address) = edge(&origin, folder.path(), early_data).await;
        for (head, status) in [(upload(HEALTH, HOST), 200), (upload("/a", ""), 400)] {
            let stream = connect(address, &terms(&["http/1.1"])).await;
            assert_whole(&sent_first(stream, &head).await, status);
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_HEADERS: u8 = 4;
const NO_ERROR: [u8; 4] = [0; 4];

/// RFC 9113 §8.1: the answer is whole, then no more content is asked for; the connection and its other streams go on.
#[tokio::test]
async fn a_stream_of_http2_that_is_answered_early_ends_without_an_error() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, address) = edge(&origin, folder.path(), "").await;
    let (mut from, mut to) = tokio::io::split(connect(address, &terms(&["h2"])).await);
    to.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    to.write_all(&frame(4, 0, 0, b"")).await.unwrap();
    // A POST (RFC 7541, appendix A).
    let mut block = vec![0x83, 0x87];
    for (index, text) in [(4, HEALTH), (1, "site.test"), (0x0f, "6000000")] {
        if index == 0x0f {
            // `content-length` is 28 in the static table.
            block.extend([0x0f, 28 - 15]);
        } else {
            block.push(index);
        }
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
    to.write_all(&frame(HEADERS, END_HEADERS, 1, &block)).await.unwrap();
    to.write_all(&frame(DATA, 0, 1, &[b'x'; 16_000])).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let (kind, flags, stream, payload) = next(&mut from).await.expect("the connection is open");
        if stream == 1 && kind == RST_STREAM {
            assert_eq!(payload, NO_ERROR);
            break;
        }
        if stream == 1 && (kind == HEADERS || kind == DATA) {
            seen.push((kind, flags & END_STREAM != 0, payload.len()));
        }
    }
    assert!(seen.len() >= 2 && seen[0].0 == HEADERS && seen.last().unwrap().1, "{seen:?}");
    // More of the content was under way.
    for _ in 0..3 {
        to.write_all(&frame(DATA, 0, 1, &[b'x'; 16_000])).await.unwrap();
    }
    to.write_all(&request(3, END_STREAM, GET, "/a")).await.unwrap();
    loop {
        let (kind, flags, stream, payload) = next(&mut from).await.expect("the connection is open");
        assert!(stream != 3 || kind != RST_STREAM);
        if (kind, stream) == (DATA, 3) && flags & END_STREAM != 0 {
            assert_eq!(payload, b"hello");
            break;
        }
    }
}

/// RFC 9114 §4.1.2: STOP_SENDING with H3_NO_ERROR, and the whole answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_http3_that_is_answered_early_is_stopped_without_an_error() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (rig, _) = edge(&origin, folder.path(), "").await;
    let client = Http3::open(rig.running.as_ref().unwrap().listening().quic[0]).await;
    let (mut send, mut receive) = client.connection.open_bi().await.unwrap();
    // A POST by the static table (RFC 9204, appendix A), with the path and the length as literals.
    let mut section = vec![0, 0, 0xd4, 0xd7];
    for (index, text) in [(0x50, "site.test"), (0x51, HEALTH), (0x54, "6000000")] {
        section.extend([index, u8::try_from(text.len()).unwrap()]);
        section.extend(text.as_bytes());
    }
    let mut head = vec![1, u8::try_from(section.len()).unwrap()];
    head.extend(section);
    send.write_all(&head).await.unwrap();
    // DATA of 6,000,000 bytes, of which the first come.
    let data = [&[0][..], &(6_000_000_u32 | 0x8000_0000).to_be_bytes(), b"xxxxx"].concat();
    send.write_chunk(Bytes::from(data)).await.unwrap();
    let stopped = soon("the end of the content", send.stopped()).await.unwrap();
    assert_eq!(stopped, Some(VarInt::from_u32(0x100)));
    let answer = soon("the answer", receive.read_to_end(1 << 20)).await.unwrap();
    assert_eq!(answer.first(), Some(&1), "{answer:?}");
    assert!(String::from_utf8_lossy(&answer).contains("serving"), "{answer:?}");
}
