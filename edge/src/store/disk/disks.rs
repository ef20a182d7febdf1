//! All disks of an edge, as the store sees them.
//!
//! Each fails alone: what it holds is fetched from the origins again, and the others go on.

mod large;
mod listing;
mod settings;
mod turn;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::circle::Circle;
use super::desk::By;
use super::filed::Filed;
use super::folder::{Folder, Trouble};
use super::hash::{HashKey, Hashed};
use super::journal::{Noted, VERSION};
use super::keeper::Keeper;
use super::layout::{BLOCK_BYTES, blocks, length_about};
use super::loading::{self, Loaded};
use super::record::{Identity, Put, Record};
use super::volume::{Settings, Standing, Volume, first_number};
use super::writer;
use crate::clock::monotonic;
use crate::policy::Content;
use crate::site::key::Key;
use crate::store::body::Body;
use crate::store::epoch::Epoch;
use crate::store::memory::Budget;
use crate::store::object::{Object, Variants};
use crate::store::purge::{Advanced, Mode, Purges, Scope};
use crate::store::reading::Reading;
use turn::{Reads, Turn};

/// The disks of one edge; none is the usual case.
#[derive(Debug)]
pub struct Disks {
    volumes: Vec<Arc<Volume>>,
    hash_key: HashKey,
    generation: u64,
    /// The identity that each folder had before, where its content may be kept.
    before: Vec<Option<Identity>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keys that are being read, so that a crowd reads each once.
    reading: Mutex<Reads>,
    /// Bodies of more bytes are answered from their files, past memory.
    large_bytes: AtomicU64,
}

/// A start waits so long for folders to tell whose they are. A later one begins with nothing.
const OPENING_LIMIT: Duration = Duration::from_secs(2);
/// A stop waits so long for what is on its way to the disks.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Hits in memory of which one is told to the disk.
const SAMPLE: u32 = 32;
/// Beside a body, what is read with it.
const MOST_HEAD_BYTES: u64 = 64 << 10;

