//! One `[[site]]`: its names, its origins and its rules.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use toml::Spanned;

use super::Cache;
use super::access;
use super::doubts::Places;
use super::guard;
use super::health;
use super::networks::trusted;
use super::origins::{self, Written};
use super::pages;
use super::place::Fault;
use super::rules;
use super::settings::{OfRoute, RouteTable, Settings, SiteTable};
use super::signed;
use super::tables::RedirectTable;
use super::unit::{Size, Span};
use crate::site::route::{self, Route};
use crate::site::signed::Signed;
use crate::site::{HostPattern, Rules, Site, SiteName, Sites};

/// The sites, and for each of them the places of its redirects' targets.
pub(super) fn sites(tables: Vec<SiteTable>, cache: &Cache, base: &Path) -> Result<(Sites, Places), Fault> {
    let mut claimed = HashMap::new();
    let redirects = |table: &SiteTable| table.redirect.iter().map(RedirectTable::target).collect();
    let targets = tables.iter().map(redirects).collect();
    let sites =
        tables.into_iter().map(|table| site(table, cache, base, &mut claimed)).collect::<Result<_, _>>()?;
    Ok((Sites::new(sites), targets))
}

fn site(
    table: SiteTable,
    cache: &Cache,
    base: &Path,
    claimed: &mut HashMap<HostPattern, Range<usize>>,
) -> Result<Site, Fault> {
    let (own, settings) = table.parts();
    let hosts = hosts(own.hosts, claimed)?;
    let first = hosts.first().expect("hosts() gives at least one");
    let name = SiteName::from(first.to_string().as_str());
    let site = Site {
        signed: signed::signed(&own.signed_paths, &own.signing_keys, base)?,
        purge_from: trusted(&own.purge_from)?,
        redirects: own.redirect.into_iter().map(rules::redirect).collect::<Result<_, _>>()?,
        ..settled((name, hosts), &settings, own.origins.clone(), (cache, base))?
    };
    let route = |table| route(table, (&site, &settings, &own.origins), (cache, base)).map(Arc::new);
    let routes = own.route.into_iter().map(route).collect::<Result<_, _>>()?;
    Ok(Site { routes, ..site })
}

/// A site as it is for the paths of one of its routes.
fn route(
    table: RouteTable,
    (site, settings, origins): (&Site, &Settings, &Written),
    place: (&Cache, &Path),
) -> Result<Site, Fault> {
    let (own, settings) = table.parts(settings);
    let (request, response) = (settings.request.clone(), settings.response.clone());
    let route = paths_of(&own)?;
    let origins = own.origins.unwrap_or_else(|| origins.clone());
    let changed = settled((site.name.clone(), site.hosts.clone()), &settings, origins, place)?;
    Ok(Site {
        signed: site.signed.clone(),
        purge_from: site.purge_from.clone(),
        redirects: site.redirects.clone(),
        request_fields: rules::fields(request.unwrap_or_default())?.over(&site.request_fields),
        response_fields: rules::fields(response.unwrap_or_default())?.over(&site.response_fields),
        route: Some(route),
        ..changed
    })
}

fn paths_of(own: &OfRoute) -> Result<Route, Fault> {
    for path in own.paths.get_ref() {
        rules::pattern(path)?;
    }
    let there = |written: &Spanned<String>| {
        route::origin_path(written.get_ref()).ok_or_else(|| {
            let message =
                "where to is a path with one `*` at most, behind a `/`: \"/*\", \"/v2/*\", \"/index.html\"";
            Fault::new(written.span(), message)
        })
    };
    let origin_path = own.origin_path.as_ref().map(there).transpose()?;
    if origin_path.as_ref().is_some_and(|path| path.contains('*'))
        && let Some(path) = own.paths.get_ref().iter().find(|path| !route::ends_in_segments(path.get_ref()))
    {
        let message = "`*` of `origin_path` stands for what is behind the last `/` here: end it with `/*`";
        return Err(Fault::new(path.span(), message));
    }
    let written: Vec<&str> = own.paths.get_ref().iter().map(|path| path.get_ref().as_str()).collect();
    let none = || Fault::new(own.paths.span(), "a route needs at least one path, such as \"/api/*\"");
    Route::new(&written, origin_path).ok_or_else(none)
}

