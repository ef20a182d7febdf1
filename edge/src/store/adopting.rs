//! Responses that are read from disks come to memory.

use std::slice;
use std::sync::Arc;

use super::purge::Settled;
use super::{Change, Key, Object, SiteName, Store, Variants};
use crate::policy::Content;
use crate::policy::validate::{Likeness, likeness};

impl Store {
    /// The variants under `key` with those that disks hold, as [`Store::get`] has them. These are in memory from now on, if
    /// there is room for them and they are not large.
    pub async fn get_from_disk(&self, key: &Key, site: &SiteName) -> Variants {
        let in_memory = self.get(key, site);
        if !self.disks.has_beside(key, &in_memory) {
            return in_memory;
        }
        let read =
            self.disks.read(key, &self.fills, |objects, is_held| self.adopt(key, objects, is_held)).await;
        match self.get(key, site) {
            none if none.is_empty() => match self.purges.settle(key, site, &read) {
                Settled::Same => read,
                Settled::Changed(rest) => rest,
            },
            kept => self.with_filed(key, site, kept, &read),
        }
    }

    /// Whether a disk has a response under the key that is not among these.
    #[must_use]
    pub fn has_beside(&self, key: &Key, known: &Variants) -> bool {
        self.disks.has_beside(key, known)
    }

    /// Puts what was read into memory, beside what came meanwhile; without what a purge took off the disk meanwhile.
    pub(super) fn adopt(
        &self,
        key: &Key,
        objects: &[Arc<Object>],
        is_held: &dyn Fn(usize) -> bool,
    ) -> Variants {
        let mut read = Variants::default();
        self.change(key, |present| {
            let is_whole = |object: &Object| matches!(object.entry.content, Content::Whole { .. });
            let is_new = |object: &Object| {
                let mut wholes = present.iter().filter(|it| is_whole(it));
                wholes.all(|it| it.entry.selecting != object.entry.selecting)
            };
            // A part that came while nobody knew what the disk has: it may be of a later version.
            let outdoes = |object: &Arc<Object>, part: &&Arc<Object>| {
                !is_whole(part)
                    && part.entry.selecting == object.entry.selecting
                    && likeness(&object.entry.head.headers, &part.entry.head.headers) == Likeness::Different
                    && object.recency().is_behind(part.recency())
            };
            let is_past = |object: &&Arc<Object>| present.iter().any(|part| outdoes(object, &part));
            for past in objects.iter().filter(is_past) {
                self.disks.changed(key, slice::from_ref(past), &[]);
            }
            let is_taken = |object: &Arc<Object>| is_new(object) && !is_past(&object);
            let held =
                objects.iter().enumerate().filter(|(place, object)| is_taken(object) && is_held(*place));
            read = held.map(|(_, object)| Arc::clone(object)).collect();
            let small = read.retain(|object| object.body.file().is_none());
            match small.is_empty() {
                true => Change::Leave,
                false => Change::Put(present.iter().chain(small.iter()).cloned().collect()),
            }
        });
        read
    }
}
