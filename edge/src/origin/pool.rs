//! Idle connections to one origin, the latest used first.
//!
//! An origin may close an idle connection just when the next request is on its way. A request that may be
//! sent twice is sent again (RFC 9112 §9.3.1). Any other gets a connection used a moment ago, or a new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;

use super::body::RequestBody;
use super::wire::Heard;
use crate::clock::monotonic;

/// Idle connections; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Idle>>>,
    idle_timeout: Duration,
}

/// One connection to an origin, for one request at a time.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) heard: Heard,
}

#[derive(Debug)]
struct Idle {
    line: Line,
    since: tokio::time::Instant,
}

/// Which connections a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// The request can be sent again.
    Any,
    /// It cannot.
    JustUsed,
}

/// Origins that close idle connections by a timer wait for much longer than this.
const JUST_USED: Duration = Duration::from_millis(20);
/// Enough for the bursts of one edge; more idle ones only tie up the origin.
const MAX_IDLE: usize = 128;

impl Pool {
    /// None yet. A connection that has been idle for `idle_timeout` is closed.
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { idle: Arc::default(), idle_timeout }
    }

    /// How long a connection may be idle.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// A connection that is ready for a request now.
    pub(super) fn take(&self, reuse: Reuse) -> Option<Line> {
        let now = monotonic();
        let max_idle = match reuse {
            Reuse::Any => self.idle_timeout,
            Reuse::JustUsed => self.idle_timeout.min(JUST_USED),
        };
        let mut idle = self.lock();
        idle.retain(|one| now < one.since + self.idle_timeout && !one.line.sender.is_closed());
        let ready = |one: &Idle| now < one.since + max_idle && one.line.sender.is_ready();
        let ready = idle.iter().rposition(ready)?;
        Some(idle.remove(ready).line)
    }

    /// Keeps a connection whose response has been read to its end.
    pub(super) fn put(&self, line: Line) {
        if line.sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(Idle { line, since: monotonic() });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
