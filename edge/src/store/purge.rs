//! Purge epochs: each purge begins a new one, and what was asked of an origin before it is void within its scope.
//!
//! A purge of one key takes the stored responses out and is noted for the fetches that run. All wider scopes are marks
//! (`marks`) that are compared when a response is found: a purge costs the same for one response and for a million,
//! and none is searched for. A response that was compared once is not compared again before the next purge.
//!
//! Invariant: what purges are remembered by is bounded, whatever is purged and however often; beyond the bounds more is
//! gone than was purged, never less.

mod marks;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use http::HeaderMap;

use super::disk::hash::{HashKey, Hashed};
use super::disk::journal::Noted;
use super::disk::record::Mark;
use super::epoch::Epoch;
use super::object::{Object, Variants};
use crate::site::SiteName;
use crate::site::key::{Key, KeyRules};
use crate::site::pattern::UrlPattern;
use crate::site::tags::TagFields;
pub(super) use marks::Subject;
pub use marks::{MAX_PREFIX_BYTES, Mode};
use marks::{Marks, Name, Standing, millis};
use settings::Settings;

/// The responses that a purge covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every variant under one key.
    Key(Key),
    /// Every variant under every key with this key's URL, whatever fields, cookies and devices make of it.
    Url(Key),
    /// Every URL that begins so; in the form of [`Key::url`].
    Prefix(String),
    /// Every URL that this pattern matches; in the form of [`Key::url`].
    Pattern(UrlPattern),
    /// Every response with this tag.
    Tag {
        /// As the origin wrote it.
        tag: String,
        /// Only on this site.
        site: Option<SiteName>,
    },
    /// Everything of this site.
    Site(SiteName),
    /// Everything.
    All,
}

/// All purges so far, as far as they can still matter.
#[derive(Debug)]
pub struct Purges {
    /// The epoch of the last mark.
    marked: AtomicU64,
    hash_key: HashKey,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: u64,
    marks: Marks,
    /// The purges by their times in milliseconds in the place of epochs: what another edge has asked for has no epoch here.
    timed: Marks,
    /// The last of those times.
    timed_until: u64,
    settings: Settings,
    /// The epoch of the last mark, shared by all that began in it.
    birth: Arc<u64>,
    /// The epochs that something may still be from, oldest first.
    births: VecDeque<Weak<u64>>,
    /// Of keys, as long as a fetch runs that began before it: stored objects of the key are removed, not compared. By
    /// the key's hash: keys are up to some KiB long and clients choose them. Two that share one cost a fetch.
    keys: HashMap<u64, u64>,
    /// Their purges, oldest first.
    noted: VecDeque<(u64, u64)>,
    hasher: RandomState,
    /// Fetches from before this are void whatever their key: what is left of keys that were too many to note.
    fetches: u64,
    /// How many fetches run that began in an epoch.
    running: BTreeMap<u64, usize>,
    /// Fetches that ever began.
    begun: u64,
}

/// A fetch under way, and the epoch that it began in.
#[derive(Debug)]
pub struct Ticket {
    epoch: u64,
    /// Its number among all fetches, from 1 on.
    fetch: u64,
    birth: Arc<u64>,
    purges: Arc<Purges>,
}

/// A purge, as it is to be noted where it must outlive the process.
#[derive(Debug)]
pub(super) struct Advanced {
    /// Its epoch.
    pub(super) epoch: u64,
    /// Its marks; none if it is of one key.
    pub(super) noted: Vec<Noted>,
}

/// The part of a key's stored responses that the marks leave.
pub(super) enum Settled {
    /// All of it, as it is.
    Same,
    /// This.
    Changed(Variants),
}

impl Scope {
    /// The scope to purge when `key`'s URL changes, under the rules that made the key.
    #[must_use]
    pub fn of(key: Key, rules: &KeyRules) -> Self {
        if rules.is_url_only() { Self::Key(key) } else { Self::Url(key) }
    }

    fn mark(&self) -> Option<Name<'_>> {
        match self {
            Self::Key(_) => None,
            Self::Url(key) => Some(Name::Url(key)),
            Self::Prefix(prefix) => Some(Name::Prefix(prefix)),
            Self::Pattern(pattern) => Some(Name::Pattern(pattern)),
            Self::Tag { tag, site } => Some(Name::Tag(site.as_ref(), tag.as_bytes())),
            Self::Site(site) => Some(Name::Site(site)),
            Self::All => Some(Name::All),
        }
    }
}

