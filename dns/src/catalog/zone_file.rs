//! A zone file as it was last read, checked, and compared with what it was before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use super::folder::{Content, Read};
use super::journal;
use crate::name::Name;
use crate::update::Overlay;
use crate::zone::check::{self, Context};
use crate::zone::privacy::{Rules, is_internal_zone};
use crate::zone::tree::Tree;
use crate::zone::{Problem, Severity, SourceFile, Zone, address};

/// A zone file as it was last read.
#[derive(Clone)]
pub(super) struct ZoneFile {
    pub(super) read: Read,
    /// None if the text could not be understood.
    pub(super) zone: Option<Arc<Zone>>,
    /// All of its records, until it is known what each view holds.
    pub(super) full: Option<Arc<Tree>>,
    pub(super) problems: Vec<Problem>,
    /// The file itself and what it includes.
    pub(super) sources: Vec<SourceFile>,
}

/// The changes of updates (RFC 2136) beside a zone file.
pub(super) struct Beside {
    path: PathBuf,
    overlay: Overlay,
    problem: Option<Problem>,
}

impl Beside {
    /// None if there is nothing. Of a folder that cannot be entered nobody knows whether there is a journal: without a policy
    /// (`is_open`) there most likely is none.
    pub(super) fn read(path: &Path, pending: bool, is_open: bool) -> Option<Self> {
        let mut severity = Severity::Error;
        let mut help = "bring it back from a backup; or remove it, to serve the zone file alone";
        let (overlay, message) = match journal::read(path, pending) {
            Ok(None) => return None,
            Ok(Some(held)) if !held.is_damaged => (held.overlay, None),
            Ok(Some(held)) => (
                held.overlay,
                Some("lines of it were changed or lost, and the updates in them with them".to_owned()),
            ),
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    help = "give the state folder and all in it to the user that the server runs as";
                    let is_there = fs::metadata(path).is_ok();
                    severity = if is_open || is_there { Severity::Error } else { Severity::Warning };
                }
                (Overlay::default(), Some(format!("it cannot be read: {error}")))
            }
        };
        let problem = message.map(|message| Problem {
            severity,
            code: "journal",
            at: None,
            message: format!("{}: the journal of this zone's updates: {message}", path.display()),
            help: Some(help.to_owned()),
        });
        Some(Self { path: path.to_path_buf(), overlay, problem })
    }

    /// The zone with the updates; their records have their places in the journal.
    fn over(self, zone: Zone, (sources, problems): (&mut Vec<SourceFile>, &mut Vec<Problem>)) -> Zone {
        problems.extend(self.problem);
        if self.overlay.is_empty() {
            return zone;
        }
        let file = SourceFile { path: self.path, text: Arc::from([]) };
        let mut files = zone.files;
        let at = u32::try_from(files.len()).expect("a zone has a few files");
        files.push(file.clone());
        sources.push(file);
        Zone::new(zone.apex, self.overlay.over(zone.records, at), files)
    }
}

impl ZoneFile {
    /// Checks what was read.
    pub(super) fn open(mut read: Read, rules: &Rules, beside: Option<Beside>) -> Self {
        let Content::Parsed(parsed) = &mut read.content else {
            return Self { read, zone: None, full: None, problems: Vec::new(), sources: Vec::new() };
        };
        let mut problems = std::mem::take(&mut parsed.problems);
        let mut sources = std::mem::take(&mut parsed.files);
        let context = Context {
            hidden_address: &|address| address::hidden(address, &rules.private).is_some(),
            internal_name: &|name| is_internal_zone(name, rules),
        };
        let lacks_soa_only = parsed.lacks_soa_only;
        let (zone, is_whole) = match (parsed.zone.take(), parsed.draft.take()) {
            (Some(zone), _) => (zone, true),
            (None, Some(draft)) => (draft, false),
            (None, None) => return Self { read, zone: None, full: None, problems, sources },
        };
        let zone = match beside.filter(|_| is_whole) {
            None => zone,
            Some(beside) => beside.over(zone, (&mut sources, &mut problems)),
        };
        let full = Arc::new(Tree::of(&zone));
        problems.extend(match is_whole {
            true => check::check(&zone, &full, context),
            false if lacks_soa_only => check::without_soa(&zone, &full, context),
            false => check::partial(&zone, &full, context),
        });
        Self { read, zone: Some(Arc::new(without_texts(zone))), full: Some(full), problems, sources }
    }

    /// The zone that it is for, unless its name is none.
    pub(super) fn apex(&self) -> Option<&Name> {
        match &self.read.content {
            Content::Parsed(parsed) => Some(&parsed.apex),
            Content::Nameless(_) => None,
        }
    }

    /// As the successor of what the file was `before`; and whether anything is different.
    pub(super) fn after(mut self, before: Option<Self>) -> (Self, bool) {
        let Some(before) = before else { return (self, true) };
        if before.is_same(&self) {
            // The same value as before, so that nothing is compiled again.
            (self.zone, self.full) = (before.zone, None);
            return (self, false);
        }
        // A text that is cut off or cannot be read does not say that it is for another zone now.
        if let (true, Some(apex), Content::Parsed(parsed)) =
            (has_error(&self.problems), before.apex(), &mut self.read.content)
            && parsed.apex != *apex
        {
            parsed.apex = apex.clone();
            (self.zone, self.full) = (None, None);
        }
        (self, true)
    }

    /// Whether a second reading found just what the first did.
    fn is_same(&self, other: &Self) -> bool {
        let records = |file: &Self| file.zone.as_ref().map(|zone| zone.records.len());
        let (Some(mine), Some(theirs)) = (&self.zone, &other.zone) else {
            return records(self) == records(other) && self.problems == other.problems;
        };
        self.problems == other.problems && mine.apex == theirs.apex && mine.records == theirs.records
    }
}

pub(super) fn has_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

fn without_texts(mut zone: Zone) -> Zone {
    for file in &mut zone.files {
        file.text = Arc::from([]);
    }
    zone
}
