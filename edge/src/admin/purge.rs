//! `POST /purge`: what the operator wants gone, as JSON.
//!
//! ```text
//! {"url": "http://host/path"}      every variant of it, whatever fields, cookies and devices are in the key
//! {"prefix": "http://host/img/"}   every URL that begins so, in normal form (RFC 3986 §6.2.2)
//! {"tag": "article-7"}             every response with this tag; with "site", on that site only
//! {"site": "www.example.com"}      everything of a site, by its name or one of its hosts
//! {"all": true}                    everything
//! ```
//!
//! With `"soft": true` it is stale instead of gone. The answer comes once it is in effect.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};

use super::Refused;
use crate::cache::{Cache, Found};
use crate::http::head::RequestHead;
use crate::metrics::Asked;
use crate::site::key::{KeyRules, key};
use crate::site::tags;
use crate::store::{MAX_PREFIX_BYTES, Mode, Scope};

/// What to purge: one of the five, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeRequest {
    /// A URL as clients ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How the URLs begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A tag from `Surrogate-Key` or `Cache-Tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A site, alone or with a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Everything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Stale instead of gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
}

/// What a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Stored responses that it covered; none if that would have to be counted one by one.
    pub purged: Option<usize>,
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.purged {
            Some(purged) => write!(f, "{purged} stored responses purged"),
            None => f.write_str("purged"),
        }
    }
}

pub(super) fn purge(cache: &Cache, body: &[u8]) -> Result<Purged, Refused> {
    let asked: PurgeRequest = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("write {{\"url\": \"http://…\"}} or {ONE_OF}: {error}")))?;
    let scope = scope(cache, &asked)?;
    let mode = if asked.soft { Mode::Soft } else { Mode::Hard };
    let purged = cache.store.purge(&scope, mode, cache.clock.now());
    cache.metrics.asked(Asked::Purged);
    tracing::info!(target: "verge_edge::purge", ?asked, ?purged, "purged");
    Ok(Purged { purged })
}

const ONE_OF: &str = "one of `url`, `prefix`, `tag` (with or without `site`), `site`, `all`";

fn scope(cache: &Cache, asked: &PurgeRequest) -> Result<Scope, Refused> {
    match asked {
        PurgeRequest { url: Some(url), prefix: None, tag: None, site: None, all: false, .. } => {
            let Found { site, key, .. } = found(cache, url, HeaderMap::new())?;
            Ok(Scope::of(key, &site.site.key))
        }
        PurgeRequest { url: None, prefix: Some(prefix), tag: None, site: None, all: false, .. } => {
            let found = found(cache, prefix, HeaderMap::new())?;
            // All of the query, whatever the site leaves of it in its keys.
            let prefix = key(&found.request, &KeyRules::default()).url();
            if prefix.len() > MAX_PREFIX_BYTES {
                return Err(Refused::bad(format!("a prefix has {MAX_PREFIX_BYTES} bytes at most")));
            }
            Ok(Scope::Prefix(prefix))
        }
        PurgeRequest { url: None, prefix: None, tag: Some(tag), site, all: false, .. } => {
            if !tags::is_tag(tag.as_bytes()) {
                let sentence = format!("a tag has 1 to {} bytes", tags::MAX_TAG_BYTES);
                return Err(Refused::bad(sentence));
            }
            let site = site.as_deref().map(|site| site_index(cache, site)).transpose()?;
            Ok(Scope::Tag { tag: tag.clone(), site })
        }
        PurgeRequest { url: None, prefix: None, tag: None, site: Some(site), all: false, .. } => {
            Ok(Scope::Site(site_index(cache, site)?))
        }
        PurgeRequest { url: None, prefix: None, tag: None, site: None, all: true, .. } => Ok(Scope::All),
        _ => Err(Refused::bad(format!("a purge needs {ONE_OF}"))),
    }
}

/// The request that a URL stands for, its site and its key.
pub(super) fn found(cache: &Cache, url: &str, mut headers: HeaderMap) -> Result<Found, Refused> {
    let absolute = |uri: &Uri| uri.scheme().is_some() && uri.authority().is_some();
    let uri = url.parse().ok().filter(absolute);
    let uri = uri.ok_or_else(|| Refused::bad("the url is not absolute: write http://host/path".into()))?;
    let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    headers.extend(host.map(|host| (header::HOST, host)));
    let none = || Refused { status: StatusCode::NOT_FOUND, sentence: "no site here has that host".into() };
    cache.find(RequestHead { method: Method::GET, uri, headers }).ok_or_else(none)
}

/// By name, or by one of its hosts as configured.
pub(super) fn site_index(cache: &Cache, name: &str) -> Result<usize, Refused> {
    let sites = cache.sites.all();
    let is_it = |host: &crate::config::HostPattern| host.to_string().eq_ignore_ascii_case(name);
    sites.iter().position(|site| site.name == name || site.hosts.iter().any(is_it)).ok_or_else(|| {
        let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        let sentence = format!("no site `{name}`; there are: {}", names.join(", "));
        Refused { status: StatusCode::NOT_FOUND, sentence }
    })
}
