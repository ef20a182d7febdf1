//! Texts that clients have as dictionaries, and what became of newer ones with their help (RFC 9842).
//!
//! ```text
//! stored ─▶ describe: its text, without a coding ─▶ SHA-256 ─▶ held, the least used goes first
//! asked by a client that has one ─▶ shorten: the stored text ─▶ dcz or dcb ─▶ held
//! ```
//!
//! Invariant: texts and what is made of them take a quarter of the fills' memory at most, and none is longer than [`MOST_TEXT`].
//! Invariant: a text helps only requests for the origin (scheme, host and port) that it came from.

mod held;
mod kept;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Uri, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::monotonic;
use crate::metrics::Metrics;
use crate::policy::dictionary::{Had, Hash};
use crate::store::{Budget, Object, Reading};
use held::{Held, Name};
use kept::{Kept, Text};

pub(crate) use text::MOST_TEXT;

/// All texts of one edge.
#[derive(Debug)]
pub struct Dictionaries {
    held: Mutex<Held>,
    kept: Kept,
    memory: Arc<Budget>,
    most_text: u64,
    metrics: Metrics,
    /// Jobs that are under way or wait.
    queue: Arc<Semaphore>,
    /// Jobs that are under way.
    workers: Arc<Semaphore>,
    /// Names of answers that are being made.
    under_way: Mutex<HashSet<Name>>,
    /// The one text that is being held again.
    again: Arc<Semaphore>,
}

/// The state of the difference between what a client has and what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The client's text is not held here.
    No {
        /// Texts that are.
        held: u64,
    },
    /// The client's text is held here.
    Text,
    /// It is not shorter than what is stored, or could not be made.
    Useless,
    /// It has so many bytes.
    Short(usize),
}

/// A place of the queue and a worker.
type Seat = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Something that is being made, until this is dropped.
struct UnderWay(Arc<Dictionaries>, Name);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// One part in so many of the memory for fills.
const MEMORY_PART: u64 = 4;
/// No text takes more than one part in so many of that.
const TEXT_PART: u64 = 4;
/// Jobs that wait, each for a stored response; beyond, answers are as they would be without.
const MOST_JOBS: usize = 64;
/// Jobs at once: each takes some milliseconds of a processor.
const WORKERS: usize = 4;
/// Texts that were pushed out take at most one part in so many of a processor's time to be held again.
const AGAIN_PART: u32 = 10;
/// A job takes so much beside its texts: the compressor's tables.
const WORK_BYTES: u64 = 3 << 20;

/// Scheme, host and port of a URL.
pub(crate) fn origin(uri: &Uri) -> Arc<str> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}", uri.scheme_str().unwrap_or_default()).into()
}

impl Dictionaries {
    /// None yet, but for those that are kept beside what a disk holds: in this folder, once there is one. Their memory is a
    /// part of this.
    pub(super) fn new(
        memory: &Arc<Budget>,
        metrics: Metrics,
        folder: Option<impl Fn() -> Option<PathBuf> + Send + 'static>,
    ) -> Arc<Self> {
        let most_bytes = memory.limit_bytes() / MEMORY_PART;
        Arc::new_cyclic(|own| Self {
            held: Held::new(memory.share(), most_bytes).into(),
            kept: folder.map_or_else(Kept::default, |folder| Kept::begin(own.clone(), folder)),
            memory: Arc::clone(memory),
            most_text: (most_bytes / TEXT_PART).min(MOST_TEXT),
            metrics,
            queue: Arc::new(Semaphore::new(MOST_JOBS)),
            workers: Arc::new(Semaphore::new(WORKERS)),
            under_way: Mutex::default(),
            again: Arc::new(Semaphore::new(1)),
        })
    }

    /// Whether a body of so many bytes, as it is stored, can be a dictionary.
    #[must_use]
    pub fn takes(&self, object: &Object) -> bool {
        object.body.file().is_none() && object.body.bytes() > 0 && object.body.bytes() <= self.most_text
    }

    /// Takes in the text of a stored response of this origin, if that was not done before. Its hash; none if it is no text of
    /// use, or there is no time or memory for it now.
    pub async fn describe(self: &Arc<Self>, origin: &Arc<str>, object: &Arc<Object>) -> Option<Hash> {
        if !self.takes(object) {
            return None;
        }
        if let Some(known) = object.described().get() {
            return *known;
        }
        let forgets = self.lock().forgets();
        let place = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        let worker = Arc::clone(&self.workers).acquire_owned().await.ok()?;
        self.describe_on((place, worker), forgets, origin, object).await
    }

