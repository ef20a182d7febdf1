//! One disk: its folder, what it holds, and the two threads that write to it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::circle::Circle;
use super::desk::{Counters, Desk, Phase};
use super::folder::{Folder, Trouble};
use super::index::Room;
use super::layout::BLOCK_BYTES;
use super::loading::{self, Bad, Content, Loaded};
use super::record::{Identity, Put};
use crate::site::key::Key;

/// A disk as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its folder, which is made if only its last part is missing.
    pub path: PathBuf,
    /// Bytes that its files may take.
    pub bytes: u64,
    /// How many they may be: each takes 64 bytes of memory.
    pub files: u32,
    /// Bytes that may be written in a second, on average over ten.
    pub write_rate_bytes: u64,
}

impl Settings {
    pub(super) fn room(&self) -> Room {
        Room { blocks: self.bytes / BLOCK_BYTES, files: self.files }
    }
}

/// How a disk stands, and what it did so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its folder.
    pub name: String,
    /// Whether it is used.
    pub is_ready: bool,
    /// Why it is not.
    pub why_not: Option<String>,
    /// Files that it holds.
    pub files: u64,
    /// Bytes that they take, in whole blocks.
    pub bytes: u64,
    /// Responses that were read from it.
    pub hits: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Responses that were written.
    pub written_files: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Responses that were not written when they could have been: the rate, or the queue, was used up.
    pub put_off: u64,
    /// Files that went to make room.
    pub evicted: u64,
    /// Reads, writes and removals that failed.
    pub errors: u64,
    /// Files whose content was not what was written.
    pub corrupt: u64,
}

/// One disk in use.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) settings: Settings,
    /// Of this process's use of it.
    pub(super) identity: Identity,
    pub(super) desk: Arc<Desk>,
    circle: Arc<Circle>,
    /// One permit for each thread that reads: one that hangs holds no more.
    pub(super) readers: Arc<Semaphore>,
    /// Likewise for each that writes a piece of a response.
    writers: Arc<Semaphore>,
    folder: Mutex<Option<Arc<Folder>>>,
}

/// Reads at once; a disk that has more to do is not faster for it.
const READERS: usize = 16;
/// Writes at once of responses that come.
const WRITERS: usize = 16;

impl Volume {
    pub(super) fn new(
        settings: Settings,
        identity: Identity,
        folder: Option<Folder>,
        circle: &Arc<Circle>,
    ) -> Self {
        let first_file = first_number(identity.generation);
        let desk = Arc::new(Desk::new(settings.room(), settings.write_rate_bytes, first_file));
        circle.join(&desk);
        let circle = Arc::clone(circle);
        let [readers, writers] = [READERS, WRITERS].map(|permits| Arc::new(Semaphore::new(permits)));
        let folder = Mutex::new(folder.map(Arc::new));
        Self { settings, identity, desk, circle, readers, writers, folder }
    }

    /// The folder, while it is in use.
    pub(super) fn folder(&self) -> Option<Arc<Folder>> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the folder of this name is still the one that is in use.
    pub(super) fn is_there(&self) -> bool {
        self.folder().is_some_and(|folder| folder.is_there())
    }

