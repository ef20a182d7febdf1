//! The UDP socket: handshakes within bounds, and the terms of each connection.
//!
//! Few handshakes run at once for clients whose address is not proved; beyond that the client proves it first (Retry,
//! RFC 9000 §8.1.2), which costs one packet and keeps nothing. A connection takes a place in the room only when its
//! handshake has ended, or its first packet proved the address, so a forged address takes nobody's place.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{
    AsyncUdpSocket, Connection, ConnectionError, ConnectionId, ConnectionIdGenerator, Endpoint,
    EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::address_tokens::AddressTokens;
use super::code::Code;
use super::early::{self, EarlyTerms};
use super::generation::{Generation, ID_BYTES};
use super::received::number;
use super::retry;
use super::shared_socket::SharedSocket;
use crate::clock::monotonic;
use crate::metrics::{Limit, Spoken};
use crate::serve::arrival::Peer;
use crate::serve::by_listener::ByListener;
use crate::serve::handshakes::Place;
use crate::serve::limits::Limits;
use crate::serve::listener::Listeners;
use crate::serve::room::Entry;
use crate::serve::stream::Client;
use crate::serve::tls::early::Unconfirmed;
use crate::serve::tls::{HandshakeFault, MOST, Terms};
use crate::site::sender::Scheme;
use crate::tls::{Identity, Sessions};

/// Handshakes at once on one listener of clients whose address is not proved.
const UNPROVED_HANDSHAKES: usize = 64;
/// First packets that wait to be looked at; more are refused.
const MAX_INCOMING: usize = 1024;
/// Packets kept for connections that are not yet looked at, for one and for all of a listener.
const INCOMING_BYTES: u64 = 8 << 10;
const ALL_INCOMING_BYTES: u64 = 4 << 20;
/// Requests at once on one connection: browsers open up to a hundred.
pub(super) const MAX_STREAMS: u32 = 100;
/// Streams of one direction: three of HTTP/3's, and some that nobody knows (RFC 9114 §6.2.3).
const MAX_ONE_WAY_STREAMS: u32 = 16;
/// A client may send this much of one body before an origin takes it, and four times that of all.
const WINDOW_BYTES: u32 = 64 << 10;
/// Bytes of answers on one connection that wait for their acknowledgement: 80 Mbit/s at a round trip of 100 ms.
const SEND_WINDOW_BYTES: u64 = 1 << 20;
/// The part of the idle timeout after which a client is asked whether it is there.
const KEEP_ALIVE_PART: u32 = 3;

/// The terms that a listener offers every connection.
#[derive(Clone)]
pub(crate) struct Offer {
    crypto: Arc<QuicServerConfig>,
    early: Arc<EarlyTerms>,
    tokens: Arc<AddressTokens>,
    terms: Terms,
}

impl Offer {
    /// By the terms of TLS, with the sessions that may bring early data.
    pub(crate) fn new(tls: rustls::ServerConfig, terms: Terms, sessions: Option<&Arc<Sessions>>) -> Self {
        let early = Arc::new(EarlyTerms::new(tls.clone(), sessions));
        let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 has the suite of QUIC's first packets");
        Self { crypto: Arc::new(crypto), early, tokens: Arc::new(AddressTokens::new()), terms }
    }

    /// Proofs of an address count for all processes with this secret. It holds for offers that are apart, too.
    pub(crate) fn share(&self, secret: &[u8]) {
        self.tokens.share(secret);
    }

    /// By other terms, and without early data. A proof of an address counts for both.
    pub(crate) fn apart(&self, tls: rustls::ServerConfig, terms: Terms) -> Self {
        Self { tokens: Arc::clone(&self.tokens), ..Self::new(tls, terms, None) }
    }

    /// Connections from now on may bring early data by these sessions.
    pub(crate) fn put(&self, sessions: Option<&Arc<Sessions>>) {
        self.early.put(sessions);
    }

