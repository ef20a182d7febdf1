//! The socket of an endpoint, which processes share that take over from one another.
//!
//! ```text
//!                    ┌─ for a connection of a process before ─▶ a channel to it ─▶ its endpoint
//! UDP socket ─▶ look ┤
//!                    └─ all else ─▶ the endpoint of this one
//! ```
//!
//! All of them send by the socket. The last one alone reads it; those before read the packets that it sends on, until their
//! connections have ended. A look is a hash of a few bytes, and there is one only while a process before is there.
//!
//! Invariant: once a socket is handed over, nothing of it is read here: a packet for a connection of the next process would
//! be answered with a reset (RFC 9000 §10.3), which that connection would believe.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram as Channel;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use arc_swap::{ArcSwap, ArcSwapOption};
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::forwarded::{self, ENVELOPE_BYTES, Envelope};
use super::generation::Generation;
use crate::serve::handover::Channels;

/// The socket of one listener.
#[derive(Debug)]
pub(in crate::serve) struct SharedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    generation: Generation,
    /// The processes before that may still have connections, from the first to the last.
    before: ArcSwap<Vec<Before>>,
    /// Packets that the process which takes over sends on, once there is one.
    inbox: ArcSwapOption<UnixDatagram>,
    reading: Mutex<Reading>,
}

/// A process before.
#[derive(Clone, Debug)]
struct Before {
    number: u8,
    channel: Arc<Channel>,
}

/// Held by whoever reads.
#[derive(Debug, Default)]
struct Reading {
    /// Another process reads the socket.
    is_over: bool,
    reader: Option<Waker>,
}

/// Bytes that wait in a channel; the kernel may grant fewer. A packet for which there is no room is lost, as on any other
/// part of its way.
const CHANNEL_BYTES: usize = 2 << 20;
/// Processes that are told to the next one; each has a few seconds for its connections.
const MOST_BEFORE: usize = 16;

