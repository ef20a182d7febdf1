//! The index of a disk, in memory: 48 bytes a file, and at most 12 for finding it.
//!
//! The order of eviction is a queue with a second chance for what was used since it was last at the end, two for what
//! was used twice. It is the main queue of S3-FIFO; the memory store and the [`Ghost`] are the small one: while
//! something would have to go for it, a response comes here only once it was asked for again.
//!
//! Invariant: after [`Index::make_room`] there are no more files and blocks than the bounds allow.

mod slots;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;

use super::ghost::Ghost;
use super::record::Put;
use slots::{NONE, Slots};

/// How much may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Units of 4 KiB.
    pub blocks: u64,
    /// Files.
    pub files: u32,
}

/// The files that are held.
#[derive(Debug)]
pub struct Index {
    room: Room,
    /// By the hash of the key: a growing table stops everybody, so each is a part of all.
    tables: Box<[HashTable<u32>]>,
    slots: Slots,
    blocks: u64,
    files: u32,
    births: BTreeMap<u64, Birth>,
    ghost: Ghost,
}

/// The files whose responses were asked for in one epoch.
#[derive(Debug, Default)]
struct Birth {
    files: u32,
    /// As long as it lives, the marks from after it are kept.
    alive: Option<Arc<u64>>,
}

const TABLES: usize = 64;
/// One part in so many more than the average is room enough for each table.
const EXTRA_PART: usize = 16;
/// A table that is as empty as grown ones never are.
const MOST_SPARE: usize = 3;
/// Of one key: as many as the memory store keeps.
const MOST_VARIANTS: usize = 64;
/// Steps that one eviction may take, so that nobody waits long for it.
const MOST_STEPS: usize = 64;
/// Uses that count.
const MOST_USES: u8 = 3;
/// A key that is seen again within about so many bytes of other responses is admitted.
const BLOCKS_PER_GHOST: u64 = 4;

impl Index {
    /// Nothing.
    #[must_use]
    pub fn new(room: Room) -> Self {
        Self {
            room,
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            slots: Slots::default(),
            blocks: 0,
            files: 0,
            births: BTreeMap::new(),
            ghost: Ghost::new(usize::try_from(room.blocks / BLOCKS_PER_GHOST).unwrap_or(usize::MAX)),
        }
    }

    /// Makes room at once for so many files that come, as far as there is any for them: a table that grows looks at all that it
    /// has, which is most of the time that a large journal takes.
    pub fn expect(&mut self, files: u64) {
        let files = usize::try_from(files.min(self.room.files.into())).unwrap_or(0);
        // They are not spread quite evenly.
        let each = files / TABLES + files / TABLES / EXTRA_PART;
        let slots = &self.slots;
        self.tables.iter_mut().for_each(|table| table.reserve(each, |slot| slots.put(*slot).hash));
    }

    /// Gives back the room for files that did not come.
    pub fn settle(&mut self) {
        let slots = &self.slots;
        for table in self.tables.iter_mut().filter(|table| table.capacity() > MOST_SPARE * table.len().max(1))
        {
            table.shrink_to(table.len(), |slot| slots.put(*slot).hash);
        }
    }

    /// How much may be held.
    #[must_use]
    pub fn room(&self) -> Room {
        self.room
    }

    /// Files.
    #[must_use]
    pub fn files(&self) -> u32 {
        self.files
    }

    /// Units of 4 KiB.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether a response of this key and so many blocks is worth writing, that was asked for just now.
    pub fn admits(&mut self, hash: u64, blocks: u32) -> bool {
        let was_seen = self.ghost.was_seen(hash);
        let is_free = self.blocks + u64::from(blocks) <= self.room.blocks && self.files < self.room.files;
        u64::from(blocks) <= self.room.blocks && (was_seen || is_free)
    }

    /// Holds a file, as the newest. `born` keeps the marks from after its birth, where there can be any.
    pub fn insert(&mut self, put: Put, born: Option<&Arc<u64>>) {
        self.remove(put.hash, put.file);
        let slot = self.slots.push(put);
        let table = &mut self.tables[table_of(put.hash)];
        let slots = &self.slots;
        table.insert_unique(put.hash, slot, |slot| slots.put(*slot).hash);
        self.blocks += u64::from(put.blocks);
        self.files += 1;
        let birth = self.births.entry(put.birth).or_default();
        birth.files += 1;
        if let Some(born) = born {
            birth.alive.get_or_insert_with(|| Arc::clone(born));
        }
    }

    /// Lets go what is too much; the files that are no longer held.
    pub fn make_room(&mut self) -> Vec<Put> {
        self.make_room_beside(0)
    }

    /// As [`Index::make_room`], where so many blocks are taken by what is being written.
    pub fn make_room_beside(&mut self, others: u64) -> Vec<Put> {
        let blocks = self.room.blocks.saturating_sub(others);
        let mut gone = Vec::new();
        while self.blocks > blocks || self.files > self.room.files {
            gone.extend(self.evict());
        }
        gone
    }

    /// Lets go so many blocks, whatever room there is; the files that are no longer held.
    pub fn shed(&mut self, blocks: u64) -> Vec<Put> {
        let until = self.blocks.saturating_sub(blocks.max(1));
        let mut gone = Vec::new();
        while self.blocks > until {
            gone.extend(self.evict());
        }
        gone
    }

