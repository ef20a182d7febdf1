//! Lines for readers of now, beside the log and without it: a bounded queue whose slow readers lose lines.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// Lines that wait for the slowest reader; it loses older ones.
const WAITING: usize = 1024;

static LINES: LazyLock<Sender<Arc<[u8]>>> = LazyLock::new(|| broadcast::channel(WAITING).0);
static READERS: AtomicUsize = AtomicUsize::new(0);

/// A reader, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader(Receiver<Arc<[u8]>>);

/// The next event for a reader.
#[derive(Debug)]
pub(crate) enum Next {
    /// The line of a request, with its line end.
    Line(Arc<[u8]>),
    /// So many lines were lost.
    Lost(u64),
}

/// Reads along from now on.
pub(crate) fn watch() -> Reader {
    let lines = LINES.subscribe();
    READERS.fetch_add(1, Ordering::Relaxed);
    Reader(lines)
}

impl Reader {
    pub(crate) async fn next(&mut self) -> Next {
        match self.0.recv().await {
            Ok(line) => Next::Line(line),
            Err(RecvError::Lagged(lines)) => Next::Lost(lines),
            // The sender is never dropped.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether somebody reads along.
pub(super) fn is_watched() -> bool {
    READERS.load(Ordering::Relaxed) > 0
}

pub(super) fn tell(line: &[u8]) {
    // It fails if nobody reads any more.
    let _ = LINES.send(line.into());
}
