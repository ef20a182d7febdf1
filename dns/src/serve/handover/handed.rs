//! Sockets on their way to another process, and the listeners that they are for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::systemd::{self, Passed};
use crate::client::Transport;

/// The sockets of one address of a setting.
#[derive(Debug)]
pub(in crate::serve) struct Handed {
    /// As the config has both.
    pub(in crate::serve) setting: String,
    pub(in crate::serve) address: SocketAddr,
    pub(in crate::serve) udp: Vec<UdpSocket>,
    pub(in crate::serve) tcp: Option<TcpListener>,
    /// A socket in the file system, which knows its path; [`PATH`] stands for the address.
    pub(in crate::serve) local: Option<UnixListener>,
    /// For QUIC alone.
    pub(in crate::serve) channels: Channels,
}

/// The ways to processes that still have connections of a socket, by the places of these in their row.
pub(in crate::serve) type Channels = Vec<(u8, OwnedFd)>;

/// The address of sockets that have a path instead.
pub(in crate::serve) const PATH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Handed {
    /// systemd keeps copies of these for the next process.
    pub(in crate::serve) fn keep(&self) {
        let udp = self.udp.iter().map(|socket| socket.as_fd());
        let all: Vec<BorrowedFd<'_>> = udp.chain(self.tcp.iter().map(|listener| listener.as_fd())).collect();
        systemd::keep(&self.setting, self.address, &all);
    }

    /// Copies of the sockets; none of the ways.
    pub(in crate::serve) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            setting: self.setting.clone(),
            address: self.address,
            udp: self.udp.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?,
            tcp: self.tcp.as_ref().map(TcpListener::try_clone).transpose()?,
            local: self.local.as_ref().map(UnixListener::try_clone).transpose()?,
            channels: Channels::new(),
        })
    }
}

/// A connection on its way to another process.
#[derive(Debug)]
pub(in crate::serve) struct Moved {
    pub(in crate::serve) stream: TcpStream,
    pub(in crate::serve) peer: SocketAddr,
    /// It came to a listener of the inside.
    pub(in crate::serve) inside: bool,
}

/// The sockets that a process was handed, until each is asked for. Those that nobody asks for close.
#[derive(Debug, Default)]
pub(in crate::serve) struct Pool {
    all: Vec<Handed>,
    taken: usize,
    /// By systemd: of any setting that has their address.
    passed: Passed,
}

impl Pool {
    pub(in crate::serve) fn new(all: Vec<Handed>, passed: Passed) -> Self {
        Self { all, taken: 0, passed }
    }

    /// Those of an address; once for each time that the config names it.
    fn take(&mut self, setting: &str, address: SocketAddr) -> Option<Handed> {
        let at = self.all.iter().position(|it| it.setting == setting && it.address == address)?;
        self.taken += 1;
        Some(self.all.remove(at))
    }

    /// Closes those that systemd has kept or passed and that are in the way of one of these places, which has none: after a crash or a
    /// restart with another config.
    pub(in crate::serve) fn clear_way(&mut self, asked: &[Place], settings: &[&str]) {
        let there: Vec<Place> = self.passed.places().collect();
        let is_closed = |transport, address: io::Result<SocketAddr>| {
            address.is_ok_and(|address| is_in_way(asked, &there, (transport, address)))
        };
        let of_udp = |socket: &mut UdpSocket| is_closed(Transport::Udp, socket.local_addr());
        let of_tcp = |listener: &mut TcpListener| is_closed(Transport::Tcp, listener.local_addr());
        let udp: Vec<UdpSocket> = self.passed.udp.extract_if(.., of_udp).collect();
        let tcp: Vec<TcpListener> = self.passed.tcp.extract_if(.., of_tcp).collect();
        let closed = Passed { udp, tcp };
        let mut places: Vec<Place> = closed.places().collect();
        drop(closed);
        // There is a socket for each loop.
        places.sort_by_key(|(transport, address)| (*address, transport.as_str()));
        places.dedup();
        for (transport, address) in &places {
            let transport = transport.as_str();
            tracing::warn!(%address, transport, "a socket that systemd has kept or passed is in the way of the config, and is closed");
            settings.iter().for_each(|setting| systemd::forget(&systemd::name(setting, *address)));
        }
        if !places.is_empty() {
            systemd::settle();
        }
    }

