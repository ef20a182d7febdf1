//! The socket below hyper: a client that takes bytes too slowly is dropped ([`crate::pace`]).
//!
//! hyper limits how long a head may take, and bodies from clients have their own limit; nothing above this limits how
//! long a written byte may wait.
//!
//! The kernel hides a client's progress for a long time: Linux lets a socket be written again when a third of
//! its buffer is free, which is a megabyte for a connection that was fast once. So little is left unsent, and
//! bytes that the client takes during a wait count as if they had been written then.
//!
//! With little unsent a large answer goes out in many writes, each after a wait for the client. So some connections at a
//! time may have more unsent: those that write much at once and have not been waited for long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::send_queue;
use crate::clock::monotonic;
use crate::metrics::Metrics;
use crate::serve::permits::{Permit, Permits};
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
    wide: Arc<Permits>,
    /// As long as more may be unsent, or is. The kernel lets more be unsent only while it is there.
    permit: Option<Permit>,
    /// Since when the client is waited for.
    since: Option<Instant>,
    /// How long it may take for a part of [`WIDE_UNSENT_BYTES`].
    slow: Duration,
    is_slow: bool,
}

/// The unsent bytes of a connection that the kernel may hold; beside them are those under way, as many as the
/// path to the client holds. With much less, a fast path would wait for us.
const UNSENT_BYTES: u32 = 128 << 10;
/// The same of one of the connections that may have more.
const WIDE_UNSENT_BYTES: u32 = 1 << 20;
/// So many may at a time.
pub(in crate::serve) const MOST_WIDE: usize = 64;
/// A client that is waited for longer than this for a part of [`WIDE_UNSENT_BYTES`] reads less than some MB a second.
const SLOW: Duration = Duration::from_millis(100);

impl Patient {
    /// `wide` are the connections that may have more unsent.
    pub(in crate::serve) fn new(io: TcpStream, watch: Watch, metrics: Metrics, wide: Arc<Permits>) -> Self {
        leave_unsent(&io, UNSENT_BYTES);
        Self {
            io,
            watch,
            queued: None,
            ahead: 0,
            metrics,
            wide,
            permit: None,
            since: None,
            slow: SLOW,
            is_slow: false,
        }
    }

    /// So many bytes are about to be written at once.
    fn prepare(&mut self, bytes: usize) {
        if bytes <= UNSENT_BYTES as usize || self.is_slow || self.permit.is_some() {
            return;
        }
        self.permit = self.wide.take();
        if self.permit.is_some() {
            leave_unsent(&self.io, WIDE_UNSENT_BYTES);
        }
    }

    /// The client was waited for since then. If that was long, no more than usual may be unsent from now on, nor is after the
    /// next wait.
    fn end_wait(&mut self, since: Instant) {
        if self.is_slow {
            self.permit = None;
        } else if since.elapsed() > self.slow {
            self.is_slow = true;
            if self.permit.is_some() {
                leave_unsent(&self.io, UNSENT_BYTES);
            }
        }
    }

