//! A body that lies in a file, whichever disk has it, and its readers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::memory::{Budget, Share};
use super::recency::Recency;
use crate::site::key::Key;

/// A body in a file: one that is still being written, or a complete one.
pub trait InFile: fmt::Debug + Send + Sync {
    /// Bytes that can be read by now.
    fn bytes(&self) -> u64;

    /// The checksums of its chunks, as they lie in the file.
    fn sums(&self) -> Vec<u8>;

    /// Reads some bytes from `at` on, before `end`, in a task of its own.
    fn begin_read(self: Arc<Self>, at: u64, end: u64) -> JoinHandle<Result<Bytes, Unread>>;

    /// Whether its disk still holds the file.
    fn is_held(&self) -> bool;

    /// The origin confirmed it: it is of this birth and so recent from now on, and its head is that of this edition, which was written
    /// beside it. False if it is not held any more.
    fn renew(&self, birth: &Arc<u64>, recency: Recency, edition: u16) -> bool;

    /// Writes this head of the response of a key beside the file. It counts once [`InFile::renew`] says so, and until then the
    /// one before does.
    fn confirm(self: Arc<Self>, key: Key, head: Vec<u8>) -> Confirming;

    /// Its disk holds it no longer, and removes it; readers go on.
    fn let_go(&self);
}

/// A file beside a body's that is being written.
pub type Confirming = Pin<Box<dyn Future<Output = Confirmed> + Send>>;

/// The fate of the file beside a body's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It is there, as this edition of the file's head.
    Written(u16),
    /// It is as it was.
    Failed,
    /// Its disk has not answered in time: it may be there now, or later.
    Late,
}

/// The most that is read at once: so much memory a client takes that reads.
pub const READ_BYTES: u64 = 128 << 10;
/// The least: a chunk that has a checksum.
const CHUNK_BYTES: u64 = 64 << 10;
/// Readers of files may hold one part in so many of the budget: less than half, as beyond that nothing is looked up on disks,
/// and the rest is for what comes from origins.
const READERS_PART: u64 = 4;

/// Why no more of a body can be read.
#[derive(Debug)]
pub enum Unread {
    /// The file is not what was written.
    Changed,
    /// It has no more bytes.
    Ended,
    /// The system's error.
    Io(io::Error),
}

/// Reads one body for one client.
#[derive(Debug)]
pub struct FileReader {
    filed: Arc<dyn InFile>,
    reading: Option<JoinHandle<Result<Bytes, Unread>>>,
    /// So much is read at once.
    step: u64,
    /// For what it has read and not given out; empty where its connection has to have room for that.
    _share: Share,
}

impl FileReader {
    /// Of this body. Its memory is taken from the budget, as long as much is left: however many slow clients there are, what
    /// comes from origins can be kept. Beyond, it reads a chunk at a time, as much as a connection may hold of any body.
    #[must_use]
    pub fn new(filed: &Arc<dyn InFile>, budget: &Arc<Budget>) -> Self {
        let mut share = budget.share();
        let is_left = budget.taken_bytes().saturating_add(READ_BYTES) <= budget.limit_bytes() / READERS_PART;
        let step = if is_left && share.grow(READ_BYTES) { READ_BYTES } else { CHUNK_BYTES };
        Self { filed: Arc::clone(filed), reading: None, step, _share: share }
    }

    /// Some bytes from `at` on, before `end`, which must be there. The same place is asked for until it is ready.
    pub fn poll_at(&mut self, at: u64, end: u64, cx: &mut Context<'_>) -> Poll<Result<Bytes, Unread>> {
        let filed = &self.filed;
        let end = end.min((at / CHUNK_BYTES * CHUNK_BYTES).saturating_add(self.step));
        let reading = self.reading.get_or_insert_with(|| Arc::clone(filed).begin_read(at, end));
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(read.unwrap_or_else(|error| Err(Unread::Io(io::Error::other(error)))))
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("the file of this response is not what was written"),
            Self::Ended => f.write_str("the file of this response has no more bytes"),
            Self::Io(error) => write!(f, "cannot read the file of this response: {error}"),
        }
    }
}

impl std::error::Error for Unread {}
