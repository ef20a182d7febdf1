//! Which connection is closed when the process has no file descriptor left to accept another.
//!
//! Tables share nothing ([`table`](super::table)), but all connections share the process's descriptors. The fullest
//! table gives one up, so that a flood makes room for others and not the other way round.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::table::{Room, Table};
use crate::client::Listener;

/// A connection that was dropped closes within a turn of the runtime; one that does not must hold nobody up.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(50);

/// The tables of all connections that have a descriptor of their own.
#[derive(Default)]
pub(crate) struct Tables {
    all: Mutex<Vec<(Listener, Arc<Table>)>>,
    /// Held while room is made, so that exactly one connection is closed for each that waits to be accepted.
    turn: tokio::sync::Mutex<()>,
}

impl Tables {
    pub(super) fn add(&self, side: Listener, table: Arc<Table>) {
        self.lock().push((side, table));
    }

    /// Drops the connection that was idle longest in the fullest table, of those from outside if there is any, and waits
    /// until it has closed.
    pub(super) async fn make_room(&self) -> Room {
        let Ok(_turn) = self.turn.try_lock() else {
            drop(self.turn.lock().await);
            return Room::Made;
        };
        let Some(table) = self.fullest() else { return Room::None };
        let left = table.left.notified();
        let room = table.drop_longest_idle();
        if room == Room::Made {
            // Late or not, the next try to accept shows it.
            let _ = timeout(CLOSE_TIMEOUT, left).await;
        }
        room
    }

    fn fullest(&self) -> Option<Arc<Table>> {
        let all = self.lock();
        let counts = all.iter().map(|(side, table)| (*side, table.count()));
        choose(counts).map(|at| Arc::clone(&all[at].1))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Listener, Arc<Table>)>> {
        // A push is complete before anything can panic.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of these tables has to give.
fn choose(counts: impl Iterator<Item = (Listener, usize)>) -> Option<usize> {
    counts
        .enumerate()
        .filter(|(_, (_, count))| *count > 0)
        .max_by_key(|(_, (side, count))| (*side == Listener::Outside, *count))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::memory::Pool;

    use std::net::IpAddr;

    use crate::clock;
    use crate::serve::table::Place;

    #[test]
    fn the_outside_makes_room_before_the_inside() {
        use Listener::{Inside, Outside};
        for (counts, expected) in [
            (&[(Outside, 1), (Inside, 9)][..], Some(0)),
            (&[(Inside, 9), (Outside, 2), (Outside, 5)], Some(2)),
            (&[(Outside, 0), (Inside, 3), (Inside, 7)], Some(2)),
            (&[(Outside, 0), (Inside, 0)], None),
            (&[], None),
        ] {
            assert_eq!(choose(counts.iter().copied()), expected, "{counts:?}");
        }
    }

    /// A table with `count` connections that close once they are told to go.
    fn table(tables: &Tables, side: Listener, count: usize) -> Arc<Table> {
        let table = Table::new((100, 100), Pool::new(0), Arc::default(), clock::now());
        tables.add(side, Arc::clone(&table));
        for _ in 0..count {
            let place: Place = table.admit(IpAddr::from([192, 0, 2, 1]), clock::now());
            tokio::spawn(async move { place.evicted().await });
        }
        table
    }

    #[tokio::test]
    async fn one_leaves_for_each_who_waits() {
        let tables = Arc::new(Tables::default());
        let (outside, inside) = (table(&tables, Listener::Outside, 3), table(&tables, Listener::Inside, 5));
        for left in [2, 1, 0] {
            assert_eq!(tables.make_room().await, Room::Made);
            assert_eq!((outside.count(), inside.count()), (left, 5));
        }
        // Two at once need one descriptor, as long as none of them has found it taken.
        let (one, other) = tokio::join!(tables.make_room(), tables.make_room());
        assert_eq!((one, other), (Room::Made, Room::Made));
        assert_eq!(inside.count(), 4);
    }
}
