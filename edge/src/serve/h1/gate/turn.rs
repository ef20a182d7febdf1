//! Messages between a gate and the service of its connection: which requests passed, which one is being
//! answered, and the 1xx heads to send before that answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};

use super::glimpse;
use super::interim;
use super::refusal::Refusal;
use crate::http::head::RequestHead;

/// 1xx heads that wait for a client that reads slowly; more are dropped, which RFC 9110 §15.2 survives: they are hints.
const MAX_INTERIM_BYTES: usize = 32 * 1024;

/// The service's side of a [`super::Gate`]: one turn for each request, in order.
#[derive(Debug, Clone)]
pub struct Turns(pub(super) Arc<Shared>);

/// One request that passed and is being answered. Drop it before the final response is returned: no 1xx may follow.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    number: u64,
    interims: Interims,
}

/// An answer on its way, from its request's head to the last byte of its body: its client is waited for.
#[derive(Debug)]
pub struct Sending(Arc<Shared>);

/// Whether a client understands 1xx heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interims {
    Refused,
    Understood,
}

/// The right to send 1xx heads before the answer to one request; can be given away, and is worth nothing afterwards.
#[derive(Debug, Clone)]
pub struct Interim {
    shared: Arc<Shared>,
    number: u64,
    interims: Interims,
}

/// The fate of a 1xx head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It goes out before the final response.
    Queued,
    /// Not one to forward: 100, 101, or no 1xx at all.
    NotForwarded,
    /// The final response was returned, or the client speaks HTTP/1.0 (RFC 9110 §15.2).
    Closed,
    /// The client does not read what is queued.
    Full,
}

impl Turns {
    /// The service holds it from before [`Turns::begin`] until the answer's body is dropped.
    #[must_use]
    pub fn sending(&self) -> Sending {
        self.0.sending.fetch_add(1, Ordering::Relaxed);
        Sending(Arc::clone(&self.0))
    }

    /// The answer on its way is a stream of events, which goes on for as long as its client is there.
    pub fn live(&self) {
        self.0.live.store(true, Ordering::Release);
    }

    /// The answer on its way has no length: it may go on for as long as its client is there, or not.
    pub fn without_length(&self) {
        self.0.open_ended.store(true, Ordering::Release);
    }

    /// The head that was refused, if one was, as far as it can be told. The service has seen another in its place.
    #[must_use]
    pub fn refused(&self) -> Option<RequestHead> {
        self.0.refused.get().map(|refused| glimpse::of(&refused.head))
    }

    /// The service calls this first for each request.
    ///
    /// # Errors
    /// When the request stands for one that must be refused: answer with the refusal's status. The connection
    /// closes behind the answer.
    pub fn begin(&self, version: Version) -> Result<Turn, Refusal> {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed) + 1;
        // Never seen. Were the server to read a request where the gate read none, this connection would be smuggling.
        if number > self.0.passed.load(Ordering::Acquire) {
            return Err(Refusal::Unseen);
        }
        if let Some(refused) = self.0.refused.get()
            && refused.number == number
        {
            return Err(refused.refusal);
        }
        // RFC 9110 §15.2: none to HTTP/1.0.
        let interims = if version == Version::HTTP_11 { Interims::Understood } else { Interims::Refused };
        Ok(Turn { shared: Arc::clone(&self.0), number, interims })
    }
}

impl Turn {
    /// For 1xx heads.
    #[must_use]
    pub fn interim(&self) -> Interim {
        Interim { shared: Arc::clone(&self.shared), number: self.number, interims: self.interims }
    }

    /// Why the request's body broke off, if the gate found its framing broken: answer with this status.
    #[must_use]
    pub fn body_refusal(&self) -> Option<Refusal> {
        self.shared.broken.get().copied()
    }

