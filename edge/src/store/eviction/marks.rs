//! The marks that hits leave on what is held: how often, and in which generation last.
//!
//! A hit writes no more than one word, and mostly none: after some hits the count is full, and until the next
//! generation nothing of the mark changes. So threads that hit the same objects wait for nobody.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// One mark for each slot, in chunks that never move.
#[derive(Debug)]
pub(in crate::store) struct Marks {
    generation: AtomicU32,
    chunks: [OnceLock<Box<[AtomicU32]>>; CHUNKS],
}

/// The mark of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last generation in which it was hit or admitted.
    pub(super) generation: u32,
    /// Hits since it was admitted or last spared, up to [`MOST_HITS`].
    pub(super) hits: u32,
}

/// More are not told apart. S3-FIFO's two bits: with 7 or 15 both traces gain up to 0.3 points at one hundredth of the
/// footprint, and a load whose popular objects change loses more than one.
pub(super) const MOST_HITS: u32 = 3;
const HIT_BITS: u32 = 2;
/// Where the generations end. Each is a part of the memory's capacity of new objects, so 16 MiB get here after some 500 TB.
const LAST_GENERATION: u32 = (1 << (32 - HIT_BITS)) - 1;
/// Slots in the first chunk; each further one has twice as many as the one before it.
const FIRST_CHUNK: u32 = 1 << 10;
/// Enough for every slot that a `u32` can name.
const CHUNKS: usize = 23;

impl Mark {
    fn unpack(word: u32) -> Self {
        Self { generation: word >> HIT_BITS, hits: word & MOST_HITS }
    }

    fn pack(self) -> u32 {
        self.generation << HIT_BITS | self.hits
    }
}

impl Marks {
    pub(super) fn new() -> Self {
        Self { generation: AtomicU32::new(0), chunks: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// Notes a hit of the slot. Whether the mark tells something that it did not tell before.
    pub(in crate::store) fn hit(&self, slot: u32) -> bool {
        let Some(word) = self.word(slot) else { return false };
        let before = word.load(Ordering::Relaxed);
        let hits = Mark::unpack(before).hits;
        let mark = Mark { generation: self.generation(), hits: (hits + 1).min(MOST_HITS) }.pack();
        if mark == before {
            return false;
        }
        // Of two hits at one moment one may be lost: they decide who leaves, not what is right.
        word.store(mark, Ordering::Relaxed);
        true
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self) {
        self.generation.store((self.generation() + 1).min(LAST_GENERATION), Ordering::Relaxed);
    }

    pub(super) fn get(&self, slot: u32) -> Mark {
        Mark::unpack(self.word(slot).map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    pub(super) fn set(&self, slot: u32, mark: Mark) {
        let (chunk, place) = position(slot);
        let words = self.chunks[chunk]
            .get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| AtomicU32::new(0)).collect::<Box<[_]>>());
        words[place].store(mark.pack(), Ordering::Relaxed);
    }

    fn word(&self, slot: u32) -> Option<&AtomicU32> {
        let (chunk, place) = position(slot);
        self.chunks[chunk].get()?.get(place)
    }
}

/// The chunk that a slot is in, and its place there.
fn position(slot: u32) -> (usize, usize) {
    let number = u64::from(slot) + u64::from(FIRST_CHUNK);
    let chunk = number.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, (number - (u64::from(FIRST_CHUNK) << chunk)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_a_word_of_its_own() {
        let slots = [0, 1, 1_023, 1_024, 3_071, 3_072, 7_167, 7_168, u32::MAX];
        let places = slots.map(position);
        assert_eq!(places[..8], [(0, 0), (0, 1), (0, 1_023), (1, 0), (1, 2_047), (2, 0), (2, 4_095), (3, 0)]);
        assert!(places[8].0 < CHUNKS && places[8].1 < (FIRST_CHUNK as usize) << places[8].0);
    }

    #[test]
    fn a_hit_tells_something_new_until_its_count_is_full_and_again_in_the_next_generation() {
        let marks = Marks::new();
        assert!(!marks.hit(5), "a slot that was never given out");
        marks.set(5, Mark { generation: 0, hits: 0 });
        assert_eq!([(); 5].map(|()| marks.hit(5)), [true, true, true, false, false]);
        marks.advance();
        assert_eq!([(); 2].map(|()| marks.hit(5)), [true, false]);
        assert_eq!(marks.get(5), Mark { generation: 1, hits: MOST_HITS });
    }

    #[test]
    fn the_generations_end_without_a_turn_back() {
        let marks = Marks::new();
        marks.generation.store(LAST_GENERATION - 1, Ordering::Relaxed);
        (0..3).for_each(|_| marks.advance());
        assert_eq!(marks.generation(), LAST_GENERATION);
        marks.set(0, Mark { generation: LAST_GENERATION, hits: MOST_HITS });
        assert_eq!(marks.get(0), Mark { generation: LAST_GENERATION, hits: MOST_HITS });
    }
}
