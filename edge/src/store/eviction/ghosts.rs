//! The ghosts: hashes of objects that left the window, oldest first, for some times the weight that is held.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// The hashes, and the order in which their objects left.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    ring: VecDeque<Ghost>,
    /// The number of the ring's first.
    first: u64,
    /// Numbers of those that are not taken back, by their hashes.
    table: HashTable<u64>,
    weight: u64,
}

#[derive(Debug, Clone, Copy)]
struct Ghost {
    hash: u64,
    weight: u32,
}

/// Memory for each ghost: 16 bytes in the ring and 9 in the table, both with room to grow.
pub(in crate::store) const GHOST_BYTES: u64 = 48;

impl Ghosts {
    /// How many take memory.
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn add(&mut self, hash: u64, weight: u32) {
        let (first, ring) = (self.first, &self.ring);
        let number = first + ring.len() as u64;
        let hash_of = |number: &u64| at(ring, first, *number);
        match self.table.find_mut(hash, |number| hash_of(number) == hash) {
            Some(old) => *old = number,
            None => drop(self.table.insert_unique(hash, number, hash_of)),
        }
        self.ring.push_back(Ghost { hash, weight });
        self.weight += u64::from(weight);
    }

    /// Takes the hash back; whether it was there.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        let (first, ring) = (self.first, &self.ring);
        let found = self.table.find_entry(hash, |number| at(ring, first, *number) == hash);
        found.map(|entry| entry.remove()).is_ok()
    }

    /// Forgets the oldest until they are at most so many and of at most this weight.
    pub(super) fn trim(&mut self, most: usize, weight: u64) {
        while self.ring.len() > most || self.weight > weight {
            let Some(oldest) = self.ring.front().copied() else { return };
            let number = self.first;
            if let Ok(entry) = self.table.find_entry(oldest.hash, |other| *other == number) {
                entry.remove();
            }
            self.ring.pop_front();
            self.first += 1;
            self.weight -= u64::from(oldest.weight);
        }
        self.give_back();
    }

    /// Forgets those that `stays` does not want.
    pub(super) fn retain(&mut self, stays: impl Fn(u64) -> bool) {
        let (first, ring) = (self.first, &self.ring);
        let mut kept = Self::default();
        for (place, ghost) in ring.iter().enumerate() {
            let number = first + place as u64;
            if stays(ghost.hash) && self.table.find(ghost.hash, |other| *other == number).is_some() {
                kept.add(ghost.hash, ghost.weight);
            }
        }
        *self = kept;
    }

    /// A store that was emptied does not keep the room of a full one.
    fn give_back(&mut self) {
        if self.ring.capacity() > LEAST_ROOM && self.ring.len() < self.ring.capacity() / 8 {
            self.ring.shrink_to(self.ring.len() * 2);
            let (first, ring) = (self.first, &self.ring);
            self.table.shrink_to(ring.len() * 2, |number| at(ring, first, *number));
        }
    }
}

const LEAST_ROOM: usize = 1 << 10;

/// The hash of the ghost with this number, which is in the ring as long as the table has it.
fn at(ring: &VecDeque<Ghost>, first: u64, number: u64) -> u64 {
    ring[(number - first) as usize].hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_is_taken_back_once_and_the_oldest_are_forgotten_first() {
        let mut ghosts = Ghosts::default();
        (0..10).for_each(|hash| ghosts.add(hash, 2));
        ghosts.trim(8, 100);
        assert_eq!([0, 1, 2, 2, 9].map(|hash| ghosts.take(hash)), [false, false, true, false, true]);
        ghosts.trim(8, 8);
        assert_eq!([5, 6, 7, 8].map(|hash| ghosts.take(hash)), [false, true, true, true]);
        assert_eq!((ghosts.len(), ghosts.weight), (4, 8), "what was taken back has its place till its turn");
        ghosts.trim(0, 0);
        assert_eq!((ghosts.len(), ghosts.weight, ghosts.table.len()), (0, 0, 0));
    }

    #[test]
    fn a_hash_that_comes_twice_is_as_young_as_its_second() {
        let mut ghosts = Ghosts::default();
        [1, 2, 1].iter().for_each(|hash| ghosts.add(*hash, 1));
        ghosts.trim(1, 1);
        assert_eq!([2, 1, 1].map(|hash| ghosts.take(hash)), [false, true, false]);
    }

    #[test]
    fn those_that_are_not_wanted_leave_and_the_others_keep_their_order() {
        let mut ghosts = Ghosts::default();
        (0..10).for_each(|hash| ghosts.add(hash, 1));
        ghosts.take(4);
        ghosts.retain(|hash| hash % 2 == 0);
        assert_eq!((ghosts.len(), ghosts.weight), (4, 4));
        ghosts.trim(2, 9);
        assert_eq!([0, 2, 4, 6, 8].map(|hash| ghosts.take(hash)), [false, false, false, true, true]);
    }

    #[test]
    fn room_that_is_no_longer_needed_is_given_back() {
        let mut ghosts = Ghosts::default();
        (0..100_000).for_each(|hash| ghosts.add(hash, 1));
        ghosts.trim(10, 10);
        assert!(ghosts.ring.capacity() < 2_000 && ghosts.table.capacity() < 2_000);
        assert!(ghosts.take(99_999));
    }
}
