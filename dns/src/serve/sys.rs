//! The system calls that neither std nor socket2 offers: many UDP packets a call, with the address that was asked.
//!
//! This is the one module of the crate that may say `unsafe`: recvmmsg and sendmmsg save a system call for every
//! packet but the first of a batch, and the kernel's headers for them are raw pointers.
//!
//! Invariant: every pointer handed to the kernel points into a box that this [`Batch`] owns, that is never
//! reallocated, and that outlives the call; every length beside it is that of the memory behind the pointer.
//! Invariant: answers leave in one message only if they go to one client from one address; each arrives as a datagram
//! of its own.

mod back;
mod run;
#[cfg(test)]
mod tests;
mod wake;

use std::io;
use std::mem::{self, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use self::back::WayBack;
use self::run::Run;
pub(super) use self::wake::end;

/// Packets a call. More would only add latency to the first of a batch.
const BATCH: usize = 32;
/// The longest query taken; honest ones have less than 200 bytes. Longer ones are dropped.
const PACKET_BYTES: usize = 4096;
/// Holds one `IP_PKTINFO` or `IPV6_PKTINFO` message (40 bytes at most) and behind it one `UDP_SEGMENT` message (24),
/// aligned as the kernel wants them.
const CONTROL_WORDS: usize = 8;
const CONTROL_BYTES: usize = size_of::<[u64; CONTROL_WORDS]>();
/// Bytes that a `UDP_SEGMENT` message takes.
// SAFETY: it is arithmetic only.
const SEGMENT_BYTES: usize = unsafe { libc::CMSG_SPACE(size_of::<u16>() as libc::c_uint) } as usize;

/// Room for a batch of packets, and for the answer to each.
pub(super) struct Batch {
    slots: Box<[Slot]>,
    answers: Box<[Vec<u8>]>,
    scatter: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    gather: Box<[libc::iovec]>,
    outgoing: Box<[libc::mmsghdr]>,
    /// For each of `gather`, the packet that it answers.
    order: Box<[usize]>,
    joining: Joining,
    /// Headers the kernel wrote in the last call; they are made afresh before the next.
    used: usize,
    /// Answers to send, first in `gather`.
    queued: usize,
    /// Messages that hold them, first in `outgoing`.
    messages: usize,
    /// The run of the last of these messages, and the packet that it answers first.
    last: Option<(Run, usize)>,
}

struct Slot {
    packet: [u8; PACKET_BYTES],
    peer: libc::sockaddr_storage,
    control: [u64; CONTROL_WORDS],
}

/// How long to wait when there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Wait {
    /// At most the socket's read timeout.
    ForOne = libc::MSG_WAITFORONE,
    /// Not at all.
    No = libc::MSG_DONTWAIT,
}

/// Whether answers to one client leave in one message, which the kernel cuts into datagrams (`UDP_SEGMENT`, Linux 4.18).
/// Of what an answer costs, nearly all is its way through the network stack, which a message goes once. Resolvers ask
/// each question from another port (RFC 5452), but forwarders and load balancers have few sockets and much to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// Neighbours of a batch do, where their lengths allow it.
    Neighbours,
    /// The kernel does not know of it, or a device cannot.
    None,
}

/// The result of sending a batch of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Answers that the kernel would not take.
    pub(super) refused: usize,
    /// Answers that were too long for the interface.
    pub(super) shortened: usize,
}

impl Batch {
    pub(super) fn new(answer_bytes: usize, joining: Joining) -> Self {
        // SAFETY: all of these are plain C structs (integers and pointers) for which zero bytes are a valid value.
        let (slot, iovec, header) =
            unsafe { (mem::zeroed::<Slot>, mem::zeroed::<libc::iovec>(), mem::zeroed::<libc::mmsghdr>()) };
        Self {
            // SAFETY: as above; a `Slot` holds nothing but integers.
            slots: (0..BATCH).map(|_| unsafe { slot() }).collect(),
            answers: (0..BATCH).map(|_| Vec::with_capacity(answer_bytes)).collect(),
            scatter: vec![iovec; BATCH].into(),
            headers: vec![header; BATCH].into(),
            gather: vec![iovec; BATCH].into(),
            outgoing: vec![header; BATCH].into(),
            order: vec![0; BATCH].into(),
            joining,
            used: BATCH,
            queued: 0,
            messages: 0,
            last: None,
        }
    }

