//! State that the connections of one listener share: limits, their table, the responder, the stop signal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::departures::Departures;
use super::descriptors::Tables;
use super::memory::Pool;
use super::responder::{Answered, Responder};
use super::table::{Place, Table};
use super::transfer::slots::Slots;
use super::update::Asked;
use crate::client::{Client, Listener, Proved, Transport};
use crate::clock;
use crate::config::Tcp;
use crate::ended::Ended;
use crate::limit::Limits;
use crate::metrics::{Endings, Metrics, Taken};
use crate::view::Which;
use crate::wire::{self, Transfer};
use crate::world::World;

/// A message up to this size claims no memory on a stream, which handles one at a time. Nearly all are far smaller.
pub(super) const SMALL_BYTES: usize = 4 * 1024;

/// A client that has connected and asked nothing yet is about to: a server that ends waits for its first question as long as this.
pub(super) const FIRST_QUESTION: Duration = Duration::from_secs(if cfg!(test) { 8 } else { 2 });

/// The other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) proved: Proved,
}

/// One that has shown no certificate.
impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self { address, proved: Proved::default() }
    }
}

/// State that the connections of one transport on one side's listeners share.
pub(super) struct Shared {
    pub(super) config: Tcp,
    pub(super) listener: Listener,
    pub(super) transport: Transport,
    pub(super) table: Arc<Table>,
    pub(super) tables: Arc<Tables>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when the server stops taking queries.
    pub(super) drain: CancellationToken,
    pub(super) departures: Departures,
    pub(super) endings: Arc<Endings>,
    /// Transfers that may be under way, on all transports together.
    pub(super) slots: Slots,
    metrics: Arc<Metrics>,
    responder: Responder,
}

impl Shared {
    pub(super) fn new(
        config: Tcp,
        (listener, transport): (Listener, Transport),
        (tasks, drain, departures): (TaskTracker, CancellationToken, Departures),
        metrics: &Arc<Metrics>,
        (tables, slots): (&Arc<Tables>, &Slots),
        responder: Responder,
    ) -> Self {
        let open = metrics.connections(listener, transport);
        metrics.connections_limit(config.max_connections);
        let most = (config.max_connections, config.max_connections_per_client);
        let pool = Pool::new(config.max_buffered_bytes);
        let table = Table::new(most, pool, open, clock::now());
        if transport != Transport::Quic {
            // A connection over QUIC has no descriptor of its own that could be freed.
            tables.add(listener, Arc::clone(&table));
        }
        Self {
            config,
            listener,
            transport,
            table,
            tables: Arc::clone(tables),
            tasks,
            drain,
            departures,
            endings: metrics.endings(transport),
            slots: slots.clone(),
            metrics: Arc::clone(metrics),
            responder,
        }
    }

    fn client(&self, peer: &Peer) -> Client {
        let (address, port, proved) = (peer.address.ip(), peer.address.port(), peer.proved.clone());
        let is_to_close = self.is_to_close();
        Client { address, port, listener: self.listener, transport: self.transport, proved, is_to_close }
    }

    /// Whether a client may as well close its connection, since this server is about to.
    pub(super) fn is_to_close(&self) -> bool {
        self.departures.close(self.transport)
    }

    /// The world that this message is judged by.
    pub(super) fn world(&self) -> Guard<Arc<World>> {
        self.responder.world()
    }

    /// The zone that a message of `peer` asks for, if it does and may have it; all else gets an answer.
    pub(super) fn transfer(&self, message: &[u8], peer: &Peer) -> Option<Transfer> {
        match wire::transfer(&self.responder.world(), message, &self.client(peer), clock::moment())? {
            Ok(transfer) => Some(transfer),
            Err(denied) => {
                let (why, transport, peer) = (denied.as_str(), self.transport.as_str(), peer.address);
                tracing::debug!(%peer, transport, "a transfer is refused: {why}");
                None
            }
        }
    }

    pub(super) fn taken(&self, view: Which, taken: Taken) {
        self.metrics.replication.taken(view, taken);
    }

