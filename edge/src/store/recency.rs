//! Which of two responses of one key is the more recent.

use std::time::SystemTime;

use http::header;

use super::Epoch;
use crate::http::date;
use crate::policy::Entry;

/// How recent a response is.
#[derive(Debug, Clone, Copy)]
pub struct Recency {
    /// The number of its fetch: a clock that is set back changes no order.
    fetch: u64,
    date: SystemTime,
}

impl Recency {
    /// Of a response that a fetch from this epoch got.
    #[must_use]
    pub fn of(entry: &Entry, epoch: &Epoch) -> Self {
        let date = date::single(&entry.head.headers, &header::DATE, entry.received);
        Self { fetch: epoch.fetch(), date: date.unwrap_or(entry.received) }
    }

    /// Whether the other is to be used (RFC 9111 §4: the most recent by `Date`). A response to a later request goes before one
    /// whose `Date` is later: a wrong clock of one origin would keep all others out.
    #[must_use]
    pub fn is_behind(self, other: Self) -> bool {
        self.fetch < other.fetch && self.date <= other.date
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::testing::stored;

    #[test]
    fn the_later_request_wins_unless_the_date_of_the_earlier_is_later() {
        let recency = |fetch, date: &str| {
            let epoch = Epoch::new(Arc::new(0), 0, fetch);
            Recency::of(&stored(&[("date", date)]), &epoch)
        };
        let (first, second) = ("Thu, 01 Jan 1970 00:16:40 GMT", "Thu, 01 Jan 1970 00:16:41 GMT");
        for (own, other, expected) in [
            ((1, first), (2, second), true),
            ((1, first), (2, first), true),
            ((1, second), (2, first), false),
            ((2, first), (1, second), false),
            ((2, first), (2, second), false),
            ((0, first), (2, second), true),
        ] {
            let (own_is, other_is) = (recency(own.0, own.1), recency(other.0, other.1));
            assert_eq!(own_is.is_behind(other_is), expected, "{own:?} {other:?}");
        }
    }
}
