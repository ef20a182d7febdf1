//! Reads plain heads: gives the reading of the same head from before, or reads it by the functions that read any other.
//!
//! A head is what its transport has made of a request: [`Head`].

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::http::head::{HeadLimits, RequestHead};
use crate::origin::Early;
use crate::serve::answer::Answer;
use crate::serve::arrival::{Peer, Transport};
use crate::serve::exchange::Exchange;
use crate::serve::known::{Circumstances, MAX_BYTES, MAX_TARGET_BYTES, Opened, Table};
use crate::serve::service::Service;
use crate::serve::{handler, target};
use crate::site::key::key;
use crate::site::unheeded::Unheeded;
use crate::tls::Identity;

/// The head of a request of the usual kind: GET or HEAD, without content.
pub(in crate::serve) trait Head {
    /// Whether the method is HEAD; else it is GET.
    fn is_head(&self) -> bool;

    /// The target in origin form, in the characters of a URI.
    fn target(&self) -> &str;

    fn version(&self) -> Version;

    /// Names and values in order. The host is among them, as `Host`.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])>;

    /// The value of the first line of this name.
    fn field(&self, name: &str) -> Option<&[u8]> {
        let is_it = |line: &(&[u8], &[u8])| line.0.eq_ignore_ascii_case(name.as_bytes());
        self.fields().find(is_it).map(|(_, value)| value)
    }
}

/// Reads the heads of one connection.
pub(in crate::serve) struct Reader<'a> {
    service: &'a Service,
    peer: Peer,
    limits: HeadLimits,
    standing: Standing,
}

/// A connection's standing with what is in service.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// None while that changes.
    circumstances: Option<Circumstances>,
    unheeded: Unheeded,
}

impl<'a> Reader<'a> {
    /// Of heads within these limits.
    pub(in crate::serve) fn new(service: &'a Service, peer: Peer, limits: HeadLimits) -> Self {
        let standing = Standing::of(service, peer, limits);
        Self { service, peer, limits, standing }
    }

    /// Looks at what is in service, if that has changed.
    fn look(&mut self) {
        let known = self.standing.circumstances.map(|circumstances| circumstances.edition);
        if known.is_none_or(|edition| Some(edition) != self.service.cache.edition()) {
            self.standing = Standing::of(self.service, self.peer, self.limits);
        }
    }

    /// The reading of the head with this text from before: `write` gives all of it.
    pub(in crate::serve) fn read_again<'t>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
        whole: &'t mut Table,
    ) -> Option<&'t mut Opened> {
        self.look();
        let circumstances = self.standing.circumstances?;
        let place = whole.place(write)?;
        if !whole.has(place, &circumstances) {
            return None;
        }
        let opened = whole.at(place)?;
        self.come(circumstances, &mut opened.exchange);
        Some(opened)
    }

    /// Keeps the reading of a head for the next one with the same text, if it is the second one.
    pub(in crate::serve) fn learn(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
        head: &impl Head,
        whole: &mut Table,
    ) {
        if let Some(circumstances) = self.standing.circumstances
            && let Some(place) = whole.place(write)
            && whole.has_seen(place)
            && let Some(exchange) = self.read_all(head)
            && self.may_be_kept(head, circumstances, &exchange)
        {
            whole.keep(place, circumstances, Opened::new(exchange));
        }
    }

    /// The usual fields that nothing looked at in the head that was read last.
    pub(in crate::serve) fn unheeded(&self) -> Unheeded {
        self.standing.unheeded
    }

    /// The site and the key, as for any request, unless this one is answered without the store. The result is in the table
    /// or in `own`.
    pub(in crate::serve) fn read<'t>(
        &mut self,
        head: &impl Head,
        table: Option<&'t mut Table>,
        own: &'t mut Option<Opened>,
    ) -> Option<&'t mut Opened> {
        self.look();
        let Standing { circumstances: Some(circumstances), unheeded } = self.standing else { return None };
        let leaves_out = |name: &[u8]| unheeded.has(name);
        let anew = || {
            let exchange = self.open(head, leaves_out)?;
            // With another config in service, other fields may matter.
            (self.service.cache.edition() == Some(circumstances.edition)).then_some(exchange)
        };
        let place = table.and_then(|table| {
            let place = table.place(|text| write(head, leaves_out, text))?;
            Some((place, table))
        });
        let Some((place, table)) = place else { return Some(own.insert(Opened::new(anew()?))) };
        let has_come = table.has(place, &circumstances);
        if has_come && self.is_again(head, circumstances, table.at(place)?) {
            return table.at(place);
        }
        let exchange = anew()?;
        let may_be_kept = self.may_be_kept(head, circumstances, &exchange);
        if has_come && may_be_kept {
            table.forget(place);
        }
        let opened = Opened::new(exchange);
        let left = if may_be_kept { table.keep(place, circumstances, opened) } else { Some(opened) };
        match left {
            Some(opened) => Some(own.insert(opened)),
            None => table.at(place),
        }
    }

    /// The same of all its fields.
    pub(in crate::serve) fn read_all(&self, head: &impl Head) -> Option<Exchange<'static>> {
        self.open(head, |_| false)
    }

    fn open(&self, head: &impl Head, leaves_out: impl Fn(&[u8]) -> bool) -> Option<Exchange<'static>> {
        let request = request(head, leaves_out)?;
        let exchange = handler::open(self.service, request, head.version(), self.peer, &NONE).ok()?;
        let is_usual = exchange.others.is_empty()
            && exchange.bypassed.is_none()
            && exchange.upgrade.is_none()
            && handler::before_access(self.service, &exchange).is_none();
        is_usual.then_some(exchange)
    }

    /// Makes the exchange of a request that was read before one of this, which differs by its target, its time and its
    /// sender alone. Whether that could be done; if not, it stays that of the other target.
    fn is_again(&self, head: &impl Head, circumstances: Circumstances, opened: &mut Opened) -> bool {
        self.come(circumstances, &mut opened.exchange);
        let before = opened.exchange.request.uri.path_and_query().map_or("", |target| target.as_str());
        before == head.target() || self.turn(head.target(), opened.change())
    }

    /// It comes now, from this peer.
    fn come(&self, circumstances: Circumstances, exchange: &mut Exchange<'static>) {
        exchange.now = self.service.cache.clock.now();
        exchange.peer.local = self.peer.local;
        if circumstances.proxy.is_none() {
            exchange.peer.client = self.peer.client.to_canonical();
        }
    }

    fn turn(&self, target: &str, exchange: &mut Exchange<'static>) -> bool {
        let uri = target::beside(&exchange.request.uri, target).filter(|_| target.len() <= MAX_TARGET_BYTES);
        let Some(uri) = uri.filter(|uri| self.service.cache.is_found_by(uri, &exchange.site)) else {
            return false;
        };
        let before = std::mem::replace(&mut exchange.request.uri, uri);
        if handler::before_access(self.service, exchange).is_some() {
            exchange.request.uri = before;
            return false;
        }
        exchange.key = key(&exchange.request, &exchange.site.site.key);
        true
    }

    /// Whether the reading of this request depends on nothing but the text and the circumstances that it is kept beside.
    fn may_be_kept(
        &self,
        head: &impl Head,
        circumstances: Circumstances,
        exchange: &Exchange<'static>,
    ) -> bool {
        let cache = &self.service.cache;
        let Exchange { request, site, credentials, .. } = exchange;
        let is_told_of = |name: HeaderName| head.field(name.as_str()).is_some();
        head.target().len() <= MAX_TARGET_BYTES
            && cache.is_found_by(&request.uri, site)
            // Some clients may see such a site.
            && !cache.is_in_maintenance(&site.site)
            // Each stranger that speaks as a proxy is told of once.
            && (circumstances.proxy.is_some() || !is_told_of(HeaderName::from_static("x-forwarded-proto")))
            && credentials.is_none()
            && !is_told_of(header::AUTHORIZATION)
            && cache.edition() == Some(circumstances.edition)
    }
}

