//! The right to change the files that outlast a restart. A process that is taken over gives it up.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Files that are written at once, at most.
const MOST: u32 = 1 << 16;

/// Shared by all that write beside the loader, which is told to pause.
#[derive(Clone, Debug)]
pub(super) struct Pen(Arc<Semaphore>);

/// Somebody writes, or nobody may.
#[derive(Debug)]
pub(super) struct Writing(#[expect(dead_code, reason = "it is held, not looked at")] OwnedSemaphorePermit);

impl Default for Pen {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST as usize)))
    }
}

impl Pen {
    /// Waits while it is taken away; for ever if that is for good.
    pub(super) async fn take(&self) -> Writing {
        match Arc::clone(&self.0).acquire_owned().await {
            Ok(permit) => Writing(permit),
            Err(_) => std::future::pending().await,
        }
    }

    /// None while it is taken away.
    pub(super) fn try_take(&self) -> Option<Writing> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Writing)
    }

    /// Waits until nobody writes; nobody does while what this returns is held.
    pub(super) async fn take_away(&self) -> Writing {
        match Arc::clone(&self.0).acquire_many_owned(MOST).await {
            Ok(permit) => Writing(permit),
            Err(_) => std::future::pending().await,
        }
    }

    /// From now on nobody begins to write.
    pub(super) fn break_off(&self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_writes_while_it_is_taken_away_and_never_again_once_it_is_broken() {
        let pen = Pen::default();
        let writing = pen.take().await;
        let mut taken = Box::pin(pen.take_away());
        assert!(at_once(&mut taken).await.is_none(), "somebody writes");
        drop(writing);
        let taken = taken.await;
        assert!(pen.try_take().is_none());
        drop(taken);
        assert!(pen.try_take().is_some());
        pen.break_off();
        assert!(pen.try_take().is_none());
        assert!(at_once(&mut Box::pin(pen.take())).await.is_none());
    }

    /// The output of a future that is ready at once.
    async fn at_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
