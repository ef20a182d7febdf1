//! A stream of HTTP/2 as the bytes of another protocol, both ways (RFC 8441 §5).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Counts;

/// Both directions of a stream. h2 resets it if it is dropped before both have ended.
pub(super) struct Wire {
    from: RecvStream,
    to: SendStream<Bytes>,
    /// Bytes that have come, and are not yet handed on.
    held: Bytes,
    counts: Arc<Counts>,
}

impl Wire {
    pub(super) fn new(from: RecvStream, to: SendStream<Bytes>, counts: Arc<Counts>) -> Self {
        Self { from, to, held: Bytes::new(), counts }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        // Frames without bytes are none of the protocol's, and pay for nothing.
        while wire.held.is_empty() {
            match ready!(wire.from.poll_data(cx)) {
                Some(bytes) => wire.held = bytes.map_err(io::Error::other)?,
                None => {
                    let trailers = ready!(wire.from.poll_trailers(cx)).map_err(io::Error::other)?;
                    // RFC 9113 §8.5: on this stream only DATA may follow.
                    return Poll::Ready(trailers.map_or(Ok(()), |_| Err(io::ErrorKind::InvalidData.into())));
                }
            }
            if !wire.held.is_empty() {
                wire.counts.taken();
            }
        }
        let count = wire.held.len().min(buf.remaining());
        buf.put_slice(&wire.held[..count]);
        wire.held.advance(count);
        // The window opens again for what is handed on; it fails where the stream has ended.
        let _ = wire.from.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        wire.to.reserve_capacity(buf.len());
        while wire.to.capacity() == 0 {
            match ready!(wire.to.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = wire.to.capacity().min(buf.len());
        wire.counts.piece(count);
        let sent = wire.to.send_data(Bytes::copy_from_slice(&buf[..count]), false);
        Poll::Ready(sent.map(|()| count).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().to.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
