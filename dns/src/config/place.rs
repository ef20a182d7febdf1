//! A place in the configuration, and how an error shows it: `file:line:column`, the line, a caret.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the operator named it.
    pub path: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// How many characters the caret underlines; at least 1.
    pub width: usize,
    /// The whole line.
    pub text: String,
}

impl Place {
    /// The place of the bytes `span` of `text`.
    pub(super) fn find(text: &str, span: Range<usize>, path: &Path) -> Self {
        let start = floor_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_boundary(text, span.end).clamp(start, line_end);
        Self {
            path: path.to_path_buf(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            text: text[line_start..line_end].trim_end().to_owned(),
        }
    }

    /// Writes a message about this place, with the line and a caret below it.
    pub(super) fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        severity: &str,
        message: &str,
        help: Option<&str>,
    ) -> fmt::Result {
        let Self { line, column, .. } = self;
        let gutter = " ".repeat(line.to_string().len());
        // Tabs stay tabs, so that the caret stands where the terminal puts the text.
        let indent: String =
            self.text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{}:{line}:{column}: {severity}: {message}", self.path.display())?;
        writeln!(f, " {gutter} |")?;
        writeln!(f, " {line} | {}", self.text)?;
        write!(f, " {gutter} | {indent}{}", "^".repeat(self.width))?;
        match help {
            Some(help) => write!(f, "\n {gutter} = help: {help}"),
            None => Ok(()),
        }
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
