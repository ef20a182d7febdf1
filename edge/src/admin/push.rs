//! `PUT /push`: content put into the store ahead of demand.
//!
//! `Verge-URL` says where, `Verge-TTL` for how many seconds, `Verge-Browser-TTL` for how many clients may keep it; all
//! other fields of the request are the response's, the body
//! is its body. It is stored as if the origin had sent it in answer to a plain GET, so `policy` has the last word, and in
//! each coding that the site compresses into. It takes the place of everything under its key. Fetches that began before
//! are void.
//!
//! It is kept as what was fetched is: until its place is needed, a purge takes it, or the program ends. There is no disk
//! behind the memory: after a restart, push again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};
use tokio::time::timeout;

use super::Refused;
use super::purge::found;
use crate::cache::{Cache, Found};
use crate::decide::outcome::{Answered, admitted};
use crate::http::head::{RequestHead, ResponseHead};
use crate::metrics::Asked;
use crate::policy::encoding::{self, Coding};
use crate::policy::headers::end_to_end;
use crate::policy::{Entry, Lifetime};
use crate::site::offer::Offer;
use crate::site::{Rules, Site};
use crate::store::block::own_block;
use crate::store::{self, Object, Put, Scope, Share};

/// Where the content belongs: an absolute URL.
pub const URL: HeaderName = HeaderName::from_static("verge-url");
/// How long it is fresh here, in seconds, unless it has a `Cache-Control` of its own.
pub const TTL: HeaderName = HeaderName::from_static("verge-ttl");
/// How long clients may use it without asking, in seconds: no purge reaches them. 0 unless it is said.
pub const BROWSER_TTL: HeaderName = HeaderName::from_static("verge-browser-ttl");

/// The result of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Bytes of the body.
    pub bytes: u64,
    /// Its tag.
    pub etag: String,
    /// Seconds that it is fresh.
    pub fresh_secs: u64,
    /// The codings in which it is stored as well, and its bytes in each.
    pub encoded: Vec<(String, u64)>,
    /// Whether it outlives a restart; none without a disk tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_on_disk: Option<bool>,
}

pub(super) async fn push(
    cache: &Cache,
    request: Request<Incoming>,
    stall_timeout: Duration,
) -> Result<Pushed, Refused> {
    let (parts, body) = request.into_parts();
    let url = parts.headers.get(&URL).and_then(|url| std::str::from_utf8(url.as_bytes()).ok());
    let url =
        url.ok_or_else(|| Refused::bad("write where it belongs: Verge-URL: http://host/path".into()))?;
    let Found { request, site, others, key, .. } = found(cache, url, HeaderMap::new())?;
    if !others.is_empty() {
        let sentence =
            "an origin may take its path for one of another route: nothing is kept under it".into();
        return Err(Refused { status: StatusCode::UNPROCESSABLE_ENTITY, sentence });
    }
    // Pushed content is held in memory before it is kept.
    let limit = site.site.max_object_bytes.min(cache.store.most_in_memory());
    if body.size_hint().lower() > limit {
        return Err(too_big(limit));
    }
    let ticket = cache.store.begin();
    let mut share = cache.store.fills().share();
    let content = content(body, limit, stall_timeout, &mut share).await?;
    let head =
        ResponseHead { status: StatusCode::OK, headers: head(&parts.headers, &content, &site.site.rules)? };
    let now = cache.clock.now();
    let lifetime = lifetime(&request, &head, &site.site, content.length, now)?;
    let fresh_secs = lifetime.fresh_secs;
    let etag = head.headers.get(header::ETAG).map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned());
    let (bytes, etag) = (content.length, etag.unwrap_or_default());
    let mut pushed = Pushed { bytes, etag, fresh_secs, encoded: Vec::new(), is_on_disk: None };
    let forms = forms(cache, url, Form { request, head, content }, &mut share).await?;
    let codings = forms.iter().filter_map(|form| Some((form.coding()?, form.content.length)));
    pushed.encoded.extend(codings);
    let purged = || Refused { status: StatusCode::CONFLICT, sentence: "a purge came meanwhile".into() };
    let scope = Scope::Key(key.clone());
    let tags = &forms[0].head.headers;
    let ticket =
        cache.store.supersede(&ticket, &scope, &key, &site.site.name, tags, now).ok_or_else(purged)?;
    let object = |Form { request, head, content }: Form| {
        let entry = Entry::new(&request, &head, lifetime.clone(), now, now, Some(content.length));
        let body = store::Body::new(content.pieces, cache.store.fills());
        Arc::new(Object::new(entry, body, site.site.name.clone(), ticket.epoch()))
    };
    let objects: Vec<_> = forms.into_iter().map(object).collect();
    if cache.store.put_alone(&key, &objects, &ticket) == Put::Purged {
        return Err(purged());
    }
    if !cache.store.holds(&key) {
        let sentence = "the memory is full of what is asked for more often".into();
        return Err(Refused { status: StatusCode::INSUFFICIENT_STORAGE, sentence });
    }
    pushed.is_on_disk = cache.store.keep_on_disk(&key, &objects).await;
    cache.metrics.asked(Asked::Pushed);
    let is_on_disk = pushed.is_on_disk;
    tracing::info!(target: "verge_edge::push", url, bytes, fresh_secs, is_on_disk, "pushed");
    Ok(pushed)
}

