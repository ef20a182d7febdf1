//! Starts what answers: a thread for each UDP socket and a task for each listener of connections.

use std::io;
use std::net::{self, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Service};
use super::bind::Bound;
use super::connection::Shared;
use super::descriptors::Tables;
use super::https::Path;
use super::listeners::Sealed;
use super::responder::{Responder, Ways};
use super::tls::{self, Acceptor, Asks, Certificates};
use super::transfer::slots::Slots;
use super::{quic, udp};
use crate::client::{Listener, Transport};
use crate::config::{self, Config, Tcp};
use crate::limit::{Limits, Rates};
use crate::metrics::Metrics;
use crate::world::World;

/// A UDP thread and the socket that wakes it, which closes when the thread ends: what came later would wait there for
/// nobody.
pub(super) struct Loop {
    socket: Weak<UdpSocket>,
    thread: JoinHandle<()>,
}

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
    pub(super) loops: Vec<Loop>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) drain: CancellationToken,
    pub(super) tasks: TaskTracker,
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
            stop: Arc::default(),
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(super) fn serve(&mut self, bound: Vec<Bound>, side: Listener) -> io::Result<()> {
        let shared = self.shared(side, Transport::Tcp);
        for Bound { address, udp, tcp } in bound {
            for socket in udp {
                self.spawn_loop(address, socket, side)?;
            }
            self.tasks.spawn(accept::accept(into_tokio(tcp), Arc::clone(&shared), Service::Plain));
        }
        Ok(())
    }

    pub(super) fn serve_encrypted(
        &mut self,
        sockets: Sealed,
        side: Listener,
        certificates: &Arc<Certificates>,
    ) -> io::Result<()> {
        let Some(deadline) = self.tls.as_ref().map(|tls| tls.handshake_timeout) else { return Ok(()) };
        let dot = Service::Tls(Acceptor::new(certificates, tls::DOT, deadline, Some(self.asks())));
        let doh =
            Service::Https(Acceptor::new(certificates, tls::DOH, deadline, None), Arc::clone(&self.path));
        for (listeners, transport, service) in
            [(sockets.tls, Transport::Tls, dot), (sockets.https, Transport::Https, doh)]
        {
            let shared = self.shared(side, transport);
            for listener in listeners {
                let (shared, service) = (Arc::clone(&shared), service.clone());
                self.tasks.spawn(accept::accept(into_tokio(listener), shared, service));
            }
        }
        let shared = self.shared(side, Transport::Quic);
        for socket in sockets.quic {
            let terms = quic::Terms::new(certificates, shared.idle_timeout(), self.asks());
            let endpoint = quic::endpoint(socket, &terms)?;
            self.tasks.spawn(quic::accept(endpoint, terms, Arc::clone(&shared), deadline));
        }
        Ok(())
    }

    /// Browsers speak HTTPS, and would ask their users for a certificate; so those are asked for on the other transports alone.
    fn asks(&self) -> Asks {
        Asks::new(Arc::clone(&self.world))
    }

    fn shared(&self, side: Listener, transport: Transport) -> Arc<Shared> {
        let until = (self.tasks.clone(), self.drain.clone());
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

    fn spawn_loop(&mut self, address: SocketAddr, socket: UdpSocket, side: Listener) -> io::Result<()> {
        let (responder, mut limits) =
            (self.responder(Transport::Udp), Limits::new(self.rates, rand::random()));
        let own = Arc::new(socket);
        let (stop, socket) = (Arc::clone(&self.stop), Arc::downgrade(&own));
        let thread = std::thread::Builder::new().name(format!("udp {address}")).spawn(move || {
            // A packet that panics is a bug, but must not silence this core's clients for good.
            let mut run =
                || catch_unwind(AssertUnwindSafe(|| udp::run(&own, side, &stop, &responder, &mut limits)));
            while run().is_err() {
                tracing::error!(%address, "a UDP loop panicked and starts again; please report this");
            }
        })?;
        self.loops.push(Loop { socket, thread });
        Ok(())
    }

    fn responder(&self, transport: Transport) -> Responder {
        Responder::new(Arc::clone(&self.world), self.metrics.counters(transport), self.ways.clone())
    }
}

/// Waits for loops that have been told to stop.
pub(super) fn end(loops: Vec<Loop>) {
    loops.iter().filter_map(|it| it.socket.upgrade()).for_each(|socket| udp::wake(&socket));
    for ended in loops.into_iter().map(|it| it.thread.join()) {
        if ended.is_err() {
            tracing::error!("a UDP loop panicked");
        }
    }
}

pub(super) fn into_tokio(listener: net::TcpListener) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listener).expect("the listener does not block and the runtime is here")
}
