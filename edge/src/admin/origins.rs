//! `POST /origins`: how the origins of all sites stand; takes one out, or puts it back.
//!
//! `{}` tells how they stand. `{"origin": "10.0.1.10:80", "drain": true}` gives one no new requests, whatever its config
//! says, `false` gives it its share, `null` leaves it to the config; `"site"` says which site's. That holds until the next
//! time, or a restart.

use serde::{Deserialize, Serialize};

use super::Refused;
use super::maintenance::{Switch, switch};
use super::purge::site_name;
use crate::cache::Cache;
use crate::flight::FetchSite;
use crate::flight::canary::Compared;
use crate::origin::OriginStanding;

/// A request to tell how origins stand, or to switch one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginsRequest {
    /// The site, by its name or one of its hosts; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
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
}

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

pub(super) fn origins(cache: &Cache, body: &[u8]) -> Result<OriginsTold, Refused> {
    let asked: OriginsRequest = serde_json::from_slice(body).map_err(|error| {
        Refused::bad(format!("write {{\"origin\": \"host:port\", \"drain\": true}}: {error}"))
    })?;
    let one = asked.site.as_deref().map(|name| site_name(cache, name)).transpose()?;
    let parts = cache.parts();
    let parts = parts.iter().filter(|part| one.as_ref().is_none_or(|name| *name == part.site.name));
    match (&asked.origin, asked.drain) {
        (Some(origin), Some(switch)) => {
            let drained = match switch {
                Switch::On => Some(true),
                Switch::Off => Some(false),
                Switch::AsConfigured => None,
            };
            // Each of them, not the first alone.
            if parts.clone().filter(|part| part.switch(origin, drained)).count() == 0 {
                return Err(Refused::bad(format!(
                    "no site has the origin {origin}: write host:port, as POST /origins tells it"
                )));
            }
            tracing::warn!(target: "verge_edge::origin", origin, ?switch, "an origin was switched");
        }
        (None, None) => {}
        _ => return Err(Refused::bad("`origin` and `drain` go together".to_owned())),
    }
    let told = |part: &std::sync::Arc<FetchSite>| SiteOrigins {
        site: part.site.name.to_string(),
        route: part.site.route.as_ref().map(|route| route.name.clone()),
        balance: part.site.sharing.balance.as_str().to_owned(),
        origins: part.standing(),
        canary: canary(part),
    };
    Ok(OriginsTold { sites: parts.map(told).collect() })
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
