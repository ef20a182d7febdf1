//! The hash of names and records while zones are read and checked: a few multiplications, keyed.
//!
//! SipHash, which std takes, costs more than all else that is done with a record of a million. Here only one
//! thing matters: nobody can write a zone whose names collide. A random seed that is folded in with every
//! eight bytes does that, since no hash of it is ever shown to anybody.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

/// From hashes to numbers that stand for names or records: open addressing, two thirds full at most.
///
/// Half of the hash stands beside each number, so that what is not there costs no look at any that is; and a look-up
/// costs one cache miss, however many there are.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    slots: Vec<u64>,
}

const FREE: u64 = u64::MAX;
const TAG: u64 = 0xffff_ffff;
const FEWEST_SLOTS: usize = 16;

impl Slots {
    /// Room for `count` numbers.
    pub(crate) fn with_room(count: usize) -> Self {
        Self { slots: vec![FREE; (count + count / 2 + 1).max(FEWEST_SLOTS)] }
    }

    /// Adds a number; there must be room.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        let mut at = self.start(hash);
        while self.slots[at] != FREE {
            at = self.after(at);
        }
        self.slots[at] = u64::from(number) << 32 | (hash & TAG);
    }

    /// The number with this hash for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.start(hash);
        loop {
            let slot = *self.slots.get(at)?;
            if slot == FREE {
                return None;
            }
            if slot & TAG == hash & TAG && is_it(number(slot)) {
                return Some(number(slot));
            }
            at = self.after(at);
        }
    }

    pub(crate) fn memory(&self) -> Range<*const u8> {
        let slots = self.slots.as_ptr_range();
        slots.start.cast()..slots.end.cast()
    }

    /// The upper bits of a hash are the well mixed ones.
    fn start(&self, hash: u64) -> usize {
        let scaled = (u128::from(hash) * self.slots.len() as u128) >> 64;
        usize::try_from(scaled).expect("it is less than the number of slots")
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }
}

fn number(slot: u64) -> u32 {
    u32::try_from(slot >> 32).expect("32 bits are left")
}

/// A map from names or records.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, Keyed>;

/// Makes hashers of one random seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    seed: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        Self { seed: RandomState::new().hash_one(0) }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { hash: self.seed, seed: self.seed }
    }
}

/// See [`Keyed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folding {
    hash: u64,
    seed: u64,
}

impl Folding {
    /// Both halves of the product, so that each bit of the word moves every bit of the hash.
    fn fold(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.hash ^ word) * u128::from(self.seed | ODD);
        self.hash = product as u64 ^ (product >> 64) as u64 ^ self.seed.rotate_left(32);
    }
}

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.fold(self.seed);
        last.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        // The length tells bytes that are zero from none.
        let tail = rest.iter().fold(bytes.len() as u64, |tail, byte| tail << 8 | u64::from(*byte));
        self.fold(tail);
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.fold(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_hash_and_content_however_many() {
        let hash_of = |number: u32| u64::from(number / 3) << 61 | u64::from(number % 7);
        let mut slots = Slots::with_room(20);
        for number in 0..20 {
            assert_eq!(slots.find(hash_of(number), |known| known == number), None);
            slots.insert(hash_of(number), number);
        }
        assert!((0..20).all(|number| slots.find(hash_of(number), |known| known == number) == Some(number)));
    }

    #[test]
    fn bytes_that_differ_hardly_ever_collide_in_either_half() {
        let keyed = Keyed { seed: 0x0123_4567_89ab_cdef };
        let texts = (0..50_000_u32).map(|at| format!("h{at}").into_bytes());
        let zeros = (0..40).map(|len| vec![0; len]);
        let hashes: Vec<u64> = texts.chain(zeros).map(|text| keyed.hash_one(text)).collect();
        let distinct = |part: fn(u64) -> u64| {
            hashes.iter().map(|hash| part(*hash)).collect::<std::collections::HashSet<_>>().len()
        };
        assert_eq!(distinct(|hash| hash), hashes.len());
        assert!(distinct(|hash| hash >> 32) > hashes.len() - 5);
        assert!(distinct(|hash| hash & 0xffff_ffff) > hashes.len() - 5);
        let other = Keyed { seed: 1 };
        assert_ne!(other.hash_one(b"h1"), keyed.hash_one(b"h1"));
    }
}
