//! Translates what a purge names into scopes of the store, for the admin listener and a CMS's PURGE requests.
//!
//! A URL means what its clients see, so both schemes are purged: behind a proxy that ends TLS the keys are https. Of ports,
//! 80 and 443 are taken for one another, and each other port is of its own.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::{Cache, Found};
use crate::http::head::RequestHead;
use crate::site::key::{KeyRules, key};
use crate::site::pattern::{MAX_WILDCARDS, UrlPattern};
use crate::site::tags;
use crate::store::{MAX_PREFIX_BYTES, Mode, Scope};

pub(crate) const ONE_OF: &str = "one of `url`, `prefix`, `tag` (with or without `site`), `site`, `all`";

/// Why something is not a purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotPurged {
    /// No site has the URL's host.
    NoSite,
    /// It is longer than what purges are remembered by.
    TooLong,
    /// It has too many wildcards.
    TooManyWildcards,
    /// No site has that name.
    NoSuchSite(String),
    /// It is no URL of the web.
    NotAbsolute,
    /// A prefix has a `*`.
    WildPrefix,
    /// A host or port has a `*`.
    WildHost,
    /// A tag has a `*`.
    WildTag,
    /// It is no tag.
    NoTag,
    /// It names nothing, or too much.
    NoTarget,
}

impl NotPurged {
    /// In a sentence.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::NoSite => "no site here has that host".to_owned(),
            Self::TooLong => format!("a prefix or a URL with `*` has {MAX_PREFIX_BYTES} bytes at most"),
            Self::TooManyWildcards => format!("a URL has {MAX_WILDCARDS} `*` at most"),
            Self::NoSuchSite(sentence) => sentence.clone(),
            Self::NotAbsolute => "the url is not absolute: write http://host/path".to_owned(),
            Self::WildPrefix => {
                "`*` stands for itself in a prefix: write the URL with `*` as `url`, or no `*`".to_owned()
            }
            Self::WildHost => {
                "`*` stands for a part of a path or query only: write the host and the port, or purge a `site`".to_owned()
            }
            Self::WildTag => {
                "`*` stands for itself in a tag: write each tag whole, or purge URLs with `*`, or a `site`".to_owned()
            }
            Self::NoTag => format!("a tag has 1 to {} bytes", tags::MAX_TAG_BYTES),
            Self::NoTarget => format!("a purge needs {}", ONE_OF),
        }
    }
}

impl Cache {
    /// The request that this URL stands for, its site and its key. A signature in it is no part of them.
    pub(crate) fn found(&self, uri: Uri, mut headers: HeaderMap) -> Option<Found> {
        let uri = self.bare(uri);
        let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        headers.extend(host.map(|host| (header::HOST, host)));
        self.find(RequestHead { method: Method::GET, uri, headers }).ok()
    }

    /// The scopes to purge when this URL changes, over either scheme. A `*` stands for any run of characters.
    pub(crate) fn scopes_of_url(&self, uri: &Uri) -> Result<Vec<Scope>, NotPurged> {
        let is_wild = uri.path_and_query().is_some_and(|target| target.as_str().contains('*'));
        each_scheme(uri).map(|uri| if is_wild { self.pattern(uri) } else { self.url(uri) }).collect()
    }

    /// The scopes of a URL that was changed, over either scheme, whatever characters it has.
    pub(super) fn scopes_of_changed(&self, uri: &Uri) -> Vec<Scope> {
        each_scheme(uri).filter_map(|uri| self.url(uri).ok()).collect()
    }

    /// Every URL that begins so, over either scheme.
    pub(crate) fn scopes_of_prefix(&self, uri: &Uri) -> Result<Vec<Scope>, NotPurged> {
        each_scheme(uri).map(|uri| self.whole_url(uri).map(Scope::Prefix)).collect()
    }

    /// Purges them all. How many stored responses that took, where it is known.
    pub(crate) fn purge(&self, scopes: &[Scope], mode: Mode) -> Option<usize> {
        let now = self.clock.now();
        if mode == Mode::Hard {
            scopes.iter().for_each(|scope| self.forget_texts(scope));
        }
        // Each is purged, also behind one that is not counted.
        let taken: Vec<Option<usize>> =
            scopes.iter().map(|scope| self.store.purge(scope, mode, now)).collect();
        taken.into_iter().sum()
    }

