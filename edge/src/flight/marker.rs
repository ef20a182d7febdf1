//! Keys whose responses could not be shared lately: their requests do not queue behind one another.

use std::time::{Duration, SystemTime};

use moka::sync::Cache;

use super::verdict::Why;
use super::{Company, Fetch};
use crate::key::Key;
use crate::policy::Unstorable;

/// Keys whose requests go apart, by which of them do.
#[derive(Debug, Default)]
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
    /// Those with `Authorization`.
    Authorized,
    /// Those for a range of something of which nothing is known.
    Ranges,
    /// Those for the whole.
    Whole,
}

/// How long a key's requests go apart after a response that could not be shared (hit-for-miss).
const APART_TIME: Duration = Duration::from_secs(10);
/// How long a key is not tried again that outgrew what an object may be while it came: each try takes that much of the
/// fills' memory for nothing.
const BIG_TIME: Duration = Duration::from_secs(60);

impl Sort {
    /// Whom a response concerns that is not stored for this reason.
    fn of(why: Why) -> Option<Self> {
        match why {
            Why::TooBig => Some(Self::Whole),
            Why::WasTooBig => None,
            Why::Unstorable(Unstorable::Authorization) => Some(Self::Authorized),
            Why::Unstorable(Unstorable::Part) => Some(Self::Ranges),
            Why::Unstorable(why) => (!why.is_of_request()).then_some(Self::All),
        }
    }

    fn time(self) -> Duration {
        match self {
            Self::Whole => BIG_TIME,
            Self::All | Self::Authorized | Self::Ranges => APART_TIME,
        }
    }
}

impl Apart {
    /// A response for this key was not stored.
    pub(super) fn mark(&self, key: &Key, why: Why, now: SystemTime) {
        if let Some(sort) = Sort::of(why) {
            self.of(sort).mark(key, now + sort.time());
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
pub(super) struct Markers(Cache<Key, SystemTime>);

/// Losing a marker costs one wait for a head; keys are not worth more memory than this.
const MAX_BYTES: u64 = 4 << 20;
/// What moka takes beside the key.
const MARKER_BYTES: usize = 300;

impl Default for Markers {
    fn default() -> Self {
        let weigh = |key: &Key, _: &SystemTime| {
            u32::try_from(key.as_bytes().len() + MARKER_BYTES).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).build())
    }
}

impl Markers {
    pub(super) fn mark(&self, key: &Key, until: SystemTime) {
        self.0.insert(key.clone(), until);
    }

    pub(super) fn holds(&self, key: &Key, now: SystemTime) -> bool {
        self.0.get(key).is_some_and(|until| now < until)
    }

    pub(super) fn clear(&self, key: &Key) {
        self.0.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
