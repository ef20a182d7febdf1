//! Journals of updates beside the zone files.

use std::path::PathBuf;
use std::time::SystemTime;

use super::Catalog;
use super::folder::{Content, Read};
use super::journal;
use super::zone_file::Beside;
use crate::name::Name;

impl Catalog {
    /// With the next load, the journal of this zone counts with what is not committed.
    pub(crate) fn pend(&mut self, apex: Option<Name>) {
        self.pending = apex;
    }

    /// The folder of the journals of updates.
    pub(crate) fn journals(&self) -> Option<PathBuf> {
        self.terms.journals.clone()
    }

    /// A zone file with the updates that lie beside it.
    pub(super) fn with_journal(&self, read: Read, now: SystemTime) -> (Read, Option<Beside>) {
        let Content::Parsed(parsed) = &read.content else { return (read, None) };
        let (Some(folder), false) = (&self.terms.journals, read.source.is_copy()) else {
            return (read, None);
        };
        let path = journal::path(folder, &parsed.apex);
        let is_pending = self.pending.as_ref() == Some(&parsed.apex);
        let beside = Beside::read(&path, is_pending);
        (read.beside(path, now), beside)
    }
}
