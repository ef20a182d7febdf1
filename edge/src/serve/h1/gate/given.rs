//! An answer that is given in the gate, and its way to the client.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::head::Plain;

/// Answers requests before the server sees them.
pub trait Direct: Unpin {
    /// The part of an answer that is not yet written.
    type Rest: Rest;

    /// Appends an answer to `out`, or leaves it as it is.
    fn answer(&mut self, head: &Plain<'_>, out: &mut Vec<u8>) -> Given<Self::Rest>;

    /// The same for bytes that begin a head and were not read yet, where the head is known from before: how many bytes it
    /// has, and the answer.
    fn answer_known(&mut self, _: &[u8], _: &mut Vec<u8>) -> Option<(usize, Given<Self::Rest>)> {
        None
    }
}

/// The rest of an answer behind the bytes that are written already. It is dropped when all of it is sent, or the client has
/// gone.
pub trait Rest: Unpin {
    /// The next bytes of it; none at its end.
    ///
    /// # Errors
    /// When it breaks off: the connection must end, so that the client sees it is not whole.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;
}

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<R> {
    /// None: the server has to answer.
    Nothing,
    /// All of it is written.
    All,
    /// This is still to come.
    Begun(R),
}

/// No request is answered in the gate.
#[derive(Debug, Clone, Copy)]
pub enum Never {}

impl Direct for Never {
    type Rest = Self;

    fn answer(&mut self, _: &Plain<'_>, _: &mut Vec<u8>) -> Given<Self> {
        match *self {}
    }
}

impl Rest for Never {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match *self {}
    }
}

/// The end of a stretch of a connection without a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// There is something that only the server can see to.
    Server,
    /// The client has left: the connection is to be closed.
    Close,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Outgoing<R> {
    /// Taken from the rest, or written by [`Direct::answer`].
    queue: VecDeque<Bytes>,
    rest: Option<R>,
    /// Whether all of the rest was taken.
    is_taken: bool,
}

/// Pieces of a body in one write.
const MAX_SLICES: usize = 16;

impl<R> Outgoing<R> {
    /// With all of its body still to come.
    pub(super) fn new(rest: R) -> Self {
        Self { queue: VecDeque::new(), rest: Some(rest), is_taken: false }
    }

    /// These bytes are left of it.
    pub(super) fn left(bytes: &[u8]) -> Self {
        Self { queue: VecDeque::from([Bytes::copy_from_slice(bytes)]), rest: None, is_taken: true }
    }

    /// These bytes are left of what was to go before it.
    pub(super) fn put_first(&mut self, bytes: &[u8]) {
        self.queue.push_front(Bytes::copy_from_slice(bytes));
    }

    /// So many bytes at the start have gone.
    pub(super) fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.queue.front_mut() {
            if written < first.len() {
                return first.advance(written);
            }
            written -= first.len();
            self.queue.pop_front();
        }
    }
}

impl<R: Rest> Outgoing<R> {
    /// Whether all of it has gone. Ready when that is known: there is something to write, or nothing any more.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.queue.len() < MAX_SLICES
            && !self.is_taken
            && let Some(rest) = &mut self.rest
        {
            match rest.poll_next(cx) {
                Poll::Ready(Some(piece)) => self.queue.push_back(piece?),
                Poll::Ready(None) => self.is_taken = true,
                Poll::Pending if self.queue.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(self.queue.is_empty()))
    }

    /// Writes `first` and what is at hand, by one call.
    pub(super) fn poll_write(
        &self,
        io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
        first: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 1 + MAX_SLICES];
        let pieces = iter::once(first).chain(self.queue.iter().map(|piece| &piece[..]));
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(pieces.filter(|bytes| !bytes.is_empty())) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        io.poll_write_vectored(cx, &slices[..count])
    }
}