    /// With the limits of now, which a reload may have changed; and whether the connection may bring early data.
    fn config(&self, limits: &Limits) -> (ServerConfig, bool) {
        let early = self.early.of(limits);
        let may_be_early = early.is_some();
        let crypto = early.unwrap_or_else(|| Arc::clone(&self.crypto));
        let mut config = ServerConfig::new(crypto as _, self.tokens.key());
        config
            .transport_config(Arc::new(transport(limits.idle_timeout)))
            .validation_token_config(self.tokens.terms(may_be_early))
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(ALL_INCOMING_BYTES);
        (config, may_be_early)
    }
}

/// Invariant: a client that has early data remembers limits of these, and they are constants (RFC 9000 §7.4.1).
fn transport(idle: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_ONE_WAY_STREAMS))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES * 4))
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        // Nothing may pass for longer while an origin is waited for (RFC 9000 §10.1.2). A connection without a request
        // ends all the same: that is not QUIC's own timeout.
        .keep_alive_interval(Some(idle / KEEP_ALIVE_PART));
    config
}

/// Starts an endpoint on a socket. Its connection IDs are of a generation, and its resets by a key.
pub(crate) fn endpoint(
    socket: &Arc<SharedSocket>,
    (generation, reset_key): (Generation, &[u8]),
    offer: &Offer,
    limits: &Limits,
) -> io::Result<Endpoint> {
    offer.share(reset_key);
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, reset_key);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(generation));
    let (terms, _) = offer.config(limits);
    let socket = Arc::clone(socket) as Arc<dyn AsyncUdpSocket>;
    Endpoint::new_with_abstract_socket(config, Some(terms), socket, Arc::new(TokioRuntime))
}