/// A site by its settings, without the keys that only a site has.
fn settled(
    (name, hosts): (SiteName, Vec<HostPattern>),
    settings: &Settings,
    origins: Written,
    (cache, base): (&Cache, &Path),
) -> Result<Site, Fault> {
    let rules = rules::rules(settings)?;
    let tags = if settings.forward_tags == Some(true) { &[] } else { cache.bounds.tag_fields.names() };
    let ends_here = ends_here(&rules, tags);
    let max_object_bytes = match &settings.max_object {
        Some(size) => object_bytes(size, cache.bounds.memory_bytes, &cache.disks)?,
        None => cache.max_object_bytes,
    };
    let or = |span: Option<Span>, default_s| span.map_or(Duration::from_secs(default_s), |span| span.0);
    let origins = origins::origins(origins, settings, base)?;
    let canary = guard::canary(settings, base)?;
    Ok(Site {
        hosts,
        own_names: origins::own_names(settings, &origins, canary.as_ref())?,
        origins,
        canary,
        sticky: health::sticky(settings)?,
        parents: origins::parents(settings, base)?,
        key: rules::key(settings.key.clone().unwrap_or_default(), &rules)?,
        rules,
        max_object_bytes,
        compress: rules::offer(settings)?,
        dictionaries: rules::dictionaries(settings)?,
        early_hints: settings.early_hints.unwrap_or(true),
        query_bytes: settings.query_body.map_or(DEFAULT_QUERY_BYTES, |size| size.0),
        buffer_bytes: settings.buffer_requests.map_or(0, |size| size.0),
        ends_here,
        signed: Signed::default(),
        request_fields: rules::fields(settings.request.clone().unwrap_or_default())?,
        response_fields: rules::fields(settings.response.clone().unwrap_or_default())?,
        purge_from: Vec::new(),
        redirects: Vec::new(),
        https_only: settings.https_only.map(|span| span.0),
        upgrade_idle: settings.upgrades.unwrap_or(true).then(|| or(settings.upgrade_idle_timeout, 600)),
        patience: origins::patience(settings),
        sharing: health::sharing(settings)?,
        access: access::access(settings, name.as_str(), base)?,
        name,
        pages: pages::pages(settings, base)?,
        maintenance: pages::maintenance(settings)?,
        settings: Vec::new(),
        route: None,
        routes: Vec::new(),
    })
}

/// Longer than questions that people write.
const DEFAULT_QUERY_BYTES: u64 = 64 << 10;
/// RFC 9213 §3.1 has CDN-Cache-Control for every CDN on the way; a site's other targeted fields are for this cache.
fn ends_here(rules: &Rules, tags: &[HeaderName]) -> Vec<HeaderName> {
    let targeted = rules.targeted.iter().filter(|name| *name != "cdn-cache-control");
    targeted.chain(tags).cloned().collect()
}

fn hosts(
    written: Spanned<Vec<Spanned<String>>>,
    claimed: &mut HashMap<HostPattern, Range<usize>>,
) -> Result<Vec<HostPattern>, Fault> {
    if written.get_ref().is_empty() {
        return Err(Fault::new(written.span(), "a site needs at least one host; \"*\" takes every name"));
    }
    written.into_inner().into_iter().map(|host| claim(&host, claimed)).collect()
}

fn claim(
    host: &Spanned<String>,
    claimed: &mut HashMap<HostPattern, Range<usize>>,
) -> Result<HostPattern, Fault> {
    let pattern = HostPattern::parse(host.get_ref()).ok_or_else(|| {
        Fault::new(
            host.span(),
            "not a host name: write \"example.com\", \"*.example.com\" or \"*\", without a port",
        )
    })?;
    match claimed.insert(pattern.clone(), host.span()) {
        None => Ok(pattern),
        Some(_) => Err(Fault::new(host.span(), format!("the host `{pattern}` is claimed twice"))),
    }
}

/// A fill may hold a quarter of the memory (`store::memory`), so nothing bigger can be kept.
pub(super) fn object_bytes(
    size: &Spanned<Size>,
    memory_bytes: u64,
    disks: &[crate::store::disk::Settings],
) -> Result<u64, Fault> {
    let largest = disks.iter().map(|disk| disk.bytes).max();
    match (size.get_ref().0, largest) {
        (bytes, _) if bytes <= memory_bytes / 4 => Ok(bytes),
        (bytes, Some(most)) if bytes <= most / 2 => Ok(bytes),
        (_, None) => Err(Fault::new(size.span(), "an object may take a quarter of `memory` at most")),
        (_, Some(_)) => Err(Fault::new(size.span(), "an object may take half of the largest disk at most")),
    }
}