impl Disks {
    /// No disk.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Vec::new(), Vec::new(), HashKey(rand::random()), 0)
    }

    fn of(
        volumes: Vec<Arc<Volume>>,
        before: Vec<Option<Identity>>,
        hash_key: HashKey,
        generation: u64,
    ) -> Self {
        let (threads, reading, large_bytes) = (Mutex::default(), Mutex::default(), AtomicU64::new(u64::MAX));
        Self { volumes, hash_key, generation, before, threads, reading, large_bytes }
    }

    /// Takes the folders. Threads of their own read their contents later. Blocks for two seconds at most.
    #[must_use]
    pub fn open(settings: Vec<Settings>) -> Self {
        if settings.is_empty() {
            return Self::none();
        }
        let opened = open_all(&settings);
        let known = opened.iter().filter_map(|opened| match opened {
            Ok((_, identity)) | Err((_, identity)) => *identity,
        });
        let last = known.max_by_key(|identity| identity.generation);
        let generation = last.map_or(0, |last| last.generation) + 1;
        let hash_key = last.map_or_else(rand::random, |last| last.hash_key);
        let identity = Identity { version: VERSION, generation, hash_key };
        let circle = Circle::new(generation);
        let mut before = Vec::new();
        let volumes = settings.into_iter().zip(opened).map(|(settings, opened)| {
            let (folder, trouble, was) = match opened {
                Ok((folder, was)) => (Some(folder), None, was),
                Err((trouble, was)) => (None, Some(trouble), was),
            };
            // A disk that the last process did without may have missed its purges.
            let was = was.filter(|was| last == Some(*was));
            before.push(was);
            let volume = Arc::new(Volume::new(settings, identity, folder, &circle));
            match trouble {
                Some(trouble) if was.is_some() => volume.awaits(&trouble),
                Some(trouble) => volume.turn_off(trouble, false),
                None => {}
            }
            volume
        });
        let volumes = volumes.collect();
        Self::of(volumes, before, HashKey(hash_key), generation)
    }

    /// The key of the hashes that disks keep.
    #[must_use]
    pub fn hash_key(&self) -> HashKey {
        self.hash_key
    }

    /// The first epoch of this process: higher than all that disks know of.
    #[must_use]
    pub fn first_epoch(&self) -> u64 {
        first_number(self.generation)
    }

    /// Files that they hold at most.
    #[must_use]
    pub fn most_files(&self) -> u64 {
        self.volumes.iter().map(|volume| u64::from(volume.settings.files)).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty()
    }

    /// Reads what the disks hold, and writes to them from now on. So many bytes of memory are for fills, and bodies of
    /// more than `large_bytes` stay on the disks.
    pub(in crate::store) fn begin(&self, purges: &Arc<Purges>, fills_bytes: u64, large_bytes: u64) {
        self.large_bytes.store(large_bytes, Ordering::Relaxed);
        for (volume, before) in self.volumes.iter().zip(&self.before) {
            volume.desk.bound_jobs(fills_bytes);
            let keeper = Keeper::new(Arc::clone(volume), Arc::clone(purges), *before);
            let (writing, name) = (Arc::clone(volume), thread::Builder::new);
            let threads = [
                name().name("disk-journal".into()).spawn(move || keeper.run()),
                name().name("disk-files".into()).spawn(move || writer::run(&writing)),
            ];
            for spawned in threads {
                match spawned {
                    Ok(thread) => self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
                    Err(error) => volume.turn_off(format!("no thread for it: {error}"), false),
                }
            }
        }
    }

    /// Writes what waits and ends the journals, for a few seconds at most.
    pub async fn stop(&self) {
        self.volumes.iter().for_each(|volume| volume.desk.stop());
        let threads: Vec<_> = self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let (ended, ends) = oneshot::channel();
        let join = move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            // A stop that was too long does not listen any more.
            let _ = ended.send(());
        };
        // Not one of the runtime's threads, for which its end would wait.
        let joins = thread::Builder::new().name("disk-stop".into()).spawn(join);
        let has_ended = joins.is_ok() && matches!(tokio::time::timeout(STOP_LIMIT, ends).await, Ok(Ok(())));
        if !has_ended {
            tracing::warn!(
                target: "verge_edge::disk",
                "a disk did not end in time: the next start reads its journal as after a crash"
            );
        }
        self.volumes.iter().for_each(|volume| volume.close(has_ended));
    }

    /// The folder of the first that is in use, and is there now. Waits for the disk.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        let mut used = self.volumes.iter().filter(|volume| volume.is_there());
        used.next().map(|volume| volume.settings.path.clone())
    }

    /// How the disks stand.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        self.volumes.iter().map(|volume| volume.standing()).collect()
    }

    /// The responses under a key changed in memory. Called where nobody else is at the key.
    pub(in crate::store) fn changed(&self, key: &Key, before: &[Arc<Object>], after: &[Arc<Object>]) {
        if self.is_empty() {
            return;
        }
        let hash = self.hash_key.of_key(key);
        let variant = |object: &Object| self.hash_key.of_variant(&object.entry.selecting);
        // A response that came from the disk, or is on its way to it, has no other form there.
        let stays = |gone: &Arc<Object>| {
            after.iter().any(|kept| {
                Arc::ptr_eq(gone, kept)
                    || kept.on_disk.is_offered() && kept.entry.selecting == gone.entry.selecting
            })
        };
        let is_new = |object: &&Arc<Object>| {
            !object.on_disk.is_offered() && !before.iter().any(|old| Arc::ptr_eq(old, object))
        };
        let supersede = |variant, by| {
            self.volumes.iter().for_each(|volume| volume.desk.supersede(hash, variant, by));
        };
        let is_replaced = |gone: &Arc<Object>| {
            after.iter().filter(is_new).any(|new| new.entry.selecting == gone.entry.selecting)
        };
        for gone in before.iter().filter(|gone| !stays(gone) && !is_replaced(gone)) {
            supersede(variant(gone), By::Nothing);
        }
        for object in after.iter().filter(is_new) {
            supersede(variant(object), By::of(object));
            self.offer(key, hash, object, None, false);
        }
    }

    /// Memory answers for a key: whether it has something that is worth writing now, and was not when it came, or that a
    /// disk has let go meanwhile.
    pub(in crate::store) fn wants(&self, key: &Key, variants: &Variants) -> bool {
        if self.is_empty() {
            return false;
        }
        let is_sample = HITS.with(|hits| {
            hits.set(hits.get().wrapping_add(1));
            hits.get() % SAMPLE == 0
        });
        let is_offered = variants.iter().all(|object| object.on_disk.is_offered());
        (!is_offered || is_sample) && {
            let hash = self.hash_key.of_key(key);
            let is_held = self.volumes.iter().any(|volume| volume.desk.touch(hash));
            !is_offered || !is_held
        }
    }

    /// Offers what memory has under a key. Called where nobody else is at the key.
    pub(in crate::store) fn offer_again(&self, key: &Key, present: &Variants) {
        let hash = self.hash_key.of_key(key);
        let is_held = self.volumes.iter().any(|volume| volume.desk.touch(hash));
        for object in present.iter().filter(|object| !is_held || !object.on_disk.is_offered()) {
            self.offer(key, hash, object, None, false);
        }
    }

    fn offer(
        &self,
        key: &Key,
        hash: u64,
        object: &Arc<Object>,
        done: Option<oneshot::Sender<()>>,
        must: bool,
    ) {
        // A part waits for the rest of it. The response to a QUERY is not kept on disks: a purge of its URL takes it by a mark,
        // which is only made where such responses are known to be ([`Store::keeps_queries`]).
        let is_whole = matches!(object.entry.content, Content::Whole { .. });
        if !is_whole || object.body.is_gone() || key.is_of_query() {
            object.on_disk.offer();
            return;
        }
        let length = length_about(key.as_bytes().len(), object.body.bytes());
        let Some(volume) = self.volume_of(hash) else { return };
        if volume.desk.admits(hash, blocks(length), length, must) {
            object.on_disk.offer();
            let place = (hash, self.hash_key.of_variant(&object.entry.selecting));
            volume.desk.push(key.clone(), place, Reading::for_fetch(Arc::clone(object)), length, done);
        }
    }

    /// Of several disks, each key has one, by their sizes.
    pub(super) fn volume_of(&self, hash: u64) -> Option<&Arc<Volume>> {
        let score = |volume: &Volume| {
            let name = volume.settings.path.as_os_str().as_encoded_bytes();
            let drawn =
                self.hash_key.of(&[Hashed::Kind(8), Hashed::Text(name), Hashed::Text(&hash.to_le_bytes())]);
            // Weighted rendezvous hashing: the logarithm of a number between 0 and 1, by the weight.
            let unit = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
            -unit.max(f64::MIN_POSITIVE).ln() / volume.settings.bytes.max(1) as f64
        };
        self.volumes.iter().min_by(|one, other| score(one).total_cmp(&score(other)))
    }

    /// A purge, in the order in which it changed memory. How many files it took or made stale, where that is known.
    pub(in crate::store) fn purge(
        &self,
        scope: &Scope,
        mode: Mode,
        now: SystemTime,
        advanced: &Advanced,
    ) -> usize {
        let epoch = advanced.epoch;
        self.volumes.iter().for_each(|volume| volume.disown_if_away());
        let records: Vec<Record> = match (scope, mode) {
            (Scope::Key(key), _) => {
                let hash = self.hash_key.of_key(key);
                let record = match mode {
                    Mode::Hard => Record::RemoveKey { hash, epoch },
                    Mode::Soft => {
                        let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                        Record::ExpireKey {
                            hash,
                            at_secs: u32::try_from(at).unwrap_or(u32::MAX).max(1),
                            epoch,
                        }
                    }
                };
                return self.volumes.iter().map(|volume| volume.desk.note_of_key(hash, record.clone())).sum();
            }
            (Scope::All, Mode::Hard) => {
                let marks = advanced.noted.iter().flat_map(Noted::records);
                marks.chain([Record::Clear { epoch }]).collect()
            }
            _ => advanced.noted.iter().flat_map(Noted::records).collect(),
        };
        self.volumes.iter().map(|volume| volume.desk.note(&records)).sum()
    }

    /// Waits until all that was purged and written so far outlives a crash. The disks where it does not, or not soon.
    pub async fn lasts(&self) -> Vec<String> {
        let mut failed = Vec::new();
        let waits: Vec<_> = self
            .volumes
            .iter()
            .map(|volume| {
                let volume = Arc::clone(volume);
                tokio::spawn(async move { (volume.name(), volume.lasts().await) })
            })
            .collect();
        for wait in waits {
            match wait.await {
                Ok((_, true)) => {}
                Ok((name, false)) => failed.push(name),
                Err(_) => failed.push("a disk".into()),
            }
        }
        failed
    }

    /// Has these written now, whatever else there is to write. Called where nobody else is at the key. To wait for:
    /// [`Disks::kept`].
    pub(in crate::store) fn keep(&self, key: &Key, objects: &[Arc<Object>]) -> Vec<oneshot::Receiver<()>> {
        let hash = self.hash_key.of_key(key);
        let mut waits = Vec::new();
        for object in objects {
            let (done, wait) = oneshot::channel();
            let variant = self.hash_key.of_variant(&object.entry.selecting);
            let left = self.volume_of(hash).and_then(|volume| volume.desk.await_written(hash, variant, done));
            if left.is_some() {
                self.offer(key, hash, object, left, true);
            }
            waits.push(wait);
        }
        waits
    }

    /// Whether all of these outlive a crash; waits a few seconds for it.
    pub(in crate::store) async fn kept(&self, waits: Vec<oneshot::Receiver<()>>) -> bool {
        let written = async {
            for wait in waits {
                wait.await.ok()?;
            }
            Some(())
        };
        matches!(tokio::time::timeout(STOP_LIMIT, written).await, Ok(Some(())))
            && self.lasts().await.is_empty()
    }

    /// Reads what the disks hold under a key, once for all who ask for it now. `adopt` puts it into memory, as far as
    /// the disks still hold each by its place in the list.
    pub(in crate::store) async fn read(
        &self,
        key: &Key,
        budget: &Arc<Budget>,
        adopt: impl FnOnce(&[Arc<Object>], &dyn Fn(usize) -> bool) -> Variants,
    ) -> Variants {
        let Some(turn) = Turn::take(&self.reading, key) else { return Variants::default() };
        let (variants, places) = turn.cell.get_or_init(|| self.read_once(key, budget, adopt)).await;
        // A purge may have come since: then it is a miss.
        if places.iter().all(Place::is_as_read) { variants.clone() } else { Variants::default() }
    }

    async fn read_once(
        &self,
        key: &Key,
        budget: &Arc<Budget>,
        adopt: impl FnOnce(&[Arc<Object>], &dyn Fn(usize) -> bool) -> Variants,
    ) -> Read {
        let hash = self.hash_key.of_key(key);
        let large_bytes = self.large_bytes.load(Ordering::Relaxed);
        let (mut objects, mut places, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for volume in &self.volumes {
            for (put, born) in volume.desk.find(hash) {
                let mut share = budget.share();
                let bytes = u64::from(put.blocks) * BLOCK_BYTES;
                // A large body is not read into memory.
                let is_large = bytes > large_bytes.saturating_add(MOST_HEAD_BYTES);
                let bytes = if is_large { MOST_HEAD_BYTES } else { bytes };
                // Half of it is for what comes from the origins.
                let is_left = budget.taken_bytes().saturating_add(bytes) <= budget.limit_bytes() / 2;
                if !is_left || !share.grow(bytes) {
                    break;
                }
                let Some(loaded) = volume.load(put, key, large_bytes).await else { continue };
                places.push(Place { volume: Arc::clone(volume), put });
                objects.push(Arc::new(object(loaded, (volume, put), born, budget)));
                shares.push(share);
            }
        }
        if objects.is_empty() {
            return (Variants::default(), places);
        }
        let variants = adopt(&objects, &|place| places[place].is_as_read());
        places.retain(Place::is_as_read);
        (variants, places)
    }
}