/// How long it may be kept: as long as if the origin had sent it now.
fn lifetime(
    request: &RequestHead,
    head: &ResponseHead,
    site: &Site,
    length: u64,
    now: SystemTime,
) -> Result<Lifetime, Refused> {
    let (asked, received, length) = (now, now, Some(length));
    let pushed = Answered { head, length, worse_than_stored: false, was_too_big: false, asked, received };
    admitted(request, &site.rules, site.max_object_bytes, &pushed).map_err(|why| {
        let sentence = format!("it may not be stored: {}", why.as_str());
        Refused { status: StatusCode::UNPROCESSABLE_ENTITY, sentence }
    })
}

/// The content as one kind of client gets it, and the request of such a client.
struct Form {
    request: RequestHead,
    head: ResponseHead,
    content: Content,
}

impl Form {
    fn coding(&self) -> Option<String> {
        let coding = self.head.headers.get(header::CONTENT_ENCODING)?;
        Some(String::from_utf8_lossy(coding.as_bytes()).into_owned())
    }
}

/// As it came, first, and in each coding into which the site would have put it while it was fetched.
async fn forms(cache: &Cache, url: &str, plain: Form, share: &mut Share) -> Result<Vec<Form>, Refused> {
    let mut forms = vec![plain];
    let Found { site, key, .. } = found(cache, url, HeaderMap::new())?;
    for coding in &site.site.compress.codings {
        let accepts = (header::ACCEPT_ENCODING, HeaderValue::from_static(coding.as_str()));
        let of_client = found(cache, url, HeaderMap::from_iter([accepts]))?;
        let Form { head, content, .. } = &forms[0];
        let length = Some(content.length);
        let offer = Offer { codings: vec![*coding], ..site.site.compress.clone() };
        let is_chosen = encoding::chosen(&of_client.request.headers, head, &offer, length).is_some();
        // A site may have made Accept-Encoding a part of its keys: then the others' are filled when they ask.
        if is_chosen && of_client.key == key {
            let mut head = head.clone();
            encoding::encoded(&mut head, *coding);
            let content = content.encoded(cache, *coding, share).await?;
            forms.push(Form { request: of_client.request, head, content });
        }
    }
    if forms.len() > 1 {
        encoding::mark(&mut forms[0].head, &site.site.compress);
    }
    Ok(forms)
}

