//! The usual hit, answered in the gate: a plain GET or HEAD for what is stored and fresh.
//!
//! The request is read by the same functions as any other (`open`, `before_access`, `step`, `select`), of a head that
//! leaves out what none of them looks at. The answer's head is made by the same functions, once, and kept ready.
//!
//! Invariant: whatever would have an effect if the server did it again (a count, a line of the log, a share of a rate) is
//! done only for an answer that is given here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use hyper::body::Body as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gate::{self, Plain};
use super::ready::ready_head;
use crate::cache::Cache;
use crate::clock::monotonic;
use crate::decide::step::{self, Step};
use crate::http::head::RequestHead;
use crate::log::access::Pending;
use crate::metrics::Outcome;
use crate::origin::Early;
use crate::policy::headers::status::Verdict;
use crate::policy::{self, Freshness, Selection, encoding};
use crate::serve::Limits;
use crate::serve::answer::Answer;
use crate::serve::arrival::{Peer, Transport};
use crate::serve::body::Body;
use crate::serve::exchange::Exchange;
use crate::serve::handler::{self, Given, HEALTH_PATH};
use crate::serve::room::{Busy, Seat};
use crate::serve::service::Service;
use crate::serve::{access, coding, stored};
use crate::site::unheeded::Unheeded;
use crate::store::Object;
use crate::store::ready::{Circumstances, Kind, ReadyHead};
use crate::tls::Identity;

/// Answers usual hits of one connection.
pub(super) struct Direct<'a> {
    service: &'a Service,
    peer: Peer,
    seat: &'a Seat,
    /// Told when each answer is to be the last of its connection, which the server says.
    leaving: &'a CancellationToken,
}

/// An answer's body on its way.
#[derive(Debug)]
pub(super) struct Sending {
    body: Body,
    _busy: Busy,
}

/// A stored object that answers a request.
struct Hit {
    exchange: Exchange<'static>,
    object: Arc<Object>,
    freshness: Freshness,
    selection: Selection,
}

/// Bodies up to here are copied behind their heads: one buffer goes out faster than two.
const COPIED_BYTES: u64 = 4096;

impl<'a> Direct<'a> {
    /// None where the server answers all requests. It alone can write names in title case.
    pub(super) fn new(
        service: &'a Service,
        limits: &Limits,
        peer: Peer,
        seat: &'a Seat,
        leaving: &'a CancellationToken,
    ) -> Option<Self> {
        let is_usual = service.is_direct && !limits.title_case && !seat.is_spare;
        is_usual.then_some(Self { service, peer, seat, leaving })
    }

    fn given(&self, plain: &Plain<'_>, out: &mut Vec<u8>) -> Option<gate::Given<Sending>> {
        let tells = tracing::enabled!(target: "verge_edge::request", tracing::Level::DEBUG);
        let ends = self.service.draining.has_begun() || self.leaving.is_cancelled();
        if tells || ends || plain.target == HEALTH_PATH {
            return None;
        }
        let (unheeded, began) = (self.service.cache.unheeded(), monotonic());
        let hit = self.hit(plain, unheeded)?;
        let head = hit.head(self.service, self.peer)?;
        let small = hit.small_body(plain.is_head);
        if !access::admits_at_once(&self.service.guards, &hit.exchange) {
            return None;
        }
        head.write(&hit.freshness, out);
        let mut line = self.tell(&hit, plain, unheeded, began);
        if let Some(small) = small {
            out.extend_from_slice(&small);
            self.service.cache.metrics.sent(small.len());
            line.iter_mut().for_each(|line| line.sent(small.len()));
            self.seat.answered(began);
            return Some(gate::Given::All);
        }
        let mut body = hit.body(&self.service.cache);
        body.told_by(line);
        Some(gate::Given::Begun(Sending { body, _busy: self.seat.busy() }))
    }

    /// The stored object that answers the request, if one does at once.
    fn hit(&self, plain: &Plain<'_>, unheeded: Unheeded) -> Option<Hit> {
        let mut exchange = self.open(plain, |name| unheeded.has(name))?;
        let variants = self.service.cache.store.get(&exchange.key, &exchange.site.site.name);
        let varies = |object: &Arc<Object>| {
            object.entry.selecting.names().any(|name| unheeded.has(name.as_str().as_bytes()))
        };
        if variants.iter().any(varies) {
            let whole = self.open(plain, |_| false)?;
            // Another config may have come meanwhile.
            exchange = Some(whole).filter(|whole| whole.key == exchange.key)?;
        }
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
        let selection = policy::select(&coding::asked(&exchange, &object.entry), &object.entry);
        Some(Hit { exchange, object, freshness, selection })
    }

