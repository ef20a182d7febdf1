//! Abuse of HTTP/3, and how each kind ends.

use quinn::{RecvStream, VarInt};
use verge_edge::clock::Clock;

use super::{FRESH, code, config, dial, head, one_way, quic_edge, raw};
use crate::encrypted::{certificate, edge};
use crate::rig::{Origin, Rig, soon};

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_ends_the_connection_with_its_code() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let bad = |frame: &[u8]| [head(b"/"), frame.to_vec()].concat();
    let requests = [
        ("DATA first", b"\x00\x01x".to_vec(), 0x105),
        ("SETTINGS", bad(b"\x04\x00"), 0x105),
        ("PUSH_PROMISE", bad(b"\x05\x01\x00"), 0x105),
        ("PING of HTTP/2", bad(b"\x06\x00"), 0x105),
        ("a third HEADERS", bad(b"\x01\x02\x00\x00\x01\x02\x00\x00"), 0x105),
        ("a frame that is cut off", bad(b"\x40"), 0x106),
        ("a dynamic reference", b"\x01\x03\x00\x00\x80".to_vec(), 0x200),
        ("a section that is cut off", b"\x01\x01\x00".to_vec(), 0x200),
        ("frames that nobody knows", bad(&b"\x21\x00".repeat(2_000)), 0x107),
        ("empty DATA", bad(&b"\x00\x00".repeat(2_000)), 0x107),
    ];
    for (what, bytes, expected) in requests {
        let (_endpoint, connection) = raw(quic).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        assert_eq!(code(&connection, what).await, expected, "{what}");
    }
    let streams: [(&str, &[&[u8]], u64); 9] = [
        ("no settings", &[b"\x00\x07\x01\x00"], 0x10a),
        ("settings twice", &[b"\x00\x04\x00\x04\x00"], 0x105),
        ("a setting of HTTP/2", &[b"\x00\x04\x02\x02\x00"], 0x109),
        ("two control streams", &[b"\x00\x04\x00", b"\x00\x04\x00"], 0x103),
        ("a push", &[b"\x00\x04\x00", b"\x01\x00"], 0x103),
        ("an entry for a table", &[b"\x00\x04\x00", b"\x02\xc0\x01a"], 0x201),
        ("a table", &[b"\x00\x04\x00", b"\x02\x3f\x81\x01"], 0x201),
        ("an acknowledgement", &[b"\x00\x04\x00", b"\x03\x81"], 0x202),
        ("CANCEL_PUSH", &[b"\x00\x04\x00\x03\x01\x00"], 0x108),
    ];
    for (what, opened, expected) in streams {
        let (_endpoint, connection) = dial(quic, "site.test").await;
        let mut open = Vec::new();
        for bytes in opened {
            open.push(one_way(&connection, bytes).await);
        }
        assert_eq!(code(&connection, what).await, expected, "{what}");
    }
    let (_endpoint, connection) = dial(quic, "site.test").await;
    one_way(&connection, b"\x00\x04\x00").await.finish().unwrap();
    assert_eq!(code(&connection, "the end of the control stream").await, 0x104);
}

/// RFC 9114 §6.2: without a control stream there is no HTTP/3, and a connection that waited for it would be beyond all limits.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_lets_the_edge_open_no_stream_is_sent_away() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let mut terms = config("h3");
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    terms.transport_config(std::sync::Arc::new(transport));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(terms, quic, "site.test").unwrap();
    let connection = soon("a handshake", connecting).await.unwrap();
    assert_eq!(code(&connection, "no stream").await, 0x101);
}

