//! Zone text (RFC 1035 §5) to records with positions; every problem is reported, none stops the reading.
//!
//! ```text
//! bytes ─▶ text::lexer ─▶ entry ─┬─▶ directive ($ORIGIN $TTL $INCLUDE) ─▶ the reader's state, or a file to read
//!                                ├─▶ generate ($GENERATE) ─▶ many entries
//!                                └─▶ record ─▶ owner, TTL, class, type ─▶ text::read ─▶ Record
//! ```
//!
//! Invariant: a zone is handed out only when no error was found in it; warnings do not hold it back.
//! Invariant: whatever the bytes, reading ends, and what it keeps is bounded by the constants of these modules.

mod advice;
mod apex;
mod directive;
mod duplicate;
mod generate;
mod mark;
mod reader;
mod reading;
mod record;
mod report;

use std::path::Path;

use self::reader::Reader;
use super::{Problem, SourceFile, Zone};
use crate::name::Name;

/// The code of the error that a file ends within a line: it was cut, or is still being written. A server that waits for
/// the rest knows it by this.
pub const UNFINISHED: &str = "unfinished-file";

/// The file that an `$INCLUDE` asks for.
#[derive(Clone, Copy, Debug)]
pub struct Include<'a> {
    /// The file name as it was written.
    pub written: &'a str,
    /// The file that holds the directive, as it is shown to the author.
    pub from: &'a Path,
}

/// Why a file is not included, said to the author: "it lies outside the zones folder".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotIncluded(pub String);

/// Finds and reads included files; it keeps them inside the zones folder (S3).
pub type Loader<'a> = &'a mut dyn FnMut(Include<'_>) -> Result<SourceFile, NotIncluded>;

/// The result of reading a zone file.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The zone's name: from the SOA, a leading `$ORIGIN`, or the file name; see [`read`].
    pub apex: Name,
    /// The zone; none when an error was found.
    pub zone: Option<Zone>,
    /// The understood part of a zone that has an error. It is never served; [`super::check::partial`] finds
    /// its other errors. None when not even the zone's name is sure.
    pub draft: Option<Zone>,
    /// Whether every record but the SOA was understood, so that nothing else is missing from the draft.
    pub lacks_soa_only: bool,
    /// Every file that was read, the zone file first; [`Problem::at`] counts in them.
    pub files: Vec<SourceFile>,
    /// Problems in the order of the text.
    pub problems: Vec<Problem>,
}

/// Reads the zone file `file` whose name says that it is `apex`. Its SOA confirms that; a leading `$ORIGIN` may name another
/// zone, and a SOA may if its owner is a name that no file can have (RFC 2317 §4: `0/27.2.0.192.in-addr.arpa.`).
pub fn read(apex: Name, file: SourceFile, load: Loader<'_>) -> Parsed {
    let mut reader = Reader::new(apex);
    reader.file(file, load);
    reader.finish()
}

/// Whether a comment, that begins with its semicolon, has a mark in it, or what tries to be one.
pub(crate) fn has_marks(comment: &[u8]) -> bool {
    !mark::judge(comment).is_empty()
}

#[cfg(test)]
mod tests;