    /// Takes the packets that are there: how many. If there is none it waits for one, or says `WouldBlock`.
    pub(super) fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        self.prepare();
        // SAFETY: `headers` has BATCH entries, each prepared above or untouched since it was; see the invariant.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                wait as libc::c_int,
                ptr::null_mut(),
            )
        };
        self.used = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.used)
    }

    fn prepare(&mut self) {
        for at in 0..self.used {
            let slot = &mut self.slots[at];
            self.scatter[at] =
                libc::iovec { iov_base: slot.packet.as_mut_ptr().cast(), iov_len: PACKET_BYTES };
            let header = &mut self.headers[at].msg_hdr;
            header.msg_name = (&raw mut slot.peer).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.scatter[at];
            header.msg_iovlen = 1;
            header.msg_control = slot.control.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES;
            header.msg_flags = 0;
        }
        self.used = 0;
    }

    /// Packet `at` of the last batch, who sent it, and the buffer for its answer; none if it was cut short or has no
    /// address to answer to.
    pub(super) fn packet(&mut self, at: usize) -> Option<(&[u8], SocketAddr, &mut Vec<u8>)> {
        let header = &self.headers[at];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || header.msg_hdr.msg_namelen == 0 {
            return None;
        }
        let slot = &self.slots[at];
        let peer = socket_address(&slot.peer)?;
        let packet = &slot.packet[..(header.msg_len as usize).min(PACKET_BYTES)];
        Some((packet, peer, &mut self.answers[at]))
    }

    /// A way to answer packet `at` later, from the address that was asked; none if the system gives no descriptor for it.
    pub(super) fn way_back(&mut self, at: usize, socket: &UdpSocket) -> Option<WayBack> {
        let asked = &mut self.headers[at].msg_hdr;
        let has_address = asked.msg_flags & libc::MSG_CTRUNC == 0 && asked.msg_controllen > 0;
        if has_address {
            // SAFETY: the header's control buffer was filled by the kernel in the last `receive`.
            unsafe { forget_interface(asked) };
        }
        let (peer, slot) = (asked.msg_namelen, &self.slots[at]);
        let control_bytes = if has_address { asked.msg_controllen } else { 0 };
        WayBack::new(socket, (slot.peer, peer), (slot.control, control_bytes))
    }

    /// Queues the answer to packet `at`, from the address that was asked.
    pub(super) fn queue(&mut self, at: usize) {
        let answer = &mut self.answers[at];
        let bytes = answer.len();
        self.gather[self.queued] = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: bytes };
        self.order[self.queued] = at;
        let asked = &mut self.headers[at].msg_hdr;
        if asked.msg_flags & libc::MSG_CTRUNC != 0 {
            asked.msg_controllen = 0;
        }
        if asked.msg_controllen > 0 {
            // SAFETY: the header's control buffer was filled by the kernel in the last `receive`.
            unsafe { forget_interface(asked) };
        }
        match self.joined(at, bytes) {
            Some(run) => self.extend(run),
            None => self.begin(at, bytes),
        }
        self.queued += 1;
    }

    /// The run of the last message together with the answer to packet `at`, if it may have it.
    fn joined(&mut self, at: usize, bytes: usize) -> Option<Run> {
        let (run, first) = self.last.as_mut().filter(|_| self.joining == Joining::Neighbours)?;
        let (one, other) = (&self.headers[*first].msg_hdr, &self.headers[at].msg_hdr);
        let control_bytes = other.msg_controllen;
        let words = control_bytes.div_ceil(size_of::<u64>());
        let (slot, next) = (&self.slots[*first], &self.slots[at]);
        let same_way = one.msg_controllen == control_bytes
            && control_bytes + SEGMENT_BYTES <= CONTROL_BYTES
            && slot.control[..words] == next.control[..words]
            && socket_address(&slot.peer) == socket_address(&next.peer);
        *run = run.with(bytes).filter(|_| same_way)?;
        Some(*run)
    }

    fn extend(&mut self, run: Run) {
        let header = &mut self.outgoing[self.messages - 1].msg_hdr;
        header.msg_iovlen += 1;
        if header.msg_iovlen == 2 {
            // SAFETY: `joined` saw that this message fits behind the one that is in the control buffer.
            unsafe { cut(header, run.piece_bytes()) };
        }
    }

    fn begin(&mut self, at: usize, bytes: usize) {
        let asked = &self.headers[at].msg_hdr;
        let header = &mut self.outgoing[self.messages].msg_hdr;
        header.msg_name = asked.msg_name;
        header.msg_namelen = asked.msg_namelen;
        header.msg_iov = &raw mut self.gather[self.queued];
        header.msg_iovlen = 1;
        header.msg_control = asked.msg_control;
        header.msg_controllen = asked.msg_controllen;
        header.msg_flags = 0;
        self.messages += 1;
        self.last = Some((Run::of(bytes), at));
    }

    /// Sends the queued answers. `shorten` first cuts one that is too long for its interface.
    ///
    /// It never waits: what is sent to a neighbour who does not exist keeps its room in the socket's buffer for three
    /// seconds, and whoever forges such sources would stop the loop. An answer that the kernel refuses is dropped; the
    /// client asks again.
    pub(super) fn send(&mut self, socket: &UdpSocket, shorten: impl Fn(&mut Vec<u8>)) -> Sent {
        let (mut at, mut sent) = (0, Sent::default());
        while at < self.messages {
            // sendmmsg fails only when the first message does.
            match self.send_from(at, socket.as_raw_fd()) {
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // There is no room for those behind it, either.
                    let left = self.outgoing[at..self.messages].iter();
                    sent.refused += left.map(|message| message.msg_hdr.msg_iovlen).sum::<usize>();
                    break;
                }
                Err(error) if self.outgoing[at].msg_hdr.msg_iovlen > 1 && cannot_cut(&error) => {
                    self.part(at);
                    if error.raw_os_error() == Some(libc::EIO) {
                        self.joining = Joining::None;
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && self.shorten(at, &shorten) => {
                    sent.shortened += 1;
                }
                Err(_) => {
                    sent.refused += self.outgoing[at].msg_hdr.msg_iovlen;
                    at += 1;
                }
            }
        }
        (self.queued, self.messages, self.last) = (0, 0, None);
        sent
    }

    fn send_from(&mut self, at: usize, socket: RawFd) -> io::Result<usize> {
        let rest = &mut self.outgoing[at..self.messages];
        // SAFETY: `rest` has as many entries as are named, each filled by `begin`; see the invariant.
        let count = unsafe {
            libc::sendmmsg(socket, rest.as_mut_ptr(), rest.len() as libc::c_uint, libc::MSG_DONTWAIT)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Whether the one answer of message `at` is shorter now and still says something.
    fn shorten(&mut self, at: usize, shorten: impl Fn(&mut Vec<u8>)) -> bool {
        let offset = self.outgoing[at].msg_hdr.msg_iov.addr() - self.gather.as_ptr().addr();
        let piece = offset / size_of::<libc::iovec>();
        let answer = &mut self.answers[self.order[piece]];
        let before_bytes = answer.len();
        shorten(answer);
        self.gather[piece] = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: answer.len() };
        (1..before_bytes).contains(&answer.len())
    }

    /// Makes a message of each answer that is in those from `at` on.
    fn part(&mut self, at: usize) {
        let joined = self.outgoing[at..self.messages].iter();
        let apart: Vec<_> = joined.flat_map(|message| pieces(message.msg_hdr)).collect();
        self.messages = at + apart.len();
        for (message, header) in self.outgoing[at..].iter_mut().zip(apart) {
            message.msg_hdr = header;
        }
    }
}

/// The messages that say one by one what `whole` says.
fn pieces(whole: libc::msghdr) -> impl Iterator<Item = libc::msghdr> {
    let segment_bytes = if whole.msg_iovlen > 1 { SEGMENT_BYTES } else { 0 };
    (0..whole.msg_iovlen).map(move |at| libc::msghdr {
        msg_iov: whole.msg_iov.wrapping_add(at),
        msg_iovlen: 1,
        msg_controllen: whole.msg_controllen - segment_bytes,
        ..whole
    })
}

/// The device cannot (EIO: no checksums, or IPsec on the way), or pieces of this length do not fit it.
fn cannot_cut(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP))
}

