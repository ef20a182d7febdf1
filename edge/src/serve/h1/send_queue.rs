//! The bytes that the kernel holds for a client.
//!
//! This is the one module of the crate that may say `unsafe`: neither std nor socket2 asks a socket for its queue.
//!
//! Invariant: the pointer handed to the kernel is to one `c_int` on the stack, which is what this request writes.

use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// Bytes that were written and that the client's side has not acknowledged (tcp(7): `SIOCOUTQ`).
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(super) fn unacknowledged(stream: &TcpStream) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // `TIOCOUTQ` is the same number, and the name that libc knows.
    // SAFETY: the descriptor is open as long as the stream is borrowed, and the request writes one c_int.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    (result == 0).then_some(bytes).and_then(|bytes| usize::try_from(bytes).ok())
}

/// Not known: a client is judged by what can be written.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(super) fn unacknowledged(_: &TcpStream) -> Option<usize> {
    None
}
