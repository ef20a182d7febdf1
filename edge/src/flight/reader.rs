//! One reader of a fill: the right to read its log, for as long as it lives.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::fill::Fill;
use super::log::{BrokenOff, Next, Unkept};
use super::verdict::Own;
use crate::course::Course;
use crate::store::{FileReader, Unread};

/// One reader of a fill, counted from the moment it joins.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    id: u64,
    /// For what it reads of a file that the body is written to.
    file: Option<FileReader>,
}

impl Reader {
    /// The first reader of a fill that has just begun.
    pub(super) fn first(fill: Fill) -> Self {
        Self::join(&Arc::new(fill)).expect("a new log takes readers")
    }

    /// Another reader; none if the log takes no more.
    pub(super) fn join(fill: &Arc<Fill>) -> Option<Self> {
        let id = fill.log.enter()?;
        Some(Self { fill: Arc::clone(fill), id, file: None })
    }

    pub(super) fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// The events of the fetch on its way to the origins.
    #[must_use]
    pub fn course(&self) -> &Course {
        &self.fill.course
    }

    /// The part that only the request that caused the fetch may have.
    #[must_use]
    pub fn own(&self) -> Option<Own> {
        self.fill.take_own()
    }

    /// Why the body is not kept, if that is decided.
    #[must_use]
    pub fn unkept(&self) -> Option<Unkept> {
        self.fill.log.unkept()
    }

    /// Waits until the body is stored, or will not be: it has ended, or is too big.
    pub async fn settled(&self) {
        self.fill.log.settled(self.id).await;
    }

    /// Leaves out what is before this byte of the body; false if that is not there in a file.
    #[must_use]
    pub fn skip_to(&mut self, at: u64) -> bool {
        self.fill.log.skip_to(self.id, at)
    }

    /// The next piece of the body.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Unfinished>>> {
        match ready!(self.fill.log.poll_next(self.id, cx)) {
            None => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(Unfinished::Fill(broken)))),
            Some(Ok(Next::Piece(piece))) => {
                // It has read all that was in the file.
                self.file = None;
                Poll::Ready(Some(Ok(piece)))
            }
            Some(Ok(Next::File { filed, at, end })) => {
                let budget = self.fill.log.budget();
                let file = self.file.get_or_insert_with(|| FileReader::new(&filed, &budget));
                let read = ready!(file.poll_at(at, end, cx));
                if let Ok(bytes) = &read {
                    self.fill.log.has_read(self.id, at + bytes.len() as u64);
                }
                Poll::Ready(Some(read.map_err(Unfinished::File)))
            }
        }
    }
}

/// Why a reader does not get all of a body.
#[derive(Debug)]
pub enum Unfinished {
    /// The fill ended, or left it behind.
    Fill(BrokenOff),
    /// The file that it is written to cannot be read.
    File(Unread),
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fill.log.leave(self.id);
    }
}
