//! The numbers of now for those who look: one reading serves all of them, and nobody can open streams without bound.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::{Board, is_needed};
use super::history::History;
use super::readings::Readings;
use super::{Admin, page};
use crate::clock::monotonic;
use crate::log;
use crate::metrics::Format;

/// Between readings that nobody asks for: the curve has points before somebody looks.
const PERIOD: Duration = Duration::from_secs(10);
/// A reading of this age is the one of now.
const FRESH: Duration = Duration::from_secs(1);
/// Between the messages of a stream.
const TICK: Duration = Duration::from_secs(2);
/// A stream ends by itself before its connection has had its time; the browser then asks again.
const TICKS: usize = 25;
/// A few people; each costs a page every two seconds.
const MOST_STREAMS: usize = 8;

/// The readings, and the streams that tell of them.
#[derive(Debug)]
pub(super) struct Live {
    history: Mutex<(Instant, History)>,
    streams: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        let now = monotonic();
        let history = Mutex::new((now - FRESH, History::new(now.into_std())));
        Self { history, streams: Arc::new(Semaphore::new(MOST_STREAMS)) }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, (Instant, History)> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stream; none if all are taken.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}

impl Admin {
    /// How the edge does now.
    pub(super) fn board(&self) -> Board {
        let mut history = self.live.lock();
        let now = monotonic();
        if now.saturating_duration_since(history.0) >= FRESH {
            let store = &self.cache.store;
            let text =
                self.cache.metrics.render(&store.size(), &store.disks().standings(), Format::OpenMetrics);
            history.1.add(now.into_std(), Readings::read(&text, is_needed));
            history.0 = now;
        }
        let state = if self.draining.has_begun() { "draining" } else { "ready" };
        Board { state: state.to_owned(), troubles: log::recent::troubles(), ..history.1.board() }
    }

    /// The page as it is now.
    pub(super) fn page(&self) -> String {
        page::page(&self.board(), self.unix_secs())
    }

    fn unix_secs(&self) -> f64 {
        self.cache.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}

/// Takes readings until it is stopped.
pub(super) async fn sample(admin: Arc<Admin>, stop: CancellationToken) {
    loop {
        drop(admin.board());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// The parts of the page, again and again. It ends with its reader, with the listener, or after some time.
pub(super) fn events(
    admin: &Arc<Admin>,
    place: OwnedSemaphorePermit,
    stop: &CancellationToken,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (to, pieces) = mpsc::channel(1);
    let (admin, stop) = (Arc::clone(admin), stop.clone());
    tokio::spawn(async move {
        let mut told = "retry: 1000\n\n".to_owned();
        for _ in 0..TICKS {
            told += &page::event(&admin.board(), admin.unix_secs());
            let next = async {
                if to.send(Ok(Bytes::from(std::mem::take(&mut told)))).await.is_ok() {
                    tokio::time::sleep(TICK).await;
                }
            };
            tokio::select! {
                () = next => {}
                () = to.closed() => break,
                () = stop.cancelled() => break,
            }
        }
        drop(place);
    });
    pieces
}
