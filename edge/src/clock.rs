//! The one place where this program reads the time; tests move it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Where `now` comes from. Clones of a hand-moved clock move together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// When it stands, but for what tests add; the system's time else.
    standing: Option<SystemTime>,
    /// Milliseconds that tests have added.
    ahead_ms: Arc<AtomicU64>,
}

impl Clock {
    /// The system's time.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A time that only [`Clock::advance`] changes.
    #[must_use]
    pub fn standing(at: SystemTime) -> Self {
        Self { standing: Some(at), ..Self::default() }
    }

    /// What time it is, by RFC 9111's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the shell reads the clock, here and nowhere else")]
    pub fn now(&self) -> SystemTime {
        self.standing.unwrap_or_else(SystemTime::now)
            + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Moves this clock and its clones ahead, so that nothing has to sleep to become stale.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// Real time for sockets and durations, whatever a test does to the cache's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock, here and nowhere else")]
pub fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
