//! The usual hit, answered at once: a plain GET or HEAD for what is stored and fresh.
//!
//! The request is read by the same functions as any other (`open`, `before_access`, `step`, `select`), of a head that
//! leaves out the fields that none of them looks at. The result of the first two is kept for requests that say the same
//! ([`read`]). The answer's head is made by the same functions, once, and kept ready. A transport that has read a head finds
//! the [`Hit`] here, and writes it as it writes.
//!
//! Invariant: whatever would have an effect if the request were answered again (a count, a line of the log, a share of a
//! rate) is done only for an answer that is given.

pub(super) mod read;

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::answer::Answer;
use super::arrival::Peer;
use super::body::Body;
use super::exchange::Exchange;
use super::handler::{self, Given};
use super::known::{Fields, Opened};
use super::service::Service;
use super::{access, coding, stored};
use crate::cache::Cache;
use crate::decide::step::{self, Step};
use crate::log::access::Pending;
use crate::metrics::Outcome;
use crate::policy::headers::status::Verdict;
use crate::policy::{self, Freshness, Selection, encoding};
use crate::site::parents::is_own;
use crate::store::{Object, Variants};
use read::{Head, Reader};

/// A stored object that answers a request.
pub(super) struct Hit<'e> {
    pub(super) exchange: &'e Exchange<'static>,
    pub(super) object: Arc<Object>,
    pub(super) freshness: Freshness,
    pub(super) selection: Selection,
    /// Where the fields of its answer are kept as long as it stays as fresh as it is, if they may be.
    pub(super) fields: Option<&'e OnceCell<Fields>>,
}

/// Bodies up to here are copied behind their heads: one buffer goes out faster than two.
const COPIED_BYTES: u64 = 4096;

/// Whether every request has to go the long way now. Each transport adds its own reasons.
pub(super) fn is_long_way_needed(service: &Service) -> bool {
    tracing::enabled!(target: "verge_edge::request", tracing::Level::DEBUG) || service.draining.has_begun()
}

/// Whether the target is one of the edge's own. An origin's answer to another spelling of an own path has the same key.
pub(super) fn is_own_target(target: &str) -> bool {
    target.split('?').next().is_some_and(is_own)
}

/// The stored object that answers the request, if one does at once. Where fields matter to that which no rule of a site
/// looks at, the request is read again, of all fields of `head`, into `whole`; without it that was done.
pub(super) fn find<'e>(
    service: &Service,
    reader: &Reader<'_>,
    head: Option<&impl Head>,
    opened: &'e mut Opened,
    whole: &'e mut Option<Exchange<'static>>,
) -> Option<Hit<'e>> {
    let (exchange, unheeded) = (&opened.exchange, reader.unheeded());
    let variants = service.cache.store.get(&exchange.key, &exchange.site.site.name);
    if let [object] = &variants[..]
        && let Some((freshness, selection)) = opened.again(object, exchange.now)
    {
        let (exchange, object) = (&opened.exchange, Arc::clone(object));
        return Some(Hit { exchange, object, freshness, selection, fields: opened.fields() });
    }
    let varies = |object: &Arc<Object>| {
        object.entry.selecting.names().any(|name| unheeded.has(name.as_str().as_bytes()))
    };
    if let Some(head) = head
        && variants.iter().any(varies)
    {
        let read = reader.read_all(head)?;
        // Another config may have come meanwhile.
        let exchange = (read.key == exchange.key).then(|| &*whole.insert(read))?;
        let (object, freshness, selection) = decided(exchange, &variants)?;
        return Some(Hit { exchange, object, freshness, selection, fields: None });
    }
    let (object, freshness, selection) = decided(exchange, &variants)?;
    let is_alone = variants.len() == 1;
    if is_alone {
        opened.answered(&object, freshness, &selection);
    }
    let fields = opened.fields().filter(|_| is_alone);
    Some(Hit { exchange: &opened.exchange, object, freshness, selection, fields })
}

