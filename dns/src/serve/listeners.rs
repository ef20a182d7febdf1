//! Every socket that the config names, bound before any query is answered.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use super::bind::{self, BindError, Bound};
use super::handover::{Channels, Handed, PATH, Pool};
use super::local::Local;
use crate::client::{Listener, Transport};
use crate::config::{self, AdminAddress, Config};

/// Where a server listens, with the ports that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// UDP and TCP; every client here is outside.
    pub outside: Vec<SocketAddr>,
    /// UDP and TCP; a client here is inside if its address is.
    pub inside: Vec<SocketAddr>,
    /// Inside TLS or QUIC.
    pub encrypted: Vec<Encrypted>,
    /// The operator's HTTP, if it is over TCP.
    pub admin: Option<SocketAddr>,
    /// The operator's HTTP, if it is a Unix socket.
    pub admin_socket: Option<PathBuf>,
    /// Where other name servers tell who is up.
    pub quorum: Option<SocketAddr>,
}

/// An encrypted listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// With the port that was found.
    pub address: SocketAddr,
    /// TLS, HTTPS or QUIC.
    pub transport: Transport,
    /// Whether its clients are outside, or may be inside.
    pub listener: Listener,
}

pub(super) struct Listeners {
    pub(super) outside: Side,
    pub(super) inside: Side,
    pub(super) admin: Option<Operator>,
    pub(super) quorum: Option<TcpListener>,
}

/// The operator's socket.
pub(super) enum Operator {
    Tcp(TcpListener),
    Unix(Local),
}

impl Operator {
    fn bind(listen: &AdminAddress, handed: &mut Pool) -> Result<Self, BindError> {
        match listen {
            AdminAddress::Tcp(address) => stream(ADMIN, *address, handed).map(Self::Tcp),
            AdminAddress::Unix(path) => {
                bind::adopt_local(ADMIN, path, handed.take_local(ADMIN, path)).map(Self::Unix)
            }
        }
    }

    fn open(&self) -> Result<(), BindError> {
        match self {
            Self::Tcp(listener) => bind::listen(ADMIN, listener),
            // It listens already.
            Self::Unix(_) => Ok(()),
        }
    }

    fn copy(&self, listen: &AdminAddress) -> io::Result<Handed> {
        let address = match listen {
            AdminAddress::Tcp(address) => *address,
            AdminAddress::Unix(_) => PATH,
        };
        let (tcp, local) = match self {
            Self::Tcp(listener) => (Some(listener.try_clone()?), None),
            Self::Unix(local) => (None, Some(local.listener.try_clone()?)),
        };
        let (setting, udp, channels) = (ADMIN.to_owned(), Vec::new(), Channels::new());
        Ok(Handed { setting, address, udp, tcp, local, channels })
    }
}

/// The sockets of one side.
pub(super) struct Side {
    /// UDP and TCP.
    pub(super) plain: Vec<Bound>,
    pub(super) encrypted: Sealed,
}

/// Listeners for what is inside TLS or QUIC.
pub(super) struct Sealed {
    pub(super) tls: Vec<TcpListener>,
    pub(super) https: Vec<TcpListener>,
    pub(super) quic: Vec<Datagrams>,
}

/// A socket of QUIC.
pub(super) struct Datagrams {
    pub(super) socket: UdpSocket,
    /// By the process before, or by systemd: what has come is still to be answered.
    is_handed: bool,
    /// The ways to processes before that still have connections.
    pub(super) before: Channels,
}

/// How the config names the listeners of a side.
struct Settings {
    plain: &'static str,
    tls: &'static str,
    https: &'static str,
    quic: &'static str,
}

const OUTSIDE: Settings =
    Settings { plain: "listen", tls: "listen_tls", https: "listen_https", quic: "listen_quic" };
const INSIDE: Settings = Settings {
    plain: "internal.listen",
    tls: "internal.listen_tls",
    https: "internal.listen_https",
    quic: "internal.listen_quic",
};

