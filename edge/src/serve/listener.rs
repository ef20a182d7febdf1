//! Accepting connections, and ending them all when the edge is drained.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Limits;
use super::alternative::{Alternative, Ports};
use super::arrival::Peer;
use super::ending::{Closing, Ending};
use super::h1::patient_stream::{MOST_WIDE, Patient};
use super::handshakes::{self, Handshakes};
use super::introducers::{INTRODUCTION, Introducers, introduction};
use super::permits::Permits;
use super::room::{Entry, Room, Seat};
use super::service::{Service, Whereabouts};
use super::tls::{Agreed, Door, HandshakeFault, Shaken, Terms, Way};
use super::{h1, h2};
use crate::cache::Cache;
use crate::cache::behind::Errand;
use crate::draining::Draining;
use crate::metrics::{Limit, Metrics, Spoken};
use crate::tls::Identity;
use crate::watch::Watch;

/// State shared by all listeners and connections.
#[derive(Debug, Clone)]
pub(crate) struct Listeners {
    pub(super) service: Arc<Service>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    /// Open connections.
    pub(super) connections: TaskTracker,
    /// Listeners that accept them.
    accepting: TaskTracker,
    /// UDP sockets.
    pub(super) endpoints: TaskTracker,
    pub(super) room: Arc<Room>,
    introducers: Arc<ArcSwap<Introducers>>,
    handshakes: Arc<Handshakes>,
    /// Connections that may leave much unsent.
    wide: Arc<Permits>,
    pub(super) ending: Ending,
    /// No more connections are accepted.
    pub(super) closed: CancellationToken,
}

/// Every connection ends.
#[derive(Debug, PartialEq, Eq)]
struct Aborted;

impl Listeners {
    /// None yet.
    pub(crate) fn new(service: Service, limits: Limits) -> Self {
        let room = Room::new(limits.connections, limits.connections_per_network);
        service.load.of(&room);
        service.load.obey(limits.bytes_in_flight);
        service.cache.metrics.connections_limit(limits.connections);
        Self {
            room,
            service: Arc::new(service),
            limits: Arc::new(ArcSwap::from_pointee(limits)),
            connections: TaskTracker::new(),
            accepting: TaskTracker::new(),
            endpoints: TaskTracker::new(),
            introducers: Arc::default(),
            handshakes: Handshakes::new(limits.handshakes, limits.handshakes_per_network),
            wide: Permits::new(MOST_WIDE),
            ending: Ending::default(),
            closed: CancellationToken::new(),
        }
    }

    /// From now on these count: limits and introducers for new connections, proxies for new requests.
    pub(crate) fn obey(&self, limits: Limits, trusted_proxies: Vec<IpNet>, introducers: Introducers) {
        self.introduced_by(introducers);
        self.room.obey(limits.connections, limits.connections_per_network);
        self.handshakes.obey(limits.handshakes, limits.handshakes_per_network);
        self.service.tunnels.obey(limits.upgrades);
        self.service.load.obey(limits.bytes_in_flight);
        self.metrics().connections_limit(limits.connections);
        self.limits.store(Arc::new(limits));
        self.service.trust(trusted_proxies);
    }

    /// From now on these edges are this one's children, and these clients are told all of its health.
    pub(crate) fn be_known_to(&self, children: Vec<IpNet>, health_from: Option<Vec<IpNet>>) {
        self.service.be_known_to(children, health_from);
    }

    /// Connections of these begin with a header of the PROXY protocol.
    pub(crate) fn introduced_by(&self, introducers: Introducers) {
        self.introducers.store(Arc::new(introducers));
    }

    /// The same with an end of its own, for one listener.
    pub(crate) fn of_one(&self) -> Self {
        let ending = Ending { leaving: self.ending.leaving.child_token(), ..self.ending.clone() };
        Self { closed: self.closed.child_token(), ending, ..self.clone() }
    }

    /// How this listener, and no other, is closed; `ended` is told when it has.
    pub(crate) fn closing(&self, ended: CancellationToken) -> Closing {
        Closing::new(self.closed.clone(), self.ending.leaving.clone(), ended)
    }

    /// Accepts until they are closed, and then those connections that the kernel has made already.
    pub(crate) async fn accept(self, listener: TcpListener, door: Door) {
        let _accepting = self.accepting.token();
        while let Some((stream, client)) = self.next(&listener).await {
            self.take(stream, client, &door).await;
        }
        // Another process has the same queue.
        if self.service.draining.has_left() {
            return;
        }
        for (stream, client) in waiting(listener) {
            self.take(stream, client.ip(), &door).await;
        }
    }

