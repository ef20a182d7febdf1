//! The state of reading one zone, and where in its files the reader is.

use std::path::Path;

use super::report::Report;
use crate::name::Name;
use crate::zone::text::Fault;
use crate::zone::text::lexer::{Entry, Spot};
use crate::zone::{Position, Record, SourceFile};

/// Most files of one zone; includes that include each other fan out beyond any use before this.
const MAX_FILES: usize = 1_000;
/// Most records of one zone: some 2 GB of them.
const MAX_RECORDS: usize = 20_000_000;

/// Reads the files of one zone.
pub(super) struct Reader {
    /// The zone's name by the file name.
    pub(super) named: Name,
    /// The zone's name as far as it is known; a leading `$ORIGIN` and the SOA settle it.
    pub(super) apex: Name,
    /// Whether anything was read after which an `$ORIGIN` no longer names the zone.
    pub(super) is_begun: bool,
    pub(super) files: Vec<SourceFile>,
    /// The files that are being read, each included by the one before it.
    pub(super) open: Vec<u32>,
    pub(super) report: Report,
    pub(super) records: Vec<Record>,
    /// `$TTL` (RFC 2308 §4).
    pub(super) default_ttl: Option<u32>,
    /// The last TTL that was written at a record (RFC 1035 §5.1).
    pub(super) last_ttl: Option<u32>,
    pub(super) warned_of_ttl: bool,
    pub(super) told_of_age: bool,
    /// Whether a SOA has settled the zone's name, or tried to.
    pub(super) has_soa: bool,
    /// Errors in SOA records.
    pub(super) soa_errors: usize,
    /// Records that `$GENERATE` made so far.
    pub(super) generated: u64,
    /// Reused for the RDATA of every record.
    pub(super) scratch: Vec<u8>,
}

/// Where the reader is: a text, and what names in it are relative to.
pub(super) struct Scope<'a> {
    pub(super) file: u32,
    pub(super) text: &'a [u8],
    /// In wire form; letters as written.
    pub(super) origin: Vec<u8>,
    /// The owner of the record before.
    pub(super) owner: Option<Name>,
    /// Everything is at this place: the directive that generated the text.
    pub(super) fixed: Option<Position>,
}

impl Scope<'_> {
    /// Columns count characters, so bytes that continue one are left out.
    pub(super) fn position(&self, spot: Spot) -> Position {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let column = characters(&self.text[spot.line_start..spot.start]) + 1;
        let end = (spot.start + spot.len).min(self.text.len());
        let width = characters(&self.text[spot.start..end]).max(1);
        Position { file: self.file, line: spot.line, column, width }
    }
}

fn characters(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()).unwrap_or(u32::MAX)
}

impl Reader {
    pub(super) fn new(apex: Name) -> Self {
        Self {
            named: apex.clone(),
            apex,
            is_begun: false,
            files: Vec::new(),
            open: Vec::new(),
            report: Report::default(),
            records: Vec::new(),
            default_ttl: None,
            last_ttl: None,
            warned_of_ttl: false,
            told_of_age: false,
            has_soa: false,
            soa_errors: 0,
            generated: 0,
            scratch: Vec::new(),
        }
    }

    /// Reports what is wrong with one of the entry's tokens, or with what is missing after them.
    pub(super) fn fault(&mut self, fault: Fault, entry: &Entry<'_>, scope: &Scope<'_>) {
        let spot = match fault.token.and_then(|index| entry.tokens.get(index)) {
            Some(token) => token.spot,
            None => whole(entry),
        };
        self.report.error(Some(scope.position(spot)), fault.code, fault.message, fault.help);
    }

    /// Adds a record; what says the same as one before it is found when all is read.
    pub(super) fn push(&mut self, record: Record) {
        if self.records.len() >= MAX_RECORDS {
            let message = format!("a zone holds at most {MAX_RECORDS} records");
            return self.report.error(Some(record.at), "too-many-records", message, None);
        }
        self.records.push(record);
        self.report.records = self.records.len();
    }

    /// Whether another file may be read, and if not, why.
    pub(super) fn may_open(&self, path: &Path) -> Result<(), String> {
        if self.open.iter().any(|index| self.files[*index as usize].path == path) {
            return Err(format!("`{}` includes itself", path.display()));
        }
        if self.files.len() >= MAX_FILES {
            return Err(format!("a zone is made of at most {MAX_FILES} files"));
        }
        Ok(())
    }
}

/// From the first token to the last one on its line.
pub(super) fn whole(entry: &Entry<'_>) -> Spot {
    let Some(first) = entry.tokens.first().map(|token| token.spot) else { return Spot::default() };
    let last =
        entry.tokens.iter().rev().find(|token| token.spot.line == first.line).map_or(first, |t| t.spot);
    Spot { len: last.start + last.len - first.start, ..first }
}
