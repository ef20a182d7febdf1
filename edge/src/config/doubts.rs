//! Correct settings that nobody can mean: a redirect leads to itself, no request reaches
//! a route.

use std::ops::Range;

use http::Uri;
use toml::Spanned;

use super::place::Fault;
use super::settings::{RouteTable, SiteTable};
use crate::site::pattern::PathPattern;
use crate::site::{Site, Sites};

/// Where the targets of redirects stand in the text, by site.
pub(super) type Targets = Vec<Vec<Range<usize>>>;

/// Refuses a redirect that leads to itself; gives a warning for one that does over https only: another server may have
/// that. `targets` are the places of the redirects' targets, by site.
pub(super) fn redirects(sites: &Sites, targets: &Targets) -> Result<Vec<Fault>, Fault> {
    let mut warnings = Vec::new();
    for (site, places) in sites.all().iter().zip(targets) {
        for (index, place) in places.iter().enumerate() {
            let Some(circle) = circle(sites, site, index) else { continue };
            let message = format!("this redirect leads back to where it began: {}", circle.shown);
            if circle.over_https {
                let help = "a request over https would be sent in a circle; that is right only if another server answers https";
                warnings.push(Fault::new(place.clone(), message).help(help));
            } else {
                let help =
                    "clients would be sent in a circle; narrow `from`, or send them to another host or path";
                return Err(Fault::new(place.clone(), message).help(help));
            }
        }
    }
    Ok(warnings)
}

/// Warnings for passwords that an edge which others reach asks for without TLS, on its own port and in front of it.
pub(super) fn clear_passwords(site: &SiteTable) -> impl Iterator<Item = Fault> + use<'_> {
    let files = std::iter::once(&site.basic_auth).chain(site.route.iter().map(|route| &route.basic_auth));
    files.flatten().filter(|file| file.get_ref() != "off").map(|file| {
        let message = "clients that ask over `listen` send their passwords in clear text";
        let help = "send them to https with a [[site.redirect]] and `listen_tls`, or name the proxy that ends TLS in `trusted_proxies`";
        Fault::new(file.span(), message).help(help)
    })
}

/// Warnings for the paths of routes that no request reaches, because an earlier route takes them all.
pub(super) fn unreachable(routes: &[RouteTable]) -> Vec<Fault> {
    let mut warnings = Vec::new();
    let mut before: Vec<(PathPattern, &str)> = Vec::new();
    for route in routes {
        let written = route.paths.get_ref();
        let read = |path: &Spanned<String>| PathPattern::parse(path.get_ref());
        for (path, pattern) in written.iter().filter_map(|path| Some((path, read(path)?))) {
            if let Some((_, taken)) = before.iter().find(|(earlier, _)| earlier.covers(&pattern)) {
                let message = format!("no request reaches this path: an earlier route has \"{taken}\"");
                let help = "the first route that has a path counts: write the narrower one above the wider";
                warnings.push(Fault::new(path.span(), message).help(help));
            }
        }
        before.extend(written.iter().filter_map(|path| Some((read(path)?, path.get_ref().as_str()))));
    }
    warnings
}

struct Circle {
    /// The URLs that a client would follow.
    shown: String,
    /// Whether it goes on only if this edge is asked over https, too.
    over_https: bool,
}

/// As many redirects as browsers follow; whoever is sent further sees an error.
const MAX_HOPS: usize = 20;

/// Follows redirects of the sites as a client would, from a path that this one matches.
fn circle(sites: &Sites, site: &Site, index: usize) -> Option<Circle> {
    let this = &site.redirects[index];
    let mut at = (host_of(site), this.from.example());
    let (mut over_https, mut uses) = (false, 0_usize);
    let mut followed = Vec::new();
    for _ in 0..MAX_HOPS {
        let found = &sites.all()[sites.find(&at.0)?].redirects;
        let (redirect, location) = found.iter().find_map(|one| Some((one, one.location(&at.1, None)?)))?;
        uses += usize::from(std::ptr::eq(redirect, this));
        followed.push(format!("{}{}", at.0, at.1));
        let uri: Uri = location.to_str().ok()?.parse().ok()?;
        over_https |= uri.scheme_str() == Some("https");
        at = (uri.host().map_or(at.0, str::to_ascii_lowercase), uri.path().to_owned());
    }
    followed.truncate(SHOWN_HOPS);
    // Used once, it only leads into a circle of others, which are told themselves.
    (uses > 1).then(|| Circle { shown: followed.join(" → "), over_https })
}

/// Enough to see the circle.
const SHOWN_HOPS: usize = 4;

/// A host that is the site's.
fn host_of(site: &Site) -> String {
    site.hosts.first().map_or_else(String::new, |host| host.to_string().replace('*', "any"))
}
