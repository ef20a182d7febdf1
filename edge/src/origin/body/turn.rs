//! `Expect: 100-continue` (RFC 9110 §10.1.1): the content waits for the origin's word.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Sleep;

/// An origin that says nothing to the expectation does not know it: curl waits as long.
const LONGEST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Said {
    go: AtomicBool,
    waker: std::sync::Mutex<Option<Waker>>,
}

/// The content's side.
#[derive(Debug)]
pub(super) struct Turn {
    said: Arc<Said>,
    late: Pin<Box<Sleep>>,
}

/// The origin's side.
#[derive(Debug, Clone)]
pub(in crate::origin) struct GoAhead(Arc<Said>);

impl Turn {
    pub(super) fn new() -> (Self, GoAhead) {
        let said = Arc::<Said>::default();
        (Self { said: Arc::clone(&said), late: Box::pin(tokio::time::sleep(LONGEST)) }, GoAhead(said))
    }

    /// Ready when the content may begin.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        *self.said.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(cx.waker().clone());
        if self.said.go.load(Ordering::Acquire) { Poll::Ready(()) } else { self.late.as_mut().poll(cx) }
    }
}

impl GoAhead {
    /// The origin says that the content may begin.
    pub(in crate::origin) fn give(&self) {
        self.0.go.store(true, Ordering::Release);
        let waker = self.0.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
