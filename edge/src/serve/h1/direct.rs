//! The usual hit ([`crate::serve::direct`]), answered in the gate: the server never hears of its request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, StatusCode, Version};
use hyper::body::Body as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gate::{self, Plain};
use super::ready::ready_head;
use crate::clock::monotonic;
use crate::policy::Selection;
use crate::serve::Limits;
use crate::serve::arrival::Peer;
use crate::serve::body::Body;
use crate::serve::direct::read::{Head, Reader, all_of};
use crate::serve::direct::{self, Hit};
use crate::serve::ending::Asked;
use crate::serve::room::{Busy, Seat};
use crate::serve::service::Service;
use crate::store::ready::{Circumstances, Kind, ReadyHead};

/// Answers usual hits of one connection.
pub(super) struct Direct<'a> {
    service: &'a Service,
    peer: Peer,
    reader: Reader<'a>,
    seat: &'a Seat,
    /// Told when each answer is to be the last of its connection, which the server says.
    leaving: Asked,
}

/// An answer's body on its way.
#[derive(Debug)]
pub(super) struct Sending {
    body: Body,
    _busy: Busy,
}

impl Head for Plain<'_> {
    fn is_head(&self) -> bool {
        self.is_head
    }

    fn target(&self) -> &str {
        self.target
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter()
    }
}

impl<'a> Direct<'a> {
    /// None where the server answers all requests. It alone can write names in title case.
    pub(super) fn new(
        service: &'a Service,
        limits: &Limits,
        peer: Peer,
        seat: &'a Seat,
        leaving: &CancellationToken,
    ) -> Option<Self> {
        let is_usual = service.is_direct && !limits.title_case && !seat.is_spare;
        is_usual.then(|| Self {
            service,
            peer,
            reader: Reader::new(service, peer, limits.head),
            seat,
            leaving: Asked::new(leaving),
        })
    }

    /// Whether the server has to see all requests now.
    fn is_server_needed(&self) -> bool {
        direct::is_long_way_needed(self.service) || self.leaving.is_cancelled()
    }

    fn given(&mut self, plain: &Plain<'_>, out: &mut Vec<u8>) -> Option<gate::Given<Sending>> {
        if self.is_server_needed() || direct::is_own_target(plain.target) {
            return None;
        }
        let began = monotonic();
        let (mut tables, mut own, mut whole) = (self.service.known.tables(), None, None);
        let heeded = tables.as_deref_mut().map(|tables| &mut tables.heeded);
        let opened = self.reader.read(plain, heeded, &mut own)?;
        let hit = direct::find(self.service, &self.reader, Some(plain), opened, &mut whole)?;
        let unheeded = self.reader.unheeded();
        let field = |name: &HeaderName| match unheeded.has(name.as_str().as_bytes()) {
            true => plain.field(name.as_str()),
            false => hit.exchange.request.headers.get(name).map(HeaderValue::as_bytes),
        };
        let given = self.give(&hit, began, field, out)?;
        if let Some(tables) = tables.as_deref_mut() {
            self.reader.learn(all_of(plain.bytes), plain, &mut tables.whole);
        }
        Some(given)
    }

    fn given_again(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<gate::Given<Sending>> {
        if self.is_server_needed() {
            return None;
        }
        let began = monotonic();
        let mut tables = self.service.known.tables()?;
        let opened = self.reader.read_again(all_of(bytes), &mut tables.whole)?;
        let mut whole = None;
        let hit = direct::find(self.service, &self.reader, None::<&Plain<'_>>, opened, &mut whole)?;
        let field = |name: &HeaderName| hit.exchange.request.headers.get(name).map(HeaderValue::as_bytes);
        self.give(&hit, began, field, out)
    }

    /// Writes the answer, or begins to; `field` gives the request's fields.
    fn give<'f>(
        &self,
        hit: &Hit<'_>,
        began: Instant,
        field: impl Fn(&HeaderName) -> Option<&'f [u8]>,
        out: &mut Vec<u8>,
    ) -> Option<gate::Given<Sending>> {
        let (head, was_ready) = self.head(hit)?;
        let small = hit.small_body();
        if !hit.is_admitted(self.service) {
            return None;
        }
        if was_ready {
            hit.object.hits.add();
        }
        head.write(&hit.freshness, out);
        let waited = began.elapsed();
        let mut line = hit.tell(self.service, (began, waited), field);
        if let Some(small) = small {
            out.extend_from_slice(&small);
            hit.exchange.site.metrics.hit_at_once(waited);
            hit.exchange.site.metrics.sent(small.len());
            line.iter_mut().for_each(|line| line.sent(small.len()));
            self.seat.answered(began);
            return Some(gate::Given::All);
        }
        let mut body = hit.body();
        hit.time(&mut body, began, waited);
        body.told_by(line);
        Some(gate::Given::Begun(Sending { body, _busy: self.seat.busy() }))
    }

    /// The answer's head, and whether it was ready: else it was made as for an answer, and the object's hit is counted.
    fn head(&self, hit: &Hit<'_>) -> Option<(Arc<ReadyHead>, bool)> {
        let Hit { exchange, object, selection, .. } = hit;
        let kind = match selection {
            Selection::Whole if object.entry.head.status == StatusCode::OK => Some(Kind::Whole),
            Selection::NotModified => Some(Kind::Unmodified),
            Selection::Partial(parts) if parts.len() == 1 => None,
            _ => return None,
        };
        let alternative = hit.alternative(self.service, self.peer);
        let circumstances =
            Circumstances { site: exchange.site.number, alternative, is_childs: exchange.is_childs };
        if let Some(ready) = kind.and_then(|kind| object.ready.get(kind, &circumstances)) {
            return Some((ready, true));
        }
        let cache = &self.service.cache;
        let answer = hit.answer(cache, circumstances.alternative.clone());
        let made = Arc::new(ready_head(&answer, exchange, &cache.name, circumstances)?);
        if let Some(kind) = kind {
            object.ready.keep(kind, Arc::clone(&made));
        }
        Some((made, false))
    }
}

impl gate::Direct for Direct<'_> {
    type Rest = Sending;

    fn answer(&mut self, head: &Plain<'_>, out: &mut Vec<u8>) -> gate::Given<Sending> {
        self.given(head, out).unwrap_or(gate::Given::Nothing)
    }

    fn answer_known(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<(usize, gate::Given<Sending>)> {
        Some((bytes.len(), self.given_again(bytes, out)?))
    }
}

impl gate::Rest for Sending {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let bytes = frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()));
        Poll::Ready(bytes.map(|bytes| bytes.map_err(io::Error::other)))
    }
}
