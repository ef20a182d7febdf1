//! The program's log: lines to stderr, written by a thread of their own.
//!
//! ```text
//! tracing ─▶ Lines (a bounded buffer) ─▶ thread ─▶ stderr, or the journal behind it
//! ```
//!
//! Invariant: nothing about the log decides about an answer. A thread that logs never waits for the disk or for the
//! reader of a pipe, and never fails: lines that cannot be written are lost and counted.

mod journal;
mod lines;
pub(crate) mod queries;
pub(crate) mod recent;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::journal::Journal;
use self::lines::Lines;
use crate::config::{Level, LogFormat};

/// How long the end of the program waits for the last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();

/// The log until it is dropped; then the lines that wait are written, for a second at most.
pub(crate) struct Log(());

/// Sends events and panics to stderr, or as entries to the journal if stderr leads there. A program does this once.
pub(crate) fn start(format: LogFormat, level: &Level) -> io::Result<Log> {
    // A descriptor of its own: a write that hangs must not hold the lock of `io::stderr`.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let lines = LINES.get_or_init(Lines::default);
    let journal = (format == LogFormat::Human).then(|| Journal::of(&stderr)).flatten();
    let is_journal = journal.is_some();
    match journal {
        Some(journal) => lines.clone().write_to(journal)?,
        None => lines.clone().write_to(stderr)?,
    }
    let events = tracing_subscriber::registry().with(targets(level)).with(recent::Recent);
    let writer = || LINES.get().expect("it was set above");
    let layer = fmt::layer().with_writer(writer);
    let started = match format {
        LogFormat::Human if !is_journal => {
            events.with(layer.with_target(false).with_ansi(is_coloured())).try_init()
        }
        LogFormat::Human | LogFormat::Json => events.with(layer.json().flatten_event(true)).try_init(),
    };
    started.map_err(io::Error::other)?;
    // The usual hook writes to stderr itself, and waits there as long as nobody reads.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}; please report this")));
    Ok(Log(()))
}

/// Whether lines are coloured: on a terminal that no NO_COLOR speaks for.
fn is_coloured() -> bool {
    may_colour(io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
}

/// An empty variable is as good as none (no-color.org).
fn may_colour(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Says on standard error why the program ends. A closed one or a full disk is no reason to panic.
pub(crate) fn last_words(text: &str) {
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return };
    let mut stderr = File::from(stderr);
    let text = journal::as_error(text, &stderr);
    let _ = stderr.write_all(text.as_bytes());
}

/// Lines that could not be written since the program started.
pub(crate) fn lines_lost() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}

/// Errors are logged whatever one module is set to; only a level for everything takes them away.
fn targets(level: &Level) -> Targets {
    let everything = level.everything.unwrap_or(LevelFilter::ERROR);
    // It tells of each folder that went away with its watch: noise, for every swap of a folder.
    let quiet = Targets::new().with_default(everything).with_target("notify", LevelFilter::OFF);
    quiet.with_targets(level.modules.iter().cloned())
}

/// Waits until all lines are written, for a second at most.
pub(crate) fn flush() {
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
