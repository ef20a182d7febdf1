//! A list of all that is held, for people: part by part, so that nobody waits for a list of millions.

use std::sync::Arc;

use super::purge::Settled;
use super::{Key, Object, Store, Variants};
use crate::policy::Entry;
use crate::site::SiteName;

/// Where a list goes on: in memory first, then disk by disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// 0 is memory, from 1 on the disks.
    pub tier: usize,
    /// The part of it.
    pub part: u32,
}

/// A response that is held.
#[derive(Debug)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its head.
    pub entry: Entry,
    /// The site that it was fetched for.
    pub site: SiteName,
    /// Bytes of its body.
    pub bytes: u64,
    /// Answers from it since it came into memory; none if it is on a disk alone.
    pub hits: Option<u64>,
}

impl Store {
    /// Some of what is held from this place on, and the next place; none behind the last. Responses that a purge covers are left out.
    pub async fn some_from(&self, at: Cursor) -> (Vec<Listed>, Option<Cursor>) {
        if at.tier == 0 {
            let Some(held) = self.objects.part(at.part) else {
                return (Vec::new(), Some(Cursor { tier: 1, part: 0 }));
            };
            let listed = held.into_iter().flat_map(|(key, variants)| self.listed(&key, &variants)).collect();
            return (listed, Some(Cursor { part: at.part + 1, ..at }));
        }
        let Some((read, next)) = self.disks.some_from(at.tier - 1, at.part, &self.fills).await else {
            return (Vec::new(), None);
        };
        let alone = read.into_iter().filter(|(key, object, _)| !self.has_in_memory(key, object));
        let listed = alone.flat_map(|(key, object, bytes)| {
            let one: Variants = [object].into_iter().collect();
            self.listed(&key, &one).into_iter().map(move |listed| Listed { bytes, hits: None, ..listed })
        });
        let next = next.map_or(Cursor { tier: at.tier + 1, part: 0 }, |part| Cursor { part, ..at });
        (listed.collect(), Some(next))
    }

    pub(super) fn has_in_memory(&self, key: &Key, object: &Object) -> bool {
        let present = self.objects.peek(key).unwrap_or_default();
        present.iter().any(|held| held.entry.selecting == object.entry.selecting)
    }

    fn listed(&self, key: &Key, variants: &Variants) -> Vec<Listed> {
        let Some(first) = variants.first() else { return Vec::new() };
        let settled = match self.purges.settle(key, &first.site, variants) {
            Settled::Same => variants.clone(),
            Settled::Changed(rest) => rest,
        };
        let listed = |object: &Arc<Object>| Listed {
            key: key.clone(),
            entry: object.entry.clone(),
            site: object.site.clone(),
            bytes: object.body.bytes(),
            hits: Some(object.hits.count()),
        };
        settled.iter().map(listed).collect()
    }
}
