//! The state of one disk: plain data, changed under the desk's lock.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::index::{Index, Room};
use super::super::journal::apply;
use super::super::rate::Rate;
use super::super::record::{Put, Record};
use crate::policy::Content;
use crate::site::key::Key;
use crate::store::reading::Reading;
use crate::store::{Object, Recency};

#[derive(Debug)]
pub(in crate::store::disk) struct State {
    pub(in crate::store::disk) phase: Phase,
    pub(in crate::store::disk) index: Index,
    /// Whether records are kept for the journal; else one will be made from the index.
    pub(super) keeps_records: bool,
    pub(super) unwritten: Vec<Record>,
    /// Records kept so far.
    pub(super) noted: u64,
    /// Of them, those that outlive a crash of the machine.
    pub(super) durable: u64,
    /// Somebody waits until so many do.
    pub(super) wanted: u64,
    pub(super) pending: Vec<Arc<Pending>>,
    /// Responses that are written while they come, and the blocks that are kept free for it.
    pub(super) spools: Vec<Arc<Pending>>,
    pub(super) spooled_blocks: u64,
    /// The last of them that were complete.
    pub(super) recent: VecDeque<(u64, u32, Recency)>,
    pub(super) jobs: VecDeque<Job>,
    pub(super) job_bytes: u64,
    pub(super) most_job_bytes: u64,
    pub(super) unlinks: Vec<u64>,
    /// Files of processes before may be there that nobody holds: a sweep is due, under way or has failed.
    pub(in crate::store::disk) may_have_orphans: bool,
    /// A file that nobody holds could not be removed. A sweep may have passed it before, so that none but the next start's takes it.
    pub(in crate::store::disk) has_left_files: bool,
    /// Files that are to outlive a crash of the machine, and those who wait for it.
    pub(super) syncs: Vec<(u64, Vec<oneshot::Sender<()>>)>,
    pub(super) removes_next: bool,
    pub(super) next_file: u64,
    /// Of the heads that were written beside files.
    pub(super) last_edition: u16,
    /// Files beside which a head is being written.
    pub(super) confirming: HashSet<u64>,
    pub(super) rate: Rate,
    /// A write or a read failed: no write is tried before this.
    pub(super) refuses_until: Duration,
    /// A read failed or took too long: none is tried before this.
    pub(super) rests_until: Duration,
    pub(super) is_stopping: bool,
    /// The generation in the folder's identity, and the one that is to be there.
    pub(super) identified: u64,
    pub(super) wanted_generation: u64,
    /// Why its journal is not read yet.
    pub(in crate::store::disk) waits_for: Option<String>,
}

/// How a disk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::disk) enum Phase {
    /// Its journal is being read.
    Loading,
    Ready,
    /// It is not used, and tried again.
    Off {
        why: String,
        /// Whether a new start would take nothing of it for good.
        is_distrusted: bool,
    },
}

/// Something that takes the place of a response on a disk.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::disk) enum By {
    /// Everything of it goes.
    Nothing,
    /// A part in memory: the whole response that is still arriving stays.
    Part,
    /// A whole response, so recent.
    Whole(Recency),
}

impl By {
    /// A response in memory.
    pub(in crate::store::disk) fn of(object: &Object) -> Self {
        match object.entry.content {
            Content::Whole { .. } => Self::Whole(object.recency()),
            Content::Part(_) => Self::Part,
        }
    }
}

/// A file that is to be written, unless something comes over it.
#[derive(Debug)]
pub(in crate::store::disk) struct Pending {
    pub(super) hash: u64,
    pub(super) variant: u32,
    /// Of a response that is written while it comes.
    pub(super) recency: Option<Recency>,
    pub(super) is_cancelled: AtomicBool,
    /// Told when it is on the disk; dropped when it will not be.
    pub(super) waits: Mutex<Vec<oneshot::Sender<()>>>,
}

/// A response to write.
#[derive(Debug)]
pub(in crate::store::disk) struct Job {
    pub(in crate::store::disk) key: Key,
    pub(in crate::store::disk) object: Reading,
    pub(in crate::store::disk) pending: Arc<Pending>,
    pub(in crate::store::disk) file: u64,
    pub(in crate::store::disk) bytes: u64,
}

/// Counts of what happened, for metrics.
#[derive(Debug, Default)]
pub(in crate::store::disk) struct Counters {
    pub(in crate::store::disk) hits: AtomicU64,
    pub(in crate::store::disk) read_bytes: AtomicU64,
    pub(in crate::store::disk) written_files: AtomicU64,
    pub(in crate::store::disk) written_bytes: AtomicU64,
    /// Responses that were worth writing and were not written, because of the rate or a full queue.
    pub(in crate::store::disk) put_off: AtomicU64,
    pub(in crate::store::disk) evicted: AtomicU64,
    /// Reads, writes and removals that failed, and reads that took too long.
    pub(in crate::store::disk) errors: AtomicU64,
    /// Files whose content is not what was written.
    pub(in crate::store::disk) corrupt: AtomicU64,
}

impl Counters {
    pub(in crate::store::disk) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

/// Records that wait for the journal: 64 MiB. A disk that lets more wait has stopped.
const MOST_UNWRITTEN: usize = 1 << 20;
impl Pending {
    /// Whether something came over it.
    pub(in crate::store::disk) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// A file that nobody else knows of yet.
    pub(super) fn new(
        hash: u64,
        variant: u32,
        recency: Option<Recency>,
        wait: Option<oneshot::Sender<()>>,
    ) -> Self {
        Self {
            hash,
            variant,
            recency,
            is_cancelled: AtomicBool::new(false),
            waits: Mutex::new(wait.into_iter().collect()),
        }
    }

