//! The listeners of an edge: opened at its start, and changed by a reload, which keeps those that stay.
//!
//! ```text
//! config ─▶ Open::prepare (binds and reads; all that can fail) ─▶ Open::commit (puts it in service; nothing can fail)
//! ```
//!
//! Invariant: a connection outlives its listener. One that a reload closes has its last connections taken first.

mod encrypted;
mod operator;
mod sockets;
mod start_error;

use std::fmt;
use std::net::SocketAddr;

use quinn::Endpoint;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::encrypted::Encrypted;
use self::operator::{Edge, Operator};
use self::sockets::{Bound, Kind, failed, tcp, udp};
pub use self::start_error::StartError;
use crate::admin::Reload;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::serve::{Door, Limits, Listeners, Offer, endpoint};

/// The addresses that were bound, with their real ports.
#[derive(Debug, Clone)]
pub struct Listening {
    /// In the config's order.
    pub public: Vec<SocketAddr>,
    /// The listeners over TLS, in the config's order.
    pub tls: Vec<SocketAddr>,
    /// The listeners of HTTP/3, by UDP, in the config's order.
    pub quic: Vec<SocketAddr>,
    /// The operator's listener, if configured.
    pub admin: Option<SocketAddr>,
}

/// The listeners that are open.
pub(crate) struct Open {
    clients: Listeners,
    clock: Clock,
    plain: Vec<Listener>,
    tls: Vec<Listener>,
    quic: Vec<Listener>,
    encrypted: Option<Encrypted>,
    operator: Option<Operator>,
}

/// A listener for clients that is open.
#[derive(Debug)]
struct Listener {
    configured: SocketAddr,
    address: SocketAddr,
    closed: CancellationToken,
}

/// The listeners that a config asks for; nothing of it counts yet.
pub(crate) struct Next {
    plain: Vec<Place<TcpListener>>,
    tls: Vec<Place<TcpListener>>,
    quic: Vec<Place<Endpoint>>,
    encrypted: Option<encrypted::Next>,
    operator: Option<operator::Next>,
}

/// One listener that a config asks for.
enum Place<S> {
    /// One that is open, by its place.
    Kept(usize),
    New(Bound<S>),
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Open").field(&self.listening()).finish()
    }
}

impl Open {
    /// None yet.
    pub(crate) fn new(clients: Listeners, clock: Clock) -> Self {
        let (plain, tls, quic) = Default::default();
        Self { clients, clock, plain, tls, quic, encrypted: None, operator: None }
    }

    /// Where they are.
    pub(crate) fn listening(&self) -> Listening {
        let addresses = |open: &[Listener]| open.iter().map(|listener| listener.address).collect();
        Listening {
            public: addresses(&self.plain),
            tls: addresses(&self.tls),
            quic: addresses(&self.quic),
            admin: self.operator.as_ref().map(|operator| operator.address),
        }
    }