    /// Takes the folder anew, as an empty one: nobody knows what became of its files meanwhile, and what was purged.
    pub(super) fn take_anew(&self) -> Result<(), Trouble> {
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (folder, before) = Folder::open(&self.settings.path)?;
        folder.distrust()?;
        folder.sweep(u64::MAX, |_| false).into_result()?;
        self.identify(&folder, before.map_or(0, |before| before.generation))?;
        self.desk.forget_all();
        let mut state = self.desk.lock();
        (state.may_have_orphans, state.has_left_files) = (false, false);
        drop(state);
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(folder));
        Ok(())
    }

    /// Writes into the folder that this edge uses it; its generation is at least this.
    pub(super) fn identify(&self, folder: &Folder, least: u64) -> io::Result<()> {
        let generation = self.circle.generation().max(least);
        folder.identify(Identity { generation, ..self.identity })?;
        self.desk.has_identified(generation);
        Ok(())
    }

    /// Another edge still has the folder. Everything that is noted meanwhile is done to what is read then.
    pub(super) fn awaits(&self, why: &str) {
        tracing::warn!(target: "verge_edge::disk", disk = self.name(), "the disk tier waits for this disk: {why}");
        self.desk.lock().waits_for = Some(why.to_owned());
    }

    /// Takes the folder once the edge that had it has ended; its identity, if that is the one which was known. None as
    /// long as it is not free.
    pub(super) fn take_later(&self, known: Identity) -> Result<Option<Arc<Folder>>, Trouble> {
        match Folder::open(&self.settings.path) {
            Ok((folder, before)) if before == Some(known) => {
                let folder = Arc::new(folder);
                *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&folder));
                self.desk.lock().waits_for = None;
                Ok(Some(folder))
            }
            Ok(_) => Err(Trouble::Others),
            Err(Trouble::InUse(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Frees the folder for another edge. Where its threads have ended, nobody writes to its journal any more: then it is free
    /// at once, also while fetches still hold it.
    pub(super) fn close(&self, has_ended: bool) {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(folder) = folder.filter(|_| has_ended) {
            folder.unlock();
        }
    }

    /// How it is called in the log, in metrics and in answers.
    pub(super) fn name(&self) -> String {
        self.settings.path.display().to_string()
    }

    /// It is not used from now on, and tried again.
    pub(super) fn turn_off(&self, why: String, is_distrusted: bool) {
        tracing::warn!(target: "verge_edge::disk", disk = self.name(), "the disk tier does without this disk: {why}");
        self.desk.turn_off(why, is_distrusted);
        self.disown_if_away();
    }

    /// Where it is away and may come back, the other disks are to know that it was.
    pub(super) fn disown_if_away(&self) {
        if self.desk.is_away() {
            self.circle.disown(&self.desk);
        }
    }

    /// The object in a file, if it is of this key; a body of so many bytes or more stays there. A file that is not sound is no
    /// longer held.
    pub(super) async fn load(self: &Arc<Self>, put: Put, key: &Key, large_bytes: u64) -> Option<Loaded> {
        let (folder, key) = (self.folder()?, key.clone());
        let read = move || match loading::read(&folder, &put, &key, large_bytes) {
            Err(Bad::Missing) if !folder.is_there() => Err(Bad::Gone),
            read => read,
        };
        match self.reading(read).await? {
            Ok(loaded) => {
                Counters::add(&self.desk.counters.hits, 1);
                if let Content::Pieces(_) = loaded.content {
                    self.has_read(usize::try_from(u64::from(put.blocks) * BLOCK_BYTES).unwrap_or(usize::MAX));
                }
                Some(loaded)
            }
            Err(bad) => {
                self.found_bad(&put, &bad);
                None
            }
        }
    }

    /// Reads something, in a thread that may wait; none if that takes too long.
    pub(super) async fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let read = tokio::time::timeout(READ_LIMIT, permitted(&self.readers, read)).await;
        if read.is_err() {
            self.desk.rest();
            tracing::warn!(target: "verge_edge::disk", disk = self.name(), "a read takes longer than two seconds: the disk is not read for a while");
        }
        read.ok().flatten()
    }

    /// As [`Volume::reading`], for lists: many heads at once, for which nobody's answer waits.
    pub(super) async fn listing<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        tokio::time::timeout(LIST_LIMIT, permitted(&self.readers, read)).await.ok().flatten()
    }

    /// Writes something, in a thread that may wait; an error if that takes too long.
    pub(super) async fn writing<T: Send + 'static>(
        &self,
        write: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        // Looked up there as well: a disk that does not answer says nothing of its folder either.
        let folder = self.folder();
        let write = move || write().map_err(|error| (error, folder.is_some_and(|folder| folder.is_there())));
        let writing = tokio::time::timeout(WRITE_LIMIT, permitted(&self.writers, write)).await;
        let late = |_| (io::ErrorKind::TimedOut.into(), true);
        let ended = || (io::Error::other("its thread ended"), true);
        let written = writing.map_err(late).and_then(|written| written.unwrap_or_else(|| Err(ended())));
        written.map_err(|(error, is_there)| {
            self.desk.refuse(is_full(&error));
            if is_there {
                tracing::warn!(target: "verge_edge::disk", disk = self.name(), %error, "cannot write a file");
            } else {
                self.turn_off(format!("its folder is gone: {error}"), false);
            }
            error
        })
    }

    /// Counts what was read.
    pub(super) fn has_read(&self, bytes: usize) {
        Counters::add(&self.desk.counters.read_bytes, bytes as u64);
    }

    pub(super) fn found_bad(&self, put: &Put, bad: &Bad) {
        let (disk, file) = (self.name(), format!("{:016x}", put.file));
        match bad {
            Bad::Another => return,
            // It was confirmed while it was read.
            Bad::Headless if !self.desk.has_edition(put) => return,
            Bad::Headless => {
                Counters::add(&self.desk.counters.errors, 1);
                tracing::warn!(target: "verge_edge::disk", disk, file, "the head of a file is gone: removed");
            }
            Bad::Corrupt => {
                Counters::add(&self.desk.counters.corrupt, 1);
                tracing::warn!(target: "verge_edge::disk", disk, file, "a file is not what was written: removed");
            }
            Bad::Gone => return self.turn_off("its folder is gone".into(), false),
            Bad::Missing => Counters::add(&self.desk.counters.errors, 1),
            // A late read has said so itself, and the file may be as it was.
            Bad::Late => return,
            Bad::Io(error) => {
                self.desk.rest();
                tracing::warn!(target: "verge_edge::disk", disk, file, %error, "cannot read a file: removed");
            }
        }
        self.desk.drop_file(put);
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        let (files, bytes, phase, waits_for) = {
            let state = self.desk.lock();
            let bytes = state.index.blocks() * BLOCK_BYTES;
            (state.index.files(), bytes, state.phase.clone(), state.waits_for.clone())
        };
        let (is_ready, why_not) = match phase {
            Phase::Ready => (true, None),
            Phase::Loading => (false, waits_for.or_else(|| Some("its journal is being read".to_owned()))),
            Phase::Off { why, .. } => (false, Some(why)),
        };
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.desk.counters;
        Standing {
            name: self.name(),
            is_ready,
            why_not,
            files: files.into(),
            bytes,
            hits: number(&counters.hits),
            read_bytes: number(&counters.read_bytes),
            written_files: number(&counters.written_files),
            written_bytes: number(&counters.written_bytes),
            put_off: number(&counters.put_off),
            evicted: number(&counters.evicted),
            errors: number(&counters.errors),
            corrupt: number(&counters.corrupt),
        }
    }

    /// Waits until everything that was noted so far outlives a crash; false if it does not, or not soon.
    pub(super) async fn lasts(&self) -> bool {
        self.desk.lasts(PATIENCE).await
            || self.desk.is_away() && self.circle.has_others(&self.desk) && self.is_disowned().await
    }

    /// Whether another disk knows that this one was away: then no start trusts it. Waits for that as long as for a purge.
    async fn is_disowned(&self) -> bool {
        let disowned = async {
            while !self.circle.has_disowned(&self.desk) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, disowned).await.is_ok()
    }
}