impl Purges {
    /// None yet, and room for so many marks; of responses whose tags are in these fields.
    /// The first epoch is `first`, and names are hashed by this key: what disks keep of earlier processes is of lower
    /// epochs.
    pub(super) fn new(marks: usize, tag_fields: TagFields, first: u64, hash_key: HashKey) -> Arc<Self> {
        let birth = Arc::new(first);
        let settings = Settings::new(setting(hash_key, TAG_FIELDS, &format!("{:?}", tag_fields.names())));
        let state = State {
            now: first,
            timed: Marks::new(marks.min(MAX_TIMED), tag_fields.clone(), hash_key),
            timed_until: 0,
            settings,
            marks: Marks::new(marks, tag_fields, hash_key),
            births: [Arc::downgrade(&birth)].into(),
            birth,
            keys: HashMap::new(),
            noted: VecDeque::new(),
            hasher: RandomState::new(),
            fetches: 0,
            running: BTreeMap::new(),
            begun: 0,
        };
        Arc::new(Self { marked: AtomicU64::new(first), hash_key, state: Mutex::new(state) })
    }

    pub(super) fn begin(this: &Arc<Self>) -> Ticket {
        this.ticket(&mut this.lock())
    }

    fn ticket(self: &Arc<Self>, state: &mut State) -> Ticket {
        let now = state.now;
        *state.running.entry(now).or_default() += 1;
        state.begun += 1;
        let (fetch, birth) = (state.begun, Arc::clone(&state.birth));
        Ticket { epoch: now, fetch, birth, purges: Arc::clone(self) }
    }

    /// Purges `scope`, which holds the subject, and gives a ticket from after that to a fetch from before it, unless
    /// another purge covers it already.
    pub(super) fn supersede(
        this: &Arc<Self>,
        ticket: &Ticket,
        scope: &Scope,
        subject: &Subject<'_>,
        now: SystemTime,
    ) -> (Option<Ticket>, Advanced) {
        let mut state = this.lock();
        let covering = state.over(ticket.epoch, subject);
        let advanced = this.advance_in(&mut state, scope, Mode::Hard, now);
        ((covering == Standing::Good).then(|| this.ticket(&mut state)), advanced)
    }

    pub(super) fn advance(&self, scope: &Scope, mode: Mode, now: SystemTime) -> Advanced {
        self.advance_in(&mut self.lock(), scope, mode, now)
    }

    fn advance_in(&self, state: &mut State, scope: &Scope, mode: Mode, now: SystemTime) -> Advanced {
        state.now += 1;
        let epoch = state.now;
        let mut noted = Vec::new();
        state.time(scope, mode, now);
        match (scope, scope.mark()) {
            (_, Some(name)) => {
                noted = state.mark(&name, mode, now);
                self.marked.store(epoch, Ordering::Release);
            }
            (Scope::Key(key), None) => state.note(key, epoch),
            (_, None) => {}
        }
        Advanced { epoch, noted }
    }

    /// Takes in the purges of earlier processes, and the epochs that something on a disk is from. Returns for each a guard that
    /// keeps the marks after it, as long as the guard lives.
    pub(super) fn restore(&self, noted: &[Noted], floor: u64, births: &[u64]) -> Vec<Arc<u64>> {
        let state = &mut *self.lock();
        let noted = &state.settings.take(noted, &state.marks);
        let place = |noted: &Noted| (noted.mark.epoch, noted.mark.place, noted.mark.is_soft);
        let mut all = [state.marks.all(), noted.to_vec()].concat();
        all.sort_by_key(|noted| noted.mark.epoch);
        all.dedup_by(|one, other| place(one) == place(other));
        let mut marks = state.marks.emptied();
        marks.give_up_before(state.marks.floor().max(floor));
        all.iter().for_each(|noted| marks.take(noted));
        state.marks = marks;
        state.time_again(noted);
        let known = state.births.iter().filter_map(Weak::upgrade).map(|birth| (*birth, birth));
        let mut alive: BTreeMap<u64, Arc<u64>> = known.collect();
        let restored =
            births.iter().map(|birth| Arc::clone(alive.entry(*birth).or_insert_with(|| Arc::new(*birth))));
        let restored: Vec<Arc<u64>> = restored.collect();
        state.births = alive.values().map(Arc::downgrade).collect();
        state.bound_births();
        restored
    }

    /// The marks there are, and the epoch from before which everything is gone.
    pub(super) fn snapshot(&self) -> (Vec<Noted>, u64) {
        let state = self.lock();
        ([state.settings.noted(), state.marks.all()].concat(), state.marks.floor())
    }

    /// From now on keys are made by the rules that this text stands for. Whether that is new.
    pub(super) fn keys_are_by(&self, rules: &str) -> bool {
        let state = &mut *self.lock();
        let hash = setting(self.hash_key, KEY_RULES, rules);
        let before = state.settings.keys();
        // A fetch that begins before the next mark counts as begun before this.
        state.settings.keys_are(state.now + u64::from(before.is_some()), hash);
        before != Some(hash)
    }

