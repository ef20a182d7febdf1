//! Requests without their responses: which of them a store of some size would answer. The table is the store's own.

use std::time::Duration;

use foldhash::quality::FixedState;

use super::bounds::Eviction;
use super::table::Table;

/// A table that holds weights and nothing else.
#[derive(Debug)]
pub struct Replay {
    table: Table<u64, u32, FixedState>,
    capacity: u64,
}

/// Ghosts take memory of the real store; a trace says nothing of an object's head, which would be in proportion to it.
const GHOSTS_A_UNIT: u64 = u64::MAX;

impl Replay {
    /// Nothing is held. The capacity is in the unit of the weights.
    #[must_use]
    pub fn new(eviction: Eviction, capacity: u64) -> Self {
        // Hashed alike in each run, so that two runs give one result.
        let hasher = FixedState::default();
        // Requests of a trace have no times.
        let age = |_: &u32| Duration::ZERO;
        let table = Table::new(eviction, capacity, GHOSTS_A_UNIT, hasher, |_, weight| *weight, drop, age);
        Self { table, capacity }
    }

    /// A request for an object of this weight: whether it is a hit. If not, its response is put.
    pub fn ask(&mut self, object: u64, weight: u32) -> bool {
        if self.table.get(&object).is_some() {
            return true;
        }
        if u64::from(weight) <= self.capacity {
            self.table.insert(&object, weight);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_eviction_hits_what_fits_and_misses_a_loop_that_does_not() {
        for eviction in [Eviction::S3Fifo, Eviction::Lru, Eviction::Lfu] {
            let mut replay = Replay::new(eviction, 1_000);
            let hits = (0..500_u64).filter(|n| replay.ask(n % 50, 10)).count();
            assert_eq!(hits, 450, "{eviction:?}");
            assert!(!replay.ask(99, 2_000) && !replay.ask(99, 2_000), "{eviction:?}: too heavy");
        }
    }
}
