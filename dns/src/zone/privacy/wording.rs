//! How a problem is told to the author of a zone.

use std::fmt;

use super::Rule;
use crate::zone::{Position, Problem, Record, Severity};

/// How many records a message names before it says "and N more".
const MAX_NAMED: usize = 3;

/// Records as a message names them: `db.example.com. A (line 7)`.
pub(super) struct Named<'a>(pub(super) Vec<&'a Record>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, record) in self.0.iter().take(MAX_NAMED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {} (line {})", record.owner, record.rtype, record.at.line)?;
        }
        match self.0.len().checked_sub(MAX_NAMED) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

/// A problem at a place, with a way out of it.
pub(super) fn problem(severity: Severity, rule: Rule, at: Position, message: String, help: &str) -> Problem {
    Problem { severity, code: rule.as_str(), at: Some(at), message, help: Some(help.into()) }
}
