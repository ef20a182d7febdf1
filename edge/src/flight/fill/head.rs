//! The answer to a HEAD: what it says of a stored response (RFC 9111 §4.3.5), and what it is for the client.

use std::sync::Arc;

use http::{HeaderMap, Method, header};

use super::Task;
use super::asking::head_of;
use crate::flight::Fetch;
use crate::http::head::{RequestHead, ResponseHead};
use crate::origin::Answered;
use crate::policy::{self, Admit, HeadEffect, encoding};
use crate::store::Object;

impl Task {
    /// Learns from the answer, and returns it with the fields that a GET would have had.
    pub(super) fn head_answered(&self, answered: Answered) -> Answered {
        self.learn(&answered);
        self.as_for_a_get(answered)
    }

    fn learn(&self, answered: &Answered) {
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
                    let fresh = Object {
                        entry: *entry,
                        body: Arc::clone(&object.body),
                        site: site.site.name.clone(),
                        epoch: object.epoch.clone(),
                    };
                    store.put(key, Arc::new(fresh), Some(object), &self.fill.ticket);
                }
            }
        }
    }

    /// RFC 9110 §9.3.2: the fields that a GET would have had, which may be encoded here.
    fn as_for_a_get(&self, mut answered: Answered) -> Answered {
        let compress = &self.fetch.site.site.compress;
        let mut head = head_of(&answered);
        encoding::mark(&mut head, compress);
        let length = length(&head.headers);
        if let Some(coding) = encoding::chosen(&self.fetch.request.headers, &head, compress, length)
            && self.would_be_kept(&answered, &head, length)
        {
            encoding::encoded(&mut head, coding);
        }
        *answered.response.headers_mut() = head.headers;
        answered
    }

    /// Only what is stored is encoded.
    fn would_be_kept(&self, answered: &Answered, head: &ResponseHead, length: Option<u64>) -> bool {
        let site = &self.fetch.site.site;
        let get = RequestHead { method: Method::GET, ..RequestHead::clone(&self.fetch.request) };
        let admitted = policy::admit(&get, head, answered.asked, &site.rules, answered.received);
        matches!(admitted, Admit::Keep(_)) && length.is_none_or(|length| length <= site.max_object_bytes)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
