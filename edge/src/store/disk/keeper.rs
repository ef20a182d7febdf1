//! The thread that reads a disk's journal at the start, and writes it from then on.
//!
//! ```text
//! open ─▶ load ─▶ records as they come ─▶ now and then a new journal from the index ─▶ its last record at a stop
//!           └──────── an error ─▶ without this disk, and every few seconds a new journal is tried
//! ```
//!
//! Invariant: a journal that could not be written is removed, if that can be done: what it does not know of must not be
//! undone by it.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::sync::Arc;

use tokio::time::Instant;

use super::desk::{Keep, Phase};
use super::folder::Folder;
use super::index::Index;
use super::journal::{Ending, Replayed, Unreadable, replay};
use super::record::{Identity, RECORD_BYTES, Record, encode};
use super::volume::{Volume, first_number};
use crate::clock::monotonic;
use crate::store::epoch::Epoch;
use crate::store::purge::Purges;

/// One disk's keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) volume: Arc<Volume>,
    pub(super) purges: Arc<Purges>,
    /// The folder's identity before, if its content may be kept.
    pub(super) before: Option<Identity>,
    /// Until the journal is read: purges from before that matter to what is in it.
    awaits: Option<Epoch>,
    journal: Option<Journal>,
}

/// A journal that is written.
#[derive(Debug)]
struct Journal {
    file: File,
    records: u32,
}

/// A new one is made when there are twice as many records as files, and this many more.
const SPARE_RECORDS: u32 = 1 << 16;

impl Journal {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
        for record in records {
            bytes.extend_from_slice(&encode(record, self.records));
            self.records = self.records.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        }
        self.file.write_all(&bytes)
    }
}

impl Keeper {
    pub(super) fn new(volume: Arc<Volume>, purges: Arc<Purges>, before: Option<Identity>) -> Self {
        let awaits = Some(Purges::begin(&purges).epoch());
        Self { volume, purges, before, awaits, journal: None }
    }

    /// Works until the edge stops.
    pub(super) fn run(mut self) {
        if let Some(folder) = self.volume.folder().or_else(|| self.awaited())
            && let Err(error) = self.load(&folder)
        {
            self.lost(&error);
        }
        self.awaits = None;
        loop {
            let done = match self.volume.desk.next_to_keep() {
                Keep::Stop => return self.end(),
                Keep::Mend => {
                    self.mend();
                    continue;
                }
                Keep::Identify(generation) => self.identify(generation),
                Keep::Records { records, until, must_last } => self.write(&records, until, must_last),
            };
            let done = done.and_then(|()| if self.is_long() { self.rewrite() } else { Ok(()) });
            if let Err(error) = done {
                self.lost(&error);
            }
        }
    }

    /// The folder that another edge had at the start, once that has ended: at a restart the new process may be there
    /// before the old one is gone. None if it is not to be had so, or not to be waited for.
    fn awaited(&self) -> Option<Arc<Folder>> {
        let known = self.before?;
        while self.volume.desk.lock().phase == Phase::Loading && self.volume.desk.rests() {
            match self.volume.take_later(known) {
                Ok(None) => {}
                Ok(folder) => return folder,
                Err(trouble) => {
                    self.volume.turn_off(trouble.to_string(), false);
                    return None;
                }
            }
        }
        None
    }

