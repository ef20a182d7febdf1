//! The gate relies on a habit that hyper promises nowhere: it flushes only when it has written all that it
//! was given. So a 1xx head that is sent at a flush stands between two pieces of hyper's output, and between
//! two messages if no answer has begun. A hyper that does otherwise fails here, before it breaks a response.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

const PIECE_BYTES: usize = 10_000;
const PIECES: usize = 5;
/// No piece goes in one write.
const WRITE_BYTES: usize = 900;

/// A socket that takes little at a time, and every other time nothing. It notes how much was written at each flush.
struct Narrow {
    io: DuplexStream,
    blocked: bool,
    written: usize,
    flushed_at: Arc<Mutex<Vec<usize>>>,
}

impl AsyncRead for Narrow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.blocked = !self.blocked;
        if self.blocked {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let some = &bytes[..bytes.len().min(WRITE_BYTES)];
        let written = Pin::new(&mut self.io).poll_write(cx, some);
        if let Poll::Ready(Ok(count)) = &written {
            self.written += count;
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed_at.lock().unwrap().push(self.written);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A body whose pieces come one at a time, each after a wait.
struct Pieces {
    left: usize,
    waits: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.waits = !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; PIECE_BYTES])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.left * PIECE_BYTES) as u64)
    }
}

#[tokio::test]
async fn hyper_flushes_only_when_it_has_written_all_that_it_was_given() {
    let (mut client, io) = tokio::io::duplex(1 << 20);
    let flushed_at = Arc::new(Mutex::new(Vec::new()));
    let narrow = Narrow { io, blocked: false, written: 0, flushed_at: Arc::clone(&flushed_at) };
    let answer = |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Pieces { left: PIECES, waits: false }))
    };
    let serving = http1::Builder::new().serve_connection(TokioIo::new(narrow), service_fn(answer));
    let asking = async {
        let requests =
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        answers
    };
    let (served, answers) = tokio::join!(serving, asking);
    served.unwrap();
    // Each place where a head ends, and behind it each piece.
    let mut whole = vec![0];
    let mut from = 0;
    while let Some(head) = answers[from..].windows(4).position(|end| end == b"\r\n\r\n") {
        let body = from + head + 4;
        whole.extend((0..=PIECES).map(|pieces| body + pieces * PIECE_BYTES));
        from = body + PIECES * PIECE_BYTES;
    }
    assert_eq!(from, answers.len());
    let flushed_at = flushed_at.lock().unwrap();
    let ends = [from / 2, from].iter().all(|end| flushed_at.iter().any(|at| at.abs_diff(*end) < 100));
    assert!(ends, "it flushes after each answer: {flushed_at:?}");
    let torn: Vec<&usize> = flushed_at.iter().filter(|at| !whole.contains(at)).collect();
    assert!(torn.is_empty(), "flushed inside a piece at {torn:?}");
}
