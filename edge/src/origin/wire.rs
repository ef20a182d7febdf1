//! The socket below hyper's client and h2's: it counts what the origin says, refuses a head that two readers end differently,
//! and knows the head of HTTP/2 that is not whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::open_head::OpenHead;
use super::padded::{Padded, Padding};
use super::stream::Stream;

/// One connection to an origin.
#[derive(Debug)]
pub(super) struct Wire {
    io: Stream,
    heard: Heard,
    /// Reads the head that is coming; none between a head's end and the next request.
    padding: Option<Padding>,
    /// Reads frames, where the origin speaks in frames.
    frames: Option<OpenHead>,
}

/// The bytes heard from an origin on one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    /// A request was sent whose head has not begun to come.
    expects_head: AtomicBool,
    /// The stream of HTTP/2 whose head has begun to come and is not whole; 0 if there is none.
    open_head: AtomicU32,
    /// Whether one of HTTP/2 has come whole.
    has_head: AtomicBool,
    /// Whether the origin's SETTINGS have.
    has_settings: AtomicBool,
}

impl Heard {
    /// Bytes that have come so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Acquire)
    }

    /// The next byte begins the head of a response. Say so before a request is sent.
    pub(super) fn expect_head(&self) {
        self.0.expects_head.store(true, Ordering::Release);
    }

    /// The stream of HTTP/2 whose head has begun to come and is not whole; 0 if there is none.
    pub(super) fn open_head(&self) -> u32 {
        self.0.open_head.load(Ordering::Acquire)
    }

    /// Whether a head has come whole, over HTTP/2.
    pub(super) fn has_head(&self) -> bool {
        self.0.has_head.load(Ordering::Acquire)
    }

    /// Whether the origin's SETTINGS have come, over HTTP/2.
    pub(super) fn has_settings(&self) -> bool {
        self.0.has_settings.load(Ordering::Acquire)
    }

    fn note(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::AcqRel);
    }
}

impl Wire {
    pub(super) fn new(io: Stream, heard: Heard) -> Self {
        Self { io, heard, padding: None, frames: None }
    }

    /// Of a connection with HTTP/2.
    pub(super) fn of_frames(io: Stream, heard: Heard) -> Self {
        Self { frames: Some(OpenHead::default()), ..Self::new(io, heard) }
    }

    fn look(&mut self, fresh: &[u8]) -> io::Result<()> {
        self.heard.note(fresh.len());
        if let Some(frames) = &mut self.frames {
            self.heard.0.open_head.store(frames.read(fresh), Ordering::Release);
            self.heard.0.has_head.store(frames.has_ended(), Ordering::Release);
            self.heard.0.has_settings.store(frames.has_settings(), Ordering::Release);
            return Ok(());
        }
        if !fresh.is_empty() && self.heard.0.expects_head.swap(false, Ordering::AcqRel) {
            self.padding = Some(Padding::default());
        }
        let Some(padding) = &mut self.padding else { return Ok(()) };
        match padding.read(fresh) {
            Padded::Reading => {}
            Padded::No => self.padding = None,
            Padded::Yes => return Err(io::Error::new(io::ErrorKind::InvalidData, PADDED)),
        }
        Ok(())
    }
}

/// A response's head must fit in it: hyper's read buffer, and h2's limit.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;

const PADDED: &str = "white space before the colon of a field that frames the response";

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut me.io).poll_read(cx, buf))?;
        Poll::Ready(me.look(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Wire {
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
