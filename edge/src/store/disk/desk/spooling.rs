//! Responses that are written while they come from their origins.

use std::sync::Arc;

use super::super::layout::{BLOCK_BYTES, blocks};
use super::super::record::{Put, Record};
use super::state::{By, Pending, State};
use super::{Counters, Desk, Phase};
use crate::clock::monotonic;
use crate::store::Recency;

/// Responses that are written at once so.
const MOST_SPOOLS: usize = 256;
/// One part in so many of a disk may be taken by what is not complete: the rest is for what is held.
const SPOOLED_PART: u64 = 2;

/// Responses on the disk that are remembered, the last ones: one that was asked for before them may still come.
const MOST_RECENT: usize = 1_024;

impl State {
    /// Nothing else holds the place of a response from now on, unless what does is more recent. How many files go.
    fn take_place(&mut self, pending: &Pending) -> Option<usize> {
        let (hash, variant) = (pending.hash, pending.variant);
        let recency = pending.recency?;
        if self.outdoes((hash, variant), recency) {
            return None;
        }
        self.remember((hash, variant, recency));
        Some(self.supersede(hash, variant, By::Whole(recency)))
    }

    fn outdoes(&self, (hash, variant): (u64, u32), recency: Recency) -> bool {
        let outdoes = |recent: &(u64, u32, Recency)| {
            (recent.0, recent.1) == (hash, variant) && recency.is_behind(recent.2)
        };
        self.index.find(hash).iter().any(|put| put.variant == variant) && self.recent.iter().any(outdoes)
    }

    pub(super) fn remember(&mut self, recent: (u64, u32, Recency)) {
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(recent);
    }

    /// Whether there is room for so many blocks more of what is not complete.
    fn may_spool(&self, more: u64) -> bool {
        self.spooled_blocks.saturating_add(more) <= self.index.room().blocks / SPOOLED_PART
    }
}

impl Desk {
    /// Room for a response of so many bytes, as far as is known: the number of its file. None if it is not worth it now,
    /// or too much was written of late.
    pub(in crate::store::disk) fn reserve(
        &self,
        (hash, variant): (u64, u32),
        recency: Recency,
        bytes: u64,
    ) -> Option<(u64, Arc<Pending>)> {
        let now = monotonic() - self.began;
        let mut state = self.lock();
        let is_open = state.phase == Phase::Ready && !state.is_stopping && now >= state.refuses_until;
        let has_room = state.spools.len() < MOST_SPOOLS && state.may_spool(blocks(bytes).into());
        if !is_open || !has_room || !state.index.admits(hash, blocks(bytes)) {
            return None;
        }
        if !state.rate.take_ahead(bytes, now) {
            Counters::add(&self.counters.put_off, 1);
            return None;
        }
        let pending = Arc::new(Pending::new(hash, variant, Some(recency), None));
        let file = state.next_file;
        state.next_file += 1;
        state.spools.push(Arc::clone(&pending));
        let gone = self.take_blocks(&mut state, blocks(bytes).into());
        drop(state);
        self.ring(gone > 0);
        Some((file, pending))
    }

    /// So many blocks more for a response that is longer than was known; false if the disk takes no more.
    pub(in crate::store::disk) fn reserve_more(&self, more: u64) -> bool {
        let now = monotonic() - self.began;
        let mut state = self.lock();
        if state.phase != Phase::Ready || state.is_stopping || !state.may_spool(more) {
            return false;
        }
        if more > 0 {
            let gone = self.take_blocks(&mut state, more);
            state.rate.owe(more * BLOCK_BYTES, now);
            drop(state);
            self.ring(gone > 0);
        }
        true
    }

    fn take_blocks(&self, state: &mut State, more: u64) -> usize {
        state.spooled_blocks += more;
        let gone = state.index.make_room_beside(state.spooled_blocks);
        Counters::add(&self.counters.evicted, gone.len() as u64);
        state.let_go(&gone)
    }

    /// It is written, or will not be.
    pub(in crate::store::disk) fn release(&self, pending: &Arc<Pending>, blocks: u64) {
        let mut state = self.lock();
        state.spools.retain(|spool| !Arc::ptr_eq(spool, pending));
        state.spooled_blocks = state.spooled_blocks.saturating_sub(blocks);
        drop(state);
        self.keeper.notify_one();
    }

