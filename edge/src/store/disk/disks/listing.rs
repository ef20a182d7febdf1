//! A list of all that is on the disks, for people.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Disks, object};
use crate::site::key::Key;
use crate::store::disk::loading::{self, Content, Loaded};
use crate::store::disk::record::Put;
use crate::store::memory::Budget;
use crate::store::object::Object;

/// Keys, their responses without a body, and how long each body is.
type Heads = Vec<(Key, Arc<Object>, u64)>;

impl Disks {
    /// The responses in some slots of a disk, without their bodies, and the slot to go on from; none if there is no such
    /// disk. A response that cannot be read is left out.
    pub(in crate::store) async fn some_from(
        &self,
        disk: usize,
        slot: u32,
        budget: &Arc<Budget>,
    ) -> Option<(Heads, Option<u32>)> {
        let volume = Arc::clone(self.volumes.get(disk)?);
        let (puts, next) = volume.desk.some_of_index(slot);
        let Some(folder) = volume.folder().filter(|_| volume.desk.is_used()) else {
            return Some((Vec::new(), None));
        };
        let read = move || {
            puts.into_iter().filter_map(|put| Some((put, loading::head_of(&folder, &put)?))).collect()
        };
        let read: Vec<_> = volume.listing(read).await.unwrap_or_default();
        let heads = read.into_iter().filter_map(|(put, (key, entry, site, bytes))| {
            let born = volume.desk.lock().index.birth(put.birth)?;
            let loaded = Loaded { entry, site, content: Content::Pieces(Vec::new()) };
            Some((key, Arc::new(object(loaded, (&volume, put), born, budget)), bytes))
        });
        Some((heads.collect(), next))
    }

    /// The files in some slots of a disk, and the slot to go on from; none if there is no such disk.
    pub(in crate::store) fn puts_from(&self, disk: usize, slot: u32) -> Option<(Vec<Put>, Option<u32>)> {
        let desk = &self.volumes.get(disk)?.desk;
        Some(if desk.is_used() { desk.some_of_index(slot) } else { (Vec::new(), None) })
    }

    /// The response in a file, whatever its key.
    pub(in crate::store) async fn load(
        &self,
        disk: usize,
        put: Put,
        budget: &Arc<Budget>,
    ) -> Option<(Key, Arc<Object>)> {
        let volume = self.volumes.get(disk)?;
        let born = volume.desk.lock().index.birth(put.birth)?;
        let folder = volume.folder()?;
        let (key, ..) = volume.reading(move || loading::head_of(&folder, &put)).await??;
        let loaded = volume.load(put, &key, self.large_bytes.load(Ordering::Relaxed)).await?;
        let is_held = volume.desk.is_as_found(&put);
        is_held.then(|| (key, Arc::new(object(loaded, (volume, put), born, budget))))
    }
}