    async fn take(&self, stream: TcpStream, client: IpAddr, door: &Door) {
        let way = door.way();
        if self.introducers.load().introduce(client, door.configured()) {
            // It speaks for many clients: its handshakes have no limit of their own.
            if let Some(place) = self.handshakes.begin(client, true) {
                self.connections.spawn(self.clone().introduced(stream, client, way, place));
            }
            return;
        }
        let Some(seat) = self.seat(client).await else { return };
        let local = stream.local_addr().unwrap_or(UNKNOWN);
        let peer = Peer { client, local, scheme: way.scheme() };
        self.connections.spawn(self.clone().carry(stream, peer, way, seat));
    }

    /// The metrics that count connections.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.service.cache.metrics
    }

    /// The cache that all of them answer from.
    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.service.cache
    }

    /// The limits of now.
    pub(crate) fn limits(&self) -> Limits {
        **self.limits.load()
    }

    /// Whether this address is one of `trusted_proxies`.
    pub(super) fn trusts(&self, client: IpAddr) -> bool {
        self.service.trusts(client)
    }

    /// Whether the edge is about to end.
    pub(crate) fn draining(&self) -> &Draining {
        &self.service.draining
    }

    /// Answers tell clients of these ports: in clear, over TLS, and over QUIC.
    pub(crate) fn stand_at(&self, plain: Vec<u16>, https_port: Option<u16>, quic: Ports) {
        self.service.cache.listens_on(plain);
        let alternative = Alternative::new(quic, self.service.draining.clone());
        self.service.stand_at(Whereabouts { https_port, alternative });
    }

    /// Ends when no more connections are accepted.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Stops: health answers 503, idle connections close, requests in flight end within `limits.drain`.
    ///
    /// For half of that time new connections are still accepted, as long as old ones are open. A health check then sees
    /// the 503, and a client that does not know of the drain yet sees no refused connection.
    pub(crate) async fn drain(self) {
        let Limits { drain, drain_delay, .. } = **self.limits.load();
        let half = drain / 2;
        self.service.draining.begin();
        // Until then nothing is different but what health checks hear.
        self.service.cache.clock.timer(drain_delay).await;
        self.ending.draining.cancel();
        self.connections.close();
        let _ = timeout(half, self.connections.wait()).await;
        self.closed.cancel();
        self.end(half).await;
        self.say_goodbye().await;
    }

    /// No more connections are accepted, as another process does that. It hears of purges by this way.
    pub(crate) fn leave_to_another(&self, way: mpsc::Sender<Errand>) {
        self.service.cache.leave_to(way);
        self.service.draining.leave();
        self.ending.leaving.cancel();
        self.closed.cancel();
    }

    /// Ends what is left after [`Listeners::leave_to_another`], within `limits.drain`.
    ///
    /// A client may send a request on an idle connection at any moment, and would lose it if that closed. So those of
    /// HTTP/1.1, which has no other way to tell, stay for half of that time, and end with their next answer.
    pub(crate) async fn leave(self) {
        let half = self.limits.load().drain / 2;
        self.connections.close();
        if timeout(half, self.connections.wait()).await.is_err() {
            self.ending.draining.cancel();
        }
        self.end(half).await;
        self.say_goodbye().await;
    }

    /// Ends all connections within this time.
    async fn end(&self, limit: Duration) {
        // A client whom the kernel had accepted as the last one ended has a connection only then.
        self.accepting.close();
        self.accepting.wait().await;
        if timeout(limit.max(LEAST), self.connections.wait()).await.is_err() {
            tracing::warn!(target: "verge_edge", left = self.connections.len(), "drain limit reached, closing connections");
            self.ending.aborted.cancel();
            self.connections.wait().await;
        }
    }

    async fn say_goodbye(&self) {
        self.endpoints.close();
        // The last packets of QUIC: that a connection has ended. A client that does not hear of it finds out itself.
        let _ = timeout(LAST_PACKETS, self.endpoints.wait()).await;
    }

    async fn next(&self, listener: &TcpListener) -> Option<(TcpStream, IpAddr)> {
        let accepted = async {
            loop {
                match listener.accept().await {
                    Ok((stream, client)) => return (stream, client.ip()),
                    Err(error) => rest(&error).await,
                }
            }
        };
        tokio::select! {
            accepted = accepted => Some(accepted),
            () = self.closed.cancelled() => None,
        }
    }

    /// A place for the connection, once there is one; none if its network has too many. Meanwhile others wait in the
    /// kernel's queue.
    async fn seat(&self, client: IpAddr) -> Option<Seat> {
        loop {
            let left = self.room.left();
            match self.room.enter(client, &self.service.trusted_proxies.load()) {
                Entry::Seat(seat) => {
                    if seat.has_replaced {
                        self.service.cache.metrics.limit_reached(Limit::IdleConnections);
                    }
                    return Some(seat);
                }
                Entry::NetworkFull => {
                    let metrics = &self.service.cache.metrics;
                    metrics.client_dropped("connections-per-network");
                    metrics.limit_reached(Limit::ConnectionsPerNetwork);
                    return None;
                }
                Entry::Full => {
                    self.service.cache.metrics.limit_reached(Limit::Connections);
                    tokio::select! {
                        () = left => {}
                        () = self.closed.cancelled() => return None,
                    }
                }
            }
        }
    }

    /// Takes a connection that a proxy hands on, once the proxy has said whose it is. Until it has a seat it keeps its place
    /// among the handshakes, and each of the two has its time: so there are never more of them than handshakes.
    async fn introduced(self, mut stream: TcpStream, proxy: IpAddr, way: Way, place: handshakes::Place) {
        let (limit, aborted) = (self.limits().head_timeout.min(INTRODUCTION), &self.ending.aborted);
        let Ok(told) = within(limit, (&place, aborted), introduction(&mut stream)).await else { return };
        let Some(Ok(ends)) = told else { return self.metrics().client_dropped("not-introduced") };
        let local = stream.local_addr().unwrap_or(UNKNOWN);
        let (client, local) = ends.map_or((proxy, local), |ends| (ends.client.ip(), ends.local));
        let Ok(seat) = within(limit, (&place, aborted), self.seat(client)).await else { return };
        drop(place);
        let Some(seat) = seat else { return self.metrics().client_dropped("connections") };
        let Some(seat) = seat else { return };
        let peer = Peer { client, local, scheme: way.scheme() };
        self.carry(stream, peer, way, seat).await;
    }

    async fn carry(self, stream: TcpStream, peer: Peer, way: Way, seat: Seat) {
        let limits = &**self.limits.load();
        let (service, ending) = (&self.service, &self.ending);
        // Heads and small bodies go out in one write; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        let watch = Watch::new(limits.pace, service.cache.clock.clone());
        let wide = Arc::clone(&self.wide);
        let stream = Patient::new(stream, watch, service.cache.metrics.clone(), wide);
        // Each way is boxed: else every connection, idle ones included, would take as much memory as the largest way.
        match way {
            Way::Plain => {
                let _open = self.metrics().connected(Spoken::Http1);
                Box::pin(h1::carry(service, limits, stream, (peer, None), &seat, ending)).await;
            }
            Way::Tls(terms) => Box::pin(self.encrypted(stream, peer, &terms, &seat)).await,
        }
    }

    async fn encrypted(&self, stream: Patient, peer: Peer, terms: &Terms, seat: &Seat) {
        let limits = &**self.limits.load();
        let Some(place) = self.handshake(peer.client) else { return };
        let open = self.metrics().connected(Spoken::None);
        let shaken = Box::pin(terms.handshake(stream, limits.head_timeout, seat, &self.ending, place)).await;
        drop(open);
        match shaken {
            Ok((Shaken::Whole(stream), identity)) => {
                let agreed = Agreed::of(stream.get_ref().1);
                Box::pin(self.converse(stream, agreed, (peer, identity), terms, seat)).await;
            }
            Ok((Shaken::Early(stream), identity)) => {
                let agreed = Agreed::of(stream.session());
                Box::pin(self.converse(stream, agreed, (peer, identity), terms, seat)).await;
            }
            Err(fault) => self.metrics().handshake_failed(fault.as_str()),
        }
    }

    async fn converse(
        &self,
        stream: impl h1::Carried,
        agreed: Agreed,
        (peer, identity): (Peer, Option<Arc<Identity>>),
        terms: &Terms,
        seat: &Seat,
    ) {
        let (limits, service, ending) = (&**self.limits.load(), &self.service, &self.ending);
        self.metrics().handshake_done(agreed.version, agreed.is_resumed);
        let spoken = if agreed.is_http2 { Spoken::Http2 } else { Spoken::Http1 };
        let _open = self.metrics().connected(spoken);
        if agreed.is_http2 {
            let who = (peer, identity, agreed.server_name);
            Box::pin(h2::carry(service, limits, stream, who, seat, ending, terms)).await;
        } else {
            Box::pin(h1::carry(service, limits, stream, (peer, identity), seat, ending)).await;
        }
    }

    /// A place for a handshake of this client; counted if there is none.
    pub(super) fn handshake(&self, client: IpAddr) -> Option<handshakes::Place> {
        let is_proxy = self.service.trusts(client);
        let place = self.handshakes.begin(client, is_proxy);
        if place.is_none() {
            self.metrics().handshake_failed(HandshakeFault::Crowded.as_str());
        }
        place
    }
}

