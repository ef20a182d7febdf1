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

/// What went over a connection.
#[derive(Debug, Default)]
pub(super) struct Counts {
    written: AtomicU64,
    requests: AtomicU64,
    /// Requests without an answer yet.
    open: AtomicU64,
    /// Answers whose bodies are under way.
    answers: AtomicU64,
    /// Pieces of bodies and their octets, as they were handed over.
    pieces: AtomicU64,
    octets: AtomicU64,
    /// Answers that went to their end.
    answered: AtomicU64,
}

/// The counts at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    moved: u64,
    requests: u64,
    open: u64,
    /// Answers whose bodies are under way.
    pub(super) answers: u64,
}

impl Seen {
    /// Whether nothing useful went since, and nothing is being waited for but the client.
    pub(super) fn is_without_progress_since(&self, before: &Self) -> bool {
        self.open == 0 && self.moved == before.moved && self.requests == before.requests
    }
}

/// A request is open while this lives.
pub(super) struct Open<'a>(&'a Counts);

/// An answer is under way while this lives.
pub(super) struct Sending {
    counts: Arc<Counts>,
    is_whole: bool,
}

impl Counts {
    pub(super) fn open(&self) -> Open<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    pub(super) fn sending(self: &Arc<Self>) -> Sending {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Sending { counts: Arc::clone(self), is_whole: false }
    }

    pub(super) fn seen(&self) -> Seen {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (requests, open, answers) = (get(&self.requests), get(&self.open), get(&self.answers));
        // Written octets are progress while answers are under way; else they only acknowledge the peer's.
        let moved = if answers > 0 { get(&self.written) } else { 0 };
        Seen { moved, requests, open, answers }
    }

    fn paid_in(&self) -> PaidIn {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (requests, pieces) = (get(&self.requests), get(&self.pieces));
        PaidIn { requests, pieces, octets: get(&self.octets), answered: get(&self.answered) }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sending {
    /// A piece of the body has been handed over.
    pub(super) fn piece(&self, octets: usize) {
        self.counts.pieces.fetch_add(1, Ordering::Relaxed);
        self.counts.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }

    /// The body has been handed over to its end.
    pub(super) fn ended(&mut self) {
        if !std::mem::replace(&mut self.is_whole, true) {
            self.counts.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.counts.answers.fetch_sub(1, Ordering::Relaxed);
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
}

impl<T> Guard<T> {
    pub(super) fn new(io: T, counts: Arc<Counts>, metrics: Metrics) -> Self {
        Self { io, counts, frames: Frames::new(), begun: monotonic(), metrics }
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

impl<T: AsyncWrite + Unpin> Guard<T> {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.counts.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
