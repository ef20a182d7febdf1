//! The program's log: lines to stderr, written by a thread of their own.
//!
//! Requests have a log of their own ([`access`]).
//!
//! ```text
//! tracing ─▶ Lines (a bounded buffer) ─▶ thread ─▶ stderr, or the journal behind it
//! ```
//!
//! Invariant: nothing about the log decides about an answer. A thread that logs never waits for the disk or for the
//! reader of a pipe, and never fails: lines that cannot be written are lost and counted.

pub mod access;
mod journal;
mod lines;
pub mod recent;
mod sink;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use self::journal::Journal;
use self::lines::Lines;
use crate::config::{Level, LogFormat};

/// How long the end of the program waits for the last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();
/// Which events are logged; none as long as there is no log, or if the variable RUST_LOG says which.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// The log until it is dropped; then the lines that wait are written, for a second at most.
#[derive(Debug)]
pub struct Log(());

/// Where the level of a log comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelOf {
    /// The config: [`obey`] may change it.
    Config,
    /// The variable RUST_LOG, which goes before the config.
    Variable,
}

/// Sends events and panics to stderr, or as entries to the journal if stderr leads there. A program does this once.
///
/// # Errors
/// When there is no stderr, or no thread to be had.
pub fn start(format: LogFormat, level: &Level, of: LevelOf) -> io::Result<Log> {
    // A descriptor of its own: a write that hangs must not hold the lock of `io::stderr`.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let lines = LINES.get_or_init(Lines::default);
    let journal = (format == LogFormat::Human).then(|| Journal::of(&stderr)).flatten();
    let is_journal = journal.is_some();
    match journal {
        Some(journal) => lines.clone().write_to(journal)?,
        None => lines.clone().write_to(stderr)?,
    }
    let (filter, handle) = reload::Layer::new(targets(level));
    if of == LevelOf::Config {
        // It is empty: the program starts one log.
        let _ = LEVEL.set(handle);
    }
    let events = tracing_subscriber::registry().with(filter).with(recent::Recent);
    let writer = || LINES.get().expect("it was set above");
    let layer = fmt::layer().with_writer(writer);
    let started = match format {
        LogFormat::Human if !is_journal => events.with(layer.with_ansi(is_coloured())).try_init(),
        LogFormat::Human | LogFormat::Json => events.with(layer.json().flatten_event(true)).try_init(),
    };
    started.map_err(io::Error::other)?;
    // The usual hook writes to stderr itself, and waits there as long as nobody reads.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}; please report this")));
    Ok(Log(()))
}

/// From now on events are logged by this level, unless RUST_LOG says otherwise.
pub fn obey(level: &Level) {
    // It fails when the log is gone, and then there is nothing to change.
    LEVEL.get().into_iter().for_each(|handle| drop(handle.reload(targets(level))));
}

/// Says on standard error why the program ends. A closed one or a full disk is no reason to panic.
pub fn last_words(text: &str) {
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return };
    let mut stderr = File::from(stderr);
    let text = journal::as_error(text, &stderr);
    let _ = stderr.write_all(text.as_bytes());
}

/// Whether lines are coloured: on a terminal that no NO_COLOR speaks for.
fn is_coloured() -> bool {
    may_colour(io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
}

/// An empty variable is as good as none (no-color.org).
fn may_colour(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Lines that could not be written since the program started.
#[must_use]
pub fn lines_lost() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}

/// Errors are logged whatever one module is set to; only a level for everything takes them away.
fn targets(level: &Level) -> Targets {
    let everything = level.everything.unwrap_or(tracing::level_filters::LevelFilter::ERROR);
    Targets::new().with_default(everything).with_targets(level.modules.iter().cloned())
}

/// Waits until all lines are written, for a second at most.
pub fn flush() {
    access::flush(FLUSH_LIMIT);
    LINES.get().iter().for_each(|lines| lines.flush(FLUSH_LIMIT));
}

impl Drop for Log {
    fn drop(&mut self) {
        flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_coloured_on_a_terminal_that_no_variable_speaks_for() {
        for (is_terminal, no_color, expected) in [
            (true, None, true),
            (true, Some(""), true),
            (true, Some("1"), false),
            (false, None, false),
            (false, Some(""), false),
        ] {
            assert_eq!(
                may_colour(is_terminal, no_color.map(OsStr::new)),
                expected,
                "{is_terminal} {no_color:?}"
            );
        }
    }
}