/// The event; none if it has not come within this time, or the place is needed for another.
///
/// # Errors
/// When every connection ends.
async fn within<T>(
    limit: Duration,
    (place, aborted): (&handshakes::Place, &CancellationToken),
    event: impl Future<Output = T>,
) -> Result<Option<T>, Aborted> {
    tokio::select! {
        event = timeout(limit, event) => Ok(event.ok()),
        () = place.evicted() => Ok(None),
        () = aborted.cancelled() => Err(Aborted),
    }
}

/// The connections that the kernel has made already, of a listener that closes.
pub(super) fn waiting(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    // The kernel is asked itself: the runtime may not have heard of them yet, and lets a task take so many at once.
    let listener = listener.into_std();
    let next = move || loop {
        match listener.as_ref().ok()?.accept() {
            Ok((stream, from)) => {
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    return Some((stream, from));
                }
            }
            Err(error) if next_accept(&error) == Accept::AtOnce => {}
            Err(_) => return None,
        }
    };
    std::iter::from_fn(next).take(usize::from(BACKLOG))
}

/// Connections that the kernel makes ahead of us, for one listener.
pub(crate) const BACKLOG: u16 = 1024;
/// After the end of all connections.
const LAST_PACKETS: Duration = Duration::from_secs(1);

/// A connection needs a moment to see that it is to end.
const LEAST: Duration = Duration::from_millis(1);
/// The socket was closed before it could be asked.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
/// Without file descriptors left, accepting again at once would only burn the CPU.
const ACCEPT_REST: Duration = Duration::from_millis(100);