    /// The answer is a 101, or a 2xx to CONNECT: from here on bytes pass as they are.
    pub fn switch(self) {
        self.shared.tunnel.store(true, Ordering::Release);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Most requests have no 1xx, and cost no lock.
        if self.shared.open.load(Ordering::Acquire) == self.number {
            // Under the lock, so that nobody is in the middle of queueing.
            let _state = self.shared.lock();
            self.shared.open.store(NONE, Ordering::Release);
        }
        self.shared.answer(self.number);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.live.store(false, Ordering::Release);
        self.0.open_ended.store(false, Ordering::Release);
        self.0.sending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Interim {
    /// Lets some come. Only the turn's own task may say so, as long as it has the turn.
    #[must_use]
    pub fn open(&self) -> Self {
        if self.interims == Interims::Understood {
            self.shared.open.store(self.number, Ordering::Release);
        }
        self.clone()
    }

    /// Queues a 1xx head.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) -> Sent {
        if !interim::is_forwarded(status) {
            return Sent::NotForwarded;
        }
        let mut state = self.shared.lock();
        if self.shared.open.load(Ordering::Acquire) != self.number {
            return Sent::Closed;
        }
        let before = state.queue.len();
        interim::write(status, fields, &mut state.queue);
        if state.queue.len() > MAX_INTERIM_BYTES {
            state.queue.truncate(before);
            return Sent::Full;
        }
        self.shared.queued.store(true, Ordering::Release);
        drop(state);
        self.shared.wake();
        Sent::Queued
    }
}

/// Both sides hold it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Heads handed to the server, the one that stands for a refused head included.
    passed: AtomicU64,
    /// Requests that the service has seen.
    begun: AtomicU64,
    /// The last request that was answered.
    answered: AtomicU64,
    /// Answers on their way.
    sending: AtomicU64,
    /// Whether what is on its way goes on for as long as its client is there.
    live: AtomicBool,
    /// Whether nobody can tell if it does.
    open_ended: AtomicBool,
    /// The head that was refused. There is one at most: it is the last.
    refused: OnceLock<Refused>,
    /// Why a body broke off. There is one at most: it is the last.
    broken: OnceLock<Refusal>,
    /// After a switch of protocols bytes pass unread.
    tunnel: AtomicBool,
    /// The request for which 1xx heads may be sent, or [`NONE`].
    open: AtomicU64,
    /// Whether the gate waits for an answer.
    unanswered: AtomicBool,
    /// Whether `State::queue` may hold something, so that a write need not lock.
    queued: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Refused {
    number: u64,
    refusal: Refusal,
    /// Its first bytes.
    head: Box<[u8]>,
}

#[derive(Debug, Default)]
struct State {
    queue: BytesMut,
    waker: Option<Waker>,
}

/// Requests are counted from 1.
const NONE: u64 = 0;

impl Shared {
    /// Only the gate says so: nobody else writes in between.
    pub(super) fn pass(&self, heads: u64) {
        if heads > 0 {
            let passed = self.passed.load(Ordering::Relaxed) + heads;
            self.passed.store(passed, Ordering::Release);
        }
    }

    /// The gate will wait for the answer to the last head that passed, which the server has not seen yet.
    pub(super) fn expect_answer(&self) {
        self.unanswered.store(true, Ordering::Release);
    }

    /// `head` is what has come of it, and maybe more.
    pub(super) fn refuse(&self, refusal: Refusal, head: &[u8]) {
        let number = self.passed.load(Ordering::Relaxed) + 1;
        let head = head[..head.len().min(glimpse::MOST_BYTES)].into();
        // The first refusal stands; nothing is read behind it.
        let _ = self.refused.set(Refused { number, refusal, head });
        self.pass(1);
    }

    pub(super) fn break_off(&self, refusal: Refusal) {
        let _ = self.broken.set(refusal);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Acquire)
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    pub(super) fn is_open_ended(&self) -> bool {
        self.open_ended.load(Ordering::Acquire)
    }

    /// Whether an answer to what passed is still to be sent, or part of one.
    pub(super) fn is_owed(&self) -> bool {
        let answered = self.answered.load(Ordering::Acquire);
        self.sending.load(Ordering::Relaxed) > 0 || answered < self.passed.load(Ordering::Relaxed)
    }

    /// Whether an answer is owed of which there is nothing yet, and none is being sent before it.
    pub(super) fn is_awaited(&self) -> bool {
        let has_head = self.answered.load(Ordering::Acquire) >= self.begun();
        let is_being_sent = has_head && self.sending.load(Ordering::Relaxed) > 0;
        self.is_owed() && !is_being_sent
    }

