//! Bytes in, bytes out under every transport; truncation; the egress guard; "say nothing" is a value.

pub mod rcode;

use std::time::Instant;

use crate::limit::Limits;
use crate::name::Name;
use crate::rtype::Type;
use crate::view::{Client, Which, World};
use rcode::Rcode;

/// What time it is, by both clocks that answers need.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For rates: never goes back.
    pub instant: Instant,
    /// Seconds since 1970, for the timestamps of server cookies (RFC 9018 §4.3).
    pub unix_seconds: u64,
}

/// What became of a packet: all that the shell counts or logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'w> {
    /// Nothing is sent.
    Silent(Why),
    /// `out` holds the answer.
    Sent(Sent<'w>),
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Shorter than a header: there is no ID to answer to.
    TooShort,
    /// It is an answer itself; answering it could loop for ever (CVE-2024-2169).
    NotAQuery,
    /// It came from a port that answers anything, or from none (CVE-2024-2169).
    ReflectionPort,
    /// Response rate limiting.
    RateLimited,
}

impl Why {
    /// The label of logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::NotAQuery => "not_a_query",
            Self::ReflectionPort => "reflection_port",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// An answer that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'w> {
    /// The view it was made from.
    pub view: Which,
    /// The zone that the question fell into; none if it was refused or malformed.
    pub zone: Option<&'w Name>,
    /// The type asked for; none if the question could not be read.
    pub qtype: Option<Type>,
    /// How it ended.
    pub rcode: Rcode,
    /// Whether the client was told to come back by TCP.
    pub truncated: bool,
    /// What the egress guard had to say.
    pub guard: Guarded,
}

/// What the egress guard had to say of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The internal view is not guarded, and an answer without records has nothing to guard.
    NotNeeded,
    /// No hidden address was in it.
    Clean,
    /// A hidden address was in it: SERVFAIL was sent in its place. This should never be; shout.
    Stopped,
}

/// Answers one message; `out` is overwritten with what to send.
pub fn respond<'w>(
    _world: &'w World,
    _limits: &mut Limits,
    _packet: &[u8],
    _client: &Client,
    _now: Moment,
    _out: &mut Vec<u8>,
) -> Outcome<'w> {
    todo!()
}