impl SharedSocket {
    /// Has the runtime know a socket, of which nothing is read yet. Packets for connections of processes `before` will go
    /// there.
    pub(in crate::serve) fn new(
        socket: UdpSocket,
        generation: Generation,
        before: Channels,
    ) -> io::Result<Arc<Self>> {
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
            reading: Mutex::default(),
        }))
    }

    /// Whether this is its address.
    pub(in crate::serve) fn is_at(&self, address: SocketAddr) -> bool {
        self.socket.local_addr().is_ok_and(|own| own == address)
    }

    /// The ways to this process and to those before it, for the one that takes over: packets that it sends on are read from now on. The
    /// way that was made for another one is given up. Inside a runtime.
    pub(in crate::serve) fn channels(&self) -> io::Result<Channels> {
        let (own, other) = Channel::pair()?;
        // In a pair, nothing else bounds how much waits.
        let _ = SockRef::from(&other).set_send_buffer_size(CHANNEL_BYTES);
        own.set_nonblocking(true)?;
        let own = UnixDatagram::from_std(own)?;
        let before = self.before.load();
        let there: Vec<&Before> = before.iter().filter(|other| other.is_there()).collect();
        let last = &there[there.len().saturating_sub(MOST_BEFORE)..];
        let copies = last.iter().map(|it| Ok((it.number, it.channel.try_clone()?.into())));
        let mut channels = copies.collect::<io::Result<Channels>>()?;
        channels.push((self.generation.number(), other.into()));
        self.inbox.store(Some(Arc::new(own)));
        self.wake(self.lock());
        Ok(channels)
    }

    /// From now on another process reads the socket.
    pub(super) fn hand_over(&self) {
        let mut reading = self.lock();
        reading.is_over = true;
        self.wake(reading);
    }

    /// Whether a process is there that sends packets on.
    pub(super) fn is_followed(&self) -> bool {
        let inbox = self.inbox.load();
        inbox.as_deref().is_some_and(|it| !SockRef::from(it).send(&[]).is_err_and(|error| is_end(&error)))
    }

    fn wake(&self, mut reading: MutexGuard<'_, Reading>) {
        let reader = reading.reader.take();
        drop(reading);
        reader.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        // Every change is complete before anything can panic.
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A packet that was sent on to this process.
    fn poll_inbox(&self, cx: &mut Context<'_>, buffer: &mut [u8], meta: &mut RecvMeta) -> Poll<()> {
        let inbox = self.inbox.load();
        let Some(inbox) = inbox.as_deref() else { return Poll::Pending };
        let mut sealed = [0; ENVELOPE_BYTES];
        loop {
            if ready!(inbox.poll_recv_ready(cx)).is_err() {
                // The runtime ends.
                return Poll::Pending;
            }
            let read = inbox.try_io(Interest::READABLE, || {
                let mut parts = [IoSliceMut::new(&mut sealed), IoSliceMut::new(buffer)];
                rustix::io::readv(inbox, &mut parts).map_err(io::Error::from)
            });
            let bytes = match read {
                Ok(read) => read.saturating_sub(ENVELOPE_BYTES),
                Err(error) if is_passing(&error) => continue,
                Err(_) => return Poll::Pending,
            };
            // One without a packet only looks whether this process is there.
            let Some(Envelope { ecn, client, to }) = forwarded::open(&sealed).filter(|_| bytes > 0) else {
                continue;
            };
            *meta = RecvMeta::default();
            (meta.addr, meta.dst_ip, meta.ecn) = (client, to, EcnCodepoint::from_bits(ecn));
            (meta.len, meta.stride) = (bytes, bytes);
            return Poll::Ready(());
        }
    }

    /// Sends on the packets of `count` buffers that are for a process before. How many buffers are left, in front.
    fn sort(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta], count: usize) -> usize {
        let before = self.before.load();
        if before.is_empty() {
            return count;
        }
        let mut kept = 0;
        for place in 0..count {
            if self.keep_own(&before, &mut buffers[place], &mut meta[place]) {
                buffers.swap(kept, place);
                meta.swap(kept, place);
                kept += 1;
            }
        }
        kept
    }

    /// Leaves in a buffer only packets that are for no process before; whether there are any. The kernel may have put several of
    /// one client in it, each but the last as long as `stride`.
    fn keep_own(&self, before: &[Before], buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let (all, stride) = (meta.len.min(buffer.len()), meta.stride.max(1));
        let (mut kept, mut from) = (0, 0);
        while from < all {
            let to = (from + stride).min(all);
            let packet = &buffer[from..to];
            let number = self.generation.receiver(packet);
            match number.and_then(|number| before.iter().find(|other| other.number == number)) {
                Some(other) => self.send_on(other, meta, packet),
                None => {
                    buffer.copy_within(from..to, kept);
                    kept += to - from;
                }
            }
            from = to;
        }
        meta.len = kept;
        kept > 0
    }

    fn send_on(&self, other: &Before, meta: &RecvMeta, packet: &[u8]) {
        let ecn = meta.ecn.map_or(0, |ecn| ecn as u8);
        let sealed = forwarded::seal(&Envelope { ecn, client: meta.addr, to: meta.dst_ip });
        let parts = [IoSlice::new(&sealed), IoSlice::new(packet)];
        let sent = SockRef::from(&*other.channel).send_vectored(&parts);
        if sent.is_err_and(|error| is_end(&error)) {
            let stays = |it: &&Before| !Arc::ptr_eq(&it.channel, &other.channel);
            self.before.rcu(|before| before.iter().filter(stays).cloned().collect::<Vec<_>>());
        }
    }
}

impl Before {
    /// Whether the process has not ended.
    fn is_there(&self) -> bool {
        !self.channel.send(&[]).is_err_and(|error| is_end(&error))
    }
}

/// The process at the other end of a channel has ended.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotConnected | BrokenPipe)
}

/// Nothing is there at the moment.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
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
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut reading = self.lock();
        // Before anything is looked at, so that no change after it is missed.
        match &mut reading.reader {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut())
            && self.poll_inbox(cx, buffer, meta).is_ready()
        {
            return Poll::Ready(Ok(1));
        }
        if reading.is_over {
            return Poll::Pending;
        }
        loop {
            let count = ready!(self.socket.poll_recv(cx, buffers, meta))?;
            match self.sort(buffers, meta, count) {
                0 => {}
                kept => return Poll::Ready(Ok(kept)),
            }
        }
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

#[cfg(test)]
mod tests;
