//! Where a site's origins are, and how long they may take.

use std::time::Duration;

use super::reach::Reach;

/// Where an origin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginAddress {
    /// `host:port`, as it is dialled.
    pub authority: String,
    /// Sent as Host instead of what the client asked for.
    pub host: Option<String>,
    /// Whether names of fields are sent with capitals.
    pub title_case: bool,
    /// Its share of the requests against the others'; from 1.
    pub weight: u32,
    /// Whether it is asked only when all that are none are down.
    pub backup: bool,
    /// The addresses that it may be at.
    pub reach: Reach,
}

/// How the origins of a site share its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sharing {
    /// The rule by which one is chosen.
    pub balance: Balance,
    /// So long after it came back an origin gets less than its share.
    pub slow_start: Duration,
}

/// The rule by which the next request gets its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// By chance.
    Random,
    /// Of two by chance the one with less to do.
    LeastLoaded,
    /// By the key of the request.
    Hash,
}

impl Balance {
    /// As the config writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastLoaded => "least-loaded",
            Self::Hash => "hash",
        }
    }
}

/// How long an origin may take before a request to it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until the TCP connection is up.
    pub connect: Duration,
    /// From the request to the response's head.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub between_bytes: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
}