    /// The client has asked for more: what it asked for before has gone, or most of it.
    fn settle(&mut self) {
        let unsent = send_queue::unacknowledged(&self.io);
        if unsent.is_none_or(|bytes| bytes <= UNSENT_BYTES as usize) {
            leave_unsent(&self.io, UNSENT_BYTES);
            self.permit = None;
        }
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
                if let Some(since) = self.since.take() {
                    self.end_wait(since);
                }
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
        self.since.get_or_insert_with(monotonic);
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

/// Where it is refused, a slow client costs the kernel more.
fn leave_unsent(io: &TcpStream, bytes: u32) {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = SockRef::from(io).set_tcp_notsent_lowat(bytes);
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (io, bytes);
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.permit.is_some() && buf.filled().len() > before {
            self.settle();
        }
        read
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.prepare(buf.len());
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(cx, written, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.prepare(bufs.iter().map(|buf| buf.len()).sum());
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

#[cfg(test)]
#[cfg(any(target_os = "android", target_os = "linux"))]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::Clock;
    use crate::pace::Rule;

    /// A connection to a client, and the client.
    async fn connection(wide: &Arc<Permits>) -> (Patient, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let rule = Rule { stall_timeout: Duration::from_secs(60), min_rate_bytes: 240 };
        let (stream, _) = listener.accept().await.unwrap();
        let watch = Watch::new(rule, Clock::system());
        let mut connection = Patient::new(stream, watch, Metrics::default(), Arc::clone(wide));
        // However busy the machine is.
        connection.slow = Duration::from_secs(3600);
        (connection, client)
    }

    fn may_leave(connection: &Patient) -> u32 {
        SockRef::from(connection.socket()).tcp_notsent_lowat().unwrap()
    }

    /// The client takes so many bytes, and then asks for more.
    async fn take(connection: &mut Patient, client: &mut TcpStream, bytes: usize) {
        let mut taken = vec![0; bytes];
        let (written, read) = tokio::join!(async { connection.write_all(&vec![7; bytes]).await }, async {
            client.read_exact(&mut taken).await
        });
        written.unwrap();
        read.unwrap();
    }

    async fn ask(connection: &mut Patient, client: &mut TcpStream) {
        client.write_all(b"x").await.unwrap();
        // The acknowledgement of the last byte may still be under way, but not when all was taken and something was said.
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_writes_much_at_once_may_leave_more_as_long_as_there_is_room() {
        let wide = Permits::new(1);
        let (mut one, mut reader) = connection(&wide).await;
        let (mut other, mut other_reader) = connection(&wide).await;
        take(&mut one, &mut reader, 1000).await;
        assert_eq!((may_leave(&one), one.permit.is_some()), (UNSENT_BYTES, false));
        take(&mut one, &mut reader, 1 << 19).await;
        assert_eq!((may_leave(&one), one.permit.is_some()), (WIDE_UNSENT_BYTES, true));
        take(&mut other, &mut other_reader, 1 << 19).await;
        assert_eq!((may_leave(&other), other.permit.is_some()), (UNSENT_BYTES, false));
        ask(&mut one, &mut reader).await;
        assert_eq!((may_leave(&one), one.permit.is_some()), (UNSENT_BYTES, false), "it has taken all");
        take(&mut other, &mut other_reader, 1 << 19).await;
        assert_eq!(may_leave(&other), WIDE_UNSENT_BYTES);
        // One that had it once has to ask again.
        take(&mut one, &mut reader, 1 << 19).await;
        assert_eq!((may_leave(&one), one.permit.is_some()), (UNSENT_BYTES, false));
        drop(other);
        take(&mut one, &mut reader, 1 << 19).await;
        assert_eq!(may_leave(&one), WIDE_UNSENT_BYTES);
    }

    #[tokio::test]
    async fn a_client_that_was_waited_for_long_gets_no_more_than_all_do() {
        let (mut slow, mut reader) = connection(&Permits::new(1)).await;
        take(&mut slow, &mut reader, 1 << 19).await;
        assert_eq!(may_leave(&slow), WIDE_UNSENT_BYTES);
        slow.end_wait(monotonic());
        assert_eq!(may_leave(&slow), WIDE_UNSENT_BYTES);
        slow.slow = Duration::ZERO;
        slow.end_wait(monotonic().checked_sub(SLOW).unwrap());
        assert_eq!((may_leave(&slow), slow.permit.is_some()), (UNSENT_BYTES, true), "it may hold much yet");
        slow.end_wait(monotonic());
        assert!(slow.permit.is_none(), "it was waited for again");
        take(&mut slow, &mut reader, 1 << 19).await;
        assert_eq!((may_leave(&slow), slow.permit.is_some()), (UNSENT_BYTES, false));
    }

    #[tokio::test]
    async fn what_a_client_has_not_taken_keeps_its_place_though_it_asks_for_more() {
        let (mut one, mut reader) = connection(&Permits::new(1)).await;
        one.prepare(1 << 20);
        // Nobody reads: the kernel holds what it takes.
        let filled = vec![7; 8 << 20];
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(written) = Pin::new(&mut one).poll_write(&mut cx, &filled) {
            written.unwrap();
        }
        ask(&mut one, &mut reader).await;
        assert!(one.permit.is_some());
    }
}
