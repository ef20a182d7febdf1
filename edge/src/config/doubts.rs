//! Correct settings that nobody can mean: everybody is a trusted proxy, a redirect leads to itself, no request reaches
//! a route.

use std::net::Ipv4Addr;

use http::Uri;
use ipnet::IpNet;
use toml::Spanned;

use super::place::Fault;
use super::settings::RouteTable;
use super::{Site, Sites, site};
use crate::site::pattern::PathPattern;

/// A network with a shorter prefix belongs to nobody: the biggest private ones are 10.0.0.0/8 and fc00::/7.
const LEAST_PREFIX_V4: u8 = 8;
const LEAST_PREFIX_V6: u8 = 7;

/// Networks whose word is taken: of proxies on their clients, of a CMS on what is to go.
pub(super) fn trusted(written: &[Spanned<String>]) -> Result<Vec<IpNet>, Fault> {
    let networks = site::networks(written)?;
    for (network, text) in networks.iter().zip(written) {
        if is_everybody(network) {
            let message = format!("{network} would make strangers trusted");
            let help = "anybody's word would be taken; write the addresses of your own machines, such as \"10.0.1.0/24\"";
            return Err(Fault::new(text.span(), message).help(help));
        }
    }
    Ok(networks)
}

fn is_everybody(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < LEAST_PREFIX_V4,
        IpNet::V6(network) => {
            // ::ffff:0:0/96 is IPv4 in other words.
            let in_mapped = network.prefix_len().checked_sub(96).zip(network.network().to_ipv4_mapped());
            let holds_mapped = network.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
            match in_mapped {
                Some((length, _)) => length < LEAST_PREFIX_V4,
                None => network.prefix_len() < LEAST_PREFIX_V6 || holds_mapped,
            }
        }
    }
}

/// Refuses a redirect that leads to itself; gives a warning for one that does over https only: another server may have
/// that. `targets` are the places of the redirects' targets, by site.
pub(super) fn redirects(sites: &Sites, targets: &site::Targets) -> Result<Vec<Fault>, Fault> {
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
