//! Idle connections to one origin, the latest used first, and those of HTTP/2, which many requests share.
//!
//! An origin may close an idle connection just when the next request is on its way. A request that may be
//! sent twice is sent again (RFC 9112 §9.3.1). Any other gets a connection used a moment ago, or a new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::http2::Http2;
use super::line::{Line, Protocols};
use crate::clock::monotonic;

/// Connections to one origin; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    held: Arc<Mutex<Held>>,
    idle_timeout: Duration,
    /// Held by the request that dials where a connection serves many: others wait for that one.
    dialling: Arc<tokio::sync::Mutex<()>>,
}

/// The right to dial.
pub(super) type Turn = tokio::sync::OwnedMutexGuard<()>;

#[derive(Debug, Default)]
struct Held {
    idle: Vec<Idle>,
    http2: Vec<Http2>,
    /// How often the origin has moved: a connection that was begun before the last time leads to where it was.
    moves: u64,
    /// The last new connection was HTTP/2.
    speaks_http2: bool,
    /// The origin has said that it requires HTTP/1.1, which is remembered until then.
    http1_until: Option<Instant>,
}

#[derive(Debug)]
struct Idle {
    line: Line,
    since: Instant,
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
/// A connection with HTTP/2 is closed with a word (GOAWAY), so it may be idle for longer: nginx closes after 75 s.
const HTTP2_IDLE: Duration = Duration::from_secs(55);
/// Of 100 requests each, or as many as the origin allows.
const MAX_HTTP2: usize = 64;
/// The time in which nobody asks an origin again for HTTP/2 that required HTTP/1.1: it costs a request once in as long, and
/// an origin that was changed gets HTTP/2 within it.
const HTTP1_MEMORY: Duration = Duration::from_secs(600);

impl Pool {
    /// None yet. A connection that has been idle for `idle_timeout` is closed. Where `speaks_http2`, one serves many.
    pub(super) fn new(idle_timeout: Duration, speaks_http2: bool) -> Self {
        let held = Held { speaks_http2, ..Held::default() };
        Self { held: Arc::new(Mutex::new(held)), idle_timeout, dialling: Arc::default() }
    }

    /// How long a connection may be idle.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// A connection that is ready for a request now, by one of these protocols; made at this time or later, if there is one.
    pub(super) fn take(&self, reuse: Reuse, protocols: Protocols, since: Option<Instant>) -> Option<Line> {
        let now = monotonic();
        let max_idle = match reuse {
            Reuse::Any => self.idle_timeout,
            Reuse::JustUsed => self.idle_timeout.min(JUST_USED),
        };
        let mut held = self.lock();
        held.http2
            .retain(|one| !one.is_closed() && one.idle_since().is_none_or(|since| now < since + HTTP2_IDLE));
        let usable = |one: &&Http2| {
            protocols == Protocols::Any
                && since <= Some(one.made())
                && (reuse == Reuse::Any
                    || one.idle_since().is_none_or(|since| now < since + self.idle_timeout))
        };
        // One on which the origin refuses requests is asked where there is no other: a new one would be refused as well.
        let (refusing, others): (Vec<&Http2>, Vec<&Http2>) =
            held.http2.iter().filter(usable).partition(|one| one.refuses());
        if let Some(share) = others.into_iter().chain(refusing).find_map(Http2::share) {
            return Some(Line::Shared(share));
        }
        held.idle.retain(|one| now < one.since + self.idle_timeout && !one.line.is_closed());
        let ready =
            |one: &Idle| since <= Some(one.line.made()) && now < one.since + max_idle && one.line.is_ready();
        let ready = held.idle.iter().rposition(ready)?;
        Some(held.idle.remove(ready).line)
    }

    /// Keeps a connection whose response has been read to its end.
    pub(super) fn put(&self, line: Line) {
        if line.is_shared() || line.is_closed() {
            return;
        }
        let mut held = self.lock();
        if line.moves() != Some(held.moves) {
            return;
        }
        if held.idle.len() >= MAX_IDLE {
            held.idle.remove(0);
        }
        held.idle.push(Idle { line, since: monotonic() });
    }

