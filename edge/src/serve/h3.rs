//! HTTP/3 as a transport (RFC 9114), over QUIC.
//!
//! ```text
//! endpoint ─▶ handshake ─▶ conversation ─┬─ control: settings of the client
//!  (quinn)                               └─ exchange, for each stream:
//!                                           frames ─▶ qpack ─▶ message ─▶ Arrival
//!                                           frames ◀─ qpack ◀────────────  Answer
//!                                         direct: a usual hit, without a task of its own
//! ```
//!
//! quinn carries streams. Frames and field sections are read here, by readers that decide and do nothing else: each has a
//! bound on what it holds and on what it passes over. A field section is made of the static table alone, so no stream
//! waits for another.
//!
//! Invariant: whatever is decided by a client's address is decided by the address of its handshake, which the client has
//! proved. A client may move to another address later (RFC 9000 §9), and gains no right by that.

mod address_tokens;
pub mod code;
pub mod control;
mod direct;
mod early;
mod endpoint;
mod exchange;
mod forwarded;
pub mod frame;
pub mod generation;
mod given;
mod message;
pub mod qpack;
mod received;
mod retry;
mod sent;
mod shared_socket;
mod wire;

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::ending::{self, Ending};
use super::room::Seat;
use super::seldom::Seldom;
use super::stream::Client;
use super::stream::account::Account;
use crate::clock::monotonic;
use code::Code;
use control::{Control, Kind};
use direct::{Direct, Turn};
use endpoint::MAX_STREAMS;
pub(crate) use endpoint::{Carrier, Offer, endpoint};
use frame::UnreadHeads;
use given::GivenAnswers;
use received::{Received, number};
pub(crate) use shared_socket::{Channels, SharedSocket};

/// One client's connection.
struct Conversation {
    connection: Connection,
    client: Client,
    begun: Instant,
    requests: AtomicU64,
    answers: AtomicU64,
    resets: Mutex<Account>,
    unread: Arc<UnreadHeads>,
    /// One bit for each kind of stream that there may be once.
    kinds: AtomicU64,
}

/// RFC 9114 §7.2.4.1: how long a head may be.
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
/// RFC 9220 §3: a stream may carry another protocol.
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
/// No stream has this number or one behind it (RFC 9114 §5.2).
const BEYOND_ALL: u64 = (1 << 62) - 4;
/// After each GOAWAY requests under way still arrive for so long.
const FAREWELL: Duration = Duration::from_millis(500);
/// A connection that ends stays open for so long after its last answer, so that the client can read it.
const READING: Duration = Duration::from_secs(1);
/// Streams of one direction of kinds that nobody knows, in all.
const STRANGE_STREAMS: u64 = 64;

impl Conversation {
    /// An answer went to its end.
    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// The client took a request back, or broke it. Too many at once end the connection (CVE-2023-44487).
    fn taken_back(&self) -> Result<(), Code> {
        let at = self.age();
        let answers = self.answers.load(Ordering::Relaxed);
        let mut resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
        resets.pay(1, answers, at).ok_or(Code::ExcessiveLoad)
    }

    fn age(&self) -> Duration {
        monotonic().saturating_duration_since(self.begun)
    }

    /// Reads a stream of one direction to its end.
    async fn listen(&self, mut stream: RecvStream) -> Result<(), Code> {
        let mut bytes = [0; 1024];
        let mut first = Vec::new();
        let kind = loop {
            if let Some((kind, length)) = frame::integer(&first) {
                first.drain(..length);
                break Kind::of(kind)?;
            }
            match stream.read(&mut bytes[..8 - first.len()]).await {
                Ok(Some(read)) => first.extend_from_slice(&bytes[..read]),
                // RFC 9114 §6.2: a stream may end before it says what it is. Nobody needs many of them.
                Ok(None) | Err(_) => return self.is_once(STRANGE, Code::ExcessiveLoad),
            }
        };
        let Some(kind) = kind else {
            let _ = stream.stop(number(Code::StreamCreationError));
            return self.is_once(STRANGE, Code::ExcessiveLoad);
        };
        self.is_once(1 << kind as u64, Code::StreamCreationError)?;
        let mut control = Control::new(kind);
        let requests = || self.requests.load(Ordering::Relaxed);
        control.push(&first, requests(), self.age())?;
        while let Ok(Some(read)) = stream.read(&mut bytes).await {
            control.push(&bytes[..read], requests(), self.age())?;
        }
        // §6.2.1: it must not end before the connection.
        Err(Code::ClosedCriticalStream)
    }

    /// Notes a stream by a bit, or in the count above all bits.
    fn is_once(&self, mark: u64, otherwise: Code) -> Result<(), Code> {
        let is_known = |kinds: u64| match mark {
            STRANGE => kinds / STRANGE >= STRANGE_STREAMS,
            bit => kinds & bit != 0,
        };
        let noted = self.kinds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |kinds| {
            (!is_known(kinds)).then_some(kinds + mark)
        });
        noted.map(|_| ()).map_err(|_| otherwise)
    }
}