    /// The settings, as journals have them.
    pub(super) fn settings(&self) -> Vec<Noted> {
        self.lock().settings.noted()
    }

    /// Whether something may be stored under a key that the rules of now do not make.
    pub(super) fn has_other_keys(&self) -> bool {
        let state = &mut *self.lock();
        let oldest = state.oldest_birth();
        state.settings.has_other_keys(oldest)
    }

    /// The epoch of the last mark.
    pub(super) fn marked(&self) -> u64 {
        self.marked.load(Ordering::Acquire)
    }

    /// Whether no mark is younger than what was last compared. Asked on every hit, so without the lock.
    pub(super) fn are_clear(&self, variants: &Variants) -> bool {
        let marked = self.marked.load(Ordering::Acquire);
        variants.iter().all(|object| object.epoch.clear_until() >= marked)
    }

    /// Compares what is stored under `key` with the marks.
    pub(super) fn settle(&self, key: &Key, site: &SiteName, variants: &Variants) -> Settled {
        let state = self.lock();
        let standings: Vec<Standing> =
            variants.iter().map(|object| state.standing(key, site, object)).collect();
        let now = state.now;
        drop(state);
        let settled = variants.iter().zip(&standings).filter_map(|(object, standing)| match standing {
            Standing::Gone => None,
            Standing::Good => Some(Arc::clone(object)),
            Standing::StaleSince(at) => Some(Arc::new(object.expired(*at))),
        });
        let settled: Vec<Arc<Object>> = settled.collect();
        settled.iter().for_each(|object| object.epoch.clear(now));
        if standings.iter().all(|standing| *standing == Standing::Good) {
            Settled::Same
        } else {
            Settled::Changed(settled.into_iter().collect())
        }
    }

    /// Whether a purge came over a fetch, of whose response these fields are known.
    pub(super) fn covers(
        &self,
        ticket: &Ticket,
        key: &Key,
        site: &SiteName,
        headers: Option<&HeaderMap>,
    ) -> Option<Mode> {
        match self.lock().over(ticket.epoch, &Subject { key, site, headers }) {
            Standing::Good => None,
            Standing::StaleSince(_) => Some(Mode::Soft),
            Standing::Gone => Some(Mode::Hard),
        }
    }

    /// Whether a purge covers what another edge asked for at this time, and when that was: as far as this edge knows of it
    /// still, and by the clocks of both.
    pub(super) fn covers_asked(
        &self,
        asked: SystemTime,
        subject: &Subject<'_>,
    ) -> Option<(Mode, SystemTime)> {
        match self.lock().timed.standing(millis(asked), subject) {
            Standing::Good => None,
            Standing::StaleSince(at) => Some((Mode::Soft, at)),
            Standing::Gone => Some((Mode::Hard, asked)),
        }
    }