/// Those of all sockets.
pub(super) const SETTINGS: [&str; 10] = [
    OUTSIDE.plain,
    OUTSIDE.tls,
    OUTSIDE.https,
    OUTSIDE.quic,
    INSIDE.plain,
    INSIDE.tls,
    INSIDE.https,
    INSIDE.quic,
    ADMIN,
    QUORUM,
];

const ADMIN: &str = "admin.listen";
const QUORUM: &str = "steer.quorum.listen";

impl Listeners {
    /// Takes the sockets that were handed over, and binds the others.
    pub(super) fn bind(config: &Config, handed: &mut Pool) -> Result<Self, BindError> {
        let outside = (&config.listen, &config.encrypted, OUTSIDE);
        let inside = (&config.internal.listen, &config.internal.encrypted, INSIDE);
        handed.clear_way(&asked(config), &SETTINGS);
        // All are probed before any is taken: one of ours must not look like a stranger's to the next.
        for (plain, _, settings) in [&outside, &inside] {
            let is_new = |address: &&SocketAddr| !handed.has(settings.plain, **address);
            plain.iter().filter(is_new).try_for_each(|address| bind::probe(settings.plain, *address))?;
        }
        let admin = config.admin.as_ref().map(|admin| Operator::bind(&admin.listen, handed)).transpose()?;
        let quorum = config.quorum.as_ref();
        let quorum = quorum.map(|quorum| stream(QUORUM, quorum.listen, handed)).transpose()?;
        let [outside, inside] = [outside, inside].map(|(plain, encrypted, settings)| {
            let plain = plain.iter().map(|address| match handed.has(settings.plain, *address) {
                true => {
                    let sockets = handed.take_both(settings.plain, *address);
                    bind::adopt(settings.plain, *address, sockets, config.udp)
                }
                false => bind::bind(settings.plain, *address, config.udp),
            });
            Ok(Side {
                plain: plain.collect::<Result<_, _>>()?,
                encrypted: Sealed::bind(encrypted, &settings, config.udp, handed)?,
            })
        });
        Ok(Self { outside: outside?, inside: inside?, admin, quorum })
    }

    /// Copies of all sockets, for a process that takes over.
    pub(super) fn copies(&self, config: &Config) -> io::Result<Vec<Handed>> {
        let mut all = Vec::new();
        let one = |setting: &str, address: &SocketAddr, udp: &[UdpSocket], tcp: Option<&TcpListener>| {
            let udp = udp.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?;
            let tcp = tcp.map(TcpListener::try_clone).transpose()?;
            let (setting, address, channels) = (setting.to_owned(), *address, Channels::new());
            io::Result::Ok(Handed { setting, address, udp, tcp, local: None, channels })
        };
        let outside = (&self.outside, &config.listen, &config.encrypted, OUTSIDE);
        let inside = (&self.inside, &config.internal.listen, &config.internal.encrypted, INSIDE);
        for (side, plain, encrypted, settings) in [outside, inside] {
            for (bound, address) in side.plain.iter().zip(plain) {
                all.push(one(settings.plain, address, &bound.udp, Some(&bound.tcp))?);
            }
            let Sealed { tls, https, quic } = &side.encrypted;
            for (setting, listeners, addresses) in
                [(settings.tls, tls, &encrypted.tls), (settings.https, https, &encrypted.https)]
            {
                for (listener, address) in listeners.iter().zip(addresses) {
                    all.push(one(setting, address, &[], Some(listener))?);
                }
            }
            for (datagrams, address) in quic.iter().zip(&encrypted.quic) {
                all.push(one(settings.quic, address, std::slice::from_ref(&datagrams.socket), None)?);
            }
        }
        for (admin, listener) in config.admin.iter().zip(&self.admin) {
            all.push(listener.copy(&admin.listen)?);
        }
        for (quorum, listener) in config.quorum.iter().zip(&self.quorum) {
            all.push(one(QUORUM, &quorum.listen, &[], Some(listener))?);
        }
        Ok(all)
    }

