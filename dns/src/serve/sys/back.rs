//! An answer that leaves later than its batch.
//!
//! Invariant: the header that is handed to the kernel points into this value and into the answer, which outlive the call.

use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::ptr;

use super::CONTROL_WORDS;

/// The way back to a client: its address, and the one that it asked.
pub(in crate::serve) struct WayBack {
    socket: UdpSocket,
    peer: libc::sockaddr_storage,
    peer_bytes: libc::socklen_t,
    control: [u64; CONTROL_WORDS],
    control_bytes: usize,
}

impl WayBack {
    pub(super) fn new(
        socket: &UdpSocket,
        (peer, peer_bytes): (libc::sockaddr_storage, libc::socklen_t),
        (control, control_bytes): ([u64; CONTROL_WORDS], usize),
    ) -> Option<Self> {
        let socket = socket.try_clone().ok()?;
        Some(Self { socket, peer, peer_bytes, control, control_bytes })
    }

    /// Sends an answer. One that the kernel does not take is lost; the client asks again.
    pub(in crate::serve) fn send(mut self, answer: &[u8]) {
        let mut piece = libc::iovec { iov_base: answer.as_ptr().cast_mut().cast(), iov_len: answer.len() };
        // SAFETY: a `msghdr` is a plain C struct for which zero bytes are a valid value.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut self.peer).cast();
        header.msg_namelen = self.peer_bytes;
        header.msg_iov = &raw mut piece;
        header.msg_iovlen = 1;
        if self.control_bytes > 0 {
            header.msg_control = ptr::from_mut(&mut self.control).cast();
            header.msg_controllen = self.control_bytes;
        }
        // SAFETY: see the invariant; the kernel only reads what the header points at.
        unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    }
}
