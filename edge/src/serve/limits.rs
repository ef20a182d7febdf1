//! The limits that a client is held to.

use std::time::Duration;

use crate::http::head::HeadLimits;
use crate::pace;

/// The limits that a client is held to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Client connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Body bytes of answers under way that name servers are told are all that the edge can bear; none: they do not matter.
    pub bytes_in_flight: Option<u64>,
    /// A request's head must be complete within this.
    pub head_timeout: Duration,
    /// Between two requests on a connection.
    pub idle_timeout: Duration,
    /// How slow a client may be.
    pub pace: pace::Rule,
    /// Of them, those from one IPv4 address or IPv6 /56.
    pub connections_per_network: usize,
    /// TLS handshakes at once, over TCP and QUIC.
    pub handshakes: usize,
    /// Of them, those of one IPv4 address or IPv6 /56.
    pub handshakes_per_network: usize,
    /// Connections that may have changed protocols at once.
    pub upgrades: usize,
    /// A request's head.
    pub head: HeadLimits,
    /// Health checks are told so long before anything ends.
    pub drain_delay: Duration,
    /// Whether clients of HTTP/1 get the names of fields with capitals.
    pub title_case: bool,
    /// Requests in flight have this long to end once the program is asked to stop.
    pub drain: Duration,
}
