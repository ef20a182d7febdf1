//! DNS over QUIC (RFC 9250) on quinn: a stream for each question, exact bytes both ways.
//!
//! A connection enters the table of connections when its handshake has ended, so unfinished handshakes close nobody's
//! connection. Few handshakes run at once, and under load the server makes a client prove its address before it does any
//! other work (RFC 9000 §8.1.2).
//!
//! A process that is taken over goes on with its connections for a moment: the one that reads the socket then sends their packets
//! on to it, and answers their questions, since it alone knows the zones of now.
//!
//! Invariant: a connection keeps the address of its handshake; migration is off. Otherwise an outsider could forge a
//! packet from an internal address: the server would answer it from the internal view, and when the new address fails
//! validation it would retransmit that answer to the outsider's old address (RFC 9000 §9.3.2).

mod forwarded;
mod generation;
mod shared_socket;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AsyncUdpSocket, Connection, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout,
    Incoming, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(super) use self::generation::Generation;
use self::generation::ID_BYTES;
pub(super) use self::shared_socket::SharedSocket;
use super::connection::{Peer, Shared};
use super::handover::Secrets;
use super::memory::{Full, Pool, Question, What};
use super::responder::Answered;
use super::table::{Place, Table};
use super::tls::{self, Asks, Certificates};
use super::transfer;
use crate::clock;
use crate::ended::Ended;

/// Error codes (RFC 9250 §4.3).
const DOQ_NO_ERROR: VarInt = VarInt::from_u32(0);
const DOQ_PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const DOQ_EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Questions at once on one connection.
const MAX_STREAMS: u32 = 100;
/// Handshakes at once on one listener whose address is not proved; beyond that, it is proved first.
const UNPROVED_HANDSHAKES: usize = 64;
/// Handshakes at once on one listener whose address is proved, in all and of one client: what a core does in a quarter of
/// a second. A client that finds no place comes again in a second (RFC 9002 §6.2). Clients that have a
/// connection need not wait for thousands that want one.
const PROVED_HANDSHAKES: usize = 256;
const PROVED_HANDSHAKES_PER_CLIENT: usize = 16;
/// A handshake that has taken this long makes room for another.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(1);
/// First packets that wait to be looked at; more are refused.
const MAX_INCOMING: usize = 1024;
/// Packets kept for connections that are not yet looked at, for one and for all of a listener.
const INCOMING_BYTES: u64 = 8 * 1024;
const ALL_INCOMING_BYTES: u64 = 4 * 1024 * 1024;
/// Connections of a process that was taken over answer what comes within this time, so that no client is turned away that has
/// just asked or is about to. DNS over QUIC has no word for "ask elsewhere" but the end of a connection.
/// In tests of two processes and their clients on a slow machine it is longer.
const LAST_QUESTIONS: Duration = Duration::from_secs(if cfg!(test) { 8 } else { 3 });
/// The two bytes before each message (RFC 9250 §4.2).
const LENGTH_BYTES: usize = 2;
/// A message with its length.
const MAX_STREAM_BYTES: u32 = u16::MAX as u32 + 2;
/// Bytes that a client may send ahead on all streams of a connection: one of the longest messages. Of
/// them quinn keeps those that come out of order.
const CONNECTION_WINDOW_BYTES: u32 = MAX_STREAM_BYTES;
/// Bytes that wait for their acknowledgement; more wait in their [`Claim`](super::memory::Claim).
const SEND_WINDOW_BYTES: u64 = 64 * 1024;

/// The terms that a listener offers every connection.
pub(super) struct Terms {
    config: Arc<ServerConfig>,
    /// Told to the client in the handshake (RFC 9000 §10.1).
    idle: Duration,
}

impl Terms {
    pub(super) fn new(
        certificates: &Arc<Certificates>,
        idle: Duration,
        asks: Asks,
        secrets: &Secrets,
    ) -> Self {
        let tls = tls::terms(certificates, tls::DOQ, tls::QUIC_VERSIONS, Some(asks));
        let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 has the suite of QUIC's first packets");
        // A token that the process before gave is as good as one of ours.
        let tokens = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&secrets.tokens);
        let mut config = ServerConfig::new(Arc::new(crypto), Arc::new(tokens));
        config
            .transport_config(Arc::new(transport(idle)))
            .migration(false)
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(ALL_INCOMING_BYTES);
        Self { config: Arc::new(config), idle }
    }

    /// With the idle timeout of now, which a reload may have changed.
    fn with(&mut self, idle: Duration) -> Arc<ServerConfig> {
        if idle != self.idle {
            let mut config = ServerConfig::clone(&self.config);
            config.transport_config(Arc::new(transport(idle)));
            *self = Self { config: Arc::new(config), idle };
        }
        Arc::clone(&self.config)
    }
}

