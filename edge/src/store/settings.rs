//! Settings that decide what a purge covers.

use std::sync::atomic::Ordering;

use super::{Scope, Store};

impl Store {
    /// From now on keys are made by the rules that this text stands for. A response that was stored under others may still be
    /// there, and is purged with its URL.
    pub fn keys_are_by(&self, rules: &str) {
        if self.purges.keys_are_by(rules) {
            self.disks.remember(&self.purges.settings());
        }
    }

    /// All keys of a URL, where one of them is to be purged and others may be there: of QUERYs, or by other rules.
    pub(super) fn all_of_url(&self, scope: &Scope) -> Option<Scope> {
        let Scope::Key(key) = scope else { return None };
        let are_others = self.keeps_queries.load(Ordering::Acquire)
            || self.purges.has_other_keys()
            || self.disks.are_loading();
        are_others.then(|| Scope::Url(key.clone()))
    }
}
