//! Reads the files of a zone entry by entry, and hands each entry to the part that is for its kind.

use std::sync::Arc;

use super::directive::Included;
use super::mark::{self, Found, Said};
use super::reader::{Reader, Scope};
use super::{Loader, Parsed, UNFINISHED, apex, directive, duplicate, generate, record};
use crate::zone::text::lexer::{Entry, Flaw, Lexer, Spot};
use crate::zone::{Marks, Position, Problem, SourceFile, Zone};

/// Most bytes of one file. A larger one is no text that people edit, and would take gigabytes to hold as records.
const MAX_FILE_BYTES: usize = 1 << 30;
/// A short line. Room is made for no more records than this many bytes each would be, lest lines without any cost
/// memory.
const BYTES_PER_RECORD: usize = 20;

impl Reader {
    /// Reads the zone file itself.
    pub(super) fn file(&mut self, file: SourceFile, load: Loader<'_>) {
        let origin = self.apex.as_wire().to_vec();
        self.text(file, origin, load);
    }

    /// Reads one file from its beginning to its end, included ones where they are named.
    fn text(&mut self, file: SourceFile, origin: Vec<u8>, load: Loader<'_>) {
        let index = u32::try_from(self.files.len()).expect("far fewer files are read");
        let text = Arc::clone(&file.text);
        self.files.push(file);
        if let Some((code, message, help)) = unreadable(&text) {
            let at = Position { file: index, line: 1, column: 1, width: 1 };
            return self.report.error(Some(at), code, message, Some(help));
        }
        self.records.reserve(most_records(&text));
        self.open.push(index);
        let mut scope = Scope { file: index, text: &text, origin, owner: None, fixed: None };
        let mut lexer = Lexer::new(&text);
        let mut entry = Entry::default();
        while !self.report.is_full() && lexer.entry(&mut entry) {
            self.entry(&entry, &mut scope, load);
        }
        self.open.pop();
        self.unfinished(&scope);
    }

    /// A text that ends within a line was cut, or is still being written; what would hide a record may be what is missing.
    fn unfinished(&mut self, scope: &Scope<'_>) {
        if self.report.is_full() || scope.text.is_empty() || scope.text.ends_with(b"\n") {
            return;
        }
        let ends = scope.text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let (line, line_start) = ends.fold((1, 0), |(line, _), (at, _)| (line + 1, at + 1));
        let spot = Spot { start: line_start, len: scope.text.len() - line_start, line, line_start };
        let message = "the file does not end with a line break; it may still be being written".to_owned();
        let help = "write the file beside this one and rename it; or add the line break".to_owned();
        self.report.error(Some(scope.position(spot)), UNFINISHED, message, Some(help));
    }

    fn entry(&mut self, entry: &Entry<'_>, scope: &mut Scope<'_>, load: Loader<'_>) {
        if !entry.flaws.is_empty() {
            return self.flaws(entry, scope);
        }
        let first = entry.tokens.first();
        let directive = first.filter(|first| !entry.blank && !first.quoted && first.text.starts_with(b"$"));
        let generates = directive.is_some_and(|word| word.text.eq_ignore_ascii_case(b"$GENERATE"));
        let ends_record = first.is_some() && (directive.is_none() || generates);
        let marks = self.marks(entry, ends_record, scope);
        match directive {
            _ if first.is_none() => {}
            Some(_) if generates => generate::run(self, entry, marks, scope),
            Some(word) => {
                if let Some(Included { file, origin }) = directive::obey(self, word, entry, scope, load) {
                    self.text(file, origin, load);
                }
            }
            None => record::add(self, entry, marks, scope),
        }
    }

    fn flaws(&mut self, entry: &Entry<'_>, scope: &Scope<'_>) {
        for (spot, flaw) in &entry.flaws {
            let (code, message, help) = describe(*flaw);
            self.report.error(Some(scope.position(*spot)), code, message, Some(help.to_owned()));
        }
    }

    /// The marks that bind to the entry. A mark that binds to nothing is an error: its author relies on it.
    fn marks(&mut self, entry: &Entry<'_>, ends_record: bool, scope: &Scope<'_>) -> Marks {
        let mut bound = Marks::default();
        for comment in &entry.comments {
            for Found { span, said } in mark::judge(comment.text) {
                let spot = Spot { start: comment.spot.start + span.start, len: span.len(), ..comment.spot };
                let at = Some(scope.position(spot));
                let (code, message, help) = match said {
                    Said::Marks(marks) if comment.ends_entry && ends_record => match bound.and(marks) {
                        Some(both) => {
                            bound = both;
                            continue;
                        }
                        None => {
                            bound = marks;
                            conflicting()
                        }
                    },
                    Said::Marks(_) => unbound(),
                    Said::Unknown { message, help } => ("unknown-mark", message, help),
                };
                self.report.error(at, code, message, Some(help));
            }
        }
        bound
    }

