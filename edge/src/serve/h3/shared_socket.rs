//! A UDP socket that a process shares with those that it took over from, and with the one that takes over from it.
//!
//! ```text
//!                    ┌─ of this process's connections, or of none ─▶ quinn
//! UDP socket ─▶ look ┤
//!                    └─ of a connection of a process before ─▶ a channel to it ─▶ its quinn
//! ```
//!
//! All of them write to the same socket, and one of them reads it: the last one, from the moment in which the one before has
//! stopped. That one reads what is forwarded to it, until its connections have ended. A datagram in a channel that is full is
//! lost, as in any queue on its way.
//!
//! Two that read at once would lose connections: each would tell the clients of the other that nobody knows them (a
//! stateless reset, RFC 9000 §10.3), and they would believe it, as all processes of a row have one key for that.

#[cfg(test)]
mod tests;

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as Channel;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use arc_swap::{ArcSwap, ArcSwapOption};
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::UnixDatagram;

use super::forwarded::{self, Envelope};
use super::generation::Generation;

/// The socket of one listener.
#[derive(Debug)]
pub(crate) struct SharedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    generation: Generation,
    /// The processes before that still have connections.
    before: ArcSwap<Vec<Before>>,
    /// From the process that takes over, once there is one.
    inbox: ArcSwapOption<UnixDatagram>,
    /// Whether this process reads the socket: not before the one before has stopped, and not once another one does.
    is_read_here: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

/// A process before.
#[derive(Debug, Clone)]
struct Before {
    number: u8,
    channel: Arc<Channel>,
}

/// The ways to the processes before, by their numbers.
pub(crate) type Channels = Vec<(u8, OwnedFd)>;

/// The kernel may hold so much until the endpoint reads it: a burst of a few milliseconds. It may grant less.
const SOCKET_BYTES: usize = 2 << 20;
/// The kernel may hold so much in a channel; it may grant less.
const CHANNEL_BYTES: usize = 2 << 20;

