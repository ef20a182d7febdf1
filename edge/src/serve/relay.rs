//! Layer 4: a connection is passed on to an origin, whatever it carries. Of TLS the edge reads the name that the client asks
//! for, and ends nothing.
//!
//! ```text
//! accept ─▶ (PROXY header) ─▶ (ClientHello) ─▶ which stream ─▶ an origin ─▶ bytes both ways ─▶ log, metrics
//! ```
//!
//! Invariant: nothing is sent to an origin before its connection is up, so another one may be tried. Nothing that came from
//! the client is lost or changed.

pub mod hello;
mod leaving;
mod places;
mod splice;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::introducers::introduction;
use super::listener::{Listeners, rest, waiting};
use super::proxied::{self, Ends};
use super::tunnel::{Ended, Passed, both_ways, idle};
use crate::clock::Clock;
use crate::metrics::StreamMetrics;
use crate::origin::{self, Origins};
use crate::site::relay::Relay;
use crate::turn::Turn;
use hello::Hello;
use leaving::Said;
use places::{Networks, OfNetwork, Place, Places};

/// The streams of all listeners.
#[derive(Debug)]
pub(crate) struct Relays {
    /// By where the listener is; a reload changes them.
    by_address: ArcSwap<ByAddress>,
    /// The origins of each, in the config's order.
    groups: ArcSwap<Vec<(String, Arc<Origins>)>>,
    common: Common,
}

type ByAddress = HashMap<SocketAddr, Arc<Streams>>;

/// The parts that all streams share.
#[derive(Debug, Clone)]
struct Common {
    /// The listeners of sites: their limits and proxies, and whether another process has taken over.
    clients: Listeners,
    /// Of all streams together.
    networks: Arc<Networks>,
    running: Running,
}

/// The streams of one listener.
#[derive(Debug)]
struct Streams {
    all: Vec<Stream>,
    /// Places of connections of which nobody knows yet which stream they are for.
    entering: Arc<Places>,
    common: Common,
}

/// The end of all relays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    closed: CancellationToken,
    aborted: CancellationToken,
    connections: TaskTracker,
}

#[derive(Debug)]
struct Stream {
    relay: Relay,
    origins: Arc<Origins>,
    places: Arc<Places>,
    metrics: StreamMetrics,
}

/// A connection that has its places, and its stream.
struct Entered<'s> {
    stream: &'s Stream,
    ends: Ends,
    /// The name that the client asked for.
    name: Option<String>,
    /// The client's first bytes, which its origin gets.
    early: Bytes,
    /// They are a ClientHello.
    is_tls: bool,
    _place: Place,
    _of_network: Option<OfNetwork>,
}

/// A connection that is turned away.
struct Refused<'s> {
    /// Where it is known.
    stream: Option<&'s Stream>,
    client: IpAddr,
    why: &'static str,
}

/// A client says at once what it wants, in a protocol in which it speaks first.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// A ClientHello with keys of several post-quantum groups has some KiB.
const MOST_HELLO_BYTES: usize = 64 << 10;
/// In metrics, the stream of connections that ended before anybody knew which one they are for.
const NO_STREAM: &str = "-";

/// Between two sockets of TCP the kernel moves what is much.
async fn carry_both_ways(
    client: TcpStream,
    early: Bytes,
    origin: origin::Stream,
    passed: &Passed,
) -> io::Result<()> {
    match origin {
        origin::Stream::Tcp(origin) => splice::both_ways(client, early, origin, passed).await,
        other => both_ways(client, early, other, passed).await,
    }
}

/// Ready when a connection has been open for as long as it may.
async fn whole(clock: &Clock, limit: Option<Duration>) {
    match limit {
        Some(limit) => clock.timer(limit).await,
        None => std::future::pending().await,
    }
}

impl Running {
    /// Ends it: no more are accepted, and those that are open may end within this time.
    pub(crate) async fn drain(self, limit: Duration) {
        self.closed.cancel();
        self.connections.close();
        if timeout(limit, self.connections.wait()).await.is_err() {
            self.aborted.cancel();
            self.connections.wait().await;
        }
    }
}

