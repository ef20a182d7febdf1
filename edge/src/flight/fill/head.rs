//! The answer to a HEAD: what it says of a stored response (RFC 9111 §4.3.5).

use std::sync::Arc;

use super::Task;
use super::asking::head_of;
use crate::flight::Fetch;
use crate::origin::Answered;
use crate::policy::{self, HeadEffect, encoding};
use crate::store::Object;

impl Task {
    /// Learns from the answer to a HEAD what it says of what is stored.
    pub(super) fn learn(&self, answered: &Answered) {
        let Fetch { site, key, request, .. } = &self.fetch;
        let (store, rules) = (&self.flights.store, &site.site.rules);
        let stored = store.get(key, &site.site.name);
        for object in stored.iter().filter(|object| object.entry.selecting.matches(request)) {
            let mut head = head_of(answered);
            encoding::confirmed(&object.entry.head.headers, &mut head, &site.site.compress);
            let (asked, received) = (answered.asked, answered.received);
            match policy::freshen_by_head(request, &object.entry, &head, asked, rules, received) {
                HeadEffect::Leave => {}
                HeadEffect::Invalidate => store.forget(key, object),
                HeadEffect::Freshen(entry) => {
                    let (body, name) = (Arc::clone(&object.body), site.site.name.clone());
                    let fresh = Object::new(*entry, body, name, object.epoch.clone());
                    store.put(key, Arc::new(fresh), Some(object), &self.fill.ticket);
                }
            }
        }
    }
}
