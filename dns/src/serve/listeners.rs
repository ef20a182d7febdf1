//! Every socket that the config names, bound before any query is answered.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use super::bind::{self, BindError, Bound};
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
        Ok(Handed { setting: ADMIN.to_owned(), address, udp: Vec::new(), tcp, local })
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
    pub(super) quic: Vec<UdpSocket>,
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

const QUORUM: &str = "steer.quorum.listen";

impl Listeners {
    pub(super) fn bind(config: &Config) -> Result<Self, BindError> {
        let outside = (&config.listen, &config.encrypted, OUTSIDE);
        let inside = (&config.internal.listen, &config.internal.encrypted, INSIDE);
        // All are probed before any is taken: one of ours must not look like a stranger's to the next.
        for (plain, _, settings) in [&outside, &inside] {
            plain.iter().try_for_each(|address| bind::probe(settings.plain, *address))?;
        }
        let admin =
            config.admin.as_ref().map(|admin| bind::bind_tcp("admin.listen", admin.listen)).transpose()?;
        let quorum = config.quorum.as_ref();
        let quorum = quorum.map(|quorum| bind::bind_tcp(QUORUM, quorum.listen)).transpose()?;
        let [outside, inside] = [outside, inside].map(|(plain, encrypted, settings)| {
            let plain = plain.iter().map(|address| bind::bind(settings.plain, *address, config.udp));
            Ok(Side {
                plain: plain.collect::<Result<_, _>>()?,
                encrypted: Sealed::bind(encrypted, &settings, config.udp)?,
            })
        });
        Ok(Self { outside: outside?, inside: inside?, admin, quorum })
    }

    /// Lets clients in. Clients that asked before now get no answer: nothing could be said to them.
    pub(super) fn open(&self) -> Result<(), BindError> {
        for (side, settings) in [(&self.outside, OUTSIDE), (&self.inside, INSIDE)] {
            for bound in &side.plain {
                bind::listen(settings.plain, &bound.tcp)?;
                bound.udp.iter().for_each(bind::forget);
            }
            let Sealed { tls, https, quic } = &side.encrypted;
            tls.iter().try_for_each(|listener| bind::listen(settings.tls, listener))?;
            https.iter().try_for_each(|listener| bind::listen(settings.https, listener))?;
            quic.iter().for_each(bind::forget);
        }
        self.quorum.iter().try_for_each(|listener| bind::listen(QUORUM, listener))?;
        self.admin.iter().try_for_each(|listener| bind::listen("admin.listen", listener))
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
    fn bind(config: &config::Encrypted, settings: &Settings, udp: config::Udp) -> Result<Self, BindError> {
        let streams = |setting, addresses: &[SocketAddr]| {
            addresses.iter().map(|address| bind::bind_tcp(setting, *address)).collect::<Result<_, _>>()
        };
        let quic = config.quic.iter().map(|address| bind::bind_udp(settings.quic, *address, udp));
        Ok(Self {
            tls: streams(settings.tls, &config.tls)?,
            https: streams(settings.https, &config.https)?,
            quic: quic.collect::<Result<_, _>>()?,
        })
    }

    fn addresses(&self, listener: Listener) -> Vec<Encrypted> {
        let tls = self.tls.iter().map(|it| (Transport::Tls, it.local_addr()));
        let https = self.https.iter().map(|it| (Transport::Https, it.local_addr()));
        let quic = self.quic.iter().map(|it| (Transport::Quic, it.local_addr()));
        let all = tls.chain(https).chain(quic);
        all.filter_map(|(transport, address)| Some(Encrypted { address: address.ok()?, transport, listener }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::ErrorKind;
    use std::net::TcpStream;
    use std::path::Path;

    #[test]
    fn nobody_is_let_in_before_there_is_something_to_say() {
        let config = "zones = \"zones\"\nlisten = [\"127.0.0.1:0\"]\nudp.workers = 1\n\
            [admin]\nlisten = \"127.0.0.1:0\"\n";
        let config = config::parse(config, Path::new("/"), Path::new("dns.toml")).unwrap();
        let sockets = Listeners::bind(&config).unwrap();
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
}
