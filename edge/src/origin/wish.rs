//! The origin that a request should get, as far as somebody minds.

use tokio::time::Instant;

/// Which origin a request should get.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// The number that `Origins::place_of` gave, where keys choose.
    pub place: Option<u64>,
    /// The place among its group of the origin that the client had before.
    pub before: Option<usize>,
    /// The `Member::id` of one that is to have it only where no other is up.
    pub avoid: Option<u64>,
    /// When the response is to have ended, if it began to count before; none: as the patience of its origins says.
    pub until: Option<Instant>,
}

/// The place of the origin that gave a response, among its group. In the response's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredBy(pub usize);

/// The `Member::id` of the server that broke off the response with which a request goes on, of whatever group it is. In the
/// request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokeOff(pub u64);
