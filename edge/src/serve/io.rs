//! The socket below hyper: a client that takes bytes too slowly is dropped ([`crate::pace`]).
//!
//! hyper limits how long a head may take, and bodies from clients have their own limit; nothing above this limits how
//! long a written byte may wait.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::Metrics;
use crate::watch::Watch;

/// A connection whose client must take what is written.
#[derive(Debug)]
pub(super) struct Patient<T> {
    io: T,
    watch: Watch,
    metrics: Metrics,
}

impl<T> Patient<T> {
    pub(super) fn new(io: T, watch: Watch, metrics: Metrics) -> Self {
        Self { io, watch, metrics }
    }

    /// The connection.
    pub(super) fn into_inner(self) -> T {
        self.io
    }

    fn judge<R>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<R>>,
        bytes: impl FnOnce(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        let bytes = |written: &io::Result<R>| written.as_ref().map_or(0, bytes);
        self.watch.judge(cx, polled, bytes).map(|judged| {
            judged.unwrap_or_else(|slow| {
                self.metrics.client_dropped(slow.as_str());
                Err(io::Error::new(io::ErrorKind::TimedOut, slow))
            })
        })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(cx, written, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.judge(cx, written, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.judge(cx, shut, |()| 0)
    }
}
