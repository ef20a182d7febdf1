//! Correct settings that nobody can mean: a redirect leads to itself, no request reaches
//! a route.

use std::ops::Range;
use std::sync::Arc;

use http::Uri;
use toml::Spanned;

use super::place::Fault;
use super::settings::{RouteTable, SiteTable};
use crate::site::pattern::PathPattern;
use crate::site::{OriginAddress, Site, Sites};

/// Where values stand in the text, by site.
pub(super) type Places = Vec<Vec<Range<usize>>>;

/// Refuses a redirect that leads to itself; gives a warning for one that does over https only: another server may have
/// that. `targets` are the places of the redirects' targets, by site.
pub(super) fn redirects(sites: &Sites, targets: &Places) -> Result<Vec<Fault>, Fault> {
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

/// Warnings for parents of an edge that has the name that theirs may be, too: they would take its requests for a loop.
pub(super) fn nameless(has_name: bool, site: &SiteTable) -> impl Iterator<Item = Fault> + use<'_> {
    let written = site.parents.iter().filter(move |_| !has_name);
    written.filter(|parents| !parents.get_ref().is_empty()).map(|parents| {
        let help = "each edge needs a name of its own, or the next one takes its requests for a loop";
        Fault::new(parents.span(), "an edge with parents has no `name`").help(help)
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

/// Where the paths at the origins stand in the text, by site and route: those of the paths where there is none.
pub(super) fn origin_paths(sites: &[SiteTable]) -> Places {
    let place = |route: &RouteTable| route.origin_path.as_ref().map_or(route.paths.span(), Spanned::span);
    sites.iter().map(|site| site.route.iter().map(place).collect()).collect()
}

/// Warnings for routes whose `origin_path` leads around what another part of the site asks of clients. `places` are those
/// of [`origin_paths`].
pub(super) fn around_guards(sites: &Sites, places: &Places) -> Vec<Fault> {
    let parts = sites.all().iter().zip(places);
    let routes = parts.flat_map(|(site, places)| site.routes.iter().zip(places).map(move |it| (site, it)));
    let fault = |(site, (route, place)): (&Arc<Site>, (&Arc<Site>, &Range<usize>))| {
        let guarded = site.routes.iter().chain([site]).find(|part| is_led_around(route, part))?;
        let whose = guarded.route.as_ref().map_or("the site", |guarded| guarded.name.as_str());
        let message =
            format!("at the origin this leads to paths of {whose}, without what keeps clients out there");
        let help = "give this route the same `allow`, `deny` or `basic_auth`, or an `origin_path` that leads elsewhere";
        Some(Fault::new(place.clone(), message).help(help))
    };
    routes.filter_map(fault).collect()
}

/// Whether `route` asks an origin for what is guarded as a path of `part`.
fn is_led_around(route: &Site, part: &Site) -> bool {
    let Some(way) = &route.route else { return false };
    let leads_there = match &part.route {
        Some(guarded) => way.leads_into(guarded),
        // An operator who opens a folder of a guarded site means that folder.
        None => way.origin_path() == Some("/*"),
    };
    let is_same = |one: &OriginAddress, other: &OriginAddress| {
        one.authority == other.authority && one.host == other.host
    };
    let share_origin =
        || route.origins.iter().any(|one| part.origins.iter().any(|other| is_same(one, other)));
    leads_there && part.access.keeps_out() && !route.access.is_as_strict_as(&part.access) && share_origin()
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config;

    #[test]
    fn a_route_that_leads_around_what_guards_another_part_is_told() {
        let check = |site: &str, expected: Option<&str>| {
            let text = format!(
                "listen = [\"127.0.0.1:80\"]\n[[site]]\nhosts = [\"a.test\"]\norigins = [\"http://192.0.2.1\"]\n{site}"
            );
            let warnings = config::parse(&text, Path::new("/"), Path::new("edge.toml")).unwrap().warnings;
            let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), usize::from(expected.is_some()), "{site} {told:?}");
            let place = expected.unwrap_or_default();
            assert!(
                told.iter().all(|told| told.contains(place) && told.contains("keeps clients out")),
                "{told:?}"
            );
        };
        let admin = "[[site.route]]\npaths = [\"/admin/*\"]\nallow = [\"10.0.0.0/8\"]\n";
        let strips = "[[site.route]]\npaths = [\"/api/*\"]\norigin_path = \"/*\"\n";
        check(
            &format!("{admin}{strips}"),
            Some("edge.toml:10:15: warning: at the origin this leads to paths of /admin/*,"),
        );
        check(&format!("{strips}{admin}"), Some("edge.toml:7:15"));
        check(&format!("{admin}{strips}allow = [\"10.1.0.0/16\"]"), None);
        check(&format!("{admin}{strips}origins = [\"http://192.0.2.2\"]"), None);
        check(&format!("{admin}{}", strips.replace("\"/*\"", "\"/v2/*\"")), None);
        check(&admin.replace("allow", "origin_path = \"/*\"\nallow"), None);
        let office =
            "allow = [\"10.0.0.0/8\"]\n[[site.route]]\npaths = [\"/open/*\"]\nallow = [\"0.0.0.0/0\"]\n";
        check(&format!("{office}origin_path = \"/*\""), Some("paths of the site,"));
        check(&format!("{office}origin_path = \"/open/*\""), None);
    }
}