    pub(super) fn finish(mut self) -> Parsed {
        if let Some(cause) = apex::mistaken(&self) {
            return self.misnamed(cause);
        }
        apex::leave_out_others(&mut self);
        let Self { apex, files, records, mut report, soa_errors, .. } = self;
        let mut zone = Zone::new(apex.clone(), records, files.clone());
        duplicate::take_out(&mut zone, &mut report);
        let is_whole = report.errors() == 0;
        let lacks_soa_only = !is_whole && report.errors() == soa_errors;
        let (zone, draft) = if is_whole { (Some(zone), None) } else { (None, Some(zone)) };
        Parsed { apex, zone, draft, lacks_soa_only, files, problems: report.into_problems() }
    }

    /// One error for the cause: everything else that could be said of the zone would follow from its wrong name.
    fn misnamed(self, cause: Problem) -> Parsed {
        let Self { named: apex, files, .. } = self;
        Parsed { apex, zone: None, draft: None, lacks_soa_only: false, files, problems: vec![cause] }
    }
}

/// How many records a text holds at most, unless its lines are very short: growing a table costs more than counting.
fn most_records(text: &[u8]) -> usize {
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    lines.min(text.len() / BYTES_PER_RECORD)
}

fn unbound() -> (&'static str, String, String) {
    let help = "put it on the last line of the record that it is about";
    ("unbound-mark", "this mark ends no record".to_owned(), help.to_owned())
}

fn conflicting() -> (&'static str, String, String) {
    let help = "a record has one of the marks";
    ("conflicting-marks", "the comment has another mark before this one".to_owned(), help.to_owned())
}

/// A text that is not worth a single entry.
fn unreadable(text: &[u8]) -> Option<(&'static str, String, String)> {
    if text.len() > MAX_FILE_BYTES {
        let message =
            format!("the file has {} bytes, more than the {MAX_FILE_BYTES} that are read", text.len());
        return Some(("file-too-large", message, "split the zone into several zones".to_owned()));
    }
    let (code, what, help) = binary(text)?;
    Some((code, format!("the file is {what}"), help.to_owned()))
}

/// Formats that are no zone text, by how they begin.
fn binary(text: &[u8]) -> Option<(&'static str, &'static str, &'static str)> {
    let begins = |with: &[u8]| text.starts_with(with);
    match text {
        _ if begins(b"\xff\xfe") || begins(b"\xfe\xff") => {
            Some(("utf-16", "UTF-16", "save it as UTF-8 or ASCII"))
        }
        // The format, 2 for raw and 3 for map, and its version: what a secondary of BIND writes.
        [0, 0, 0, 2, 0, 0, 0, 0 | 1, ..] => {
            let help = "convert it: named-compilezone -f raw -F text -o TEXT-FILE ZONE-NAME RAW-FILE";
            Some(("binary-file", "in BIND's raw format", help))
        }
        [0, 0, 0, 3, 0, 0, 0, 0 | 1, ..] => {
            let help = "convert it: named-compilezone -f map -F text -o TEXT-FILE ZONE-NAME MAP-FILE";
            Some(("binary-file", "in BIND's map format", help))
        }
        _ if begins(b";BIND LOG V") => Some((
            "binary-file",
            "a journal of BIND",
            "load the zone file; rndc sync writes the journal into it",
        )),
        _ if begins(b"\x1f\x8b") => Some(("binary-file", "compressed (gzip)", "unpack it with gunzip")),
        _ if begins(b"PK\x03\x04") => Some(("binary-file", "compressed (zip)", "unpack it")),
        _ => None,
    }
}

fn describe(flaw: Flaw) -> (&'static str, String, &'static str) {
    match flaw {
        Flaw::UnclosedQuote => (
            "unclosed-quote",
            "a quote is opened, but not closed on this line".to_owned(),
            "close it with `\"`; a quote inside a text is written `\\\"`",
        ),
        Flaw::UnclosedParenthesis => (
            "unclosed-parenthesis",
            "a parenthesis is opened, but never closed".to_owned(),
            "close it with `)` after the last line of the record",
        ),
        Flaw::StrayParenthesis => (
            "stray-parenthesis",
            "a parenthesis is closed that was not opened".to_owned(),
            "remove it, or open it with `(` on the first line of the record",
        ),
        Flaw::Control(byte) => (
            "control-character",
            format!("a control character (byte {byte}) stands in a word"),
            "remove it, or write it as `\\DDD`",
        ),
        Flaw::TooLong => (
            "entry-too-long",
            "this entry has more than a million bytes".to_owned(),
            "no record is that long; is a line end missing?",
        ),
    }
}
