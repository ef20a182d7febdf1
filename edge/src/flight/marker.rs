//! Keys whose latest responses could not be shared. Requests for such a key do not wait for each other: each gets a fetch
//! of its own at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use moka::sync::Cache;

use super::Fetch;
use crate::decide::{Company, Why};
use crate::policy::Unstorable;
use crate::site::key::Key;

/// Keys whose requests go apart, by which of them do.
#[derive(Debug)]
pub(super) struct Apart {
    all: Markers,
    authorized: Markers,
    ranges: Markers,
    big: Markers,
}

/// Which of a key's requests go apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// All.
    All,
    /// Requests with `Authorization`.
    Authorized,
    /// Requests for a range of something of which nothing is known.
    Ranges,
    /// Requests for the whole.
    Whole,
}

/// How long a key's requests go apart after a response that could not be shared (hit-for-miss), or twice its
/// head's time if that is more: a client that polls a slow one would wait for another's before its own.
const APART_TIME: Duration = Duration::from_secs(10);
const APART_TIMES_TAKEN: u32 = 2;
/// How long a key is not tried again that outgrew what an object may be while it came: each try takes that much of the
/// fills' memory for nothing.
const BIG_TIME: Duration = Duration::from_secs(60);

impl Sort {
    /// The requests that are concerned if a response is not stored for this reason.
    fn of(why: Why) -> Option<Self> {
        match why {
            Why::TooBig => Some(Self::Whole),
            Why::WasTooBig => None,
            Why::Unstorable(Unstorable::Authorization) => Some(Self::Authorized),
            Why::Unstorable(Unstorable::Part) => Some(Self::Ranges),
            Why::Unstorable(why) => (!why.is_of_request()).then_some(Self::All),
        }
    }

    /// How long it concerns them, if its head took so long.
    fn time(self, took: Duration) -> Duration {
        match self {
            Self::Whole => BIG_TIME,
            Self::All | Self::Authorized | Self::Ranges => {
                APART_TIME.max(took.saturating_mul(APART_TIMES_TAKEN))
            }
        }
    }
}

impl Default for Apart {
    fn default() -> Self {
        let few = || Markers::new(FEW_BYTES);
        Self { all: Markers::default(), authorized: few(), ranges: few(), big: few() }
    }
}

impl Apart {
    /// A response for this key, whose head took so long, was not stored.
    pub(super) fn mark(&self, key: &Key, why: Why, took: Duration, now: SystemTime) {
        if let Some(sort) = Sort::of(why) {
            let (markers, until) = (self.of(sort), now + sort.time(took));
            // Every response for a busy key says the same, and to look costs less than to write.
            if !markers.holds_nearly(key, until) {
                markers.mark(key, until);
            }
        }
    }

    /// Whether a request that would take part in others' fetches goes alone.
    pub(super) fn holds(&self, fetch: &Fetch, company: &Company, now: SystemTime) -> bool {
        let key = &fetch.key;
        let ranges = matches!(company, Company::Range(_));
        let whole = matches!(company, Company::Any | Company::Alike(_));
        self.all.holds(key, now)
            || ranges && self.ranges.holds(key, now)
            || whole && self.big.holds(key, now)
            || fetch.cause.credentials.authorize() && self.authorized.holds(key, now)
    }

    /// Whether the key's whole was too big a while ago.
    pub(super) fn is_big(&self, key: &Key, now: SystemTime) -> bool {
        self.big.holds(key, now)
    }

    /// A response for this key was stored.
    pub(super) fn clear(&self, key: &Key) {
        self.all.clear(key);
    }

    /// It was stored whole.
    pub(super) fn clear_big(&self, key: &Key) {
        self.big.clear(key);
    }

    fn of(&self, sort: Sort) -> &Markers {
        match sort {
            Sort::All => &self.all,
            Sort::Authorized => &self.authorized,
            Sort::Ranges => &self.ranges,
            Sort::Whole => &self.big,
        }
    }
}

/// Keys, each until a time.
#[derive(Debug)]
pub(super) struct Markers {
    marked: Cache<Key, SystemTime>,
    /// Whether a key was ever marked. Most kinds of markers are rare, and to look costs more than all else that is asked here.
    any: AtomicBool,
}

