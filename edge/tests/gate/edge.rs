//! A whole edge before an origin that writes down every byte: as many requests leave as came, each in one form.

use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use verge_edge::config;
use verge_edge::run::{self, Running};

use super::desync;
use super::naive;
use super::server::{Log, Seen, read_to_end, read_until, statuses};

const CONNECTIONS: u64 = 40;
const ANSWER: &str = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers what the plainest reader finds in what came.
async fn origin() -> (std::net::SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, log) = (listener.local_addr().unwrap(), Log::default());
    let origin_log = log.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_all(stream, origin_log.clone()));
        }
    });
    (address, log)
}

async fn answer_all(mut stream: TcpStream, log: Log) {
    let (mut bytes, mut answered) = (Vec::new(), 0);
    while stream.read_buf(&mut bytes).await.is_ok_and(|len| len > 0) {
        for request in naive::read(&bytes).into_iter().skip(answered) {
            answered += 1;
            log.note(request);
            stream.write_all(ANSWER.as_bytes()).await.unwrap();
        }
    }
}

async fn edge() -> (Running, TcpStream, Log) {
    let (origin, log) = origin().await;
    let text =
        format!("listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{origin}\"]\n");
    let config = config::parse(&text, Path::new("."), Path::new("edge.toml")).unwrap();
    let running = run::start(config).await.unwrap();
    let client = TcpStream::connect(running.listening().public[0]).await.unwrap();
    (running, client, log)
}

#[tokio::test]
async fn well_framed_requests_leave_as_they_came_each_once() {
    for seed in 0..CONNECTIONS {
        let (bytes, expected) = desync::connection(&mut StdRng::seed_from_u64(seed));
        let (_running, client, log) = edge().await;
        let (mut read, mut write) = client.into_split();
        let answers = async {
            for _ in &expected {
                let answer = read_until(&mut read, "\r\n\r\nok").await;
                assert_eq!(statuses(&answer), [200], "seed {seed}: {answer:?}");
            }
        };
        let (sent, ()) = tokio::join!(write.write_all(&bytes), answers);
        sent.unwrap();
        assert_eq!(log.take(), expected, "seed {seed}");
    }
}

#[tokio::test]
async fn what_hides_in_a_request_that_is_refused_does_not_leave() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bad = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n".to_owned(),
        format!("{chunked}5 \r\nhello\r\n0\r\n\r\n"),
        format!("{chunked}5;\0\r\nhello\r\n0\r\n\r\n"),
        format!("{chunked}5\r\nhello0\r\n\r\n"),
        format!("{chunked}5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"),
    ];
    for bad in bad {
        let (_running, mut client, log) = edge().await;
        client.write_all(format!("{bad}{SMUGGLED}").as_bytes()).await.unwrap();
        assert_eq!(statuses(&read_to_end(&mut client).await), [400], "{bad:?}");
        assert_eq!(log.take(), [], "{bad:?}");
    }
}

/// CVE-2026-2833: a proxy that opens the tunnel before the origin agrees lets what is behind the head through.
#[tokio::test]
async fn an_upgrade_opens_no_tunnel_by_itself() {
    let (_running, mut client, log) = edge().await;
    let upgrade = "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(format!("{upgrade}GET /2 HTTP/1.1\r\n\r\n{SMUGGLED}").as_bytes()).await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut client).await), [200, 400]);
    assert_eq!(log.take(), [Seen::new("GET", "/1", b"")]);
}
