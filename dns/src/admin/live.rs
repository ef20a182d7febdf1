//! The numbers of now for those who look: one reading serves all of them, and nobody can open streams without bound.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::history::History;
use super::load::{Load, Told, is_needed};
use super::readings::Readings;
use super::{Admin, page};
use crate::clock;
use crate::log::recent;
use crate::metrics::Standing;

/// Between readings that nobody asks for: the curve has points before somebody looks.
const PERIOD: Duration = Duration::from_secs(10);
/// A reading of this age is the one of now.
const FRESH: Duration = Duration::from_secs(1);
/// Between the messages of a stream.
const TICK: Duration = Duration::from_secs(2);
/// A stream ends by itself before its connection has had its time; the browser then asks again.
const TICKS: usize = 12;
/// A few people; each costs a page every two seconds.
const MOST_STREAMS: usize = 8;
/// Readers of questions at once: each question is compared for each of them.
const MOST_READERS: usize = 4;

/// The readings, and the places of those who look.
pub(crate) struct Live {
    history: Mutex<(Option<Instant>, History)>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) readers: Arc<Semaphore>,
    /// Held while all records of all zones are looked at.
    walk: Mutex<()>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            history: Mutex::new((None, History::new(clock::now()))),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            readers: Arc::new(Semaphore::new(MOST_READERS)),
            walk: Mutex::default(),
        }
    }
}

impl Live {
    /// Looks at all records of all zones, when nobody else does: many who ask at once take one core from those who answer, not all.
    /// This blocks.
    pub(super) fn alone<T>(&self, walk: impl FnOnce() -> T) -> T {
        let _alone = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
        walk()
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Instant>, History)> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// How the server does now, as a reader may know it who has shown the token (`is_trusted`), or has not. This blocks.
    pub(super) fn load(&self, is_trusted: bool) -> Load {
        let mut history = self.live.lock();
        let now = clock::now();
        if history.0.is_none_or(|then| now.saturating_duration_since(then) >= FRESH) {
            let text = self.metrics.encode_answering();
            history.1.add(now, Readings::read(&text, is_needed));
            history.0 = Some(now);
        }
        let state = match self.metrics.standing() {
            _ if !self.ready.load(Ordering::Acquire) => "draining",
            Standing::Good => "ready",
            _ => "not ready",
        };
        Load { state: state.to_owned(), troubles: recent::troubles(is_trusted), ..history.1.load() }
    }

    /// All that is told of it. This blocks: a hundred thousand zones take some milliseconds.
    pub(super) fn told(&self, is_trusted: bool) -> Told {
        Told { status: self.metrics.status(is_trusted), load: self.load(is_trusted) }
    }
}

/// Takes readings until it is stopped.
pub(super) async fn sample(admin: Arc<Admin>, end: CancellationToken) {
    loop {
        let reader = Arc::clone(&admin);
        // A panic was told by its hook; the next reading may go well.
        drop(spawn_blocking(move || drop(reader.load(false))).await);
        tokio::select! {
            () = end.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// The parts of the page, again and again. It ends with its reader, with the listener, or after some time.
pub(super) fn events(
    admin: &Arc<Admin>,
    place: OwnedSemaphorePermit,
    end: &CancellationToken,
    is_trusted: bool,
) -> mpsc::Receiver<Bytes> {
    let (to, pieces) = mpsc::channel(1);
    let (admin, end) = (Arc::clone(admin), end.clone());
    tokio::spawn(async move {
        let mut told = "retry: 1000\n\n".to_owned();
        for _ in 0..TICKS {
            let reader = Arc::clone(&admin);
            let event =
                spawn_blocking(move || page::event(&reader.told(is_trusted), clock::moment().unix_seconds));
            let Ok(event) = event.await else { break };
            told += &event;
            let next = async {
                if to.send(Bytes::from(std::mem::take(&mut told))).await.is_ok() {
                    tokio::time::sleep(TICK).await;
                }
            };
            tokio::select! {
                () = next => {}
                () = to.closed() => break,
                () = end.cancelled() => break,
            }
        }
        drop(place);
    });
    pieces
}
