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
    /// The addresses that it may be at.
    pub reach: Reach,
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