    async fn describe_on(
        self: &Arc<Self>,
        seat: Seat,
        forgets: u64,
        origin: &Arc<str>,
        object: &Arc<Object>,
    ) -> Option<Hash> {
        let job = || async {
            let (own, origin, reading) =
                (Arc::clone(self), Arc::clone(origin), Reading::for_fetch(Arc::clone(object)));
            let work = move || own.described(forgets, &origin, &reading);
            self.job(seat, self.text_bytes(object), work).await.ok_or(())
        };
        *object.described().get_or_try_init(job).await.ok()?
    }

    fn described(&self, forgets: u64, origin: &Arc<str>, object: &Object) -> Option<Hash> {
        let text = text::of(object, self.most_text)?;
        let hash = text::hash(&text);
        self.hold(forgets, Name::Text(Arc::clone(origin), hash), Some(text.into()));
        Some(hash)
    }

    /// The stored response compressed with the text of this hash; none if that is not held, the result is not shorter than
    /// what is stored, it is being made for another client, or there is no time or memory for it now: a client waits for
    /// the work on its answer, and for no other.
    pub async fn shorten(
        self: &Arc<Self>,
        origin: &Arc<str>,
        object: &Arc<Object>,
        had: &Had,
    ) -> Option<Bytes> {
        let (dictionary, coding) = (had.hash, had.coding);
        let (forgets, old) = {
            let mut held = self.lock();
            (held.forgets(), held.get(&Name::Text(Arc::clone(origin), dictionary))??)
        };
        let hash = match object.described().get() {
            Some(known) => (*known)?,
            None if self.takes(object) => {
                self.describe_on(self.free_seat()?, forgets, origin, object).await?
            }
            None => return None,
        };
        let name = Name::Short(Arc::clone(origin), coding, dictionary, hash);
        if let Some(known) = self.lock().get(&name) {
            return known;
        }
        let (under_way, old_bytes) = (self.begun(&name)?, old.len() as u64);
        let seat = self.free_seat()?;
        let (own, origin, reading) =
            (Arc::clone(self), Arc::clone(origin), Reading::for_fetch(Arc::clone(object)));
        let known = self.lock().peek(&Name::Text(origin, hash)).flatten();
        let text_bytes = known.as_ref().map_or_else(|| self.most_text_of(object), |text| text.len() as u64);
        let work = move || {
            // Another may have ended just before this one began.
            let made = own.lock().get(&name);
            if let Some(made) = made {
                return made;
            }
            let text = known.or_else(|| text::of(&reading, own.most_text).map(Bytes::from))?;
            let short = text::compressed(coding, &old, &text, &dictionary).map(Bytes::from);
            // Remembered too where it is of no use.
            let short = short.filter(|short| (short.len() as u64) < reading.body.bytes());
            own.hold(forgets, name, short.clone());
            drop(under_way);
            short
        };
        let bytes =
            object.body.bytes() + 2 * text_bytes + text::most_compressed(coding, text_bytes, old_bytes);
        self.job(seat, bytes, work).await.flatten()
    }

    /// Tells how the difference to a client's text stands, without making it.
    #[must_use]
    pub fn known(&self, origin: &Arc<str>, object: &Object, had: &Had) -> Known {
        let held = self.lock();
        if held.peek(&Name::Text(Arc::clone(origin), had.hash)).is_none() {
            return Known::No { held: held.size().0 };
        }
        let Some(Some(hash)) = object.described().get() else { return Known::Text };
        match held.peek(&Name::Short(Arc::clone(origin), had.coding, had.hash, *hash)) {
            None => Known::Text,
            Some(None) => Known::Useless,
            Some(Some(short)) => Known::Short(short.len()),
        }
    }

    /// As [`Dictionaries::describe`], for a response of this URL that nobody waits for. A text that was pushed out is held
    /// again.
    pub fn begin(self: &Arc<Self>, uri: &Uri, object: &Arc<Object>) {
        if !self.takes(object) {
            return;
        }
        let (own, origin, object) = (Arc::clone(self), origin(uri), Arc::clone(object));
        match object.described().get() {
            None => drop(tokio::spawn(async move { own.describe(&origin, &object).await })),
            Some(None) => {}
            Some(Some(hash)) => {
                let is_held = self.lock().get(&Name::Text(Arc::clone(&origin), *hash)).is_some();
                if !is_held && let Ok(turn) = Arc::clone(&self.again).try_acquire_owned() {
                    tokio::spawn(async move { own.hold_again(turn, origin, object).await });
                }
            }
        }
    }

