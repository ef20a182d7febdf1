//! The one place of this crate that reads a clock.

use std::time::{Instant, SystemTime};

use crate::wire::Moment;

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
pub(crate) fn system_now() -> SystemTime {
    SystemTime::now()
}

/// Both clocks that answers need.
pub(crate) fn moment() -> Moment {
    let unix = system_now().duration_since(SystemTime::UNIX_EPOCH);
    Moment { instant: now(), unix_seconds: unix.map_or(0, |since| since.as_secs()) }
}
