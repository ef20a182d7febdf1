//! Settings that journals remember.

use super::Disks;
use crate::store::disk::desk::Phase;
use crate::store::disk::journal::Noted;
use crate::store::disk::record::Record;

impl Disks {
    /// Has all journals remember these, before what is noted from now on.
    pub(in crate::store) fn remember(&self, noted: &[Noted]) {
        let records: Vec<Record> = noted.iter().flat_map(Noted::records).collect();
        for volume in &self.volumes {
            // They take no file.
            let _ = volume.desk.note(&records);
        }
    }

    /// Whether it is not known yet what one of them holds, and by which settings.
    pub(in crate::store) fn are_loading(&self) -> bool {
        self.volumes.iter().any(|volume| volume.desk.lock().phase == Phase::Loading)
    }
}
