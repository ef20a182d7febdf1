//! How much this edge bears of what it can, for name servers that send fewer clients to one that is loaded.
//!
//! It is the largest of three parts: connections with a request under way, of `limits.connections`; the time that the
//! process had on the processors, of all that there was, in the last second or since the question before that; and, where
//! the config has a `limits.bytes_in_flight`, the body bytes of answers under way that no connection has taken yet, of that.
//!
//! Those bytes are counted where each answer with a body begins, goes on and ends, whatever carries it. A body whose length
//! is not known counts as none, and so does one that goes out with its head at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::room::Room;
use crate::clock::monotonic;

/// A shorter time says little, since the system counts in hundredths of a second.
const WINDOW: Duration = Duration::from_secs(1);
/// Ticks of `/proc/PID/stat` in a second, on every architecture that Linux has today.
const TICKS: f64 = 100.0;

/// The source of the load; the room comes with the listeners.
#[derive(Debug, Default)]
pub(crate) struct Load {
    room: OnceLock<Arc<Room>>,
    /// `limits.bytes_in_flight`; 0: there is none.
    bytes_limit: AtomicU64,
    processors: Mutex<Option<Window>>,
}

/// The processors' time at the begin of a window, and the share of the window before it.
#[derive(Debug, Clone, Copy)]
struct Window {
    begun: Instant,
    ticks: u64,
    share: f64,
}

/// The load now.
pub(super) struct Now {
    /// Connections with a request under way.
    pub(super) requests: usize,
    /// `limits.connections`.
    pub(super) limit: usize,
    /// The part of the processors' time, from 0 to 1.
    pub(super) processors: f64,
    /// Body bytes of answers under way that no connection has taken yet.
    pub(super) bytes: u64,
    /// `limits.bytes_in_flight`.
    pub(super) bytes_limit: Option<u64>,
}

impl Now {
    /// The largest part.
    pub(super) fn load(&self) -> f64 {
        let of_bytes = self.bytes_limit.map_or(0.0, |limit| self.bytes as f64 / limit.max(1) as f64);
        (self.requests as f64 / self.limit.max(1) as f64).max(self.processors).max(of_bytes)
    }
}

impl Load {
    /// The room whose connections count.
    pub(super) fn of(&self, room: &Arc<Room>) {
        // There is one for the life of the edge.
        let _ = self.room.set(Arc::clone(room));
    }

    /// From now on so many bytes in flight are all that the edge can bear.
    pub(super) fn obey(&self, bytes_limit: Option<u64>) {
        self.bytes_limit.store(bytes_limit.unwrap_or(0), Ordering::Relaxed);
    }

    /// With so many bytes in flight.
    pub(super) fn now(&self, bytes: u64) -> Now {
        let (requests, limit) = self.room.get().map_or((0, 0), |room| room.busy());
        let processors = self.processors(ticks, monotonic());
        let bytes_limit = Some(self.bytes_limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0);
        Now { requests, limit, processors, bytes, bytes_limit }
    }

    /// Asks the system for the processors' time once in a window, however many ask here.
    fn processors(&self, ticks: impl FnOnce() -> Option<u64>, now: Instant) -> f64 {
        let mut window = self.processors.lock().unwrap_or_else(PoisonError::into_inner);
        let lasted = |last: Window| now.saturating_duration_since(last.begun);
        if let Some(last) = window.filter(|last| lasted(*last) < WINDOW) {
            return last.share;
        }
        let Some(ticks) = ticks() else { return 0.0 };
        let Some(last) = *window else {
            *window = Some(Window { begun: now, ticks, share: 0.0 });
            return 0.0;
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let used = ticks.saturating_sub(last.ticks) as f64 / TICKS;
        let share = (used / (lasted(last).as_secs_f64() * processors)).min(1.0);
        *window = Some(Window { begun: now, ticks, share });
        share
    }
}

/// The processors' time that this process had; none where the system does not tell.
fn ticks() -> Option<u64> {
    of_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The 14th and 15th field; the second is the program's name in parentheses, which may hold anything (proc(5)).
fn of_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_the_largest_part_of_a_limit() {
        let now = |requests, processors, bytes, bytes_limit| {
            Now { requests, limit: 10, processors, bytes, bytes_limit }.load()
        };
        for (found, expected) in [
            (now(1, 0.2, 3, Some(10)), 0.3),
            (now(4, 0.2, 3, Some(10)), 0.4),
            (now(1, 0.5, 3, Some(10)), 0.5),
            (now(1, 0.0, 1 << 40, None), 0.1),
            (now(0, 0.0, 20, Some(10)), 2.0),
        ] {
            assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        }
        let load = Load::default();
        assert_eq!(load.now(7).bytes_limit, None);
        load.obey(Some(70));
        assert_eq!((load.now(7).bytes, load.now(7).bytes_limit), (7, Some(70)));
        load.obey(None);
        assert_eq!(load.now(7).bytes_limit, None);
    }

    #[test]
    fn the_processors_share_is_of_the_window_before() {
        let (load, begun) = (Load::default(), monotonic());
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let at = |ms: u64, ticks: u64| load.processors(|| Some(ticks), begun + Duration::from_millis(ms));
        assert_eq!(at(0, 1000), 0.0, "nothing is known before there is a window");
        assert_eq!(at(500, 1090), 0.0, "half a second is none");
        assert!((at(2000, 1000 + 100 * processors) - 0.5).abs() < 1e-9);
        assert!((at(2500, 1000 + 900 * processors) - 0.5).abs() < 1e-9, "until the next one has ended");
        assert!((at(3000, 1000 + 900 * processors) - 1.0).abs() < 1e-9, "no more than all of it");
    }

    #[test]
    fn the_system_is_asked_once_in_a_window() {
        let (load, begun) = (Load::default(), monotonic());
        let asked = std::cell::Cell::new(0);
        let at = |ms: u64| {
            let ticks = || {
                asked.set(asked.get() + 1);
                Some(1000)
            };
            load.processors(ticks, begun + Duration::from_millis(ms));
            asked.get()
        };
        assert_eq!([0, 10, 999, 1000, 1999].map(at), [1, 1, 1, 2, 2]);
    }

    #[test]
    fn fields_are_counted_behind_the_programs_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 2057 0 0 0 31 11 0 0 20 0 5 0 99";
        assert_eq!(of_stat(stat), Some(42));
        assert_eq!(of_stat("7 (a"), None);
    }
}
