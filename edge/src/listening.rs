//! The listeners of an edge: opened at its start, and changed by a reload, which keeps those that stay.
//!
//! ```text
//! config ─▶ Read::of (files) ─▶ Open::prepare (binds; all that can fail) ─▶ Open::commit (puts it in service; nothing can fail)
//! ```
//!
//! Invariant: a connection outlives its listener. One that a reload closes has its last connections taken first, and those
//! that are open end when their clients have been told.

mod encrypted;
mod local;
mod moving;
mod operator;
mod own_tls;
mod placing;
mod reading;
mod sockets;
mod start_error;
mod streams;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::encrypted::Encrypted;
pub use self::local::trial_of_path;
use self::operator::{Edge, Operator};
use self::placing::{Listener, Place, Spot, accept, carry_quic, exchange, places};
pub(crate) use self::reading::Read;
pub use self::reading::inspect;
pub(crate) use self::sockets::Pool;
pub use self::sockets::trial;
use self::sockets::{Bound, Families, Unwanted, is_of_both, tcp};
pub use self::start_error::StartError;
use crate::admin::Reload;
use crate::clock::Clock;
use crate::config::Config;
use crate::handover::{Handed, Listener as For, Row, Setting, Transport, systemd};
use crate::origin::Origins;
use crate::serve::{Carrier, Closing, Door, Listeners, Ports, Relays};
use crate::site::relay::Relay;
use crate::turn::Turn;

/// The addresses that were bound, with their real ports.
#[derive(Debug, Clone)]
pub struct Listening {
    /// In the config's order.
    pub public: Vec<SocketAddr>,
    /// The listeners over TLS, in the config's order.
    pub tls: Vec<SocketAddr>,
    /// The listeners of HTTP/3, by UDP, in the config's order.
    pub quic: Vec<SocketAddr>,
    /// The operator's listener, if it is configured and over TCP.
    pub admin: Option<SocketAddr>,
    /// The operator's listener, if it is configured and a Unix socket.
    pub admin_socket: Option<PathBuf>,
}

/// The listeners that are open.
pub(crate) struct Open {
    clients: Listeners,
    clock: Clock,
    row: Row,
    plain: Vec<Listener>,
    tls: Vec<Listener>,
    quic: Vec<Listener>,
    /// Listeners over QUIC that a reload closed, by their configured addresses, while they last.
    resting: Vec<(SocketAddr, Weak<Carrier>)>,
    /// Of `[[stream]]`s.
    streams: Vec<Listener>,
    relays: Arc<Relays>,
    encrypted: Option<Encrypted>,
    operator: Option<Operator>,
    /// The end of the operator's listener, once another process has its socket.
    left: Option<JoinHandle<()>>,
    /// The next `commit` is the start's: the program says `listening …` then.
    starts: bool,
}

/// The listeners that a config asks for; nothing of it counts yet.
pub(crate) struct Next {
    plain: Vec<Place<TcpListener>>,
    tls: Vec<Place<TcpListener>>,
    quic: Vec<Place<Arc<Carrier>>>,
    streams: OfStreams,
    encrypted: Option<encrypted::Next>,
    operator: Option<operator::Next>,
    /// Sockets that were handed over for nothing.
    unwanted: Vec<Unwanted>,
}

/// The listeners of streams, each with the rules of its streams.
type OfStreams = Vec<(Place<TcpListener>, Vec<Relay>)>;

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Open").field(&self.listening()).finish()
    }
}

impl Open {
    /// None yet.
    pub(crate) fn new(clients: Listeners, relays: Arc<Relays>, clock: Clock, row: Row) -> Self {
        let (plain, tls, quic, resting, streams) = Default::default();
        let (encrypted, operator, left) = (None, None, None);
        Self {
            clients,
            clock,
            row,
            plain,
            tls,
            quic,
            resting,
            streams,
            relays,
            encrypted,
            operator,
            left,
            starts: true,
        }
    }

    /// Where they are.
    pub(crate) fn listening(&self) -> Listening {
        let addresses = |open: &[Listener]| open.iter().map(|listener| listener.address).collect();
        Listening {
            public: addresses(&self.plain),
            tls: addresses(&self.tls),
            quic: addresses(&self.quic),
            admin: self.operator.as_ref().and_then(Operator::address),
            admin_socket: self.operator.as_ref().and_then(Operator::socket).map(Path::to_owned),
        }
    }

