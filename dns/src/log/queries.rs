//! The query log: a sample of the questions, as events of the target `verge_dns::queries`, and all of them for those who
//! read along (`verge-dns tail`).
//!
//! Invariant: no answer waits for it. Lines go the way of all events, and a reader who is slow loses some.
//! Invariant: a name that only the inside has is not written unless the config says so, whichever side asks for it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::config::Queries;

/// Lines that wait for the slowest reader; it loses older ones.
const WAITING: usize = 1024;

/// One question of so many is logged; 0: none is.
static SAMPLE: AtomicU32 = AtomicU32::new(0);
static PRIVATE_NAMES: AtomicBool = AtomicBool::new(false);
static READERS: AtomicUsize = AtomicUsize::new(0);
static LINES: LazyLock<Sender<Arc<Question>>> = LazyLock::new(|| broadcast::channel(WAITING).0);

thread_local! {
    /// Questions of this thread that were not logged since the last one that was.
    static PASSED: Cell<u32> = const { Cell::new(0) };
}

/// A question and its answer's code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// The client's address.
    pub(crate) client: String,
    /// `udp`, `tcp`, `tls`, `https` or `quic`.
    pub(crate) transport: String,
    /// The view that answered: `outside` or `inside`.
    pub(crate) view: String,
    /// The zone; none if it fell into none, or if it is withheld.
    pub(crate) zone: Option<String>,
    /// The name asked for; none if it could not be read, or if it is withheld.
    pub(crate) name: Option<String>,
    /// The type asked for.
    #[serde(rename = "type")]
    pub(crate) rtype: Option<String>,
    /// The response code.
    pub(crate) rcode: String,
    /// Whether the client was told to come back by TCP.
    pub(crate) truncated: bool,
}

/// Which questions are logged from now on.
pub(crate) fn obey(settings: Option<&Queries>) {
    PRIVATE_NAMES.store(settings.is_some_and(|queries| queries.private_names), Ordering::Relaxed);
    SAMPLE.store(settings.map_or(0, |queries| queries.sample.get()), Ordering::Relaxed);
}

/// Whether names that only the inside has are written.
pub(crate) fn has_private_names() -> bool {
    PRIVATE_NAMES.load(Ordering::Relaxed)
}

/// Whether this question is wanted: by the log, and by a reader.
pub(crate) fn wanted() -> (bool, bool) {
    let is_read = READERS.load(Ordering::Relaxed) > 0;
    match SAMPLE.load(Ordering::Relaxed) {
        0 => (false, is_read),
        sample => (is_in_sample(sample), is_read),
    }
}

/// The first of each so many questions of a thread.
fn is_in_sample(sample: u32) -> bool {
    PASSED.with(|passed| {
        let before = passed.get();
        passed.set((before + 1) % sample);
        before == 0
    })
}

/// Tells of a question those who want it.
pub(crate) fn tell(question: Question, (is_logged, is_read): (bool, bool)) {
    if is_logged {
        let Question { client, transport, view, zone, name, rtype, rcode, truncated, .. } = &question;
        tracing::info!(target: "verge_dns::queries", client, transport, view, zone, name, rtype, rcode, truncated, "answered");
    }
    if is_read {
        // It fails if nobody reads any more.
        let _ = LINES.send(Arc::new(question));
    }
}

/// A reader, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader(Receiver<Arc<Question>>);

/// The next event for a reader.
#[derive(Debug)]
pub(crate) enum Next {
    Question(Arc<Question>),
    /// So many were lost.
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
            Ok(question) => Next::Question(question),
            Err(RecvError::Lagged(questions)) => Next::Lost(questions),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_one_question_of_so_many() {
        let count = |sample| (0..1_000).filter(|_| is_in_sample(sample)).count();
        assert_eq!([1, 10, 100].map(count), [1_000, 100, 10]);
    }
}
