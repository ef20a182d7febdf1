//! The result for a packet.

use crate::answer::Kind;
use crate::cookie::Proof;
use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::view::Which;

/// The result for a packet: all that the shell counts or logs.
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
    /// DNS over QUIC forbids it: an ID other than 0, or the keepalive of TCP (RFC 9250 §4.2.1, §5.5.2). It
    /// is fatal to the connection.
    NotOverQuic,
}

impl Why {
    /// The label of logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::NotAQuery => "not_a_query",
            Self::ReflectionPort => "reflection_port",
            Self::RateLimited => "rate_limited",
            Self::NotOverQuic => "not_over_quic",
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
    /// Its kind, if it is a view's answer.
    pub gist: Gist,
    /// Whether the client was told to come back by TCP.
    pub truncated: bool,
    /// The verdict of the egress guard.
    pub guard: Guarded,
    /// Whether the client's cookie proves its address; none if it sent none, or cookies are off.
    pub cookie: Option<Proof>,
}

/// The gist of an answer.
///
/// Invariant: an answer of a kind ends as [`Kind::rcode`] says, and one that slipped ends with no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gist {
    /// A view's answer.
    Answer(Kind),
    /// Nothing but "come back by TCP", as there are too many answers (`rate_limit.slip`).
    Slipped,
    /// No view's answer: to a message that is malformed or not supported, to a notice, an update or a cookie alone, or
    /// in the place of what the egress guard stopped.
    Other,
}

/// The egress guard's verdict on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The internal view is not guarded, and an answer without records has nothing to guard.
    NotNeeded,
    /// No hidden address was in it.
    Clean,
    /// A hidden address was in it: SERVFAIL was sent in its place. This should never be; shout.
    Stopped,
}
