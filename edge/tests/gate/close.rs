//! How connections end, and that they do not stop before they end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{BIG_BYTES, listen, listen_until_closed, pipe, read_to_end, read_until, statuses};

#[tokio::test]
async fn a_client_that_is_still_sending_reads_why_it_was_refused() {
    let (answer, _) =
        listen_until_closed(format!("GET / HTTP/1.1\r\n\r\n{}", "x".repeat(200 * 1024)).as_bytes()).await;
    assert_eq!(statuses(&answer), [400]);
    assert!(answer.ends_with("no Host"), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_has_said_all_reads_why_it_was_refused() {
    let (address, _) = listen().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut stream).await), [400]);
}

#[tokio::test]
async fn a_client_that_keeps_sending_is_dropped() {
    let (address, _) = listen().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut read).await), [400]);
    // Nobody reads: without an end to the patience this would go on until the system's buffers are full, and block.
    let junk = vec![b'x'; 64 * 1024];
    while write.write_all(&junk).await.is_ok() {}
}

#[tokio::test]
async fn a_head_byte_by_byte_is_a_request() {
    let (mut client, log) = pipe(1);
    for byte in b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.write_u8(*byte).await.unwrap();
    }
    assert!(read_until(&mut client, "/slow").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(log.take().len(), 1);
}

/// hyper 1.12 reads the second request while the first answer is blocked, drops the first's body, and would then wait
/// for something that nobody sends.
#[tokio::test]
async fn a_request_behind_an_unread_body_and_a_slow_reader_is_answered() {
    for body in
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    {
        for pipe_bytes in [512, 4096, 65_536] {
            let (mut client, log) = pipe(pipe_bytes);
            let first = format!("POST /unread HTTP/1.1\r\nHost: a\r\n{body}");
            client
                .write_all(format!("{first}GET /next HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                .await
                .unwrap();
            let mut big = vec![0; BIG_BYTES];
            read_until(&mut client, "\r\n\r\n").await;
            client.read_exact(&mut big).await.unwrap();
            let answer = read_until(&mut client, "/next").await;
            assert_eq!(statuses(&answer), [200], "{answer:?}");
            assert_eq!(log.take().len(), 2);
        }
    }
}