    /// Where more is asked for than there is room for, texts push each other out: this then rests most of the time.
    async fn hold_again(self: Arc<Self>, turn: OwnedSemaphorePermit, origin: Arc<str>, object: Arc<Object>) {
        let forgets = self.lock().forgets();
        let Some(seat) = self.free_seat() else { return };
        let began = monotonic();
        let bytes = self.text_bytes(&object);
        let (own, reading) = (Arc::clone(&self), Reading::for_fetch(object));
        self.job(seat, bytes, move || own.described(forgets, &origin, &reading)).await;
        tokio::time::sleep(began.elapsed() * (AGAIN_PART - 1)).await;
        drop(turn);
    }

    /// Forgets all texts of these origins (scheme, host and port), also those in files, and holds nothing of what is made now.
    pub(crate) fn forget(&self, is_one: impl Fn(&str) -> bool) {
        let mut held = self.lock();
        let were_some = held.forget(is_one);
        self.metrics.dictionaries_are(held.size());
        drop(held);
        if were_some {
            self.kept.compare();
        }
    }

    /// Holds what was made since there were so many forgets, and keeps it if it is a text.
    fn hold(&self, forgets: u64, name: Name, bytes: Option<Bytes>) {
        let text = match (&name, &bytes) {
            (Name::Text(origin, hash), Some(bytes)) => {
                Some(Text { origin: Arc::clone(origin), hash: *hash, bytes: bytes.clone() })
            }
            _ => None,
        };
        self.put(forgets, name, bytes, text);
    }

    /// Holds a text that was kept in a file; whether there was room for it.
    fn hold_kept(&self, text: Text) -> bool {
        let name = Name::Text(text.origin, text.hash);
        // Texts that were forgotten may be among the files that were not read yet.
        text.bytes.len() as u64 <= self.most_text && self.put(0, name, Some(text.bytes), None)
    }

    /// As many texts, and bytes of them, as there can be room for.
    fn most_kept(&self) -> (usize, u64) {
        (held::MOST_ENTRIES, self.lock().most_bytes())
    }

    /// Holds something that was made since there were so many forgets, and keeps this text; whether there was room for it.
    fn put(&self, forgets: u64, name: Name, bytes: Option<Bytes>, text: Option<Text>) -> bool {
        let mut held = self.lock();
        if held.forgets() != forgets {
            return false;
        }
        let (is_held, gone) = held.put(name, bytes);
        self.metrics.dictionaries_are(held.size());
        // Under the lock: a comparison of the files after the next forget comes after it.
        text.into_iter().filter(|_| is_held).for_each(|text| self.kept.keep(text));
        drop(held);
        for name in gone {
            if let Name::Text(origin, hash) = name {
                self.kept.forget(origin, hash);
            }
        }
        is_held
    }

    /// All that are held.
    fn texts(&self) -> Vec<Text> {
        self.lock().texts()
    }

    /// For what a client waits for: none if it would have to wait for others' work.
    fn free_seat(&self) -> Option<Seat> {
        let place = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        Some((place, Arc::clone(&self.workers).try_acquire_owned().ok()?))
    }

    /// Begins to make this; none if somebody does so.
    fn begun(self: &Arc<Self>, name: &Name) -> Option<UnderWay> {
        let is_first = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        is_first.then(|| UnderWay(Arc::clone(self), name.clone()))
    }

    /// The longest that the text of a stored response can be here.
    fn most_text_of(&self, object: &Object) -> u64 {
        let has_coding = object.entry.head.headers.contains_key(header::CONTENT_ENCODING);
        if has_coding { self.most_text } else { object.body.bytes().min(self.most_text) }
    }

    /// Memory to have that text: its body in one piece, and without its coding, which grows by doubling.
    fn text_bytes(&self, object: &Object) -> u64 {
        object.body.bytes() + 2 * self.most_text_of(object)
    }

    /// Does it in a thread that may take its time; none if there is no memory for it, beside the compressor's.
    async fn job<T: Send + 'static>(
        &self,
        seat: Seat,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let mut memory = self.memory.share();
        if !memory.grow(WORK_BYTES.min(self.memory.limit_bytes() / 2) + bytes) {
            return None;
        }
        let work = move || {
            let _held = (seat, memory);
            work()
        };
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
