//! Where in the file something is wrong, and how that is shown.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::advice;

/// An error in a config: its place and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    message: String,
    place: Option<Place>,
    help: Option<String>,
}

/// A setting that is correct and probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(ConfigError);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    text: String,
    width: usize,
}

/// A message and the bytes of the text that it is about.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) span: Option<Range<usize>>,
    /// Advice, where the message gives none.
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), help: None }
    }

    /// Says what to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The TOML reader's error about `text`.
    pub(super) fn of_reader(error: &toml::de::Error, text: &str) -> Self {
        let span = error.span();
        let (message, help) = advice::explained(error.message(), text, &span.clone().unwrap_or(0..0));
        Self { message, span, help }
    }
}

impl ConfigError {
    pub(super) fn at(text: &str, path: &Path, fault: Fault) -> Self {
        let place = fault.span.map(|span| Place::of(text, &span));
        Self { path: path.to_owned(), message: fault.message, place, help: fault.help }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot read the config: {error}");
        let help = (error.kind() == std::io::ErrorKind::NotFound)
            .then(|| "name the file: --config FILE; every setting stands in edge/reference.toml".to_owned());
        Self { path: path.to_owned(), message, place: None, help }
    }

    /// Line and column, both from 1, if the error has a place in the text.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }
}

impl Place {
    fn of(text: &str, span: &Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_boundary(text, span.end).clamp(start, line_end);
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            text: text[line_start..line_end].trim_end_matches('\r').to_owned(),
            width: text[start..end].chars().count().max(1),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "error")
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, "warning")
    }
}

impl Warning {
    pub(super) fn at(text: &str, path: &Path, fault: Fault) -> Self {
        Self(ConfigError::at(text, path, fault))
    }

    /// The message on one line, for a log.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl ConfigError {
    /// `file:line:column: severity: message`, the line, a caret below it, and what to do.
    fn write(&self, f: &mut fmt::Formatter<'_>, severity: &str) -> fmt::Result {
        let path = self.path.display();
        let Some(place) = &self.place else {
            write!(f, "{path}: {severity}: {}", self.message)?;
            return self.help.iter().try_for_each(|help| write!(f, "\n = help: {help}"));
        };
        writeln!(f, "{path}:{}:{}: {severity}: {}", place.line, place.column, self.message)?;
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        // A tab before the caret stays a tab, so that the caret stands under what it points at.
        let indent: String =
            place.text.chars().take(place.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{number} | {}", place.text)?;
        write!(f, "{gutter} | {indent}{}", "^".repeat(place.width))?;
        self.help.iter().try_for_each(|help| write!(f, "\n{gutter} = help: {help}"))
    }
}