    /// Lets clients in. Clients that asked before now get no answer: nothing could be said to them.
    pub(super) fn open(&self) -> Result<(), BindError> {
        for (side, settings) in [(&self.outside, OUTSIDE), (&self.inside, INSIDE)] {
            for bound in &side.plain {
                bind::listen(settings.plain, &bound.tcp)?;
                bound.udp.iter().filter(|_| !bound.is_handed).for_each(bind::forget);
            }
            let Sealed { tls, https, quic } = &side.encrypted;
            tls.iter().try_for_each(|listener| bind::listen(settings.tls, listener))?;
            https.iter().try_for_each(|listener| bind::listen(settings.https, listener))?;
            quic.iter().filter(|it| !it.is_handed).for_each(|it| bind::forget(&it.socket));
        }
        self.quorum.iter().try_for_each(|listener| bind::listen(QUORUM, listener))?;
        self.admin.iter().try_for_each(Operator::open)
    }

    pub(super) fn addresses(&self) -> Listening {
        let of = |side: &Side| side.plain.iter().map(|bound| bound.address).collect();
        let sides = [(&self.outside, Listener::Outside), (&self.inside, Listener::Inside)];
        Listening {
            outside: of(&self.outside),
            inside: of(&self.inside),
            encrypted: sides
                .into_iter()
                .flat_map(|(side, listener)| side.encrypted.addresses(listener))
                .collect(),
            admin: self.admin.as_ref().and_then(|admin| match admin {
                Operator::Tcp(listener) => listener.local_addr().ok(),
                Operator::Unix(_) => None,
            }),
            admin_socket: self.admin.as_ref().and_then(|admin| match admin {
                Operator::Tcp(_) => None,
                Operator::Unix(local) => Some(local.file.path.clone()),
            }),
            quorum: self.quorum.as_ref().and_then(|quorum| quorum.local_addr().ok()),
        }
    }
}

impl Sealed {
    fn bind(
        config: &config::Encrypted,
        settings: &Settings,
        udp: config::Udp,
        handed: &mut Pool,
    ) -> Result<Self, BindError> {
        let mut streams = |setting, addresses: &[SocketAddr]| {
            addresses.iter().map(|address| stream(setting, *address, handed)).collect::<Result<_, _>>()
        };
        let (tls, https) = (streams(settings.tls, &config.tls)?, streams(settings.https, &config.https)?);
        let quic = config.quic.iter().map(|address| match handed.take_quic(settings.quic, *address) {
            Some((socket, before)) => {
                let socket = bind::adopt_quic(settings.quic, socket, udp)?;
                Ok(Datagrams { socket, is_handed: true, before })
            }
            None => {
                let socket = bind::bind_udp(settings.quic, *address, udp)?;
                Ok(Datagrams { socket, is_handed: false, before: Channels::new() })
            }
        });
        Ok(Self { tls, https, quic: quic.collect::<Result<_, _>>()? })
    }

    fn addresses(&self, listener: Listener) -> Vec<Encrypted> {
        let tls = self.tls.iter().map(|it| (Transport::Tls, it.local_addr()));
        let https = self.https.iter().map(|it| (Transport::Https, it.local_addr()));
        let quic = self.quic.iter().map(|it| (Transport::Quic, it.socket.local_addr()));
        let all = tls.chain(https).chain(quic);
        all.filter_map(|(transport, address)| Some(Encrypted { address: address.ok()?, transport, listener }))
            .collect()
    }
}

