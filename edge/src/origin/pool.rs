//! Idle connections to one origin, the latest used first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;

use super::body::RequestBody;
use crate::clock::monotonic;

/// Idle connections; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Idle>>>);

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    /// Ends when the connection has been idle too long.
    deadline: tokio::time::Instant,
}

/// Node and Apache close idle connections after 5 s; a request sent into that close would be lost.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// Enough for the bursts of one edge; more idle ones only tie up the origin.
const MAX_IDLE: usize = 128;

impl Pool {
    /// A connection that is ready for a request now.
    pub(super) fn take(&self) -> Option<SendRequest<RequestBody>> {
        let now = monotonic();
        let mut idle = self.lock();
        idle.retain(|one| one.deadline > now && !one.sender.is_closed());
        let ready = idle.iter().rposition(|one| one.sender.is_ready())?;
        Some(idle.remove(ready).sender)
    }

    /// Keeps a connection whose response has been read to its end.
    pub(super) fn put(&self, sender: SendRequest<RequestBody>) {
        if sender.is_closed() {
            return;
        }
        let deadline = monotonic() + IDLE_LIMIT;
        let mut idle = self.lock();
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(Idle { sender, deadline });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
