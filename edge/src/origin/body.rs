//! Bodies on their way to and from an origin, each with a limit on standing still.

mod coming;
mod held;
mod received;
mod sent;
mod turn;

use std::fmt;

pub(super) use coming::Coming;
pub use held::Held;
pub use received::OriginBody;
pub(super) use sent::Progress;
pub use sent::{Exceeded, Gathered, RequestBody};

use crate::pace::Slow;

/// Why a body broke off.
#[derive(Debug)]
pub enum BodyError {
    /// Nothing came for too long from the origin.
    Stalled,
    /// The connection ended before the length was reached.
    Short,
    /// More came from the client than its site takes.
    TooLong,
    /// More came from the origin than the `Content-Range` of its 206 says.
    BeyondRange,
    /// Too little came from the client.
    Slow(Slow),
    /// The connection or its framing.
    Broken(Cause),
    /// The client's connection or its framing.
    Client(Cause),
}

/// Why a body broke off, as its transport tells it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("no byte came in time"),
            Self::Short => f.write_str("the connection ended before the body did"),
            Self::TooLong => f.write_str("the content is longer than the site takes"),
            Self::BeyondRange => f.write_str("the part is longer than its Content-Range"),
            Self::Slow(slow) => slow.fmt(f),
            Self::Broken(error) => write!(f, "the body broke off: {error}"),
            Self::Client(error) => write!(f, "the body broke off: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}
