//! How slow a client may be; [`crate::watch`] waits for one by this.
//!
//! A client is dropped when it takes or gives no byte for the stall timeout, or fewer than the lowest rate on average.
//! The average is an account in bytes. It begins full, with what the lowest rate comes to in one stall timeout: that is
//! the grace. Bytes that move are paid in; time spent waiting for the client is paid out, at the lowest rate.
//! It never holds more than at the beginning, so that bytes that moved long ago excuse nobody now.
//!
//! Invariant: only time in which bytes wait for the client counts, never an origin's.
//!
//! Among peers: http.sys and Kestrel ask for 240 bytes a second both ways unless told otherwise, after a grace of 5 s;
//! Apache's mod_reqtimeout for 500 of requests; Varnish limits a whole response to 600 s (`send_timeout`), which cuts
//! honest downloads; nginx, `HAProxy` and h2o have a stall timeout only. A lowest rate hurts nobody who reads at all (240
//! bytes a second is a tenth of what a modem does) and ends those that drip a byte a minute to keep a connection and its memory,
//! so there is one, and it is on.

use std::fmt;
use std::time::Duration;

/// The pace that clients must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Without a byte.
    pub stall_timeout: Duration,
    /// Bytes a second, on average over `stall_timeout`; 0: any.
    pub min_rate_bytes: u64,
}

/// How one transfer stands by the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    rule: Rule,
    /// In thousandths of a byte.
    account: u64,
}

/// Why a client is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slow {
    /// No byte for too long.
    Stalled,
    /// Too few for too long.
    BelowRate,
}

impl Slow {
    /// A label for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::BelowRate => "below-min-rate",
        }
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("the client moved no byte in time"),
            Self::BelowRate => f.write_str("the client moved fewer bytes than `min_rate`"),
        }
    }
}

impl std::error::Error for Slow {}

impl Pace {
    /// The beginning of a transfer.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, account: rule.full() }
    }

    /// So many bytes went, after the client was waited for so long.
    pub fn moved(&mut self, bytes: usize, waited: Duration) {
        let paid_in = (bytes as u64).saturating_mul(MILLI);
        let left = self.account.saturating_sub(self.rule.cost(waited));
        self.account = left.saturating_add(paid_in).min(self.rule.full());
    }

    /// How long the client may be waited for now, and what it is when it has let that pass.
    #[must_use]
    pub fn patience(&self) -> (Duration, Slow) {
        let Rule { stall_timeout, min_rate_bytes } = self.rule;
        let paid_for = self.account.checked_div(min_rate_bytes).map(Duration::from_millis);
        match paid_for.filter(|paid_for| *paid_for < stall_timeout) {
            Some(paid_for) => (paid_for, Slow::BelowRate),
            None => (stall_timeout, Slow::Stalled),
        }
    }
}

/// The account is in thousandths of a byte, so that milliseconds count.
const MILLI: u64 = 1000;

impl Rule {
    fn full(self) -> u64 {
        self.cost(self.stall_timeout)
    }

    fn cost(self, waited: Duration) -> u64 {
        u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).saturating_mul(self.min_rate_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { stall_timeout: Duration::from_secs(60), min_rate_bytes: 240 };

    /// Seconds waited and bytes that then went, in turn; the patience after that, in milliseconds.
    #[track_caller]
    fn check(rule: Rule, steps: &[(u64, usize)], expected: (u64, Slow)) {
        let mut pace = Pace::new(rule);
        for (waited, bytes) in steps {
            let waited = Duration::from_secs(*waited);
            assert!(waited <= pace.patience().0, "dropped before {waited:?} are over: {:?}", pace.patience());
            pace.moved(*bytes, waited);
        }
        assert_eq!(pace.patience(), (Duration::from_millis(expected.0), expected.1), "{steps:?}");
    }

    #[test]
    fn a_client_at_the_lowest_rate_goes_on_and_below_it_its_grace_runs_out() {
        use Slow::{BelowRate, Stalled};
        check(RULE, &[], (60_000, Stalled));
        // A byte after almost a minute: the grace is used up, and the byte buys four milliseconds.
        check(RULE, &[(60, 1)], (4, BelowRate));
        check(RULE, &[(30, 1)], (30_004, BelowRate));
        check(RULE, &[(30, 30 * 240)], (60_000, Stalled));
        check(RULE, &[(59, 59 * 240); 100], (60_000, Stalled));
        check(RULE, &[(1, 239); 100], (59_583, BelowRate));
        // Fast once is no excuse later.
        check(RULE, &[(0, 100_000_000), (59, 1)], (1_004, BelowRate));
        // Nothing is charged while nothing waits for the client.
        check(RULE, &[(0, 0); 100], (60_000, Stalled));
        check(RULE, &[(60, 14_400), (60, 14_400), (60, 0)], (0, BelowRate));
    }

    #[test]
    fn without_a_lowest_rate_only_a_standstill_ends_a_transfer() {
        let rule = Rule { min_rate_bytes: 0, ..RULE };
        check(rule, &[], (60_000, Slow::Stalled));
        check(rule, &[(60, 1); 100], (60_000, Slow::Stalled));
    }

    #[test]
    fn no_numbers_overflow() {
        let rule = Rule { stall_timeout: Duration::MAX, min_rate_bytes: u64::MAX };
        let mut pace = Pace::new(rule);
        pace.moved(usize::MAX, Duration::MAX);
        assert!(pace.patience().0 <= Duration::MAX);
    }
}
