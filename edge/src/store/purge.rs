//! Purge epochs: each purge begins a new one, and what was asked of an origin before it is void within its scope.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Key;

/// How many purges had happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// What a purge covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every variant under one key.
    Key(Key),
    /// Everything of the site with this index.
    Site(usize),
    /// Everything.
    All,
}

/// All purges so far, as far as they can still matter.
#[derive(Debug)]
pub struct Purges {
    all: AtomicU64,
    sites: Vec<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: u64,
    /// Of keys, as long as a fetch runs that began before it: stored objects of the key are removed, not compared.
    keys: HashMap<Key, u64>,
    /// Fetches from before this are void whatever their key: what is left of keys that were too many to note.
    fetches: u64,
    /// How many fetches run that began in an epoch.
    running: BTreeMap<u64, usize>,
}

/// A fetch under way, and the epoch that it began in.
#[derive(Debug)]
pub struct Ticket {
    epoch: Epoch,
    purges: Arc<Purges>,
}

impl Purges {
    pub(super) fn new(sites: usize) -> Self {
        let sites = std::iter::repeat_with(|| AtomicU64::new(0)).take(sites).collect();
        Self { all: AtomicU64::new(0), sites, state: Mutex::default() }
    }

    pub(super) fn begin(this: &Arc<Self>) -> Ticket {
        let mut state = this.lock();
        let now = state.now;
        *state.running.entry(now).or_default() += 1;
        Ticket { epoch: Epoch(now), purges: Arc::clone(this) }
    }

    /// Purges `key`, and gives a ticket from after that to a fetch from before it, unless another purge covers it already.
    pub(super) fn supersede(this: &Arc<Self>, ticket: &Ticket, key: &Key, site: usize) -> Option<Ticket> {
        let mut state = this.lock();
        let covering = this.oldest_valid(site).max(Epoch(state.of(key)));
        state.now += 1;
        let now = state.now;
        state.note(key, now);
        if ticket.epoch < covering {
            return None;
        }
        *state.running.entry(now).or_default() += 1;
        Some(Ticket { epoch: Epoch(now), purges: Arc::clone(this) })
    }

    pub(super) fn advance(&self, scope: &Scope) {
        let mut state = self.lock();
        state.now += 1;
        let now = state.now;
        match scope {
            Scope::All => self.all.store(now, Ordering::Release),
            Scope::Site(site) => self.sites[*site].store(now, Ordering::Release),
            Scope::Key(key) => state.note(key, now),
        }
    }

    /// An object of this site from an earlier epoch is purged. Read on every hit, so without the lock.
    pub(super) fn oldest_valid(&self, site: usize) -> Epoch {
        let site = self.sites[site].load(Ordering::Acquire);
        Epoch(self.all.load(Ordering::Acquire).max(site))
    }

    pub(super) fn covers(&self, ticket: &Ticket, key: &Key, site: usize) -> bool {
        let of_key = self.lock().of(key);
        ticket.epoch < self.oldest_valid(site).max(Epoch(of_key))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Purged keys that are noted while fetches run; beyond, all those fetches are void, which costs a refetch.
const MAX_KEYS: usize = 65_536;

impl State {
    fn note(&mut self, key: &Key, now: u64) {
        if self.keys.len() >= MAX_KEYS {
            self.keys.clear();
            self.fetches = now;
        } else if !self.running.is_empty() {
            self.keys.insert(key.clone(), now);
        }
    }

    fn of(&self, key: &Key) -> u64 {
        self.keys.get(key).copied().unwrap_or(0).max(self.fetches)
    }

    /// A purged key matters as long as a fetch from before its purge runs.
    fn end(&mut self, epoch: u64) {
        if let Some(count) = self.running.get_mut(&epoch) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&epoch);
                let oldest = self.running.first_key_value().map_or(u64::MAX, |(oldest, _)| *oldest);
                self.keys.retain(|_, purged| *purged > oldest);
            }
        }
    }
}

impl Ticket {
    /// The epoch that the fetch began in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.purges.lock().end(self.epoch.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::from_bytes(name.as_bytes())
    }

    #[test]
    fn a_purge_covers_what_began_before_it_and_nothing_that_begins_after() {
        let check = |scope: Scope, same: bool, other_key: bool, other_site: bool| {
            let purges = Arc::new(Purges::new(2));
            let before = Purges::begin(&purges);
            purges.advance(&scope);
            let after = Purges::begin(&purges);
            assert_eq!(purges.covers(&before, &key("a"), 0), same, "{scope:?}");
            assert_eq!(purges.covers(&before, &key("b"), 0), other_key, "{scope:?}");
            assert_eq!(purges.covers(&before, &key("b"), 1), other_site, "{scope:?}");
            assert!(!purges.covers(&after, &key("a"), 0), "{scope:?}");
        };
        check(Scope::Key(key("a")), true, false, false);
        check(Scope::Site(0), true, true, false);
        check(Scope::All, true, true, true);
    }

    #[test]
    fn who_purges_a_key_may_put_there_what_no_other_purge_covers() {
        let purges = Arc::new(Purges::new(1));
        let (before, other) = (Purges::begin(&purges), Purges::begin(&purges));
        let after = Purges::supersede(&purges, &before, &key("a"), 0).expect("nothing was purged");
        assert!(purges.covers(&other, &key("a"), 0) && !purges.covers(&after, &key("a"), 0));
        purges.advance(&Scope::Key(key("a")));
        assert!(purges.covers(&after, &key("a"), 0));
        assert!(Purges::supersede(&purges, &after, &key("a"), 0).is_none());
        assert!(purges.covers(&after, &key("a"), 0) && !purges.covers(&Purges::begin(&purges), &key("a"), 0));
    }

    #[test]
    fn a_purged_key_is_forgotten_when_no_fetch_from_before_it_runs() {
        let purges = Arc::new(Purges::new(1));
        let first = Purges::begin(&purges);
        purges.advance(&Scope::Key(key("a")));
        let second = Purges::begin(&purges);
        purges.advance(&Scope::Key(key("b")));
        assert_eq!(purges.lock().keys.len(), 2);
        drop(first);
        assert!(purges.covers(&second, &key("b"), 0));
        assert_eq!(purges.lock().keys.len(), 1, "only the second fetch can still bring something old");
        drop(second);
        assert!(purges.lock().keys.is_empty());
        purges.advance(&Scope::Key(key("c")));
        assert!(purges.lock().keys.is_empty(), "no fetch runs");
    }

    #[test]
    fn too_many_purged_keys_void_the_fetches_that_run_instead_of_growing() {
        let purges = Arc::new(Purges::new(1));
        let before = Purges::begin(&purges);
        for number in 0..=MAX_KEYS {
            purges.advance(&Scope::Key(key(&number.to_string())));
        }
        assert!(purges.lock().keys.len() <= MAX_KEYS);
        assert!(purges.covers(&before, &key("never purged"), 0));
        assert!(!purges.covers(&Purges::begin(&purges), &key("0"), 0));
    }
}
