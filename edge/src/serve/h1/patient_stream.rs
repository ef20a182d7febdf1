//! The socket below hyper: a client that takes bytes too slowly is dropped ([`crate::pace`]).
//!
//! hyper limits how long a head may take, and bodies from clients have their own limit; nothing above this limits how
//! long a written byte may wait.
//!
//! The kernel hides a client's progress for a long time: Linux lets a socket be written again when a third of
//! its buffer is free, which is a megabyte for a connection that was fast once. So little is left unsent, and
//! bytes that the client takes during a wait count as if they had been written then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::send_queue;
use crate::metrics::Metrics;
use crate::watch::Watch;

/// A connection whose client must take what is written.
#[derive(Debug)]
pub(in crate::serve) struct Patient {
    io: TcpStream,
    watch: Watch,
    /// Bytes that the kernel held when the client was last looked at while it was waited for.
    queued: Option<usize>,
    /// Bytes that the client was seen to take before they made room for others.
    ahead: usize,
    metrics: Metrics,
}

/// The unsent bytes of a connection that the kernel may hold; beside them are those under way, as many as the
/// path to the client holds. With much less, a fast path would wait for us.
const UNSENT_BYTES: u32 = 128 << 10;

impl Patient {
    pub(in crate::serve) fn new(io: TcpStream, watch: Watch, metrics: Metrics) -> Self {
        // Where it is refused, a slow client costs the kernel more.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = SockRef::from(&io).set_tcp_notsent_lowat(UNSENT_BYTES);
        Self { io, watch, queued: None, ahead: 0, metrics }
    }

    /// The connection.
    pub(in crate::serve) fn socket(&self) -> &TcpStream {
        &self.io
    }

    fn judge<R>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<R>>,
        bytes: impl FnOnce(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        match polled {
            Poll::Ready(result) => {
                let written = result.as_ref().map_or(0, bytes);
                // The bytes that the client was seen to take made room for it, and were counted then.
                self.watch.moved(written.saturating_sub(self.ahead));
                self.ahead = self.ahead.saturating_sub(written);
                self.queued = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(cx).map(Err),
        }
    }

    /// Ready when the client is too slow.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.queued.is_none() {
            self.queued = send_queue::unacknowledged(&self.io);
        }
        loop {
            let slow = ready!(self.watch.poll_slow(cx));
            match self.taken() {
                0 => {
                    self.metrics.client_dropped(slow.as_str());
                    return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, slow));
                }
                taken => {
                    self.watch.moved(taken);
                    self.ahead += taken;
                }
            }
        }
    }

    /// Bytes that the client has taken since it was last looked at; none where the kernel does not say.
    fn taken(&mut self) -> usize {
        let queued = send_queue::unacknowledged(&self.io);
        let before = std::mem::replace(&mut self.queued, queued);
        before.zip(queued).map_or(0, |(before, now)| before.saturating_sub(now))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
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