impl Content {
    async fn encoded(&self, cache: &Cache, coding: Coding, share: &mut Share) -> Result<Self, Refused> {
        let failed = |error| Refused {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            sentence: format!("cannot encode it ({}): {error}", coding.as_str()),
        };
        let encoded = cache.flights.encode(coding, &self.pieces).await.map_err(failed)?;
        let pieces = encoded.ok_or_else(no_memory)?;
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        if !share.grow(length) {
            return Err(no_memory());
        }
        Ok(Self { pieces, length, hash: self.hash })
    }
}

fn no_memory() -> Refused {
    let sentence = "no memory left now for what is on its way in, or to encode it: try again".into();
    Refused { status: StatusCode::SERVICE_UNAVAILABLE, sentence }
}

struct Content {
    pieces: Vec<Bytes>,
    length: u64,
    hash: u128,
}

/// Of this size are the pieces that are stored.
const PIECE_BYTES: usize = 64 << 10;

async fn content(
    mut body: Incoming,
    limit: u64,
    stall_timeout: Duration,
    share: &mut Share,
) -> Result<Content, Refused> {
    let (mut pieces, mut open, mut length) = (Vec::new(), BytesMut::new(), 0_u64);
    let mut hasher = SipHasher24::new();
    let broke_off = || Refused::bad("the body broke off".into());
    while let Some(frame) = timeout(stall_timeout, body.frame()).await.map_err(|_| broke_off())? {
        let Ok(data) = frame.map_err(|_| broke_off())?.into_data() else { continue };
        length += data.len() as u64;
        if length > limit {
            return Err(too_big(limit));
        }
        if !share.grow(data.len() as u64) {
            return Err(no_memory());
        }
        std::hash::Hasher::write(&mut hasher, &data);
        open.extend_from_slice(&data);
        while open.len() >= PIECE_BYTES {
            pieces.push(own_block(&[open.split_to(PIECE_BYTES).freeze()]));
        }
    }
    if !open.is_empty() {
        pieces.push(own_block(&[open.freeze()]));
    }
    Ok(Content { pieces, length, hash: hasher.finish128().as_u128() })
}

fn too_big(limit: u64) -> Refused {
    let sentence = format!("too big: this site keeps {limit} bytes at most (`max_object`)");
    Refused { status: StatusCode::PAYLOAD_TOO_LARGE, sentence }
}

/// The fields of the request that describe the content.
fn head(sent: &HeaderMap, content: &Content, rules: &Rules) -> Result<HeaderMap, Refused> {
    let mut headers = end_to_end(sent);
    for name in OF_THE_REQUEST {
        headers.remove(*name);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(content.length));
    if let Some(ttl_secs) = seconds(sent, &TTL)?
        && !headers.contains_key(header::CACHE_CONTROL)
    {
        let browser_secs = seconds(sent, &BROWSER_TTL)?.unwrap_or(0);
        let directives = |text: String| HeaderValue::try_from(text).expect("words and digits");
        // Both say it to caches only. The first leaves it usable while the origin is away; s-maxage forbids that.
        match rules.targeted.first() {
            Some(targeted) => {
                headers.insert(targeted.clone(), directives(format!("max-age={ttl_secs}")));
                headers.insert(header::CACHE_CONTROL, directives(format!("max-age={browser_secs}")));
            }
            None => {
                let both = format!("max-age={browser_secs}, s-maxage={ttl_secs}");
                headers.insert(header::CACHE_CONTROL, directives(both));
            }
        }
    }
    headers.entry(header::ETAG).or_insert_with(|| {
        HeaderValue::try_from(format!("\"{:032x}\"", content.hash)).expect("hexadecimal digits in quotes")
    });
    Ok(headers)
}

fn seconds(sent: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Refused> {
    let Some(value) = sent.get(name) else { return Ok(None) };
    let secs = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    secs.map(Some).ok_or_else(|| Refused::bad(format!("{name} is a number of seconds")))
}

/// Fields that are about the push itself.
const OF_THE_REQUEST: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "expect",
    "host",
    "user-agent",
    "verge-browser-ttl",
    "verge-ttl",
    "verge-url",
];
