//! `POST /maintenance`: a site says that it is being worked on, or that it is not, whatever its config says.
//!
//! `{"site": "www.example.com", "on": true}` switches it, `"on": null` leaves it to the config again; without `"site"` it
//! is about all. `{}` switches nothing. The answer is how all sites stand. A switch holds until the next, or a restart.

use serde::{Deserialize, Serialize};

use super::Refused;
use super::purge::site_name;
use crate::cache::Cache;

/// A request to switch, or to tell how sites stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// The site, by its name or one of its hosts; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The switch to set; without it nothing changes.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "switch")]
    pub on: Option<Switch>,
}

/// How a site is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is being worked on.
    On,
    /// It is not.
    Off,
    /// As its config says.
    AsConfigured,
}

/// How sites stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintained {
    /// In the config's order.
    pub sites: Vec<SiteMaintenance>,
}

/// How a site stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteMaintenance {
    /// The site's name.
    pub site: String,
    /// Whether it is being worked on.
    pub on: bool,
    /// Whether that was switched, and is not as the config says.
    pub switched: bool,
}

/// `true`, `false` or `null`; a field that is not there is none of them.
pub(super) mod switch {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Switch;

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(in crate::admin) fn serialize<S: Serializer>(
        switch: &Option<Switch>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match switch {
            Some(Switch::On) => serializer.serialize_bool(true),
            Some(Switch::Off) => serializer.serialize_bool(false),
            Some(Switch::AsConfigured) | None => serializer.serialize_none(),
        }
    }

    pub(in crate::admin) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Switch>, D::Error> {
        Ok(Some(match Option::<bool>::deserialize(deserializer)? {
            Some(true) => Switch::On,
            Some(false) => Switch::Off,
            None => Switch::AsConfigured,
        }))
    }
}

pub(super) fn maintenance(cache: &Cache, body: &[u8]) -> Result<Maintained, Refused> {
    let asked: MaintenanceRequest = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("write {{\"site\": \"…\", \"on\": true}}: {error}")))?;
    let one = asked.site.as_deref().map(|name| site_name(cache, name)).transpose()?;
    if let Some(switch) = asked.on {
        let on = match switch {
            Switch::On => Some(true),
            Switch::Off => Some(false),
            Switch::AsConfigured => None,
        };
        cache.switch_maintenance(one.as_ref(), on);
        let site = one.as_ref().map_or("all", |name| name.as_str());
        tracing::warn!(target: "verge_edge::maintenance", site, ?switch, "maintenance was switched");
    }
    let stands = |site: &std::sync::Arc<crate::flight::FetchSite>| {
        let site = &site.site;
        let on = cache.is_in_maintenance(site);
        SiteMaintenance { site: site.name.to_string(), on, switched: on != site.maintenance.is_on }
    };
    Ok(Maintained { sites: cache.sites().iter().map(stands).collect() })
}
