//! How long a client may take for a head, and between two requests.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

use crate::clock::monotonic;

/// The limits on a client that sends nothing that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From a head's first byte to its end; on a new connection from its start.
    pub head: Duration,
    /// From the end of an answer to the next head's first byte.
    pub idle: Duration,
}

/// The event that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first byte on a new connection.
    First,
    /// The rest of a head.
    Head,
    /// The next request.
    Idle,
}

/// A timer for the current stage.
///
/// A deadline that moves on costs no more than a look at the clock: the timer runs for the earlier one, and is neither asked
/// nor set anew before that comes.
#[derive(Debug, Default)]
pub(super) struct Late {
    times: Option<Times>,
    stage: Option<Stage>,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The task that the timer wakes.
    task: Option<Waker>,
}

impl Late {
    pub(super) fn new(times: Times) -> Self {
        Self { times: Some(times), ..Self::default() }
    }

    /// The client has had an answer: the stage that follows begins now, whichever it is.
    pub(super) fn restart(&mut self) {
        self.stage = None;
    }

    /// Ready with the stage that took too long; never if nothing is waited for.
    pub(super) fn poll(&mut self, stage: Option<Stage>, cx: &mut Context<'_>) -> Poll<Stage> {
        let (Some(times), Some(now)) = (self.times, stage) else {
            self.stage = None;
            return Poll::Pending;
        };
        let before = self.stage.replace(now);
        // A new connection's head counts from the connection's start.
        let begins = before != stage && (before, now) != (Some(Stage::First), Stage::Head);
        let began = begins.then(monotonic);
        if let Some(began) = began {
            let limit = if now == Stage::Idle { times.idle } else { times.head };
            self.deadline = Some(began + limit);
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        let is_task = self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker()));
        if is_task && began.is_some_and(|began| began < sleep.deadline()) {
            return Poll::Pending;
        }
        if !is_task {
            self.task = Some(cx.waker().clone());
        }
        loop {
            // A task that has used up its turn would be sent away without being woken by the timer.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(now);
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_used_up_its_turn_is_woken_by_its_timer_too() {
        let limit = Duration::from_secs(1);
        let mut late = Late::new(Times { head: limit, idle: limit });
        let began = monotonic();
        poll_fn(|cx| {
            while has_budget_remaining() {
                let _ = pin!(consume_budget()).poll(cx);
            }
            assert!(late.poll(Some(Stage::First), cx).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        late.restart();
        let over = poll_fn(|cx| late.poll(Some(Stage::Idle), cx));
        assert_eq!(tokio::time::timeout(10 * limit, over).await, Ok(Stage::Idle));
        assert!(began.elapsed() < 2 * limit, "after {:?}", began.elapsed());
    }
}