/// Lets the kernel cut a message into datagrams of so many bytes.
///
/// # Safety
/// Behind the `msg_controllen` bytes of its control buffer, `SEGMENT_BYTES` more must be free and aligned for a
/// control message.
unsafe fn cut(header: &mut libc::msghdr, piece_bytes: u16) {
    // SAFETY: by the caller's promise.
    unsafe {
        let message = header.msg_control.byte_add(header.msg_controllen).cast::<libc::cmsghdr>();
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as libc::c_uint) as usize;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(piece_bytes);
    }
    header.msg_controllen += SEGMENT_BYTES;
}

/// Whether the kernel can cut messages on `socket`.
pub(super) fn joining(socket: &UdpSocket) -> Joining {
    let (mut bytes, mut length): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: both pointers are to live integers, the second says the size of the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut bytes).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Joining::Neighbours } else { Joining::None }
}

/// The address that sent a packet.
fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in lies here, and storage is larger and more aligned.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(address, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, of a sockaddr_in6.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(address, port, v6.sin6_flowinfo, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// Leaves the source address of an answer in place but lets routing choose the interface; a link-local source keeps
/// its interface, without which it means nothing.
///
/// # Safety
/// `header.msg_control` must hold `msg_controllen` bytes of well-formed control messages.
unsafe fn forget_interface(header: &mut libc::msghdr) {
    // SAFETY: by the caller's promise; the kernel aligns the data of these two messages for their types.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        let Some(kind) = message.as_ref() else { return };
        match (kind.cmsg_level, kind.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                (*libc::CMSG_DATA(message).cast::<libc::in_pktinfo>()).ipi_ifindex = 0;
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = &mut *libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>();
                if !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() {
                    info.ipi6_ifindex = 0;
                }
            }
            _ => {}
        }
    }
}

