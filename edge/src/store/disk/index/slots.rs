//! Places for files in memory, each in the queue of eviction.

use crate::store::disk::record::Put;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// In chunks, so that growing copies nothing.
#[derive(Debug)]
pub(super) struct Slots {
    chunks: Vec<Box<[Slot]>>,
    /// Free slots, by their `newer`.
    free: u32,
    oldest: u32,
    newest: u32,
}

/// The fields of a [`Put`], without the bytes that aligning two structs would cost.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u64,
    file: u64,
    birth: u64,
    blocks: u32,
    variant: u32,
    stale_secs: u32,
    older: u32,
    newer: u32,
    edition: u16,
    uses: u8,
    is_free: bool,
}

const _: () = assert!(size_of::<Slot>() == 48, "what the memory bound counts with");

const CHUNK: usize = 4_096;
const EMPTY: Slot = Slot {
    hash: 0,
    file: 0,
    birth: 0,
    blocks: 0,
    variant: 0,
    stale_secs: 0,
    older: NONE,
    newer: NONE,
    edition: 0,
    uses: 0,
    is_free: true,
};

impl Default for Slots {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: NONE, oldest: NONE, newest: NONE }
    }
}

impl Slots {
    /// A slot with this in it, as the newest.
    pub(super) fn push(&mut self, put: Put) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let slot = self.free;
        self.free = self.at(slot).newer;
        let Put { hash, file, birth, blocks, variant, stale_secs, edition } = put;
        *self.at_mut(slot) =
            Slot { hash, file, birth, blocks, variant, stale_secs, edition, is_free: false, ..EMPTY };
        self.link(slot);
        slot
    }

    /// Frees the slot; what was in it.
    pub(super) fn take(&mut self, slot: u32) -> Put {
        let put = self.put(slot);
        self.unlink(slot);
        *self.at_mut(slot) = Slot { newer: self.free, ..EMPTY };
        self.free = slot;
        put
    }

    pub(super) fn put(&self, slot: u32) -> Put {
        self.at(slot).put()
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    pub(super) fn newer(&self, slot: u32) -> Option<u32> {
        Some(self.at(slot).newer).filter(|newer| *newer != NONE)
    }

    /// Makes it the newest.
    pub(super) fn renew(&mut self, slot: u32) {
        self.unlink(slot);
        self.link(slot);
    }

    pub(super) fn add_use(&mut self, slot: u32, most: u8) {
        let slot = self.at_mut(slot);
        slot.uses = slot.uses.saturating_add(1).min(most);
    }

    /// Whether there was a use to spend.
    pub(super) fn spend_use(&mut self, slot: u32) -> bool {
        let slot = self.at_mut(slot);
        let had = slot.uses > 0;
        slot.uses = slot.uses.saturating_sub(1);
        had
    }

    pub(super) fn expire(&mut self, slot: u32, at_secs: u32) {
        let slot = self.at_mut(slot);
        // 0 is that nothing ended it.
        let before = if slot.stale_secs == 0 { u32::MAX } else { slot.stale_secs };
        slot.stale_secs = at_secs.max(1).min(before);
    }

    pub(super) fn some_from(&self, slot: u32) -> (Vec<Put>, Option<u32>) {
        let Some(chunk) = self.chunks.get(slot as usize / CHUNK) else { return (Vec::new(), None) };
        let puts = chunk.iter().filter(|slot| !slot.is_free).map(Slot::put).collect();
        (puts, slot.checked_add(CHUNK as u32))
    }

    fn grow(&mut self) {
        let first = u32::try_from(self.chunks.len() * CHUNK).expect("bounded by a u32 of files");
        let last = first + (CHUNK as u32 - 1);
        let slot = |number: u32| Slot { newer: if number == last { NONE } else { number + 1 }, ..EMPTY };
        self.chunks.push((first..=last).map(slot).collect());
        self.free = first;
    }

    fn link(&mut self, slot: u32) {
        let newest = std::mem::replace(&mut self.newest, slot);
        let own = self.at_mut(slot);
        (own.older, own.newer) = (newest, NONE);
        match newest {
            NONE => self.oldest = slot,
            newest => self.at_mut(newest).newer = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { older, newer, .. } = *self.at(slot);
        match older {
            NONE => self.oldest = newer,
            older => self.at_mut(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.at_mut(newer).older = older,
        }
    }

    fn at(&self, slot: u32) -> &Slot {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    fn at_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

impl Slot {
    fn put(&self) -> Put {
        let Self { hash, file, birth, blocks, variant, stale_secs, edition, .. } = *self;
        Put { hash, file, birth, blocks, variant, stale_secs, edition }
    }
}
