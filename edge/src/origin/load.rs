//! How long an origin takes to answer, as a choice among several counts it. Pure.
//!
//! A slow answer counts at once, a fast one by and by (peak EWMA, as Finagle has it): an origin that begins to stall is
//! avoided from its first late answer on. The memory of loads fades, so that an origin that was slow is tried again.

use std::time::{Duration, SystemTime};

/// The time that an origin lately took to answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    known: Option<(f64, SystemTime)>,
}

/// After this, what was known counts for a third.
const FADES_IN: Duration = Duration::from_secs(10);

impl Latency {
    /// A response's head took so long.
    pub(super) fn took(&mut self, took: Duration, now: SystemTime) {
        let sample = took.as_secs_f64();
        let secs = match self.known {
            Some((secs, at)) if sample < secs => {
                let old = weight(at, now);
                secs * old + sample * (1.0 - old)
            }
            _ => sample,
        };
        self.known = Some((secs, now));
    }

    /// Seconds as of now; none if nothing is known.
    pub(super) fn secs(self, now: SystemTime) -> Option<f64> {
        self.known.map(|(secs, at)| secs * weight(at, now))
    }
}

/// The share that what was known then still has; all of it for a clock that was set back.
fn weight(then: SystemTime, now: SystemTime) -> f64 {
    let age = now.duration_since(then).unwrap_or_default();
    (-age.as_secs_f64() / FADES_IN.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_counts_at_once_and_is_forgotten_by_and_by() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let mut latency = Latency::default();
        assert_eq!(latency.secs(at(0)), None);
        let near = |found: Option<f64>, expected: f64| {
            assert!(
                found.is_some_and(|found| (found - expected).abs() < 0.01 * expected),
                "{found:?} {expected}"
            );
        };
        latency.took(Duration::from_millis(10), at(0));
        near(latency.secs(at(0)), 0.010);
        latency.took(Duration::from_millis(900), at(100));
        near(latency.secs(at(100)), 0.900);
        for ms in 1..=20 {
            latency.took(Duration::from_millis(10), at(100 + ms * 100));
        }
        near(latency.secs(at(2_100)), 0.010 + 0.890 * (-0.2_f64).exp());
        near(latency.secs(at(12_100)), (0.010 + 0.890 * (-0.2_f64).exp()) * (-1.0_f64).exp());
        near(latency.secs(at(0)), 0.010 + 0.890 * (-0.2_f64).exp());
    }
}
