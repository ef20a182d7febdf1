//! The things that are to go, as the operator, a CMS or a child of this edge names them.

use http::Uri;
use serde::{Deserialize, Serialize};

use super::{Cache, NotPurged};
use crate::http::spelling;
use crate::site::{HostPattern, SiteName, tags};
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

impl PurgeRequest {
    /// Stale or gone.
    pub(crate) fn mode(&self) -> Mode {
        if self.soft { Mode::Soft } else { Mode::Hard }
    }

    /// The scopes that it names here.
    pub(crate) fn scopes(&self, cache: &Cache) -> Result<Vec<Scope>, NotPurged> {
        match self {
            Self { url: Some(url), prefix: None, tag: None, site: None, all: false, .. } => {
                let url = absolute(url)?;
                if url.authority().is_some_and(|authority| authority.as_str().contains('*')) {
                    return Err(NotPurged::WildHost);
                }
                cache.scopes_of_url(&url)
            }
            Self { url: None, prefix: Some(prefix), tag: None, site: None, all: false, .. } => {
                if prefix.contains('*') {
                    return Err(NotPurged::WildPrefix);
                }
                cache.scopes_of_prefix(&absolute(prefix)?)
            }
            Self { url: None, prefix: None, tag: Some(tag), site, all: false, .. } => {
                if !tags::is_tag(tag.as_bytes()) {
                    return Err(NotPurged::NoTag);
                }
                if tag.contains('*') {
                    return Err(NotPurged::WildTag);
                }
                let site = site.as_deref().map(|site| cache.site_name(site)).transpose()?;
                Ok(vec![Scope::Tag { tag: tag.clone(), site }])
            }
            Self { url: None, prefix: None, tag: None, site: Some(site), all: false, .. } => {
                Ok(vec![Scope::Site(cache.site_name(site)?)])
            }
            Self { url: None, prefix: None, tag: None, site: None, all: true, .. } => Ok(vec![Scope::All]),
            _ => Err(NotPurged::NoTarget),
        }
    }
}

impl Cache {
    /// A site by its name, or by one of its hosts as configured.
    pub(crate) fn site_name(&self, name: &str) -> Result<SiteName, NotPurged> {
        let sites = self.sites();
        let is_it = |host: &HostPattern| host.to_string().eq_ignore_ascii_case(name);
        let named =
            sites.iter().find(|site| site.site.name.as_str() == name || site.site.hosts.iter().any(is_it));
        named.map(|site| site.site.name.clone()).ok_or_else(|| {
            let names: Vec<&str> = sites.iter().map(|site| site.site.name.as_str()).collect();
            NotPurged::NoSuchSite(format!("no site `{name}`; there are: {}", names.join(", ")))
        })
    }
}

/// A URL as people write it, in the spelling in which it comes from clients.
pub(crate) fn absolute(url: &str) -> Result<Uri, NotPurged> {
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    Uri::try_from(&*spelling::of_reference(url.as_bytes())).ok().filter(is_web).ok_or(NotPurged::NotAbsolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_written_as_people_write_it() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(absolute(url).ok().map(|uri| uri.to_string()).as_deref(), expected, "{url}");
        };
        check(
            "http://a.test/\u{dc}ber uns.pdf?q={a|b}",
            Some("http://a.test/%C3%9Cber%20uns.pdf?q=%7Ba%7Cb%7D"),
        );
        check("http://a.test/%C3%9Cber*?x", Some("http://a.test/%C3%9Cber*?x"));
        check("http://a.test/a#b", Some("http://a.test/a"));
        check("/a", None);
        check("ftp://a.test/a", None);
        check("http://\u{fc}.test/a", None);
    }
}
