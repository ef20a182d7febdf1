//! Binds every address that the config names before anything runs. An error names the address and its setting.
//!
//! Invariant: a bound listener refuses connections until [`listen`] is called, unless it was handed over or is a socket in the
//! file system.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::local::{self, Local};
use super::sys;
use crate::config::Udp;

/// Connections the kernel keeps while none is accepted; it lowers this to what the system allows.
const BACKLOG: libc::c_int = 1024;
/// The buffer for a connection's answers (Linux doubles it for its own use): one of the largest.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The buffer for a connection's questions: some hundred.
const RECEIVE_BUFFER_BYTES: usize = 32 * 1024;
/// Tries to find a port that is free for UDP and TCP when the system is asked for one.
const PORT_TRIES: usize = 64;
/// The receive buffer of a UDP socket: some 5,000 queries that arrive while the loop is not scheduled. The system's
/// default of 208 KiB holds 250, and a core answers as many in a millisecond.
const UDP_RECEIVE_BYTES: usize = 4 << 20;
/// The send buffer of a UDP socket: some 20,000 small answers. The kernel holds an answer to a neighbour that does not
/// exist for three seconds; in the system's default of 208 KiB, some hundred of these would leave no room for others.
const UDP_SEND_BYTES: libc::c_int = 8 << 20;
/// More than a receive buffer holds, but an end under a flood.
const MOST_FORGOTTEN: usize = 100_000;
/// The transport of a socket in the file system.
const UNIX: &str = "Unix";
/// Stands for an address that the system does not tell.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// How long a UDP loop sleeps in the kernel before it looks whether it should stop; a stop also ends its wait, by a
/// signal, which needs a timeout here.
const WAKE: Duration = Duration::from_millis(500);

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct Bound {
    /// With the port that was found, if port 0 was asked for.
    pub(super) address: SocketAddr,
    /// One for each loop; the kernel spreads clients over them.
    pub(super) udp: Vec<UdpSocket>,
    /// Does not listen yet, unless it was handed over.
    pub(super) tcp: TcpListener,
    /// By the process before, or by systemd: what has come is still to be answered.
    pub(super) is_handed: bool,
}

/// An address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The key in the config that names it.
    pub setting: &'static str,
    /// Which address.
    pub address: String,
    /// `UDP`, `TCP` or `Unix`.
    pub transport: &'static str,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, address, transport, source } = self;
        write!(f, "cannot listen on {address} ({transport}, setting `{setting}`): ")?;
        match source.kind() {
            kind if *transport == UNIX => f.write_str(&unix(kind).unwrap_or_else(|| source.to_string())),
            io::ErrorKind::AddrInUse => write!(
                f,
                "the port is in use; stop the program that has it (`ss -lntup`) or change `{setting}`"
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "no interface of this machine has this address; change `{setting}`")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "not allowed; ports below 1024 need CAP_NET_BIND_SERVICE, or change `{setting}`")
            }
            _ => write!(f, "{source}"),
        }
    }
}

/// The cure for a socket in the file system.
fn unix(kind: io::ErrorKind) -> Option<String> {
    let cure = match kind {
        io::ErrorKind::AddrInUse => "a running program answers there; stop it, or name another path",
        io::ErrorKind::AlreadyExists => "the file is no socket; name another path, or remove it",
        io::ErrorKind::NotFound => {
            "its folder is not there; make it, or have systemd make it (RuntimeDirectory=verge-dns in the unit)"
        }
        io::ErrorKind::PermissionDenied => {
            "not allowed for this user, who must be able to write in its folder"
        }
        _ => return None,
    };
    Some(cure.to_owned())
}

impl std::error::Error for BindError {}

/// Finds out whether another program has `address`. Our own sockets allow others beside them, so that there can be
/// one for each core, and that would let a second server in unnoticed.
pub(super) fn probe(setting: &'static str, address: SocketAddr) -> Result<(), BindError> {
    if address.port() == 0 {
        return Ok(());
    }
    tcp(address, Sharing::Alone).map_err(|source| fault(setting, address, "TCP", source))?;
    udp_socket(address, Sharing::Alone).map_err(|source| fault(setting, address, "UDP", source))?;
    Ok(())
}

/// Takes `address`, on port 0 a free port that is the same for UDP and TCP.
pub(super) fn bind(setting: &'static str, address: SocketAddr, config: Udp) -> Result<Bound, BindError> {
    let mut tries = 0;
    loop {
        let sharing = if address.port() == 0 { Sharing::Alone } else { Sharing::Shared };
        let listener = tcp(address, sharing).map_err(|source| fault(setting, address, "TCP", source))?;
        let found = listener.local_addr().map_err(|source| fault(setting, address, "TCP", source))?;
        tries += 1;
        match udp(found, config, address.port() == 0) {
            Ok(udp) => return Ok(Bound { address: found, udp, tcp: listener, is_handed: false }),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < PORT_TRIES => {}
            Err(source) => return Err(fault(setting, found, "UDP", source)),
        }
    }
}

