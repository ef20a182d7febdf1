//! The access log: one line for each request, written once its answer has ended.
//!
//! ```text
//! Seen ─▶ Line (its gaps are filled at the answer's end) ─▶ Rings (a bounded buffer a thread) ─▶ thread ─▶ Place
//! ```
//!
//! A program that does not start it has none, and pays for none.

mod field;
mod line;
mod place;
mod ring;
mod stamp;

use std::cell::Cell;
use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

pub use field::{Field, Format, Shape};
use line::Line;
pub(crate) use line::Seen;
pub use place::Place;
use ring::Rings;

use crate::clock::monotonic;

/// Which requests get a line, how it looks and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// One request of so many gets a line.
    pub sample: NonZeroU32,
    /// How lines look.
    pub format: Format,
    /// Where they go.
    pub to: Place,
}

#[derive(Debug)]
struct AccessLog {
    settings: Settings,
    rings: Rings,
    reopen: Arc<AtomicBool>,
}

static LOG: OnceLock<AccessLog> = OnceLock::new();

thread_local! {
    /// Requests of this thread without a line since the last one with a line.
    static PASSED: Cell<u32> = const { Cell::new(0) };
}

/// Starts it. A program does this once.
///
/// # Errors
/// When its file cannot be opened, or there is no journal or no thread to be had.
pub fn start(settings: Settings) -> io::Result<()> {
    let (rings, reopen) = (Rings::default(), Arc::new(AtomicBool::new(false)));
    let mut open = settings.to.open(Arc::clone(&reopen))?;
    rings.write_to(move |lines| open.put(lines))?;
    let started = LOG.set(AccessLog { settings, rings, reopen });
    started.map_err(|_| io::Error::other("the access log was started twice"))
}

/// Opens its file anew with the next line. Whether it has a file.
pub fn reopen() -> bool {
    let named = LOG.get().filter(|log| matches!(log.settings.to, Place::File(_)));
    named.is_some_and(|log| {
        log.reopen.store(true, Ordering::Relaxed);
        true
    })
}

/// Lines that could not be written since the program started.
#[must_use]
pub fn lines_lost() -> u64 {
    LOG.get().map_or(0, |log| log.rings.lost())
}

/// Waits until all lines are written, but not longer than `limit`.
pub(super) fn flush(limit: Duration) {
    LOG.get().iter().for_each(|log| log.rings.flush(limit));
}

/// A request's line under way: dropped when its answer has ended, it is added to the log.
#[derive(Debug)]
pub(crate) struct Pending {
    line: Option<Line>,
    began: Instant,
    bytes: u64,
}

impl Pending {
    /// The line of a request whose head was there when it `began`; none without a log, or if it is not in the sample.
    pub(crate) fn new<'a>(began: Instant, seen: impl FnOnce() -> Seen<'a>) -> Option<Self> {
        let AccessLog { settings, .. } = LOG.get()?;
        is_in_sample(settings.sample).then(|| {
            let line = Line::new(&settings.format, &seen());
            Self { line: Some(line), began, bytes: 0 }
        })
    }

    /// So many bytes of the answer's body went to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let (Some(line), Some(log)) = (self.line.take(), LOG.get()) {
            let total = monotonic().saturating_duration_since(self.began);
            line.end(self.bytes, total, |line| log.rings.add(line));
        }
    }
}

/// The first of each so many requests of a thread.
fn is_in_sample(sample: NonZeroU32) -> bool {
    PASSED.with(|passed| {
        let before = passed.get();
        passed.set((before + 1) % sample.get());
        before == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_one_request_of_so_many() {
        let count = |sample| (0..1_000).filter(|_| is_in_sample(NonZeroU32::new(sample).unwrap())).count();
        assert_eq!([1, 10, 100].map(count), [1_000, 100, 10]);
    }
}