fn transport(idle: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
        // RFC 9250 §4.2: questions come on bidirectional streams and on nothing else.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(MAX_STREAM_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok());
    config
}

/// An endpoint, and its socket.
pub(super) struct Listening {
    endpoint: Endpoint,
    socket: Arc<SharedSocket>,
    /// Cancelled before the drain if another process reads the socket next.
    leaving: CancellationToken,
}

/// Starts an endpoint on a socket.
pub(super) fn endpoint(
    socket: Arc<SharedSocket>,
    terms: &Terms,
    secrets: &Secrets,
    leaving: CancellationToken,
) -> io::Result<Listening> {
    let terms = ServerConfig::clone(&terms.config);
    let resets = hmac::Key::new(hmac::HMAC_SHA256, &secrets.reset);
    let mut config = EndpointConfig::new(Arc::new(resets));
    let generation = secrets.generation;
    config.cid_generator(move || Box::new(generation));
    let endpoint = Endpoint::new_with_abstract_socket(
        config,
        Some(terms),
        Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>,
        Arc::new(TokioRuntime),
    )?;
    Ok(Listening { endpoint, socket, leaving })
}

impl ConnectionIdGenerator for Generation {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.id(rand::random()))
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Takes connections until the drain begins, and waits until they have ended. `reading` is dropped as soon as the socket is no
/// longer read, or the server ends.
pub(super) async fn accept(
    listening: Listening,
    terms: Terms,
    shared: Arc<Shared>,
    handshake_timeout: Duration,
    reading: TaskTrackerToken,
) {
    let Listening { endpoint, socket, leaving } = listening;
    let drain = shared.drain.clone();
    let mut porter = Porter::new(terms, shared, handshake_timeout);
    porter.take_until(&endpoint, drain.cancelled()).await;
    if leaving.is_cancelled() {
        socket.hand_over();
        drop(reading);
        // Where the new process does not listen here, nothing comes any more.
        if socket.is_followed() {
            porter.take_waiting(&endpoint).await;
            // Clients that this process has told to prove their address come here with their proof.
            let last = async {
                let _ = timeout(LAST_QUESTIONS, endpoint.wait_idle()).await;
            };
            porter.take_until(&endpoint, last).await;
        }
    }
    endpoint.set_server_config(None);
    porter.over.cancel();
    // Connections close on their own; what they still say must get out.
    endpoint.wait_idle().await;
}

/// Lets the connections of a listener in; handshakes do not wait for each other.
struct Porter {
    terms: Terms,
    shared: Arc<Shared>,
    handshake_timeout: Duration,
    unproved: Arc<Semaphore>,
    proved: Arc<Table>,
    /// Cancelled when connections take no more questions.
    over: CancellationToken,
}

impl Porter {
    fn new(terms: Terms, shared: Arc<Shared>, handshake_timeout: Duration) -> Self {
        let most = (PROVED_HANDSHAKES, PROVED_HANDSHAKES_PER_CLIENT);
        Self {
            terms,
            shared,
            handshake_timeout,
            unproved: Arc::new(Semaphore::new(UNPROVED_HANDSHAKES)),
            proved: Table::new(most, Pool::new(0), Arc::default(), clock::now()),
            over: CancellationToken::new(),
        }
    }

