//! How long a response is fresh and how old it is (RFC 9111 §4.2).

use std::time::SystemTime;

use super::Entry;

/// RFC 9111 §1.2.2: what does not fit is this many seconds.
pub const MAX_DELTA_SECS: u64 = 1 << 31;

/// How long a response is fresh and what may be done with it after, fixed when it was stored or freshened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds from the response's generation.
    pub fresh_secs: u64,
    /// Where `fresh_secs` comes from.
    pub source: Source,
    /// `corrected_initial_age` of RFC 9111 §4.2.3, in seconds at the time of receipt.
    pub initial_age_secs: u64,
    /// What may be done once it is stale.
    pub stale: WhenStale,
    /// Fields that `no-cache="…"` or `private="…"` keep out of the store (RFC 9111 §5.2.2.4, §5.2.2.7).
    pub omitted: Vec<http::HeaderName>,
}

/// Where a freshness lifetime comes from (RFC 9111 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A site's override.
    Override,
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires` − `Date`.
    Expires,
    /// A share of `Date` − `Last-Modified`.
    Heuristic,
    /// The site's default or negative TTL.
    SiteDefault,
    /// Nothing gave one: stored for its validator only, or forced to validate by `no-cache`.
    Nothing,
}

/// What may be done with a stale response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStale {
    /// Validate before each use, even while fresh: `no-cache`.
    NeverUnvalidated,
    /// Validate once stale, whatever happens: `must-revalidate`, `proxy-revalidate`, `s-maxage`.
    MustRevalidate,
    /// May be served stale within these windows after its end.
    May {
        /// `stale-while-revalidate`, in seconds.
        while_revalidate_secs: u64,
        /// `stale-if-error`, in seconds; none if neither the response nor the site gives one.
        if_error_secs: Option<u64>,
    },
}

/// The numbers of a freshness decision, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// `current_age`.
    pub age_secs: u64,
    /// `freshness_lifetime`.
    pub lifetime_secs: u64,
    /// Where the lifetime comes from.
    pub source: Source,
}

impl Freshness {
    /// `freshness_lifetime > current_age`.
    pub fn is_fresh(&self) -> bool {
        self.lifetime_secs > self.age_secs
    }

    /// Seconds left; negative once stale. RFC 9211's `ttl`.
    pub fn ttl_secs(&self) -> i64 {
        todo!()
    }
}

/// Age and lifetime of `entry` at `now`.
pub fn of(entry: &Entry, now: SystemTime) -> Freshness {
    let _ = (entry, now);
    todo!()
}
