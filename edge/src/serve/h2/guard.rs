//! A connection's use and its cost, in octets: a peer that sends frame after frame and asks for nothing is
//! cut off.
//!
//! PING, SETTINGS, WINDOW_UPDATE, PRIORITY and empty frames cost work and are bounded by nothing in the protocol
//! (CVE-2019-9512, -9515, -9517, -9518). Each is small and so is what it makes us send. A useful connection reads a head
//! for each request, bodies that origins take, and some octets for many that it writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A peer may send this much for nothing: some thousands of small frames.
const FREE_BYTES: u64 = 256 << 10;
/// One octet may be read for so many that are written: a download needs 13 for each 32 KiB, a PING makes as many as it has.
const WRITTEN_PER_READ: u64 = 4;
/// A request may take this much beside its body's octets, as a multiple of a head.
const HEADS_PER_REQUEST: u64 = 2;

/// The octets that went over a connection.
#[derive(Debug)]
pub(super) struct Counts {
    read: AtomicU64,
    written: AtomicU64,
    requests: AtomicU64,
    /// Requests without an answer yet.
    open: AtomicU64,
    /// Answers whose bodies are under way.
    answers: AtomicU64,
    head_bytes: u64,
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
pub(super) struct Sending(Arc<Counts>);

impl Counts {
    pub(super) fn new(head_bytes: usize) -> Self {
        let zero = AtomicU64::default;
        let (read, written, requests, open, answers) = (zero(), zero(), zero(), zero(), zero());
        Self { read, written, requests, open, answers, head_bytes: head_bytes as u64 }
    }

    pub(super) fn open(&self) -> Open<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    pub(super) fn sending(self: &Arc<Self>) -> Sending {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Sending(Arc::clone(self))
    }

    pub(super) fn seen(&self) -> Seen {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (requests, open, answers) = (get(&self.requests), get(&self.open), get(&self.answers));
        // Written octets are progress while answers are under way; else they only acknowledge the peer's.
        let moved = if answers > 0 { get(&self.written) } else { 0 };
        Seen { moved, requests, open, answers }
    }

    fn is_too_costly(&self) -> bool {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // A body may be read as long as its request is open: the stream's window bounds it.
        if get(&self.open) > 0 {
            return false;
        }
        let requests = get(&self.requests).saturating_mul(self.head_bytes).saturating_mul(HEADS_PER_REQUEST);
        let earned =
            FREE_BYTES.saturating_add(get(&self.written) / WRITTEN_PER_READ).saturating_add(requests);
        get(&self.read) > earned
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection whose octets are counted.
#[derive(Debug)]
pub(super) struct Guard<T> {
    io: T,
    counts: Arc<Counts>,
}

impl<T> Guard<T> {
    pub(super) fn new(io: T, counts: Arc<Counts>) -> Self {
        Self { io, counts }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut guard.io).poll_read(cx, buf))?;
        guard.counts.read.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        if guard.counts.is_too_costly() {
            return Poll::Ready(Err(io::Error::other("the client sends frames and asks for nothing")));
        }
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: usize = 16 << 10;

    /// So many octets read and written, requests made and open: whether that is too costly.
    #[track_caller]
    fn check(read: u64, written: u64, requests: u64, open: u64, expected: bool) {
        let counts = Counts::new(HEAD);
        counts.read.store(read, Ordering::Relaxed);
        counts.written.store(written, Ordering::Relaxed);
        counts.requests.store(requests, Ordering::Relaxed);
        counts.open.store(open, Ordering::Relaxed);
        assert_eq!(counts.is_too_costly(), expected, "{read} read, {written} written, {requests} requests");
    }

    #[test]
    fn a_peer_that_costs_more_than_it_asks_for_is_cut_off() {
        // Pings: as many octets back as came.
        check(17 * 10_000, 17 * 10_000, 0, 0, false);
        check(17 * 30_000, 17 * 30_000, 0, 0, true);
        // A gigabyte sent, and window updates for it.
        check(13 << 15, 1 << 30, 1, 0, false);
        // Heads as large as they may be, answered in a few octets.
        check(1000 * HEAD as u64, 1000 * 100, 1000, 0, false);
        // An upload under way.
        check(1 << 30, 10_000, 1, 1, false);
    }
}
