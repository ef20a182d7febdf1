//! Problems as a person reads them: file:line:column, the line, a caret, the reason, what to do.

use super::{Problem, SourceFile};

/// How a problem is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// With ANSI colours.
    Coloured,
}

/// A problem as several lines of text that end with a line end.
pub fn render(problem: &Problem, files: &[SourceFile], style: Style) -> String {
    let _ = (problem, files, style);
    todo!()
}

/// A problem as plain values for editors and pipelines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// `note`, `warning` or `error`.
    pub severity: &'static str,
    /// A short stable name.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The file, as it is shown to the author.
    pub file: Option<String>,
    /// Line, counted from 1.
    pub line: Option<u32>,
    /// Column in characters, counted from 1.
    pub column: Option<u32>,
    /// Characters from `column` on that are at fault.
    pub width: Option<u32>,
}

/// A problem as plain values.
pub fn plain(problem: &Problem, files: &[SourceFile]) -> Plain {
    let _ = (problem, files);
    todo!()
}
