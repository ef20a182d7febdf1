//! Bytes of a stored object and of our own, one segment after another.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::SendError;
use super::rest::{Coming, Rest};
use crate::flight::log::BrokenOff;
use crate::store::{FileReader, Gone, Object, Reading, Unread};

/// Bytes of an object and of our own, one segment after another.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) object: Reading,
    pub(super) segments: VecDeque<Segment>,
    pub(super) left: u64,
    /// For a body that lies in a file.
    pub(super) file: Option<FileReader>,
    /// Where that cannot be read.
    pub(super) rest: Option<Rest>,
}

#[derive(Debug)]
pub(super) enum Segment {
    /// The bytes between two parts.
    Own(Bytes),
    /// A window on the object's body from this piece on.
    Object { piece: usize, window: Window },
    /// The same, which is not to be had from its file.
    Elsewhere(Box<Coming>),
}

/// The bytes still to be left out, then the bytes still to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) skip: u64,
    pub(super) left: u64,
}

impl Window {
    pub(super) fn cut(&mut self, piece: &Bytes) -> Bytes {
        let skip = self.skip.min(piece.len() as u64);
        self.skip -= skip;
        let take = self.left.min(piece.len() as u64 - skip);
        self.left -= take;
        let (from, to) = (small(skip), small(skip + take));
        piece.slice(from..to)
    }

    /// The next bytes of it in a file, none at its end.
    fn poll_file(
        &mut self,
        file: &mut FileReader,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SendError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let read = ready!(file.poll_at(self.skip, self.skip + self.left, cx)).inspect(|bytes| {
            self.skip += bytes.len() as u64;
            self.left -= bytes.len() as u64;
        });
        Poll::Ready(Some(read.map_err(SendError::File)))
    }
}

fn small(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset into a piece in memory")
}

impl Stored {
    pub(super) async fn begins(&mut self) -> bool {
        let (Some(file), Some(Segment::Object { window, .. })) = (&mut self.file, self.segments.front_mut())
        else {
            return true;
        };
        let read = poll_fn(|cx| window.poll_file(file, cx)).await;
        if let Some(Ok(bytes)) = read {
            self.segments.push_front(Segment::Own(bytes));
            return true;
        }
        read.is_none()
    }

    /// Has the part that cannot be read in the file come from elsewhere, if that is known.
    fn go_on(&mut self, why: Unread) -> Result<(), SendError> {
        match (&self.rest, self.segments.front_mut()) {
            (Some(rest), Some(segment @ Segment::Object { .. })) => {
                let (first, bytes) = segment.place();
                *segment = Segment::Elsewhere(rest.ask(first, bytes, why));
                Ok(())
            }
            _ => Err(SendError::File(why)),
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SendError>>> {
        loop {
            let Some(segment) = self.segments.front_mut() else { return Poll::Ready(None) };
            let next = match (&mut self.file, segment) {
                (_, Segment::Elsewhere(coming)) => {
                    let next = ready!(coming.poll_next(cx));
                    if let Some(Err(error)) = next {
                        return Poll::Ready(Some(Err(error)));
                    }
                    next
                }
                (Some(file), Segment::Object { window, .. }) => ready!(window.poll_file(file, cx)),
                (_, segment) => {
                    let gone = |Gone| SendError::Fill(BrokenOff::LetGo);
                    segment.next(&self.object).map(|piece| piece.map_err(gone))
                }
            };
            match next {
                Some(Ok(bytes)) if !bytes.is_empty() => {
                    self.left -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Err(SendError::File(why))) => {
                    if let Err(error) = self.go_on(why) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(_)) | None => drop(self.segments.pop_front()),
            }
        }
    }
}

impl Segment {
    pub(super) fn window(first: u64, length: u64) -> Self {
        Self::Object { piece: 0, window: Window { skip: first, left: length } }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Own(bytes) => bytes.len() as u64,
            Self::Object { window, .. } => window.left,
            Self::Elsewhere(coming) => coming.bytes(),
        }
    }

    /// The first byte of the whole body that is still to be sent of it, where it is a window on a file, and how many are.
    fn place(&self) -> (u64, u64) {
        match self {
            Self::Object { window, .. } => (window.skip, window.left),
            Self::Own(_) | Self::Elsewhere(_) => (0, 0),
        }
    }

    /// The next bytes of it, none at its end.
    fn next(&mut self, object: &Object) -> Option<Result<Bytes, Gone>> {
        match self {
            Self::Own(bytes) => Some(Ok(std::mem::take(bytes))),
            // It comes by itself.
            Self::Elsewhere(_) => None,
            Self::Object { piece, window } => {
                while window.left > 0 {
                    let whole = match object.body.piece(*piece)? {
                        Ok(whole) => whole,
                        Err(gone) => return Some(Err(gone)),
                    };
                    *piece += 1;
                    let bytes = window.cut(&whole);
                    if !bytes.is_empty() {
                        return Some(Ok(bytes));
                    }
                }
                None
            }
        }
    }
}
