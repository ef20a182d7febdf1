//! The texts that are held, by their hashes, and what was made of pairs of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::kept::Text;
use crate::policy::dictionary::{Coding, Hash};
use crate::store::Share;

/// The name of something that is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// A text of an origin.
    Text(Arc<str>, Hash),
    /// A text of an origin, made short with another: the dictionary's hash, and its own.
    Short(Arc<str>, Coding, Hash, Hash),
}

impl Name {
    fn origin(&self) -> &str {
        match self {
            Self::Text(origin, _) | Self::Short(origin, ..) => origin,
        }
    }
}

/// The bytes that are held, up to a bound. The origin that has most loses first: what can be made again of its texts, then
/// these, and of each kind the least used.
#[derive(Debug)]
pub(super) struct Held {
    entries: HashMap<Name, Entry>,
    uses: u64,
    texts: u64,
    memory: Share,
    most_bytes: u64,
    forgets: u64,
}

#[derive(Debug)]
struct Entry {
    /// None: it is known to be of no use.
    bytes: Option<Bytes>,
    /// When it was used last, in uses of all.
    used: u64,
}

/// Looking for the one that goes walks them all.
pub(super) const MOST_ENTRIES: usize = 1_024;
/// An entry takes so much beside its bytes, with its origin's name.
const ENTRY_BYTES: u64 = 256;

impl Held {
    /// Nothing. Its memory is taken from this share's budget, up to so much.
    pub(super) fn new(memory: Share, most_bytes: u64) -> Self {
        Self { entries: HashMap::new(), uses: 0, texts: 0, memory, most_bytes, forgets: 0 }
    }

    /// The bytes under a name, which are used now.
    pub(super) fn get(&mut self, name: &Name) -> Option<Option<Bytes>> {
        self.uses += 1;
        let entry = self.entries.get_mut(name)?;
        entry.used = self.uses;
        Some(entry.bytes.clone())
    }

    /// The bytes under a name, which are not used.
    pub(super) fn peek(&self, name: &Name) -> Option<Option<Bytes>> {
        self.entries.get(name).map(|entry| entry.bytes.clone())
    }

    /// The most that it holds.
    pub(super) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// Holds this, if there is room for it once others have gone. Whether there is, and which have gone.
    pub(super) fn put(&mut self, name: Name, bytes: Option<Bytes>) -> (bool, Vec<Name>) {
        self.remove(&name);
        let (cost, mut gone) = (cost(bytes.as_ref()), Vec::new());
        if cost > self.most_bytes {
            return (false, gone);
        }
        loop {
            let next = match self.entries.len() >= MOST_ENTRIES {
                true => self.next_to_go(&name, 1, |_| 1),
                false if self.memory.bytes() + cost > self.most_bytes => {
                    self.next_to_go(&name, cost, cost_of)
                }
                false => break,
            };
            let Some(next) = next else { return (false, gone) };
            self.remove(&next);
            gone.push(next);
        }
        // Others may have all of the budget for now.
        let has_room = self.memory.grow(cost);
        if has_room {
            self.uses += 1;
            self.texts += u64::from(matches!(name, Name::Text(..)));
            self.entries.insert(name, Entry { bytes, used: self.uses });
        }
        (has_room, gone)
    }

    /// Holds nothing of these origins any more. Whether it did.
    pub(super) fn forget(&mut self, is_one: impl Fn(&str) -> bool) -> bool {
        self.forgets += 1;
        let gone: Vec<Name> = self.entries.keys().filter(|name| is_one(name.origin())).cloned().collect();
        gone.iter().for_each(|name| self.remove(name));
        !gone.is_empty()
    }

    /// How often something was forgotten: what was begun before the last time may be of what is purged.
    pub(super) fn forgets(&self) -> u64 {
        self.forgets
    }

    /// The texts among them.
    pub(super) fn texts(&self) -> Vec<Text> {
        let text = |(name, entry): (&Name, &Entry)| match (name, &entry.bytes) {
            (Name::Text(origin, hash), Some(bytes)) => {
                Some(Text { origin: Arc::clone(origin), hash: *hash, bytes: bytes.clone() })
            }
            _ => None,
        };
        self.entries.iter().filter_map(text).collect()
    }

    /// Texts, and the bytes of all that is held.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.texts, self.memory.bytes())
    }

    /// The entry that makes room for another, which weighs so much as these do.
    fn next_to_go(&self, new: &Name, weight: u64, weigh: impl Fn(&Entry) -> u64) -> Option<Name> {
        let mut shares: HashMap<&str, u64> = HashMap::new();
        for (name, entry) in &self.entries {
            *shares.entry(name.origin()).or_default() += weigh(entry);
        }
        if let Some(share) = shares.get_mut(new.origin()) {
            *share += weight;
        }
        let (most, _) = shares.into_iter().max_by_key(|(origin, share)| (*share, *origin))?;
        let its = self.entries.iter().filter(|(name, _)| name.origin() == most);
        let next = its.min_by_key(|(name, entry)| (matches!(name, Name::Text(..)), entry.used));
        next.map(|(name, _)| name.clone())
    }

    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.texts -= u64::from(matches!(name, Name::Text(..)));
            let left = self.memory.bytes().saturating_sub(cost_of(&entry));
            self.memory.shrink_to(left);
        }
    }
}

fn cost_of(entry: &Entry) -> u64 {
    cost(entry.bytes.as_ref())
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
    fn an_origin_that_has_most_loses_first_and_what_can_be_made_again_before_texts() {
        let mut held = Held::new(Budget::new(100_000).share(), 10 * 1_256);
        let of = |origin: &str, number: u8| Name::Text(origin.into(), [number; 32]);
        let short = |number: u8| Name::Short("b".into(), Coding::Dcz, [number; 32], [number; 32]);
        held.put(of("a", 0), bytes(1_000));
        for number in 0..30 {
            held.put(of("b", number), bytes(1_000));
        }
        assert!(held.get(&of("a", 0)).is_some(), "the other origin has most");
        assert_eq!(held.size().0, 10);
        held.put(short(1), bytes(1_000));
        assert!(held.get(&of("b", 21)).is_none(), "only texts were there to go");
        held.put(short(2), bytes(1_000));
        assert!(held.get(&short(1)).is_none() && held.get(&short(2)).is_some());
        held.put(of("a", 1), bytes(1_000));
        assert!(held.get(&short(2)).is_none() && held.get(&of("b", 22)).is_some());
        // However many of another come.
        for number in 0..2 * MOST_ENTRIES {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            held.put(Name::Short("c".into(), Coding::Dcb, hash, hash), None);
        }
        assert!(held.get(&of("a", 0)).is_some());
    }

    #[test]
    fn there_are_never_too_many_and_no_more_than_the_budget_has() {
        let budget = Budget::new(1 << 20);
        let mut held = Held::new(budget.share(), 1 << 20);
        for number in 0..2 * MOST_ENTRIES {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            held.put(Name::Short("o".into(), Coding::Dcz, hash, hash), None);
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
