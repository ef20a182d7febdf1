//! The usual hit ([`crate::serve::direct`]) on a stream of its own, as HTTP/2 and HTTP/3 carry it: found as soon as its
//! request has been read, without a task of its own.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::{Client, complete, head, without_connection};
use crate::clock::monotonic;
use crate::log::access::Pending;
use crate::metrics::{Outcome, SiteMetrics};
use crate::policy::Selection;
use crate::serve::body::Body;
use crate::serve::direct::read::{Head, Reader, write};
use crate::serve::direct::{self, Hit};
use crate::serve::known::Fields;
use crate::store::Object;

/// Finds usual hits for one connection.
pub(in crate::serve) struct Direct<'a> {
    client: &'a Client,
    /// None where all requests go the long way: a client that is known by its certificate gets answers of its own.
    reader: Option<Reader<'a>>,
    /// That of the last answer. It is seldom another one, so that no count of owners is written for each request, which
    /// all threads would write.
    site: Option<SiteMetrics>,
}

/// A head without content as its transport has read it.
#[derive(Clone, Copy)]
pub(in crate::serve) struct Parts<'a> {
    pub(in crate::serve) method: &'a Method,
    pub(in crate::serve) uri: &'a Uri,
    pub(in crate::serve) headers: &'a HeaderMap,
    pub(in crate::serve) version: Version,
}

/// An answer that is to be sent. It is counted as given, but for the time of one that may go with its head: see
/// [`Direct::went`] and [`Direct::waits`].
pub(in crate::serve) struct Made<H> {
    /// In the form of its transport.
    pub(in crate::serve) head: H,
    pub(in crate::serve) content: Content,
    pub(in crate::serve) line: Option<Pending>,
    pub(in crate::serve) began: Instant,
    /// Until the head was made.
    pub(in crate::serve) waited: Duration,
}

#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and a box costs more than a move")]
pub(in crate::serve) enum Content {
    None,
    /// All of the object's, counted as sent.
    Small(Bytes, Arc<Object>),
    Large(Body),
}

/// The head of an answer.
pub(in crate::serve) struct Answered<'f> {
    pub(in crate::serve) status: StatusCode,
    pub(in crate::serve) fields: AnswerFields<'f>,
    /// Bytes of content, if they go out with the head.
    pub(in crate::serve) small: Option<usize>,
}

/// The fields of an answer.
pub(in crate::serve) enum AnswerFields<'f> {
    /// They are kept for the next answer. It has the same status and the same content.
    Kept(&'f Fields),
    Own(HeaderMap),
}

/// A head as text may be made of it.
struct Streamed<'a> {
    parts: Parts<'a>,
    host: &'a str,
    target: &'a str,
    /// Cookies of several lines, as one.
    cookies: Option<Vec<u8>>,
}

impl<'a> Direct<'a> {
    pub(in crate::serve) fn new(client: &'a Client) -> Self {
        let is_usual = client.service.is_direct && !client.is_spare && client.identity.is_none();
        let reader = is_usual.then(|| Reader::new(&client.service, client.peer, client.limits.head));
        Self { client, reader, site: None }
    }

    /// The last answer that was made had no large body and went with its head, or is not wanted any more.
    pub(in crate::serve) fn went(&self, waited: Duration) {
        if let Some(site) = &self.site {
            site.hit_at_once(waited);
        }
    }

    /// The last answer that was made had no large body, and the client has to be waited for all the same: with this body.
    pub(in crate::serve) fn waits(&self, began: Instant, waited: Duration, body: &mut Body) {
        let timed = self.site.as_ref().and_then(|site| site.begun(Outcome::Hit, began, waited));
        body.timed_by(timed);
    }

    /// The answer, if it is a usual hit; `form` makes its head.
    pub(in crate::serve) fn made<H>(
        &mut self,
        parts: Parts<'_>,
        form: impl FnOnce(Answered<'_>) -> H,
    ) -> Option<Made<H>> {
        let (reader, client, site) = (self.reader.as_mut()?, self.client, &mut self.site);
        let is_covered = |host: &str| client.speaks_for(host);
        let checked = (parts.method, parts.uri, parts.headers);
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
            keep_site(site, &hit);
            return make(client, &hit, told(&hit), began, form);
        }
        let heeded = tables.as_deref_mut().map(|tables| &mut tables.heeded);
        let opened = reader.read(&head, heeded, &mut own)?;
        let hit = direct::find(service, reader, Some(&head), opened, &mut whole)?;
        keep_site(site, &hit);
        let unheeded = reader.unheeded();
        let field = |name: &HeaderName| match unheeded.has(name.as_str().as_bytes()) {
            true => head.field(name.as_str()),
            false => told(&hit)(name),
        };
        let made = make(client, &hit, field, began, form)?;
        if let Some(tables) = tables.as_deref_mut() {
            reader.learn(|text| head.write(text), &head, &mut tables.whole);
        }
        Some(made)
    }
}

