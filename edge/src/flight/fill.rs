//! The task that fetches: it asks the origin, tells the verdict, fills the log and stores.
//!
//! ```text
//! run ─▶ asking (or parts) ─▶ Verdict ─▶ arriving ─▶ keep ─▶ log, and the store at the end; filing where it is large
//!                                           └ encode
//! ```

mod arriving;
mod asking;
pub(super) mod encode;
mod filing;
mod head;
mod keep;
mod parts;
pub(super) mod passing;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;

use http::HeaderMap;
use tokio::sync::watch;

use super::log::Log;
use super::verdict::{Own, Verdict};
use super::{Fetch, Flights};
use crate::course::Course;
use crate::decide::share::Candidate;
use crate::decide::{Cause, Meant};
use crate::http::head::RequestHead;
use crate::metrics::UnderWay;
use crate::origin::{Answered, Unanswered};
use crate::policy::headers::status::ProxyError;
use crate::policy::{Content, Failure};
use crate::store::{LetGo, Reading, Share, Ticket};

impl LetGo for Fill {
    fn let_go(&self) -> usize {
        self.log.let_go()
    }
}

/// One fetch under way.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) log: Log,
    pub(super) ticket: Ticket,
    pub(super) meant: Meant,
    pub(super) cause: Cause,
    /// The request that caused it.
    pub(super) request: Arc<RequestHead>,
    /// The events on its way to the origins.
    pub(super) course: Course,
    verdict: watch::Sender<Option<Verdict>>,
    own: Mutex<Option<Own>>,
    /// Another fetch of the same, because this one takes long.
    pub(super) relief: Mutex<Weak<Self>>,
}

impl Fill {
    /// A new fill, which takes its memory from `share`.
    pub(super) fn new(meant: Meant, fetch: &Fetch, cause: Cause, ticket: Ticket, share: Share) -> Self {
        let (verdict, _) = watch::channel(None);
        let (log, own, relief) = (Log::new(share), Mutex::default(), Mutex::default());
        let request = Arc::clone(&fetch.request);
        Self { log, ticket, meant, cause, request, course: Course::default(), verdict, own, relief }
    }

    /// As those see it who look for a fetch to follow.
    pub(super) fn candidate(&self) -> Candidate<'_> {
        Candidate { meant: &self.meant, cause: &self.cause, request: &self.request }
    }

    /// Waits until the head of the response has come, or will not.
    pub(super) async fn verdict(&self) -> Verdict {
        if let Some(told) = &*self.verdict.borrow() {
            return told.clone();
        }
        let mut told = self.verdict.subscribe();
        let verdict = told.wait_for(Option::is_some).await.expect("the sender lives in self");
        verdict.clone().expect("waited for")
    }

    /// Whether its origin has not answered yet.
    pub(super) fn is_asking(&self) -> bool {
        self.verdict.borrow().is_none()
    }

    /// The fields of the response, once its head has come and others may share it.
    pub(super) fn shared_headers(&self) -> Option<HeaderMap> {
        match &*self.verdict.borrow() {
            Some(Verdict::Filling(filling)) => Some(filling.response.headers.clone()),
            Some(Verdict::Validated(object) | Verdict::Stale(object, ..)) => {
                Some(object.entry.head.headers.clone())
            }
            _ => None,
        }
    }

    pub(super) fn take_own(&self) -> Option<Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it fills a whole response of known length, and has come to about this byte of it.
    pub(super) fn will_soon_be_at(&self, first: u64) -> bool {
        let sized = |verdict: &Option<Verdict>| match verdict {
            Some(Verdict::Filling(filling)) => {
                matches!(filling.entry.content, Content::Whole { length: Some(_) })
            }
            _ => false,
        };
        sized(&self.verdict.borrow()) && first <= self.log.come_bytes().saturating_add(NEARLY_BYTES)
    }

    fn tell(&self, verdict: Verdict) {
        self.verdict.send_replace(Some(verdict));
    }

    fn tell_apart(&self, own: Own) {
        self.give(own);
        self.tell(Verdict::Apart);
    }

    /// Hands over the part that only the request that caused the fetch may have.
    fn give(&self, own: Own) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(own);
    }
}

/// The task of one fetch.
struct Task {
    flights: Arc<Flights>,
    fetch: Fetch,
    fill: Arc<Fill>,
    /// A stored body that may be needed again, although the store may drop it meanwhile.
    _held: Option<Reading>,
    _under_way: UnderWay,
}

impl Task {
    fn new(flights: Arc<Flights>, fetch: Fetch, fill: Arc<Fill>) -> Self {
        let held = fetch.plan.held().cloned().map(Reading::for_fetch);
        let under_way = flights.metrics.fetching();
        Self { flights, fetch, fill, _held: held, _under_way: under_way }
    }

    /// A body that is not kept is held for its readers alone.
    fn offer(&self) {
        let fill: Weak<Fill> = Arc::downgrade(&self.fill);
        self.fill.log.offer(fill);
    }
}

/// Ends the fill however the task ends, so that nobody waits for a task that is gone.
impl Drop for Task {
    fn drop(&mut self) {
        self.flights.table.unlist(&self.fetch.key, &self.fill);
        if self.fill.verdict.borrow().is_none() {
            self.fill.tell(Verdict::Failed(INTERRUPTED));
        }
        self.fill.log.break_off();
        self.offer();
    }
}

/// A fill that nobody reads goes on if no more than this is missing.
const NEARLY_BYTES: u64 = 1 << 20;
/// The task was dropped or panicked.
pub const INTERRUPTED: Unanswered =
    Unanswered { failure: Failure::Unreachable, error: ProxyError::ProxyInternalError };

pub(super) async fn run(flights: Arc<Flights>, fetch: Fetch, fill: Arc<Fill>) {
    let task = Task::new(flights, fetch, fill);
    let storing = tokio::select! {
        biased;
        storing = task.asked() => storing,
        () = task.fill.log.deserted() => return,
    };
    if let Some(storing) = storing {
        task.store(storing).await;
    }
}

/// As [`run`], of a fetch that no other request can follow. The request's own task asks: it is dropped with that, as the
/// last reader would be. A fetch whose response is stored goes on in a task of its own.
///
/// In a place of its own: requests that are answered without a fetch need no room for it.
///
/// A panic ends here, as it ends at the edge of a task: nothing that an origin sends may cost more than its own request. It
/// would take the client's connection with it otherwise, and all other requests on that.
pub(super) fn run_alone(
    flights: Arc<Flights>,
    fetch: Fetch,
    fill: Arc<Fill>,
) -> impl Future<Output = ()> + Send {
    let task = Task::new(flights, fetch, fill);
    let asking: Asking = Box::pin(async move {
        if let Some(storing) = task.asked().await {
            tokio::spawn(async move { task.store(storing).await });
        }
    });
    let mut asking = Some(asking);
    poll_fn(move |cx| {
        let Some(under_way) = &mut asking else { return Poll::Ready(()) };
        // It is not polled again after a panic, and its task tells the verdict as it is dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| under_way.as_mut().poll(cx)));
        let ended = polled.unwrap_or(Poll::Ready(()));
        if ended.is_ready() {
            asking = None;
        }
        ended
    })
}

/// A fetch until its verdict is told.
type Asking = Pin<Box<dyn Future<Output = ()> + Send>>;

/// As [`run`], with the origin's answer already there.
pub(super) async fn adopt(flights: Arc<Flights>, fetch: Fetch, fill: Arc<Fill>, answered: Answered) {
    let task = Task::new(flights, fetch, fill);
    if let Some(storing) = task.received(answered) {
        task.store(storing).await;
    }
}
