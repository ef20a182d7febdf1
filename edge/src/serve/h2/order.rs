//! The order in which the answers of one connection go out: the more urgent first (RFC 9218 §10), of those that have
//! something to send and may send it.
//!
//! h2 sends a frame of each answer in turn. So it is given little at a time, and an answer waits here for its turn to give the
//! next piece. An answer that waits for the client's windows, or for its origin, keeps nobody waiting here.
//!
//! Invariant: as long as h2 holds bytes, their end wakes the answer that is first in the order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// h2 is given no more while it holds so many bytes of all answers of a connection: a write to the socket takes as many.
pub(super) const MOST_BYTES: usize = 64 << 10;
/// An answer gives so many at a time: a frame of the usual size.
pub(super) const PIECE_BYTES: usize = 16 << 10;

/// The answers of a connection that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Order(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Bytes that h2 holds.
    held: usize,
    /// Bytes that h2 held and has no more. It never shrinks.
    gone: u64,
    /// How many have come to wait.
    arrivals: u64,
    /// By urgency, then by arrival.
    waiting: BTreeMap<(u8, u64), Waker>,
}

/// The place of one answer.
#[derive(Debug)]
pub(super) struct Place {
    order: Arc<Order>,
    urgency: u8,
    /// Where it waits.
    at: Option<(u8, u64)>,
    /// As many bytes had gone when it last looked.
    gone: u64,
}

/// The events while an answer waited.
#[derive(Debug)]
pub(super) struct Turn {
    /// So many bytes of others have gone.
    pub(super) gone: usize,
    /// Whether it may give its own now.
    pub(super) held: Option<Held>,
}

/// Bytes that h2 holds, or is about to.
#[derive(Debug)]
pub(super) struct Held {
    order: Arc<Order>,
    bytes: usize,
}

impl Order {
    /// The place of an answer to a request with this urgency.
    pub(super) fn place(self: &Arc<Self>, urgency: u8) -> Place {
        Place { order: Arc::clone(self), urgency, at: None, gone: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Wakes the first, if there is room for its bytes.
    fn wake(&self) {
        if let Some((_, first)) = self.waiting.first_key_value()
            && self.held < MOST_BYTES
        {
            first.wake_by_ref();
        }
    }
}

impl Place {
    /// Ready when the answer may give h2 so many bytes, or bytes of others have gone since the last look.
    pub(super) fn poll(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut state = self.order.state();
        let at = self.at.unwrap_or_else(|| {
            state.arrivals += 1;
            self.gone = state.gone;
            (self.urgency, state.arrivals)
        });
        let gone = state.gone - std::mem::replace(&mut self.gone, state.gone);
        let gone = usize::try_from(gone).unwrap_or(usize::MAX);
        let is_first = state.waiting.range(..at).next().is_none();
        if is_first && state.held < MOST_BYTES {
            state.held += bytes;
            state.waiting.remove(&at);
            self.at = None;
            state.wake();
            let held = Some(Held { order: Arc::clone(&self.order), bytes });
            return Poll::Ready(Turn { gone, held });
        }
        state.waiting.insert(at, cx.waker().clone());
        self.at = Some(at);
        if gone == 0 { Poll::Pending } else { Poll::Ready(Turn { gone, held: None }) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            let mut state = self.order.state();
            state.waiting.remove(&at);
            state.wake();
        }
    }
}

impl Held {
    /// Counts as held until these bytes, which are as many, are let go of.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        debug_assert_eq!(bytes.len(), self.bytes);
        Bytes::from_owner(Piece { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.order.state();
        state.held -= self.bytes;
        state.gone += self.bytes as u64;
        state.wake();
    }
}

struct Piece {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that an answer has given, if it had a turn; whose bytes went else.
    fn poll(place: &mut Place, bytes: usize) -> Result<Bytes, Option<usize>> {
        match place.poll(bytes, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Turn { held: Some(held), .. }) => Ok(held.hold(vec![b'x'; bytes].into())),
            Poll::Ready(Turn { gone, held: None }) => Err(Some(gone)),
            Poll::Pending => Err(None),
        }
    }

    #[test]
    fn the_most_urgent_of_those_that_wait_gives_the_next_piece() {
        let order = Arc::new(Order::default());
        let [mut late, mut usual, mut other, mut urgent] = [7, 3, 3, 0].map(|urgency| order.place(urgency));
        let first = poll(&mut late, MOST_BYTES).unwrap();
        assert_eq!(first.len(), MOST_BYTES);
        for place in [&mut late, &mut usual, &mut other, &mut urgent] {
            assert_eq!(poll(place, PIECE_BYTES), Err(None), "h2 holds enough");
        }
        drop(first);
        assert_eq!(poll(&mut late, PIECE_BYTES), Err(Some(MOST_BYTES)), "it is told of others' bytes once");
        assert_eq!(poll(&mut late, PIECE_BYTES), Err(None));
        assert_eq!(poll(&mut other, PIECE_BYTES), Err(Some(MOST_BYTES)));
        let all = poll(&mut urgent, PIECE_BYTES).unwrap();
        assert_eq!(poll(&mut other, PIECE_BYTES), Err(None), "one as urgent came before it");
        let more = poll(&mut usual, PIECE_BYTES).unwrap();
        // It has more, and comes behind the other one.
        let rest = [poll(&mut other, PIECE_BYTES).unwrap(), poll(&mut late, PIECE_BYTES).unwrap()];
        assert_eq!(poll(&mut urgent, PIECE_BYTES), Err(None), "h2 holds enough again");
        drop((all, more, rest));
        assert!(poll(&mut usual, PIECE_BYTES).is_err(), "the urgent one waits");
        drop(urgent);
        assert!(poll(&mut usual, PIECE_BYTES).is_ok());
    }
}
