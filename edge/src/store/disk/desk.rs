//! The state that the threads of one disk and those who ask it share: the index, the records on their way to the journal, and
//! the files on their way to the disk. No lock in here is held during IO.
//!
//! Invariant: whatever the disk does, nothing here waits for it, and nothing here grows beyond its bound.
//! Invariant: records are written in the order in which they changed the index.

mod identity;
mod spooling;
mod state;
#[cfg(test)]
mod tests;

use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::index::{Index, Room};
use super::journal::apply;
use super::record::{Put, Record};
use crate::clock::monotonic;
use crate::site::key::Key;
use crate::store::reading::Reading;
pub(super) use state::Pending;
use state::State;
pub(super) use state::{By, Counters, Job, Phase};

/// The shared state of one disk.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// The keeper of the journal has something to do.
    keeper: Condvar,
    /// The writer of files has something to do.
    writer: Condvar,
    /// Told whenever a receipt may be due.
    settled: watch::Sender<()>,
    pub(super) counters: Counters,
    began: Instant,
}

/// The keeper's work.
#[derive(Debug)]
pub(super) enum Keep {
    /// Write these, and see that they last if somebody waits for that.
    Records {
        records: Vec<Record>,
        until: u64,
        must_last: bool,
    },
    /// Make a journal from the index.
    Mend,
    /// Write this generation into the folder's identity.
    Identify(u64),
    Stop,
}

/// The writer's work.
#[derive(Debug)]
pub(super) enum Write {
    File(Box<Job>),
    Remove(Vec<u64>),
    /// See that this file lasts, and tell that.
    Sync(u64, Vec<oneshot::Sender<()>>),
    Stop,
}

/// Files that wait to be written.
const MOST_JOBS: usize = 1_024;
/// One part in so many of the memory for fills is for them.
const JOBS_PART: u64 = 4;
/// After a failure, how long before the next try.
const RETRY: Duration = Duration::from_secs(5);
/// Files that are removed between two that are written.
const REMOVED_AT_ONCE: usize = 256;
/// How much goes to make room on a disk that is full of other things: one part in so many.
const SHED_PART: u64 = 16;

