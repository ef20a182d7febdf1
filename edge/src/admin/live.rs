//! The numbers of now for those who look: one reading serves all of them, and nobody can open streams without bound.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::{Board, is_needed};
use super::history::History;
use super::readings::Readings;
use super::{Admin, page};
use crate::clock::monotonic;
use crate::log;

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
    last: Mutex<Last>,
    streams: Arc<Semaphore>,
}

/// The last reading, and the board that was made of it for all who look.
#[derive(Debug)]
struct Last {
    at: Instant,
    history: History,
    board: Arc<Board>,
}

impl Default for Live {
    fn default() -> Self {
        let now = monotonic();
        let last = Last { at: now - FRESH, history: History::new(now.into_std()), board: Arc::default() };
        Self { last: Mutex::new(last), streams: Arc::new(Semaphore::new(MOST_STREAMS)) }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stream; none if all are taken.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}

impl Admin {
    /// The state of the edge now, made once a second at most. This blocks: a thousand sites take some milliseconds.
    fn board(&self) -> Arc<Board> {
        let mut last = self.live.lock();
        let now = monotonic();
        let state = if self.draining.has_begun() { "draining" } else { "ready" };
        let is_fresh = now.saturating_duration_since(last.at) < FRESH;
        if !is_fresh {
            let store = &self.cache.store;
            let text = self.cache.metrics.render_page(&store.size(), &store.disks().standings());
            last.history.add(now.into_std(), Readings::read(&text, is_needed));
            last.at = now;
        }
        if !is_fresh || last.board.state != state {
            let troubles = log::recent::troubles();
            last.board = Arc::new(Board { state: state.to_owned(), troubles, ..last.history.board() });
        }
        Arc::clone(&last.board)
    }

    /// Makes something of the board on a thread that may take its time; none if that panicked, or if the program ends.
    pub(super) async fn of_board<T: Send + 'static>(
        self: &Arc<Self>,
        make: impl FnOnce(&Board, f64) -> T + Send + 'static,
    ) -> Option<T> {
        let admin = Arc::clone(self);
        spawn_blocking(move || make(&admin.board(), admin.unix_secs())).await.ok()
    }

    fn unix_secs(&self) -> f64 {
        self.cache.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}

/// Takes readings until it is stopped.
pub(super) async fn sample(admin: Arc<Admin>, stop: CancellationToken) {
    loop {
        let _ = admin.of_board(|_, _| ()).await;
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
            let Some(event) = admin.of_board(page::event).await else { break };
            told += &event;
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

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::clock::monotonic;
    use crate::metrics::{Format, Metrics, Outcome, Spoken};
    use crate::store::{Ages, Size};

    /// A series that the page needs and that is registered elsewhere would be 0 for ever.
    #[test]
    fn the_series_of_the_page_are_all_that_it_needs_and_not_all_that_there_are() {
        let metrics = Metrics::default();
        let site = metrics.site("a.test");
        metrics.answered(&site, Outcome::Hit, StatusCode::OK);
        metrics.answered(&site, Outcome::Miss, StatusCode::BAD_GATEWAY);
        site.hit_at_once(Duration::from_millis(1));
        drop(site.begun(Outcome::Miss, monotonic(), Duration::from_millis(20)));
        let origin = metrics.origin("a.test", "10.0.0.1:80");
        origin.stands(true);
        metrics.turned_away("no-site");
        site.sent(7);
        site.fetched(5);
        let _open = [Spoken::Http1, Spoken::Http2].map(|spoken| metrics.connected(spoken));
        metrics.connections_limit(10);
        let evicted = Ages { counts: [5, 0, 0, 0, 0, 0, 0, 0, 0, 2], sum: Duration::from_secs(9) };
        let size = Size { keys: 1, bytes: 2, fill_bytes: 3, capacity_bytes: 4, evicted };
        let (all, page) = (metrics.render(&size, &[], Format::OpenMetrics), metrics.render_page(&size, &[]));
        // The process is looked at anew each time.
        let is_counted = |name: &str| is_needed(name) && !name.starts_with("process_");
        assert_eq!(Readings::read(&page, is_counted), Readings::read(&all, is_counted));
        assert!(page.contains("process_resident_memory_bytes") && page.ends_with("# EOF\n"));
        for other in ["verge_edge_origin_checks_total", "verge_edge_fills", "verge_edge_in_flight_bytes"] {
            assert!(all.contains(other) && !page.contains(other), "{other}");
        }
        assert!(all.ends_with("# EOF\n") && all.matches("# EOF").count() == 1);
    }
}