    async fn take_until(&mut self, endpoint: &Endpoint, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => self.take(incoming),
                    None => return,
                },
            }
        }
    }

    /// Those that have been read already.
    async fn take_waiting(&mut self, endpoint: &Endpoint) {
        loop {
            tokio::select! {
                biased;
                Some(incoming) = endpoint.accept() => self.take(incoming),
                () = std::future::ready(()) => return,
            }
        }
    }

    fn take(&mut self, incoming: Incoming) {
        let place = if incoming.remote_address_validated() {
            let client = incoming.remote_address().ip();
            match self.proved.try_admit(client, clock::now(), HANDSHAKE_PATIENCE) {
                Some(place) => HandshakePlace::Proved(place),
                None => return incoming.ignore(),
            }
        } else if let Ok(place) = Arc::clone(&self.unproved).try_acquire_owned() {
            HandshakePlace::Unproved(place)
        } else {
            // Costs one packet and keeps nothing. It cannot fail for a client that has no token yet.
            let _ = incoming.retry();
            return;
        };
        let (shared, over, limit) = (Arc::clone(&self.shared), self.over.clone(), self.handshake_timeout);
        let terms = self.terms.with(shared.idle_timeout());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move { greet(incoming, terms, place, shared, (over, limit)).await });
    }
}

/// The place that a handshake takes up.
enum HandshakePlace {
    /// One of a few, since whoever forges addresses can take them all.
    Unproved(#[expect(dead_code, reason = "it is held, not looked at")] OwnedSemaphorePermit),
    /// One of more, of which a client has a few.
    Proved(Place),
}

async fn greet(
    incoming: Incoming,
    terms: Arc<ServerConfig>,
    place: HandshakePlace,
    shared: Arc<Shared>,
    (over, limit): (CancellationToken, Duration),
) {
    let peer = incoming.remote_address();
    let shaken = async { incoming.accept_with(terms)?.await };
    let connection = tokio::select! {
        () = place.lost() => return shared.note(peer, Ended::Evicted),
        shaken = timeout(limit, shaken) => match shaken {
            Ok(Ok(connection)) => connection,
            Ok(Err(_)) => return shared.note(peer, Ended::Handshake),
            Err(_) => return shared.note(peer, Ended::SlowHandshake),
        },
    };
    drop(place);
    let place = Arc::new(shared.table.admit(peer.ip(), clock::now()));
    let identity =
        connection.peer_identity().and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
    let now = clock::moment().unix_seconds;
    let proved = tls::proved(&shared.world(), identity.as_ref().map(|chain| chain.as_slice()), now);
    let known = Arc::new(Peer { address: peer, proved });
    let ended = tokio::select! {
        () = place.evicted() => Ended::Evicted,
        ended = converse(&connection, &known, &place, (&shared, &over)) => ended,
    };
    connection.close(code(ended), b"");
    shared.note(peer, ended);
}

impl HandshakePlace {
    /// Ends when the place is needed by another.
    async fn lost(&self) {
        match self {
            Self::Unproved(_) => std::future::pending().await,
            Self::Proved(place) => place.evicted().await,
        }
    }
}

/// Questions until the connection ends; each stream is a task of this one's own. QUIC's own idle timeout counts any
/// packet; who only says that it is there is idle all the same.
async fn converse(
    connection: &Connection,
    peer: &Arc<Peer>,
    place: &Arc<Place>,
    (shared, over): (&Arc<Shared>, &CancellationToken),
) -> Ended {
    let mut streams = tokio::task::JoinSet::new();
    let mut is_new = true;
    loop {
        tokio::select! {
            () = shared.leave(over, is_new) => break,
            () = shared.idle(place), if streams.is_empty() => return Ended::Idle,
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => {
                    let (peer, place, shared) = (Arc::clone(peer), Arc::clone(place), Arc::clone(shared));
                    streams.spawn(async move { serve(send, receive, &peer, &place, &shared).await });
                    is_new = false;
                }
                Err(quinn::ConnectionError::TimedOut) => return Ended::Idle,
                Err(_) => return Ended::Closed,
            },
            Some(ended) = streams.join_next() => match ended {
                // RFC 9250 §4.3.3: what breaks the protocol on one stream is fatal to the connection.
                Ok(Err(ended @ Ended::Garbage)) => return ended,
                // Another process is to be asked.
                Ok(Err(Ended::Draining)) => break,
                _ => {}
            },
        }
    }
    while streams.join_next().await.is_some() {}
    Ended::Draining
}

/// A stream: answered, or reset with the reason.
async fn serve(
    mut send: SendStream,
    receive: RecvStream,
    peer: &Peer,
    place: &Place,
    shared: &Shared,
) -> Result<(), Ended> {
    let done = exchange(&mut send, receive, peer, place, shared).await;
    if let Err(ended) = done {
        // It fails where the client has stopped the stream itself.
        let _ = send.reset(code(ended));
    }
    done
}