impl Desk {
    /// For a disk of this room; numbers of files begin with the first of its generation.
    pub(super) fn new(room: Room, write_rate_bytes: u64, first_file: u64) -> Self {
        let state = State::new(room, write_rate_bytes, first_file);
        Self {
            state: Mutex::new(state),
            keeper: Condvar::new(),
            writer: Condvar::new(),
            settled: watch::channel(()).0,
            counters: Counters::default(),
            began: monotonic(),
        }
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files of a key with this hash, newest first, each with what keeps the marks from after it.
    pub(super) fn find(&self, hash: u64) -> Vec<(Put, Arc<u64>)> {
        let now = monotonic() - self.began;
        let mut state = self.lock();
        if state.phase != Phase::Ready || now < state.rests_until || !state.index.has(hash) {
            return Vec::new();
        }
        state.index.touch(hash);
        let found = state.index.find(hash);
        found.into_iter().filter_map(|put| Some((put, state.index.birth(put.birth)?))).collect()
    }

    /// Does what the records say, and keeps them for the journal; how many files of the index they took.
    pub(super) fn note(&self, records: &[Record]) -> usize {
        let gone = self.lock().note(records);
        self.ring(gone > 0);
        gone
    }

    /// A purge of one key: nothing that is neither held nor on its way needs a record, which what it was has. How many
    /// files it took or made stale.
    pub(super) fn note_of_key(&self, hash: u64, record: Record) -> usize {
        let mut state = self.lock();
        let held = state.index.find(hash).len();
        let is_pending = state.on_their_way().any(|pending| pending.hash == hash);
        if held > 0 || is_pending || state.phase == Phase::Loading {
            state.note(&[record]);
            drop(state);
            self.ring(true);
        }
        held
    }

    /// A read failed or took too long: none is tried for a while, nor a write of what would then be read.
    pub(super) fn rest(&self) {
        Counters::add(&self.counters.errors, 1);
        let until = monotonic() - self.began + RETRY;
        let mut state = self.lock();
        (state.rests_until, state.refuses_until) = (until, until);
    }

    /// A key was asked for; whether anything of it is held, or will be.
    pub(super) fn touch(&self, hash: u64) -> bool {
        let mut state = self.lock();
        state.index.touch(hash);
        state.phase != Phase::Ready
            || state.index.has(hash)
            || state.on_their_way().any(|pending| pending.hash == hash)
    }

    /// This is stored in memory with these selecting fields: that on the disk is of the past.
    pub(super) fn supersede(&self, hash: u64, variant: u32, by: By) {
        let mut state = self.lock();
        // A part was fetched because nobody knows yet what is there. Whether that is of the past is seen when it is read.
        if state.phase == Phase::Loading && matches!(by, By::Part) {
            return;
        }
        let is_held = state.index.find(hash).iter().any(|put| put.variant == variant);
        let is_pending = state.on_their_way().any(|pending| pending.is(hash, variant));
        if is_held || is_pending || state.phase == Phase::Loading {
            let gone = state.supersede(hash, variant, by);
            drop(state);
            self.ring(gone > 0);
        }
    }

    /// Whether it is worth it to write a response now.
    pub(super) fn admits(&self, hash: u64, blocks: u32, bytes: u64, must: bool) -> bool {
        let now = monotonic() - self.began;
        let mut state = self.lock();
        if state.phase != Phase::Ready || now < state.refuses_until {
            return false;
        }
        if !must && !state.index.admits(hash, blocks) {
            return false;
        }
        let fits = state.job_bytes == 0 || state.job_bytes + bytes <= state.most_job_bytes;
        let is_free = state.jobs.len() < MOST_JOBS && fits;
        let is_free = is_free && (state.rate.take(bytes, now) || must);
        if !is_free {
            Counters::add(&self.counters.put_off, 1);
        }
        is_free
    }

    /// Tells `wait` when the response with these selecting fields is on the disk, and outlives a crash; gives it back if it is
    /// neither there nor on its way.
    pub(super) fn await_written(
        &self,
        hash: u64,
        variant: u32,
        wait: oneshot::Sender<()>,
    ) -> Option<oneshot::Sender<()>> {
        let mut state = self.lock();
        if let Some(pending) = state.pending.iter().find(|pending| pending.is(hash, variant)) {
            pending.waits().push(wait);
            return None;
        }
        let held = state.index.find(hash).into_iter().find(|put| put.variant == variant);
        match held.filter(|_| state.phase == Phase::Ready) {
            None => Some(wait),
            Some(put) => {
                state.syncs.push((put.file, vec![wait]));
                drop(state);
                self.writer.notify_one();
                None
            }
        }
    }

    /// Has a response written.
    pub(super) fn push(
        &self,
        key: Key,
        (hash, variant): (u64, u32),
        object: Reading,
        bytes: u64,
        wait: Option<oneshot::Sender<()>>,
    ) {
        let pending = Arc::new(Pending::new(hash, variant, None, wait));
        let mut state = self.lock();
        let file = state.next_file;
        state.next_file += 1;
        state.pending.push(Arc::clone(&pending));
        state.job_bytes += bytes;
        state.jobs.push_back(Job { key, object, pending, file, bytes });
        drop(state);
        self.writer.notify_one();
    }

    /// The writer is done with a job; what it made is held now, unless something came over it. Whether it is.
    pub(super) fn written(&self, job: &Job, blocks: u32) -> bool {
        let mut state = self.lock();
        let is_held = state.phase == Phase::Ready && !job.pending.is_cancelled.load(Ordering::Relaxed);
        let mut gone = 0;
        if is_held {
            let (hash, variant) = (job.pending.hash, job.pending.variant);
            let birth = job.object.epoch.birth();
            let put =
                Put { hash, file: job.file, birth: **birth, blocks, variant, stale_secs: 0, edition: 0 };
            if state.index.find(hash).iter().any(|put| put.variant == variant) {
                gone += state.supersede(hash, variant, By::Whole(job.object.recency()));
            }
            state.remember((hash, variant, job.object.recency()));
            gone += state.note(&[Record::Put(put)]);
            state.index.keep_alive(put.birth, Arc::clone(birth));
            let others = state.spooled_blocks;
            let too_much = [state.index.too_many(hash), state.index.make_room_beside(others)].concat();
            Counters::add(&self.counters.evicted, too_much.len() as u64);
            gone += state.let_go(&too_much);
        }
        state.close(job);
        let waits = mem::take(&mut *job.pending.waits());
        if is_held && !waits.is_empty() {
            state.syncs.push((job.file, waits));
        }
        drop(state);
        self.ring(gone > 0);
        is_held
    }

    /// Of the memory for fills, a part is for files that wait to be written: one at least.
    pub(super) fn bound_jobs(&self, fills_bytes: u64) {
        self.lock().most_job_bytes = fills_bytes / JOBS_PART;
    }

    /// Files were removed.
    pub(super) fn removed(&self) {
        self.keeper.notify_one();
    }

    /// Nobody needs a job any more.
    pub(super) fn abandon(&self, job: &Job) {
        self.lock().close(job);
        self.keeper.notify_one();
    }

    /// The writer could not do a job: it tries no other for a while, and holds less if the disk is full.
    pub(super) fn failed(&self, job: &Job, is_full: bool) {
        self.lock().close(job);
        self.refuse(is_full);
    }

    /// A write failed: none is tried for a while.
    pub(super) fn refuse(&self, is_full: bool) {
        Counters::add(&self.counters.errors, 1);
        let now = monotonic() - self.began;
        let mut state = self.lock();
        state.refuses_until = now + RETRY;
        if is_full {
            let blocks = state.index.blocks();
            let shed = state.index.shed(blocks / SHED_PART);
            Counters::add(&self.counters.evicted, shed.len() as u64);
            state.let_go(&shed);
        }
        drop(state);
        self.ring(true);
    }

    /// A file is not what it should be.
    pub(super) fn drop_file(&self, put: &Put) {
        let mut state = self.lock();
        state.confirming.remove(&put.file);
        if state.index.holds(put.hash, put.file) {
            state.let_go(&[*put]);
        }
        drop(state);
        self.ring(true);
    }

    fn ring(&self, has_removals: bool) {
        self.keeper.notify_one();
        if has_removals {
            self.writer.notify_one();
        }
    }

    /// Waits a second; false if the edge stops.
    pub(super) fn rests(&self) -> bool {
        let until = monotonic() + Duration::from_secs(1);
        let mut state = self.lock();
        while !state.is_stopping {
            let left = until.saturating_duration_since(monotonic());
            if left.is_zero() {
                return true;
            }
            let waited = self.keeper.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// The keeper's next work; waits for it.
    pub(super) fn next_to_keep(&self) -> Keep {
        let mut state = self.lock();
        let mut retry_at = None;
        loop {
            if let Phase::Off { .. } = state.phase {
                if state.is_stopping {
                    return Keep::Stop;
                }
                let left = retry_at.get_or_insert(monotonic() + RETRY).saturating_duration_since(monotonic());
                if left.is_zero() {
                    return Keep::Mend;
                }
                let waited = self.keeper.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            retry_at = None;
            if state.phase == Phase::Loading && state.is_stopping {
                return Keep::Stop;
            }
            if state.wanted_generation > state.identified && state.phase == Phase::Ready {
                return Keep::Identify(state.wanted_generation);
            }
            if !state.unwritten.is_empty() || state.wanted > state.durable {
                let must_last = state.wanted > state.durable;
                let records = mem::take(&mut state.unwritten);
                return Keep::Records { records, until: state.noted, must_last };
            }
            // The writer may have the last records still to come.
            if state.is_stopping
                && state.jobs.is_empty()
                && state.pending.is_empty()
                && state.unlinks.is_empty()
            {
                return Keep::Stop;
            }
            state = self.keeper.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The writer's next work; waits for it.
    pub(super) fn next_to_write(&self) -> Write {
        let mut state = self.lock();
        loop {
            // Somebody waits for these.
            if let Some((file, waits)) = state.syncs.pop() {
                return Write::Sync(file, waits);
            }
            // Removals make room; a million of them still let files be written.
            let is_turn = state.removes_next || state.jobs.is_empty();
            state.removes_next = !is_turn;
            if is_turn && !state.unlinks.is_empty() {
                let rest = state.unlinks.len().saturating_sub(REMOVED_AT_ONCE);
                return Write::Remove(state.unlinks.split_off(rest));
            }
            if let Some(job) = state.jobs.pop_front() {
                return Write::File(job.into());
            }
            if state.is_stopping {
                return Write::Stop;
            }
            state = self.writer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Records up to this are in the journal, and last if they `must_last`.
    pub(super) fn kept(&self, until: u64, lasts: bool) {
        if lasts {
            self.lock().durable = until;
            self.settled.send_replace(());
        }
    }

    /// It is not used from now on. A journal will be made from the index.
    pub(super) fn turn_off(&self, why: String, is_distrusted: bool) {
        self.lock().turn_off(why, is_distrusted);
        self.settled.send_replace(());
        self.keeper.notify_one();
    }

    /// From now on records are kept again, for a new journal that has all that is known by now; how many were, and those that
    /// waited are void.
    pub(super) fn keep_records(&self) -> u64 {
        let mut state = self.lock();
        state.unwritten.clear();
        state.keeps_records = true;
        // That journal itself: a purge of just now lasts once it is in its place.
        state.noted += 1;
        state.noted
    }

    /// Some of what is held, and the records that came up to here and are not in the journal.
    pub(super) fn some_of_index(&self, slot: u32) -> (Vec<Put>, Option<u32>) {
        self.lock().index.some_from(slot)
    }

    /// The records that wait, and the number of all.
    pub(super) fn take_records(&self) -> (Vec<Record>, u64, bool) {
        let mut state = self.lock();
        let must_last = state.wanted > state.durable;
        (mem::take(&mut state.unwritten), state.noted, must_last)
    }

    /// The journal was read, or made: it is used from now on. The notes made meanwhile are applied to the index that was read.
    pub(super) fn ready(&self, read: Option<Index>) {
        let mut state = self.lock();
        if let Some(mut index) = read {
            let waiting = mem::take(&mut state.unwritten);
            let gone: Vec<u64> = waiting.iter().flat_map(|record| apply(record, &mut index)).collect();
            state.unlinks.extend(gone);
            state.unwritten = waiting;
            state.index = index;
            let too_much = state.index.make_room();
            state.let_go(&too_much);
        }
        state.phase = Phase::Ready;
        drop(state);
        self.settled.send_replace(());
        self.ring(true);
    }

    /// Holds nothing any more; the files are somebody else's to remove.
    pub(super) fn forget_all(&self) {
        let mut state = self.lock();
        state.on_their_way().for_each(|pending| pending.is_cancelled.store(true, Ordering::Relaxed));
        state.index.clear();
    }

    /// Waits until everything that was noted so far outlives a crash; false if it does not, or not by the deadline.
    pub(super) async fn lasts(&self, patience: Duration) -> bool {
        let mut settled = self.settled.subscribe();
        let target = {
            let mut state = self.lock();
            if let Some(is_distrusted) = state.gives_up() {
                return is_distrusted;
            }
            state.wanted = state.noted;
            state.noted
        };
        self.keeper.notify_one();
        let lasting = async {
            loop {
                {
                    let state = self.lock();
                    if let Some(is_distrusted) = state.gives_up() {
                        return is_distrusted;
                    }
                    if state.durable >= target {
                        return true;
                    }
                }
                if settled.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(patience, lasting).await.unwrap_or(false)
    }

    /// Writes what waits, and then ends.
    pub(super) fn stop(&self) {
        self.lock().is_stopping = true;
        self.keeper.notify_one();
        self.writer.notify_one();
    }
}