    /// The tasks that wait for it.
    pub(super) fn waits(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is(&self, hash: u64, variant: u32) -> bool {
        self.hash == hash && self.variant == variant && !self.is_cancelled.load(Ordering::Relaxed)
    }
}

impl State {
    /// Of a disk whose journal is to be read.
    pub(super) fn new(room: Room, write_rate_bytes: u64, first_file: u64) -> Self {
        Self {
            phase: Phase::Loading,
            index: Index::new(room),
            keeps_records: true,
            unwritten: Vec::new(),
            noted: 0,
            durable: 0,
            wanted: 0,
            pending: Vec::new(),
            spools: Vec::new(),
            spooled_blocks: 0,
            recent: VecDeque::new(),
            jobs: VecDeque::new(),
            job_bytes: 0,
            most_job_bytes: 0,
            unlinks: Vec::new(),
            may_have_orphans: true,
            has_left_files: false,
            syncs: Vec::new(),
            removes_next: true,
            next_file: first_file,
            // Not those of the process before: a power cut may leave one of its heads in the place of one of this process.
            last_edition: rand::random::<u16>() & !1,
            confirming: HashSet::new(),
            rate: Rate::new(write_rate_bytes),
            refuses_until: Duration::ZERO,
            rests_until: Duration::ZERO,
            is_stopping: false,
            identified: 0,
            wanted_generation: 0,
            waits_for: None,
        }
    }

    /// Whether no file is left to remove, and none that is not complete.
    pub(in crate::store::disk) fn is_swept(&self) -> bool {
        let knows_all = !self.may_have_orphans && !self.has_left_files;
        knows_all && self.unlinks.is_empty() && self.spools.is_empty()
    }

    /// Whether a new start would take nothing of it for good, where nothing is noted for its journal. While a new one is made,
    /// which may be in its place already, that is not known.
    pub(super) fn gives_up(&self) -> Option<bool> {
        match self.phase {
            Phase::Off { is_distrusted, .. } if !self.keeps_records => Some(is_distrusted),
            _ => None,
        }
    }

    /// The files that are being written.
    pub(super) fn on_their_way(&self) -> impl Iterator<Item = &Arc<Pending>> {
        self.pending.iter().chain(&self.spools)
    }

    pub(super) fn note(&mut self, records: &[Record]) -> usize {
        let mut gone = 0;
        for record in records {
            self.cancel(record);
            if self.phase != Phase::Loading {
                let files = apply(record, &mut self.index);
                gone += files.len();
                self.unlinks.extend(files);
            }
        }
        if self.keeps_records {
            self.unwritten.extend_from_slice(records);
            self.noted += records.len() as u64;
            if self.unwritten.len() > MOST_UNWRITTEN {
                self.turn_off("it does not take what is written to it".into(), false);
            }
        }
        gone
    }

    /// This takes the place of a key's files with these selecting fields, and of what is on its way and behind it. How many
    /// files go.
    pub(super) fn supersede(&mut self, hash: u64, variant: u32, by: By) -> usize {
        let stays = |spool: &&Arc<Pending>| {
            let stays = match by {
                By::Nothing => false,
                By::Part => true,
                By::Whole(by) => spool.recency.is_some_and(|own| !own.is_behind(by)),
            };
            stays && spool.is(hash, variant)
        };
        let staying: Vec<Arc<Pending>> = self.spools.iter().filter(stays).cloned().collect();
        let gone = self.note(&[Record::RemoveVariant { hash, variant }]);
        staying.iter().for_each(|spool| spool.is_cancelled.store(false, Ordering::Relaxed));
        gone
    }

    pub(super) fn let_go(&mut self, puts: &[Put]) -> usize {
        // Files that the index let go itself are no longer in it.
        self.unlinks.extend(puts.iter().map(|put| put.file));
        let records: Vec<Record> =
            puts.iter().map(|put| Record::Remove { hash: put.hash, file: put.file }).collect();
        for record in &records {
            apply(record, &mut self.index);
        }
        if self.keeps_records {
            self.noted += records.len() as u64;
            self.unwritten.extend(records);
        }
        puts.len()
    }

    /// A file that is being written is of the past where a record says so.
    pub(super) fn cancel(&self, record: &Record) {
        let is_covered = |pending: &&Arc<Pending>| match *record {
            Record::RemoveVariant { hash, variant } => pending.is(hash, variant),
            Record::RemoveKey { hash, .. } | Record::ExpireKey { hash, .. } => pending.hash == hash,
            Record::Clear { .. } => true,
            _ => false,
        };
        let covered = self.on_their_way().filter(|pending| is_covered(pending));
        covered.for_each(|pending| pending.is_cancelled.store(true, Ordering::Relaxed));
    }

    pub(super) fn close(&mut self, job: &Job) {
        self.pending.retain(|pending| !Arc::ptr_eq(pending, &job.pending));
        self.job_bytes = self.job_bytes.saturating_sub(job.bytes);
    }

    pub(super) fn turn_off(&mut self, why: String, is_distrusted: bool) {
        self.phase = Phase::Off { why, is_distrusted };
        self.keeps_records = false;
        self.unwritten.clear();
        // A job that waits to be written would wait for nothing.
        self.syncs.clear();
        let jobs = mem::take(&mut self.jobs);
        jobs.iter().for_each(|job| self.close(job));
    }
}