fn code(ended: Ended) -> VarInt {
    match ended {
        Ended::Garbage => DOQ_PROTOCOL_ERROR,
        Ended::Evicted | Ended::Crowded | Ended::SlowMessage | Ended::SlowReader => DOQ_EXCESSIVE_LOAD,
        _ => DOQ_NO_ERROR,
    }
}

/// One question and its answer.
async fn exchange(
    send: &mut SendStream,
    receive: RecvStream,
    peer: &Peer,
    place: &Place,
    shared: &Shared,
) -> Result<(), Ended> {
    let read = timeout(shared.config.message_timeout, read(receive, place)).await;
    let question = read.unwrap_or(Err(Ended::SlowMessage))?;
    place.active(clock::now());
    if let Some(transfer) = shared.transfer(&question, peer) {
        drop(question);
        if shared.departures.have_begun() {
            // A client that comes again gets the version of now.
            return Err(Ended::Draining);
        }
        transfer::send(send, transfer, peer.address, (place, shared)).await?;
        return finish(send, shared).await;
    }
    let answer = answer(question, peer, shared).await?;
    let _room = place.allowance.claim(What::Answer, answer.len()).map_err(|Full| Ended::Crowded)?;
    let sent = timeout(shared.config.write_timeout, async {
        // Handed over, not copied.
        send.write_chunk(answer.into()).await?;
        Ok::<_, quinn::WriteError>(())
    });
    match sent.await {
        Ok(Ok(())) => finish(send, shared).await,
        Ok(Err(error)) => {
            if let quinn::WriteError::Stopped(code) = error {
                // RFC 9000 §3.5: the reset of a stream that the client has stopped copies its code.
                let _ = send.reset(code);
            }
            Err(Ended::Closed)
        }
        Err(_) => Err(Ended::SlowReader),
    }
}

/// RFC 9250 §4.2: the end of the stream says that the answer is complete.
async fn finish(send: &mut SendStream, shared: &Shared) -> Result<(), Ended> {
    // It fails where the stream has ended already.
    let _ = send.finish();
    // Until the client has it all, so that a drain does not close the connection under it.
    let taken = timeout(shared.config.write_timeout, send.stopped()).await;
    // The reset lets go of data that is not acknowledged by then, and of its room.
    taken.map(|_| ()).map_err(|_| Ended::SlowReader)
}

/// The answer behind its length, and no byte more; the question is let go of, since the answer may have to wait.
async fn answer(question: Question, peer: &Peer, shared: &Shared) -> Result<Vec<u8>, Ended> {
    let mut answer = Vec::new();
    let is_answered = if shared.departures.have_begun() {
        answer = shared.answer_elsewhere(&question, peer).await.ok_or(Ended::Draining)?;
        !answer.is_empty()
    } else {
        let answered = shared.answer_when_done(&question, peer, &mut answer).await;
        answered.ok_or(Ended::Draining)? != Answered::Not
    };
    drop(question);
    if !is_answered {
        return Err(Ended::Garbage);
    }
    let bytes = u16::try_from(answer.len()).expect("an answer over QUIC has at most 65,535 bytes");
    Ok([&bytes.to_be_bytes()[..], &answer].concat())
}

/// The message of a stream: its length, its bytes, the end, and nothing else (RFC 9250 §4.2).
async fn read(mut receive: RecvStream, place: &Place) -> Result<Question, Ended> {
    let mut length = [0; LENGTH_BYTES];
    receive.read_exact(&mut length).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => Ended::Garbage,
        quinn::ReadExactError::ReadError(_) => Ended::Closed,
    })?;
    let bytes = usize::from(u16::from_be_bytes(length));
    let mut question = Question::default();
    // One piece at a time: each is a slice that keeps the whole packet it came in.
    while let Some(piece) = receive.read_chunk(usize::MAX, true).await.map_err(|_| Ended::Closed)? {
        if question.len() + piece.bytes.len() > bytes {
            return Err(Ended::Garbage);
        }
        if question.extend(&piece.bytes, &place.allowance) == Err(Full) {
            let _ = receive.stop(DOQ_EXCESSIVE_LOAD);
            return Err(Ended::Crowded);
        }
    }
    if question.len() == bytes { Ok(question) } else { Err(Ended::Garbage) }
}

#[cfg(test)]
mod tests;