/// Takes sockets that were handed over, and binds what is missing. There are as many loops as sockets: to close one would lose
/// what waits in it.
pub(super) fn adopt(
    setting: &'static str,
    address: SocketAddr,
    (udp, tcp): (Vec<UdpSocket>, Option<TcpListener>),
    config: Udp,
) -> Result<Bound, BindError> {
    let listener = match tcp {
        Some(listener) => adopt_tcp(setting, listener)?,
        None => {
            self::tcp(address, Sharing::Shared).map_err(|source| fault(setting, address, "TCP", source))?
        }
    };
    let found = listener.local_addr().map_err(|source| fault(setting, address, "TCP", source))?;
    let udp = match udp.is_empty() {
        true => self::udp(found, config, false),
        false => udp.into_iter().map(|socket| adopt_udp(socket, found, config)).collect(),
    };
    let udp = udp.map_err(|source| fault(setting, found, "UDP", source))?;
    Ok(Bound { address: found, udp, tcp: listener, is_handed: true })
}

/// A listener that was handed over.
pub(super) fn adopt_tcp(setting: &'static str, listener: TcpListener) -> Result<TcpListener, BindError> {
    let address = listener.local_addr().unwrap_or(UNKNOWN);
    listener.set_nonblocking(true).map_err(|source| fault(setting, address, "TCP", source))?;
    Ok(listener)
}

/// A socket that was handed over, perhaps by systemd, which knows nothing of our options.
fn adopt_udp(socket: UdpSocket, address: SocketAddr, config: Udp) -> io::Result<UdpSocket> {
    socket.set_nonblocking(false)?;
    let reference = SockRef::from(&socket);
    prepare(&reference, address)?;
    receive_buffer(&reference, config)?;
    Ok(socket)
}

/// A socket of QUIC that was handed over, perhaps by systemd. Whether it blocks is for who reads it: the process before does,
/// still.
pub(super) fn adopt_quic(
    setting: &'static str,
    socket: UdpSocket,
    config: Udp,
) -> Result<UdpSocket, BindError> {
    let address = socket.local_addr().unwrap_or(UNKNOWN);
    let reference = SockRef::from(&socket);
    let prepared = prepare(&reference, address).and_then(|()| receive_buffer(&reference, config));
    prepared.map_err(|source| fault(setting, address, "UDP", source))?;
    Ok(socket)
}

/// Takes `address` for UDP alone: all connections of QUIC share the socket, so that its buffer must hold a flood of new
/// ones and the questions of those that are there.
pub(super) fn bind_udp(
    setting: &'static str,
    address: SocketAddr,
    config: Udp,
) -> Result<UdpSocket, BindError> {
    let bound = udp_socket(address, Sharing::Alone).and_then(|socket| {
        receive_buffer(&socket, config)?;
        Ok(socket.into())
    });
    bound.map_err(|source| fault(setting, address, "UDP", source))
}

/// Takes a path in the file system.
pub(super) fn bind_local(setting: &'static str, path: &Path) -> Result<Local, BindError> {
    local::bind(path, BACKLOG).map_err(|source| unusable(setting, path, source))
}

/// Takes a socket in the file system that was handed over; another one where nobody can reach it any more.
pub(super) fn adopt_local(
    setting: &'static str,
    path: &Path,
    handed: Option<UnixListener>,
) -> Result<Local, BindError> {
    match handed.filter(|_| path.exists()) {
        Some(listener) => local::adopt(listener, path).map_err(|source| unusable(setting, path, source)),
        None => bind_local(setting, path),
    }
}

fn unusable(setting: &'static str, path: &Path, source: io::Error) -> BindError {
    BindError { setting, address: format!("unix:{}", path.display()), transport: UNIX, source }
}

/// Takes `address` for TCP alone.
pub(super) fn bind_tcp(setting: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    tcp(address, Sharing::Alone).map_err(|source| fault(setting, address, "TCP", source))
}

fn fault(
    setting: &'static str,
    address: SocketAddr,
    transport: &'static str,
    source: io::Error,
) -> BindError {
    BindError { setting, address: address.to_string(), transport, source }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    /// Beside others of this process, or below a wildcard address.
    Shared,
}

fn tcp(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without this a restart would wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    only_v6(&socket, address)?;
    // Connections inherit these. Without them the system gives each up to some MiB, and who does not read its answers
    // would have as much made and kept for it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Lets clients in who were refused until now.
pub(super) fn listen(setting: &'static str, listener: &TcpListener) -> Result<(), BindError> {
    let address = listener.local_addr().unwrap_or(UNKNOWN);
    SockRef::from(listener).listen(BACKLOG).map_err(|source| fault(setting, address, "TCP", source))
}

/// Throws away what has come so far.
pub(super) fn forget(socket: &UdpSocket) {
    let socket = SockRef::from(socket);
    // An empty buffer takes nothing of a packet, and the rest of it is lost.
    let forgotten = (0..MOST_FORGOTTEN).map(|_| socket.recv_with_flags(&mut [], libc::MSG_DONTWAIT));
    forgotten.take_while(Result::is_ok).for_each(drop);
}

fn udp(address: SocketAddr, config: Udp, fresh: bool) -> io::Result<Vec<UdpSocket>> {
    if fresh {
        udp_socket(address, Sharing::Alone)?;
    }
    (0..config.workers)
        .map(|_| {
            let socket = udp_socket(address, Sharing::Shared)?;
            receive_buffer(&socket, config)?;
            Ok(socket.into())
        })
        .collect()
}

/// Beyond `net.core.rmem_max` if we may (CAP_NET_ADMIN), else as far as that.
fn receive_buffer(socket: &Socket, config: Udp) -> io::Result<()> {
    let bytes = config.receive_buffer_bytes.unwrap_or(UDP_RECEIVE_BYTES);
    let forced = libc::c_int::try_from(bytes)
        .map_err(io::Error::other)
        .and_then(|bytes| sys::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes));
    forced.or_else(|_| socket.set_recv_buffer_size(bytes))
}

