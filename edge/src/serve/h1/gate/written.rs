//! The server's writes, with what goes before them and what they tell.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite};

use super::given::Direct;
use super::{End, Gate};
use crate::serve::linger::Linger;

/// A client may have this much under way that nobody will read: the largest receive buffer that Linux gives by itself is 6 MiB
/// (tcp(7): `tcp_rmem`). Many clients read only when they have sent all.
const MAX_LINGER_BYTES: usize = 8 << 20;

impl<T: AsyncRead + AsyncWrite + Unpin, D: Direct> AsyncWrite for Gate<T, D> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        ready!(me.poll_before_write(cx))?;
        let written = Pin::new(&mut me.io).poll_write(cx, buf);
        me.note_write(&written, buf.len());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        ready!(me.poll_before_write(cx))?;
        let written = Pin::new(&mut me.io).poll_write_vectored(cx, bufs);
        me.note_write(&written, bufs.iter().map(|buf| buf.len()).sum());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Sends the 1xx heads that wait: by rule 1 of the module's, this is not inside a message.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        ready!(me.poll_interim(cx))?;
        me.register(cx.waker());
        me.idle_since = Some(me.shared.begun());
        me.interim = me.shared.take_queue();
        ready!(me.poll_interim(cx))?;
        let flushed = Pin::new(&mut me.io).poll_flush(cx);
        me.flush_blocked = flushed.is_pending();
        if flushed.is_ready() && me.end == End::Open {
            // hyper need not read again: this task is woken when the next request is late, and then it does.
            let stage = me.stage();
            let _ = me.late.poll(stage, cx);
        }
        // Rules 2 and 3 of the module's.
        if flushed.is_ready() && (std::mem::take(&mut me.write_blocked) | me.tells_end()) {
            cx.waker().wake_by_ref();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.linger.is_none() {
            ready!(me.poll_outgoing(cx))?;
            ready!(me.poll_interim(cx))?;
            ready!(Pin::new(&mut me.io).poll_shutdown(cx))?;
        }
        // A tunnel's other direction may live on, and is not ours to throw away.
        if me.end == End::Eof || me.shared.is_tunnel() {
            return Poll::Ready(Ok(()));
        }
        me.linger.get_or_insert_with(|| Linger::start(MAX_LINGER_BYTES)).poll(&mut me.io, cx).map(Ok)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, D: Direct> Gate<T, D> {
    /// If the server had nothing left to write, its write begins an answer, or a 100, if the request began
    /// before: 1xx heads go first. Else it may be the rest of the last answer, and they wait or are too late.
    fn poll_before_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outgoing(cx))?;
        ready!(self.poll_interim(cx))?;
        self.wait.note_write();
        if self.idle_since.take() == Some(self.shared.begun()) {
            self.interim = self.shared.take_queue();
            return self.poll_interim(cx);
        }
        self.shared.drop_late_queue();
        Poll::Ready(Ok(()))
    }

    /// Finishes a 1xx head that is partly on the wire.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether it is now that the server is to be told that the client has sent all it will: once.
    fn tells_end(&mut self) -> bool {
        let is_now = self.end == End::Waiting && !self.framing.is_unanswered() && !self.shared.is_owed();
        if is_now {
            self.end = End::Eof;
        }
        is_now
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>, wanted: usize) {
        self.write_blocked |= match written {
            Poll::Pending => true,
            Poll::Ready(Ok(len)) => *len < wanted,
            Poll::Ready(Err(_)) => false,
        };
    }
}
