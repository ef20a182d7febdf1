//! `POST /objects`: what is held, some hundred or thousand at a time.
//!
//! ```text
//! {"prefix": "http://a/img/", "tag": "article-7", "site": "a", "from": "0.0"}
//! ```
//!
//! Each part is optional. The answer's `next` is the `from` of the next question; none behind the last. A question is
//! answered after some work, whether or not that has found much.

use serde::{Deserialize, Serialize};

use super::Refused;
use crate::cache::Cache;
use crate::policy::Content;
use crate::site::tags::Tags;
use crate::store::{Cursor, Listed};

/// Which objects.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectsRequest {
    /// Only objects whose URL begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only objects with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only objects of this site, by its first host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Some of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct ObjectsTold {
    /// In no order.
    pub objects: Vec<ObjectTold>,
    /// Where to go on; none behind the last.
    pub next: Option<String>,
}

/// One stored response.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObjectTold {
    /// Its URL, with the query as keyed.
    pub url: String,
    /// The site's first host.
    pub site: String,
    /// Where it is: `memory`, which may be on a disk too, or `disk` alone.
    pub tier: String,
    /// Its status.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: u64,
    /// Which bytes of the representation they are, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Seconds since the origin made or confirmed it.
    pub age_secs: u64,
    /// Seconds for which it is fresh; less than 0 if it is stale.
    pub fresh_secs: i64,
    /// Answers from it since it came into memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// Its `Content-Type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its `Content-Encoding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// An answer ends when it has so many …
const ENOUGH: usize = 2_000;
/// … or after so many parts that were looked at.
const MOST_PARTS: usize = 64;

pub(super) async fn objects(cache: &Cache, body: &[u8]) -> Result<ObjectsTold, Refused> {
    let asked: ObjectsRequest = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("write {{\"prefix\": \"http://…\"}}: {error}")))?;
    let mut at = match asked.from.as_deref().map(cursor) {
        None => Some(Cursor::default()),
        Some(Some(cursor)) => Some(cursor),
        Some(None) => return Err(Refused::bad("`from` is the `next` of the answer before".into())),
    };
    let mut objects = Vec::new();
    for _ in 0..MOST_PARTS {
        let Some(here) = at.filter(|_| objects.len() < ENOUGH) else { break };
        let (listed, next) = cache.store.some_from(here).await;
        objects.extend(listed.into_iter().filter_map(|listed| told(cache, &asked, listed)));
        at = next;
    }
    let next = at.map(|Cursor { tier, part }| format!("{tier}.{part}"));
    Ok(ObjectsTold { objects, next })
}

fn cursor(text: &str) -> Option<Cursor> {
    let (tier, part) = text.split_once('.')?;
    Some(Cursor { tier: tier.parse().ok()?, part: part.parse().ok()? })
}

fn told(cache: &Cache, asked: &ObjectsRequest, listed: Listed) -> Option<ObjectTold> {
    let Listed { key, entry, site, bytes, hits } = listed;
    let url = key.url();
    let headers = &entry.head.headers;
    let tags = match cache.store.tags(headers) {
        Tags::These(tags) => tags.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect(),
        Tags::Any => vec!["*".to_owned()],
    };
    let is_asked = asked.prefix.as_ref().is_none_or(|prefix| url.starts_with(prefix))
        && asked.tag.as_ref().is_none_or(|tag| tags.iter().any(|own: &String| own == tag || own == "*"))
        && asked.site.as_ref().is_none_or(|asked| asked == site.as_str());
    if !is_asked {
        return None;
    }
    let freshness = entry.freshness(cache.clock.now());
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let left = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX);
    Some(ObjectTold {
        url,
        site: site.as_str().to_owned(),
        tier: if hits.is_some() { "memory" } else { "disk" }.to_owned(),
        status: entry.head.status.as_u16(),
        bytes,
        part: match entry.content {
            Content::Whole { .. } => None,
            Content::Part(part) => {
                Some(String::from_utf8_lossy(part.content_range().as_bytes()).into_owned())
            }
        },
        age_secs: freshness.age_secs,
        fresh_secs: left(freshness.lifetime_secs).saturating_sub(left(freshness.age_secs)),
        hits,
        media_type: text(http::header::CONTENT_TYPE),
        encoding: text(http::header::CONTENT_ENCODING),
        tags,
    })
}