impl Standing {
    fn of(service: &Service, peer: Peer, limits: HeadLimits) -> Self {
        let Peer { client, scheme, .. } = peer;
        let edition = service.cache.edition();
        let unheeded = service.cache.unheeded();
        let (is_childs, proxy) = (service.is_child(client), service.trusts(client).then_some(client));
        let edition = edition.filter(|_| service.cache.edition() == edition);
        let circumstances =
            edition.map(|edition| Circumstances { edition, scheme, is_childs, proxy, limits });
        Self { circumstances, unheeded }
    }
}

/// Writes these bytes; none if they are too many to be kept.
pub(in crate::serve) fn all_of(bytes: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Option<()> {
    move |text| {
        let is_short = bytes.len() <= MAX_BYTES;
        is_short.then(|| text.extend_from_slice(bytes))
    }
}

/// Calls `see` with the fields that are not left out; none where the connection is to change.
fn walk(
    head: &impl Head,
    leaves_out: impl Fn(&[u8]) -> bool,
    mut see: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Option<()> {
    for (name, value) in head.fields() {
        match name.len() {
            // The default of HTTP/1.1, which old clients say all the same.
            10 if name.eq_ignore_ascii_case(b"connection") => {
                value.eq_ignore_ascii_case(b"keep-alive").then_some(())?;
            }
            6 if name.eq_ignore_ascii_case(b"expect") => return None,
            _ if leaves_out(name) => {}
            _ => see(name, value)?,
        }
    }
    Some(())
}

/// The request's head without the fields that `leaves_out` names; none where its connection is to change.
fn request(head: &impl Head, leaves_out: impl Fn(&[u8]) -> bool) -> Option<RequestHead> {
    let mut headers = HeaderMap::new();
    walk(head, leaves_out, |name, value| {
        let name = HeaderName::from_bytes(name).ok()?;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
        Some(())
    })?;
    let method = if head.is_head() { Method::HEAD } else { Method::GET };
    Some(RequestHead { method, uri: Uri::try_from(head.target()).ok()?, headers })
}

/// The same as text, without the target: two requests have the same text only if they have the same of all that.
pub(in crate::serve) fn write(
    head: &impl Head,
    leaves_out: impl Fn(&[u8]) -> bool,
    text: &mut Vec<u8>,
) -> Option<()> {
    let version = match head.version() {
        Version::HTTP_2 => 1,
        Version::HTTP_3 => 2,
        _ => 0,
    };
    text.push(u8::from(head.is_head()) | version << 1);
    walk(head, leaves_out, |name, value| {
        text.extend_from_slice(name);
        text.push(b':');
        text.extend_from_slice(value);
        text.push(b'\n');
        Some(())
    })
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

    fn is_early(&self) -> bool {
        false
    }

    fn refusal(&self) -> Option<Answer> {
        None
    }
}
