//! Why a connection ended, for logs and metrics.

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its place was needed by another.
    Evicted,
    /// The client went, or the network lost it.
    Closed,
    /// No message within the idle timeout.
    Idle,
    /// A message took too long to arrive.
    SlowMessage,
    /// The client did not take its answers.
    SlowReader,
    /// The client sent something that is no question.
    Garbage,
    /// Too much is on its way, in this connection or in all of them.
    Crowded,
    /// The handshake failed.
    Handshake,
    /// The handshake took too long.
    SlowHandshake,
    /// The server stops.
    Draining,
}

impl Ended {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Evicted,
        Self::Closed,
        Self::Idle,
        Self::SlowMessage,
        Self::SlowReader,
        Self::Garbage,
        Self::Crowded,
        Self::Handshake,
        Self::SlowHandshake,
        Self::Draining,
    ];

    /// The label of logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::SlowMessage => "slow_message",
            Self::SlowReader => "slow_reader",
            Self::Garbage => "garbage",
            Self::Crowded => "crowded",
            Self::Handshake => "handshake",
            Self::SlowHandshake => "slow_handshake",
            Self::Draining => "draining",
        }
    }
}
