//! Sockets to listen on: of the process before, of systemd, or bound anew.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::start_error::StartError;
use crate::handover::{Handed, Listener, Setting, Transport, systemd};
use crate::serve::{BACKLOG, Channels};

/// A socket that is bound, and listens if it is of TCP.
#[derive(Debug)]
pub(super) struct Bound<S> {
    /// As the config has it: port 0 is any free port.
    pub(super) configured: SocketAddr,
    pub(super) address: SocketAddr,
    pub(super) socket: S,
    /// For the process that takes over, and for systemd.
    pub(super) copy: OwnedFd,
    /// Whether it was handed over, perhaps for another setting.
    pub(super) is_renamed: bool,
}

impl<S> Bound<S> {
    /// Makes something of the socket.
    pub(super) fn map<T>(
        self,
        setting: Setting,
        make: impl FnOnce(S) -> io::Result<T>,
    ) -> Result<Bound<T>, StartError> {
        let Self { configured, address, socket, copy, is_renamed } = self;
        let socket = make(socket).map_err(|error| failed(setting, configured, error))?;
        Ok(Bound { configured, address, socket, copy, is_renamed })
    }
}

/// Sockets that were handed to this process and have no listener yet.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    handed: RefCell<Vec<Handed>>,
    families: Families,
    /// Whether the process that handed them over still reads them.
    pub(super) are_read_there: bool,
}

impl Pool {
    /// With these.
    pub(crate) fn new(handed: Vec<Handed>) -> Self {
        Self { handed: RefCell::new(handed), ..Self::default() }
    }

    /// The process that handed them over still reads those of UDP, until [`super::Open::begin`].
    pub(crate) fn read_there(self) -> Self {
        Self { are_read_there: true, ..self }
    }

    /// For the listeners of a config.
    pub(super) fn of(self, families: Families) -> Self {
        Self { families, ..self }
    }

    /// And with these, which a listener of this process gives up.
    pub(super) fn and(self, more: Vec<Handed>) -> Self {
        self.handed.borrow_mut().extend(more);
        self
    }

    pub(super) fn families(&self) -> &Families {
        &self.families
    }

    /// The sockets that no listener wanted.
    pub(super) fn rest(self) -> Vec<Unwanted> {
        let unwanted = |handed: Handed| {
            let address = UdpSocket::from(handed.socket).local_addr().ok();
            Unwanted { listener: handed.listener, address }
        };
        self.handed.into_inner().into_iter().map(unwanted).collect()
    }

    /// Closes those that systemd has kept or passed, that are for none of these addresses, and that are in the way of one: after a
    /// crash or a restart with another config.
    pub(super) fn clear_way(&self, asked: &[(Transport, SocketAddr)]) {
        let is_closed = |handed: &mut Handed| match handed.listener {
            Listener::At(transport, address) => is_in_way(asked, transport, address),
            Listener::Of(..) | Listener::Path { .. } => false,
        };
        let closed: Vec<Listener> =
            self.handed.borrow_mut().extract_if(.., is_closed).map(|handed| handed.listener).collect();
        for listener in &closed {
            tracing::warn!(target: "verge_edge::handover", "no setting names the socket that was handed over: {listener}");
            if let Listener::At(transport, address) = *listener {
                systemd::forget_all(transport, address);
            }
        }
        if !closed.is_empty() {
            systemd::settle();
        }
    }

    /// The first whose listener is of a path and that fits.
    pub(super) fn take_path(&self, fits: impl Fn(&Handed) -> bool) -> Option<Handed> {
        let mut handed = self.handed.borrow_mut();
        let is_wanted = |one: &Handed| matches!(one.listener, Listener::Path { .. }) && fits(one);
        handed.iter().position(is_wanted).map(|place| handed.remove(place))
    }

    /// Whether the socket for this listener takes connections of both families.
    pub(super) fn has_both(&self, setting: Setting, configured: SocketAddr) -> bool {
        let handed = self.handed.borrow();
        place(&handed, setting, configured).is_some_and(|place| is_of_both(&handed[place].socket))
    }

