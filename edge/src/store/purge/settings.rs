//! The settings under which purges were noted and responses stored, as disks remember them.
//!
//! Marks of tags are compared with the tags that today's fields make of a response, and a URL is purged under the key that today's
//! rules make of it. Under other settings both may have meant something else: then more is purged.
//!
//! A journal has each setting as a mark of epoch 0, which covers nothing, also for a version that knows of no settings.

use super::marks::Marks;
use crate::store::disk::journal::Noted;
use crate::store::disk::record::{Mark, Place};

/// The settings of now, and of before as far as something is stored from then.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// The hash of the fields with tags.
    tags: u64,
    /// The hashes of the rules of keys, each with the epoch from which it was in use; oldest first.
    keys: Vec<(u64, u64)>,
}

/// Changes of the rules of keys that are told apart.
const MOST_PERIODS: usize = 64;
/// The hash that stands for several.
const SEVERAL: u64 = 0;

impl Settings {
    /// With these fields of tags.
    pub(super) fn new(tags: u64) -> Self {
        Self { tags, keys: Vec::new() }
    }

    /// From this epoch on keys are made by rules with this hash.
    pub(super) fn keys_are(&mut self, from: u64, hash: u64) {
        let at = self.keys.partition_point(|(known, _)| *known <= from);
        self.keys.insert(at, (from, hash));
        self.keys.dedup_by_key(|(_, hash)| *hash);
        if self.keys.len() > MOST_PERIODS {
            self.keys.remove(0);
            self.keys[0].1 = SEVERAL;
        }
    }

    /// The hash of the rules of now.
    pub(super) fn keys(&self) -> Option<u64> {
        self.keys.last().map(|(_, hash)| *hash)
    }

    /// Whether something from this epoch on may be stored under a key that the rules of now do not make.
    pub(super) fn has_other_keys(&self, oldest: u64) -> bool {
        let now = self.keys();
        self.keys.windows(2).any(|two| Some(two[0].1) != now && oldest < two[1].0)
    }

    /// As journals have them.
    pub(super) fn noted(&self) -> Vec<Noted> {
        let noted = |hash, is_soft, at_ms| {
            let mark = Mark { place: Place::Named(hash), is_soft, epoch: 0, at_ms };
            Noted { mark, text: Box::default() }
        };
        let keys = self.keys.iter().map(|(from, hash)| noted(*hash, true, *from));
        [noted(self.tags, false, 0)].into_iter().chain(keys).collect()
    }

    /// Takes the settings out of what a journal has. The marks of tags that were noted under other fields cover everything.
    pub(super) fn take(&mut self, noted: &[Noted], marks: &Marks) -> Vec<Noted> {
        let (mut all, mut is_other) = (Vec::with_capacity(noted.len()), false);
        for one in noted {
            let mark = one.mark;
            match mark.place {
                Place::Named(hash) if mark.epoch == 0 && mark.is_soft => self.keys_are(mark.at_ms, hash),
                Place::Named(hash) if mark.epoch == 0 => is_other = hash != self.tags,
                Place::AnyTag if is_other => {
                    // It is noted behind its tag.
                    all.pop_if(|tag: &mut Noted| tag.mark.epoch == mark.epoch);
                    let mark = Mark { place: marks.everything(), ..mark };
                    all.push(Noted { mark, text: Box::default() });
                }
                _ => all.push(one.clone()),
            }
        }
        all
    }
}
