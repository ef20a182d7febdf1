//! Answers that the gate gives by itself, between those of the server behind it.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use verge_edge::serve::h1::gate::{Direct, Gate, Given, Needed, Plain, Rest};

use super::server::{HalfClose, Log, MAX_HEAD_BYTES, read_to_end, serve_behind};

/// Answers `/here` at once, `/pieces` in pieces, and one that breaks off at `/broken`.
struct Short;

struct Pieces(Vec<Option<&'static [u8]>>);

impl Direct for Short {
    type Rest = Pieces;

    fn answer(&mut self, head: &Plain<'_>, out: &mut Vec<u8>) -> Given<Pieces> {
        let (length, given) = match head.target {
            "/here" => (4, Given::All),
            "/pieces" => (10, Given::Begun(Pieces(vec![Some(b"eces!"), Some(b""), Some(b"in pi")]))),
            "/broken" => (10, Given::Begun(Pieces(vec![None, Some(b"half")]))),
            _ => return Given::Nothing,
        };
        out.extend_from_slice(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes());
        if given_all(&given) {
            out.extend_from_slice(b"here");
        }
        given
    }
}

fn given_all(given: &Given<Pieces>) -> bool {
    matches!(given, Given::All)
}

impl Rest for Pieces {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(
            self.0
                .pop()
                .map(|piece| piece.map(Bytes::from_static).ok_or_else(|| io::ErrorKind::InvalidData.into())),
        )
    }
}

/// A client's end of a pipe that holds so many bytes each way.
fn pipe(bytes: usize) -> (DuplexStream, Log) {
    let (client, server) = tokio::io::duplex(bytes);
    let log = Log::default();
    let behind = log.clone();
    tokio::spawn(async move {
        let mut gate = Gate::with_direct(server, MAX_HEAD_BYTES, Some(Short));
        match gate.needed().await {
            Ok(Needed::Server) => serve_behind(gate, behind, HalfClose::Answer).await,
            Ok(Needed::Close) => gate.close().await.unwrap(),
            Err(_) => {}
        }
    });
    (client, log)
}

/// The contents of all answers to GETs for these paths, sent as one; and the paths that the server saw.
async fn contents(bytes: usize, paths: &[&str]) -> (Vec<String>, Vec<String>) {
    let (mut client, log) = pipe(bytes);
    let get = |path: &&str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let text: String = paths.iter().map(get).collect();
    let (mut read, mut write) = tokio::io::split(&mut client);
    let writing = async {
        write.write_all(text.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (answers, ()) = tokio::join!(read_to_end(&mut read), writing);
    let body = |answer: &str| answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    let bodies = answers.split("HTTP/1.1 200 OK\r\n").skip(1).map(body).collect();
    (bodies, log.take().into_iter().map(|seen| seen.target).collect())
}

#[tokio::test]
async fn answers_stand_in_the_order_of_their_requests_whoever_gives_them() {
    let (here, pieces, there) = ("/here", "/pieces", "/there");
    for paths in [
        &[here][..],
        &[pieces],
        &[here, pieces, here],
        &[there, here],
        &[here, there, here, here, pieces, there, there, pieces],
    ] {
        for bytes in [1, 7, 64, 4096] {
            let (bodies, seen) = contents(bytes, paths).await;
            // A request that comes while the server owes an answer is for the server.
            let body = |(path, body): (&&str, &String)| match *path {
                "/here" if body == "here" => "here".to_owned(),
                "/pieces" if body == "in pieces!" => "in pieces!".to_owned(),
                path => path.to_owned(),
            };
            let expected: Vec<String> = paths.iter().zip(&bodies).map(body).collect();
            assert_eq!((bodies.len(), &bodies), (paths.len(), &expected), "{paths:?} by {bytes}");
            let servers = bodies.iter().filter(|body| body.starts_with('/')).count();
            assert_eq!(seen.len(), servers, "{paths:?} by {bytes}");
            assert!(servers == 0 || paths.contains(&there), "{paths:?} by {bytes}");
        }
    }
}

/// TLS takes bytes that its socket has no room for yet.
#[tokio::test]
async fn an_answer_goes_out_whole_though_the_stream_holds_some_of_it_back() {
    for path in ["/here", "/pieces"] {
        let (mut client, server) = tokio::io::duplex(8);
        let serving = tokio::spawn(async move {
            let holding = tokio::io::BufStream::with_capacity(1 << 10, 1 << 10, server);
            Gate::with_direct(holding, MAX_HEAD_BYTES, Some(Short)).needed().await.map(drop)
        });
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let whole = async {
            while !answer.ends_with(b"here") && !answer.ends_with(b"in pieces!") {
                assert!(client.read_buf(&mut answer).await.unwrap() > 0);
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), whole).await.expect("the rest of an answer");
        drop(client);
        let _ = serving.await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_the_connection() {
    let (bodies, seen) = contents(4096, &["/broken", "/here"]).await;
    assert!(bodies.len() < 2 && bodies.iter().all(|body| body.len() < 10) && seen.is_empty(), "{bodies:?}");
}

#[tokio::test]
async fn a_head_that_must_be_refused_is_refused_behind_answers_from_here() {
    let (mut client, _log) = pipe(4096);
    client
        .write_all(b"GET /here HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\n")
        .await
        .unwrap();
    let answers = read_to_end(&mut client).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK") && answers.contains("HTTP/1.1 400 "), "{answers}");
}