    /// Where the streams are, in the config's order; an address that several share counts once.
    pub(crate) fn streams(&self) -> Vec<SocketAddr> {
        self.streams.iter().map(|listener| listener.address).collect()
    }

    /// Whether there are listeners over TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted.is_some()
    }

    /// Binds what is neither open yet nor handed over, for a config whose files were read.
    ///
    /// # Errors
    /// When an address cannot be bound. Then nothing is different from before.
    pub(crate) fn prepare(&self, config: &Config, handed: Pool, read: Read) -> Result<Next, StartError> {
        self.bind(config, handed, read).map_err(|error| error.placed(config))
    }

    fn bind(&self, config: &Config, handed: Pool, read: Read) -> Result<Next, StartError> {
        let Read { encrypted, operator } = read;
        let asked: Vec<(Transport, SocketAddr)> = moving::asked(config)
            .into_iter()
            .map(|(setting, address)| (setting.transport(), address))
            .collect();
        let handed = handed.of(Families::of(&asked)).and(self.moving(config)?);
        handed.clear_way(&asked);
        let listen = |setting, address| tcp(&handed, setting, address)?.map(setting, TcpListener::from_std);
        let plain = self.uncovered(Setting::Plain, &config.listen, &handed);
        let plain = places(&self.plain, &plain, |address| listen(Setting::Plain, address))?;
        let before = self.encrypted.as_ref();
        let (tls, quic) = config.tls.as_ref().map_or((&[][..], &[][..]), |tls| (&tls.listen, &tls.quic));
        let tls = self.uncovered(Setting::Tls, tls, &handed);
        let tls = places(&self.tls, &tls, |address| listen(Setting::Tls, address))?;
        let offers = encrypted.as_ref().and_then(|next| next.offers(before));
        let quic = places(&self.quic, &self.uncovered(Setting::Quic, quic, &handed), |address| {
            let offers = offers.expect("there is [tls] where there is `listen_quic`");
            match self.rested(address) {
                Some(bound) => Ok(bound),
                None => carry_quic(&handed, address, (offers.of(address), &self.row), &config.limits),
            }
        })?;
        let streams = self.prepare_streams(config, &handed)?;
        let before = self.operator.as_ref();
        let prepare = |(admin, read)| operator::Next::prepare(before, &handed, admin, read);
        let operator = config.admin.as_ref().zip(operator).map(prepare).transpose()?;
        let unwanted = handed.rest();
        for Unwanted { listener, .. } in &unwanted {
            tracing::warn!(target: "verge_edge::handover", "no setting names the socket that was handed over: {listener}");
        }
        Ok(Next { plain, tls, quic, streams, encrypted, operator, unwanted })
    }

    fn kinds(&self) -> [(Setting, &[Listener]); 4] {
        [
            (Setting::Plain, &self.plain),
            (Setting::Tls, &self.tls),
            (Setting::Quic, &self.quic),
            (Setting::Stream, &self.streams),
        ]
    }

    /// The origins of the streams, by their names.
    pub(crate) fn stream_origins(&self) -> Vec<(String, Arc<Origins>)> {
        self.relays.origins()
    }

    fn prepare_streams(&self, config: &Config, handed: &Pool) -> Result<OfStreams, StartError> {
        let streams = streams::by_address(&config.streams);
        let names = |address: &SocketAddr| {
            let relays = streams.iter().find(|(one, _)| one == address).map(|(_, relays)| relays);
            relays.into_iter().flatten().map(|relay| relay.name.as_str()).collect::<Vec<_>>()
        };
        let asked: Vec<SocketAddr> = streams.iter().map(|(address, _)| *address).collect();
        let kept = self.uncovered(Setting::Stream, &asked, handed);
        // One listener cannot go by the rules of two.
        let goes =
            |address: &SocketAddr| !kept.contains(address) && names(address) == names(&any_v6(*address));
        let streams: Vec<(SocketAddr, Vec<Relay>)> =
            streams.iter().filter(|(address, _)| !goes(address)).cloned().collect();
        let asked: Vec<SocketAddr> = streams.iter().map(|(address, _)| *address).collect();
        let open =
            |address| tcp(handed, Setting::Stream, address)?.map(Setting::Stream, TcpListener::from_std);
        let bound = places(&self.streams, &asked, open)?;
        Ok(bound.into_iter().zip(streams.into_iter().map(|(_, relays)| relays)).collect())
    }

    /// The addresses without `0.0.0.0` where the socket of `[::]` takes that port's connections over IPv4 as well, and was
    /// opened so before: it cannot be changed, and another beside it not be bound.
    fn uncovered(&self, setting: Setting, asked: &[SocketAddr], handed: &Pool) -> Vec<SocketAddr> {
        let open = match setting {
            Setting::Plain => &self.plain,
            Setting::Tls => &self.tls,
            Setting::Quic => &self.quic,
            Setting::Stream => &self.streams,
            Setting::Admin => return asked.to_vec(),
        };
        let is_covered = |address: &SocketAddr| {
            let other = any_v6(*address);
            let is_any = address.is_ipv4() && address.ip().is_unspecified() && address.port() != 0;
            let mut same = open.iter().filter(|listener| listener.configured == other);
            let is_open = same.any(|listener| is_of_both(&listener.copy));
            is_any && asked.contains(&other) && (is_open || handed.has_both(setting, other))
        };
        for listener in open.iter().filter(|listener| asked.contains(&listener.configured)) {
            handed.families().tell_if_narrow(setting, listener.configured, &listener.copy);
        }
        asked.iter().copied().filter(|address| !is_covered(address)).collect()
    }

    /// The listener over QUIC that a reload closed, while connections of it last.
    fn rested(&self, configured: SocketAddr) -> Option<Bound<Arc<Carrier>>> {
        // Port 0 is another one each time.
        let same = |resting: &&(SocketAddr, Weak<Carrier>)| resting.0 == configured && configured.port() != 0;
        let socket = self.resting.iter().filter(same).find_map(|(_, carrier)| carrier.upgrade())?;
        let (address, copy) = (socket.endpoint.local_addr().ok()?, socket.copy.try_clone().ok()?);
        Some(Bound { configured, address, socket, copy, is_renamed: false })
    }

    /// Opens what is new, and closes what is not asked for any more.
    pub(crate) fn commit(&mut self, next: Next, reload: Reload) {
        let clients = self.clients.clone();
        let turn = self.turns();
        let starts = std::mem::replace(&mut self.starts, false);
        for Unwanted { listener, address } in next.unwanted {
            if let Some((transport, address)) = listener.transport().zip(address) {
                systemd::forget_all(transport, address);
            }
        }
        let before = self.encrypted.take();
        self.encrypted = next.encrypted.and_then(|next| next.commit(before, &clients, &self.clock));
        self.plain = exchange(
            Setting::Plain,
            starts,
            std::mem::take(&mut self.plain),
            next.plain,
            |listener, spot| {
                (accept(&clients, listener, Door::plain(spot.configured), turn(spot.address)), None)
            },
        );
        // Without [tls] there are no such places.
        let terms = self.encrypted.as_ref().map(|it| (it.terms.clone(), it.offers.clone()));
        self.tls =
            exchange(Setting::Tls, starts, std::mem::take(&mut self.tls), next.tls, |listener, spot| {
                let Some((terms, _)) = &terms else { return (Closing::default(), None) };
                let door = Door::tls(spot.configured, terms.clone());
                (accept(&clients, listener, door, turn(spot.address)), None)
            });
        self.resting.retain(|(_, carrier)| carrier.strong_count() > 0);
        let carriers = self.quic.iter().filter_map(|one| Some((one.configured, one.carrier.as_ref()?)));
        self.resting.extend(carriers.map(|(configured, carrier)| (configured, Arc::downgrade(carrier))));
        self.quic =
            exchange(Setting::Quic, starts, std::mem::take(&mut self.quic), next.quic, |carrier, spot| {
                let one = clients.of_one();
                if let Some((_, offers)) = &terms {
                    // Also where the endpoint is one that rested, and the offers are new.
                    offers.open().share(&self.row.reset_key);
                    let Spot { configured, address } = spot;
                    one.accept_quic(Arc::clone(&carrier), offers.clone(), (configured, address));
                }
                (one.closing(CancellationToken::new()), Some(carrier))
            });
        let open: Vec<&Arc<Carrier>> = self.quic.iter().filter_map(|one| one.carrier.as_ref()).collect();
        self.resting.retain(|(_, resting)| !open.iter().any(|open| resting.as_ptr() == Arc::as_ptr(open)));
        self.commit_streams(next.streams, &turn);
        let (cache, draining) = (clients.cache(), clients.draining());
        let before = self.operator.take();
        self.operator = match next.operator {
            Some(next) => next.commit(before, Edge { cache, draining, reload }, &turn),
            None => {
                before.into_iter().for_each(Operator::close);
                None
            }
        };
        self.tell();
    }

    /// The rules first: a new listener takes connections at once.
    fn commit_streams(&mut self, next: OfStreams, turn: impl Fn(SocketAddr) -> Turn) {
        let at = |place: &Place<TcpListener>| match place {
            Place::Kept(at) => self.streams[*at].address,
            Place::New(bound) => bound.address,
        };
        self.relays.put(next.iter().map(|(place, relays)| (at(place), relays.as_slice())));
        let places = next.into_iter().map(|(place, _)| place).collect();
        let relays = Arc::clone(&self.relays);
        self.streams =
            exchange(Setting::Stream, false, std::mem::take(&mut self.streams), places, |listener, spot| {
                let turn = turn(spot.address);
                let ended = turn.ended();
                (Closing::of(relays.listen(listener, spot.address, turn), ended), None)
            });
    }

    /// Answers tell clients where else the edge is.
    fn tell(&self) {
        let asks = |one: &Listener| {
            self.encrypted.as_ref().is_some_and(|encrypted| encrypted.terms.asks(one.configured))
        };
        let ports = |listeners: &[Listener], is_asking: bool| {
            let chosen = listeners.iter().filter(|one| asks(one) == is_asking);
            chosen.map(|one| one.address.port()).collect::<Vec<_>>()
        };
        // A client is sent to where it needs no certificate, if there is such a place.
        let https = self.tls.iter().find(|one| !asks(one)).or(self.tls.first());
        let https_port = https.map(|one| one.address.port());
        let plain = self.plain.iter().map(|one| one.address.port()).collect();
        let quic = Ports {
            open: ports(&self.quic, false),
            asking: ports(&self.quic, true),
            asking_tls: ports(&self.tls, true),
        };
        self.clients.stand_at(plain, https_port, quic);
    }

    /// Copies of all sockets, for a process that takes over.
    pub(crate) fn handed(&self) -> io::Result<(Vec<Handed>, Row)> {
        let mut all = Vec::new();
        let mut add = |setting, address, copy: &OwnedFd, carrier: Option<&Arc<Carrier>>| {
            let channels = carrier.map_or_else(|| Ok(Vec::new()), |carrier| carrier.shared.channels())?;
            let listener = For::Of(setting, address);
            all.push(Handed { listener, socket: copy.try_clone()?, channels });
            Ok::<_, io::Error>(())
        };
        for (setting, listeners) in self.kinds() {
            for one in listeners {
                add(setting, one.configured, &one.copy, one.carrier.as_ref())?;
            }
        }
        if let Some(operator) = &self.operator {
            all.push(operator.handed()?);
        }
        Ok((all, self.row.clone()))
    }

    /// The process before reads no socket of UDP any more: this one does.
    pub(crate) fn begin(&self) {
        self.carriers().for_each(|carrier| carrier.shared.begin());
    }

    fn carriers(&self) -> impl Iterator<Item = &Arc<Carrier>> {
        self.quic.iter().filter_map(|one| one.carrier.as_ref())
    }

    /// Another process answers now: this one reads no socket of UDP any more, and lets go of all.
    pub(crate) fn hand_over(&mut self) {
        self.carriers().for_each(|carrier| carrier.shared.hand_over());
        self.left = self.operator.take().map(Operator::leave);
        self.let_go();
    }

    /// Waits until requests that operators sent to this process before it handed over have their answers.
    pub(crate) fn take_left(&mut self) -> impl Future<Output = ()> + use<> {
        let left = self.left.take();
        async move {
            if let Some(left) = left {
                // A panic was told by its hook.
                drop(left.await);
            }
        }
    }

    /// Lets go of the sockets, so that the kernel takes no connection for them.
    pub(crate) fn let_go(&mut self) {
        self.let_go_of_streams();
        [&mut self.plain, &mut self.tls, &mut self.quic].into_iter().for_each(Vec::clear);
    }

    /// As [`Open::let_go`], of those of streams alone, which are closed.
    pub(crate) fn let_go_of_streams(&mut self) {
        self.streams.drain(..).for_each(|one| one.closing.close());
    }

    /// Ends the operator's listener.
    pub(crate) fn take_operator(&mut self) -> impl Future<Output = ()> + use<> {
        let operator = self.operator.take();
        async move {
            if let Some(operator) = operator {
                operator.stop().await;
            }
        }
    }
}

/// `[::]` with the port of this address.
fn any_v6(address: SocketAddr) -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, address.port()))
}
