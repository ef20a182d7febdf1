//! Origins over HTTP/2 that close a connection without a word (no GOAWAY). The edge cannot know whether a request that was on
//! it was processed: it sends the request again if that does no harm (RFC 9110 §9.2.2, RFC 9112 §9.3.1).

use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use socket2::SockRef;
use tokio::sync::Notify;

use super::floods::frame;
use super::refusing::{Bare, END_HEADERS, GET, HEADERS, Origin, POST, Seen, ask, assert_up, edge, streams};
use super::rig::{Rig, soon};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close {
    Fin,
    Rst,
}

/// An origin whose first `count` connections answer so many requests and close when the next one is there. Others go on.
async fn closing(count: usize, answers: usize, close: Close) -> Origin {
    Origin::start(move |stream, number, seen| async move {
        if number >= count {
            return streams(stream, number, seen, 0, Reason::NO_ERROR).await;
        }
        if close == Close::Rst {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let mut bare = Bare::open(stream).await;
        for _ in 0..answers {
            let stream = asked(&mut bare, &seen, number).await;
            bare.answer(stream).await;
        }
        asked(&mut bare, &seen, number).await;
        if close == Close::Fin {
            bare.close().await;
        }
    })
    .await
}

/// The stream of the next request, which is noted.
async fn asked(bare: &mut Bare, seen: &Seen, number: usize) -> u32 {
    let (stream, _) = bare.asked().await;
    seen.note("a request", number);
    stream
}

/// The connections on which requests came, in order.
fn connections(origin: &Origin) -> Vec<usize> {
    origin.seen.all().iter().map(|seen| seen.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

/// An edge before this origin, which has answered a request on its first connection.
async fn used(origin: &Origin) -> Rig {
    let rig = edge(&[origin]).await;
    assert_eq!(ask(&rig, "GET /first\r\n\r\n").await.status, 200);
    rig
}

const CONTENT: &str = "Content-Length: 3\r\n\r\nabc";
const NO_CONTENT: &str = "Content-Length: 0\r\n\r\n";

#[tokio::test]
async fn what_may_be_repeated_is_sent_again_when_a_used_connection_of_http2_closes_before_an_answer() {
    for close in [Close::Fin, Close::Rst] {
        for (method, rest, status) in [
            ("GET", "\r\n", 200),
            ("HEAD", "\r\n", 200),
            ("OPTIONS", NO_CONTENT, 200),
            ("PUT", NO_CONTENT, 200),
            ("DELETE", NO_CONTENT, 200),
            ("PROPFIND", NO_CONTENT, 200),
            // Its content was taken from the client.
            ("PUT", CONTENT, 502),
            ("POST", NO_CONTENT, 502),
            ("POST", CONTENT, 502),
            ("PATCH", NO_CONTENT, 502),
            ("UNKNOWN", NO_CONTENT, 502),
        ] {
            let origin = closing(1, 1, close).await;
            let rig = used(&origin).await;
            let mut client = rig.client().await;
            let request = format!("{method} /second HTTP/1.1\r\nHost: site.test\r\n{rest}");
            client.write(request.as_bytes()).await;
            assert_eq!(client.head().await.status, status, "{method} {rest:?} {close:?}");
            let expected: &[usize] = if status == 200 { &[0, 0, 1] } else { &[0, 0] };
            assert_eq!(connections(&origin), expected, "{method} {rest:?} {close:?}");
            assert_eq!(ask(&rig, POST).await.status, 200);
            assert_up(&rig).await;
        }
    }
}

/// The second connection ends for a reason of the origin's own.
#[tokio::test]
async fn a_request_over_http2_is_sent_again_once() {
    for close in [Close::Fin, Close::Rst] {
        let origin = closing(1, 1, close).await;
        let rig = used(&origin).await;
        assert_eq!(ask(&rig, GET).await.status, 200);
        let origin = Origin::start(|stream, number, seen| async move {
            let mut bare = Bare::open(stream).await;
            if number == 0 {
                let first = asked(&mut bare, &seen, number).await;
                bare.answer(first).await;
            }
            asked(&mut bare, &seen, number).await;
            bare.close().await;
        })
        .await;
        let rig = used(&origin).await;
        assert_eq!(ask(&rig, GET).await.status, 502);
        assert_eq!(connections(&origin), [0, 0, 1]);
    }
}

/// The origin took the connection and never answered on it: that is no race with an idle connection.
#[tokio::test]
async fn a_connection_of_http2_that_served_nobody_is_its_origins_fault() {
    for close in [Close::Fin, Close::Rst] {
        let origin = closing(1, 0, close).await;
        let rig = edge(&[&origin]).await;
        assert_eq!(ask(&rig, GET).await.status, 502, "{close:?}");
        assert_eq!(connections(&origin), [0], "{close:?}");
    }
}

#[tokio::test]
async fn each_request_on_a_connection_of_http2_that_closes_is_sent_again_once_and_on_one_new_connection() {
    const READS: usize = 8;
    let origin = Origin::start(|stream, number, seen| async move {
        if number > 0 {
            return streams(stream, number, seen, 0, Reason::NO_ERROR).await;
        }
        let mut bare = Bare::open(stream).await;
        let first = asked(&mut bare, &seen, number).await;
        bare.answer(first).await;
        for _ in 0..=READS {
            asked(&mut bare, &seen, number).await;
        }
        bare.close().await;
    })
    .await;
    let rig = used(&origin).await;
    let mut clients = Vec::new();
    for number in 0..READS {
        let mut client = rig.client().await;
        client.send_get(&format!("/{number}"), "").await;
        clients.push(client);
    }
    assert_eq!(ask(&rig, POST).await.status, 502);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    let seen = connections(&origin);
    let on = |number| seen.iter().filter(|seen| **seen == number).count();
    assert_eq!((seen.len(), on(0), on(1)), (2 + 2 * READS, 2 + READS, READS), "{seen:?}");
    assert_up(&rig).await;
}

/// Of two requests on a connection that closes, the answer to one has begun: as a 1xx head, or as a part of its head.
#[tokio::test]
async fn a_request_whose_answer_has_begun_is_not_sent_again_and_others_beside_it_are() {
    // 103 by a literal field line (RFC 7541 §6.2.2) with the name `:status`.
    let early = [&[0x08, 3][..], b"103"].concat();
    for begun in ["1xx", "part of a frame", "no CONTINUATION"] {
        let early = early.clone();
        let told = Arc::new(Notify::new());
        let is_there = Arc::clone(&told);
        let origin = Origin::start(move |stream, number, seen| {
            let (early, is_there) = (early.clone(), Arc::clone(&is_there));
            async move {
                if number > 0 {
                    return streams(stream, number, seen, 0, Reason::NO_ERROR).await;
                }
                let mut bare = Bare::open(stream).await;
                let first = asked(&mut bare, &seen, number).await;
                bare.answer(first).await;
                let one = asked(&mut bare, &seen, number).await;
                is_there.notify_one();
                asked(&mut bare, &seen, number).await;
                match begun {
                    "1xx" => bare.write(&frame(HEADERS, END_HEADERS, one, &early)).await,
                    "no CONTINUATION" => bare.write(&frame(HEADERS, 0, one, &[0x88])).await,
                    _ => bare.write(&frame(HEADERS, END_HEADERS, one, &[0x88])[..9]).await,
                }
                bare.close().await;
            }
        })
        .await;
        let rig = used(&origin).await;
        let mut one = rig.client().await;
        one.send_get("/one", "").await;
        soon("the first of the two", told.notified()).await;
        assert_eq!(ask(&rig, GET).await.status, 200, "{begun}");
        let mut got = one.head().await;
        while got.status == 103 {
            got = one.head().await;
        }
        assert_eq!(got.status, 502, "{begun}");
        assert_eq!(connections(&origin), [0, 0, 0, 1], "{begun}");
    }
}
