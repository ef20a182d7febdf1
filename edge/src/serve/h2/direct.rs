//! The usual hit ([`crate::serve::direct`]), answered as soon as h2 has read its request: without a task of its own.
//!
//! A body that the client's window takes at once goes out with its head. Any other has a task, which waits for the client as
//! ever.

use std::iter;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::Connection;
use super::exchange::{Begun, response};
use crate::clock::monotonic;
use crate::log::access::Pending;
use crate::policy::Selection;
use crate::serve::body::Body;
use crate::serve::direct::read::{Head, Reader, write};
use crate::serve::direct::{self, Hit};
use crate::serve::known::Fields;
use crate::serve::room::Seat;
use crate::serve::stream::{self, head};
use crate::store::Object;

/// Answers usual hits of one connection.
pub(super) struct Direct<'a> {
    own: &'a Connection,
    seat: &'a Seat,
    /// None where all requests go the long way: a client that is known by its certificate gets answers of its own.
    reader: Option<Reader<'a>>,
}

/// The fate of a request.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and a box costs more than a move")]
pub(super) enum Turn {
    /// Its answer is given.
    Given,
    /// The head of its answer is; the body follows.
    Begun(Begun),
    /// It is to be answered like any other.
    Left(Request<RecvStream>, SendResponse<Bytes>),
}

/// A head as h2 has read it.
struct Streamed<'a> {
    parts: &'a Parts,
    host: &'a str,
    target: &'a str,
    /// Cookies of several lines, as one.
    cookies: Option<Vec<u8>>,
}

/// An answer that is to be sent.
struct Made {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
    line: Option<Pending>,
    began: Instant,
}

#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and a box costs more than a move")]
enum Content {
    None,
    /// All of the object's, counted as sent.
    Small(Bytes, Arc<Object>),
    Large(Body),
}

impl<'a> Direct<'a> {
    pub(super) fn new(own: &'a Connection, seat: &'a Seat) -> Self {
        let client = &own.client;
        let is_usual = client.service.is_direct && !client.is_spare && client.identity.is_none();
        let reader = is_usual.then(|| Reader::new(&client.service, client.peer, client.limits.head));
        Self { own, seat, reader }
    }