/// Losing a marker costs one wait for a head; keys are not worth more memory than this.
const MAX_BYTES: u64 = 4 << 20;
/// A tenth of the shortest time that a marker is for.
const LITTLE: Duration = Duration::from_secs(1);
/// For what fewer keys have.
const FEW_BYTES: u64 = 1 << 20;
/// The bytes that moka takes beside the key.
const MARKER_BYTES: usize = 300;

impl Default for Markers {
    fn default() -> Self {
        Self::new(MAX_BYTES)
    }
}

impl Markers {
    fn new(max_bytes: u64) -> Self {
        let weigh = |key: &Key, _: &SystemTime| {
            u32::try_from(key.as_bytes().len() + MARKER_BYTES).unwrap_or(u32::MAX)
        };
        Self {
            marked: Cache::builder().max_capacity(max_bytes).weigher(weigh).build(),
            any: AtomicBool::new(false),
        }
    }

    pub(super) fn mark(&self, key: &Key, until: SystemTime) {
        // Before it is there, so that nobody who clears it passes it by.
        self.any.store(true, Ordering::Release);
        self.marked.insert(key.clone(), until);
    }

    pub(super) fn holds(&self, key: &Key, now: SystemTime) -> bool {
        self.until(key).is_some_and(|until| now < until)
    }

    /// Whether it has been marked until this time, or a little less.
    fn holds_nearly(&self, key: &Key, until: SystemTime) -> bool {
        let short = |marked| until.duration_since(marked).ok();
        self.until(key).and_then(short).is_some_and(|short| short <= LITTLE)
    }

    pub(super) fn clear(&self, key: &Key) {
        if self.any.load(Ordering::Acquire) {
            self.marked.invalidate(key);
        }
    }

    fn until(&self, key: &Key) -> Option<SystemTime> {
        if self.any.load(Ordering::Acquire) { self.marked.get(key) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{at, request};
    use crate::site::key::KeyRules;

    #[test]
    fn a_response_that_is_not_stored_concerns_those_like_it() {
        for (why, expected) in [
            (Why::TooBig, Some(Sort::Whole)),
            (Why::WasTooBig, None),
            (Why::Unstorable(Unstorable::Private), Some(Sort::All)),
            (Why::Unstorable(Unstorable::VaryStar), Some(Sort::All)),
            (Why::Unstorable(Unstorable::Authorization), Some(Sort::Authorized)),
            (Why::Unstorable(Unstorable::Part), Some(Sort::Ranges)),
            (Why::Unstorable(Unstorable::RequestNoStore), None),
            (Why::Unstorable(Unstorable::ForThisRequest), None),
        ] {
            assert_eq!(Sort::of(why), expected, "{why:?}");
        }
    }

    #[test]
    fn a_key_whose_whole_was_too_big_is_not_tried_again_for_a_minute_or_until_it_is_stored() {
        let key = |path: &str| crate::site::key::key(&request("GET", path, &[]), &KeyRules::default());
        let (big, other) = (key("http://a/big"), key("http://a/other"));
        let apart = Apart::default();
        apart.mark(&big, Why::TooBig, Duration::ZERO, at(100));
        assert!(apart.is_big(&big, at(159)) && !apart.is_big(&big, at(160)));
        assert!(!apart.is_big(&other, at(100)));
        apart.clear_big(&big);
        assert!(!apart.is_big(&big, at(100)));
        apart.mark(&big, Why::Unstorable(Unstorable::Private), Duration::ZERO, at(100));
        assert!(!apart.is_big(&big, at(100)));
    }

    #[test]
    fn a_key_that_is_marked_for_nearly_as_long_stays_as_it_is() {
        let key = crate::site::key::key(&request("GET", "http://a/x", &[]), &KeyRules::default());
        let apart = Apart::default();
        let until = |asked_secs| {
            apart.mark(&key, Why::Unstorable(Unstorable::Private), Duration::ZERO, at(asked_secs));
            (asked_secs..).find(|secs| !apart.all.holds(&key, at(*secs)))
        };
        assert_eq!([100, 101, 102, 120].map(until), [110, 110, 112, 130].map(Some));
    }

    #[test]
    fn requests_go_apart_for_longer_than_a_slow_one_takes() {
        for (sort, took_secs, expected_secs) in
            [(Sort::All, 0, 10), (Sort::All, 5, 10), (Sort::Ranges, 30, 60), (Sort::Whole, 100, 60)]
        {
            let found = sort.time(Duration::from_secs(took_secs));
            assert_eq!(found, Duration::from_secs(expected_secs), "{sort:?} {took_secs}");
        }
    }
}
