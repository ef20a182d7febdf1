//! A body as it arrives: appended once, read by many, each at its own pace.
//!
//! While it is being kept, pieces stay until the end and nobody waits for a slow reader. Once it has grown too big to
//! be kept it slides: pieces go when every reader has passed them, and the writer waits for the slowest.
//!
//! Invariant: no lock is held while a task is woken.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::fill::Fill;

/// The body of one fill.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// How many pieces have gone.
    gone: usize,
    held_bytes: usize,
    mode: Mode,
    end: Option<End>,
    readers: HashMap<u64, Place>,
    next_reader: u64,
    writer: Option<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Every piece stays, for readers that are still to come.
    #[default]
    Keeping,
    /// As keeping, and it does not end for want of readers.
    Staying,
    /// Pieces go once they are read; no new reader.
    Sliding,
    /// The last reader left before the end; no new reader.
    Deserted,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of it is there.
    Complete,
    /// It broke off.
    Broken,
}

/// Where one reader is.
#[derive(Debug, Default)]
struct Place {
    next: usize,
    waker: Option<Waker>,
}

/// The body broke off at the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the response broke off at the origin")
    }
}

impl std::error::Error for BrokenOff {}

/// A sliding log holds this much, so that a fast origin and a slow client both have something to do.
const WINDOW_BYTES: usize = 256 << 10;

impl Log {
    /// A new reader at the beginning, unless the beginning has gone.
    pub(super) fn enter(&self) -> Option<u64> {
        let mut state = self.lock();
        if matches!(state.mode, Mode::Sliding | Mode::Deserted) || state.end == Some(End::Broken) {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, Place::default());
        Some(id)
    }

    /// Goes on without readers from now on.
    pub(super) fn stay(&self) {
        self.lock().mode = Mode::Staying;
    }

    /// Adds a piece and wakes who waits for it.
    pub(super) fn push(&self, piece: Bytes) {
        let mut state = self.lock();
        state.held_bytes += piece.len();
        state.pieces.push_back(piece);
        state.forget_read();
        let wakers = state.waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Bytes that have come and are still held.
    pub(super) fn held_bytes(&self) -> u64 {
        self.lock().held_bytes as u64
    }

    /// What has come so far and is still held.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        self.lock().pieces.iter().cloned().collect()
    }

    /// All of the body is there.
    pub(super) fn end(&self) {
        self.end_as(End::Complete);
    }

    /// The body will not be complete, unless it is already.
    pub(super) fn break_off(&self) {
        self.end_as(End::Broken);
    }

    fn end_as(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        let wakers = state.waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Keeps no piece from now on that every reader has read.
    pub(super) fn slide(&self) {
        let mut state = self.lock();
        state.mode = Mode::Sliding;
        state.forget_read();
    }

    /// Ready when a sliding log has room for more; at once when it is being kept.
    pub(super) async fn room(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.mode != Mode::Sliding || state.held_bytes < WINDOW_BYTES || state.readers.is_empty() {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Ready when nobody reads any more; then nobody can begin to.
    pub(super) async fn deserted(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.readers.is_empty() && state.mode != Mode::Staying {
                state.mode = Mode::Deserted;
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn poll_next(&self, reader: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let mut state = self.lock();
        let next = state.readers.get(&reader).expect("a reader leaves when it is dropped").next;
        if let Some(piece) = state.pieces.get(next - state.gone).cloned() {
            let writer = state.advance(reader);
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(piece)));
        }
        match state.end {
            Some(End::Complete) => Poll::Ready(None),
            Some(End::Broken) => Poll::Ready(Some(Err(BrokenOff))),
            None => {
                let place = state.readers.get_mut(&reader).expect("looked up above");
                place.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn leave(&self, reader: u64) {
        let mut state = self.lock();
        state.readers.remove(&reader);
        state.forget_read();
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting(&mut self) -> Vec<Waker> {
        self.readers.values_mut().filter_map(|place| place.waker.take()).collect()
    }

    /// The reader has taken a piece; the writer to wake if that made room.
    fn advance(&mut self, reader: u64) -> Option<Waker> {
        self.readers.get_mut(&reader).expect("looked up by the caller").next += 1;
        if self.mode != Mode::Sliding {
            return None;
        }
        self.forget_read();
        if self.held_bytes < WINDOW_BYTES { self.writer.take() } else { None }
    }

    fn forget_read(&mut self) {
        if self.mode != Mode::Sliding {
            return;
        }
        let behind = self.readers.values().map(|place| place.next).min().unwrap_or(usize::MAX);
        while self.gone < behind
            && let Some(piece) = self.pieces.pop_front()
        {
            self.gone += 1;
            self.held_bytes -= piece.len();
        }
    }
}

/// One reader of a fill, counted from the moment it joins.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    id: u64,
}

impl Reader {
    pub(super) fn new(fill: Arc<Fill>) -> Option<Self> {
        let id = fill.log.enter()?;
        Some(Self { fill, id })
    }

    pub(super) fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// What only the request that caused the fetch may have.
    #[must_use]
    pub fn own(&self) -> Option<super::Own> {
        self.fill.take_own()
    }

    /// The next piece of the body.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        self.fill.log.poll_next(self.id, cx)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fill.log.leave(self.id);
    }
}