/// Does something in a thread that may wait, once there is a permit for it; none if it panics.
async fn permitted<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    act: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    let act = move || {
        let _permit = permit;
        act()
    };
    tokio::task::spawn_blocking(act).await.ok()
}

/// A list leaves out heads that take longer to read.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// A read that takes longer is a miss.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// A write of a piece that takes longer fails: a disk that hangs holds no response up for longer.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How long a purge waits for a disk: a healthy one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long writing an identity takes, about.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The first number of a generation, for files and for the epochs of purges: no two processes share one.
#[must_use]
pub(super) fn first_number(generation: u64) -> u64 {
    generation << GENERATION_SHIFT
}

/// A process numbers up to a trillion files and purges, and there are 16 million generations.
const GENERATION_SHIFT: u32 = 40;

/// Whether the system said that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    [StorageFull, QuotaExceeded, FileTooLarge].contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn volume(path: PathBuf) -> Volume {
        let settings = Settings { path, bytes: 1 << 20, files: 100, write_rate_bytes: 1 << 20 };
        let (folder, _) = Folder::open(&settings.path).unwrap();
        let identity = Identity { version: 1, generation: 1, hash_key: [0; 16] };
        Volume::new(settings, identity, Some(folder), &Circle::new(1))
    }

    /// A write that waits until its sender is dropped.
    fn waiting(
        began: &mpsc::Sender<()>,
    ) -> (mpsc::Sender<()>, impl FnOnce() -> io::Result<()> + Send + use<>) {
        let (release, released) = mpsc::channel::<()>();
        let began = began.clone();
        let wait = move || {
            began.send(()).unwrap();
            released.recv().unwrap_err();
            Ok(())
        };
        (release, wait)
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_holds_so_many_threads_and_no_more() {
        let above = tempfile::tempdir().unwrap();
        let volume = Arc::new(volume(above.path().join("cache")));
        let (began, begins) = mpsc::channel();
        let (mut releases, mut writes) = (Vec::new(), Vec::new());
        for _ in 0..=WRITERS {
            let (release, write) = waiting(&began);
            releases.push(release);
            let volume = Arc::clone(&volume);
            writes.push(tokio::spawn(async move { volume.writing(write).await }));
        }
        let begins = tokio::task::spawn_blocking(move || {
            (0..WRITERS).for_each(|_| begins.recv().unwrap());
            begins
        });
        let begins = begins.await.unwrap();
        assert_eq!(volume.writers.available_permits(), 0);
        assert!(begins.try_recv().is_err(), "one more than there are permits");
        drop(releases);
        for write in writes {
            write.await.unwrap().unwrap();
        }
        begins.recv().unwrap();
    }

    #[test]
    fn a_disk_that_cannot_read_a_file_is_left_alone_for_a_while() {
        let above = tempfile::tempdir().unwrap();
        let volume = volume(above.path().join("cache"));
        volume.desk.ready(None);
        let put = Put { hash: 1, file: 1, birth: 1, blocks: 1, variant: 0, stale_secs: 0, edition: 0 };
        volume.found_bad(&put, &Bad::Corrupt);
        assert!(volume.desk.admits(1, 1, 1, true), "one file is not what was written");
        volume.found_bad(&put, &Bad::Io(io::Error::other("EIO")));
        assert!(!volume.desk.admits(1, 1, 1, true));
    }

    #[test]
    fn a_late_read_says_nothing_of_a_file_and_the_systems_own_time_out_does() {
        let above = tempfile::tempdir().unwrap();
        let volume = volume(above.path().join("cache"));
        volume.desk.ready(None);
        let put = Put { hash: 1, file: 1, birth: 1, blocks: 1, variant: 0, stale_secs: 0, edition: 0 };
        volume.found_bad(&put, &Bad::Late);
        assert!(volume.desk.admits(1, 1, 1, true));
        let of_system = io::Error::from_raw_os_error(rustix::io::Errno::TIMEDOUT.raw_os_error());
        assert_eq!(of_system.kind(), io::ErrorKind::TimedOut);
        volume.found_bad(&put, &Bad::Io(of_system));
        assert!(!volume.desk.admits(1, 1, 1, true), "the disk is left alone, and the file dropped");
    }

    #[test]
    fn a_folder_that_is_closed_is_free_also_while_somebody_holds_it() {
        let above = tempfile::tempdir().unwrap();
        let volume = volume(above.path().join("cache"));
        let held = volume.folder().unwrap();
        volume.close(true);
        assert!(Folder::open(&volume.settings.path).is_ok());
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_late_says_nothing_of_the_folder() {
        let above = tempfile::tempdir().unwrap();
        let volume = Arc::new(volume(above.path().join("cache")));
        let (began, begins) = mpsc::channel();
        let (release, write) = waiting(&began);
        let writes = Arc::clone(&volume);
        let writing = tokio::spawn(async move { writes.writing(write).await });
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        std::fs::remove_dir_all(above.path().join("cache")).unwrap();
        tokio::time::advance(WRITE_LIMIT * 2).await;
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(release);
        assert!(!matches!(volume.desk.lock().phase, Phase::Off { .. }), "nobody looked at the folder");
        let failed = volume.writing(|| io::Result::<()>::Err(io::ErrorKind::NotFound.into())).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(matches!(volume.desk.lock().phase, Phase::Off { .. }), "its thread saw that it is gone");
    }
}