    fn load(&mut self, folder: &Arc<Folder>) -> io::Result<()> {
        self.volume.identify(folder, 0)?;
        let Some(before) = self.before else {
            return self.begin_anew(folder, "it is new, or the last edge did without it");
        };
        let file = match folder.open_journal() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.begin_anew(folder, "it has no journal");
            }
            other => other?,
        };
        let began = monotonic();
        let mut index = Index::new(self.volume.settings.room());
        index.expect(file.metadata()?.len() / RECORD_BYTES as u64);
        let replayed = match replay(&mut BufReader::with_capacity(READ_BYTES, &file), &mut index)? {
            Ok(replayed) => replayed,
            Err(Unreadable::NoJournal) => return self.begin_anew(folder, "its journal is no journal"),
            Err(Unreadable::Foreign(_)) => {
                return self.begin_anew(folder, "another version wrote its journal");
            }
        };
        if replayed.ending == Ending::Damaged {
            return self.begin_anew(folder, "its journal is damaged, and a purge may be missing");
        }
        if replayed.identity.hash_key != before.hash_key {
            return self.begin_anew(folder, "its journal is another's");
        }
        file.set_len(u64::from(replayed.records) * RECORD_BYTES as u64)?;
        self.journal = Some(Journal { file, records: replayed.records });
        index.settle();
        self.take_over(folder, replayed, index, began);
        Ok(())
    }

    fn take_over(&self, folder: &Arc<Folder>, replayed: Replayed, mut index: Index, began: Instant) {
        let births: Vec<u64> = index.births().collect();
        for born in self.purges.restore(&replayed.marks, replayed.floor, &births) {
            index.keep_alive(*born, born);
        }
        let (files, ending) = (index.files(), replayed.ending);
        let held = if ending == Ending::Stopped { Vec::new() } else { index.all_files() };
        self.volume.desk.lock().may_have_orphans = ending != Ending::Stopped;
        self.volume.desk.ready(Some(index));
        let name = self.volume.name();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(target: "verge_edge::disk", disk = name, files, took_ms, "the disk tier has what was kept");
        if ending != Ending::Stopped {
            self.sweep(folder, held);
        }
    }

    /// Nothing in the folder is kept.
    fn begin_anew(&mut self, folder: &Arc<Folder>, why: &str) -> io::Result<()> {
        let name = self.volume.name();
        tracing::info!(target: "verge_edge::disk", disk = name, "the disk tier begins with nothing on this disk: {why}");
        let before = self.volume.desk.keep_records();
        let until = self.rewritten(before)?;
        self.volume.desk.ready(None);
        self.volume.desk.kept(until, true);
        self.sweep(folder, Vec::new());
        Ok(())
    }

    /// Removes what earlier processes left and nobody holds, in a thread of its own.
    fn sweep(&self, folder: &Arc<Folder>, mut held: Vec<u64>) {
        let (folder, volume) = (Arc::clone(folder), Arc::clone(&self.volume));
        let below = first_number(volume.identity.generation);
        let sweep = move || {
            held.sort_unstable();
            let swept = folder.sweep(below, |number| held.binary_search(&number).is_ok());
            let (disk, files) = (volume.name(), swept.files);
            if files > 0 {
                tracing::info!(target: "verge_edge::disk", disk, files, "removed what an edge that ended left");
            }
            match swept.error {
                None => volume.desk.lock().may_have_orphans = false,
                Some(error) => {
                    let disk = volume.name();
                    tracing::warn!(target: "verge_edge::disk", disk, %error, "cannot remove what an edge left");
                }
            }
        };
        // Without a thread it stays until the next start: nobody looks for it.
        drop(std::thread::Builder::new().name("disk-sweep".into()).spawn(sweep));
    }

    fn write(&mut self, records: &[Record], until: u64, must_last: bool) -> io::Result<()> {
        let journal = self.journal.as_mut().ok_or(io::ErrorKind::NotFound)?;
        journal.append(records)?;
        if must_last {
            journal.file.sync_data()?;
            // A journal without a name lasts as long as it is open.
            if !self.volume.is_there() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "its folder is gone"));
            }
        }
        self.volume.desk.kept(until, must_last);
        Ok(())
    }

    fn identify(&self, generation: u64) -> io::Result<()> {
        let folder = self.volume.folder().ok_or(io::ErrorKind::NotFound)?;
        self.volume.identify(&folder, generation)
    }

    fn is_long(&self) -> bool {
        let files = self.volume.desk.lock().index.files();
        let most = files.saturating_mul(2).saturating_add(SPARE_RECORDS);
        self.journal.as_ref().is_some_and(|journal| journal.records > most)
    }

    /// Makes a new journal while the old one goes on.
    fn rewrite(&mut self) -> io::Result<()> {
        let until = self.rewritten(0)?;
        self.volume.desk.kept(until, true);
        Ok(())
    }

    /// A new journal of all that is held and purged is in the place of the old one, which went on meanwhile. The number
    /// of the last record in it, at least `until`.
    fn rewritten(&mut self, mut until: u64) -> io::Result<u64> {
        let folder = self.volume.folder().ok_or(io::ErrorKind::NotFound)?;
        let mut new = Journal { file: folder.new_journal()?, records: 0 };
        let (marks, floor) = self.purges.snapshot();
        new.append(&[Record::Begin(self.volume.identity), Record::Floor { epoch: floor }])?;
        for noted in marks {
            new.append(&noted.records())?;
        }
        let mut slot = Some(0);
        while let Some(at) = slot {
            let (puts, next) = self.volume.desk.some_of_index(at);
            new.append(&puts.into_iter().map(Record::Put).collect::<Vec<_>>())?;
            // Records from before or since then comes behind it, in order: what it says last holds.
            until = until.max(self.pass_on(&mut new)?);
            slot = next;
        }
        new.file.sync_all()?;
        folder.replace_journal()?;
        self.journal = Some(new);
        Ok(until)
    }

    fn pass_on(&mut self, new: &mut Journal) -> io::Result<u64> {
        let (records, until, must_last) = self.volume.desk.take_records();
        if let Some(old) = &mut self.journal {
            old.append(&records)?;
            if must_last {
                old.file.sync_data()?;
                self.volume.desk.kept(until, true);
            }
        }
        new.append(&records)?;
        Ok(until)
    }

    /// The journal cannot be written.
    fn lost(&mut self, error: &io::Error) {
        self.journal = None;
        // The journal in another's folder is none of ours.
        let folder = self.volume.folder().filter(|folder| folder.is_there());
        let is_distrusted = folder.is_some_and(|folder| folder.distrust().is_ok());
        self.volume.turn_off(format!("its journal cannot be written: {error}"), is_distrusted);
    }

    fn mend(&mut self) {
        self.journal = None;
        if !self.volume.is_there()
            && let Err(trouble) = self.volume.take_anew()
        {
            tracing::debug!(target: "verge_edge::disk", disk = self.volume.name(), "not used yet: {trouble}");
            let is_distrusted = false;
            return self.volume.desk.turn_off(trouble.to_string(), is_distrusted);
        }
        let before = self.volume.desk.keep_records();
        match self.rewritten(before) {
            Ok(until) => {
                self.volume.desk.ready(None);
                self.volume.desk.kept(until, true);
                self.sweep_after_mending();
                tracing::info!(target: "verge_edge::disk", disk = self.volume.name(), "the disk tier uses this disk again");
            }
            Err(error) => self.lost(&error),
        }
    }

    /// Its journal may never have been read: then nobody knows of the files from before.
    fn sweep_after_mending(&self) {
        let held = {
            let state = self.volume.desk.lock();
            state.may_have_orphans.then(|| state.index.all_files())
        };
        if let Some((folder, held)) = self.volume.folder().zip(held) {
            self.sweep(&folder, held);
        }
    }

    /// The edge stops in order: the next start need not look at the files.
    fn end(mut self) {
        let state = self.volume.desk.lock();
        let is_whole = state.phase == Phase::Ready && state.is_swept();
        let files = state.index.files();
        drop(state);
        let is_loose =
            |journal: &Journal| journal.records > files.saturating_add(files / 4).saturating_add(4_096);
        let tidied = if self.journal.as_ref().is_some_and(is_loose) { self.rewrite() } else { Ok(()) };
        let ended = tidied.and_then(|()| match &mut self.journal {
            Some(journal) if is_whole => {
                journal.append(&[Record::Stopped])?;
                journal.file.sync_data()
            }
            _ => Ok(()),
        });
        if let Err(error) = ended {
            tracing::warn!(target: "verge_edge::disk", disk = self.volume.name(), %error, "the journal was not ended");
        }
    }
}

/// A million records are 64 MB: read in steps that a disk likes.
const READ_BYTES: usize = 1 << 20;
