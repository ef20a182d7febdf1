//! Limits that were reached: each time is counted, and said in the log once a minute.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::clock::monotonic;

/// A limit that holds clients back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `limits.connections`.
    Connections,
    /// `limits.connections_per_network`.
    ConnectionsPerNetwork,
    /// `limits.upgrades`.
    Upgrades,
    /// A site's `rate_limit`.
    Rate,
    /// Wrong passwords from one network.
    Guesses,
    /// Passwords that wait to be checked.
    PasswordQueue,
    /// The part of `cache.memory` for what is on its way.
    Memory,
    /// A site's `origin_requests`.
    OriginRequests,
    /// `limits.connections` or `limits.connections_per_network`: the connection idle longest goes for a new one.
    IdleConnections,
    /// A site's further requests to its origins: a fifth of its requests.
    Retries,
}

const ALL: [Limit; 10] = [
    Limit::Connections,
    Limit::ConnectionsPerNetwork,
    Limit::Upgrades,
    Limit::Rate,
    Limit::Guesses,
    Limit::PasswordQueue,
    Limit::Memory,
    Limit::OriginRequests,
    Limit::IdleConnections,
    Limit::Retries,
];

impl Limit {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerNetwork => "connections-per-network",
            Self::Upgrades => "upgrades",
            Self::Rate => "rate",
            Self::Guesses => "guesses",
            Self::PasswordQueue => "password-queue",
            Self::Memory => "no-memory",
            Self::OriginRequests => "origin-requests",
            Self::IdleConnections => "idle-connections",
            Self::Retries => "retries",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Connections => "all connections that limits.connections allows are in use: others get 503",
            Self::ConnectionsPerNetwork => {
                "a network has the connections that limits.connections_per_network allows: more are dropped; a gateway in front belongs into trusted_proxies"
            }
            Self::Upgrades => {
                "as many connections have changed protocols as limits.upgrades allows: others get 503"
            }
            Self::Rate => "a network asks more often than a site's rate_limit allows: it gets 429",
            Self::Guesses => "a network gives wrong passwords: it gets 429",
            Self::PasswordQueue => "too many passwords wait to be checked: others get 503",
            Self::OriginRequests => {
                "the origins of a site have the requests that origin_requests allows, and no more may wait: others get 503"
            }
            Self::IdleConnections => {
                "there are the connections that limits.connections or limits.connections_per_network allows: the one idle longest goes for each new one"
            }
            Self::Retries => {
                "a site's retries are a fifth of its requests: what fails at an origin fails at the client"
            }
            Self::Memory => {
                "the part of cache.memory for what is on its way is in use: responses pass through unkept"
            }
        }
    }
}

/// The counters, and when each limit was last said.
#[derive(Debug)]
pub(super) struct Limits {
    family: Family<Label, Counter>,
    counters: [Counter; ALL.len()],
    /// Milliseconds since `started`, and one; 0: never.
    said_ms: [AtomicU64; ALL.len()],
    started: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    limit: &'static str,
}

/// A limit that is reached for hours is said once in this time.
const SAID_EVERY_MS: u64 = 60_000;

impl Default for Limits {
    fn default() -> Self {
        let family = Family::<Label, Counter>::default();
        let counters = ALL.map(|limit| family.get_or_create(&Label { limit: limit.as_str() }).clone());
        Self { family, counters, said_ms: Default::default(), started: monotonic() }
    }
}

impl Limits {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("limits_reached", "Times that a limit held a client back", self.family.clone());
    }

    /// A client was held back by this limit.
    pub(super) fn reached(&self, limit: Limit) {
        self.counters[limit as usize].inc();
        let since = monotonic().saturating_duration_since(self.started).as_millis();
        if self.is_to_be_said(limit, u64::try_from(since).unwrap_or(u64::MAX)) {
            tracing::warn!(target: "verge_edge::limit", limit = limit.as_str(), "{}", limit.sentence());
        }
    }

    fn is_to_be_said(&self, limit: Limit, now_ms: u64) -> bool {
        let said = &self.said_ms[limit as usize];
        let before = said.load(Ordering::Relaxed);
        let is_due = before == 0 || now_ms + 1 >= before + SAID_EVERY_MS;
        // Of those who come at once, one says it.
        is_due && said.compare_exchange(before, now_ms + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_place() {
        assert!(ALL.iter().enumerate().all(|(place, limit)| *limit as usize == place));
    }

    #[test]
    fn a_limit_is_said_once_a_minute_and_counted_each_time() {
        let limits = Limits::default();
        let say = |limit, at_ms| limits.is_to_be_said(limit, at_ms);
        assert!(say(Limit::Rate, 0) && !say(Limit::Rate, 0) && !say(Limit::Rate, 59_999));
        assert!(say(Limit::Upgrades, 1) && say(Limit::Rate, 60_000) && !say(Limit::Rate, 61_000));
        (0..3).for_each(|_| limits.reached(Limit::Memory));
        assert_eq!(limits.counters[Limit::Memory as usize].get(), 3);
    }
}