/// A stream's end as the client sees it: the code of its reset, or its answer.
async fn ended(mut receive: RecvStream, what: &str) -> Result<Vec<u8>, u64> {
    match soon(what, receive.read_to_end(1 << 20)).await {
        Ok(answer) => Ok(answer),
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => Err(code.into_inner()),
        Err(other) => panic!("{what}: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_malformed_ends_its_stream_alone() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let (_endpoint, connection) = raw(quic).await;
    let with = |line: &[u8]| {
        let mut frame = head(b"/");
        frame.extend(line);
        frame[1] += u8::try_from(line.len()).unwrap();
        frame
    };
    for (what, bytes, expected) in [
        ("nothing", Vec::new(), 0x10d),
        ("no pseudo-field", b"\x01\x02\x00\x00".to_vec(), 0x10e),
        ("a pseudo-field twice", with(b"\xd1"), 0x10e),
        ("Connection", with(b"\x27\x03connection\x01x"), 0x10e),
        ("upper case", with(b"\x23ABC\x01x"), 0x10e),
        ("a line end in a value", with(b"\x23abc\x02\r\n"), 0x10e),
    ] {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        assert_eq!(ended(receive, what).await, Err(expected), "{what}");
    }
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(&head(b"/")).await.unwrap();
    send.finish().unwrap();
    assert!(ended(receive, "a good one").await.unwrap().ends_with(b"hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_head_a_slow_one_and_a_bad_target_are_told_so() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let (_rig, _, quic, _folder) = quic_edge(&origin).await;
    let (_endpoint, connection) = raw(quic).await;
    let bomb = {
        // An entry of the static table with a long value, two thousand times: 1,000 bytes unpack to 60,000.
        let mut section = vec![0, 0];
        section.extend([0xc0 | 33].repeat(2_000));
        [&[1, 0x40 | (section.len() >> 8) as u8, section.len() as u8][..], &section].concat()
    };
    for (what, bytes, is_ended, expected) in [
        ("a frame beyond the limit", b"\x01\x80\x01\x00\x00".to_vec(), false, "431"),
        ("a list beyond the limit", bomb, true, "431"),
        ("half a head", head(b"/")[..10].to_vec(), false, "408"),
        ("a bad target", head(b"/a b"), true, "400"),
    ] {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        if is_ended {
            send.finish().unwrap();
        }
        let answer = ended(receive, what).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains(expected), "{what}: {answer:?}");
    }
}

/// As the two bytes behind the type of the frame have it.
const HEAD: usize = 16_000;

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_lack_a_byte_are_bounded_on_a_connection_and_other_requests_go_on() {
    let origin = Origin::answering(|_| FRESH.to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path(), &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n[tls]\n{tls}[[site]]\nhosts = [\"*\"]\n\
         origins = [\"http://{}\"]\n[limits]\nhead_timeout = \"60s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let rig = Rig::of(Clock::system(), &text).await;
    let quic = rig.running.as_ref().unwrap().listening().quic[0];
    let (_endpoint, connection) = raw(quic).await;
    let lacking = [&[1, 0x7e, 0x80][..], &[b'a'; HEAD - 1]].concat();
    let (mut sending, mut streams) = (Vec::new(), tokio::task::JoinSet::new());
    for _ in 0..99 {
        let (mut send, receive) = soon("a stream", connection.open_bi()).await.unwrap();
        // One that was refused takes no more.
        let _ = soon("its bytes", send.write_all(&lacking)).await;
        sending.push(send);
        streams.spawn(ended(receive, "a head that lacks a byte"));
    }
    // 256 KiB, which is what clients may send ahead of bodies too.
    let most_held = (256 << 10) / HEAD;
    for _ in most_held..99 {
        let end = soon("a refusal", streams.join_next()).await.unwrap().unwrap();
        assert_eq!(end, Err(0x10b), "H3_REQUEST_REJECTED: it may be sent again");
    }
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(&head(b"/")).await.unwrap();
    send.finish().unwrap();
    assert!(ended(receive, "another request").await.unwrap().ends_with(b"hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_end_the_connection_when_they_are_too_many() {
    let origin = Origin::start().await;
    let (rig, _, quic, _folder) = quic_edge(&origin).await;
    let (_endpoint, connection) = raw(quic).await;
    let mut count = 0;
    let ended = async {
        while let Ok((mut send, mut receive)) = connection.open_bi().await {
            if send.write_all(&head(b"/slow")).await.is_err() {
                break;
            }
            let _ = send.reset(VarInt::from_u32(0x10c));
            let _ = receive.stop(VarInt::from_u32(0x10c));
            count += 1;
            assert!(count < 50_000, "they go on for ever");
        }
    };
    soon("the end of a Rapid Reset", ended).await;
    assert_eq!(code(&connection, "its code").await, 0x107);
    assert!(count > 200, "a visitor who leaves a page is no attacker: {count}");
    assert_eq!(rig.dropped("http3-flood").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_say_nothing_end_the_connection_when_they_are_too_many() {
    let origin = Origin::start().await;
    let (rig, _, quic, _folder) = quic_edge(&origin).await;
    let (_endpoint, connection) = raw(quic).await;
    let mut count = 0;
    let ended = async {
        while let Ok(mut send) = connection.open_uni().await {
            if send.finish().is_err() {
                break;
            }
            count += 1;
            assert!(count < 50_000, "they go on for ever");
        }
    };
    soon("the end of a flood of empty streams", ended).await;
    assert_eq!(code(&connection, "its code").await, 0x107);
    assert!(count >= 64, "a few are no attack: {count}");
    assert_eq!(rig.dropped("http3-flood").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_is_let_go_of_and_others_go_on() {
    let big = "x".repeat(2 << 20);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: {}\r\n\r\n{big}",
        big.len()
    );
    let origin =
        Origin::answering(move |head| if head.contains("/big") { answer.clone() } else { FRESH.to_owned() })
            .await;
    let folder = tempfile::tempdir().unwrap();
    let (rig, _) = edge(&origin, folder.path(), "").await;
    let quic = rig.running.as_ref().unwrap().listening().quic[0];
    let (_endpoint, connection) = raw(quic).await;
    let (mut send, held) = connection.open_bi().await.unwrap();
    send.write_all(&head(b"/big")).await.unwrap();
    send.finish().unwrap();
    // The client's window for a stream is 1.25 MB, and nobody reads.
    origin_has(&origin, 1).await;
    rig.clock.advance(std::time::Duration::from_secs(61));
    let told = async {
        while rig.dropped("stalled").await + rig.dropped("below-min-rate").await == 0 {
            rig.clock.advance(std::time::Duration::from_secs(61));
            let (mut send, receive) = connection.open_bi().await.unwrap();
            send.write_all(&head(b"/")).await.unwrap();
            send.finish().unwrap();
            assert!(ended(receive, "another").await.unwrap().ends_with(b"hello"));
        }
    };
    soon("the end of a held answer", told).await;
    drop(held);
}

async fn origin_has(origin: &Origin, count: usize) {
    let there = async {
        while origin.count() < count {
            tokio::task::yield_now().await;
        }
    };
    soon("a request at the origin", there).await;
}