    /// How often the origin has moved. A connection is of the time at which its origin's addresses were asked for.
    pub(super) fn moves(&self) -> u64 {
        self.lock().moves
    }

    /// Gives no connection of now to a further request: they may lead to where the origin was. Nor one that is being made.
    pub(super) fn forget(&self) {
        let mut held = self.lock();
        held.idle.clear();
        held.http2.clear();
        held.moves += 1;
        held.http1_until = None;
    }

    /// The origin requires HTTP/1.1 (RFC 9113 §7): for a while it is asked by no connection with HTTP/2. Whether that is news.
    pub(super) fn require_http1(&self) -> bool {
        let now = monotonic();
        let mut held = self.lock();
        let is_news = held.http1_until.is_none_or(|until| until <= now);
        if is_news {
            held.http1_until = Some(now + HTTP1_MEMORY);
        }
        is_news
    }

    /// It has no HTTP/1.1.
    pub(super) fn allow_http2(&self) {
        self.lock().http1_until = None;
    }

    /// Whether it requires HTTP/1.1, as far as is known.
    pub(super) fn requires_http1(&self) -> bool {
        self.lock().http1_until.is_some_and(|until| monotonic() < until)
    }

    /// Keeps a new connection with HTTP/2 for others, too, unless the origin has moved more often than when it was begun.
    pub(super) fn share(&self, connection: &Http2, moves: u64) {
        let mut held = self.lock();
        if held.moves == moves && held.http2.len() < MAX_HTTP2 {
            held.http2.push(connection.clone());
        }
        held.speaks_http2 = true;
    }

    /// A new connection is for one request at a time.
    pub(super) fn is_own(&self) {
        self.lock().speaks_http2 = false;
    }

    /// Waits for the right to dial, where one connection serves many requests.
    pub(super) async fn turn_to_dial(&self) -> Option<Turn> {
        let speaks_http2 = self.lock().speaks_http2;
        if speaks_http2 { Some(Arc::clone(&self.dialling).lock_owned().await) } else { None }
    }

    /// The right to dial, if nobody has it.
    pub(super) fn free_turn(&self) -> Option<Turn> {
        Arc::clone(&self.dialling).try_lock_owned().ok()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_requires_http1_is_asked_for_http2_again_after_a_while() {
        let pool = Pool::new(Duration::from_secs(1), false);
        assert!(!pool.requires_http1());
        assert!(pool.require_http1() && !pool.require_http1(), "it is told once");
        tokio::time::advance(HTTP1_MEMORY - Duration::from_secs(1)).await;
        assert!(pool.requires_http1() && !pool.require_http1());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!pool.requires_http1());
        assert!(pool.require_http1() && pool.requires_http1());
        pool.forget();
        assert!(!pool.requires_http1(), "there may be another server now");
    }

    /// Its addresses were asked for before the name led elsewhere, and it came about afterwards.
    #[tokio::test]
    async fn a_connection_to_where_the_origin_was_is_not_kept() {
        let pool = Pool::new(Duration::from_secs(1), true);
        // The origin's ends stay open for as long as the test.
        let mut theirs = Vec::new();
        let mut stream = || {
            let (ours, other) = tokio::net::UnixStream::pair().unwrap();
            theirs.push(other);
            crate::origin::Stream::Unix(ours)
        };
        let own = async |stream, moves| {
            let line = Line::own(stream, false, moves).await.unwrap();
            while !line.is_ready() {
                tokio::task::yield_now().await;
            }
            line
        };
        let before = pool.moves();
        pool.forget();
        pool.put(own(stream(), before).await);
        pool.share(&Http2::new(stream()).await.unwrap(), before);
        assert!(pool.take(Reuse::Any, Protocols::Any, None).is_none());
        let now = pool.moves();
        pool.put(own(stream(), now).await);
        assert!(pool.take(Reuse::Any, Protocols::Http1, None).is_some_and(|line| !line.is_shared()));
        pool.share(&Http2::new(stream()).await.unwrap(), now);
        assert!(pool.take(Reuse::Any, Protocols::Any, None).is_some_and(|line| line.is_shared()));
    }
}
