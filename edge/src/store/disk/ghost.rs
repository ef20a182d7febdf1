//! Keys that were asked for a short while ago, by a fingerprint of their hash: bounded, and forgetful.

/// The keys that were seen.
#[derive(Debug)]
pub struct Ghost {
    prints: Box<[u32]>,
}

impl Ghost {
    /// Remembers about `keys` keys, four bytes each.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { prints: vec![0; keys.clamp(LEAST_KEYS, MOST_KEYS).next_power_of_two()].into() }
    }

    /// Whether the key with this hash was here since another took its place. From now on it was.
    pub fn was_seen(&mut self, hash: u64) -> bool {
        // The place is of other bits than the print: two keys at one place rarely look alike.
        let place = usize::try_from(hash >> 32).unwrap_or(0) & (self.prints.len() - 1);
        let print = (hash as u32) | 1;
        std::mem::replace(&mut self.prints[place], print) == print
    }
}

const LEAST_KEYS: usize = 1 << 12;
const MOST_KEYS: usize = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_the_second_time_until_others_have_taken_its_place() {
        let mut ghost = Ghost::new(0);
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(!ghost.was_seen(hash(1)));
        assert!(ghost.was_seen(hash(1)));
        let known = (2..50_000).filter(|n| ghost.was_seen(hash(*n))).count();
        assert_eq!(known, 0, "keys that were never here");
        assert!(!ghost.was_seen(hash(1)), "forgotten: more keys came than there is room for");
    }
}