    /// One for this listener: of the same setting if there is one, else any of its address.
    fn take(&self, setting: Setting, configured: SocketAddr) -> Option<Handed> {
        let mut handed = self.handed.borrow_mut();
        let taken = place(&handed, setting, configured).map(|place| handed.remove(place))?;
        self.families.tell_if_narrow(setting, configured, &taken.socket);
        Some(taken)
    }
}

fn place(handed: &[Handed], setting: Setting, configured: SocketAddr) -> Option<usize> {
    let same = |one: &Handed| one.listener == Listener::Of(setting, configured);
    let fits = |one: &Handed| match one.listener {
        Listener::Of(other, address) => {
            other.transport() == setting.transport() && address == configured && address.port() != 0
        }
        Listener::At(transport, address) => transport == setting.transport() && address == configured,
        Listener::Path { .. } => false,
    };
    handed.iter().position(same).or_else(|| handed.iter().position(fits))
}

/// Whether a socket of this address is for none of these, and one of them cannot be bound beside it.
fn is_in_way(asked: &[(Transport, SocketAddr)], transport: Transport, address: SocketAddr) -> bool {
    let mut near = asked.iter().filter(|(of, other)| *of == transport && other.port() == address.port());
    let is_beside = |other: &SocketAddr| {
        let ips = [address.ip(), other.ip()];
        ips[0] == ips[1] || ips.iter().any(IpAddr::is_unspecified)
    };
    !asked.contains(&(transport, address)) && near.any(|(_, other)| is_beside(other))
}

/// A socket that was handed over, and that no listener wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unwanted {
    pub(super) listener: Listener,
    /// Its own.
    pub(super) address: Option<SocketAddr>,
}

/// The addresses of IPv4 that a config listens on. Where `[::]` has the port of one, it is for IPv6 alone: as the kernel
/// has it otherwise, it would take that of IPv4 as well, and one of the two could not be bound.
#[derive(Debug, Clone, Default)]
pub(super) struct Families(Vec<(Transport, u16)>);

impl Families {
    /// Of these addresses.
    pub(super) fn of(asked: &[(Transport, SocketAddr)]) -> Self {
        let of_ipv4 = asked.iter().filter(|(_, address)| address.is_ipv4());
        Self(of_ipv4.map(|(transport, address)| (*transport, address.port())).collect())
    }

    /// Whether a socket for this address must be for IPv6 alone.
    fn only_v6(&self, transport: Transport, address: SocketAddr) -> bool {
        let is_same = |of_ipv4: &(Transport, u16)| *of_ipv4 == (transport, address.port());
        is_any_v6(address) && address.port() != 0 && self.0.iter().any(is_same)
    }

    /// A socket that was opened for IPv6 alone stays so. Whether it should not be is told.
    pub(super) fn tell_if_narrow(&self, setting: Setting, configured: SocketAddr, socket: &impl AsFd) {
        let is_narrow = is_any_v6(configured)
            && SockRef::from(socket).only_v6().is_ok_and(|only_v6| only_v6)
            && !self.only_v6(setting.transport(), configured);
        let by_itself = Socket::new(Domain::IPV6, Type::STREAM, None).and_then(|socket| socket.only_v6());
        if is_narrow && by_itself.is_ok_and(|only_v6| !only_v6) {
            let (setting, port) = (setting.as_str(), configured.port());
            tracing::warn!(
                target: "verge_edge::listener",
                "{configured} was opened for IPv6 alone and stays so: for IPv4 add \"0.0.0.0:{port}\" to `{setting}`, or stop the edge and start it"
            );
        }
    }

