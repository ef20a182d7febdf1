//! One reader of a fill: the right to read its log, for as long as it lives.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::fill::Fill;
use super::log::{BrokenOff, Unkept};
use super::verdict::Own;

/// One reader of a fill, counted from the moment it joins.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    id: u64,
}

impl Reader {
    /// The first reader of a fill that has just begun.
    pub(super) fn first(fill: Fill) -> Self {
        Self::join(&Arc::new(fill)).expect("a new log takes readers")
    }

    /// Another reader; none if the log takes no more.
    pub(super) fn join(fill: &Arc<Fill>) -> Option<Self> {
        let id = fill.log.enter()?;
        Some(Self { fill: Arc::clone(fill), id })
    }

    pub(super) fn fill(&self) -> &Arc<Fill> {
        &self.fill
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
