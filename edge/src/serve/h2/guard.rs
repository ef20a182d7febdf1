//! A connection below HTTP/2: what went over it, and the end of a client that sends frame after frame for nothing
//! ([`super::frames`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frames::{Frames, PaidIn};
use crate::clock::monotonic;
use crate::metrics::Metrics;
use crate::serve::linger::Linger;

/// The traffic of a connection.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: AtomicU64,
    /// Pieces of answers and their bytes.
    pieces: AtomicU64,
    bytes: AtomicU64,
    /// Answers that went to their end.
    answered: AtomicU64,
    /// Frames of tunnels.
    taken: AtomicU64,
}

impl Counts {
    /// A request has come.
    pub(super) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A piece of an answer goes.
    pub(super) fn piece(&self, bytes: usize) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A frame of another protocol, which is of use to its origin, was taken.
    pub(super) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer went to its end.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn paid_in(&self) -> PaidIn {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (requests, pieces) = (get(&self.requests), get(&self.pieces));
        PaidIn {
            requests,
            pieces,
            bytes: get(&self.bytes),
            answered: get(&self.answered),
            taken: get(&self.taken),
        }
    }
}

/// A connection whose frames are counted.
#[derive(Debug)]
pub(super) struct Guard<T> {
    io: T,
    counts: Arc<Counts>,
    frames: Frames,
    begun: Instant,
    metrics: Metrics,
    /// The sending side is shut.
    linger: Option<Linger>,
}

/// More than a client may send unasked: the window of a connection has 256 KiB.
const MAX_LINGER_BYTES: usize = 512 << 10;

impl<T> Guard<T> {
    pub(super) fn new(io: T, counts: Arc<Counts>, metrics: Metrics) -> Self {
        Self { io, counts, frames: Frames::new(), begun: monotonic(), metrics, linger: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut guard.io).poll_read(cx, buf))?;
        let at = monotonic().saturating_duration_since(guard.begun);
        let read = guard.frames.read(&buf.filled()[before..], guard.counts.paid_in(), at);
        Poll::Ready(read.map_err(|flood| {
            guard.metrics.client_dropped(flood.as_str());
            io::Error::other("the client sends frames and asks for nothing")
        }))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// The client may still be sending, as behind an answer that came before all of the content: a reset would take the last
    /// answers away from it, and the reason that GOAWAY gives.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        if guard.linger.is_none() {
            ready!(Pin::new(&mut guard.io).poll_shutdown(cx))?;
        }
        let linger = guard.linger.get_or_insert_with(|| Linger::start(MAX_LINGER_BYTES));
        linger.poll(&mut guard.io, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_takes_what_its_client_still_sends() {
        let (ours, mut client) = duplex(1 << 10);
        let mut guard = Guard::new(ours, Arc::default(), Metrics::default());
        guard.write_all(b"the last answer").await.unwrap();
        let ((), ended) = tokio::join!(
            async {
                let mut all = Vec::new();
                client.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, b"the last answer");
                client.write_all(&[0; 256 << 10]).await.unwrap();
                drop(client);
            },
            guard.shutdown()
        );
        ended.unwrap();
    }
}