    /// The egress guard stopped a message of a transfer.
    pub(super) fn stopped(&self) {
        self.responder.stopped();
    }

    /// Answers one message of `peer`.
    pub(super) fn answer(&self, message: &[u8], peer: &Peer, out: &mut Vec<u8>) -> Answered {
        let client = self.client(peer);
        // A connection proves its client's address, so its answers cannot flood anybody else.
        let mut unlimited = Limits::default();
        self.responder.view_of_answer(
            &mut unlimited,
            &self.responder.world(),
            message,
            &client,
            clock::moment(),
            out,
        )
    }

    /// As [`Shared::answer`]; an update is made first. None if nobody says that it was made, since this process ends: the client is
    /// to come again.
    pub(super) async fn answer_when_done(
        &self,
        message: &[u8],
        peer: &Peer,
        out: &mut Vec<u8>,
    ) -> Option<Answered> {
        let client = self.client(peer);
        let submitted = self.responder.submitted(&self.responder.world(), message, &client, clock::moment());
        let Some(submitted) = submitted else { return Some(self.answer(message, peer, out)) };
        let view = submitted.view;
        let (send, answer) = oneshot::channel();
        // A client that has gone meanwhile gets no answer.
        let reply = Box::new(move |answer| drop(send.send(answer)));
        self.responder.submit(submitted, (message.into(), client), reply);
        *out = answer.await.ok()?;
        Some(Answered::From(view))
    }

    /// Has the process that has taken over answer one message of `peer`; empty if nothing is to be said. None if it does not, so that
    /// the client is to come again.
    pub(super) async fn answer_elsewhere(&self, message: &[u8], peer: &Peer) -> Option<Vec<u8>> {
        let (send, answer) = oneshot::channel();
        // A client that has gone meanwhile gets no answer.
        let reply = Box::new(move |answer| drop(send.send(answer)));
        self.responder.pass_on(Asked { message: message.into(), client: self.client(peer), reply });
        answer.await.ok()
    }

    /// How long a connection may be idle, as the world in service has it: what clients are told (RFC 7828) holds.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.responder.world().protocol.idle_timeout
    }

    /// Waits until a connection that carries many questions at once has been idle for too long.
    /// Nothing below has a limit of its own for an HTTP/2 connection that is idle or whose answers are not read.
    pub(super) async fn idle(&self, place: &Place) {
        loop {
            let idle = place.idle(clock::now());
            match self.idle_timeout().checked_sub(idle).filter(|left| !left.is_zero()) {
                Some(left) => tokio::time::sleep(left).await,
                None => return,
            }
        }
    }

    /// Waits until a connection on which nothing is under way is to end, which is when `over` is cancelled. A new connection stays
    /// longer, by the time that its client needs for its first question. It does not where another process answers: the client is to
    /// ask that one, since this one's zones are those of before.
    pub(super) async fn leave(&self, over: &CancellationToken, is_new: bool) {
        over.cancelled().await;
        if is_new && !self.departures.have_begun() {
            tokio::time::sleep(FIRST_QUESTION).await;
        }
    }

    /// Waits for the first request of a new connection over HTTP whose server ends: until it is `asked`, as long as
    /// [`Shared::leave`] waits. hyper would close such a connection at once.
    pub(super) async fn first_request(&self, asked: &Notify) {
        if self.departures.have_begun() {
            return;
        }
        tokio::select! {
            () = asked.notified() => {}
            () = tokio::time::sleep(FIRST_QUESTION) => {}
        }
    }

    /// As [`Shared::idle`], or until the drain begins.
    pub(super) async fn over(&self, place: &Place) -> Ended {
        tokio::select! {
            biased;
            () = self.idle(place) => Ended::Idle,
            () = self.drain.cancelled() => Ended::Draining,
        }
    }

    pub(super) fn note(&self, peer: SocketAddr, ended: Ended) {
        self.endings.count(ended);
        tracing::trace!(%peer, transport = self.transport.as_str(), ended = ended.as_str(), "connection closed");
    }
}