/// The responses that were read, and where.
type Read = (Variants, Vec<Place>);

/// A file that was read.
#[derive(Debug)]
struct Place {
    volume: Arc<Volume>,
    put: Put,
}

impl Place {
    /// Whether nothing came over it since it was looked up.
    fn is_as_read(&self) -> bool {
        self.volume.desk.is_as_found(&self.put)
    }
}

fn object(
    loaded: Loaded,
    (volume, put): (&Arc<Volume>, Put),
    born: Arc<u64>,
    budget: &Arc<Budget>,
) -> Object {
    let Loaded { entry, site, content } = loaded;
    let body = match content {
        loading::Content::Pieces(pieces) => Body::new(pieces, budget),
        loading::Content::File { file, body_at, bytes, sums } => {
            Body::filed(Filed::whole((file, body_at, bytes), sums, volume, put), budget)
        }
    };
    let entry = match put.stale_secs {
        0 => entry,
        secs => entry.expired(UNIX_EPOCH + Duration::from_secs(secs.into())),
    };
    let object = Object::new(entry, body, site, Epoch::new(born, put.birth, 0));
    object.on_disk.offer();
    object
}

thread_local! {
    static HITS: Cell<u32> = const { Cell::new(0) };
}

/// Asks all folders at once whose they are; those that do not tell in time are left out.
fn open_all(settings: &[Settings]) -> Vec<Opened> {
    let (tell, told) = mpsc::channel();
    for (place, settings) in settings.iter().enumerate() {
        let (tell, path) = (tell.clone(), settings.path.clone());
        // Nobody listens to one that is late, and its folder is free again.
        let open = move || drop(tell.send((place, Folder::open(&path))));
        drop(thread::Builder::new().name("disk-open".into()).spawn(open));
    }
    drop(tell);
    let late = || Err(("its folder does not answer".to_owned(), None));
    let mut opened: Vec<Opened> = settings.iter().map(|_| late()).collect();
    let deadline = monotonic() + OPENING_LIMIT;
    while let Ok((place, result)) = told.recv_timeout(deadline.saturating_duration_since(monotonic())) {
        opened[place] = result.map_err(|trouble| match &trouble {
            Trouble::InUse(identity) => (trouble.to_string(), *identity),
            _ => (trouble.to_string(), None),
        });
    }
    opened
}

/// A folder and its identity before; or why there is none, and its identity if another edge has it for now.
type Opened = Result<(Folder, Option<Identity>), (String, Option<Identity>)>;
