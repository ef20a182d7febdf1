//! Journals of updates beside the zone files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::Catalog;
use super::folder::{self, Content, Found, Read};
use super::journal;
use super::zone_file::{Beside, ZoneFile};
use crate::name::Name;
use crate::update::is_open;

impl Catalog {
    /// With the next load, the journal of this zone counts with what is not committed.
    pub(crate) fn pend(&mut self, apex: Option<Name>) {
        self.pending = apex;
    }

    /// The folder of the journals of updates.
    pub(crate) fn journals(&self) -> Option<PathBuf> {
        self.terms.journals.clone()
    }

    /// Whether the version in service is that of the zone file and the journal as they were read last.
    pub(crate) fn serves_current(&self, apex: &Name) -> bool {
        let good = self.good.get(apex).map(|good| &good.zone);
        let is_own = |file: &&ZoneFile| !file.read.source.is_copy() && file.apex() == Some(apex);
        self.files.values().filter(is_own).any(|file| {
            let is_there = !self.gone.contains_key(&file.read.source);
            let is_same = file.zone.as_ref().zip(good).is_some_and(|(zone, good)| Arc::ptr_eq(zone, good));
            is_there && is_same
        })
    }

    /// A zone file with the updates that lie beside it; none if it is gone by now.
    ///
    /// The journal is read before the file: `fold` writes the file first and then empties the journal, and an update that is
    /// found in both is there once.
    pub(super) fn read(&self, found: &Found, before: Option<&ZoneFile>, now: SystemTime) -> Option<ZoneFile> {
        let early = self.early(found, before);
        let read = folder::read(found, now)?;
        let (read, beside) = self.with_journal(read, early, now);
        Some(ZoneFile::open(read, &self.rules, beside))
    }

    /// The journal of the zone that the file is most likely for.
    fn early(&self, found: &Found, before: Option<&ZoneFile>) -> Option<(Name, Option<Beside>)> {
        if found.source.is_copy() {
            return None;
        }
        let known = before.and_then(ZoneFile::apex).cloned();
        let apex = known.or_else(|| folder::apex(found.source.path()).ok())?;
        let beside = self.beside(&apex);
        Some((apex, beside))
    }

    fn with_journal(
        &self,
        read: Read,
        early: Option<(Name, Option<Beside>)>,
        now: SystemTime,
    ) -> (Read, Option<Beside>) {
        let Content::Parsed(parsed) = &read.content else { return (read, None) };
        let (Some(folder), false) = (&self.terms.journals, read.source.is_copy()) else {
            return (read, None);
        };
        let path = journal::path(folder, &parsed.apex);
        let beside = match early {
            Some((apex, beside)) if apex == parsed.apex => beside,
            // The text is for another zone than its name says.
            _ => self.beside(&parsed.apex),
        };
        (read.beside(path, now), beside)
    }

    fn beside(&self, apex: &Name) -> Option<Beside> {
        let path = journal::path(self.terms.journals.as_ref()?, apex);
        let is_open = is_open(&self.terms.protocol.updates, apex);
        Beside::read(&path, self.pending.as_ref() == Some(apex), is_open)
    }
}
