//! A stream of HTTP/3 as the bytes of another protocol, both ways (RFC 9220, RFC 9114 §4.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use quinn::{Connection, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::code::Code;
use super::frame::{self, Fault, Frame};
use super::received::{BrokenOff, Next, Received, number};

/// Both directions of a stream, which is reset if this is dropped before both have ended.
pub(super) struct Wire {
    from: Received,
    to: SendStream,
    connection: Connection,
    /// Bytes that have come, and are not yet handed on.
    held: Bytes,
    /// The header of a DATA frame, as far as it is not sent, and the bytes that are promised by it.
    header: Bytes,
    promised: usize,
    has_ended: bool,
}

impl Wire {
    pub(super) fn new(from: Received, to: SendStream, connection: Connection) -> Self {
        let (held, header) = (Bytes::new(), Bytes::new());
        Self { from, to, connection, held, header, promised: 0, has_ended: false }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Fault>> {
        let next = ready!(self.from.poll(cx));
        let fault = match next {
            // §4.4: on this stream only DATA may follow.
            Ok(Next::Frame(Frame::Head(_))) => Fault::Connection(Code::FrameUnexpected),
            Ok(next) => return Poll::Ready(Ok(next)),
            Err(fault) => fault,
        };
        if let Fault::Connection(code) = fault {
            self.connection.close(number(code), b"");
        }
        Poll::Ready(Err(fault))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        while wire.held.is_empty() {
            match ready!(wire.next(cx)) {
                Ok(Next::Frame(Frame::Data(bytes) | Frame::Head(bytes))) => wire.held = bytes,
                Ok(Next::End) => return Poll::Ready(Ok(())),
                Err(fault) => return Poll::Ready(Err(io::Error::other(BrokenOff(fault)))),
            }
        }
        let count = wire.held.len().min(buf.remaining());
        buf.put_slice(&wire.held[..count]);
        wire.held.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if wire.promised == 0 {
            (wire.header, wire.promised) = (frame::data_header(buf.len()), buf.len());
        }
        while !wire.header.is_empty() {
            let sent = ready!(Pin::new(&mut wire.to).poll_write(cx, &wire.header))?;
            wire.header.advance(sent);
        }
        let count = buf.len().min(wire.promised);
        let sent = ready!(Pin::new(&mut wire.to).poll_write(cx, &buf[..count]))?;
        wire.promised -= sent;
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        // A frame that is cut off is none: the stream is reset instead.
        wire.has_ended = wire.promised == 0 && wire.to.finish().is_ok();
        Poll::Ready(if wire.has_ended { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.has_ended {
            // Both fail where that direction has ended.
            let _ = self.to.reset(number(Code::RequestCancelled));
            self.from.stop(Code::RequestCancelled);
        }
    }
}