    /// UDP sockets and the TCP listener of an address; systemd may have passed one kind alone.
    pub(in crate::serve) fn take_both(
        &mut self,
        setting: &str,
        address: SocketAddr,
    ) -> (Vec<UdpSocket>, Option<TcpListener>) {
        match self.take(setting, address) {
            Some(Handed { udp, tcp, .. }) => (udp, tcp),
            None => (self.passed_udp(address), self.passed_tcp(address)),
        }
    }

    pub(in crate::serve) fn take_tcp(&mut self, setting: &str, address: SocketAddr) -> Option<TcpListener> {
        let handed = self.take(setting, address).and_then(|handed| handed.tcp);
        handed.or_else(|| self.passed_tcp(address))
    }

    /// The one that is bound to this path.
    pub(in crate::serve) fn take_local(&mut self, setting: &str, path: &Path) -> Option<UnixListener> {
        let is_there = |local: &UnixListener| {
            local.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let is_it = |one: &Handed| one.setting == setting && one.local.as_ref().is_some_and(is_there);
        let at = self.all.iter().position(is_it)?;
        self.taken += 1;
        self.all.remove(at).local
    }

    /// The socket of an address, and the ways to processes before that still have connections of it.
    pub(in crate::serve) fn take_quic(
        &mut self,
        setting: &str,
        address: SocketAddr,
    ) -> Option<(UdpSocket, Channels)> {
        let handed = self.take(setting, address);
        let handed = handed.and_then(|mut handed| Some((handed.udp.pop()?, handed.channels)));
        handed.or_else(|| Some((self.passed_udp(address).pop()?, Channels::new())))
    }

    fn passed_udp(&mut self, address: SocketAddr) -> Vec<UdpSocket> {
        let is_it = |socket: &mut UdpSocket| socket.local_addr().is_ok_and(|it| it == address);
        self.passed.udp.extract_if(.., is_it).collect()
    }

    fn passed_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |listener: &TcpListener| listener.local_addr().is_ok_and(|it| it == address);
        let at = self.passed.tcp.iter().position(is_it)?;
        Some(self.passed.tcp.remove(at))
    }

    /// Closes those that nobody has asked for: the names of what systemd is not to keep of them, once this process has taken
    /// over.
    pub(in crate::serve) fn close(self, settings: &[&str]) -> Vec<String> {
        let handed = self.all.iter().map(|it| systemd::name(&it.setting, it.address));
        let of = |address| settings.iter().map(move |setting| systemd::name(setting, address));
        handed.chain(self.passed.addresses().flat_map(of)).collect()
    }

    /// Whether there were sockets, and none was asked for.
    pub(in crate::serve) fn is_of_another(&self) -> bool {
        self.taken == 0 && !self.all.is_empty()
    }

    /// Whether this address is among those that nobody has asked for yet.
    pub(in crate::serve) fn has(&self, setting: &str, address: SocketAddr) -> bool {
        let is_it = |it: &Handed| it.setting == setting && it.address == address;
        self.all.iter().any(is_it) || self.passed.addresses().any(|it| it == address)
    }
}

/// UDP or TCP, and an address of it.
pub(in crate::serve) type Place = (Transport, SocketAddr);

