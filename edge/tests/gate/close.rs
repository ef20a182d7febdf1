//! How connections end, and that they do not stop before they end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{BIG_BYTES, HalfClose, PATIENCE, listen, pipe, read_to_end, read_until, statuses};

const BAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

async fn connect(half_close: HalfClose) -> TcpStream {
    TcpStream::connect(listen(half_close).await.0).await.unwrap()
}

/// A closed socket answers what is sent to it with a reset, which takes the answer away from the client.
#[tokio::test]
async fn a_client_that_is_still_sending_is_not_reset() {
    let mut stream = connect(HalfClose::Abort).await;
    stream.write_all(BAD).await.unwrap();
    assert_eq!(statuses(&read_until(&mut stream, "no Host").await), [400]);
    for _ in 0..50 {
        stream.write_all(&[b'x'; 2000]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_client_that_has_said_all_reads_why_it_was_refused() {
    for half_close in [HalfClose::Answer, HalfClose::Abort] {
        let mut stream = connect(half_close).await;
        stream.write_all(BAD).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(statuses(&read_to_end(&mut stream).await), [400]);
    }
}

#[tokio::test]
async fn a_client_that_keeps_sending_is_dropped() {
    let (mut read, mut write) = connect(HalfClose::Abort).await.into_split();
    write.write_all(BAD).await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut read).await), [400]);
    // Nobody reads: without an end to the patience this would go on.
    let junk = vec![b'x'; 64 * 1024];
    let sending = async { while write.write_all(&junk).await.is_ok() {} };
    assert!(tokio::time::timeout(PATIENCE, sending).await.is_ok());
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