/// As [`receive_buffer`], of `net.core.wmem_max`.
fn send_buffer(socket: &Socket) -> io::Result<()> {
    let set = |name| sys::set_option(socket, libc::SOL_SOCKET, name, UDP_SEND_BYTES);
    set(libc::SO_SNDBUFFORCE).or_else(|_| set(libc::SO_SNDBUF))
}

fn udp_socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    only_v6(&socket, address)?;
    prepare(&socket, address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Takes every packet (BPF_RET | BPF_K). Linux checks the checksum of a packet as it comes where a socket has a filter, and
/// drops it there. Without one it finds a wrong checksum while a thread reads, which then waits [`WAKE`] anew: some such packets
/// a second would keep a thread without a round for as long as a stranger likes, and the watchdog would end the server.
static TAKE_ALL: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, u32::MAX)];

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_read_timeout(Some(WAKE))?;
    socket.attach_filter(&TAKE_ALL)?;
    send_buffer(socket)?;
    never_fragment(socket, address)?;
    if address.ip().is_unspecified() { tell_destination(socket, address) } else { Ok(()) }
}

/// An IPv6 socket that also takes IPv4 would show clients as ::ffff:a.b.c.d and collide with IPv4 listeners.
fn only_v6(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(true) } else { Ok(()) }
}

/// Fragments can be forged and get lost (RFC 9715): none are made, and path MTU news, which can be forged too, is
/// not believed. The kernel refuses a packet that is longer than the interface takes, with EMSGSIZE.
fn never_fragment(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => {
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_INTERFACE)
        }
        SocketAddr::V6(_) => sys::set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_INTERFACE,
        ),
    }
}

/// On a wildcard address each packet says which address was asked; the answer leaves from there.
fn tell_destination(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => sys::set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        SocketAddr::V6(_) => sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest datagram of IPv4.
    const LONGEST_BYTES: usize = 65_507;

    /// A socket for UDP of each way in which this process comes to have one.
    fn sockets() -> Vec<(&'static str, UdpSocket)> {
        let (any, config) = (
            "127.0.0.1:0".parse().unwrap(),
            Udp { workers: 2, max_payload_bytes: 1232, receive_buffer_bytes: None },
        );
        let plain = || UdpSocket::bind(any).unwrap();
        let handed = adopt("listen", any, (vec![plain()], None), config).unwrap().udp;
        let quic = [bind_udp("listen_quic", any, config), adopt_quic("listen_quic", plain(), config)]
            .map(Result::unwrap);
        let bound = bind("listen", any, config).unwrap().udp;
        // Of the two at one address the kernel chooses one for each client.
        let first = bound.into_iter().take(1).map(|socket| ("bound", socket));
        let handed = handed.into_iter().map(|socket| ("handed over", socket));
        first.chain(handed).chain(["QUIC", "QUIC, handed over"].into_iter().zip(quic)).collect()
    }

    /// With a filter the kernel drops a wrong checksum before it wakes a thread ([`TAKE_ALL`]); without one such a packet waits in the
    /// socket. Only the system's administrator can send one on loopback.
    #[test]
    fn each_socket_for_udp_has_a_filter() {
        let bare = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(SockRef::from(&bare).detach_filter().is_err(), "without one this tells so");
        for (which, socket) in sockets() {
            assert!(SockRef::from(&socket).detach_filter().is_ok(), "{which}");
        }
    }

    #[test]
    fn the_filter_takes_all_packets_as_they_are_and_those_without_a_checksum() {
        for (which, socket) in sockets().into_iter().filter(|(which, _)| *which != "bound") {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for without in [0, 1] {
                sys::set_option(&client, libc::SOL_SOCKET, libc::SO_NO_CHECK, without).unwrap();
                for bytes in [0, 1, 12, 1232, LONGEST_BYTES] {
                    let packet = vec![7; bytes];
                    client.send_to(&packet, socket.local_addr().unwrap()).unwrap();
                    let mut taken = vec![0; LONGEST_BYTES + 1];
                    let read = socket.recv(&mut taken).unwrap();
                    assert_eq!(
                        taken[..read],
                        packet,
                        "{which}, {bytes} bytes, without a checksum: {without}"
                    );
                }
            }
        }
    }
}
