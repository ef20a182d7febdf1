//! How long one reader of a sliding log may delay the others.
//!
//! A reader that has read everything waits for the slowest one, because the window cannot move. The log charges this time
//! to every reader that is behind. A reader whose charge reaches [`PATIENCE`] is left behind: its body breaks off, so
//! its client sees a broken transfer and never a short one. Time in which a reader delays nobody pays its charge back
//! slowly: an occasional hitch is forgiven, a steady drag is not.
//!
//! A reader is left behind instead of being given a request of its own. A body slides because it outgrew the largest
//! object while it arrived, so its length was not known. Such responses rarely have the strong validator and the ranges
//! that a second request would need to continue (RFC 9110 §13.1.5). The client can ask again; its request then gets a
//! fetch of its own.

use std::time::Duration;

/// A lost packet and the timeout after which it is sent again (RFC 6298 §2.4: a second at least) are nobody's fault.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A third of the time in which a reader delays nobody is paid back. So a reader that has used up its patience costs the
/// others at most 25 % of their time, and a reader at 75 % of the fastest one's pace is never left behind.
const PAID_BACK_PART: u32 = 3;

/// One reader's lag.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lag {
    charged: Duration,
    standing: Standing,
}

/// A reader's effect on the others.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    #[default]
    Harmless,
    /// One of them has to wait for it.
    InTheWay,
}

impl Lag {
    /// So much time has passed in the standing of the last look; this is the one from now on.
    pub(super) fn look(&mut self, passed: Duration, standing: Standing) {
        self.charged = match self.standing {
            Standing::InTheWay => self.charged.saturating_add(passed),
            Standing::Harmless => self.charged.saturating_sub(passed / PAID_BACK_PART),
        };
        self.standing = standing;
    }

    /// How long it may still be in the way; none if it is not.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.standing == Standing::InTheWay).then(|| PATIENCE.saturating_sub(self.charged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Harmless, InTheWay};

    /// Milliseconds passed before each look, and what the look found; the patience after the last, in milliseconds.
    #[track_caller]
    fn check(looks: &[(u64, Standing)], expected: Option<u64>) {
        let mut lag = Lag::default();
        for (passed, standing) in looks {
            lag.look(Duration::from_millis(*passed), *standing);
        }
        assert_eq!(lag.patience(), expected.map(Duration::from_millis), "{looks:?}");
    }

    #[test]
    fn time_in_the_way_is_charged_and_paid_back_at_a_third() {
        check(&[(9_000, Harmless)], None);
        check(&[(9_000, InTheWay)], Some(2_000));
        check(&[(0, InTheWay), (500, InTheWay), (500, InTheWay)], Some(1_000));
        check(&[(0, InTheWay), (3_000, InTheWay)], Some(0));
        check(&[(0, InTheWay), (1_000, Harmless), (1_500, InTheWay)], Some(1_500));
        check(&[(0, InTheWay), (1_000, Harmless), (60_000, InTheWay)], Some(2_000));
        // In the way for nine tenths of the time: left behind in the third second.
        let drag = [(900, Harmless), (90, InTheWay)];
        check(&[vec![(0, InTheWay)], drag.repeat(2)].concat(), Some(260));
        check(&[vec![(0, InTheWay)], drag.repeat(3)].concat(), Some(0));
        // For a fifth of the time: never.
        let steady = [(800, InTheWay), (200, Harmless)].repeat(1_000);
        check(&steady, None);
        check(&[steady, vec![(800, InTheWay)]].concat(), Some(2_000));
    }
}
