//! Texts that clients have as dictionaries, and what became of newer ones with their help (RFC 9842).
//!
//! ```text
//! stored ─▶ describe: its text, without a coding ─▶ SHA-256 ─▶ held, the least used goes first
//! asked by a client that has one ─▶ shorten: the stored text ─▶ dcz ─▶ held
//! ```
//!
//! Invariant: texts and what is made of them take a quarter of the fills' memory at most, and none is longer than [`MOST_TEXT`].
//! Invariant: a text helps only requests for the origin (scheme, host and port) that it came from.

mod held;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Uri;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::policy::dictionary::Hash;
use crate::store::{Budget, Object, Reading};
use held::{Held, Name};

pub(crate) use text::MOST_TEXT;

/// All texts of one edge.
#[derive(Debug)]
pub struct Dictionaries {
    held: Mutex<Held>,
    memory: Arc<Budget>,
    most_text: u64,
    metrics: Metrics,
    /// Jobs that are under way or wait.
    queue: Arc<Semaphore>,
    /// Jobs that are under way.
    workers: Arc<Semaphore>,
}

/// One part in so many of the memory for fills.
const MEMORY_PART: u64 = 4;
/// No text takes more than one part in so many of that.
const TEXT_PART: u64 = 4;
/// Jobs that wait, each for a stored response; beyond, answers are as they would be without.
const MOST_JOBS: usize = 64;
/// Jobs at once: each takes some milliseconds of a processor.
const WORKERS: usize = 4;
/// A job takes so much beside its texts: the compressor's tables.
const WORK_BYTES: u64 = 3 << 20;

/// Scheme, host and port of a URL.
pub(crate) fn origin(uri: &Uri) -> Arc<str> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}", uri.scheme_str().unwrap_or_default()).into()
}

impl Dictionaries {
    /// None yet. Their memory is a part of this.
    pub(super) fn new(memory: &Arc<Budget>, metrics: Metrics) -> Arc<Self> {
        let most_bytes = memory.limit_bytes() / MEMORY_PART;
        Arc::new(Self {
            held: Held::new(memory.share(), most_bytes).into(),
            memory: Arc::clone(memory),
            most_text: (most_bytes / TEXT_PART).min(MOST_TEXT),
            metrics,
            queue: Arc::new(Semaphore::new(MOST_JOBS)),
            workers: Arc::new(Semaphore::new(WORKERS)),
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
        let described = object.described();
        let job = || async {
            let (own, origin, reading) =
                (Arc::clone(self), Arc::clone(origin), Reading::for_fetch(Arc::clone(object)));
            let work = move || own.described(&origin, &reading);
            self.job(object, work).await.ok_or(())
        };
        *described.get_or_try_init(job).await.ok()?
    }

    fn described(&self, origin: &Arc<str>, object: &Object) -> Option<Hash> {
        let text = text::of(object, self.most_text)?;
        let hash = text::hash(&text);
        self.hold(Name::Text(Arc::clone(origin), hash), Some(text.into()));
        Some(hash)
    }

    /// The stored response compressed with the text of this hash; none if that is not held, the result is not shorter than
    /// what is stored, or there is no time or memory for it now.
    pub async fn shorten(
        self: &Arc<Self>,
        origin: &Arc<str>,
        object: &Arc<Object>,
        dictionary: Hash,
    ) -> Option<Bytes> {
        let old = self.lock().get(&Name::Text(Arc::clone(origin), dictionary))??;
        let hash = self.describe(origin, object).await?;
        let name = Name::Short(Arc::clone(origin), dictionary, hash);
        if let Some(known) = self.lock().get(&name) {
            return known;
        }
        let (own, origin, reading) =
            (Arc::clone(self), Arc::clone(origin), Reading::for_fetch(Arc::clone(object)));
        let work = move || {
            let known = own.lock().get(&Name::Text(origin, hash)).flatten();
            let text = known.or_else(|| text::of(&reading, own.most_text).map(Bytes::from))?;
            let short = text::compressed(&old, &text, &dictionary)?;
            // Remembered too where it is of no use.
            let short = Some(Bytes::from(short)).filter(|short| (short.len() as u64) < reading.body.bytes());
            own.hold(name, short.clone());
            short
        };
        self.job(object, work).await.flatten()
    }

    /// As [`Dictionaries::describe`], for a response of this URL that nobody waits for.
    pub fn begin(self: &Arc<Self>, uri: &Uri, object: &Arc<Object>) {
        if self.takes(object) && !object.described().initialized() {
            let (own, origin, object) = (Arc::clone(self), origin(uri), Arc::clone(object));
            tokio::spawn(async move { own.describe(&origin, &object).await });
        }
    }

    fn hold(&self, name: Name, bytes: Option<Bytes>) {
        let mut held = self.lock();
        held.put(name, bytes);
        self.metrics.dictionaries_are(held.size());
    }

    /// Does it in a thread that may take its time; none if there are too many such jobs, or no memory for another.
    async fn job<T: Send + 'static>(
        &self,
        object: &Object,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let place = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        let worker = Arc::clone(&self.workers).acquire_owned().await.ok()?;
        let mut memory = self.memory.share();
        // Text becomes some ten times as short.
        let text = self.most_text.min(object.body.bytes().saturating_mul(10));
        if !memory.grow(WORK_BYTES.min(self.memory.limit_bytes() / 2) + text) {
            return None;
        }
        let work = move || {
            let _held = (place, worker, memory);
            work()
        };
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