/// One more stream of a kind that nobody knows, above the bits of known kinds.
const STRANGE: u64 = 1 << 8;

/// Carries a connection to its end.
async fn carry(connection: Connection, client: Client, seat: &Seat, ending: &Ending) {
    let own = Arc::new(Conversation {
        connection,
        unread: UnreadHeads::new(client.limits.head.bytes),
        client,
        begun: monotonic(),
        requests: AtomicU64::default(),
        answers: AtomicU64::default(),
        resets: Mutex::new(Account::of_resets()),
        kinds: AtomicU64::default(),
    });
    let code = converse(&own, seat, ending).await.err().unwrap_or(Code::NoError);
    if code == Code::ExcessiveLoad {
        own.client.service.cache.metrics.client_dropped("http3-flood");
    }
    own.connection.close(number(code), b"");
}

/// Requests until the connection is to end; the code if the client is at fault.
async fn converse(own: &Arc<Conversation>, seat: &Seat, ending: &Ending) -> Result<(), Code> {
    // A client that takes nothing must not keep its connection, nor a process that ends.
    let greeted = tokio::select! {
        greeted = timeout(own.client.limits.head_timeout, greet(own)) => greeted,
        () = ending.aborted.cancelled() => return Ok(()),
        () = seat.evicted() => return Ok(()),
    };
    let Ok(greeted) = greeted else { return Ok(()) };
    let mut control = greeted?;
    let (mut streams, mut direct, mut accepted) = (Streams::default(), Direct::new(own, seat), Vec::new());
    let idle_timeout = own.client.limits.idle_timeout;
    let mut idle_end = pin!(sleep_until(streams.idle_since + idle_timeout));
    let mut farewell = Farewell::None;
    let mut aborted = Seldom::new(ending.aborted.cancelled());
    let mut given_up = Seldom::new(seat.given_up());
    let mut asked_to_end = Seldom::new(ending::farewell(seat, ending));
    loop {
        let is_idle = streams.requests.is_empty();
        tokio::select! {
            opened = accept(&own.connection, &mut accepted) => {
                if let Err(error) = opened {
                    return over(&error);
                }
                for (send, receive) in accepted.drain(..) {
                    streams.ask(own, &mut direct, (send, receive), farewell);
                }
            }
            opened = own.connection.accept_uni() => match opened {
                Ok(stream) => {
                    let own = Arc::clone(own);
                    streams.others.spawn(async move { own.listen(stream).await });
                }
                Err(error) => return over(&error),
            },
            Some(ended) = streams.requests.join_next() => {
                streams.idle_since = monotonic();
                farewell = farewell.after_an_answer();
                ended.unwrap_or(Ok(()))?;
            }
            Some(ended) = streams.others.join_next() => ended.unwrap_or(Ok(()))?,
            () = &mut aborted => return Ok(()),
            () = &mut given_up, if is_idle => return Ok(()),
            () = &mut asked_to_end, if farewell == Farewell::None => {
                farewell = Farewell::Until(monotonic() + FAREWELL);
                go_away(&mut control, BEYOND_ALL).await;
            }
            () = farewell.over(), if farewell.is_timed(is_idle) => {
                if matches!(farewell, Farewell::Said(_)) {
                    return Ok(());
                }
                farewell = Farewell::Said(monotonic() + FAREWELL);
                streams.await_given(own);
                go_away(&mut control, streams.next).await;
            }
            () = &mut idle_end, if is_idle && farewell == Farewell::None => {
                let end = streams.idle_since + idle_timeout;
                if monotonic() >= end && !streams.await_given(own) {
                    return Ok(());
                }
                idle_end.as_mut().reset(end.max(monotonic()));
            }
        }
    }
}

/// Ready when streams of requests were opened: all that have come, so that their answers go out together.
async fn accept(connection: &Connection, accepted: &mut Vec<Opened>) -> Result<(), ConnectionError> {
    accepted.push(connection.accept_bi().await?);
    while accepted.len() < MAX_STREAMS as usize
        && let Poll::Ready(Ok(opened)) = once(connection.accept_bi())
    {
        accepted.push(opened);
    }
    Ok(())
}

/// Both directions of a request's stream.
type Opened = (SendStream, RecvStream);

/// The result of a future that nobody waits for, if it is there now.
fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The streams of a connection that are open.
struct Streams {
    requests: JoinSet<Result<(), Code>>,
    others: JoinSet<Result<(), Code>>,
    given: GivenAnswers,
    /// Behind the last request that was taken.
    next: u64,
    idle_since: Instant,
}

impl Default for Streams {
    fn default() -> Self {
        let (requests, others) = (JoinSet::new(), JoinSet::new());
        Self { requests, others, given: GivenAnswers::default(), next: 0, idle_since: monotonic() }
    }
}

