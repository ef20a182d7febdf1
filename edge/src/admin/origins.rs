//! `POST /origins`: how the origins of all sites and streams stand; takes one out, or puts it back.
//!
//! `{}` tells how they stand. `{"origin": "10.0.1.10:80", "drain": true}` gives one no new requests, whatever its config
//! says, `false` gives it its share, `null` leaves it to the config; `"site"` says which site's,
//! `"stream"` which stream's. That holds until the next time, or a restart.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Refused;
use super::maintenance::{Switch, switch};
use super::purge::site_name;
use crate::cache::Cache;
use crate::flight::FetchSite;
use crate::flight::canary::Compared;
use crate::origin::{OriginStanding, Origins};

/// A request to tell how origins stand, or to switch one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginsRequest {
    /// The site, by its name or one of its hosts; without it and without a stream, all of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The stream, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The origin that is switched, as `host:port` or `unix:/path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The switch to set: on, and it gets no new requests.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "switch")]
    pub drain: Option<Switch>,
}

/// How the origins stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginsTold {
    /// In the config's order.
    pub sites: Vec<SiteOrigins>,
    /// In the config's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamOrigins>,
}

/// The origins of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOrigins {
    /// The stream's name: the first of its `sni`, else the first address where it listens.
    pub stream: String,
    /// How one of them is chosen.
    pub balance: String,
    /// In the config's order.
    pub origins: Vec<OriginStanding>,
}

/// Tells the origins of the streams, by the streams' names.
pub(crate) type Streams = Arc<dyn Fn() -> Vec<(String, Arc<Origins>)> + Send + Sync>;

/// The origins of a site or of a route of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteOrigins {
    /// The site's name.
    pub site: String,
    /// The route, by its first path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// How one of them is chosen.
    pub balance: String,
    /// In the config's order.
    pub origins: Vec<OriginStanding>,
    /// How its canary does, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryTold>,
}

/// How a canary does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryTold {
    /// Its share of the requests in percent.
    pub share: u32,
    /// Whether it gets no more, because it failed.
    pub ended: bool,
    /// Answers and failures that count: of the last minute or two, of a longer time where these are few, or those by which
    /// it ended.
    pub answers: u32,
    /// Of these, 5xx and failures.
    pub errors: u32,
    /// Percent of errors of the other origins at the same time.
    pub others_percent: u32,
}

pub(super) fn origins(
    cache: &Cache,
    streams: &[(String, Arc<Origins>)],
    body: &[u8],
) -> Result<OriginsTold, Refused> {
    let asked: OriginsRequest = serde_json::from_slice(body).map_err(|error| {
        Refused::bad(format!("write {{\"origin\": \"host:port\", \"drain\": true}}: {error}"))
    })?;
    let one = asked.site.as_deref().map(|name| site_name(cache, name)).transpose()?;
    let parts = cache.parts();
    let is_meant = |part: &&Arc<FetchSite>| {
        asked.stream.is_none() && one.as_ref().is_none_or(|name| *name == part.site.name)
    };
    let parts = parts.iter().filter(is_meant);
    let streams: Vec<&(String, Arc<Origins>)> = streams_of(streams, &asked)?;
    match (&asked.origin, asked.drain) {
        (Some(origin), Some(switch)) => {
            let drained = match switch {
                Switch::On => Some(true),
                Switch::Off => Some(false),
                Switch::AsConfigured => None,
            };
            // Each of them, not the first alone.
            let of_sites = parts.clone().filter(|part| part.switch(origin, drained)).count();
            let of_streams = streams.iter().filter(|(_, origins)| origins.switch(origin, drained)).count();
            if of_sites + of_streams == 0 {
                return Err(Refused::bad(format!(
                    "no site or stream has the origin {origin}: write host:port, as POST /origins tells it"
                )));
            }
            tracing::warn!(target: "verge_edge::origin", origin, ?switch, "an origin was switched");
        }
        (None, None) => {}
        _ => return Err(Refused::bad("`origin` and `drain` go together".to_owned())),
    }
    let told = |part: &Arc<FetchSite>| SiteOrigins {
        site: part.site.name.to_string(),
        route: part.site.route.as_ref().map(|route| route.name.clone()),
        balance: part.site.sharing.balance.as_str().to_owned(),
        origins: part.standing(),
        canary: canary(part),
    };
    let of_stream = |(name, origins): &(String, Arc<Origins>)| StreamOrigins {
        stream: name.clone(),
        balance: origins.balance().as_str().to_owned(),
        origins: origins.standing(),
    };
    Ok(OriginsTold {
        sites: parts.map(told).collect(),
        streams: streams.into_iter().map(of_stream).collect(),
    })
}

/// The streams that are asked about.
fn streams_of<'s>(
    streams: &'s [(String, Arc<Origins>)],
    asked: &OriginsRequest,
) -> Result<Vec<&'s (String, Arc<Origins>)>, Refused> {
    match (&asked.site, &asked.stream) {
        (Some(_), Some(_)) => Err(Refused::bad("write `site` or `stream`, not both".to_owned())),
        (Some(_), None) => Ok(Vec::new()),
        (None, None) => Ok(streams.iter().collect()),
        (None, Some(name)) => {
            let of_name: Vec<_> = streams.iter().filter(|(one, _)| one == name).collect();
            if of_name.is_empty() {
                let help = "it is the first `sni` of a [[stream]], else its first address";
                return Err(Refused::bad(format!("no stream has the name {name}: {help}")));
            }
            Ok(of_name)
        }
    }
}

fn canary(part: &FetchSite) -> Option<CanaryTold> {
    let (canary, group) = part.canary.as_ref().zip(part.site.canary.as_ref())?;
    let end = canary.end();
    let Compared { seen, others } = end.map_or_else(|| canary.compared(), |end| end.compared);
    Some(CanaryTold {
        share: group.percent,
        ended: end.is_some(),
        answers: seen.answers,
        errors: seen.errors,
        others_percent: others.percent(),
    })
}
