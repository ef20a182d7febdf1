//! When origins do so much worse than before that a change must be to blame. Pure.

use std::time::Duration;

/// The mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Percent of the answers that are 5xx or failures.
    pub errors_percent: u32,
    /// Fewer answers say nothing.
    pub least_answers: u32,
    /// How long a change is watched.
    pub window: Duration,
}

/// The outcomes of requests to origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All that were answered, or not.
    pub answers: u32,
    /// Of these, answers with 5xx, and failures.
    pub errors: u32,
}

/// As an operator who does not write it gets it, for canaries.
impl Default for Mark {
    fn default() -> Self {
        Self { errors_percent: 10, least_answers: 20, window: Duration::from_secs(60) }
    }
}

impl Mark {
    /// Whether `after` is past the mark, and twice as bad as `before`. Where that was as bad, going back helps nobody.
    #[must_use]
    pub fn is_passed(&self, before: Counts, after: Counts) -> bool {
        let is_past = |counts: Counts| {
            counts.answers >= self.least_answers.max(1)
                && u64::from(counts.errors) * 100
                    >= u64::from(counts.answers) * u64::from(self.errors_percent)
        };
        let was_half_as_bad = u64::from(before.errors) * u64::from(after.answers) * 2
            > u64::from(after.errors) * u64::from(before.answers);
        after.errors > 0 && is_past(after) && !(before.answers >= self.least_answers && was_half_as_bad)
    }
}

impl Counts {
    /// One more.
    pub fn note(&mut self, is_error: bool) {
        self.answers = self.answers.saturating_add(1);
        self.errors = self.errors.saturating_add(u32::from(is_error));
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            answers: self.answers.saturating_add(other.answers),
            errors: self.errors.saturating_add(other.errors),
        }
    }

    /// Rounded down; 0 of none.
    #[must_use]
    pub fn percent(&self) -> u32 {
        let percent = u64::from(self.errors) * 100 / u64::from(self.answers.max(1));
        u32::try_from(percent).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_to_blame_where_errors_pass_the_mark_and_were_half_as_many_before() {
        let mark = Mark { errors_percent: 10, least_answers: 20, window: Duration::from_secs(60) };
        let check = |before: (u32, u32), after: (u32, u32), expected: bool| {
            let counts = |(errors, answers)| Counts { answers, errors };
            assert_eq!(mark.is_passed(counts(before), counts(after)), expected, "{before:?} {after:?}");
        };
        check((0, 1000), (2, 20), true);
        check((0, 1000), (1, 20), false);
        check((0, 1000), (19, 19), false);
        check((0, 1000), (0, 100), false);
        // As bad before.
        check((500, 1000), (50, 100), false);
        check((300, 1000), (50, 100), false);
        check((250, 1000), (50, 100), true);
        // Nothing is known of before.
        check((5, 5), (50, 100), true);
        check((0, 0), (2, 20), true);
    }
}