/// An IPv4 address of a listener for both families is one of IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The places of each stream, by its name: on all its listeners together, and through reloads.
fn places<'r>(before: &ByAddress, listeners: &[(SocketAddr, &'r [Relay])]) -> HashMap<&'r str, Arc<Places>> {
    let mut most: HashMap<&str, usize> = HashMap::new();
    for relay in listeners.iter().flat_map(|(_, relays)| *relays) {
        let of_name = most.entry(&relay.name).or_default();
        *of_name = relay.most.max(*of_name);
    }
    let places = |(name, most)| {
        let mut known = before.values().flat_map(|streams| &streams.all);
        let same = known.find(|stream| stream.relay.name == name);
        let places = same.map(|stream| Arc::clone(&stream.places)).unwrap_or_default();
        places.obey(most);
        (name, places)
    };
    most.into_iter().map(places).collect()
}

/// The origins of each stream. A stream has one group of them, however many listeners it has, and through reloads that change
/// nothing about it: so each is checked once, and what one connection finds out counts for all. An origin that a stream of the
/// same name had before keeps what is known of it.
fn groups<'r>(
    before: &ByAddress,
    listeners: &[(SocketAddr, &'r [Relay])],
    clients: &Listeners,
) -> Vec<(&'r Relay, Arc<Origins>)> {
    let mut groups: Vec<(&Relay, Arc<Origins>)> = Vec::new();
    for relay in listeners.iter().flat_map(|(_, relays)| *relays) {
        if groups.iter().any(|(one, _)| one.shares_origins_with(relay)) {
            continue;
        }
        let known = || before.values().flat_map(|streams| &streams.all);
        let same = known().find(|stream| stream.relay.shares_origins_with(relay));
        let origins = same.map(|stream| Arc::clone(&stream.origins)).unwrap_or_else(|| {
            let of_name = known().filter(|stream| stream.relay.name == relay.name);
            let before: Vec<Arc<Origins>> = of_name.map(|stream| Arc::clone(&stream.origins)).collect();
            Origins::of_stream(relay, &before, &clients.cache().clock, clients.metrics()).into()
        });
        groups.push((relay, origins));
    }
    groups
}

impl Relays {
    /// None yet; `clients` are those of sites.
    pub(crate) fn new(clients: &Listeners, running: &Running) -> Self {
        let (clients, networks, running) = (clients.clone(), Arc::default(), running.clone());
        let common = Common { clients, networks, running };
        Self { by_address: ArcSwap::default(), groups: ArcSwap::default(), common }
    }

    /// The origins of each stream, by its name, in the config's order.
    pub(crate) fn origins(&self) -> Vec<(String, Arc<Origins>)> {
        self.groups.load().to_vec()
    }

    /// From now on connections to these listeners go by these rules; those that are open end by their own. The connections of
    /// a stream that had the same name before count.
    pub(crate) fn put<'r>(&self, listeners: impl Iterator<Item = (SocketAddr, &'r [Relay])>) {
        let before = self.by_address.load_full();
        let listeners: Vec<(SocketAddr, &[Relay])> = listeners.collect();
        let places = places(&before, &listeners);
        let groups = groups(&before, &listeners, &self.common.clients);
        let stream = |relay: &Relay| {
            let (_, origins) = groups.iter().find(|(one, _)| one.shares_origins_with(relay))?;
            Some(Stream {
                origins: Arc::clone(origins),
                places: Arc::clone(&places[relay.name.as_str()]),
                metrics: self.common.clients.metrics().stream(&relay.name),
                relay: relay.clone(),
            })
        };
        let streams = |address: SocketAddr, relays: &[Relay]| {
            let all = relays.iter().filter_map(stream).collect();
            let same = before.get(&address).map(|streams| Arc::clone(&streams.entering));
            let entering = same.unwrap_or_default();
            entering.obey(relays.iter().fold(0_usize, |sum, relay| sum.saturating_add(relay.most)));
            Arc::new(Streams { all, entering, common: self.common.clone() })
        };
        let next = listeners.iter().map(|(address, relays)| (*address, streams(*address, relays))).collect();
        self.by_address.store(Arc::new(next));
        let told: Vec<_> = groups.into_iter().map(|(relay, origins)| (relay.name.clone(), origins)).collect();
        let told = Arc::new(told);
        let before = self.groups.swap(Arc::clone(&told));
        Origins::replace(before.iter().map(|(_, origins)| origins), told.iter().map(|(_, origins)| origins));
    }

    /// Accepts until it is drained, or the result is cancelled; and then those connections that the kernel has made already.
    pub(crate) fn listen(
        self: &Arc<Self>,
        listener: TcpListener,
        address: SocketAddr,
        turn: Turn,
    ) -> CancellationToken {
        let running = &self.common.running;
        let closed = running.closed.child_token();
        // It counts as one: at the end of all it still brings some.
        let accepting = Arc::clone(self).accept(listener, address, closed.clone());
        running.connections.spawn(turn.take(accepting));
        closed
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, address: SocketAddr, closed: CancellationToken) {
        // A listener that a reload closes has no rules any more, but for its last connections.
        let mut last = self.by_address.load().get(&address).cloned();
        let mut take = |(client, from)| {
            last = self.by_address.load().get(&address).cloned().or_else(|| last.take());
            let Some(streams) = last.clone() else { return };
            self.common.running.connections.spawn(async move { streams.carry(client, from).await });
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed.cancelled() => break,
            };
            match accepted {
                Ok(accepted) => take(accepted),
                Err(error) => rest(&error).await,
            }
        }
        // Another process has the same queue.
        if self.common.clients.draining().has_left() {
            return;
        }
        waiting(listener).for_each(take);
    }
}

