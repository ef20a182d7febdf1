//! `POST /purge`: what the operator wants gone, as JSON.
//!
//! ```text
//! {"url": "http://host/path"}      every variant of it, whatever fields, cookies and devices are in the key
//! {"url": "http://host/img/*.png"} every URL that this pattern matches: `*` stands for any run of characters
//! {"prefix": "http://host/img/"}   every URL that begins so, in normal form (RFC 3986 §6.2.2)
//! {"tag": "article-7"}             every response with this tag; with "site", on that site only
//! {"site": "www.example.com"}      everything of a site, by its name or one of its hosts
//! {"all": true}                    everything
//! ```
//!
//! A URL is purged over http and over https. With `"soft": true` it is stale instead of gone. The answer comes once it
//! is in effect.

use std::fmt;

use http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::Refused;
use crate::cache::{Cache, Found, NotPurged};
use crate::metrics::Asked;
use crate::site::{SiteName, tags};
use crate::store::{Mode, Scope};

/// A request to purge: one of the five targets, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeRequest {
    /// A URL as clients ask for it; a `*` stands for any run of characters.
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

/// The result of a purge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Stored responses that it covered; none if that would have to be counted one by one.
    pub purged: Option<usize>,
    /// If there were none under a URL: what is stored under URLs that differ in port, scheme or the path's end only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// The disks that could not note it in time: a restart may undo it there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until_restart_on: Vec<String>,
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.purged, self.near.as_slice()) {
            (Some(1), _) => f.write_str("1 stored response purged"),
            (Some(0), []) => f.write_str("nothing is stored there"),
            (Some(0), near) => write!(f, "nothing is stored there; stored is: {}", near.join(", ")),
            (Some(purged), _) => write!(f, "{purged} stored responses purged"),
            (None, _) => f.write_str("purged (not counted)"),
        }?;
        match self.until_restart_on.as_slice() {
            [] => Ok(()),
            disks => write!(f, "; but a restart may undo it on {}: purge it again then", disks.join(", ")),
        }
    }
}

pub(super) async fn purge(cache: &Cache, body: &[u8]) -> Result<Purged, Refused> {
    let asked: PurgeRequest = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("write {{\"url\": \"http://…\"}} or {ONE_OF}: {error}")))?;
    let scopes = scopes(cache, &asked)?;
    let purged = cache.purge(&scopes, if asked.soft { Mode::Soft } else { Mode::Hard });
    cache.metrics.asked(Asked::Purged);
    tracing::info!(
        target: "verge_edge::purge",
        url = asked.url,
        prefix = asked.prefix,
        tag = asked.tag,
        site = asked.site,
        all = asked.all,
        soft = asked.soft,
        purged,
        "purged"
    );
    let until_restart_on = cache.purges_last().await;
    let near = match (&asked.url, purged) {
        (Some(url), Some(0)) => cache.near(&absolute(url)?),
        _ => Vec::new(),
    };
    Ok(Purged { purged, near, until_restart_on })
}

const ONE_OF: &str = "one of `url`, `prefix`, `tag` (with or without `site`), `site`, `all`";

fn scopes(cache: &Cache, asked: &PurgeRequest) -> Result<Vec<Scope>, Refused> {
    match asked {
        PurgeRequest { url: Some(url), prefix: None, tag: None, site: None, all: false, .. } => {
            cache.scopes_of_url(&absolute(url)?).map_err(not_purged)
        }
        PurgeRequest { url: None, prefix: Some(prefix), tag: None, site: None, all: false, .. } => {
            if prefix.contains('*') {
                let sentence =
                    "`*` stands for itself in a prefix: write the URL with `*` as `url`, or no `*`";
                return Err(Refused::bad(sentence.into()));
            }
            cache.scopes_of_prefix(&absolute(prefix)?).map_err(not_purged)
        }
        PurgeRequest { url: None, prefix: None, tag: Some(tag), site, all: false, .. } => {
            if !tags::is_tag(tag.as_bytes()) {
                let sentence = format!("a tag has 1 to {} bytes", tags::MAX_TAG_BYTES);
                return Err(Refused::bad(sentence));
            }
            let site = site.as_deref().map(|site| site_name(cache, site)).transpose()?;
            Ok(vec![Scope::Tag { tag: tag.clone(), site }])
        }
        PurgeRequest { url: None, prefix: None, tag: None, site: Some(site), all: false, .. } => {
            Ok(vec![Scope::Site(site_name(cache, site)?)])
        }
        PurgeRequest { url: None, prefix: None, tag: None, site: None, all: true, .. } => {
            Ok(vec![Scope::All])
        }
        _ => Err(Refused::bad(format!("a purge needs {ONE_OF}"))),
    }
}

fn not_purged(why: NotPurged) -> Refused {
    match why {
        NotPurged::NoSite => Refused { status: StatusCode::NOT_FOUND, sentence: why.sentence() },
        NotPurged::TooLong | NotPurged::TooManyWildcards => Refused::bad(why.sentence()),
    }
}

fn absolute(url: &str) -> Result<Uri, Refused> {
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    let uri = url.parse().ok().filter(is_web);
    uri.ok_or_else(|| Refused::bad("the url is not absolute: write http://host/path".into()))
}

/// The request that a URL stands for, its site and its key.
pub(super) fn found(cache: &Cache, url: &str, headers: HeaderMap) -> Result<Found, Refused> {
    cache.found(absolute(url)?, headers).ok_or_else(|| not_purged(NotPurged::NoSite))
}

/// By name, or by one of its hosts as configured.
pub(super) fn site_name(cache: &Cache, name: &str) -> Result<SiteName, Refused> {
    let sites = cache.sites();
    let is_it = |host: &crate::site::HostPattern| host.to_string().eq_ignore_ascii_case(name);
    let named =
        sites.iter().find(|site| site.site.name.as_str() == name || site.site.hosts.iter().any(is_it));
    named.map(|site| site.site.name.clone()).ok_or_else(|| {
        let names: Vec<&str> = sites.iter().map(|site| site.site.name.as_str()).collect();
        let sentence = format!("no site `{name}`; there are: {}", names.join(", "));
        Refused { status: StatusCode::NOT_FOUND, sentence }
    })
}
