//! The hash of names and records while zones are read and checked: a few multiplications, keyed.
//!
//! SipHash, which std takes, costs more than all else that is done with a record of a million. What is needed here is
//! that nobody can write a zone whose names collide; a random seed that is folded in with every eight octets does
//! that, since no hash of it is ever shown to anybody.

use std::hash::{BuildHasher, Hasher, RandomState};

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
        let [low, high] = [product, product >> 64].map(|half| (half & u128::from(u64::MAX)) as u64);
        self.hash = low ^ high ^ self.seed.rotate_left(32);
    }
}

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.fold(self.seed);
        last.hash
    }

    fn write(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        // The length tells octets that are zero from none.
        let tail = rest.iter().fold(octets.len() as u64, |tail, octet| tail << 8 | u64::from(*octet));
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
    fn octets_that_differ_hardly_ever_collide_in_either_half() {
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