impl ConnectionIdGenerator for Generation {
    fn generate_cid(&mut self) -> ConnectionId {
        retry::connection_id().unwrap_or_else(|| ConnectionId::new(&self.id(rand::random())))
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Whether a connection ended by a fault of its handshake. RFC 9001 §4.8: those of TLS have codes from 0x100 to 0x1ff.
fn is_of_handshake(why: &ConnectionError) -> bool {
    let code = match why {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => return false,
    };
    (0x100..0x200).contains(&code)
}

/// A client that can be answered.
struct Met {
    connection: Connection,
    /// The address of its first packet, which it has proved. quinn follows the client to other addresses at once.
    client: IpAddr,
    identity: Option<Arc<Identity>>,
    unconfirmed: Unconfirmed,
}

/// The identity of a client, by the certificate that it has shown.
fn identity(connection: &Connection, terms: &Terms) -> Result<Option<Arc<Identity>>, HandshakeFault> {
    let shown = connection.peer_identity().and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
    terms.admit(shown.as_ref().map(|shown| shown.as_slice()))
}

/// The place that a handshake takes up.
enum Held {
    /// One of a few, since whoever forges addresses can take them all.
    Unproved(#[expect(dead_code, reason = "it is held, not looked at")] OwnedSemaphorePermit),
    Proved(Place),
}

/// A listener's endpoint and sockets. They last as long as its connections do, which may be after the listener was closed;
/// as long as they last, the address cannot be bound anew, and a listener that comes back goes on with them.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) endpoint: Endpoint,
    pub(crate) shared: Arc<SharedSocket>,
    /// Of the socket, for the process that takes over.
    pub(crate) copy: OwnedFd,
    /// Listeners that take its connections: one, or two for the moment in which one goes and one comes back.
    takers: Mutex<usize>,
}

impl Carrier {
    /// Nobody takes its connections yet.
    pub(crate) fn new(endpoint: Endpoint, shared: Arc<SharedSocket>, copy: OwnedFd) -> Arc<Self> {
        Arc::new(Self { endpoint, shared, copy, takers: Mutex::new(0) })
    }

    fn take(&self, terms: ServerConfig) {
        let mut takers = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        *takers += 1;
        self.endpoint.set_server_config(Some(terms));
    }

    fn leave(&self) {
        let mut takers = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        *takers -= 1;
        if *takers == 0 {
            self.endpoint.set_server_config(None);
        }
    }
}

impl Listeners {
    /// Takes connections until they are closed, at the listener that the config has at `configured`. Their last packets must get
    /// out: the task waits for that.
    pub(crate) fn accept_quic(
        &self,
        carrier: Arc<Carrier>,
        offers: ByListener<Offer>,
        (configured, local): (SocketAddr, SocketAddr),
    ) {
        let listeners = self.clone();
        let endpoint = carrier.endpoint.clone();
        carrier.take(offers.of(configured).config(&self.limits()).0);
        self.endpoints.spawn(async move {
            let unproved = Arc::new(Semaphore::new(UNPROVED_HANDSHAKES));
            loop {
                let incoming = tokio::select! {
                    () = listeners.closed.cancelled() => break,
                    incoming = endpoint.accept() => incoming,
                };
                let Some(incoming) = incoming else { break };
                if let Some((incoming, held)) = listeners.admit(incoming, &unproved) {
                    let offer = offers.of(configured).clone();
                    let task = listeners.clone().greet(incoming, held, offer, local);
                    listeners.connections.spawn(task);
                }
            }
            carrier.leave();
            endpoint.wait_idle().await;
            // Until here the address can come back.
            drop(carrier);
        });
    }

    /// A place for a handshake, or none: then the client proves its address, or comes again (RFC 9002 §6.2).
    fn admit(&self, incoming: Incoming, unproved: &Arc<Semaphore>) -> Option<(Incoming, Held)> {
        if incoming.remote_address_validated() {
            match self.handshake(incoming.remote_address().ip()) {
                Some(place) => return Some((incoming, Held::Proved(place))),
                None => incoming.ignore(),
            }
        } else if let Ok(place) = Arc::clone(unproved).try_acquire_owned() {
            return Some((incoming, Held::Unproved(place)));
        } else {
            retry::demand_proof(incoming);
        }
        None
    }

    async fn greet(self, incoming: Incoming, held: Held, offer: Offer, local: SocketAddr) {
        let limits = **self.limits.load();
        let deadline = monotonic() + limits.head_timeout.min(MOST);
        let (config, may_be_early) = offer.config(&limits);
        let config = Arc::new(config);
        // A token may be of an hour ago. The word of a peer that is believed counts for more than an answer.
        let is_believed = self.service.trusts(incoming.remote_address().ip());
        if may_be_early && matches!(held, Held::Proved(_)) && !is_believed {
            // Boxed, so that other connections do not take the memory.
            return Box::pin(self.greet_early((incoming, config), (held, deadline), limits, offer, local))
                .await;
        }
        let client = incoming.remote_address().ip();
        let shaken = self.shaken(async { incoming.accept_with(config)?.await }, &held, deadline).await;
        let connection: Connection = match shaken {
            Ok(connection) => connection,
            Err(fault) => return self.metrics().handshake_failed(fault.as_str()),
        };
        drop(held);
        let identity = match identity(&connection, &offer.terms) {
            Ok(identity) => identity,
            Err(fault) => return self.failed(&connection, fault),
        };
        // quinn does not say whether a ticket was used; QUIC has no TLS but 1.3.
        self.metrics().handshake_done("1.3", false);
        let met = Met { connection, client, identity, unconfirmed: Unconfirmed::default() };
        self.seated(met, limits, &offer.terms, local).await;
    }

    /// Answers a client whose address is proved as soon as its ClientHello is read. Its handshake ends meanwhile, within
    /// the bounds of all handshakes, or the connection does.
    async fn greet_early(
        self,
        (incoming, config): (Incoming, Arc<ServerConfig>),
        (held, deadline): (Held, Instant),
        limits: Limits,
        offer: Offer,
        local: SocketAddr,
    ) {
        let client = incoming.remote_address().ip();
        let begun = async {
            let mut connecting = incoming.accept_with(config)?;
            connecting.handshake_data().await?;
            // A server can always do this.
            connecting.into_0rtt().map_err(|_| ConnectionError::LocallyClosed)
        };
        let (connection, over) = match self.shaken(begun, &held, deadline).await {
            Ok(begun) => begun,
            Err(fault) => return self.metrics().handshake_failed(fault.as_str()),
        };
        let identity = match identity(&connection, &offer.terms) {
            Ok(identity) => identity,
            Err(fault) => return self.failed(&connection, fault),
        };
        let unconfirmed = early::unconfirmed(&connection);
        let met = Met { connection: connection.clone(), client, identity, unconfirmed };
        let ending = async {
            let ended = async {
                over.await;
                early::has_ended(&connection).then_some(()).ok_or(())
            };
            match self.shaken(ended, &held, deadline).await {
                Ok(()) => self.metrics().handshake_done("1.3", false),
                // It was turned away, which is counted there, or the client has left.
                Err(_) if connection.close_reason().is_some_and(|why| !is_of_handshake(&why)) => {}
                Err(fault) => self.failed(&connection, fault),
            }
            drop(held);
        };
        tokio::join!(ending, self.seated(met, limits, &offer.terms, local));
    }

    /// A step of a handshake, as long as there is time and a place for it.
    async fn shaken<T, E>(
        &self,
        step: impl Future<Output = Result<T, E>>,
        held: &Held,
        deadline: Instant,
    ) -> Result<T, HandshakeFault> {
        let evicted = async {
            match held {
                Held::Proved(place) => place.evicted().await,
                Held::Unproved(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            shaken = timeout_at(deadline, step) => match shaken {
                Ok(Ok(shaken)) => Ok(shaken),
                Ok(Err(_)) => Err(HandshakeFault::Refused),
                Err(_) => Err(HandshakeFault::Slow),
            },
            () = evicted => Err(HandshakeFault::Crowded),
            () = self.ending.aborted.cancelled() => Err(HandshakeFault::Aborted),
        }
    }

    fn failed(&self, connection: &Connection, fault: HandshakeFault) {
        connection.close(number(Code::RequestRejected), b"");
        self.metrics().handshake_failed(fault.as_str());
    }

    async fn seated(&self, met: Met, limits: Limits, terms: &Terms, local: SocketAddr) {
        let Met { connection, client, identity, unconfirmed } = met;
        let entry = self.room.enter(client, &self.service.trusted_proxies.load());
        let seat = match entry {
            Entry::Seat(seat) => seat,
            Entry::NetworkFull => return self.send_away(&connection, Limit::ConnectionsPerNetwork),
            Entry::Full => return self.send_away(&connection, Limit::Connections),
        };
        if seat.has_replaced {
            self.metrics().limit_reached(Limit::IdleConnections);
        }
        let _open = self.metrics().connected(Spoken::Http3);
        let handshake = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let server_name = handshake.and_then(|data| data.server_name).map(|name| name.to_ascii_lowercase());
        let local = SocketAddr::new(connection.local_ip().unwrap_or(local.ip()), local.port());
        let client = Client {
            unconfirmed,
            service: Arc::clone(&self.service),
            occupant: seat.occupant(),
            is_spare: seat.is_spare,
            limits,
            peer: Peer { client, local, scheme: Scheme::Https },
            identity,
            names: terms.names_for(server_name.as_deref()),
            server_name,
            aborted: self.ending.aborted.clone(),
        };
        super::carry(connection, client, &seat, &self.ending).await;
    }

    fn send_away(&self, connection: &Connection, limit: Limit) {
        self.metrics().client_dropped(limit.as_str());
        self.metrics().limit_reached(limit);
        connection.close(number(Code::ExcessiveLoad), b"");
    }
}
