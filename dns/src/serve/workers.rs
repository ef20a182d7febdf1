//! Starts what answers: a thread for each UDP socket and a task for each listener of connections.

use std::io;
use std::net::{self, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Service};
use super::bind::Bound;
use super::connection::Shared;
use super::departures::Departures;
use super::descriptors::Tables;
use super::handover::{Moved, Secrets};
use super::https::Path;
use super::quic::SharedSocket;
use super::responder::{Responder, Ways};
use super::rounds::{Rounds, Watched};
use super::takeover::Deputy;
use super::tls::{self, Acceptor, Asks, Certificates};
use super::transfer::slots::Slots;
use super::udp::Stop;
use super::{quic, sys, udp};
use crate::client::{Listener, Transport};
use crate::config::{self, Config, Tcp};
use crate::limit::{Limits, Rates};
use crate::metrics::Metrics;
use crate::world::World;

/// Connections that came to a process which is not wanted have this long.
const GIVE_WAY_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Workers {
    pub(super) world: Arc<ArcSwap<World>>,
    pub(super) metrics: Arc<Metrics>,
    tcp: Tcp,
    tls: Option<config::Tls>,
    path: Path,
    rates: Option<Rates>,
    tables: Arc<Tables>,
    slots: Slots,
    ways: Ways,
    /// Of connections over TCP, for each side that has listeners, and their addresses.
    plain: Vec<(Arc<Shared>, Vec<SocketAddr>)>,
    /// Each closes its socket when it ends: packets that come later would wait there for nobody.
    pub(super) loops: Vec<JoinHandle<()>>,
    /// The same.
    pub(super) watched: Watched,
    pub(super) stop: Arc<Stop>,
    pub(super) drain: CancellationToken,
    pub(super) departures: Departures,
    pub(super) tasks: TaskTracker,
    /// Endpoints of QUIC and their connections, which go on for a moment behind the process that takes over.
    pub(super) lasting: TaskTracker,
    /// Those that read listening sockets.
    pub(super) acceptors: TaskTracker,
}

impl Workers {
    pub(super) fn new(
        world: Arc<ArcSwap<World>>,
        metrics: Arc<Metrics>,
        config: &Config,
        ways: Ways,
    ) -> Self {
        Self {
            world,
            metrics,
            tcp: config.tcp,
            tls: config.tls.clone(),
            path: config.https.path.as_str().into(),
            rates: config.rate_limit,
            tables: Arc::default(),
            slots: Slots::default(),
            ways,
            loops: Vec::new(),
            watched: Watched::default(),
            stop: Arc::default(),
            drain: CancellationToken::new(),
            departures: Departures::default(),
            plain: Vec::new(),
            tasks: TaskTracker::new(),
            lasting: TaskTracker::new(),
            acceptors: TaskTracker::new(),
        }
    }

    pub(super) fn serve(&mut self, bound: Vec<Bound>, side: Listener) -> io::Result<()> {
        let shared = self.shared(side, Transport::Tcp);
        let addresses = bound.iter().map(|bound| bound.address).collect();
        for Bound { address, udp, tcp, .. } in bound {
            for socket in udp {
                self.spawn_loop(address, socket, side)?;
            }
            self.accept(accept::accept(into_tokio(tcp), Arc::clone(&shared), Service::Plain));
        }
        self.plain.push((shared, addresses));
        Ok(())
    }

    /// Goes on with connections of the process before: those to listeners that this one has, on the same side.
    pub(super) fn adopt(&self, connections: Vec<Moved>) {
        for Moved { stream, peer, inside } in connections {
            let side = if inside { Listener::Inside } else { Listener::Outside };
            let is_to = |address: SocketAddr| {
                let is_to_it = |(shared, own): &&(Arc<Shared>, Vec<SocketAddr>)| {
                    shared.listener == side && own.iter().any(|own| takes(*own, address))
                };
                self.plain.iter().find(is_to_it).map(|(shared, _)| shared)
            };
            let shared = stream.local_addr().ok().and_then(is_to);
            // One that the runtime does not take closes, as one does for which there is no listener any more.
            if let Some((shared, stream)) = shared.zip(TcpStream::from_std(stream).ok()) {
                accept::serve((stream, peer), shared, Service::Plain);
            }
        }
    }

    pub(super) fn serve_encrypted(
        &self,
        sockets: (Vec<net::TcpListener>, Vec<net::TcpListener>),
        side: Listener,
        certificates: &Arc<Certificates>,
    ) {
        let Some(deadline) = self.tls.as_ref().map(|tls| tls.handshake_timeout) else { return };
        let dot = Service::Tls(Acceptor::new(certificates, tls::DOT, deadline, Some(self.asks())));
        let doh =
            Service::Https(Acceptor::new(certificates, tls::DOH, deadline, None), Arc::clone(&self.path));
        for (listeners, transport, service) in
            [(sockets.0, Transport::Tls, dot), (sockets.1, Transport::Https, doh)]
        {
            let shared = self.shared(side, transport);
            for listener in listeners {
                let (shared, service) = (Arc::clone(&shared), service.clone());
                self.accept(accept::accept(into_tokio(listener), shared, service));
            }
        }
    }

