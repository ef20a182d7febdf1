//! A close that lets the client read the answer (RFC 9112 §9.6): input that nobody reads would make the system reset the
//! connection, and a reset throws away what the client has not read yet.
//!
//! A connection keeps its place among `limits.connections` meanwhile, which bounds how many there are, and gives it up when
//! another client needs it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::clock::monotonic;

/// A client that sends nothing for so long is further away than that, or has had its answer for most of it.
const MAX_SILENCE: Duration = Duration::from_secs(1);
/// A client that sends for longer is not about to read.
const MAX_LINGER: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 16 * 1024;

/// The rest of a connection whose sending side is shut.
#[derive(Debug)]
pub(super) struct Linger {
    end: Instant,
    timer: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    /// Throws `most` bytes away at most.
    pub(super) fn start(most: usize) -> Self {
        let now = monotonic();
        let timer = Box::pin(tokio::time::sleep_until(now + MAX_SILENCE));
        Self { end: now + MAX_LINGER, timer, left: most }
    }

    /// Throws input away until the client closes, or time or bytes run out.
    pub(super) fn poll<T: AsyncRead + Unpin>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<()> {
        let mut has_heard = false;
        while self.left > 0 {
            match read(io, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(len)) => self.left = self.left.saturating_sub(len),
                Poll::Pending => {
                    if has_heard {
                        self.timer.as_mut().reset(self.end.min(monotonic() + MAX_SILENCE));
                    }
                    return self.timer.as_mut().poll(cx);
                }
            }
            has_heard = true;
        }
        Poll::Ready(())
    }
}

fn read<T: AsyncRead + Unpin>(io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut bytes = [std::mem::MaybeUninit::uninit(); READ_BYTES];
    let mut read = ReadBuf::uninit(&mut bytes);
    Pin::new(io).poll_read(cx, &mut read).map_ok(|()| read.filled().len())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    const MOST: usize = 100_000;

    /// How long it lasts for a client that does this.
    async fn lasted<F: Future<Output = ()>>(client: impl FnOnce(DuplexStream) -> F) -> Duration {
        let (mut ours, theirs) = duplex(1 << 10);
        let (began, mut linger) = (monotonic(), Linger::start(MOST));
        tokio::select! {
            biased;
            () = poll_fn(|cx| linger.poll(&mut ours, cx)) => {}
            () = client(theirs) => unreachable!("it never ends"),
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_waited_for_until_it_closes_is_silent_or_has_had_its_time() {
        let closes = async |mut client: DuplexStream| {
            client.write_all(&[0; MOST - 1]).await.unwrap();
            drop(client);
            std::future::pending().await
        };
        assert_eq!(lasted(closes).await, Duration::ZERO);
        let is_silent = async |mut client: DuplexStream| {
            sleep(MAX_SILENCE / 2).await;
            client.write_all(b"x").await.unwrap();
            std::future::pending().await
        };
        assert!((MAX_SILENCE * 3 / 2..MAX_SILENCE * 2).contains(&lasted(is_silent).await));
        let drips = async |mut client: DuplexStream| {
            loop {
                client.write_all(b"x").await.unwrap();
                sleep(MAX_SILENCE / 2).await;
            }
        };
        assert!((MAX_LINGER..MAX_LINGER + MAX_SILENCE).contains(&lasted(drips).await));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_without_end_is_left_at_its_bytes() {
        let sends = async |mut client: DuplexStream| loop {
            client.write_all(&[0; 1 << 10]).await.unwrap();
        };
        assert_eq!(lasted(sends).await, Duration::ZERO);
    }
}
