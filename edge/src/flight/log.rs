//! The body of one fetch while it arrives. The task appends pieces; each reader reads them at its own pace.
//!
//! ```text
//! keeping ──▶ sliding ──▶ ended, or broken off, or let go
//!    └──▶ stored              (`phase`)
//! ```
//!
//! While the body is to be stored, the log keeps every piece until the end, and the task waits for no reader. When the
//! body turns out too big to be stored, the log slides: it drops a piece when every reader has read it. The task then
//! waits for the slowest reader, but not for long while a faster one has nothing to read (`lag`). A single reader sets
//! the pace. A log that slides or has ended accepts no new reader.
//!
//! The log takes the memory for its pieces from the fill budget. When the budget is used up, a single reader gets one
//! piece at a time. When the body has been stored, the log drops its pieces, and readers continue with the stored ones.
//! Pieces that were written to a file are dropped at once: who has not read them reads the file (`filed`).
//! A log that slides offers its memory to fetches that store something ([`Budget`]).
//!
//! Invariant: no lock is held while a task is woken.
//! Invariant: a sliding log holds at most this much beyond its share of the budget: one piece for a single reader, a
//! window and one piece for several.

mod ending;
mod filed;
mod lag;
mod phase;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::block::allocated;
use crate::store::{Budget, InFile, LetGo, Object, Share};
pub use ending::{BrokenOff, Unkept};
pub(super) use filed::Next;
use lag::{Lag, Standing};
use phase::{Guests, Phase};

/// The body of one fill.
#[derive(Debug)]
pub(super) struct Log(Mutex<State>);

#[derive(Debug)]
struct State {
    pieces: VecDeque<Bytes>,
    /// How many pieces have gone, and their bytes.
    gone: usize,
    gone_bytes: u64,
    /// The file that pieces went to which are kept.
    filed: Option<Arc<dyn InFile>>,
    held_bytes: u64,
    /// The pieces' cost in memory, in bytes.
    cost: u64,
    /// The share of the memory that the held pieces are charged to.
    share: Share,
    phase: Phase,
    readers: HashMap<u64, Place>,
    next_reader: u64,
    writer: Option<Waker>,
    /// When the readers' lags were last looked at.
    looked: Option<Instant>,
}

/// Where one reader is.
#[derive(Debug, Default)]
struct Place {
    next: usize,
    /// The bytes of the next piece that it has read.
    skip: usize,
    /// The bytes that it has read in all.
    at: u64,
    /// Set while it has read all there is and waits for more.
    waker: Option<Waker>,
    lag: Lag,
}

/// Whether the writer may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It may.
    Here,
    /// When somebody has read on; nobody is held up by that.
    WhenRead,
    /// When somebody has read on, or after this time those in the way are left behind.
    Within(Duration),
}

/// For metrics: a reader was left behind.
pub(super) const LEFT_BEHIND: &str = "left-behind";
/// For metrics: what a reader held was needed for others.
pub(super) const LET_GO: &str = "let-go";
/// A sliding log holds this much, so that a fast origin and a slow client both have something to do.
const WINDOW_BYTES: u64 = 256 << 10;
/// `Bytes` and the block that it shares.
const PIECE_BYTES: u64 = 64;

impl Log {
    /// An empty one that takes its memory from `share`.
    pub(super) fn new(share: Share) -> Self {
        Self(Mutex::new(State {
            pieces: VecDeque::new(),
            gone: 0,
            gone_bytes: 0,
            filed: None,
            held_bytes: 0,
            cost: 0,
            share,
            phase: Phase::Keeping(Guests::Needed),
            readers: HashMap::new(),
            next_reader: 0,
            writer: None,
            looked: None,
        }))
    }

    /// A new reader at the beginning, unless the beginning has gone or may go.
    pub(super) fn enter(&self) -> Option<u64> {
        let mut state = self.lock();
        if !state.phase.is_open() {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, Place::default());
        Some(id)
    }

    /// Goes on without readers from now on.
    pub(super) fn stay(&self) {
        self.lock().phase.stay();
    }