    /// Whether a hard purge came over something stored since it was last found.
    pub(super) fn took(&self, key: &Key, site: &SiteName, object: &Object) -> bool {
        self.lock().standing(key, site, object) == Standing::Gone
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash of a setting.
fn setting(hash_key: HashKey, kind: u8, text: &str) -> u64 {
    hash_key.of(&[Hashed::Kind(kind), Hashed::Text(text.as_bytes())])
}

/// Kinds of hashes, beside those of names.
const TAG_FIELDS: u8 = 9;
const KEY_RULES: u8 = 10;

/// The marks that a store of so many bytes has room for, over disks of so many files.
pub(super) fn most_marks(memory_bytes: u64, files: u64) -> usize {
    let marks = (memory_bytes / MEMORY_PER_MARK_BYTES).max(files / FILES_PER_MARK).max(LEAST_MARKS);
    usize::try_from(marks).map_or(MAX_MARKS, |marks| marks.min(MAX_MARKS))
}

/// Responses that nobody asked for while as many names were purged are fetched again …
const MAX_MARKS: usize = 65_536;
/// … or fewer where there is little memory: a mark takes 350 bytes at most, so all of them a fortieth of it …
const MEMORY_PER_MARK_BYTES: u64 = 16 << 10;
/// … and where a disk holds many, they take a third of what its index does.
const FILES_PER_MARK: u64 = 16;
/// Room enough for a deployment that purges what it changes.
const LEAST_MARKS: u64 = 4_096;
/// Purges that are compared with what is imported.
const MAX_TIMED: usize = 4_096;
/// Purged keys that are noted while fetches run; beyond, all those fetches are void, which costs a refetch.
const MAX_KEYS: usize = 65_536;

impl State {
    fn mark(&mut self, name: &Name<'_>, mode: Mode, now: SystemTime) -> Vec<Noted> {
        let noted = self.marks.note(name, mode, self.now, now);
        // Others come by it through this lock alone: nothing is from the last epoch, and nothing will be.
        if Arc::strong_count(&self.birth) == 1 {
            self.births.pop_back();
        }
        self.birth = Arc::new(self.now);
        self.births.push_back(Arc::downgrade(&self.birth));
        self.bound_births();
        noted
    }

    /// Notes a purge by its time. A key goes with all of its URL.
    fn time(&mut self, scope: &Scope, mode: Mode, now: SystemTime) {
        let epoch = self.next_time(millis(now));
        let name = match (scope, scope.mark()) {
            (_, Some(name)) => name,
            (Scope::Key(key) | Scope::Url(key), None) => Name::Url(key),
            _ => return,
        };
        self.timed.note(&name, mode, epoch, now);
    }

    /// As [`State::time`], of earlier processes', which may be from before those that are known, or the same.
    fn time_again(&mut self, noted: &[Noted]) {
        self.timed_until = 0;
        for Noted { mark, text } in self.timed.begin_again(noted) {
            let epoch = self.next_time(mark.at_ms);
            self.timed.take(&Noted { mark: Mark { epoch, ..mark }, text });
        }
    }

    /// Purges have times of their own, in their order. They cover a response that was asked for in the same millisecond.
    fn next_time(&mut self, at_ms: u64) -> u64 {
        self.timed_until = at_ms.max(self.timed_until).saturating_add(1);
        self.timed_until
    }

    fn bound_births(&mut self) {
        // The dead go first, wherever they are. They are looked for only after so many more, as that walks all.
        let most = self.marks.limit();
        if self.births.len() > most + most / 8 {
            self.births.retain(|birth| birth.strong_count() > 0);
        }
        while self.births.len() > most + most / 8 {
            // The oldest that may live is from before the oldest mark there is room for.
            self.births.pop_front();
            let oldest = self.oldest_birth();
            self.marks.give_up_before(oldest);
        }
        let oldest = self.oldest_birth();
        self.marks.forget_before(oldest);
    }

    /// The epoch of the oldest that still lives. Others drop theirs without this lock, so it is looked at once.
    fn oldest_birth(&mut self) -> u64 {
        while let Some(birth) = self.births.front() {
            match birth.upgrade() {
                Some(birth) => return *birth,
                None => drop(self.births.pop_front()),
            }
        }
        self.now
    }

    /// How a stored response stands under the marks from after it was last found. A reload may have given its host to
    /// another site: then `site` is the host's now, and the purges of both sites cover it.
    fn standing(&self, key: &Key, site: &SiteName, object: &Object) -> Standing {
        let since = object.epoch.clear_until();
        let headers = Some(&object.entry.head.headers);
        let under = |site| self.marks.standing(since, &Subject { key, site, headers });
        if *site == object.site { under(site) } else { under(site).and(under(&object.site)) }
    }

    /// How a fetch that began in `epoch` stands.
    fn over(&self, epoch: u64, subject: &Subject<'_>) -> Standing {
        if epoch < self.of(subject.key) { Standing::Gone } else { self.marks.standing(epoch, subject) }
    }

    fn note(&mut self, key: &Key, now: u64) {
        if self.noted.len() >= MAX_KEYS {
            self.keys.clear();
            self.noted.clear();
            self.fetches = now;
        } else if !self.running.is_empty() {
            let hash = self.hasher.hash_one(key);
            self.keys.insert(hash, now);
            self.noted.push_back((now, hash));
        }
    }

    fn of(&self, key: &Key) -> u64 {
        self.keys.get(&self.hasher.hash_one(key)).copied().unwrap_or(0).max(self.fetches)
    }

    /// A purged key matters as long as a fetch from before its purge runs.
    fn end(&mut self, epoch: u64) {
        if let Some(count) = self.running.get_mut(&epoch) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&epoch);
                let oldest = self.running.first_key_value().map_or(u64::MAX, |(oldest, _)| *oldest);
                self.forget_keys(oldest);
            }
        }
    }

    /// Each purge of a key is looked at once here, however many fetches end.
    fn forget_keys(&mut self, until: u64) {
        while let Some((purged, hash)) = self.noted.pop_front_if(|(purged, _)| *purged <= until) {
            if self.keys.get(&hash) == Some(&purged) {
                self.keys.remove(&hash);
            }
        }
    }
}

impl Ticket {
    /// The epoch that the fetch began in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch::new(Arc::clone(&self.birth), self.epoch, self.fetch)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.purges.lock().end(self.epoch);
    }
}