impl Streams {
    async fn carry(&self, mut client: TcpStream, from: SocketAddr) {
        let _ = client.set_nodelay(true);
        let entered = tokio::select! {
            entered = self.enter(&mut client, canonical(from)) => entered,
            () = self.common.running.aborted.cancelled() => {
                let why = Ended::Drained.as_str();
                Err(Refused { stream: None, client: canonical(from).ip(), why })
            }
        };
        match entered {
            Ok(entered) => self.pass_on(client, entered).await,
            Err(refused) => self.refuse(&refused),
        }
    }

    /// Finds out whose a connection is and what it is for, within bounds for all that have not said it yet.
    async fn enter<'s>(
        &'s self,
        client: &mut TcpStream,
        from: SocketAddr,
    ) -> Result<Entered<'s>, Refused<'s>> {
        let refused = |client: SocketAddr, why| Refused { stream: None, client: client.ip(), why };
        let Common { clients, networks, .. } = &self.common;
        let of_network = |client: SocketAddr| {
            if clients.trusts(client.ip()) {
                return Ok(None);
            }
            let place = networks.take(client.ip(), clients.limits().connections_per_network);
            place.map(Some).ok_or(refused(client, "connections-per-network"))
        };
        let names = |relay: &Relay| relay.introducers.iter().any(|network| network.contains(&from.ip()));
        let is_introducer = self.all.iter().any(|stream| names(&stream.relay));
        // An introducer speaks for many clients, each of which counts once its address is known.
        let mut own = if is_introducer { None } else { of_network(from)? };
        let _entering = self.entering.take().ok_or(refused(from, "limit"))?;
        let mut ends = Ends { client: from, local: canonical(client.local_addr().unwrap_or(from)) };
        if is_introducer {
            match timeout(HELLO_LIMIT, introduction(client)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(told))) => {
                    ends = told;
                    own = of_network(canonical(told.client))?;
                }
                Ok(Err(_)) | Err(_) => return Err(refused(from, "not-introduced")),
            }
        }
        let (hello, early) = self.hello(client).await;
        let (name, is_tls) = match hello {
            Hello::Tls(name) => (name, true),
            Hello::Partial | Hello::NotTls => (None, false),
        };
        let stream = self.find(name.as_deref()).ok_or(refused(ends.client, "no-stream"))?;
        let full = Refused { stream: Some(stream), ..refused(ends.client, "limit") };
        let place = stream.places.take().ok_or(full)?;
        Ok(Entered { stream, ends, name, early, is_tls, _place: place, _of_network: own })
    }

    async fn pass_on(&self, client: TcpStream, entered: Entered<'_>) {
        let Entered { stream, ends, ref name, ref early, is_tls, .. } = entered;
        let Common { clients, running, .. } = &self.common;
        let clock = &clients.cache().clock;
        let (by, aborted) = (ends.client.ip(), &running.aborted);
        let connected = tokio::select! {
            connected = stream.origins.connect(by) => connected.map_err(|error| error.as_str()),
            () = aborted.cancelled() => Err(Ended::Drained.as_str()),
            () = leaving::left(&client, Said::of(early, is_tls), clock) => Err(Ended::Broken.as_str()),
        };
        let (mut origin, whose, _in_flight) = match connected {
            Ok(connected) => connected,
            Err(why) => return self.refuse(&Refused { stream: Some(stream), client: by, why }),
        };
        let introduced = match stream.relay.introduces {
            true => origin.write_all(&proxied::header(&ends)).await,
            false => Ok(()),
        };
        let _open = stream.metrics.open();
        let (begun, passed) = (clock.monotonic(), Passed::default());
        let ended = match introduced {
            Err(_) => Ended::Broken.as_str(),
            Ok(()) => tokio::select! {
                ended = carry_both_ways(client, early.clone(), origin, &passed) => match ended {
                    Ok(()) => Ended::Closed.as_str(),
                    Err(_) => Ended::Broken.as_str(),
                },
                () = idle(clock, stream.relay.idle, &passed) => Ended::Idle.as_str(),
                () = whole(clock, stream.relay.whole) => "late",
                () = aborted.cancelled() => Ended::Drained.as_str(),
            },
        };
        let (to_origin, to_client) = passed.counts();
        stream.metrics.ended(ended, to_client, to_origin);
        let secs = clock.monotonic().saturating_duration_since(begun).as_secs();
        let (client, sni) = (by, name.as_deref());
        tracing::info!(
            target: "verge_edge::stream",
            %client, stream = stream.relay.name, sni, origin = whose, ended, to_origin, to_client, secs
        );
    }

    /// The first bytes of the client, where a stream wants to know.
    async fn hello(&self, client: &mut TcpStream) -> (Hello, Bytes) {
        let mut early = BytesMut::new();
        if self.all.iter().all(|stream| stream.relay.names.is_empty()) {
            return (Hello::NotTls, early.freeze());
        }
        let read = async {
            let mut reader = hello::Reader::default();
            while early.len() < MOST_HELLO_BYTES {
                let known = early.len();
                if !matches!(client.read_buf(&mut early).await, Ok(1..)) {
                    break;
                }
                match reader.read(&early[known..]) {
                    Hello::Partial => {}
                    hello => return hello,
                }
            }
            Hello::NotTls
        };
        let hello = timeout(HELLO_LIMIT, read).await.unwrap_or(Hello::NotTls);
        (hello, early.freeze())
    }

    /// The stream whose name fits best, else one that takes every connection.
    fn find(&self, name: Option<&str>) -> Option<&Stream> {
        let fits = |stream: &&Stream| stream.relay.fits(name.unwrap_or_default());
        let named =
            self.all.iter().filter(|stream| name.is_some() && fits(stream).is_some()).max_by_key(fits);
        named.or_else(|| self.all.iter().find(|stream| stream.relay.names.is_empty()))
    }

    fn refuse(&self, refused: &Refused<'_>) {
        let Refused { stream, client, why } = *refused;
        // A listener's only stream has all of its connections, unless it is for some names alone.
        let only = || self.all.first().filter(|stream| self.all.len() == 1 && stream.relay.names.is_empty());
        let stream = stream.or_else(only);
        match stream {
            Some(stream) => stream.metrics.ended(why, 0, 0),
            None => self.common.clients.metrics().stream(NO_STREAM).ended(why, 0, 0),
        }
        let stream = stream.map(|stream| stream.relay.name.as_str());
        tracing::info!(target: "verge_edge::stream", %client, stream, ended = why);
    }
}