    /// Finds the site and the key, as for any request, unless this one is answered without the store.
    fn open(&self, plain: &Plain<'_>, leaves_out: impl Fn(&[u8]) -> bool) -> Option<Exchange<'static>> {
        let head = request(plain, leaves_out)?;
        let exchange = handler::open(self.service, head, Version::HTTP_11, self.peer, &NONE).ok()?;
        let is_usual = exchange.others.is_empty()
            && exchange.upgrade.is_none()
            && handler::before_access(self.service, &exchange).is_none();
        is_usual.then_some(exchange)
    }

    /// Counts the request, and begins its line of the access log.
    fn tell(&self, hit: &Hit, plain: &Plain<'_>, unheeded: Unheeded, began: Instant) -> Option<Pending> {
        let (metrics, exchange) = (&self.service.cache.metrics, &hit.exchange);
        let waited = began.elapsed();
        metrics.directly();
        metrics.asked_over(handler::protocol(exchange.version));
        metrics.answered(&exchange.site.metrics, Outcome::Hit, hit.status(), waited);
        let given = Given {
            status: hit.status().as_u16(),
            outcome: Outcome::Hit,
            why: stored::why(&Verdict::Hit(hit.freshness)),
            freshness: Some(hit.freshness),
            waited,
        };
        let field = |name: HeaderName| match unheeded.has(name.as_str().as_bytes()) {
            true => plain.field(name.as_str()),
            false => exchange.request.headers.get(name).map(HeaderValue::as_bytes),
        };
        Pending::new(began, || {
            handler::seen(exchange, &given, field(header::REFERER), field(header::USER_AGENT))
        })
    }
}

impl Hit {
    /// The answer's head, ready-made if it can be.
    fn head(&self, service: &Service, peer: Peer) -> Option<Arc<ReadyHead>> {
        let Self { exchange, object, freshness, selection } = self;
        let kind = match selection {
            Selection::Whole if object.entry.head.status == StatusCode::OK => Some(Kind::Whole),
            Selection::NotModified => Some(Kind::Unmodified),
            Selection::Partial(parts) if parts.len() == 1 => None,
            _ => return None,
        };
        let alternative = service.alternative(peer, exchange.version, &exchange.request.uri);
        let circumstances =
            Circumstances { site: exchange.site.number, alternative, is_childs: exchange.is_childs };
        if let Some(ready) = kind.and_then(|kind| object.ready.get(kind, &circumstances)) {
            object.hits.add();
            return Some(ready);
        }
        let verdict = Verdict::Hit(*freshness);
        let cache = &service.cache;
        let mut answer = stored::answer(cache, exchange, object, verdict, *freshness, Outcome::Hit);
        handler::complete(exchange, circumstances.alternative.clone(), &mut answer);
        let made = Arc::new(ready_head(&answer, exchange, &cache.name, circumstances)?);
        if let Some(kind) = kind {
            object.ready.keep(kind, Arc::clone(&made));
        }
        Some(made)
    }

    fn status(&self) -> StatusCode {
        match &self.selection {
            Selection::NotModified => StatusCode::NOT_MODIFIED,
            Selection::Partial(_) => StatusCode::PARTIAL_CONTENT,
            _ => self.object.entry.head.status,
        }
    }

    /// The body, where it is so small that it goes out with the head.
    fn small_body(&self, is_head: bool) -> Option<Bytes> {
        let body = &self.object.body;
        match &self.selection {
            Selection::NotModified => Some(Bytes::new()),
            _ if is_head => Some(Bytes::new()),
            Selection::Whole if body.count() == 1 && body.bytes() <= COPIED_BYTES => body.piece(0)?.ok(),
            _ => None,
        }
    }

    fn body(&self, cache: &Cache) -> Body {
        let object = Arc::clone(&self.object);
        match &self.selection {
            Selection::Partial(parts) => match parts.as_slice() {
                [part] => Body::part(object, part, &cache.metrics),
                _ => Body::empty(),
            },
            Selection::Whole => Body::stored(object, &cache.metrics),
            Selection::NotModified | Selection::Unsatisfiable { .. } => Body::empty(),
        }
    }
}

impl gate::Direct for Direct<'_> {
    type Rest = Sending;

    fn answer(&mut self, head: &Plain<'_>, out: &mut Vec<u8>) -> gate::Given<Sending> {
        self.given(head, out).unwrap_or(gate::Given::Nothing)
    }
}

impl gate::Rest for Sending {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let bytes = frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()));
        Poll::Ready(bytes.map(|bytes| bytes.map_err(io::Error::other)))
    }
}

/// The request's head without the fields that `leaves_out` names; none where its connection is to change.
fn request(plain: &Plain<'_>, leaves_out: impl Fn(&[u8]) -> bool) -> Option<RequestHead> {
    let mut headers = HeaderMap::new();
    for (name, value) in plain.lines.iter() {
        if name.eq_ignore_ascii_case(b"connection") {
            // The default of HTTP/1.1, which old clients say all the same.
            value.eq_ignore_ascii_case(b"keep-alive").then_some(())?;
        } else if name.eq_ignore_ascii_case(b"expect") {
            return None;
        } else if name.eq_ignore_ascii_case(b"host") {
            headers.append(header::HOST, HeaderValue::from_bytes(value).ok()?);
        } else if !leaves_out(name) {
            headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
    }
    let method = if plain.is_head { Method::HEAD } else { Method::GET };
    Some(RequestHead { method, uri: Uri::try_from(plain.target).ok()?, headers })
}

/// The transport of a request that has no use for one: nothing is waited for.
struct NoTransport;

static NONE: NoTransport = NoTransport;

impl Transport for NoTransport {
    fn interim(&self) -> Early {
        Early::new(|_, _| {})
    }

    fn protocol(&self) -> Option<HeaderValue> {
        None
    }

    fn identity(&self) -> Option<&Identity> {
        None
    }

    fn refusal(&self) -> Option<Answer> {
        None
    }
}
