//! The last events at the levels warn and error, for the status page.
//!
//! Invariant: a reader without the token reads no name of a record. An event is told to all only if its metadata have the name
//! [`OPEN`] or its module is one of [`OPEN_MODULES`], whose events are about sockets, files and other servers. Of any other event
//! such a reader learns the zone, and a problem's code and place.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
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

static RECENT: Mutex<VecDeque<Kept>> = Mutex::new(VecDeque::new());

/// The name of events that name no record, although their module has others that do.
pub(crate) const OPEN: &str = "open";

/// Modules of which no event names a record. Those that are below them are meant, too.
const OPEN_MODULES: [&str; 23] = [
    "verge_dns::admin",
    "verge_dns::command",
    "verge_dns::log::lines",
    "verge_dns::serve::handover",
    "verge_dns::serve::heir",
    "verge_dns::serve::notify",
    "verge_dns::serve::numbers",
    "verge_dns::serve::responder",
    "verge_dns::serve::rounds",
    "verge_dns::serve::secrets",
    "verge_dns::serve::start",
    "verge_dns::serve::steer",
    "verge_dns::serve::sys",
    "verge_dns::serve::takeover",
    "verge_dns::serve::tls",
    "verge_dns::serve::transfer",
    "verge_dns::serve::workers",
    "verge_dns::serve::accept",
    "verge_dns::serve::connection",
    "verge_dns::serve::https",
    "verge_dns::serve::quic",
    "verge_dns::serve::stream",
    "verge_dns::serve::udp",
];

/// An event, and what a reader without the token is told of it.
struct Kept {
    trouble: Trouble,
    /// None: all of it.
    open: Option<String>,
}

/// Keeps them, beside the layer that writes all.
pub(crate) struct Recent;

/// The last ones, the newest first, as a reader may know them who has shown the token (`is_trusted`), or has not.
pub(crate) fn troubles(is_trusted: bool) -> Vec<Trouble> {
    let told = |Kept { trouble, open }: &Kept| match open {
        Some(open) if !is_trusted => Trouble { text: open.clone(), ..trouble.clone() },
        _ => trouble.clone(),
    };
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().map(told).collect()
}

fn is_open(about: &Metadata<'_>) -> bool {
    let is_within = |module: &str| {
        let rest = about.module_path().and_then(|path| path.strip_prefix(module));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    about.name() == OPEN || OPEN_MODULES.into_iter().any(is_within)
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
        let open = (!is_open(event.metadata())).then(|| line.withheld());
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == MOST {
            recent.pop_front();
        }
        recent.push_back(Kept { trouble: Trouble { at, level: level.to_owned(), text }, open });
    }
}

/// An event as a line.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
    zone: Option<String>,
    /// Of a problem of a zone file.
    code: Option<String>,
}

impl Text {
    /// The part that names no record: zone, code and place.
    fn withheld(&self) -> String {
        let zone = self.zone.as_ref().map_or_else(String::new, |zone| format!(" zone={zone}"));
        let mut text = match &self.code {
            None => format!(
                "a line that may name hidden records: the log has it, and this page with the token{zone}"
            ),
            Some(code) => {
                // Above it stands the message, which is one line (`zone::diagnostic`).
                let place = self.message.lines().nth(1).and_then(|line| line.trim().strip_prefix("--> "));
                let place = place.map_or_else(String::new, |place| format!(" {place}"));
                format!("{code}{place}; {TELLS_MORE}{zone}")
            }
        };
        text.truncate(text.floor_char_boundary(MOST_BYTES));
        text
    }
}

/// Behind a code and a place.
pub(crate) const TELLS_MORE: &str = "verge-dns check tells more";

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A String takes any text.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => {
                match name {
                    "zone" => self.zone = Some(format!("{value:?}")),
                    "code" => self.code = Some(format!("{value:?}")),
                    _ => {}
                }
                write!(self.fields, " {name}={value:?}")
            }
        };
    }
}

/// Held by each test that makes events or looks at them: they are those of the process.
#[cfg(test)]
pub(crate) static ONE: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn told(is_trusted: bool, part: &str) -> Vec<String> {
        let found = troubles(is_trusted).into_iter().map(|trouble| trouble.text);
        found.filter(|text| text.contains(part)).collect()
    }

    #[test]
    fn without_the_token_an_event_is_its_zone_code_and_place() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Recent), || {
            tracing::error!(
                zone = "t1.",
                code = "missing-target",
                "error[missing-target]: payroll.t1. does not exist\n  --> zones/t1.zone:8:1\n 8 | payroll"
            );
            tracing::warn!(
                zone = "t2.",
                code = "signatures",
                "warning[signatures]: of payroll.t2.\n  = help: sign"
            );
            tracing::warn!("payroll.t3. is nowhere");
            tracing::warn!(name: OPEN, zone = "t4.", "this stands");
            tracing::warn!(target: "verge_dns::serve::tls", "payroll.t5.: the target is no module");
        });
        let withheld = "a line that may name hidden records: the log has it, and this page with the token";
        let open = [
            withheld,
            "this stands zone=t4.",
            withheld,
            "signatures; verge-dns check tells more zone=t2.",
            "missing-target zones/t1.zone:8:1; verge-dns check tells more zone=t1.",
        ];
        assert_eq!(told(false, "")[..5], open);
        assert_eq!((told(false, "payroll").len(), told(true, "payroll").len()), (0, 4));
    }

    #[test]
    fn the_last_warnings_and_errors_are_kept_within_bounds() {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Recent), || {
            tracing::info!("not this");
            for n in 0..3 * MOST {
                tracing::warn!(n, zone = "a.", "a zone file is broken");
            }
            tracing::warn!("two\n  lines\n ^^^");
            tracing::error!(long = "ä".repeat(1_000), "it does not work");
        });
        let troubles = troubles(true);
        assert_eq!(troubles.len(), MOST);
        assert_eq!(troubles[1].text, "two lines");
        assert_eq!(troubles[2].text, "a zone file is broken n=59 zone=a.");
        assert_eq!(troubles[0].level, "error");
        assert!(
            troubles[0].text.starts_with("it does not work long=ä") && troubles[0].text.len() <= MOST_BYTES
        );
    }
}
