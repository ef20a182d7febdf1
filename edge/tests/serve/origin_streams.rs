//! Origins over HTTP/2: their 1xx heads, and how a response's end differs from its breaking off (RFC 9113 §8.1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::encrypted::{certificate, connect, terms};
use super::rig::{Rig, soon};
use verge_edge::clock::Clock;

/// An origin in clear text that leaves each stream to the test.
struct Origin {
    rig: Rig,
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

/// A request as a test has it: its number, from 0; its content; the way back; and the end of its connection.
struct Stream {
    number: usize,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    connection: CancellationToken,
}

impl Origin {
    async fn with<F, A>(answer: F) -> Self
    where
        F: Fn(Stream) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        Self::of_site("", answer).await
    }

    async fn of_site<F, A>(site: &str, answer: F) -> Self
    where
        F: Fn(Stream) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, counter) = (answer.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let end = CancellationToken::new();
                    loop {
                        let accepted = tokio::select! {
                            accepted = connection.accept() => accepted,
                            () = end.cancelled() => return,
                        };
                        let Some(Ok((request, respond))) = accepted else { return };
                        let number = counter.fetch_add(1, Ordering::Relaxed);
                        tokio::spawn(answer(Stream { number, request, respond, connection: end.clone() }));
                    }
                });
            }
        });
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"h2c://{address}\"]\n\
             {site}\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n"
        );
        Self { rig: Rig::of(Clock::system(), &text).await, address, asked }
    }
}

