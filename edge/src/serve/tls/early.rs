//! A connection over TLS whose first request may come before the handshake has ended (RFC 8446 §2.3), and be answered then.
//!
//! tokio-rustls gives a connection out when the handshake has ended; a request that came with the first flight has waited
//! for a round trip by then, and saved none. So this drives rustls itself. The answer goes out encrypted for the client that
//! had the session, whoever sent the flight.

use std::fmt;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::serve::h1::patient_stream::Patient;

/// The connection.
#[derive(Debug)]
pub(in crate::serve) struct EarlyStream {
    io: Patient,
    session: ServerConnection,
    /// Early data that nobody has read yet. rustls bounds it.
    early: BytesMut,
    is_unconfirmed: Arc<AtomicBool>,
    has_said_goodbye: bool,
}

/// Whether requests may still be those that somebody has recorded: the handshake has not ended.
#[derive(Clone, Default)]
pub(in crate::serve) struct Unconfirmed(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Unconfirmed {
    /// As long as this says so.
    pub(in crate::serve) fn by(is_so: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_so)))
    }

    pub(in crate::serve) fn is_so(&self) -> bool {
        self.0.as_ref().is_some_and(|is_so| is_so())
    }
}

impl fmt::Debug for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unconfirmed").field(&self.is_so()).finish()
    }
}

impl EarlyStream {
    /// Agrees with the client, as far as it takes to read its first bytes.
    pub(super) async fn accept(config: Arc<ServerConfig>, io: Patient) -> io::Result<Self> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        let is_unconfirmed = Arc::new(AtomicBool::new(true));
        let early = BytesMut::new();
        let mut stream = Self { io, session, early, is_unconfirmed, has_said_goodbye: false };
        std::future::poll_fn(|cx| stream.poll_begun(cx)).await?;
        Ok(stream)
    }

    pub(in crate::serve) fn session(&self) -> &ServerConnection {
        &self.session
    }

    pub(super) fn session_mut(&mut self) -> &mut ServerConnection {
        &mut self.session
    }

    pub(in crate::serve) fn patient(&self) -> &Patient {
        &self.io
    }

    pub(in crate::serve) fn unconfirmed(&self) -> Unconfirmed {
        let is_unconfirmed = Arc::clone(&self.is_unconfirmed);
        Unconfirmed::by(move || is_unconfirmed.load(Ordering::Acquire))
    }

    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let written = self.poll_written(cx)?;
            if !self.session.is_handshaking() || !self.early.is_empty() {
                ready!(written);
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// More from the client: bytes of TLS, of which something may be for us.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = match self.session.read_tls(&mut Within { io: &mut self.io, cx }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            read => read?,
        };
        if let Err(error) = self.session.process_new_packets() {
            // The client is told why, if that can be said at once.
            let _ = self.session.write_tls(&mut Within { io: &mut self.io, cx });
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        if let Some(mut early) = self.session.early_data() {
            let mut piece = [0; 2048];
            loop {
                match early.read(&mut piece) {
                    Ok(0) => break,
                    Ok(bytes) => self.early.extend_from_slice(&piece[..bytes]),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        if !self.session.is_handshaking() {
            self.is_unconfirmed.store(false, Ordering::Release);
        }
        Poll::Ready(Ok(read))
    }

    /// All that is to be sent was given to the socket.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Within { io: &mut self.io, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts what there is room for, and sends as much as the socket takes.
    fn poll_push(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&mut ServerConnection) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let taken = write(&mut self.session)?;
            match self.poll_written(cx)? {
                Poll::Pending if taken == 0 => return Poll::Pending,
                // There was no room, and there is now.
                Poll::Ready(()) if taken == 0 => {}
                Poll::Pending | Poll::Ready(()) => return Poll::Ready(Ok(taken)),
            }
        }
    }
}

impl AsyncRead for EarlyStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let room = buf.remaining();
        loop {
            if !me.early.is_empty() {
                let bytes = me.early.len().min(room);
                buf.put_slice(&me.early[..bytes]);
                me.early.advance(bytes);
                return Poll::Ready(Ok(()));
            }
            match me.session.reader().read(buf.initialize_unfilled()) {
                Ok(bytes) => {
                    buf.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let read = me.poll_more(cx)?;
            // Tickets, alerts, and what was waiting: it goes on with the next write if not now. Behind the goodbye nothing
            // goes, and the client is still heard to its end.
            match me.poll_written(cx) {
                Poll::Ready(Err(error)) if !me.has_said_goodbye => return Poll::Ready(Err(error)),
                _ => {}
            }
            ready!(read);
        }
    }
}

impl AsyncWrite for EarlyStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_push(cx, |session| session.writer().write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_push(cx, |session| session.writer().write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            self.session.send_close_notify();
        }
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The socket as rustls wants it: what cannot be done at once would block.
struct Within<'a, 'b> {
    io: &'a mut Patient,
    cx: &'a mut Context<'b>,
}

fn at_once<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Within<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(bytes);
        at_once(Pin::new(&mut *self.io).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl Write for Within<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        at_once(Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        at_once(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
