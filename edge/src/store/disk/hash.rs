//! Hashes that mean the same in the next process: of keys, of the fields that select a response, of what purges name.
//!
//! They are keyed by chance once, when a disk is used for the first time, so that no client can choose what shares one.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use crate::policy::Selecting;
use crate::site::key::Key;

/// The key of all hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

/// A part of what is hashed; no two lists of parts are the same bytes.
#[derive(Debug, Clone, Copy)]
pub enum Hashed<'a> {
    /// Tells lists of different kinds apart.
    Kind(u8),
    /// Behind its length.
    Text(&'a [u8]),
    /// A text, or none.
    Option(Option<&'a [u8]>),
}

impl HashKey {
    /// The hash of these parts.
    #[must_use]
    pub fn of(&self, parts: &[Hashed<'_>]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        for part in parts {
            match part {
                Hashed::Kind(kind) => hasher.write(&[*kind]),
                Hashed::Text(text) => Self::write(&mut hasher, text),
                Hashed::Option(None) => hasher.write(&[0]),
                Hashed::Option(Some(text)) => {
                    hasher.write(&[1]);
                    Self::write(&mut hasher, text);
                }
            }
        }
        hasher.finish()
    }

    /// The hash of a key.
    #[must_use]
    pub fn of_key(&self, key: &Key) -> u64 {
        self.of(&[Hashed::Kind(6), Hashed::Text(key.as_bytes())])
    }

    /// The hash of the fields that select a response among others of its key.
    #[must_use]
    pub fn of_variant(&self, selecting: &Selecting) -> u32 {
        let gzip = selecting.takes_gzip().map_or(2, u8::from);
        let mut parts = vec![Hashed::Kind(7), Hashed::Kind(gzip)];
        for (name, value) in selecting.values() {
            parts.extend([Hashed::Text(name.as_str().as_bytes()), Hashed::Option(value)]);
        }
        // The lower half of a good hash is one.
        self.of(&parts) as u32
    }

    fn write(hasher: &mut SipHasher13, text: &[u8]) {
        hasher.write(&(text.len() as u64).to_le_bytes());
        hasher.write(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_on_every_machine_and_differs_by_its_parts() {
        let hash = |parts: &[Hashed<'_>]| HashKey(*b"0123456789abcdef").of(parts);
        // Written down: a disk that was used by an earlier version of this program has it.
        assert_eq!(hash(&[Hashed::Kind(1), Hashed::Text(b"a"), Hashed::Option(None)]), SAVED);
        let lists: [&[Hashed<'_>]; 6] = [
            &[Hashed::Text(b"ab"), Hashed::Text(b"c")],
            &[Hashed::Text(b"a"), Hashed::Text(b"bc")],
            &[Hashed::Text(b"abc")],
            &[Hashed::Option(Some(b"abc"))],
            &[Hashed::Option(None)],
            &[Hashed::Kind(0), Hashed::Text(b"abc")],
        ];
        let mut hashes: Vec<u64> = lists.iter().map(|list| hash(list)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), lists.len());
    }

    const SAVED: u64 = 10_586_521_515_809_281_729;
}