    /// The last request that began.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Registers the task to wake when a 1xx head is queued or an awaited answer given.
    pub(super) fn register(&self, waker: &Waker) {
        self.lock().waker = Some(waker.clone());
    }

    /// Whether the last head that passed was answered; if not, whoever is registered is woken when it is.
    pub(super) fn is_answered(&self) -> bool {
        let answered = self.answered.load(Ordering::Acquire) >= self.passed.load(Ordering::Relaxed);
        if answered {
            self.unanswered.store(false, Ordering::Relaxed);
        }
        answered
    }

    fn answer(&self, number: u64) {
        self.answered.store(number, Ordering::Release);
        // The gate said what it waits for before the server saw the request. A task that registers after
        // this wake finds the answer, as both take the lock; one that registered before it is woken.
        if self.unanswered.load(Ordering::Acquire) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.lock().waker {
            waker.wake_by_ref();
        }
    }

    /// The 1xx heads that may go out now.
    pub(super) fn take_queue(&self) -> Bytes {
        if !self.queued.load(Ordering::Acquire) {
            return Bytes::new();
        }
        let mut state = self.lock();
        self.queued.store(false, Ordering::Release);
        std::mem::take(&mut state.queue).freeze()
    }

    /// The answer has begun without the 1xx heads that are still queued: it is too late for them.
    pub(super) fn drop_late_queue(&self) {
        if self.queued.load(Ordering::Acquire) && self.open.load(Ordering::Acquire) == NONE {
            self.take_queue();
        }
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(passed: u64) -> Turns {
        let shared = Shared::default();
        shared.pass(passed);
        Turns(Arc::new(shared))
    }

    fn hint(interim: &Interim) -> Sent {
        interim.send(StatusCode::EARLY_HINTS, &HeaderMap::new())
    }

    #[test]
    fn a_1xx_is_queued_until_its_turn_is_over() {
        let turns = turns(2);
        let turn = turns.begin(Version::HTTP_11).expect("it passed");
        let (first, second) = (turn.interim().open(), turn.interim().open());
        assert_eq!((hint(&first), hint(&second)), (Sent::Queued, Sent::Queued));
        drop(turn);
        assert_eq!((hint(&first), hint(&second)), (Sent::Closed, Sent::Closed));
        let next = turns.begin(Version::HTTP_11).expect("it passed");
        let third = next.interim().open();
        assert_eq!((hint(&first), hint(&third)), (Sent::Closed, Sent::Queued));
    }

    #[test]
    fn an_old_client_gets_no_1xx() {
        let turn = turns(1).begin(Version::HTTP_10).expect("it passed");
        assert_eq!(hint(&turn.interim().open()), Sent::Closed);
    }

    #[test]
    fn only_a_hint_is_forwarded() {
        let turn = turns(1).begin(Version::HTTP_11).expect("it passed");
        for status in [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK] {
            assert_eq!(turn.interim().open().send(status, &HeaderMap::new()), Sent::NotForwarded);
        }
    }

    #[test]
    fn the_refusal_is_for_the_request_that_stands_for_the_bad_head() {
        let turns = turns(1);
        turns.0.refuse(Refusal::NoHost, b"GET /x HTTP/1.1");
        assert!(turns.begin(Version::HTTP_11).is_ok());
        assert_eq!(turns.begin(Version::HTTP_11).err(), Some(Refusal::NoHost));
    }

    #[test]
    fn an_answer_is_awaited_until_its_head_is_given_and_owed_until_its_body_is() {
        let turns = turns(2);
        let check = |awaited: bool, owed: bool| {
            assert_eq!((turns.0.is_awaited(), turns.0.is_owed()), (awaited, owed));
        };
        // The server has not asked the service yet, then it has, and then it sends the answer.
        for last in [false, true] {
            check(true, true);
            let sending = turns.sending();
            let turn = turns.begin(Version::HTTP_11).expect("it passed");
            check(true, true);
            drop(turn);
            check(false, true);
            drop(sending);
            check(!last, !last);
        }
    }

    #[test]
    fn a_request_that_the_gate_did_not_pass_is_refused() {
        let turns = turns(1);
        assert!(turns.begin(Version::HTTP_11).is_ok());
        assert_eq!(turns.begin(Version::HTTP_11).err(), Some(Refusal::Unseen));
    }
}
