//! A bound on the work that a client causes and that brings it no answer. Pure.

use std::time::Duration;

/// A store of pieces of work, which use and time fill again.
#[derive(Debug)]
pub(in crate::serve) struct Account {
    left: u64,
    most: u64,
    a_second: u64,
    paid_in: u64,
    /// Time that was paid in.
    until: Duration,
}

impl Account {
    /// With `left` at the beginning, never more than `most`, and so much more each second.
    pub(in crate::serve) fn new(left: u64, most: u64, a_second: u64) -> Self {
        Self { left, most, a_second, paid_in: 0, until: Duration::ZERO }
    }

    /// Requests that a client may take back, or break, at once: all those of some pages that a visitor leaves. Each
    /// that is answered to its end pays for another.
    pub(in crate::serve) fn of_resets() -> Self {
        Self::new(RESETS_AT_FIRST, RESETS_AT_FIRST, RESETS_A_SECOND)
    }

    /// Pays; none if there is not enough. `paid_in` is all that use has paid in since the beginning, and `at` the time
    /// since then.
    pub(in crate::serve) fn pay(&mut self, cost: u64, paid_in: u64, at: Duration) -> Option<()> {
        let earned = paid_in.saturating_sub(self.paid_in);
        self.paid_in = paid_in;
        let seconds = at.saturating_sub(self.until).as_secs();
        self.until += Duration::from_secs(seconds);
        let earned = earned.saturating_add(seconds.saturating_mul(self.a_second));
        self.left = self.left.saturating_add(earned).min(self.most.max(self.left)).checked_sub(cost)?;
        Some(())
    }
}

const RESETS_AT_FIRST: u64 = 300;
const RESETS_A_SECOND: u64 = 20;