pub(super) async fn rest(error: &io::Error) {
    match next_accept(error) {
        Accept::AtOnce => {}
        Accept::After(rest) => {
            tracing::warn!(target: "verge_edge::listener", %error, "cannot accept connections, trying again");
            tokio::time::sleep(rest).await;
        }
    }
}

/// When to accept again after an error.
#[derive(Debug, PartialEq, Eq)]
enum Accept {
    /// It was one client's matter, and has gone with it.
    AtOnce,
    /// It is ours, and would be the same at once.
    After(Duration),
}

/// accept(2) gives errors of the new connection as its own; whatever else there is, a loop must not spin on it.
fn next_accept(error: &io::Error) -> Accept {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    match error.kind() {
        ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted => {
            Accept::AtOnce
        }
        _ => Accept::After(ACCEPT_REST),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// A proxy's connection waits for its header, and then for a seat.
    #[tokio::test]
    async fn whoever_waits_is_bound_by_time_by_others_and_by_the_end_of_all() {
        let proxy = IpAddr::from([192, 0, 2, 1]);
        let (long, aborted) = (Duration::from_secs(3600), CancellationToken::new());
        let places = Handshakes::new(1, 1);
        let place = places.begin(proxy, true).unwrap();
        assert_eq!(within(long, (&place, &aborted), async { 1 }).await, Ok(Some(1)));
        assert_eq!(within(LEAST, (&place, &aborted), pending::<()>()).await, Ok(None));
        // The oldest makes room when it has had its time.
        let evicting = async {
            while places.begin(proxy, true).is_none() {
                tokio::task::yield_now().await;
            }
            pending::<()>().await;
        };
        assert_eq!(within(long, (&place, &aborted), evicting).await, Ok(None));
        aborted.cancel();
        let place = places.begin(proxy, true).unwrap();
        assert_eq!(within(long, (&place, &aborted), pending::<()>()).await, Err(Aborted));
    }

    #[test]
    fn what_is_one_clients_matter_is_passed_over_and_what_is_ours_rests() {
        let check = |code: i32, expected: &Accept| {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(next_accept(&error), *expected, "{error}");
        };
        // Linux: ECONNABORTED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, EINTR.
        for code in [103, 104, 113, 101, 4] {
            check(code, &Accept::AtOnce);
        }
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EINVAL, and one that there is not.
        for code in [24, 23, 105, 12, 1, 22, 9999] {
            check(code, &Accept::After(ACCEPT_REST));
        }
    }
}
