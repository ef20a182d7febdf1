//! The texts that are held, by their hashes, and what was made of pairs of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::policy::dictionary::Hash;
use crate::store::Share;

/// The name of something that is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// A text of an origin.
    Text(Arc<str>, Hash),
    /// A text of an origin, made short with another: the dictionary's hash, and its own.
    Short(Arc<str>, Hash, Hash),
}

/// The bytes that are held, up to a bound; the least used go first.
#[derive(Debug)]
pub(super) struct Held {
    entries: HashMap<Name, Entry>,
    uses: u64,
    texts: u64,
    memory: Share,
    most_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    /// None: it is known to be of no use.
    bytes: Option<Bytes>,
    /// When it was used last, in uses of all.
    used: u64,
}

/// Looking for the least used one walks them all.
const MOST_ENTRIES: usize = 1_024;
/// An entry takes so much beside its bytes, with its origin's name.
const ENTRY_BYTES: u64 = 256;

impl Held {
    /// Nothing. Its memory is taken from this share's budget, up to so much.
    pub(super) fn new(memory: Share, most_bytes: u64) -> Self {
        Self { entries: HashMap::new(), uses: 0, texts: 0, memory, most_bytes }
    }

    /// The bytes under a name, which are used now.
    pub(super) fn get(&mut self, name: &Name) -> Option<Option<Bytes>> {
        self.uses += 1;
        let entry = self.entries.get_mut(name)?;
        entry.used = self.uses;
        Some(entry.bytes.clone())
    }

    /// Holds this, if there is room for it once others have gone.
    pub(super) fn put(&mut self, name: Name, bytes: Option<Bytes>) {
        self.remove(&name);
        let cost = cost(bytes.as_ref());
        if cost > self.most_bytes {
            return;
        }
        while self.entries.len() >= MOST_ENTRIES || self.memory.bytes() + cost > self.most_bytes {
            let least = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(least) = least.map(|(name, _)| name.clone()) else { return };
            self.remove(&least);
        }
        // Others may have all of the budget for now.
        if self.memory.grow(cost) {
            self.uses += 1;
            self.texts += u64::from(matches!(name, Name::Text(..)));
            self.entries.insert(name, Entry { bytes, used: self.uses });
        }
    }

    /// Texts, and the bytes of all that is held.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.texts, self.memory.bytes())
    }

    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.texts -= u64::from(matches!(name, Name::Text(..)));
            let left = self.memory.bytes().saturating_sub(cost(entry.bytes.as_ref()));
            self.memory.shrink_to(left);
        }
    }
}

fn cost(bytes: Option<&Bytes>) -> u64 {
    ENTRY_BYTES + bytes.map_or(0, |bytes| bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Budget;

    fn text(number: u8) -> Name {
        Name::Text("https://a.example".into(), [number; 32])
    }

    fn bytes(length: usize) -> Option<Bytes> {
        Some(vec![0; length].into())
    }

    #[test]
    fn the_least_used_go_where_there_are_too_many_bytes() {
        let budget = Budget::new(100_000);
        let mut held = Held::new(budget.share(), 10_000);
        for number in 0..4 {
            held.put(text(number), bytes(2_000));
        }
        assert_eq!((held.size(), budget.taken_bytes()), ((4, 4 * 2_256), 4 * 2_256));
        assert!(held.get(&text(0)).is_some());
        held.put(text(4), bytes(3_000));
        let left: Vec<u8> = (0..5).filter(|number| held.get(&text(*number)).is_some()).collect();
        assert_eq!(left, [0, 3, 4]);
        held.put(text(5), bytes(9_745));
        assert_eq!(held.size().0, 3, "longer than all that may be held: nothing goes for it");
        held.put(text(3), bytes(1));
        assert_eq!(held.size(), (3, 3 * 256 + 2_000 + 3_000 + 1), "one in the place of another");
    }

    #[test]
    fn there_are_never_too_many_and_no_more_than_the_budget_has() {
        let budget = Budget::new(1 << 20);
        let mut held = Held::new(budget.share(), 1 << 20);
        for number in 0..2 * MOST_ENTRIES {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            held.put(Name::Short("o".into(), hash, hash), None);
        }
        assert_eq!(held.entries.len(), MOST_ENTRIES);
        assert_eq!(budget.taken_bytes(), MOST_ENTRIES as u64 * ENTRY_BYTES);
        let mut others = budget.share();
        assert!(others.grow(budget.limit_bytes() - budget.taken_bytes()));
        held.put(text(1), bytes(100_000));
        assert!(held.get(&text(1)).is_none());
        drop(held);
        assert_eq!(budget.taken_bytes(), others.bytes());
    }
}
