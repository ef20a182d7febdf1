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
pub(crate) mod tap;

use std::cell::Cell;
use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

pub use field::{Field, Format, Shape};
pub(crate) use line::Seen;
use line::{End, Line};
pub use place::Place;
use ring::Rings;

use crate::clock::monotonic;
use crate::course::{Course, Event, Events};

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

impl Drop for AccessLog {
    /// One that has taken no other's place has a thread as well.
    fn drop(&mut self) {
        self.rings.end();
    }
}

/// Whether the program has one, or might have.
static IS_STARTED: AtomicBool = AtomicBool::new(false);
/// The log that new lines go to.
static LOG: ArcSwapOption<AccessLog> = ArcSwapOption::const_empty();
/// Logs that others took the place of, the oldest first: answers that began before then still end.
static BEFORE: Mutex<Vec<Arc<AccessLog>>> = Mutex::new(Vec::new());
/// Lines that logs could not write which are forgotten.
static LOST_BEFORE: AtomicU64 = AtomicU64::new(0);
/// An answer that lasts longer than this many changes of the log has its line in the log of then.
const MOST_BEFORE: usize = 4;

thread_local! {
    /// Requests of this thread without a line since the last one with a line.
    static PASSED: Cell<u32> = const { Cell::new(0) };
}

/// A log that can take the place of the one before; see [`put`].
#[derive(Debug)]
pub struct Ready(Next);

#[derive(Debug)]
enum Next {
    /// It is to be as it is.
    Same,
    Off,
    Log(Arc<AccessLog>),
}

/// Starts it; off without settings. A program does this once, and may change it later. One that does not has no log.
///
/// # Errors
/// As [`prepare`].
pub fn start(settings: Option<&Settings>) -> io::Result<()> {
    IS_STARTED.store(true, Ordering::Relaxed);
    prepare(settings).map(put)
}

/// Opens the log that `settings` ask for, if it is another one; no lines are written yet.
///
/// # Errors
/// When its file cannot be opened, or there is no journal or no thread to be had.
pub fn prepare(settings: Option<&Settings>) -> io::Result<Ready> {
    let is_same = LOG.load().as_ref().map(|log| &log.settings) == settings;
    if is_same || !IS_STARTED.load(Ordering::Relaxed) {
        return Ok(Ready(Next::Same));
    }
    let Some(settings) = settings else { return Ok(Ready(Next::Off)) };
    let (rings, reopen) = (Rings::default(), Arc::new(AtomicBool::new(false)));
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot write the access log to {}: {error}", settings.to))
    };
    let mut open = settings.to.open(Arc::clone(&reopen)).map_err(named)?;
    rings.write_to(move |lines| open.put(lines))?;
    Ok(Ready(Next::Log(Arc::new(AccessLog { settings: settings.clone(), rings, reopen }))))
}

/// Requests that begin from now on have their lines there.
pub fn put(ready: Ready) {
    let next = match ready.0 {
        Next::Same => return,
        Next::Off => None,
        Next::Log(log) => Some(log),
    };
    // Held throughout, so that an answer that ends meanwhile finds its log in one of the two places.
    let mut before = before();
    before.extend(LOG.swap(next));
    if before.len() > MOST_BEFORE {
        let oldest = before.remove(0);
        oldest.rings.end();
        LOST_BEFORE.fetch_add(oldest.rings.lost(), Ordering::Relaxed);
    }
}

fn before() -> MutexGuard<'static, Vec<Arc<AccessLog>>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens its file anew with the next line. Whether it has a file.
pub fn reopen() -> bool {
    let log = LOG.load();
    let named = log.as_ref().filter(|log| matches!(log.settings.to, Place::File(_)));
    named.is_some_and(|log| {
        log.reopen.store(true, Ordering::Relaxed);
        true
    })
}

/// Lines that could not be written since the program started.
#[must_use]
pub fn lines_lost() -> u64 {
    let before = before();
    let known = before.iter().chain(LOG.load().as_ref()).map(|log| log.rings.lost()).sum::<u64>();
    known + LOST_BEFORE.load(Ordering::Relaxed)
}

/// Waits until all lines are written, but not longer than `limit`.
pub(super) fn flush(limit: Duration) {
    let mut logs = before().clone();
    logs.extend(LOG.load_full());
    logs.iter().for_each(|log| log.rings.flush(limit));
}

/// A request's line under way: dropped when its answer has ended, it is added to the log.
#[derive(Debug)]
pub(crate) struct Pending {
    line: Option<Line>,
    /// For those who read along.
    told: Option<Line>,
    /// Tells its log from others; it is compared and nothing else.
    log: usize,
    began: Instant,
    bytes: u64,
    /// Of the fetch that answers it.
    course: Option<Course>,
    is_cut: bool,
}

impl Pending {
    /// The line of a request whose head was there when it `began`; none without a log, or if it is not in the sample.
    pub(crate) fn new<'a>(began: Instant, seen: impl FnOnce() -> Seen<'a>) -> Option<Self> {
        let log = LOG.load();
        let log = log.as_ref().filter(|log| is_in_sample(log.settings.sample));
        let is_watched = tap::is_watched();
        if log.is_none() && !is_watched {
            return None;
        }
        let seen = seen();
        Some(Self {
            line: log.map(|log| Line::new(&log.settings.format, &seen)),
            told: is_watched.then(|| Line::new(&Format::json(), &seen)),
            log: log.map_or(0, place_of),
            began,
            bytes: 0,
            course: seen.course.cloned(),
            is_cut: false,
        })
    }

    /// So many bytes of the answer's body went to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// No more of it can be sent, although that is not all.
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    fn end(&self) -> End {
        let so_far = self.course.as_ref().map_or(Events::NONE, Course::events);
        let events = if self.is_cut { so_far.with(Event::Cut) } else { so_far };
        let total = monotonic().saturating_duration_since(self.began);
        End { bytes: self.bytes, total, events }
    }
}

fn place_of(log: &Arc<AccessLog>) -> usize {
    Arc::as_ptr(log).addr()
}

impl Drop for Pending {
    fn drop(&mut self) {
        let end = self.end();
        if let Some(told) = self.told.take() {
            told.end(&end, tap::tell);
        }
        let Some(line) = self.line.take() else { return };
        let now = LOG.load();
        if let Some(log) = now.as_ref().filter(|log| place_of(log) == self.log) {
            return line.end(&end, |line| log.rings.add(line));
        }
        let own = before().iter().find(|log| place_of(log) == self.log).cloned();
        if let Some(log) = own.as_ref().or(now.as_ref()) {
            line.end(&end, |line| log.rings.add(line));
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