fn head(fields: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::new(());
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

fn informational(status: StatusCode, fields: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = head(fields);
    *response.status_mut() = status;
    response
}

fn whole(mut respond: SendResponse<Bytes>, fields: &[(&'static str, &'static str)], body: &'static str) {
    let mut stream = respond.send_response(head(fields), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

/// RFC 9110 §15.2: a proxy forwards them, whichever version they come by. The last one comes with the response itself.
#[tokio::test]
async fn hints_reach_the_client_in_their_order_before_the_response() {
    let origin = Origin::with(|mut stream| async move {
        let link = [("link", "</a.css>; rel=preload")];
        stream.respond.send_informational(informational(StatusCode::PROCESSING, &[])).unwrap();
        stream.respond.send_informational(informational(StatusCode::EARLY_HINTS, &link)).unwrap();
        stream.respond.send_informational(informational(StatusCode::EARLY_HINTS, &[("x-n", "2")])).unwrap();
        whole(stream.respond, &[], "page");
    })
    .await;
    for round in 0..20 {
        let mut client = origin.rig.client().await;
        client.send_get(&format!("/{round}"), "").await;
        let heads = [client.head().await, client.head().await, client.head().await];
        assert_eq!(heads.each_ref().map(|head| head.status), [102, 103, 103], "{heads:?}");
        assert_eq!(heads[1].field("link"), "</a.css>; rel=preload");
        assert_eq!(heads[2].field("x-n"), "2");
        assert_eq!(client.response().await.text(), "page");
    }
}

/// RFC 9110 §10.1.1: content that is expected to wait goes when the origin says so, and then at once.
#[tokio::test]
async fn content_waits_for_the_word_of_an_origin_over_http2() {
    let origin = Origin::with(|mut stream| async move {
        assert_eq!(stream.request.headers()["expect"], "100-continue");
        stream.respond.send_informational(informational(StatusCode::CONTINUE, &[])).unwrap();
        let body = stream.request.body_mut();
        let mut content = Vec::new();
        while let Some(bytes) = body.data().await {
            content.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(content, b"hi");
        whole(stream.respond, &[], "done");
    })
    .await;
    let mut client = origin.rig.client().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(client.head().await.status, 100);
    client.write(b"hi").await;
    assert_eq!(client.response().await.text(), "done");
}

/// How a response fails to end.
#[derive(Debug, Clone, Copy)]
enum End {
    Reset(Reason),
    /// The connection is closed, once the client has the head.
    HungUp,
    /// END_STREAM, which does not make it as long as it said.
    Said,
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const NEVER: (&str, &str) = ("cache-control", "no-store");

/// Whether it is stored or passed on, and whether its length is known or not.
#[tokio::test]
async fn a_response_without_its_end_is_neither_stored_nor_sent_as_whole() {
    let cases = [
        ("none", "first", End::Reset(Reason::NO_ERROR)),
        ("20", "first", End::Reset(Reason::NO_ERROR)),
        ("none", "first", End::Reset(Reason::CANCEL)),
        ("none", "first", End::Reset(Reason::INTERNAL_ERROR)),
        ("20", "first", End::Reset(Reason::INTERNAL_ERROR)),
        ("none", "first", End::HungUp),
        ("20", "first", End::HungUp),
        ("20", "first", End::Said),
        ("3", "first", End::Said),
    ];
    for ((length, body, end), lifetime) in cases.iter().flat_map(|case| [(*case, FRESH), (*case, NEVER)]) {
        let has_head = Arc::new(Notify::new());
        let seen = Arc::clone(&has_head);
        let origin = Origin::with(move |mut stream| {
            let seen = Arc::clone(&seen);
            async move {
                if stream.number > 0 {
                    return whole(stream.respond, &[lifetime], "whole");
                }
                let length = Some(("content-length", length)).filter(|_| length != "none");
                let fields: Vec<_> = length.into_iter().chain([lifetime]).collect();
                let mut sent = stream.respond.send_response(head(&fields), false).unwrap();
                seen.notified().await;
                sent.send_data(Bytes::from_static(body.as_bytes()), matches!(end, End::Said)).unwrap();
                match end {
                    End::Reset(reason) => sent.send_reset(reason),
                    End::HungUp => stream.connection.cancel(),
                    End::Said => {}
                }
            }
        })
        .await;
        let what = format!("{length}, {end:?}, {}", lifetime.1);
        let mut client = origin.rig.client().await;
        client.send_get("/a", "").await;
        let got = client.head().await;
        has_head.notify_one();
        assert_eq!(got.status, 200, "{what}");
        assert_eq!(client.body(&got).await, None, "{what}");
        origin.rig.until("verge_edge_fetches", 0).await;
        assert_eq!(origin.rig.get("/a").await.text(), "whole", "{what}");
        assert_eq!(origin.asked.load(Ordering::Relaxed), 2, "{what}");
    }
}

/// RFC 9113 §8.1: RST_STREAM(NO_ERROR) behind END_STREAM says only that no more of the request's content is wanted.
#[tokio::test]
async fn an_answer_before_the_content_has_come_is_whole() {
    // h2 resets a stream so whose request nobody reads to its end, behind the response.
    let origin = Origin::with(|stream| async move { whole(stream.respond, &[], "enough") }).await;
    for round in 0..20 {
        let mut client = origin.rig.client().await;
        client.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
        let got = client.response().await;
        assert_eq!((got.status, got.text().as_str()), (200, "enough"), "{round}");
    }
}

/// Clients that do not know the length end their content by a frame of nothing.
#[tokio::test]
async fn content_that_ends_by_an_empty_frame_ends_at_the_origin() {
    let origin = Origin::with(|stream| async move {
        let mut content = stream.request.into_body();
        let mut all = Vec::new();
        while let Some(bytes) = content.data().await {
            all.extend_from_slice(&bytes.unwrap());
        }
        assert!(content.is_end_stream());
        whole(stream.respond, &[], if all == b"hi" { "all" } else { "none" });
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let tls = certificate(folder.path(), &["site.test"]);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n[tls]\n{tls}\n[[site]]\nhosts = [\"*\"]\norigins = [\"h2c://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let edge = Rig::of(Clock::system(), &text).await;
    let stream = connect(edge.running.as_ref().unwrap().listening().tls[0], &terms(&["h2"])).await;
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (pieces, expected) in [(&["hi", ""][..], "all"), (&["h", "", "i", ""], "all"), (&[""], "none")] {
        let request = Request::post("https://site.test/").body(()).unwrap();
        let (answer, mut content) =
            client.clone().ready().await.unwrap().send_request(request, false).unwrap();
        for (number, piece) in pieces.iter().enumerate() {
            content.send_data(Bytes::from_static(piece.as_bytes()), number + 1 == pieces.len()).unwrap();
        }
        let mut body = soon("an answer", answer).await.unwrap().into_body();
        assert_eq!(soon("a body", body.data()).await.unwrap().unwrap(), expected, "{pieces:?}");
    }
}

/// An origin that takes more content when it has answered gets it.
#[tokio::test]
async fn content_goes_on_behind_an_early_answer() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::with(move |stream| {
        let tell = tell.clone();
        async move {
            let (_, mut content) = stream.request.into_parts();
            whole(stream.respond, &[], "early");
            let mut all = Vec::new();
            while let Some(Ok(bytes)) = content.data().await {
                all.extend_from_slice(&bytes);
            }
            tell.send((all, content.is_end_stream())).unwrap();
        }
    })
    .await;
    let mut client = origin.rig.client().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhi").await;
    assert_eq!(client.response().await.text(), "early");
    client.write(b"ho").await;
    assert_eq!(soon("the content", told.recv()).await, Some((b"hiho".to_vec(), true)));
}

/// Where the client breaks its content off, its stream is reset, and the origin has not failed.
#[tokio::test]
async fn content_that_breaks_off_is_not_its_origins_fault() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::with(move |stream| {
        let tell = tell.clone();
        async move {
            let mut content = stream.request.into_body();
            let mut last = Ok(Bytes::new());
            while let Some(bytes) = content.data().await {
                last = bytes;
                tell.send(last.as_ref().err().map(h2::Error::reason)).unwrap();
                if last.is_err() {
                    return;
                }
            }
            drop((stream.respond, last));
        }
    })
    .await;
    for _ in 0..4 {
        let mut client = origin.rig.client().await;
        client.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
        assert_eq!(soon("content", told.recv()).await, Some(None));
        client.reset();
        assert_eq!(soon("a reset", told.recv()).await, Some(Some(Some(Reason::CANCEL))));
    }
    let metrics = Client::connect(origin.rig.admin).await.get("/metrics").await.text();
    assert!(metrics.lines().any(|line| line.starts_with("verge_edge_origin_up{") && line.ends_with(" 1")));
    assert!(!metrics.contains("verge_edge_origin_errors_total{"), "{metrics}");
}

/// Behind an early head the response breaks off with its stream, which the edge resets.
#[tokio::test]
async fn content_that_breaks_off_behind_an_early_head_is_not_its_origins_fault() {
    let origin = Origin::of_site("max_request_body = \"4B\"", |mut stream| async move {
        let mut sent = stream.respond.send_response(head(&[("content-length", "4")]), false).unwrap();
        sent.send_data(Bytes::from_static(b"pa"), false).unwrap();
        let mut content = stream.request.into_body();
        while let Some(Ok(_)) = content.data().await {}
    })
    .await;
    for _ in 0..4 {
        let mut client = origin.rig.client().await;
        client.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
        let early = client.head().await;
        assert_eq!(early.status, 200);
        client.write(b"4\r\nmore\r\n").await;
        assert_eq!(client.body(&early).await, None);
    }
    let metrics = Client::connect(origin.rig.admin).await.get("/metrics").await.text();
    assert!(!metrics.contains("verge_edge_origin_errors_total{"), "{metrics}");
}

/// RFC 9113 §8.2.2, §8.1: what is about one connection does not go into a stream; trailers end it.
#[tokio::test]
async fn trailers_end_a_response_and_its_length_holds() {
    let origin = Origin::with(|mut stream| async move {
        assert!(!stream.request.headers().contains_key("connection"));
        let mut sent = stream.respond.send_response(head(&[FRESH, ("content-length", "4")]), false).unwrap();
        sent.send_data(Bytes::from_static(b"page"), false).unwrap();
        sent.send_trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())])).unwrap();
    })
    .await;
    assert_eq!(origin.rig.get("/a").await.text(), "page");
    origin.rig.until("verge_edge_fetches", 0).await;
    origin.rig.get("/a").await.assert_hit();
}

/// Content is sent as the origin's window allows, and all of it comes.
#[tokio::test]
async fn much_content_passes_a_small_window() {
    let origin = Origin::with(|stream| async move {
        let mut content = stream.request.into_body();
        let mut length = 0;
        while let Some(bytes) = content.data().await {
            let bytes = bytes.unwrap();
            length += bytes.len();
            let _ = content.flow_control().release_capacity(bytes.len());
        }
        assert_eq!(length, 1_000_000);
        whole(stream.respond, &[], "got it");
    })
    .await;
    let mut client = origin.rig.client().await;
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    client.write(&vec![b'x'; 1_000_000]).await;
    assert_eq!(client.response().await.text(), "got it");
}