    /// Answers the request, begins to, or gives it back.
    pub(super) fn answer(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Turn {
        let (parts, body) = request.into_parts();
        let made = if body.is_end_stream() { self.made(&parts) } else { None };
        match made {
            Some(made) => self.send(made, respond),
            None => Turn::Left(Request::from_parts(parts, body), respond),
        }
    }

    fn made(&mut self, parts: &Parts) -> Option<Made> {
        let (reader, client) = (self.reader.as_mut()?, &self.own.client);
        let is_covered = |host: &str| client.terms.cover(host);
        let checked = (&parts.method, &parts.uri, &parts.headers);
        let server_name = client.server_name.as_deref();
        if !head::is_sound(checked, &client.limits.head, server_name, is_covered) {
            return None;
        }
        let (service, head) = (&*client.service, Streamed::new(parts)?);
        if direct::is_long_way_needed(service) || direct::is_own_target(head.target) {
            return None;
        }
        let began = monotonic();
        let (mut tables, mut own, mut whole) = (service.known.tables(), None, None);
        if let Some(tables) = tables.as_deref_mut()
            && let Some(opened) = reader.read_again(|text| head.write(text), &mut tables.whole)
        {
            let hit = direct::find(service, reader, None::<&Streamed<'_>>, opened, &mut whole)?;
            return make(self.own, &hit, told(&hit), began);
        }
        let heeded = tables.as_deref_mut().map(|tables| &mut tables.heeded);
        let opened = reader.read(&head, heeded, &mut own)?;
        let hit = direct::find(service, reader, Some(&head), opened, &mut whole)?;
        let unheeded = reader.unheeded();
        let field = |name: &HeaderName| match unheeded.has(name.as_str().as_bytes()) {
            true => head.field(name.as_str()),
            false => told(&hit)(name),
        };
        let made = make(self.own, &hit, field, began)?;
        if let Some(tables) = tables.as_deref_mut() {
            reader.learn(|text| head.write(text), &head, &mut tables.whole);
        }
        Some(made)
    }

    /// Sends an answer, as far as the client takes it now. A client that does not want it any more is not told of it.
    fn send(&self, made: Made, mut respond: SendResponse<Bytes>) -> Turn {
        let Made { status, headers, content, mut line, began } = made;
        let (counts, client) = (&self.own.counts, &self.own.client);
        counts.asked();
        let sent = respond.send_response(response(status, headers), matches!(content, Content::None));
        let Ok(mut stream) = sent else { return Turn::Given };
        let mut body = match content {
            Content::None => {
                counts.answered();
                self.seat.answered(began);
                return Turn::Given;
            }
            Content::Small(bytes, object) => {
                let count = bytes.len();
                stream.reserve_capacity(count);
                if stream.capacity() >= count {
                    counts.piece(count);
                    if stream.send_data(bytes, true).is_ok() {
                        counts.answered();
                        line.iter_mut().for_each(|line| line.sent(count));
                    }
                    self.seat.answered(began);
                    return Turn::Given;
                }
                Body::counted(object)
            }
            Content::Large(body) => body,
        };
        body.told_by(line);
        Turn::Begun(Begun { respond, stream, body, busy: client.busy() })
    }
}

/// The request's fields as the site's rules have made them.
fn told<'h>(hit: &'h Hit<'_>) -> impl Fn(&HeaderName) -> Option<&'h [u8]> {
    |name| hit.exchange.request.headers.get(name).map(HeaderValue::as_bytes)
}

/// The answer, which is counted as given; `field` gives the request's fields.
fn make<'f>(
    own: &Connection,
    hit: &Hit<'_>,
    field: impl Fn(&HeaderName) -> Option<&'f [u8]>,
    began: Instant,
) -> Option<Made> {
    let service = &own.client.service;
    let is_usual = match &hit.selection {
        Selection::Whole => hit.object.entry.head.status == StatusCode::OK,
        Selection::NotModified => true,
        Selection::Partial(parts) => parts.len() == 1,
        Selection::Unsatisfiable { .. } => false,
    };
    if !is_usual || !hit.is_admitted(service) {
        return None;
    }
    let headers = fields(own, hit);
    let line = hit.tell(service, began, field);
    let content = match hit.small_body() {
        Some(bytes) if bytes.is_empty() => Content::None,
        Some(bytes) => {
            hit.exchange.site.metrics.sent(bytes.len());
            Content::Small(bytes, Arc::clone(&hit.object))
        }
        None => Content::Large(hit.body()),
    };
    let content = match content {
        Content::Large(body) if body.is_end_stream() => Content::None,
        content => content,
    };
    Some(Made { status: hit.status(), headers, content, line, began })
}

/// The fields of the answer. The object's hit is counted.
fn fields(own: &Connection, hit: &Hit<'_>) -> HeaderMap {
    let (service, peer) = (&own.client.service, own.client.peer);
    let alternative = hit.alternative(service, peer);
    let kept = hit.fields.and_then(|fields| fields.get());
    if let Some(kept) = kept.filter(|kept| kept.alternative == alternative) {
        hit.object.hits.add();
        return kept.headers.clone();
    }
    let cache = &service.cache;
    let mut answer = hit.answer(cache, alternative.clone());
    stream::without_connection(&mut answer.head.headers);
    // Else it has the time of each answer.
    let is_dated = answer.head.headers.contains_key(header::DATE);
    stream::complete(&mut answer, &hit.exchange.request.method, cache.clock.now());
    let headers = answer.head.headers;
    if let Some(place) = hit.fields.filter(|_| is_dated) {
        // Where there are those for another alternative, they stay.
        let _ = place.set(Fields { alternative, headers: headers.clone() });
    }
    headers
}

impl<'a> Streamed<'a> {
    /// None if it is not of the usual kind.
    fn new(parts: &'a Parts) -> Option<Self> {
        let headers = &parts.headers;
        let is_usual = (parts.method == Method::GET || parts.method == Method::HEAD)
            && parts.extensions.get::<Protocol>().is_none()
            && !headers.contains_key(header::CONTENT_LENGTH);
        let host = parts.uri.authority().filter(|_| is_usual)?.as_str();
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Some(Self { parts, host, target, cookies: head::joined_cookies(headers) })
    }

    /// All of it as text, which no head of HTTP/1.1 begins like.
    fn write(&self, text: &mut Vec<u8>) -> Option<()> {
        text.push(0);
        text.extend_from_slice(self.target.as_bytes());
        text.push(b'\n');
        write(self, |_| false, text)
    }
}

impl Head for Streamed<'_> {
    fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    fn target(&self) -> &str {
        self.target
    }

    fn version(&self) -> Version {
        Version::HTTP_2
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let host = iter::once((&b"host"[..], self.host.as_bytes()));
        let cookies = self.cookies.as_deref().map(|cookies| (&b"cookie"[..], cookies));
        let others = self.parts.headers.iter();
        // A `Host` says the same, or the head is not sound.
        let is_own =
            |name: &HeaderName| name == header::HOST || self.cookies.is_some() && name == header::COOKIE;
        let others = others.filter(move |(name, _)| !is_own(name));
        host.chain(others.map(line)).chain(cookies)
    }
}

fn line<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> (&'a [u8], &'a [u8]) {
    (name.as_str().as_bytes(), value.as_bytes())
}