/// All addresses of a config, each with UDP or TCP.
fn asked(config: &Config) -> Vec<(Transport, SocketAddr)> {
    let sides = [(&config.listen, &config.encrypted), (&config.internal.listen, &config.internal.encrypted)];
    let udp = sides.into_iter().flat_map(|(plain, it)| [plain, &it.quic]).flatten();
    let tcp = sides.into_iter().flat_map(|(plain, it)| [plain, &it.tls, &it.https]).flatten();
    let admin = config.admin.iter().filter_map(|admin| match &admin.listen {
        AdminAddress::Tcp(address) => Some(address),
        AdminAddress::Unix(_) => None,
    });
    let tcp = tcp.chain(admin).chain(config.quorum.iter().map(|quorum| &quorum.listen));
    let udp = udp.map(|address| (Transport::Udp, *address));
    udp.chain(tcp.map(|address| (Transport::Tcp, *address))).collect()
}

fn stream(setting: &'static str, address: SocketAddr, handed: &mut Pool) -> Result<TcpListener, BindError> {
    match handed.take_tcp(setting, address) {
        Some(listener) => bind::adopt_tcp(setting, listener),
        None => bind::bind_tcp(setting, address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::ErrorKind;
    use std::net::TcpStream;
    use std::path::Path;

    use crate::serve::handover::systemd::Passed;

    #[test]
    fn nobody_is_let_in_before_there_is_something_to_say() {
        let config = "zones = \"zones\"\nlisten = [\"127.0.0.1:0\"]\nudp.workers = 1\n\
            [admin]\nlisten = \"127.0.0.1:0\"\n";
        let config = config::parse(config, Path::new("/"), Path::new("dns.toml")).unwrap();
        let sockets = Listeners::bind(&config, &mut Pool::default()).unwrap();
        let Listening { outside, admin, .. } = sockets.addresses();
        let streams = [outside[0], admin.unwrap()];
        for address in streams {
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3 {
            client.send_to(b"too early", outside[0]).unwrap();
        }
        sockets.open().unwrap();
        client.send_to(b"in time", outside[0]).unwrap();
        for address in streams {
            TcpStream::connect(address).unwrap();
        }
        let mut packet = [0; 64];
        let bytes = sockets.outside.plain[0].udp[0].recv(&mut packet).unwrap();
        assert_eq!(&packet[..bytes], b"in time");
    }

    #[test]
    fn quic_asks_for_udp_plain_dns_for_both_and_all_else_for_tcp() {
        let text = "zones = \"zones\"\nlisten = [\"127.0.0.1:1\"]\nlisten_tls = [\"127.0.0.1:2\"]\n\
            listen_https = [\"127.0.0.1:3\"]\nlisten_quic = [\"127.0.0.1:4\"]\n\
            [tls]\ncertificate = \"c\"\nkey = \"k\"\n[admin]\nlisten = \"127.0.0.1:5\"\n";
        let config = config::parse(text, Path::new("/"), Path::new("dns.toml")).unwrap();
        let ports = |of: Transport| {
            let asked = asked(&config).into_iter().filter(move |(transport, _)| *transport == of);
            asked.map(|(_, address)| address.port()).collect::<Vec<_>>()
        };
        assert_eq!(ports(Transport::Udp), [1, 4]);
        assert_eq!(ports(Transport::Tcp), [1, 2, 3, 5]);
    }

    #[test]
    fn a_socket_of_systemd_is_prepared_for_quic_as_ours_are() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let text = format!(
            "zones = \"zones\"\nlisten = [\"127.0.0.1:0\"]\nlisten_quic = [\"{address}\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n"
        );
        let config = config::parse(&text, Path::new("/"), Path::new("dns.toml")).unwrap();
        let passed = Passed::of_udp(socket);
        let sockets = Listeners::bind(&config, &mut Pool::new(Vec::new(), passed)).unwrap();
        let adopted = &sockets.outside.encrypted.quic[0];
        assert_eq!(adopted.socket.local_addr().unwrap(), address);
        // A plain socket has none.
        assert!(adopted.is_handed && adopted.socket.read_timeout().unwrap().is_some());
    }
}
