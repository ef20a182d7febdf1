//! One request on its way to an answer, and what was found out about it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use http::{HeaderValue, Version};

use super::answer::Answer;
use super::arrival::{Peer, Transport};
use crate::cache::Cache;
use crate::course::Course;
use crate::flight::FetchSite;
use crate::http::head::RequestHead;
use crate::metrics::Outcome;
use crate::origin::Held;
use crate::policy::dictionary::Had;
use crate::policy::headers::origin::Hop;
use crate::site::access::Credentials;
use crate::site::cms::{NotUnderstood, Purge};
use crate::site::key::Key;
use crate::site::rewrite;
use crate::site::rules::Bypassed;

/// One request, and what was found out about it.
pub(super) struct Exchange<'a> {
    pub(super) request: RequestHead,
    pub(super) version: Version,
    pub(super) peer: Peer,
    pub(super) site: Arc<FetchSite>,
    /// The other parts of the site that an origin may take the path for.
    pub(super) others: Vec<Arc<FetchSite>>,
    /// The field or cookie, of those that came, for which the site passes it by.
    pub(super) bypassed: Option<Bypassed>,
    pub(super) key: Key,
    /// The name and the password, where the edge itself asks for them.
    pub(super) credentials: Option<Credentials>,
    /// Whether the client can read gzip.
    pub(super) takes_gzip: bool,
    /// The dictionary that the client has.
    pub(super) dictionary: Option<Had>,
    /// The content of a QUERY that is answered as a GET of its key; the inner one is none if it has none.
    pub(super) content: Option<Option<Held>>,
    /// The protocols that the client asks for, if the site passes that on.
    pub(super) upgrade: Option<HeaderValue>,
    /// The selection of a PURGE or BAN.
    pub(super) purge: Option<Result<Purge, NotUnderstood>>,
    /// It comes from a child, which has judged it and dresses its answer.
    pub(super) is_childs: bool,
    pub(super) now: SystemTime,
    /// The course of the fetch that answers it, if one does.
    pub(super) course: OnceLock<Course>,
    /// For the origin's 1xx heads.
    pub(super) transport: &'a dyn Transport,
}

impl Exchange<'_> {
    /// This hop, for the request to the origin.
    pub(super) fn hop<'a>(&self, cache: &'a Cache) -> Hop<'a> {
        let limits = self.site.site.rules.origin_head;
        Hop { name: &cache.name, client: self.peer.client, version: self.version, limits }
    }

    /// Whether the edge lets only some clients have the answer.
    pub(super) fn is_guarded(&self) -> bool {
        std::iter::once(&self.site).chain(&self.others).any(|part| part.site.access.keeps_out())
    }

    /// Tells once if the origin sends a URL to itself: behind a proxy that ends TLS, it does not know that clients came
    /// over https, and most clients give up after twenty rounds.
    pub(super) fn look_for_circle(&self, answer: &Answer) {
        let is_origins = !matches!(answer.outcome, Outcome::Redirect | Outcome::Local | Outcome::Refused);
        if !is_origins || !rewrite::leads_to_itself(&self.request, &answer.head) {
            return;
        }
        if !self.site.circle_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "verge_edge::proxy",
                site = self.site.site.name.as_str(),
                "the origin sends {} to itself, so that clients go round in a circle: does it know X-Forwarded-Proto?",
                self.request.uri
            );
        }
    }
}