    fn socket(&self, transport: Transport, address: SocketAddr) -> io::Result<Socket> {
        let (kind, protocol) = match transport {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if self.only_v6(transport, address) {
            socket.set_only_v6(true)?;
        }
        if transport == Transport::Tcp {
            // Connections of a process that has ended may still be closing.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&address.into())?;
        if transport == Transport::Tcp {
            socket.listen(i32::from(BACKLOG))?;
        }
        Ok(socket)
    }
}

/// `[::]`.
fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// Whether a socket of IPv6 takes connections over IPv4 as well.
pub(super) fn is_of_both(socket: &impl AsFd) -> bool {
    SockRef::from(socket).only_v6().is_ok_and(|only_v6| !only_v6)
}

/// Binds all of these at once, as a start would, and lets go of them: those that cannot be bound, and why.
#[must_use]
pub fn trial(tcp: &[SocketAddr], udp: &[SocketAddr]) -> Vec<(SocketAddr, io::ErrorKind)> {
    let tcp = tcp.iter().map(|address| (Transport::Tcp, *address));
    let all: Vec<(Transport, SocketAddr)> =
        tcp.chain(udp.iter().map(|address| (Transport::Udp, *address))).collect();
    let families = Families::of(&all);
    let mut held = Vec::new();
    let mut refused = Vec::new();
    for (transport, address) in all {
        match families.socket(transport, address) {
            Ok(socket) => held.push(socket),
            Err(error) => refused.push((address, error.kind())),
        }
    }
    refused
}

/// A socket of TCP for this listener.
pub(super) fn tcp(
    pool: &Pool,
    setting: Setting,
    configured: SocketAddr,
) -> Result<Bound<TcpListener>, StartError> {
    let open = || {
        let (socket, is_renamed) = match pool.take(setting, configured) {
            Some(handed) => {
                let is_renamed = handed.listener != Listener::Of(setting, configured);
                (of_kind(handed.socket, Type::STREAM)?, is_renamed)
            }
            None => (pool.families.socket(Transport::Tcp, configured)?, false),
        };
        socket.set_nonblocking(true)?;
        let copy = socket.try_clone()?.into();
        let socket = TcpListener::from(socket);
        Ok(Bound { configured, address: socket.local_addr()?, socket, copy, is_renamed })
    };
    open().map_err(|error| failed(setting, configured, error))
}

/// A socket of UDP for this listener, and the ways to processes that have connections of it.
pub(super) fn udp(
    pool: &Pool,
    setting: Setting,
    configured: SocketAddr,
) -> Result<Bound<(UdpSocket, Channels)>, StartError> {
    let open = || {
        let (socket, channels, is_renamed) = match pool.take(setting, configured) {
            Some(handed) => {
                let is_renamed = handed.listener != Listener::Of(setting, configured);
                (UdpSocket::from(of_kind(handed.socket, Type::DGRAM)?), handed.channels, is_renamed)
            }
            None => (pool.families.socket(Transport::Udp, configured)?.into(), Channels::new(), false),
        };
        let (address, copy) = (socket.local_addr()?, socket.try_clone()?.into());
        Ok(Bound { configured, address, socket: (socket, channels), copy, is_renamed })
    };
    open().map_err(|error| failed(setting, configured, error))
}

fn of_kind(socket: OwnedFd, kind: Type) -> io::Result<Socket> {
    if SockRef::from(&socket).r#type()? != kind {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "another kind of socket was handed over for it",
        ));
    }
    Ok(Socket::from(socket))
}