    /// Dictionaries are no answers: whoever has one answered shorter has proved to have it. So those of a URL or a tag stay, for a
    /// new version is told by them, and they go with all that there is, or with all of a site.
    fn forget_texts(&self, scope: &Scope) {
        let texts = &self.flights.dictionaries;
        match scope {
            Scope::All => texts.forget(|_| true),
            Scope::Site(site) => {
                texts.forget(|origin| {
                    let host = origin.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned()));
                    host.is_some_and(|host| self.site_of(&host).is_some_and(|its| its == *site))
                });
            }
            Scope::Key(_) | Scope::Url(_) | Scope::Prefix(_) | Scope::Pattern(_) | Scope::Tag { .. } => {}
        }
    }

    /// Waits until the purges so far outlive a crash. The disks where they do not, or not soon: a restart could bring
    /// back there what was purged.
    pub(crate) async fn purges_last(&self) -> Vec<String> {
        let failed = self.store.disks().lasts().await;
        if !failed.is_empty() {
            tracing::warn!(target: "verge_edge::purge", disks = failed.join(", "), "a purge is in effect, but a restart may undo it on these disks: purge again then, or empty them");
        }
        failed
    }

    /// URLs of stored responses that are as near to this one as a mistake: another port, another end of the path.
    pub(crate) fn near(&self, uri: &Uri) -> Vec<String> {
        // One key has several spellings.
        let mut near: Vec<String> = self.candidates(uri).filter_map(|uri| self.stored(uri)).collect();
        near.sort_unstable();
        near.dedup();
        near
    }

    fn url(&self, uri: Uri) -> Result<Scope, NotPurged> {
        let Found { site, key, .. } = self.found(uri, HeaderMap::new()).ok_or(NotPurged::NoSite)?;
        Ok(Scope::of(key, &site.site.key))
    }

    fn pattern(&self, uri: Uri) -> Result<Scope, NotPurged> {
        let url = self.whole_url(uri)?;
        UrlPattern::parse(&url).map(Scope::Pattern).ok_or(NotPurged::TooManyWildcards)
    }

    /// The URL in the form of keys, with all of the query, whatever the site leaves of it in its keys.
    fn whole_url(&self, uri: Uri) -> Result<String, NotPurged> {
        let found = self.found(uri, HeaderMap::new()).ok_or(NotPurged::NoSite)?;
        let url = key(&found.request, &KeyRules::default()).url();
        if url.len() > MAX_PREFIX_BYTES { Err(NotPurged::TooLong) } else { Ok(url) }
    }

    /// The URL in the form of keys, if something is stored under it.
    fn stored(&self, uri: Uri) -> Option<String> {
        let found = self.found(uri, HeaderMap::new())?;
        (!self.store.get(&found.key, &found.site.site.name).is_empty()).then(|| found.key.url())
    }

    /// The same over the other scheme, at the ports that this edge listens on and at none, with and without a slash at
    /// the end and the query.
    fn candidates(&self, uri: &Uri) -> impl Iterator<Item = Uri> {
        let host = uri.host().unwrap_or_default().to_owned();
        let target = uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        let path = uri.path();
        let slashed = match path.strip_suffix('/') {
            Some(shorter) => shorter.to_owned(),
            None => format!("{path}/"),
        };
        let targets = [target, path.to_owned(), slashed];
        let ports = self.ports.load();
        let ports =
            ports.iter().map(|port| format!(":{port}")).chain([String::new(), ":80".into(), ":443".into()]);
        let authorities: Vec<String> = ports.map(|port| format!("{host}{port}")).collect();
        let given = uri.clone();
        targets
            .into_iter()
            .flat_map(move |target| {
                let authorities = authorities.clone();
                ["http", "https"].into_iter().flat_map(move |scheme| {
                    let target = target.clone();
                    authorities
                        .clone()
                        .into_iter()
                        .map(move |authority| format!("{scheme}://{authority}{target}"))
                })
            })
            .filter_map(|url| url.parse().ok())
            .filter(move |uri| *uri != given)
    }
}

/// The URL over http and over https; what names a port of its own is one listener's, whose scheme is not known here.
fn each_scheme(uri: &Uri) -> impl Iterator<Item = Uri> {
    let mut parts = uri.clone().into_parts();
    let is_http = parts.scheme == Some(Scheme::HTTP);
    let default = if is_http { 80 } else { 443 };
    parts.scheme = Some(if is_http { Scheme::HTTPS } else { Scheme::HTTP });
    if let Some(authority) = parts.authority.take() {
        let bare =
            authority.host().parse().ok().filter(|_: &Authority| authority.port_u16() == Some(default));
        parts.authority = Some(bare.unwrap_or(authority));
    }
    [Some(uri.clone()), Uri::from_parts(parts).ok()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stands_for_both_schemes_each_at_its_own_port() {
        let check = |url: &str, expected: &str| {
            let both: Vec<String> = each_scheme(&url.parse().unwrap()).map(|uri| uri.to_string()).collect();
            assert_eq!(both, [url, expected]);
        };
        check("http://a.test/x?y", "https://a.test/x?y");
        check("https://a.test/", "http://a.test/");
        check("http://a.test:80/", "https://a.test/");
        check("https://a.test:443/", "http://a.test/");
        check("http://a.test:8080/", "https://a.test:8080/");
    }
}
