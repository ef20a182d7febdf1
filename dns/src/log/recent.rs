//! The last events at the levels warn and error, for the status page.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A line of the log at the level warn or error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// `warn` or `error`.
    pub(crate) level: String,
    /// The message with its fields.
    pub(crate) text: String,
}

/// As many are kept …
const MOST: usize = 20;
/// … of so many bytes each.
const MOST_BYTES: usize = 400;

static RECENT: Mutex<VecDeque<Trouble>> = Mutex::new(VecDeque::new());

/// Keeps them, beside the layer that writes all.
pub(super) struct Recent;

/// The last ones, the newest first.
pub(crate) fn troubles() -> Vec<Trouble> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let mut line = Text::default();
        event.record(&mut line);
        let at = crate::clock::system_now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // A problem is drawn over several lines: the first two say what it is, and where.
        let message: Vec<&str> = line.message.lines().map(str::trim).take(2).collect();
        let mut text = message.join(" ") + &line.fields;
        text.truncate(text.floor_char_boundary(MOST_BYTES));
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == MOST {
            recent.pop_front();
        }
        recent.push_back(Trouble { at, level: level.to_owned(), text });
    }
}

/// An event as a line.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A String takes any text.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_last_warnings_and_errors_are_kept_within_bounds() {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Recent), || {
            tracing::info!("not this");
            for n in 0..3 * MOST {
                tracing::warn!(n, zone = "a.", "a zone file is broken");
            }
            tracing::warn!("two\n  lines\n ^^^");
            tracing::error!(long = "ä".repeat(1_000), "it does not work");
        });
        let troubles = troubles();
        assert_eq!(troubles.len(), MOST);
        assert_eq!(troubles[1].text, "two lines");
        assert_eq!(troubles[2].text, "a zone file is broken n=59 zone=a.");
        assert_eq!(troubles[0].level, "error");
        assert!(
            troubles[0].text.starts_with("it does not work long=ä") && troubles[0].text.len() <= MOST_BYTES
        );
    }
}