    /// Connections of QUIC share a socket, so that the process before must have let go of it.
    pub(super) fn serve_quic(
        &self,
        sockets: Vec<Arc<SharedSocket>>,
        side: Listener,
        certificates: &Arc<Certificates>,
        secrets: &Secrets,
    ) -> io::Result<()> {
        let Some(deadline) = self.tls.as_ref().map(|tls| tls.handshake_timeout) else { return Ok(()) };
        let shared = self.shared(side, Transport::Quic);
        for socket in sockets {
            let terms = quic::Terms::new(certificates, shared.idle_timeout(), self.asks(), secrets);
            let endpoint = quic::endpoint(socket, &terms, secrets, self.departures.leaving.clone())?;
            let reading = self.acceptors.token();
            self.lasting.spawn(quic::accept(endpoint, terms, Arc::clone(&shared), deadline, reading));
        }
        Ok(())
    }

    /// Ends beside a process that goes on: what was read is answered.
    pub(super) async fn give_way(self) {
        self.stop.leave();
        self.departures.begin();
        self.departures.end();
        self.drain.cancel();
        self.tasks.close();
        let loops = self.loops;
        // It does not panic: loops that did are told.
        let _ = tokio::task::spawn_blocking(move || sys::end(loops)).await;
        let _ = timeout(GIVE_WAY_LIMIT, self.tasks.wait()).await;
    }

    fn accept(&self, accepting: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.acceptors.track_future(accepting));
    }

    /// Browsers speak HTTPS, and would ask their users for a certificate; so those are asked for on the other transports alone.
    fn asks(&self) -> Asks {
        Asks::new(Arc::clone(&self.world))
    }

    fn shared(&self, side: Listener, transport: Transport) -> Arc<Shared> {
        let tasks = if transport == Transport::Quic { &self.lasting } else { &self.tasks };
        let until = (tasks.clone(), self.drain.clone(), self.departures.clone());
        let responder = self.responder(transport);
        Arc::new(Shared::new(
            self.tcp,
            (side, transport),
            until,
            &self.metrics,
            (&self.tables, &self.slots),
            responder,
        ))
    }

    /// The one who answers for the process before.
    pub(super) fn deputy(&self) -> Deputy {
        Deputy::new(|transport| self.responder(transport), self.departures.clone())
    }

    fn spawn_loop(&mut self, address: SocketAddr, socket: UdpSocket, side: Listener) -> io::Result<()> {
        let (responder, mut limits) =
            (self.responder(Transport::Udp), Limits::new(self.rates, rand::random()));
        let (stop, mut rounds) = (Arc::clone(&self.stop), Rounds::default());
        self.watched.add(address, &rounds);
        let thread = std::thread::Builder::new().name(format!("udp {address}")).spawn(move || {
            // A packet that panics is a bug, but must not silence this core's clients for good.
            let mut run = || udp::run(&socket, side, &stop, &responder, &mut limits, &mut rounds);
            while catch_unwind(AssertUnwindSafe(&mut run)).is_err() {
                tracing::error!(%address, "a UDP loop panicked and starts again; please report this");
            }
        })?;
        self.loops.push(thread);
        Ok(())
    }

    pub(super) fn responder(&self, transport: Transport) -> Responder {
        Responder::new(Arc::clone(&self.world), self.metrics.counters(transport), self.ways.clone())
    }
}

/// Whether a listener at `own` takes connections to `address`.
fn takes(own: SocketAddr, address: SocketAddr) -> bool {
    let is_any = own.ip().is_unspecified() && own.is_ipv4() == address.is_ipv4();
    own.port() == address.port() && (is_any || own.ip() == address.ip())
}

pub(super) fn into_tokio(listener: net::TcpListener) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listener).expect("the listener does not block and the runtime is here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_on_only_where_its_listener_is() {
        for (own, address, expected) in [
            ("192.0.2.1:53", "192.0.2.1:53", true),
            ("192.0.2.1:53", "192.0.2.2:53", false),
            ("192.0.2.1:53", "192.0.2.1:54", false),
            ("0.0.0.0:53", "192.0.2.2:53", true),
            ("0.0.0.0:53", "192.0.2.2:54", false),
            ("0.0.0.0:53", "[2001:db8::1]:53", false),
            ("[::]:53", "[2001:db8::1]:53", true),
        ] {
            assert_eq!(takes(own.parse().unwrap(), address.parse().unwrap()), expected, "{own} {address}");
        }
    }
}
