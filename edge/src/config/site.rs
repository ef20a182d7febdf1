//! One `[[site]]`: its names, its origins and its rules.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Uri};
use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::doubts;
use super::file::object_bytes;
use super::place::Fault;
use super::rules::{self, FieldsTable, KeyTable, RedirectTable, TtlTable};
use super::signed;
use super::unit::{Size, Span};
use super::{Cache, HostPattern, OriginAddress, Patience, Site, Sites};
use crate::site::reach::Reach;
use crate::site::{Rules, SiteName};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteTable {
    hosts: Spanned<Vec<Spanned<String>>>,
    origins: Spanned<Vec<Spanned<OriginEntry>>>,
    #[serde(default)]
    origin_networks: Vec<Spanned<String>>,
    pub(super) default_ttl: Option<Span>,
    pub(super) negative_ttl: Option<Span>,
    pub(super) max_error_ttl: Option<Span>,
    pub(super) heuristic: Option<Spanned<String>>,
    pub(super) heuristic_max: Option<Span>,
    pub(super) max_ttl: Option<Span>,
    pub(super) stale_while_revalidate: Option<Span>,
    pub(super) stale_if_error: Option<Span>,
    pub(super) stale_on_disconnect: Option<Span>,
    pub(super) client_control: Option<rules::ClientControlName>,
    pub(super) set_cookie: Option<rules::SetCookieName>,
    pub(super) s_maxage: Option<rules::SMaxageName>,
    #[serde(default)]
    pub(super) bypass: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) bypass_cookies: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) bypass_headers: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) bypass_query: Vec<Spanned<String>>,
    pub(super) keep_cookies: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) drop_cookies: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    signed_paths: Vec<Spanned<String>>,
    #[serde(default)]
    signing_keys: Vec<Spanned<String>>,
    pub(super) targeted: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) allow_fields: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) ttl: Vec<TtlTable>,
    max_object: Option<Spanned<Size>>,
    #[serde(default)]
    compress: Vec<rules::CodingName>,
    #[serde(default)]
    forward_tags: bool,
    #[serde(default)]
    key: KeyTable,
    #[serde(default)]
    request: FieldsTable,
    #[serde(default)]
    response: FieldsTable,
    #[serde(default)]
    redirect: Vec<RedirectTable>,
    #[serde(default = "yes")]
    upgrades: bool,
    upgrade_idle_timeout: Option<Span>,
    #[serde(default)]
    purge_from: Vec<Spanned<String>>,
    connect_timeout: Option<Span>,
    first_byte_timeout: Option<Span>,
    between_bytes_timeout: Option<Span>,
    origin_idle_timeout: Option<Span>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "an origin is \"http://host:port\" or { url = \"http://host:port\", host = \"…\" }"
)]
enum OriginEntry {
    Url(String),
    Table(OriginTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OriginTable {
    url: String,
    host: Option<String>,
}

/// Where the targets of redirects stand in the text, by site.
pub(super) type Targets = Vec<Vec<Range<usize>>>;

/// The sites, and for each of them the places of its redirects' targets.
pub(super) fn sites(tables: Vec<SiteTable>, cache: &Cache, base: &Path) -> Result<(Sites, Targets), Fault> {
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
    let rules = rules::rules(&table)?;
    let ends_here = ends_here(&rules, if table.forward_tags { &[] } else { cache.tag_fields.names() });
    let max_object_bytes = match &table.max_object {
        Some(size) => object_bytes(size, cache.memory_bytes)?,
        None => cache.max_object_bytes,
    };
    let hosts = hosts(table.hosts, claimed)?;
    let first = hosts.first().expect("hosts() gives at least one");
    let name = SiteName::from(first.to_string().as_str());
    let or = |span: Option<Span>, default_s| span.map_or(Duration::from_secs(default_s), |span| span.0);
    Ok(Site {
        name,
        hosts,
        origins: origins(table.origins, &networks(&table.origin_networks)?)?,
        key: rules::key(table.key, &rules)?,
        rules,
        max_object_bytes,
        compress: table.compress.into_iter().map(Into::into).collect(),
        ends_here,
        signed: signed::signed(&table.signed_paths, &table.signing_keys, base)?,
        request_fields: rules::fields(table.request)?,
        response_fields: rules::fields(table.response)?,
        purge_from: doubts::trusted(&table.purge_from)?,
        redirects: table.redirect.into_iter().map(rules::redirect).collect::<Result<_, _>>()?,
        upgrade_idle: table.upgrades.then(|| or(table.upgrade_idle_timeout, 600)),
        patience: Patience {
            connect: or(table.connect_timeout, 5),
            first_byte: or(table.first_byte_timeout, 60),
            between_bytes: or(table.between_bytes_timeout, 60),
            idle: table.origin_idle_timeout.map_or(DEFAULT_ORIGIN_IDLE, |span| span.0),
        },
    })
}

fn yes() -> bool {
    true
}

/// gunicorn closes idle connections after 2 s, Node and Apache after 5 s. Ours must be the shorter time.
const DEFAULT_ORIGIN_IDLE: Duration = Duration::from_millis(1500);

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

pub(super) fn networks(written: &[Spanned<String>]) -> Result<Vec<IpNet>, Fault> {
    let network = |text: &Spanned<String>| {
        let address = || text.get_ref().parse::<IpAddr>().map(IpNet::from);
        text.get_ref().parse().or_else(|_| address()).map_err(|_| {
            let message = "not a network: write \"10.0.0.0/8\", \"fd00::/8\", or one address";
            Fault::new(text.span(), message)
        })
    };
    written.iter().map(network).collect()
}

fn origins(
    written: Spanned<Vec<Spanned<OriginEntry>>>,
    networks: &[IpNet],
) -> Result<Vec<OriginAddress>, Fault> {
    if written.get_ref().is_empty() {
        return Err(Fault::new(
            written.span(),
            "a site needs at least one origin such as \"http://127.0.0.1:8000\"",
        ));
    }
    written.into_inner().into_iter().map(|written| origin(written, networks)).collect()
}

fn origin(written: Spanned<OriginEntry>, networks: &[IpNet]) -> Result<OriginAddress, Fault> {
    let span = written.span();
    let (url, host) = match written.into_inner() {
        OriginEntry::Url(url) => (url, None),
        OriginEntry::Table(OriginTable { url, host }) => (url, host),
    };
    let wrong = |message: &str| Fault::new(span.clone(), format!("{message}: write \"http://host:port\""));
    let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong("origins are reached by plain HTTP"));
    }
    if uri.path_and_query().is_some_and(|path| path != "/") {
        return Err(wrong("an origin has no path, requests keep theirs"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("no host in the URL"))?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(wrong("not a host and port"));
    }
    let port = authority.port_u16().unwrap_or(80);
    let reach = Reach::of(authority.host(), networks);
    Ok(OriginAddress { authority: format!("{}:{port}", authority.host()), host, reach })
}
