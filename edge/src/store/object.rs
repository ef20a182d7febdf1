//! One stored response, and the variants under one key.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::sync::OnceCell;

use super::block::allocated;
use super::body::Body;
use super::disk::offered::OnDisk;
use super::epoch::Epoch;
use super::evicted::age;
use super::hits::Hits;
use super::ready::ReadyHeads;
use super::recency::Recency;
use crate::policy::Entry;
use crate::site::SiteName;
use crate::site::key::Key;

/// A stored response: what policy knows of it, and its body.
#[derive(Debug)]
pub struct Object {
    /// The head and what decides reuse.
    pub entry: Entry,
    /// The body.
    pub body: Arc<Body>,
    /// The site that it was fetched for.
    pub site: SiteName,
    /// The purge epoch its fetch began in.
    pub epoch: Epoch,
    /// Heads of answers from it.
    pub ready: ReadyHeads,
    /// Whether a disk has it.
    pub on_disk: OnDisk,
    /// Answers from it.
    pub hits: Hits,
    described: OnceLock<Box<Described>>,
}

/// The SHA-256 of a response's content without its coding, once it is known; none inside: it has none that is of use.
pub type Described = OnceCell<Option<[u8; 32]>>;

impl Object {
    /// A response that no disk has, and of which no answer was made yet.
    #[must_use]
    pub fn new(entry: Entry, body: Arc<Body>, site: SiteName, epoch: Epoch) -> Self {
        Self {
            entry,
            body,
            site,
            epoch,
            ready: ReadyHeads::default(),
            on_disk: OnDisk::default(),
            hits: Hits::default(),
            described: OnceLock::new(),
        }
    }

    /// How recent it is.
    #[must_use]
    pub fn recency(&self) -> Recency {
        Recency::of(&self.entry, &self.epoch)
    }

    /// Its description, which may be still to come.
    #[must_use]
    pub fn described(&self) -> &Described {
        self.described.get_or_init(Box::default)
    }

    /// The same, with its freshness ended at `at`.
    pub(super) fn expired(&self, at: SystemTime) -> Self {
        let entry = self.entry.clone().expired(at);
        let Self { body, site, epoch, on_disk, hits, .. } = self;
        let (on_disk, hits) = (on_disk.clone(), hits.clone());
        Self { on_disk, hits, ..Self::new(entry, Arc::clone(body), site.clone(), epoch.clone()) }
    }

    /// In units of [`WEIGHT_UNIT_BYTES`], rounded up.
    pub(super) fn weight(&self, key: &Key) -> u32 {
        let headers = &self.entry.head.headers;
        let names: usize = headers.keys().map(|name| name.as_str().len() + NAME_BYTES).sum();
        let values = allocated(headers.values().map(HeaderValue::len).sum());
        let repeated = (headers.len() - headers.keys_len()) * REPEATED_FIELD_BYTES;
        let head = names + values + repeated + allocated(headers.capacity() * FIELD_BYTES);
        let pieces = self.body.count() * PIECE_BYTES;
        let ready = allocated(self.text_bytes() + READY_BYTES);
        let bytes = self.body.allocated_bytes()
            + (head + ready + pieces + key.as_bytes().len() + OBJECT_BYTES) as u64;
        u32::try_from(bytes.div_ceil(WEIGHT_UNIT_BYTES)).unwrap_or(u32::MAX)
    }

    /// Bytes of the head's lines.
    fn text_bytes(&self) -> usize {
        let lines = self.entry.head.headers.iter();
        lines.map(|(name, value)| name.as_str().len() + value.len() + b": \r\n".len()).sum()
    }
}

/// A ready-made head has these beside the stored lines: its status line, `Age`, `Via`, `Cache-Status`, what the site adds,
/// and what it is kept in. One of a 304 is shorter than what this and rounding up leave, for most.
const READY_BYTES: usize = 256;
/// moka weighs in u32; in units of 64 bytes that reaches 256 GiB, and rounding costs less than a head.
pub(super) const WEIGHT_UNIT_BYTES: u64 = 64;
/// Each field that the map has room for costs an entry of 104 bytes and up to two indices of 4 each.
const FIELD_BYTES: usize = 112;
/// A name that is not a standard one has a block of its own, and the block's count.
const NAME_BYTES: usize = 48;
/// A second value of one name: an entry of 72 bytes in a list that grows by doubling.
const REPEATED_FIELD_BYTES: usize = 144;
/// `Bytes` and the block it shares.
const PIECE_BYTES: usize = 64;
/// moka's node and frequency sketch (some 250 bytes, measured), our structs, and what the allocator rounds up: with
/// this, 100,000 objects of 1 KiB with six fields weigh what the process grows by (2,665 bytes each).
const OBJECT_BYTES: usize = 480;