/// Which of these answers the request at once, how fresh it is, and with which part of it.
fn decided(exchange: &Exchange<'_>, variants: &Variants) -> Option<(Arc<Object>, Freshness, Selection)> {
    let rules = &exchange.site.site.rules;
    let step = match &variants[..] {
        // As nearly always, and then without a list.
        [object] => step::step(&exchange.request, &[&object.entry], rules, exchange.now),
        _ => step::step(&exchange.request, &variants.entries(), rules, exchange.now),
    };
    let Step::Serve { variant, freshness } = step else { return None };
    let object = Arc::clone(&variants[variant]);
    // A text that the client has may make the answer short.
    if exchange.dictionary.is_some() {
        return None;
    }
    if !exchange.takes_gzip && encoding::is_gzip(&object.entry.head.headers) {
        return None;
    }
    let selection = policy::select(&coding::asked(exchange, &object.entry), &object.entry);
    Some((object, freshness, selection))
}

impl Hit<'_> {
    /// The field that tells the client of HTTP/3.
    pub(super) fn alternative(&self, service: &Service, peer: Peer) -> Option<HeaderValue> {
        service.alternative(peer, self.exchange.version, &self.exchange.request.uri)
    }

    /// The answer as it is made for any request, with this `Alt-Svc`. The object's hit is counted.
    pub(super) fn answer(&self, cache: &Cache, alternative: Option<HeaderValue>) -> Answer {
        let verdict = Verdict::Hit(self.freshness);
        let mut answer =
            stored::answer(cache, self.exchange, &self.object, verdict, self.freshness, Outcome::Hit);
        handler::complete(self.exchange, alternative, &mut answer);
        answer
    }

    /// Whether the client may have the answer without anything that has to be waited for. It counts.
    pub(super) fn is_admitted(&self, service: &Service) -> bool {
        access::admits_at_once(&service.guards, self.exchange)
    }

    pub(super) fn status(&self) -> StatusCode {
        match &self.selection {
            Selection::NotModified => StatusCode::NOT_MODIFIED,
            Selection::Partial(_) => StatusCode::PARTIAL_CONTENT,
            _ => self.object.entry.head.status,
        }
    }

    /// The body, where it is so small that it goes out with the head.
    pub(super) fn small_body(&self) -> Option<Bytes> {
        let is_head = self.exchange.request.method == Method::HEAD;
        let body = &self.object.body;
        match &self.selection {
            Selection::NotModified => Some(Bytes::new()),
            _ if is_head => Some(Bytes::new()),
            Selection::Whole if body.count() == 1 && body.bytes() <= COPIED_BYTES => body.piece(0)?.ok(),
            _ => None,
        }
    }

    /// Counts the time of an answer that does not go as a whole with its head, with this body.
    pub(super) fn time(&self, body: &mut Body, began: Instant, waited: Duration) {
        body.timed_by(self.exchange.site.metrics.begun(Outcome::Hit, began, waited));
    }

    pub(super) fn body(&self) -> Body {
        let (object, site) = (Arc::clone(&self.object), &self.exchange.site.metrics);
        match &self.selection {
            Selection::Partial(parts) => match parts.as_slice() {
                [part] => Body::part(object, part, site),
                _ => Body::empty(),
            },
            Selection::Whole => Body::stored(object, site),
            Selection::NotModified | Selection::Unsatisfiable { .. } => Body::empty(),
        }
    }

    /// Counts the request but for its time, and begins its line of the access log; `field` gives the request's fields.
    pub(super) fn tell<'f>(
        &self,
        service: &Service,
        (began, waited): (Instant, Duration),
        field: impl Fn(&HeaderName) -> Option<&'f [u8]>,
    ) -> Option<Pending> {
        let (metrics, exchange) = (&service.cache.metrics, self.exchange);
        metrics.directly();
        metrics.asked_over(handler::protocol(exchange.version));
        metrics.answered(&exchange.site.metrics, Outcome::Hit, self.status());
        let given = Given {
            status: self.status().as_u16(),
            outcome: Outcome::Hit,
            why: stored::why(&Verdict::Hit(self.freshness)),
            freshness: Some(self.freshness),
            waited,
        };
        Pending::new(began, || {
            handler::seen(exchange, &given, field(&header::REFERER), field(&header::USER_AGENT))
        })
    }
}