impl Streams {
    fn ask(
        &mut self,
        own: &Arc<Conversation>,
        direct: &mut Direct<'_>,
        (mut send, mut receive): Opened,
        farewell: Farewell,
    ) {
        if matches!(farewell, Farewell::Said(_)) {
            // RFC 9114 §5.2: the client may send it again elsewhere.
            let _ = receive.stop(number(Code::RequestRejected));
            let _ = send.reset(number(Code::RequestRejected));
            return;
        }
        self.next = self.next.max(VarInt::from(send.id()).into_inner() + 4);
        own.requests.fetch_add(1, Ordering::Relaxed);
        match direct.answer(send, receive) {
            Turn::Given(send) => {
                self.idle_since = monotonic();
                if let Some(late) = self.given.keep(send) {
                    self.await_one(own, late);
                }
            }
            Turn::Begun(begun) => {
                let own = Arc::clone(own);
                self.requests.spawn(async move { exchange::go_on(&own, begun).await });
            }
            Turn::Left(send, received) => self.carry(own, send, received),
        }
    }

    fn carry(&mut self, own: &Arc<Conversation>, send: SendStream, received: Received) {
        let own = Arc::clone(own);
        self.requests.spawn(async move { exchange::carry(&own, send, received).await });
    }

    fn await_one(&mut self, own: &Arc<Conversation>, send: SendStream) {
        let own = Arc::clone(own);
        self.requests.spawn(async move { exchange::arrive(&own, send).await });
    }

    /// Answers that were given and have not arrived are waited for like others; whether there are any.
    fn await_given(&mut self, own: &Arc<Conversation>) -> bool {
        for send in self.given.take() {
            self.await_one(own, send);
        }
        !self.requests.is_empty()
    }
}

/// How far the end of a connection has been told (RFC 9114 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    None,
    /// That it ends; what is under way is still taken until then.
    Until(Instant),
    /// Which request was the last. Until then the client may not have heard of it, and is told of each later request that
    /// it was not looked at; a connection that closed at once would leave it in doubt.
    Said(Instant),
}

impl Farewell {
    async fn over(self) {
        if let Self::Until(until) | Self::Said(until) = self {
            sleep_until(until).await;
        }
    }

    /// A client's system acknowledges an answer before the client has read it. A close in between would take the answer away.
    fn after_an_answer(self) -> Self {
        match self {
            Self::Said(until) => Self::Said(until.max(monotonic() + READING)),
            other => other,
        }
    }

    /// Whether the next step comes by time alone. The last one waits for the requests under way.
    fn is_timed(self, is_idle: bool) -> bool {
        match self {
            Self::None => false,
            Self::Until(_) => true,
            Self::Said(_) => is_idle,
        }
    }
}

/// Opens our control stream.
async fn greet(own: &Conversation) -> Result<SendStream, Code> {
    let mut settings = Vec::new();
    frame::put_integer(MAX_FIELD_SECTION_SIZE, &mut settings);
    frame::put_integer(own.client.limits.head.bytes as u64, &mut settings);
    frame::put_integer(ENABLE_CONNECT_PROTOCOL, &mut settings);
    frame::put_integer(1, &mut settings);
    // The kind of the stream, then its first frame (RFC 9114 §6.2.1).
    let mut bytes = vec![0];
    bytes.extend_from_slice(&frame::with_payload(frame::SETTINGS, &settings));
    // RFC 9114 §6.2: a client must allow so many streams from the start.
    let mut control = match once(own.connection.open_uni()) {
        Poll::Ready(opened) => opened.map_err(|_| Code::NoError)?,
        Poll::Pending => return Err(Code::GeneralProtocolError),
    };
    // Settings come before answers.
    let _ = control.set_priority(1);
    control.write_all(&bytes).await.map_err(|_| Code::ClosedCriticalStream)?;
    Ok(control)
}

async fn go_away(control: &mut SendStream, first: u64) {
    let mut payload = Vec::new();
    frame::put_integer(first, &mut payload);
    // It fails where the client is gone, and is given up where the client takes nothing: the connection is about to end.
    let _ = timeout(FAREWELL, control.write_all(&frame::with_payload(frame::GOAWAY, &payload))).await;
}

/// The connection has ended without us.
fn over(_: &ConnectionError) -> Result<(), Code> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_time_to_read_its_last_answer() {
        let now = monotonic();
        let Farewell::Said(until) = Farewell::Said(now).after_an_answer() else { panic!("it was said") };
        assert!(until >= now + READING);
        let late = now + 2 * READING;
        assert_eq!(Farewell::Said(late).after_an_answer(), Farewell::Said(late));
        assert_eq!(Farewell::Until(now).after_an_answer(), Farewell::Until(now));
        assert_eq!(Farewell::None.after_an_answer(), Farewell::None);
    }
}
