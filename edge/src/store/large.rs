//! Responses whose bodies lie in files: they are too large for memory, and are answered past it.

#[cfg(test)]
mod tests;

use std::slice;
use std::sync::Arc;

use super::disk::{Reserved, Spool};
use super::in_file::Confirmed;
use super::{Change, Key, Object, Put, SiteName, Store, Ticket, Variants};
use crate::policy::{Content, Entry};
use crate::store::purge::Settled;

impl Store {
    /// Whether a body of so many bytes is kept past memory, if a disk takes it.
    #[must_use]
    pub fn is_large(&self, bytes: u64) -> bool {
        self.disks.is_large(bytes)
    }

    /// The largest body that memory takes.
    #[must_use]
    pub fn most_in_memory(&self) -> u64 {
        self.fills.limit_bytes()
    }

    /// Room on a disk for the response that a fetch is still to get, of which so many bytes have come.
    #[must_use]
    pub fn reserve(
        &self,
        response: (&Key, &SiteName, &Entry),
        ticket: &Ticket,
        length: Option<u64>,
        come: u64,
    ) -> Option<Reserved> {
        self.disks.reserve(response, &ticket.epoch(), length, come)
    }

    /// Puts a response whose body was published into a file in the place of the variant with the same selecting fields, and of
    /// `instead`.
    pub fn put_filed(
        &self,
        key: &Key,
        object: &Object,
        spool: &Spool,
        instead: Option<&Arc<Object>>,
        ticket: &Ticket,
    ) -> Put {
        let _alone = self.key_locks.take(key);
        let headers = Some(&object.entry.head.headers);
        let took = |old: &Arc<Object>| self.purges.took(key, &object.site, old);
        if self.purged(ticket, key, &object.site, headers).is_some() || instead.is_some_and(took) {
            return Put::Purged;
        }
        let present = self.objects.peek(key).unwrap_or_default();
        let outdoes = |old: &Arc<Object>| {
            old.entry.selecting == object.entry.selecting
                && old.entry.has_bytes_of(&object.entry)
                && object.recency().is_behind(old.recency())
        };
        if present.iter().any(outdoes) {
            return Put::Older;
        }
        if !spool.hold(object.epoch.birth()) {
            return Put::Purged;
        }
        let rest = present.retain(|old| old.entry.selecting != object.entry.selecting);
        if rest.is_empty() {
            self.objects.remove(key);
        } else if rest.len() < present.len() {
            rest.list();
            self.objects.insert(key, rest);
        }
        Put::Kept
    }

    /// The origin confirmed a response whose body lies in a file: from now on its head is that of `fresh`. Where a purge came
    /// meanwhile, or nobody knows which head is there, the file goes: a later look at it would compare the purge with fields
    /// that the response did not have then.
    pub async fn confirm_filed(&self, key: &Key, fresh: &Object, held: &Arc<Object>, ticket: &Ticket) -> Put {
        let Some(filed) = held.body.file() else { return Put::Purged };
        let confirmed = self.disks.confirm(key, filed, fresh).await;
        let _alone = self.key_locks.take(key);
        let headers = Some(&fresh.entry.head.headers);
        if self.purged(ticket, key, &fresh.site, headers).is_some()
            || self.purges.took(key, &fresh.site, held)
        {
            filed.let_go();
            return Put::Purged;
        }
        let is_held = match confirmed {
            Confirmed::Written(edition) => filed.renew(fresh.epoch.birth(), fresh.recency(), edition),
            // It is confirmed again next time: it is good for those who asked now.
            Confirmed::Failed => filed.is_held(),
            Confirmed::Late => {
                let was_held = filed.is_held();
                filed.let_go();
                was_held
            }
        };
        if is_held { Put::Kept } else { Put::Purged }
    }

    /// Drops one variant where it still is: in memory, on a disk or both.
    pub fn forget(&self, key: &Key, object: &Arc<Object>) {
        if let Some(filed) = object.body.file() {
            return filed.let_go();
        }
        let is_whole = matches!(object.entry.content, Content::Whole { .. });
        self.change(key, |present| match present.retain(|kept| !Arc::ptr_eq(kept, object)) {
            rest if rest.len() == present.len() => {
                // Memory has let it go meanwhile, and a disk may not have.
                let is_replaced = rest.iter().any(|kept| kept.entry.selecting == object.entry.selecting);
                if is_whole && !is_replaced {
                    self.disks.changed(key, slice::from_ref(object), &[]);
                }
                Change::Leave
            }
            rest if rest.is_empty() => Change::Remove,
            rest => Change::Put(rest),
        });
    }

    /// These of memory, and of those that a disk has the ones that stay there.
    pub(super) fn with_filed(
        &self,
        key: &Key,
        site: &SiteName,
        in_memory: Variants,
        read: &Variants,
    ) -> Variants {
        let filed = read.retain(|object| object.body.file().is_some());
        let filed = match self.purges.settle(key, site, &filed) {
            Settled::Same => filed,
            Settled::Changed(rest) => rest,
        };
        if filed.is_empty() {
            return in_memory;
        }
        let is_other =
            |old: &&Arc<Object>| filed.iter().all(|new| new.entry.selecting != old.entry.selecting);
        let others = in_memory.iter().filter(is_other);
        filed.iter().chain(others).cloned().collect()
    }
}