    /// A file is complete: it is held from now on, unless something came over it. Whether it is.
    pub(in crate::store::disk) fn hold(&self, pending: &Pending, put: Put, birth: &Arc<u64>) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Ready || pending.is_cancelled() || state.is_stopping {
            return false;
        }
        // Also what is on its way and of the past.
        let Some(mut gone) = state.take_place(pending) else { return false };
        gone += state.note(&[Record::Put(put)]);
        state.index.keep_alive(put.birth, Arc::clone(birth));
        let too_many = state.index.too_many(put.hash);
        gone += state.let_go(&too_many);
        drop(state);
        Counters::add(&self.counters.written_files, 1);
        Counters::add(&self.counters.written_bytes, u64::from(put.blocks) * BLOCK_BYTES);
        self.ring(gone > 0);
        true
    }

    /// The number for a new head of a file. It differs from those of before and from those that others are writing, and by its
    /// lowest bit from the one that counts now, which stays as it is. None if the file is not held any more, has another head
    /// than the one that was confirmed, or another head is being written beside it: until [`Desk::renew`],
    /// [`Desk::drop_file`] or [`Desk::end_confirming`].
    pub(in crate::store::disk) fn next_edition(&self, put: &Put) -> Option<u16> {
        let mut state = self.lock();
        let held = state.index.find(put.hash).into_iter().find(|held| held.file == put.file)?;
        // Another has confirmed it meanwhile.
        if held.edition != put.edition || !state.confirming.insert(put.file) {
            return None;
        }
        // Never 0, the head in the file itself. The place of odd ones may then have that of an earlier version of this program.
        state.last_edition = state.last_edition.checked_add(2).unwrap_or(2);
        let is_odd = held.edition != 0 && held.edition % 2 == 0;
        Some(state.last_edition | u16::from(is_odd))
    }

    /// No head is being written beside a file any more.
    pub(in crate::store::disk) fn end_confirming(&self, file: u64) {
        self.lock().confirming.remove(&file);
    }

    /// Whether the disk is known to hold a more recent response in this place.
    pub(in crate::store::disk) fn outdoes(&self, place: (u64, u32), recency: Recency) -> bool {
        self.lock().outdoes(place, recency)
    }

    /// Whether a file is held, with this head.
    pub(in crate::store::disk) fn has_edition(&self, put: &Put) -> bool {
        let is_it = |held: &Put| held.file == put.file && held.edition == put.edition;
        self.lock().index.find(put.hash).iter().any(is_it)
    }

    /// The origin confirmed what lies in a file: it is of this birth and so recent from now on, with the head of this edition.
    /// Nothing changes if another head has come to count meanwhile. False if the file is not held any more.
    pub(in crate::store::disk) fn renew(
        &self,
        put: &Put,
        birth: &Arc<u64>,
        recency: Recency,
        edition: u16,
    ) -> bool {
        let mut state = self.lock();
        state.confirming.remove(&put.file);
        let held = state.index.find(put.hash).into_iter().find(|held| held.file == put.file);
        let held = held.filter(|_| state.phase == Phase::Ready);
        if held.is_some_and(|held| held.edition == put.edition) {
            state.remember((put.hash, put.variant, recency));
            state.note(&[Record::Put(Put { birth: **birth, stale_secs: 0, edition, ..*put })]);
            state.index.keep_alive(**birth, Arc::clone(birth));
            drop(state);
            self.ring(false);
        }
        held.is_some()
    }

    /// Whether the file of this index is the one that was looked up, and no purge came since.
    pub(in crate::store::disk) fn is_as_found(&self, put: &Put) -> bool {
        let is_it = |held: &Put| {
            // No purge makes anything fresh.
            let is_confirmed = held.birth > put.birth || held.stale_secs == 0;
            let is_confirmed = is_confirmed || held.stale_secs == put.stale_secs;
            held.file == put.file && is_confirmed
        };
        self.lock().index.find(put.hash).iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::stored;
    use crate::store::Epoch;
    use crate::store::disk::index::Room;

    /// A desk of so many blocks that is in use.
    fn desk(blocks: u64) -> Desk {
        let desk = Desk::new(Room { blocks, files: 1_000 }, 1 << 40, 0);
        desk.ready(None);
        desk
    }

    #[test]
    fn what_is_not_complete_takes_half_of_a_disk_at_most() {
        let desk = desk(100);
        let epoch = Epoch::new(Arc::new(0), 0, 1);
        let recency = Recency::of(&stored(&[]), &epoch);
        let reserve = |hash, blocks: u64| desk.reserve((hash, 0), recency, blocks * BLOCK_BYTES);
        assert!(reserve(1, 51).is_none(), "one alone");
        let (_, first) = reserve(2, 30).unwrap();
        assert!(reserve(3, 21).is_none(), "two together");
        let (_, second) = reserve(4, 10).unwrap();
        assert!(desk.reserve_more(10));
        assert!(!desk.reserve_more(1), "one that grows");
        assert!(desk.reserve_more(0), "what it has is its own");
        desk.release(&second, 20);
        assert!(desk.reserve_more(20));
        desk.release(&first, 50);
        assert!(reserve(5, 50).is_some());
    }
}
