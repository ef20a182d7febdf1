//! How a body ends other than whole and stored.

/// Why a body is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// It outgrew what an object may be.
    TooBig,
    /// There is no memory for it now.
    NoMemory,
}

impl Unkept {
    /// A word for `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooBig => "too-big",
            Self::NoMemory => "no-memory",
        }
    }
}

/// Why a reader does not get all of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenOff {
    /// It broke off at the origin.
    AtOrigin,
    /// This reader held up the others.
    LeftBehind,
    /// The memory that it held of an uncached response was needed for something else.
    LetGo,
}

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AtOrigin => "the response broke off at the origin",
            Self::LeftBehind => "dropped: the client delayed others that read the same response",
            Self::LetGo => "dropped: memory reclaimed from a slow client reading an uncached response",
        })
    }
}

impl std::error::Error for BrokenOff {}
