//! A close that lets the client read the answer (RFC 9112 §9.6): input that nobody reads would make the system reset the
//! connection, and a reset throws away what the client has not read yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

/// A client that is further away than this has had its answer for most of it.
const MAX_LINGER: Duration = Duration::from_secs(1);
/// A client may have this much under way; one that sends more is not about to read.
const MAX_LINGER_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 4 * 1024;

/// The rest of a connection whose sending side is shut.
#[derive(Debug)]
pub(super) struct Linger {
    end: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    pub(super) fn start() -> Self {
        Self { end: Box::pin(tokio::time::sleep(MAX_LINGER)), left: MAX_LINGER_BYTES }
    }

    /// Throws input away until the client closes, or time or bytes run out.
    pub(super) fn poll<T: AsyncRead + Unpin>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.end.as_mut().poll(cx).is_ready() || self.left == 0 {
                return Poll::Ready(());
            }
            match std::task::ready!(read(io, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(len) => self.left = self.left.saturating_sub(len),
            }
        }
    }
}

fn read<T: AsyncRead + Unpin>(io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut bytes = [std::mem::MaybeUninit::uninit(); READ_BYTES];
    let mut read = ReadBuf::uninit(&mut bytes);
    Pin::new(io).poll_read(cx, &mut read).map_ok(|()| read.filled().len())
}