/// How many descriptors this process may open.
pub(super) fn descriptor_limit() -> io::Result<u64> {
    descriptor_limits().map(|limit| limit.rlim_cur)
}

fn descriptor_limits() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live struct of the right type.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 { Ok(limit) } else { Err(io::Error::last_os_error()) }
}

/// Lets this process open as many descriptors as it may: how many. The usual limit of 1024 is for programs that
/// use select; each TCP connection is a descriptor.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = descriptor_limits()?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the kernel only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Lets the thread that calls this have what processor time others leave: loading a million names must not take it
/// from those who answer.
pub(super) fn yield_to_others() -> io::Result<()> {
    /// Nicer than any other; a loop at 0 then gets some 98 of 100 slices of a core that both want.
    const NICEST: libc::c_int = 19;
    // SAFETY: no pointer is passed. On Linux "process 0" is the thread that calls.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICEST) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Large blocks of memory go back to the system as soon as they are freed: a reload frees as much as a zone takes. Left
/// alone, glibc keeps up to 64 MiB of it in each of its arenas once it has seen a few such blocks come and go.
#[cfg(target_env = "gnu")]
pub(crate) fn return_large_blocks() {
    /// Buffers of connections are smaller, and stay with the allocator.
    const LARGE_BYTES: libc::c_int = 1 << 20;
    // SAFETY: no pointer is passed; it changes a number of the allocator.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn return_large_blocks() {}

/// Has the kernel put this memory on huge pages where it can, so that a look-up anywhere in it need not wait for page
/// tables: a tenth of the CPU of an answer from a million names. The memory keeps its content. Call it when
/// all is written: asking before costs three times as much, since fresh huge pages are made empty first.
pub(super) fn prefer_huge_pages(memory: std::ops::Range<*const u8>) -> io::Result<()> {
    let bytes = memory.end.addr() - memory.start.addr();
    // From the first whole page on; the kernel takes no other address.
    let skipped = memory.start.align_offset(PAGE_BYTES).min(bytes);
    let start = memory.start.wrapping_add(skipped).cast_mut().cast();
    // SAFETY: the advice neither reads nor writes what the program sees of the memory, whoever uses it meanwhile.
    let result = unsafe { libc::madvise(start, bytes - skipped, libc::MADV_COLLAPSE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Pages are this large, or (rarely) larger; then the kernel refuses.
const PAGE_BYTES: usize = 4096;

/// A socket option that std and socket2 do not name.
pub(super) fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer is to a live integer and the length is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
