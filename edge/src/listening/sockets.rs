//! Sockets to listen on: of the process before, of systemd, or bound anew.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::start_error::StartError;
use crate::handover::{Handed, Listener, Setting};
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
}

impl<S> Bound<S> {
    /// Makes something of the socket.
    pub(super) fn map<T>(
        self,
        setting: Setting,
        make: impl FnOnce(S) -> io::Result<T>,
    ) -> Result<Bound<T>, StartError> {
        let Self { configured, address, socket, copy } = self;
        let socket = make(socket).map_err(|error| failed(setting, configured, error))?;
        Ok(Bound { configured, address, socket, copy })
    }
}

/// Sockets that were handed to this process and have no listener yet.
#[derive(Debug, Default)]
pub(crate) struct Pool(RefCell<Vec<Handed>>);

impl Pool {
    /// With these.
    pub(crate) fn new(handed: Vec<Handed>) -> Self {
        Self(RefCell::new(handed))
    }

    /// The addresses of those that no listener wanted, but for copies of others.
    pub(super) fn rest(self) -> Vec<Listener> {
        self.0.into_inner().into_iter().map(|handed| handed.listener).collect()
    }

    /// One for this listener: of the same setting if there is one, else any of its address.
    fn take(&self, setting: Setting, configured: SocketAddr) -> Option<Handed> {
        let mut handed = self.0.borrow_mut();
        let same = |one: &Handed| one.listener == Listener::Of(setting, configured);
        let fits = |one: &Handed| match one.listener {
            Listener::Of(other, address) => {
                other.transport() == setting.transport() && address == configured && address.port() != 0
            }
            Listener::At(transport, address) => transport == setting.transport() && address == configured,
        };
        let place = handed.iter().position(same).or_else(|| handed.iter().position(fits))?;
        Some(handed.remove(place))
    }
}

/// A socket of TCP for this listener.
pub(super) fn tcp(
    pool: &Pool,
    setting: Setting,
    configured: SocketAddr,
) -> Result<Bound<TcpListener>, StartError> {
    let open = || {
        let socket = match pool.take(setting, configured) {
            Some(handed) => of_kind(handed.socket, Type::STREAM)?,
            None => bind(configured)?,
        };
        socket.set_nonblocking(true)?;
        let copy = socket.try_clone()?.into();
        let socket = TcpListener::from(socket);
        Ok(Bound { configured, address: socket.local_addr()?, socket, copy })
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
        let (socket, channels) = match pool.take(setting, configured) {
            Some(handed) => (UdpSocket::from(of_kind(handed.socket, Type::DGRAM)?), handed.channels),
            None => (UdpSocket::bind(configured)?, Channels::new()),
        };
        let (address, copy) = (socket.local_addr()?, socket.try_clone()?.into());
        Ok(Bound { configured, address, socket: (socket, channels), copy })
    };
    open().map_err(|error| failed(setting, configured, error))
}

pub(super) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a process that has ended may still be closing.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::from(BACKLOG))?;
    Ok(socket)
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
    fn a_socket_goes_to_the_listener_that_it_is_for_and_each_goes_once() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets = [(); 4].map(|()| listener());
        let addresses = sockets.each_ref().map(|(_, address)| *address);
        let [(one, _), (two, _), (three, _), (four, at)] = sockets;
        let udp_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
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
        assert_eq!(pool.rest(), [Listener::At(Setting::Quic.transport(), at)]);
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
