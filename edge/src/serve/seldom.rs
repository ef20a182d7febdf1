//! A future that hardly ever gets ready, beside one that is polled for each request.
//!
//! To ask a token of tokio's whether it is cancelled takes a lock that all connections share. Here it is asked once, and
//! again when it wakes.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls its future only when that was woken.
pub(super) struct Seldom<F> {
    future: Pin<Box<F>>,
    alarm: Arc<Alarm>,
    /// The alarm's, for the future.
    waker: Waker,
    /// The task that the alarm wakes.
    task: Option<Waker>,
}

#[derive(Debug)]
struct Alarm {
    is_woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let alarm = Arc::new(Alarm { is_woken: AtomicBool::new(true), task: Mutex::default() });
        Self { future: Box::pin(future), waker: Arc::clone(&alarm).into(), alarm, task: None }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let me = &mut *self;
        // A task's waker stays the same, so this rarely locks.
        if !me.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            me.task = Some(cx.waker().clone());
            me.alarm.lock().clone_from(&me.task);
        }
        // A wake after this is seen next time.
        if !me.alarm.is_woken.load(Ordering::Relaxed) || !me.alarm.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        me.future.as_mut().poll(&mut Context::from_waker(&me.waker))
    }
}

impl Alarm {
    /// A waker is whole whoever panics.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        if let Some(task) = &*self.lock() {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_once_and_then_when_it_was_woken() {
        let (token, polls) = (CancellationToken::new(), AtomicUsize::new(0));
        let mut cancelled = Box::pin(token.cancelled());
        let counted = std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            cancelled.as_mut().poll(cx)
        });
        let mut seldom = Seldom::new(counted);
        let mut poll = || Pin::new(&mut seldom).poll(&mut Context::from_waker(Waker::noop()));
        assert!((0..5).all(|_| poll().is_pending()));
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        token.cancel();
        assert!(poll().is_ready());
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_polled_it_last() {
        let token = CancellationToken::new();
        let waiting = token.clone();
        let mut seldom = Seldom::new(async move { waiting.cancelled().await });
        assert!(Pin::new(&mut seldom).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let task = tokio::spawn(seldom);
        tokio::task::yield_now().await;
        token.cancel();
        task.await.unwrap();
    }
}