fn keep_site(kept: &mut Option<SiteMetrics>, hit: &Hit<'_>) {
    let site = &hit.exchange.site.metrics;
    if !kept.as_ref().is_some_and(|kept| kept.is_same(site)) {
        *kept = Some(site.clone());
    }
}

/// The request's fields as the site's rules have made them.
fn told<'h>(hit: &'h Hit<'_>) -> impl Fn(&HeaderName) -> Option<&'h [u8]> {
    |name| hit.exchange.request.headers.get(name).map(HeaderValue::as_bytes)
}

/// The answer, which is counted as given; `field` gives the request's fields.
fn make<'f, H>(
    client: &Client,
    hit: &Hit<'_>,
    field: impl Fn(&HeaderName) -> Option<&'f [u8]>,
    began: Instant,
    form: impl FnOnce(Answered<'_>) -> H,
) -> Option<Made<H>> {
    let service = &client.service;
    let is_usual = match &hit.selection {
        Selection::Whole => hit.object.entry.head.status == StatusCode::OK,
        Selection::NotModified => true,
        Selection::Partial(parts) => parts.len() == 1,
        Selection::Unsatisfiable { .. } => false,
    };
    if !is_usual || !hit.is_admitted(service) {
        return None;
    }
    let small = hit.small_body();
    let head = form(Answered {
        status: hit.status(),
        fields: fields(client, hit),
        small: small.as_ref().map(Bytes::len),
    });
    let waited = began.elapsed();
    let line = hit.tell(service, (began, waited), field);
    let content = match small {
        Some(bytes) if bytes.is_empty() => Content::None,
        Some(bytes) => {
            hit.exchange.site.metrics.sent(bytes.len());
            Content::Small(bytes, Arc::clone(&hit.object))
        }
        None => match hit.body() {
            body if body.is_end_stream() => Content::None,
            mut body => {
                hit.time(&mut body, began, waited);
                Content::Large(body)
            }
        },
    };
    Some(Made { head, content, line, began, waited })
}

/// The fields of the answer. The object's hit is counted.
fn fields<'h>(client: &Client, hit: &'h Hit<'_>) -> AnswerFields<'h> {
    let (service, peer) = (&client.service, client.peer);
    let alternative = hit.alternative(service, peer);
    let kept = hit.fields.and_then(|fields| fields.get());
    if let Some(kept) = kept.filter(|kept| kept.alternative == alternative) {
        hit.object.hits.add();
        return AnswerFields::Kept(kept);
    }
    let cache = &service.cache;
    let mut answer = hit.answer(cache, alternative.clone());
    without_connection(&mut answer.head.headers);
    // Else it has the time of each answer.
    let is_dated = answer.head.headers.contains_key(header::DATE);
    complete(&mut answer, &hit.exchange.request.method, cache.clock.now());
    let headers = answer.head.headers;
    match hit.fields.filter(|_| is_dated && kept.is_none()) {
        Some(place) => AnswerFields::Kept(place.get_or_init(|| Fields::new(alternative, headers))),
        // Where there are those for another alternative, they stay.
        None => AnswerFields::Own(headers),
    }
}

impl<'a> Streamed<'a> {
    /// None if it is not of the usual kind.
    fn new(parts: Parts<'a>) -> Option<Self> {
        let Parts { method, uri, headers, .. } = parts;
        let is_usual = (method == Method::GET || method == Method::HEAD)
            // Another one is another server's, or a proxy's client has it.
            && uri.scheme() == Some(&Scheme::HTTPS)
            && !headers.contains_key(header::CONTENT_LENGTH);
        let host = uri.authority().filter(|_| is_usual)?.as_str();
        let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
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
        self.parts.version
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