/// Whether one of these places, which no socket is there for, cannot be bound beside a socket of this one. Those of IPv6 are for
/// IPv6 alone.
fn is_in_way(asked: &[Place], there: &[Place], (transport, address): Place) -> bool {
    let is_beside = |other: SocketAddr| {
        let is_near = other.port() == address.port() && other.is_ipv4() == address.is_ipv4();
        is_near && (other.ip() == address.ip() || [other, address].iter().any(|it| it.ip().is_unspecified()))
    };
    asked.iter().any(|other| other.0 == transport && !there.contains(other) && is_beside(other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::serve::testing::logged;

    #[test]
    fn each_socket_goes_to_its_setting_and_address_once() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let handed = |setting: &str| Handed {
            setting: setting.to_owned(),
            address: any,
            udp: vec![UdpSocket::bind(any).unwrap()],
            tcp: Some(TcpListener::bind(any).unwrap()),
            local: None,
            channels: Channels::new(),
        };
        let ports = |it: &Handed| it.tcp.as_ref().unwrap().local_addr().unwrap().port();
        let all = vec![handed("listen"), handed("internal.listen"), handed("listen")];
        let (first, second) = (ports(&all[0]), ports(&all[2]));
        let mut pool = Pool::new(all, Passed::default());
        assert!(pool.is_of_another());
        assert!(pool.take("listen", "127.0.0.1:53".parse().unwrap()).is_none());
        assert_eq!(ports(&pool.take("listen", any).unwrap()), first);
        assert_eq!(ports(&pool.take("listen", any).unwrap()), second);
        assert!(!pool.has("listen", any) && pool.has("internal.listen", any) && !pool.is_of_another());
        assert!(pool.take("listen", any).is_none());
        assert_eq!(pool.close(&["listen"]), ["internal.listen-127.0.0.1_0"]);
    }

    #[test]
    fn a_socket_of_systemd_that_is_in_the_way_of_another_address_is_closed() {
        let check = |asked: &dyn Fn(u16) -> Place, is_closed: bool| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let address = socket.local_addr().unwrap();
            let mut pool = Pool::new(Vec::new(), Passed::of_udp(socket));
            let asked = asked(address.port());
            let lines = logged(|| pool.clear_way(&[asked], &["listen"]));
            assert_eq!(!pool.has("listen", address), is_closed, "{asked:?}");
            let is_told = |line: &String| line.contains(&format!("address={address} transport=\"udp\""));
            assert!(lines.len() == usize::from(is_closed) && lines.iter().all(is_told), "{lines:?}");
        };
        check(&|port| (Transport::Udp, ([127, 0, 0, 1], port).into()), true);
        check(&|port| (Transport::Tcp, ([127, 0, 0, 1], port).into()), false);
        check(&|port| (Transport::Udp, ([0, 0, 0, 0], port).into()), false);
        check(&|port| (Transport::Udp, ([127, 0, 0, 1], port.wrapping_add(1)).into()), false);
        let check = |asked: &[&str], there: &[&str], address: &str, expected: bool| {
            let [asked, there] = [asked, there].map(|all| {
                let all = all.iter().map(|text| (Transport::Tcp, text.parse().unwrap()));
                all.collect::<Vec<Place>>()
            });
            let place = (Transport::Tcp, address.parse().unwrap());
            assert_eq!(is_in_way(&asked, &there, place), expected, "{asked:?} {address}");
            let of_udp = (Transport::Udp, place.1);
            assert!(!is_in_way(&asked, &there, of_udp), "{asked:?} {address}");
        };
        check(&["0.0.0.0:53"], &["192.0.2.1:53"], "192.0.2.1:53", true);
        check(&["192.0.2.2:53"], &["192.0.2.1:53"], "192.0.2.1:53", false);
        check(&["[::]:53"], &["192.0.2.1:53"], "192.0.2.1:53", false);
        // One that stays is closed, too, and bound anew beside the other.
        check(&["0.0.0.0:53", "192.0.2.1:53"], &["192.0.2.1:53"], "192.0.2.1:53", true);
        check(&["0.0.0.0:53", "192.0.2.1:53"], &["0.0.0.0:53", "192.0.2.1:53"], "192.0.2.1:53", false);
    }
}