    fn evict(&mut self) -> Option<Put> {
        for _ in 0..MOST_STEPS {
            let oldest = self.slots.oldest()?;
            if !self.slots.spend_use(oldest) {
                break;
            }
            self.slots.renew(oldest);
        }
        let put = self.slots.put(self.slots.oldest()?);
        self.remove(put.hash, put.file)
    }

    /// The files of the keys with this hash, newest first.
    #[must_use]
    pub fn find(&self, hash: u64) -> Vec<Put> {
        let mut found: Vec<Put> = self.slots_of(hash).map(|slot| self.slots.put(slot)).collect();
        found.sort_unstable_by_key(|put| std::cmp::Reverse(put.file));
        found
    }

    /// Whether this file is held.
    #[must_use]
    pub fn holds(&self, hash: u64, file: u64) -> bool {
        self.slot_of(hash, file).is_some()
    }

    /// Whether any file of a key with this hash is held.
    #[must_use]
    pub fn has(&self, hash: u64) -> bool {
        self.slots_of(hash).next().is_some()
    }

    /// A key with this hash was asked for.
    pub fn touch(&mut self, hash: u64) {
        let slots: Vec<u32> = self.slots_of(hash).collect();
        slots.into_iter().for_each(|slot| self.slots.add_use(slot, MOST_USES));
    }

    /// No longer holds a file; what it was.
    pub fn remove(&mut self, hash: u64, file: u64) -> Option<Put> {
        let slot = self.slot_of(hash, file)?;
        let table = &mut self.tables[table_of(hash)];
        table.find_entry(hash, |other| *other == slot).ok()?.remove();
        let put = self.slots.take(slot);
        self.blocks -= u64::from(put.blocks);
        self.files -= 1;
        if let Some(birth) = self.births.get_mut(&put.birth) {
            birth.files -= 1;
            if birth.files == 0 {
                self.births.remove(&put.birth);
            }
        }
        Some(put)
    }

    /// No longer holds what `goes` says of the files of a key; what they were.
    pub fn remove_where(&mut self, hash: u64, goes: impl Fn(&Put) -> bool) -> Vec<Put> {
        let gone: Vec<Put> = self.find(hash).into_iter().filter(goes).collect();
        for put in &gone {
            self.remove(put.hash, put.file);
        }
        gone
    }

    /// The oldest files of a key that has more than it may.
    #[must_use]
    pub fn too_many(&self, hash: u64) -> Vec<Put> {
        self.find(hash).into_iter().skip(MOST_VARIANTS).collect()
    }

    /// Ends the freshness of all files of a key, unless it ended before; how many there are.
    pub fn expire(&mut self, hash: u64, at_secs: u32) -> usize {
        let slots: Vec<u32> = self.slots_of(hash).collect();
        slots.iter().for_each(|slot| self.slots.expire(*slot, at_secs));
        slots.len()
    }

    /// No longer holds anything; the numbers of the files.
    pub fn clear(&mut self) -> Vec<u64> {
        let files = self.all_files();
        let ghost = std::mem::replace(&mut self.ghost, Ghost::new(0));
        *self = Self { ghost, ..Self::new(self.room) };
        files
    }

    /// The numbers of all files.
    #[must_use]
    pub fn all_files(&self) -> Vec<u64> {
        let mut files = Vec::with_capacity(self.files as usize);
        let mut next = self.slots.oldest();
        while let Some(slot) = next {
            files.push(self.slots.put(slot).file);
            next = self.slots.newer(slot);
        }
        files
    }

    /// The files in some slots from this on, and the slot to go on from; none behind the last.
    #[must_use]
    pub fn some_from(&self, slot: u32) -> (Vec<Put>, Option<u32>) {
        self.slots.some_from(slot)
    }

    /// The epochs that files are from, oldest first.
    pub fn births(&self) -> impl Iterator<Item = u64> {
        self.births.keys().copied()
    }

    /// The birth that keeps the marks from after an epoch that files are from.
    #[must_use]
    pub fn birth(&self, epoch: u64) -> Option<Arc<u64>> {
        self.births.get(&epoch)?.alive.clone()
    }

    /// Keeps the marks from after this epoch as long as there are files from it.
    pub fn keep_alive(&mut self, epoch: u64, alive: Arc<u64>) {
        if let Some(birth) = self.births.get_mut(&epoch) {
            birth.alive = Some(alive);
        }
    }

    fn slots_of(&self, hash: u64) -> impl Iterator<Item = u32> {
        let found = self.tables[table_of(hash)].iter_hash(hash).copied();
        found.filter(move |slot| self.slots.put(*slot).hash == hash)
    }

    fn slot_of(&self, hash: u64, file: u64) -> Option<u32> {
        self.slots_of(hash).find(|slot| self.slots.put(*slot).file == file)
    }
}

/// Of bits that the tables themselves use least.
fn table_of(hash: u64) -> usize {
    usize::try_from(hash >> 48).unwrap_or(0) % TABLES
}

const _: () = assert!(NONE == u32::MAX, "no index has as many slots");
