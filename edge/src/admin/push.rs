//! `PUT /push`: content put into the store ahead of demand.
//!
//! `Verge-URL` says where, `Verge-TTL` for how many seconds; all other fields of the request are the response's, the body
//! is its body. It is stored as if the origin had sent it in answer to a plain GET, so `policy` has the last word, and it
//! takes the place of everything under its key. Fetches that began before are void.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};
use tokio::time::timeout;

use super::Refused;
use super::purge::found;
use crate::policy::headers::end_to_end;
use crate::policy::{Admit, Entry, ResponseHead, admit};
use crate::serve::{Edge, Found};
use crate::store::{self, Object, Put, Scope, Share};

/// Where the content belongs: an absolute URL.
pub const URL: HeaderName = HeaderName::from_static("verge-url");
/// How long it is fresh, in seconds, unless it has a `Cache-Control` of its own.
pub const TTL: HeaderName = HeaderName::from_static("verge-ttl");

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Bytes of the body.
    pub bytes: u64,
    /// Its tag.
    pub etag: String,
    /// Seconds that it is fresh.
    pub fresh_secs: u64,
}

pub(super) async fn push(edge: &Edge, request: Request<Incoming>) -> Result<Pushed, Refused> {
    let (parts, body) = request.into_parts();
    let url = parts.headers.get(&URL).and_then(|url| url.to_str().ok());
    let url =
        url.ok_or_else(|| Refused::bad("write where it belongs: Verge-URL: http://host/path".into()))?;
    let Found { request, site, key } = found(edge, url, HeaderMap::new())?;
    let limit = site.site.max_object_bytes;
    if body.size_hint().lower() > limit {
        return Err(too_big(limit));
    }
    let ticket = edge.store.begin();
    let mut share = edge.store.fills().share();
    let content = content(edge, body, limit, &mut share).await?;
    let head = ResponseHead { status: StatusCode::OK, headers: head(&parts.headers, &content)? };
    let now = edge.clock.now();
    let rules = &site.site.rules;
    let lifetime = match admit(&request, &head, now, rules, now) {
        Admit::Keep(lifetime) => lifetime,
        Admit::Leave(why) => {
            let sentence = format!("it may not be stored: {}", why.as_str());
            return Err(Refused { status: StatusCode::UNPROCESSABLE_ENTITY, sentence });
        }
    };
    let fresh_secs = lifetime.fresh_secs;
    let entry = Entry::new(&request, &head, lifetime, now, now, Some(content.length));
    let purged = || Refused { status: StatusCode::CONFLICT, sentence: "a purge came meanwhile".into() };
    let scope = Scope::Key(key.clone());
    let ticket =
        edge.store.supersede(&ticket, &scope, &key, site.index, &head.headers, now).ok_or_else(purged)?;
    let body = store::Body::new(content.pieces, edge.store.fills());
    let object = Object { entry, body, site: site.index, epoch: ticket.epoch() };
    if edge.store.put_alone(&key, &Arc::new(object), &ticket) == Put::Purged {
        return Err(purged());
    }
    if !edge.store.holds(&key) {
        let sentence = "the memory is full of what is asked for more often".into();
        return Err(Refused { status: StatusCode::INSUFFICIENT_STORAGE, sentence });
    }
    let etag = head.headers.get(header::ETAG).map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned());
    tracing::info!(target: "verge_edge::push", url, bytes = content.length, fresh_secs, "pushed");
    Ok(Pushed { bytes: content.length, etag: etag.unwrap_or_default(), fresh_secs })
}

struct Content {
    pieces: Vec<Bytes>,
    length: u64,
    hash: u128,
}

/// Of this size are the pieces that are stored.
const PIECE_BYTES: usize = 64 << 10;

async fn content(edge: &Edge, mut body: Incoming, limit: u64, share: &mut Share) -> Result<Content, Refused> {
    let (mut pieces, mut open, mut length) = (Vec::new(), BytesMut::new(), 0_u64);
    let mut hasher = SipHasher24::new();
    let broke_off = || Refused::bad("the body broke off".into());
    while let Some(frame) =
        timeout(edge.limits.pace.stall_timeout, body.frame()).await.map_err(|_| broke_off())?
    {
        let Ok(data) = frame.map_err(|_| broke_off())?.into_data() else { continue };
        length += data.len() as u64;
        if length > limit {
            return Err(too_big(limit));
        }
        if !share.grow(data.len() as u64) {
            let sentence = "no memory left for what is on its way in: try again".into();
            return Err(Refused { status: StatusCode::SERVICE_UNAVAILABLE, sentence });
        }
        std::hash::Hasher::write(&mut hasher, &data);
        open.extend_from_slice(&data);
        while open.len() >= PIECE_BYTES {
            pieces.push(open.split_to(PIECE_BYTES).freeze());
        }
    }
    if !open.is_empty() {
        pieces.push(open.freeze());
    }
    Ok(Content { pieces, length, hash: hasher.finish128().as_u128() })
}

fn too_big(limit: u64) -> Refused {
    let sentence = format!("too big: this site keeps {limit} bytes at most (`max_object`)");
    Refused { status: StatusCode::PAYLOAD_TOO_LARGE, sentence }
}

/// What of the request's fields is the content's.
fn head(sent: &HeaderMap, content: &Content) -> Result<HeaderMap, Refused> {
    let mut headers = end_to_end(sent);
    for name in OF_THE_REQUEST {
        headers.remove(*name);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(content.length));
    if let Some(ttl) = sent.get(&TTL)
        && !headers.contains_key(header::CACHE_CONTROL)
    {
        let secs = ttl.to_str().ok().and_then(|ttl| ttl.parse::<u64>().ok());
        let secs = secs.ok_or_else(|| Refused::bad("Verge-TTL is a number of seconds".into()))?;
        let value = HeaderValue::try_from(format!("max-age={secs}")).expect("digits");
        headers.insert(header::CACHE_CONTROL, value);
    }
    headers.entry(header::ETAG).or_insert_with(|| {
        HeaderValue::try_from(format!("\"{:032x}\"", content.hash)).expect("hexadecimal digits in quotes")
    });
    Ok(headers)
}

/// Fields that are about the push itself.
const OF_THE_REQUEST: &[&str] =
    &["accept", "accept-encoding", "authorization", "expect", "host", "user-agent", "verge-ttl", "verge-url"];
