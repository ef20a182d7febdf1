//! The problems of one zone, as many as a person can use.

use crate::zone::{Position, Problem, Severity};

/// After this many errors reading stops: what follows is mostly their echo.
const MAX_ERRORS: usize = 100;
/// Later warnings are only counted.
const MAX_WARNINGS: usize = 1_000;

/// Collects problems in the order they are found.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    errors: usize,
    warnings: usize,
}

impl Report {
    pub(super) fn error(
        &mut self,
        at: Option<Position>,
        code: &'static str,
        message: String,
        help: Option<String>,
    ) {
        self.errors += 1;
        if self.errors <= MAX_ERRORS {
            self.problems.push(Problem { severity: Severity::Error, code, at, message, help });
        }
    }

    pub(super) fn warning(
        &mut self,
        at: Option<Position>,
        code: &'static str,
        message: String,
        help: Option<String>,
    ) {
        self.warnings += 1;
        if self.warnings <= MAX_WARNINGS {
            self.problems.push(Problem { severity: Severity::Warning, code, at, message, help });
        }
    }

    /// Whether there is no use in reading on.
    pub(super) fn is_full(&self) -> bool {
        self.errors >= MAX_ERRORS
    }

    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// All problems, with a note of what was left out.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        if self.is_full() {
            self.note("too-many-errors", format!("reading stopped after {MAX_ERRORS} errors"));
        }
        if self.warnings > MAX_WARNINGS {
            let more = self.warnings - MAX_WARNINGS;
            self.note("too-many-warnings", format!("{more} more warnings are not shown"));
        }
        self.problems
    }

    fn note(&mut self, code: &'static str, message: String) {
        self.problems.push(Problem { severity: Severity::Note, code, at: None, message, help: None });
    }
}