    /// Binds what is not open yet and reads the files that TLS and the operator's listener need.
    ///
    /// # Errors
    /// When an address cannot be bound or a file cannot be used. Then nothing is different from before.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Next, StartError> {
        let plain = places(&self.plain, &config.listen, |address| listen(Kind::Plain, address))?;
        let before = self.encrypted.as_ref();
        let encrypted = config.tls.as_ref().map(|tls| encrypted::Next::prepare(before, tls, &self.clock));
        let encrypted = encrypted.transpose()?;
        let (tls, quic) = config.tls.as_ref().map_or((&[][..], &[][..]), |tls| (&tls.listen, &tls.quic));
        let tls = places(&self.tls, tls, |address| listen(Kind::Tls, address))?;
        let offer = encrypted.as_ref().and_then(|next| next.offer(before));
        let quic = places(&self.quic, quic, |address| {
            let offer = offer.expect("there is [tls] where there is `listen_quic`");
            carry_quic(address, offer, &config.limits)
        })?;
        let operator = self.operator.as_ref();
        let operator =
            config.admin.as_ref().map(|admin| operator::Next::prepare(operator, admin, &config.limits));
        Ok(Next { plain, tls, quic, encrypted, operator: operator.transpose()? })
    }

    /// Opens what is new, and closes what is not asked for any more.
    pub(crate) fn commit(&mut self, next: Next, reload: Reload) {
        let clients = self.clients.clone();
        let before = self.encrypted.take();
        self.encrypted = next.encrypted.and_then(|next| next.commit(before, &clients, &self.clock));
        self.plain = exchange(Kind::Plain, std::mem::take(&mut self.plain), next.plain, |listener, _| {
            accept(&clients, listener, Door::Plain)
        });
        // Without [tls] there are no such places.
        let terms = self.encrypted.as_ref().map(|it| (it.terms.clone(), it.offer.clone()));
        self.tls = exchange(Kind::Tls, std::mem::take(&mut self.tls), next.tls, |listener, _| match &terms {
            Some((terms, _)) => accept(&clients, listener, Door::Tls(terms.clone())),
            None => CancellationToken::new(),
        });
        self.quic = exchange(Kind::Quic, std::mem::take(&mut self.quic), next.quic, |endpoint, address| {
            let one = clients.of_one();
            if let Some((_, offer)) = &terms {
                one.accept_quic(endpoint, offer.clone(), address);
            }
            one.closed()
        });
        let (cache, draining) = (clients.cache(), clients.draining());
        let before = self.operator.take();
        self.operator = match next.operator {
            Some(next) => next.commit(before, Edge { cache, draining, reload }),
            None => {
                before.into_iter().for_each(Operator::close);
                None
            }
        };
        self.tell();
    }

    /// Answers tell clients where else the edge is.
    fn tell(&self) {
        let ports =
            |open: &[Listener]| open.iter().map(|listener| listener.address.port()).collect::<Vec<_>>();
        self.clients.stand_at(
            ports(&self.plain),
            self.tls.first().map(|tls| tls.address.port()),
            ports(&self.quic),
        );
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

/// For each address that a config asks for the listener that is open there, or one that `open` opens.
fn places<S>(
    before: &[Listener],
    asked: &[SocketAddr],
    open: impl Fn(SocketAddr) -> Result<Bound<S>, StartError>,
) -> Result<Vec<Place<S>>, StartError> {
    let mut kept = Vec::new();
    let place = |address: &SocketAddr| {
        // Two with port 0 are two listeners.
        let there = before.iter().enumerate();
        let mut same =
            there.filter(|(place, listener)| listener.configured == *address && !kept.contains(place));
        match same.next() {
            Some((place, _)) => {
                kept.push(place);
                Ok(Place::Kept(place))
            }
            None => open(*address).map(Place::New),
        }
    };
    asked.iter().map(place).collect()
}

/// Puts the listeners in their new order, and closes those that have no place in it.
fn exchange<S>(
    kind: Kind,
    before: Vec<Listener>,
    places: Vec<Place<S>>,
    mut start: impl FnMut(S, SocketAddr) -> CancellationToken,
) -> Vec<Listener> {
    let mut before: Vec<Option<Listener>> = before.into_iter().map(Some).collect();
    let mut place = |place| match place {
        Place::Kept(at) => before[at].take().expect("each is kept once"),
        Place::New(Bound { configured, address, socket }) => {
            let closed = start(socket, address);
            tracing::info!(target: "verge_edge::listener", %address, "opened, for `{kind}`");
            Listener { configured, address, closed }
        }
    };
    let after = places.into_iter().map(&mut place).collect();
    for Listener { address, closed, .. } in before.into_iter().flatten() {
        closed.cancel();
        tracing::info!(target: "verge_edge::listener", %address, "closed, `{kind}` has it no longer");
    }
    after
}

fn accept(clients: &Listeners, listener: TcpListener, door: Door) -> CancellationToken {
    let one = clients.of_one();
    let closed = one.closed();
    tokio::spawn(one.accept(listener, door));
    closed
}

fn listen(kind: Kind, address: SocketAddr) -> Result<Bound<TcpListener>, StartError> {
    let Bound { configured, address, socket } = tcp(kind, address)?;
    let socket = TcpListener::from_std(socket).map_err(|error| failed(kind, configured, error))?;
    Ok(Bound { configured, address, socket })
}

fn carry_quic(address: SocketAddr, offer: &Offer, limits: &Limits) -> Result<Bound<Endpoint>, StartError> {
    let Bound { configured, address, socket } = udp(Kind::Quic, address)?;
    let socket = endpoint(socket, offer, limits).map_err(|error| failed(Kind::Quic, configured, error))?;
    Ok(Bound { configured, address, socket })
}

/// The report on the certificates that `tls` names, as of now: a line each.
///
/// # Errors
/// When a file cannot be used: a start would fail.
pub fn inspect(tls: &config::Tls) -> Result<Vec<String>, StartError> {
    encrypted::inspect(tls)
}
