//! The end of a copy of a zone that is taken from others, as the file beside it says; and how files are named after zones.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::source::Copy;
use crate::name::Name;
use crate::zone::{Problem, Severity};

/// A zone's name as part of a file's: `/` and `%` would be something else there.
pub(crate) fn stem(apex: &Name) -> String {
    let text = apex.to_string();
    match text.trim_end_matches('.') {
        "" => "%root".to_owned(),
        text => text.replace('%', "%25").replace('/', "%2f"),
    }
}

/// When the copy was last confirmed, and when it ends, in Unix seconds.
pub(super) fn read_expiry(path: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let mut words = text.split_whitespace();
    let mut number = |word| (words.next() == Some(word)).then(|| words.next()?.parse().ok())?;
    Some((number("checked")?, number("expires")?))
}

/// Why a copy is not served, if it is not.
pub(super) fn away(copy: &Copy, now: SystemTime) -> Option<Problem> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (severity, code, message, help) = match (copy.zone.exists(), read_expiry(&copy.expiry)) {
        (true, Some((_, expires))) if now < expires => return None,
        (true, Some(_)) => (
            Severity::Error,
            "expired",
            format!(
                "{}: no primary has confirmed the copy of this zone for so long that it has expired",
                copy.apex
            ),
            "look at what the primaries answer: `verge-dns status`, and the log",
        ),
        // Nobody's fault: a server that was just set up has none.
        _ => (
            Severity::Warning,
            "not-transferred",
            format!("{}: no copy of this zone has come from its primaries yet", copy.apex),
            "the log tells what stands in the way",
        ),
    };
    let help = Some(help.to_owned());
    Some(Problem { severity, code, at: None, message, help })
}

/// Why a copy is not served of which it is not known yet whether it counts.
pub(super) fn waiting(copy: &Copy) -> Problem {
    Problem {
        severity: Severity::Warning,
        code: "asks-others",
        at: None,
        message: format!(
            "{}: the other servers of [[secondary]] are asked first whether one of them is the primary now",
            copy.apex
        ),
        help: Some("they answer, or the zone file counts after 5 s".to_owned()),
    }
}
