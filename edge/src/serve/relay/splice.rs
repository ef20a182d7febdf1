//! Bytes both ways between two connections of TCP. The kernel moves the bytes of a connection that carries much, through a pipe
//! (splice(2)): this program sees none of them. It copies the bytes of others, so that most connections cost no pipe.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::serve::tunnel::Passed;

/// A direction that has carried so much will carry more.
const MUCH_BYTES: u64 = 256 << 10;
/// As a copying direction has at a time.
const BUFFER_BYTES: usize = 16 << 10;
/// As a pipe of Linux takes (pipe(7)).
const PIPE_BYTES: usize = 64 << 10;

/// Carries bytes until both sides have sent all they will. `early` is what the client sent that was read already.
pub(super) async fn both_ways(
    mut client: TcpStream,
    early: Bytes,
    mut origin: TcpStream,
    passed: &Passed,
) -> io::Result<()> {
    let (from_client, to_client) = client.split();
    let (from_origin, mut to_origin) = origin.split();
    let up = async {
        to_origin.write_all(&early).await?;
        passed.to_origin.fetch_add(early.len() as u64, Ordering::Relaxed);
        pump(from_client, to_origin, &passed.to_origin).await
    };
    let down = pump(from_origin, to_client, &passed.to_client);
    tokio::try_join!(up, down)?;
    Ok(())
}

/// A side that has sent all it will may still read: its end is passed on, and the other direction lives on.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, passed: &AtomicU64) -> io::Result<()> {
    let (mut buffer, mut copied) = (vec![0; BUFFER_BYTES], 0);
    while copied < MUCH_BYTES {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            count => {
                to.write_all(&buffer[..count]).await?;
                copied += count as u64;
                passed.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }
    let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
    let Ok((outlet, inlet)) = pipe else {
        // Without descriptors left it is copied.
        return copy(from, to, buffer, passed).await;
    };
    drop(buffer);
    let (from, to) = (from.as_ref(), to.as_ref());
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        // The pipe is empty: if there is nothing to do, the socket has nothing.
        let fill = || Ok(splice(from, None, &inlet, None, PIPE_BYTES, flags)?);
        let mut held = from.async_io(Interest::READABLE, fill).await?;
        if held == 0 {
            return SockRef::from(to).shutdown(Shutdown::Write);
        }
        while held > 0 {
            let empty = || Ok(splice(&outlet, None, to, None, held, flags)?);
            let moved = to.async_io(Interest::WRITABLE, empty).await?;
            held = held.saturating_sub(moved);
            passed.fetch_add(moved as u64, Ordering::Relaxed);
        }
    }
}

async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut buffer: Vec<u8>,
    passed: &AtomicU64,
) -> io::Result<()> {
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            count => {
                to.write_all(&buffer[..count]).await?;
                passed.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }
}