pub(super) fn failed(setting: Setting, address: SocketAddr, error: io::Error) -> StartError {
    StartError::Bind { setting: setting.as_str(), address, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Setting = Setting::Plain;

    fn handed(listener: Listener, socket: impl Into<OwnedFd>) -> Handed {
        Handed { listener, socket: socket.into(), channels: Vec::new() }
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn a_socket_of_systemd_that_is_in_the_way_of_another_address_is_closed() {
        let check = |has: &str, asks: &[&str], is_closed: bool| {
            let (transport, address) = (PLAIN.transport(), has.parse().unwrap());
            let asked: Vec<_> = asks.iter().map(|text| (transport, text.parse().unwrap())).collect();
            let (socket, _) = listener();
            let pool = Pool::new(vec![handed(Listener::At(transport, address), socket)]);
            pool.clear_way(&asked);
            assert_eq!(pool.rest().is_empty(), is_closed, "{has} {asks:?}");
        };
        check("0.0.0.0:80", &["192.0.2.1:80"], true);
        check("192.0.2.1:80", &["0.0.0.0:80"], true);
        check("[::]:80", &["192.0.2.1:80"], true);
        check("0.0.0.0:80", &["0.0.0.0:80", "[::]:80"], false);
        check("192.0.2.1:80", &["192.0.2.2:80"], false);
        check("0.0.0.0:80", &["192.0.2.1:81"], false);
        check("0.0.0.0:80", &[], false);
        let (socket, address) = listener();
        let of_udp = Pool::new(vec![handed(Listener::At(PLAIN.transport(), address), socket)]);
        of_udp.clear_way(&[(Transport::Udp, "0.0.0.0:0".parse().unwrap())]);
        assert_eq!(of_udp.rest().len(), 1);
        let (socket, address) = listener();
        let of_another_process = Pool::new(vec![handed(Listener::Of(PLAIN, address), socket)]);
        of_another_process
            .clear_way(&[(Transport::Tcp, SocketAddr::new([0, 0, 0, 0].into(), address.port()))]);
        assert_eq!(of_another_process.rest().len(), 1, "it serves clients");
    }

    #[test]
    fn a_socket_goes_to_the_listener_that_it_is_for_and_each_goes_once() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets = [(); 4].map(|()| listener());
        let addresses = sockets.each_ref().map(|(_, address)| *address);
        let [(one, _), (two, _), (three, _), (four, at)] = sockets;
        let udp_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp_address = udp_socket.local_addr().unwrap();
        let pool = Pool::new(vec![
            handed(Listener::Of(Setting::Tls, any), one),
            handed(Listener::Of(PLAIN, any), two),
            handed(Listener::Of(PLAIN, any), three),
            handed(Listener::At(PLAIN.transport(), at), four),
            handed(Listener::At(Setting::Quic.transport(), at), udp_socket),
        ]);
        let check = |setting, configured, expected| {
            assert_eq!(tcp(&pool, setting, configured).unwrap().address, expected);
        };
        check(PLAIN, any, addresses[1]);
        check(PLAIN, any, addresses[2]);
        let other = tcp(&pool, PLAIN, any).unwrap().address;
        assert!(!addresses.contains(&other), "one of another setting with any port is not taken");
        check(Setting::Tls, any, addresses[0]);
        check(Setting::Admin, at, addresses[3]);
        let [Unwanted { listener, address }] = &pool.rest()[..] else { panic!("one is left") };
        assert_eq!(*listener, Listener::At(Setting::Quic.transport(), at));
        assert_eq!(*address, Some(udp_address), "its own");
    }

    #[test]
    fn all_addresses_of_ipv6_are_for_ipv6_alone_where_one_of_ipv4_has_the_port() {
        if TcpListener::bind("[::]:0").is_err() {
            return; // there is no IPv6
        }
        let port = crate::ports::address().port();
        let v6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        let v4 = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port));
        let check = |transport, asked: &[SocketAddr], both: bool| {
            let all: Vec<_> = asked.iter().map(|address| (transport, *address)).collect();
            let families = Families::of(&all);
            let bind = |address: &SocketAddr| families.socket(transport, *address).unwrap();
            let sockets: Vec<Socket> = asked.iter().map(bind).collect();
            let of_v6 = asked.iter().position(SocketAddr::is_ipv6).unwrap();
            assert_eq!(is_of_both(&sockets[of_v6]), both, "{transport:?} {asked:?}");
        };
        for transport in [Transport::Tcp, Transport::Udp] {
            check(transport, &[v4, v6], false);
            check(transport, &[v6, v4], false);
            check(transport, &[v6], true);
        }
        let other = Families::of(&[(Transport::Udp, v4)]);
        assert!(!other.only_v6(Transport::Tcp, v6), "a port of UDP is another");
        assert_eq!(trial(&[v4, v6], &[v6, v4]), []);
        assert_eq!(trial(&[v4, v6, v6], &[]), [(v6, io::ErrorKind::AddrInUse)], "they are held together");
    }

    #[test]
    fn a_listener_whose_setting_is_another_now_keeps_its_socket() {
        let (socket, address) = listener();
        let pool = Pool::new(vec![handed(Listener::Of(PLAIN, address), socket)]);
        assert_eq!(tcp(&pool, Setting::Tls, address).unwrap().address, address);
    }

    #[test]
    fn a_socket_of_another_kind_is_refused() {
        let (socket, address) = listener();
        let pool = Pool::new(vec![handed(Listener::Of(Setting::Quic, address), socket)]);
        let error = udp(&pool, Setting::Quic, address).unwrap_err().to_string();
        assert!(error.contains("`listen_quic`") && error.contains("another kind of socket"), "{error}");
    }
}