impl SharedSocket {
    /// Forwards to the processes before. `is_read_here`: no other process reads `socket`.
    pub(crate) fn new(
        socket: UdpSocket,
        generation: Generation,
        before: Channels,
        is_read_here: bool,
    ) -> io::Result<Arc<Self>> {
        // Where it is refused, a burst costs retransmissions.
        let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES);
        let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BYTES);
        let before = before.into_iter().map(|(number, channel)| {
            let channel = Channel::from(channel);
            channel.set_nonblocking(true)?;
            Ok(Before { number, channel: Arc::new(channel) })
        });
        Ok(Arc::new(Self {
            socket: TokioRuntime.wrap_udp_socket(socket)?,
            generation,
            before: ArcSwap::from_pointee(before.collect::<io::Result<_>>()?),
            inbox: ArcSwapOption::empty(),
            is_read_here: AtomicBool::new(is_read_here),
            reader: Mutex::default(),
        }))
    }

    /// The ways to this process and to those before it, for the one that takes over. From now on what that one forwards
    /// is read, beside the socket. The channel of an attempt before is given up.
    pub(crate) fn channels(&self) -> io::Result<Channels> {
        let (own, other) = Channel::pair()?;
        // It is bounded by what waits in it, not by how many datagrams do.
        let _ = SockRef::from(&other).set_send_buffer_size(CHANNEL_BYTES);
        own.set_nonblocking(true)?;
        let mut channels = Channels::new();
        for Before { number, channel } in &**self.before.load() {
            channels.push((*number, channel.try_clone()?.into()));
        }
        channels.push((self.generation.number, other.into()));
        self.inbox.store(Some(Arc::new(UnixDatagram::from_std(own)?)));
        self.wake();
        Ok(channels)
    }

    /// The process before reads the socket no more: this one does.
    pub(crate) fn begin(&self) {
        self.is_read_here.store(true, Ordering::Release);
        self.wake();
    }

    /// From now on the process that takes over reads the socket.
    pub(crate) fn hand_over(&self) {
        self.is_read_here.store(false, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        reader.into_iter().for_each(Waker::wake);
    }

    /// Keeps the reader's waker first, so that no change after it is missed.
    fn remember(&self, cx: &Context<'_>) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *reader {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// One datagram that was forwarded to this process.
    fn poll_inbox(&self, cx: &mut Context<'_>, into: &mut IoSliceMut<'_>, meta: &mut RecvMeta) -> Poll<()> {
        let inbox = self.inbox.load();
        let Some(inbox) = inbox.as_ref() else { return Poll::Pending };
        let mut bytes = [0; forwarded::MAX_BYTES];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            match ready!(inbox.poll_recv(cx, &mut read)) {
                // A pair of sockets has an end only when the other process has ended, and its channel with it.
                Ok(()) if read.filled().is_empty() => return Poll::Pending,
                Err(_) => return Poll::Pending,
                Ok(()) => {}
            }
            let Some((envelope, datagram)) = forwarded::open(read.filled()) else { continue };
            // One that is longer than any that this endpoint takes is nobody's.
            let Some(place) = into.get_mut(..datagram.len()) else { continue };
            place.copy_from_slice(datagram);
            *meta = RecvMeta::default();
            (meta.addr, meta.dst_ip) = (envelope.client, envelope.local);
            (meta.len, meta.stride, meta.ecn) =
                (datagram.len(), datagram.len(), EcnCodepoint::from_bits(envelope.ecn));
            return Poll::Ready(());
        }
    }

    /// Sends those of `count` buffers' datagrams on that are for a process before, and drops those that are for one after;
    /// how many buffers are left, in front.
    fn sort(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta], count: usize) -> usize {
        let before = self.before.load();
        if before.is_empty() && self.inbox.load().is_none() {
            return count;
        }
        let mut kept = 0;
        for place in 0..count {
            if self.keep_own(&before, &mut bufs[place], &mut meta[place]) {
                bufs.swap(kept, place);
                meta.swap(kept, place);
                kept += 1;
            }
        }
        kept
    }

    /// Leaves only the datagrams in a buffer that are for this process or for nobody; whether there are any. The kernel may
    /// have put several of one client in it, all but the last as long as `stride`.
    ///
    /// One for a process after this one came while this one stopped to read: its sender repeats it.
    fn keep_own(&self, before: &[Before], buf: &mut [u8], meta: &mut RecvMeta) -> bool {
        let stride = meta.stride.max(1);
        let (mut kept, mut from) = (0, 0);
        while from < meta.len {
            let to = (from + stride).min(meta.len);
            let datagram = &buf[from..to];
            let number = self.generation.receiver(datagram);
            match number.and_then(|number| before.iter().find(|other| other.number == number)) {
                Some(other) => self.forward(other, meta, datagram),
                None if number.is_some_and(|number| self.generation.is_before(number)) => {}
                None => {
                    buf.copy_within(from..to, kept);
                    kept += to - from;
                }
            }
            from = to;
        }
        meta.len = kept;
        kept > 0
    }

    fn forward(&self, to: &Before, meta: &RecvMeta, datagram: &[u8]) {
        let ecn = meta.ecn.map_or(0, |ecn| ecn as u8);
        let envelope = Envelope { client: meta.addr, local: meta.dst_ip, ecn };
        let mut bytes = [0; forwarded::MAX_BYTES];
        let Some(length) = forwarded::close(&envelope, datagram, &mut bytes) else { return };
        let Err(error) = to.channel.send(&bytes[..length]) else { return };
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            // That process has ended, and its connections with it.
            self.before.rcu(|before| {
                before.iter().filter(|other| other.number != to.number).cloned().collect::<Vec<_>>()
            });
        }
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.remember(cx);
        if let (Some(into), Some(meta)) = (bufs.first_mut(), meta.first_mut())
            && self.poll_inbox(cx, into, meta).is_ready()
        {
            return Poll::Ready(Ok(1));
        }
        while self.is_read_here.load(Ordering::Acquire) {
            let count = ready!(self.socket.poll_recv(cx, bufs, meta))?;
            match self.sort(bufs, meta, count) {
                0 => {}
                kept => return Poll::Ready(Ok(kept)),
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}
