//! Responses that are too large for memory: they are written while they come, and answered from their files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Disks;
use crate::policy::{Content, Entry};
use crate::site::SiteName;
use crate::site::key::Key;
use crate::store::disk::head;
use crate::store::disk::spool::Reserved;
use crate::store::in_file::{Confirmed, InFile};
use crate::store::object::Object;
use crate::store::{Epoch, Recency};

impl Disks {
    /// Whether a body of so many bytes is kept past memory.
    #[must_use]
    pub fn is_large(&self, bytes: u64) -> bool {
        !self.is_empty() && bytes > self.large_bytes.load(Ordering::Relaxed)
    }

    /// Room for a response that is still to come, of which so many bytes have; none if its disk takes nothing now.
    #[must_use]
    pub fn reserve(
        &self,
        (key, site, entry): (&Key, &SiteName, &Entry),
        epoch: &Epoch,
        length: Option<u64>,
        come: u64,
    ) -> Option<Reserved> {
        if !matches!(entry.content, Content::Whole { .. }) || key.is_of_query() {
            return None;
        }
        let hash = self.hash_key.of_key(key);
        let place = (hash, self.hash_key.of_variant(&entry.selecting));
        let recency = Recency::of(entry, epoch);
        Reserved::new(self.volume_of(hash)?, place, recency, (key, site, entry), length, come)
    }

    /// Whether a disk is known to hold a more recent response in the place of this one.
    pub(in crate::store) fn outdo(&self, key: &Key, object: &Object) -> bool {
        !self.is_empty() && {
            let hash = self.hash_key.of_key(key);
            let place = (hash, self.hash_key.of_variant(&object.entry.selecting));
            self.volumes.iter().any(|volume| volume.desk.outdoes(place, object.recency()))
        }
    }

    /// Whether a disk holds a response under the key beside these.
    pub(in crate::store) fn has_beside(&self, key: &Key, known: &[Arc<Object>]) -> bool {
        !self.is_empty() && {
            let hash = self.hash_key.of_key(key);
            let wholes = known.iter().filter(|object| matches!(object.entry.content, Content::Whole { .. }));
            let variants: Vec<u32> =
                wholes.map(|object| self.hash_key.of_variant(&object.entry.selecting)).collect();
            let is_other = |volume: &Arc<super::Volume>| {
                let found = volume.desk.lock().index.find(hash);
                found.iter().any(|put| !variants.contains(&put.variant))
            };
            self.volumes.iter().any(is_other)
        }
    }

    /// Writes what the origin confirmed beside the body's file.
    pub(in crate::store) async fn confirm(
        &self,
        key: &Key,
        filed: &Arc<dyn InFile>,
        object: &Object,
    ) -> Confirmed {
        let head = head::encode(&object.entry, &object.site);
        Arc::clone(filed).confirm(key.clone(), head).await
    }
}
