//! The problems of one zone, as many as a person can use.

use crate::zone::{Position, Problem, Severity};

/// After this many errors reading stops: what follows is mostly their echo.
const MAX_ERRORS: usize = 100;
/// Later warnings are only counted.
const MAX_WARNINGS: usize = 1_000;

/// Collects problems in the order they are found; those that are found when all is read fall into their place.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Each with the number of records that were read before it.
    problems: Vec<(usize, Problem)>,
    errors: usize,
    warnings: usize,
    late_warnings: usize,
    /// Records that were read so far.
    pub(super) records: usize,
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
            let problem = Problem { severity: Severity::Error, code, at, message, help };
            self.problems.push((self.records, problem));
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
            let problem = Problem { severity: Severity::Warning, code, at, message, help };
            self.problems.push((self.records, problem));
        }
    }

    /// An error in the record of this index, found when all is read.
    pub(super) fn late_error(&mut self, record: usize, at: Position, code: &'static str, message: String) {
        self.errors += 1;
        let problem = Problem { severity: Severity::Error, code, at: Some(at), message, help: None };
        self.problems.push((record, problem));
    }

    /// A warning of the record of this index, found when all is read; they come by rising index.
    pub(super) fn late_warning(
        &mut self,
        record: usize,
        at: Position,
        code: &'static str,
        message: impl FnOnce() -> String,
    ) {
        self.warnings += 1;
        self.late_warnings += 1;
        if self.late_warnings <= MAX_WARNINGS {
            let message = message();
            let problem = Problem { severity: Severity::Warning, code, at: Some(at), message, help: None };
            self.problems.push((record, problem));
        }
    }

    /// The problems found so far.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().map(|(_, problem)| problem)
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
        self.problems.sort_by_key(|(records, _)| *records);
        let (mut errors, mut warnings) = (0, 0);
        let mut problems: Vec<Problem> = self.problems.into_iter().map(|(_, problem)| problem).collect();
        problems.retain(|problem| {
            let (count, most) = match problem.severity {
                Severity::Error => (&mut errors, MAX_ERRORS),
                Severity::Warning | Severity::Note => (&mut warnings, MAX_WARNINGS),
            };
            *count += 1;
            *count <= most
        });
        if self.errors >= MAX_ERRORS {
            problems.push(note("too-many-errors", format!("reading stopped after {MAX_ERRORS} errors")));
        }
        if self.warnings > MAX_WARNINGS {
            let more = self.warnings - MAX_WARNINGS;
            problems.push(note("too-many-warnings", format!("{more} more warnings are not shown")));
        }
        problems
    }
}

fn note(code: &'static str, message: String) -> Problem {
    Problem { severity: Severity::Note, code, at: None, message, help: None }
}