    /// Takes so much of the memory for what is still to come, unless it has it already; false if that is not left.
    #[must_use]
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let missing = state.cost.saturating_add(bytes).saturating_sub(state.share.bytes());
        missing == 0 || state.share.grow(missing)
    }

    /// Adds a piece and wakes the readers that wait for it.
    pub(super) fn push(&self, piece: Bytes) {
        let mut state = self.lock();
        // Where it is kept that was done before; where it slides, what is not covered makes the next piece wait.
        let _covered = !state.phase.is_keeping() && state.share.grow(cost(&piece));
        state.held_bytes += piece.len() as u64;
        state.cost += cost(&piece);
        state.pieces.push_back(piece);
        state.forget_read();
        let wakers = state.waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The budget that its memory is taken from.
    pub(super) fn budget(&self) -> Arc<Budget> {
        self.lock().share.budget()
    }

    /// Bytes that have come.
    pub(super) fn come_bytes(&self) -> u64 {
        let state = self.lock();
        state.gone_bytes + state.held_bytes
    }

    /// The pieces that have come so far and are still held.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        self.lock().pieces.iter().cloned().collect()
    }

    /// All of the body is there.
    pub(super) fn end(&self) {
        self.enter_phase(Phase::ended);
    }

    /// The body will not be complete, unless it is already.
    pub(super) fn break_off(&self) {
        self.enter_phase(Phase::broken);
    }

    /// All of the body is there, and stored in this object: nothing of it is held here any more.
    pub(super) fn end_stored(&self, object: Arc<Object>) {
        let mut state = self.lock();
        state.move_to(object);
        let wakers = state.waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// It is not kept for this reason: it holds no piece from now on that every reader has read.
    pub(super) fn slide(&self, why: Unkept) {
        let mut state = self.lock();
        state.phase.slide(why);
        state.forget_read();
    }

    fn enter_phase(&self, next: impl FnOnce(&mut Phase)) {
        let mut state = self.lock();
        next(&mut state.phase);
        state.forget_read();
        let wakers = state.waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Why it is not kept, if that is decided.
    pub(super) fn unkept(&self) -> Option<Unkept> {
        self.lock().phase.unkept()
    }

    /// Lets the memory take its pieces back, by telling `holder`.
    pub(super) fn offer(&self, holder: Weak<dyn LetGo>) {
        let mut state = self.lock();
        if state.cost > 0 {
            state.share.offer(holder);
        }
    }

    /// Takes what it holds from its readers, unless it is being kept; how many they were.
    pub(super) fn let_go(&self) -> usize {
        let mut state = self.lock();
        state.share.withdraw();
        if state.phase.is_keeping() {
            return 0;
        }
        let (wakers, writer, readers) = (state.waiting(), state.writer.take(), state.readers.len());
        state.be_let_go();
        drop(state);
        wakers.into_iter().chain(writer).for_each(Waker::wake);
        readers
    }

    /// Ready when a sliding log has room for more; at once when it is being kept. Readers that are in the others' way
    /// for too long lose their place; `left_behind` is called for each.
    pub(super) async fn room(&self, clock: &Clock, mut left_behind: impl FnMut()) {
        let mut timer = None;
        poll_fn(|cx| {
            loop {
                let mut state = self.lock();
                if state.phase.is_keeping() {
                    return Poll::Ready(());
                }
                let (room, left) = state.look(clock.monotonic());
                if room != Room::Here {
                    state.writer = Some(cx.waker().clone());
                }
                drop(state);
                (0..left).for_each(|_| left_behind());
                timer = match room {
                    Room::Here => return Poll::Ready(()),
                    Room::WhenRead => None,
                    Room::Within(time) => Some(clock.timer(time)),
                };
                if timer.as_mut().is_none_or(|timer| Pin::new(timer).poll(cx).is_pending()) {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Ready when nobody reads any more; then nobody can begin to.
    pub(super) async fn deserted(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.readers.is_empty() && state.phase.desert() {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Ready when what this reader reads is stored, or will not be.
    pub(super) async fn settled(&self, reader: u64) {
        poll_fn(|cx| {
            let mut state = self.lock();
            let is_open = state.phase.is_open();
            match state.readers.get_mut(&reader) {
                Some(place) if is_open => {
                    place.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    pub(super) fn poll_next(
        &self,
        reader: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Next, BrokenOff>>> {
        let mut state = self.lock();
        let Some(place) = state.readers.get(&reader) else {
            let is_let_go = matches!(state.phase, Phase::LetGo { .. });
            let why = if is_let_go { BrokenOff::LetGo } else { BrokenOff::LeftBehind };
            return Poll::Ready(Some(Err(why)));
        };
        if matches!(state.phase, Phase::Stored(_)) {
            return Poll::Ready(state.next_stored(reader));
        }
        if let Some(next) = state.next_filed(place) {
            return Poll::Ready(Some(Ok(next)));
        }
        if let Some(piece) = state.pieces.get(place.next - state.gone).cloned() {
            let piece = piece.slice(place.skip..);
            let writer = state.advance(reader, piece.len());
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(Next::Piece(piece))));
        }
        match state.phase {
            Phase::Ended { .. } | Phase::Stored(_) => Poll::Ready(None),
            Phase::Broken { .. } => Poll::Ready(Some(Err(BrokenOff::AtOrigin))),
            Phase::Keeping(_) | Phase::Sliding { .. } | Phase::LetGo { .. } => {
                let writer = state.wait(reader, cx);
                drop(state);
                writer.into_iter().for_each(Waker::wake);
                Poll::Pending
            }
        }
    }

    pub(super) fn leave(&self, reader: u64) {
        let mut state = self.lock();
        state.readers.remove(&reader);
        state.forget_read();
        state.leave_stored();
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn be_let_go(&mut self) {
        self.phase = Phase::LetGo { unkept: self.phase.unkept() };
        self.readers.clear();
        self.forget_read();
    }

    fn waiting(&mut self) -> Vec<Waker> {
        self.readers.values_mut().filter_map(|place| place.waker.take()).collect()
    }

    /// The reader has taken a piece; the writer to wake if that made room.
    fn advance(&mut self, reader: u64, bytes: usize) -> Option<Waker> {
        let place = self.readers.get_mut(&reader).expect("looked up by the caller");
        (place.next, place.skip, place.at) = (place.next + 1, 0, place.at + bytes as u64);
        if self.phase.is_keeping() {
            return None;
        }
        self.forget_read();
        if self.has_room() { self.writer.take() } else { None }
    }

    /// The reader has read all there is; the writer to wake if somebody may be in this reader's way.
    fn wait(&mut self, reader: u64, cx: &Context<'_>) -> Option<Waker> {
        let place = self.readers.get_mut(&reader).expect("looked up by the caller");
        let waits_already = place.waker.replace(cx.waker().clone()).is_some();
        let may_be_held_up = !self.phase.is_keeping() && !self.has_room() && !waits_already;
        if may_be_held_up { self.writer.take() } else { None }
    }

    /// An uncovered piece goes before the next comes, unless readers would have to go in step.
    fn has_room(&self) -> bool {
        let may_fill = self.cost <= self.share.bytes() || self.readers.len() > 1;
        self.readers.is_empty() || self.pieces.is_empty() || may_fill && self.held_bytes < WINDOW_BYTES
    }

    /// Whether there is room, and how many readers were left behind for it.
    fn look(&mut self, now: Instant) -> (Room, usize) {
        let mut left = 0;
        loop {
            let patience = self.look_at_lags(now);
            match patience {
                _ if self.has_room() => return (Room::Here, left),
                None => return (Room::WhenRead, left),
                Some(Duration::ZERO) => left += self.leave_behind(),
                Some(time) => return (Room::Within(time), left),
            }
        }
    }

    /// Charges the time since the last look. How long those in the way may stay there; none if nobody is.
    fn look_at_lags(&mut self, now: Instant) -> Option<Duration> {
        let passed = self.looked.replace(now).map_or(Duration::ZERO, |looked| now - looked);
        let end = self.gone + self.pieces.len();
        let one_waits = !self.has_room() && self.readers.values().any(|place| place.waker.is_some());
        for place in self.readers.values_mut() {
            let in_the_way = one_waits && place.next < end;
            place.lag.look(passed, if in_the_way { Standing::InTheWay } else { Standing::Harmless });
        }
        self.readers.values().filter_map(|place| place.lag.patience()).min()
    }

    /// Takes their places from those that have no patience left; how many.
    fn leave_behind(&mut self) -> usize {
        let before = self.readers.len();
        self.readers.retain(|_, place| place.lag.patience() != Some(Duration::ZERO));
        self.forget_read();
        before - self.readers.len()
    }

    fn let_piece_go(&mut self, piece: &Bytes) {
        self.gone += 1;
        self.gone_bytes += piece.len() as u64;
        self.held_bytes -= piece.len() as u64;
        self.cost -= cost(piece);
    }

    fn forget_read(&mut self) {
        if self.phase.is_keeping() {
            return;
        }
        let behind = self.readers.values().map(|place| place.next).min().unwrap_or(usize::MAX);
        while self.gone < behind
            && let Some(piece) = self.pieces.pop_front()
        {
            self.let_piece_go(&piece);
        }
        self.share.shrink_to(self.cost);
    }
}

/// A piece's cost: its block and its bookkeeping, so that an origin that sends single bytes gains nothing.
pub(super) fn cost(piece: &Bytes) -> u64 {
    allocated(piece.len()) as u64 + PIECE_BYTES
}
