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

use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::Refused;
pub use crate::cache::PurgeRequest;
use crate::cache::behind::{Done, until_restart};
use crate::cache::{Cache, Found, NotPurged, ONE_OF, absolute};
use crate::metrics::Asked;
use crate::site::SiteName;

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
    /// The parents that it did not reach, each with the reason: what was purged may come back from there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents_missed: Vec<String>,
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
        if let Some(but) = until_restart(&self.until_restart_on) {
            write!(f, "; {but}")?;
        }
        match self.parents_missed.as_slice() {
            [] => Ok(()),
            parents => write!(f, "; but it did not reach {}: purge it again", parents.join(", ")),
        }
    }
}

pub(super) async fn purge(cache: &Cache, body: &[u8]) -> Result<Purged, Refused> {
    let asked: PurgeRequest = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("write {{\"url\": \"http://…\"}} or {ONE_OF}: {error}")))?;
    let scopes = asked.scopes(cache).map_err(not_purged)?;
    let parents_missed = cache.purge_above(std::slice::from_ref(&asked), &[]).await;
    let purged = cache.purge(&scopes, asked.mode());
    let Some(done) = cache.purged(std::slice::from_ref(&asked), purged).await else {
        let sentence = "another process answers now, and was not told: send it again".to_owned();
        return Err(Refused { status: StatusCode::SERVICE_UNAVAILABLE, sentence });
    };
    let Done { purged, until_restart_on, .. } = done;
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
    let near = match (&asked.url, purged) {
        (Some(url), Some(0)) => cache.near(&absolute(url).map_err(not_purged)?),
        _ => Vec::new(),
    };
    Ok(Purged { purged, near, until_restart_on, parents_missed })
}

pub(super) fn not_purged(why: NotPurged) -> Refused {
    let status = match why {
        NotPurged::NoSite | NotPurged::NoSuchSite(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    };
    Refused { status, sentence: why.sentence() }
}

/// The request that a URL stands for, its site and its key.
pub(super) fn found(cache: &Cache, url: &str, headers: HeaderMap) -> Result<Found, Refused> {
    let uri = absolute(url).map_err(not_purged)?;
    cache.found(uri, headers).ok_or_else(|| not_purged(NotPurged::NoSite))
}

/// By name, or by one of its hosts as configured.
pub(super) fn site_name(cache: &Cache, name: &str) -> Result<SiteName, Refused> {
    cache.site_name(name).map_err(not_purged)
}