/// The variants under one key, newest first; shared and immutable.
#[derive(Debug, Clone, Default)]
pub struct Variants(Arc<[Arc<Object>]>);

impl Variants {
    /// The entries that `policy` judges, in the same order.
    #[must_use]
    pub fn entries(&self) -> Vec<&Entry> {
        self.0.iter().map(|object| &object.entry).collect()
    }

    /// The store answers for their bodies from now on.
    pub(super) fn list(&self) {
        self.iter().for_each(|object| object.body.list());
    }

    /// It no longer does.
    pub(super) fn unlist(&self) {
        self.iter().for_each(|object| object.body.unlist());
    }

    /// How long ago the newest was received, or last validated.
    pub(super) fn age(&self) -> Duration {
        self.0.iter().map(|object| age(object.entry.received)).min().unwrap_or_default()
    }

    pub(super) fn weight(&self, key: &Key) -> u32 {
        self.0.iter().fold(0, |sum, object| sum.saturating_add(object.weight(key)))
    }

    pub(super) fn retain(&self, keep: impl Fn(&Arc<Object>) -> bool) -> Self {
        Self(self.0.iter().filter(|object| keep(object)).cloned().collect())
    }

    /// Whether something more recent, which has all bytes of this, is in the place that this would take, beside `instead`, which
    /// it takes in any case.
    pub(super) fn outdo(&self, new: &Arc<Object>, instead: Option<&Arc<Object>>) -> bool {
        let is_in_place = |old: &&Arc<Object>| {
            old.entry.selecting == new.entry.selecting
                && old.entry.has_bytes_of(&new.entry)
                && !instead.is_some_and(|instead| Arc::ptr_eq(instead, old))
        };
        // One fetch after another is the rule: their numbers say so without a look at the fields.
        let is_later = |old: &&Arc<Object>| old.epoch.fetch() > new.epoch.fetch();
        let mut later = self.0.iter().filter(is_later).filter(is_in_place);
        later.any(|old| new.recency().is_behind(old.recency()))
    }

    /// These with `newest`, and without what it takes the place of, without `instead`, and without the oldest: above
    /// [`MAX_VARIANTS`], or what does not fit into `room`, which is in units of [`WEIGHT_UNIT_BYTES`].
    pub(super) fn with(
        &self,
        newest: Arc<Object>,
        instead: Option<&Arc<Object>>,
        key: &Key,
        room: u32,
    ) -> Self {
        let mut taken = newest.weight(key);
        let fits = |object: &&Arc<Object>| {
            taken = taken.saturating_add(object.weight(key));
            taken <= room
        };
        let stays = |object: &&Arc<Object>| {
            (object.entry.selecting != newest.entry.selecting || object.entry.is_beside(&newest.entry))
                && !instead.is_some_and(|old| Arc::ptr_eq(old, object))
        };
        let others = self.0.iter().filter(stays).take(MAX_OBJECTS - 1).take_while(fits);
        let mut kept = vec![Arc::clone(&newest)];
        let mut variants = 1;
        for object in others {
            // Parts of one representation are one variant.
            variants += usize::from(kept.iter().all(|k| k.entry.selecting != object.entry.selecting));
            if variants > MAX_VARIANTS {
                break;
            }
            kept.push(Arc::clone(object));
        }
        kept.into_iter().collect()
    }
}

impl FromIterator<Arc<Object>> for Variants {
    fn from_iter<T: IntoIterator<Item = Arc<Object>>>(objects: T) -> Self {
        Self(objects.into_iter().collect())
    }
}

impl Deref for Variants {
    type Target = [Arc<Object>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Real sites have at most some tens (encodings × languages); more is an attack or `Vary: User-Agent`. A new one takes the
/// oldest one's place: passing it on instead would switch the cache off for a URL as long as made-up ones are fresh.
const MAX_VARIANTS: usize = 64;
/// Variants and their parts: look-ups walk the list.
const MAX_OBJECTS: usize = 256;
