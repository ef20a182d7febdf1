//! The one place where this program reads the time; tests move it by hand.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep};

/// Where `now` comes from. Clones of a hand-moved clock move together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// When it stands, but for what tests add; the system's time else.
    standing: Option<SystemTime>,
    /// Milliseconds that tests have added.
    ahead_ms: Arc<AtomicU64>,
    /// Tells timers that some were added.
    moved: Arc<Notify>,
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

    /// The current time, by RFC 9111's clock.
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
        self.moved.notify_waiters();
    }

    /// For durations: it goes on also where [`Clock::now`] stands, and what tests add counts.
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        monotonic() + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Ready when [`Clock::monotonic`] has gone on for so long.
    #[must_use]
    pub fn timer(&self, after: Duration) -> Timer {
        let deadline = self.monotonic() + after.min(FOREVER);
        let moved = Box::pin(Arc::clone(&self.moved).notified_owned());
        let sleep = Box::pin(tokio::time::sleep_until(deadline));
        Timer { clock: self.clone(), deadline, sleep, moved }
    }
}

/// A moment to wait for that comes at once when a test moves the clock past it.
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    deadline: Instant,
    sleep: Pin<Box<Sleep>>,
    moved: Pin<Box<OwnedNotified>>,
}

/// Longer than any process lives; what is added to a time must not overflow it.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        // Asked to be woken before the time is read: the clock cannot move unseen in between.
        while me.moved.as_mut().poll(cx).is_ready() {
            me.moved.set(Arc::clone(&me.clock.moved).notified_owned());
        }
        let left = me.deadline.saturating_duration_since(me.clock.monotonic());
        if left.is_zero() {
            return Poll::Ready(());
        }
        let at = monotonic() + left;
        if me.sleep.deadline() > at {
            me.sleep.as_mut().reset(at);
        }
        me.sleep.as_mut().poll(cx)
    }
}

/// The time of day as the machine has it, for numbers that people read and nothing is decided by.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock, here and nowhere else")]
pub fn time_of_day() -> SystemTime {
    SystemTime::now()
}

/// Real time for sockets and durations, whatever a test does to the cache's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock, here and nowhere else")]
pub fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timer_comes_when_its_clock_is_moved_past_it_and_not_before() {
        let clock = Clock::system();
        let mut timer = clock.timer(Duration::from_secs(3600));
        let mut poll = || Pin::new(&mut timer).poll(&mut Context::from_waker(std::task::Waker::noop()));
        assert!(poll().is_pending());
        clock.advance(Duration::from_secs(1800));
        assert!(poll().is_pending());
        clock.advance(Duration::from_secs(1801));
        assert!(poll().is_ready());
        let waiting = tokio::spawn(clock.timer(Duration::from_secs(3600)));
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(3600));
        waiting.await.unwrap();
    }
}
