//! The file as it is written, and how it becomes a [`Config`].

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use toml::Spanned;

use super::place::Fault;
use super::unit::{Size, Span};
use super::{
    Admin, Cache, Config, Eviction, HostPattern, Limits, LogFormat, OriginAddress, Patience, Site, Sites,
};
use crate::key::KeyRules;
use crate::policy::Rules;

pub(super) fn parse(text: &str, base: &Path) -> Result<Config, Fault> {
    let file: File = toml::from_str(text)?;
    if file.listen.get_ref().is_empty() {
        return Err(Fault::new(file.listen.span(), "at least one address to listen on is needed"));
    }
    if file.site.is_empty() {
        return Err(Fault::new(0..0, "no [[site]]: an edge needs at least one, with `hosts` and `origins`"));
    }
    Ok(Config {
        name: name(file.name)?,
        listen: file.listen.into_inner(),
        cache: cache(file.cache)?,
        sites: sites(file.site)?,
        admin: file.admin.map(|admin| Admin {
            listen: admin.listen.unwrap_or(DEFAULT_ADMIN),
            token_file: base.join(admin.token_file.as_deref().unwrap_or(DEFAULT_TOKEN_FILE)),
        }),
        limits: limits(&file.limits),
        log: file.log.format.into(),
    })
}

/// Room enough for a real site on a small machine.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;
/// Below this the shares for fills and objects are too small to hold a page.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// One object may take this part of the memory unless the file says otherwise.
const OBJECT_PART: u64 = 8;
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9301);
/// Edges that stand behind one another need names of their own, or the second takes the first's requests for a loop.
const DEFAULT_NAME: &str = "verge-edge";
const DEFAULT_TOKEN_FILE: &str = "verge-edge.token";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    listen: Spanned<Vec<SocketAddr>>,
    #[serde(default)]
    cache: CacheTable,
    #[serde(default)]
    site: Vec<SiteTable>,
    admin: Option<AdminTable>,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    log: LogTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct CacheTable {
    memory: Option<Spanned<Size>>,
    eviction: Option<EvictionName>,
    max_object: Option<Spanned<Size>>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum EvictionName {
    Lru,
    Lfu,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteTable {
    hosts: Spanned<Vec<Spanned<String>>>,
    origins: Spanned<Vec<Spanned<OriginEntry>>>,
    #[serde(default)]
    default_ttl: Option<Span>,
    #[serde(default)]
    connect_timeout: Option<Span>,
    #[serde(default)]
    first_byte_timeout: Option<Span>,
    #[serde(default)]
    between_bytes_timeout: Option<Span>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminTable {
    listen: Option<SocketAddr>,
    token_file: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    connections: Option<usize>,
    head_timeout: Option<Span>,
    stall_timeout: Option<Span>,
    head_size: Option<Size>,
    drain: Option<Span>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LogTable {
    #[serde(default)]
    format: LogName,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum LogName {
    #[default]
    Human,
    Json,
}

impl From<LogName> for LogFormat {
    fn from(name: LogName) -> Self {
        match name {
            LogName::Human => Self::Human,
            LogName::Json => Self::Json,
        }
    }
}

fn name(written: Option<Spanned<String>>) -> Result<String, Fault> {
    let Some(name) = written else { return Ok(DEFAULT_NAME.to_owned()) };
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    // Via and Cache-Status want a token that begins with a letter (RFC 9110 §5.6.2, RFC 9651 §3.3.4).
    let valid =
        name.get_ref().bytes().all(is_token) && name.get_ref().starts_with(|c: char| c.is_ascii_alphabetic());
    if !valid {
        return Err(Fault::new(name.span(), "a name is a letter, then letters, digits, `-`, `.` and `_`"));
    }
    Ok(name.into_inner())
}

fn cache(table: CacheTable) -> Result<Cache, Fault> {
    let memory_bytes = table.memory.as_ref().map_or(DEFAULT_MEMORY_BYTES, |size| size.get_ref().0);
    if let Some(size) = table.memory.filter(|size| size.get_ref().0 < MIN_MEMORY_BYTES) {
        return Err(Fault::new(size.span(), "too little memory for a cache: at least 1MiB"));
    }
    let max_object_bytes = match table.max_object {
        None => memory_bytes / OBJECT_PART,
        // A fill may hold a quarter of the memory (`store::memory`), so nothing bigger can be kept.
        Some(size) if size.get_ref().0 > memory_bytes / 4 => {
            return Err(Fault::new(size.span(), "an object may take a quarter of `memory` at most"));
        }
        Some(size) => size.get_ref().0,
    };
    let eviction = match table.eviction.unwrap_or(EvictionName::Lfu) {
        EvictionName::Lru => Eviction::Lru,
        EvictionName::Lfu => Eviction::Lfu,
    };
    Ok(Cache { memory_bytes, eviction, max_object_bytes })
}

fn limits(table: &LimitsTable) -> Limits {
    let or = |span: Option<Span>, default_s| span.map_or(Duration::from_secs(default_s), |span| span.0);
    Limits {
        connections: table.connections.unwrap_or(10_000).max(1),
        head_timeout: or(table.head_timeout, 30),
        stall_timeout: or(table.stall_timeout, 60),
        // hyper refuses a buffer below 8 KiB; origins commonly take 8 to 16 KiB.
        head_bytes: usize::try_from(table.head_size.map_or(16 << 10, |size| size.0))
            .unwrap_or(usize::MAX)
            .max(8 << 10),
        drain: or(table.drain, 30),
    }
}

fn sites(tables: Vec<SiteTable>) -> Result<Sites, Fault> {
    let mut claimed = HashMap::new();
    let sites = tables.into_iter().map(|table| site(table, &mut claimed)).collect::<Result<_, _>>()?;
    Ok(Sites::new(sites))
}

fn site(table: SiteTable, claimed: &mut HashMap<HostPattern, Range<usize>>) -> Result<Site, Fault> {
    let hosts = hosts(table.hosts, claimed)?;
    let name = hosts.first().expect("hosts() gives at least one").to_string();
    let or = |span: Option<Span>, default_s| span.map_or(Duration::from_secs(default_s), |span| span.0);
    Ok(Site {
        name,
        hosts,
        origins: origins(table.origins)?,
        rules: Rules { default_ttl_secs: or(table.default_ttl, 0).as_secs(), ..Rules::default() },
        key: KeyRules::default(),
        patience: Patience {
            connect: or(table.connect_timeout, 5),
            first_byte: or(table.first_byte_timeout, 60),
            between_bytes: or(table.between_bytes_timeout, 60),
        },
    })
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

fn origins(written: Spanned<Vec<Spanned<OriginEntry>>>) -> Result<Vec<OriginAddress>, Fault> {
    if written.get_ref().is_empty() {
        return Err(Fault::new(
            written.span(),
            "a site needs at least one origin such as \"http://127.0.0.1:8000\"",
        ));
    }
    written.into_inner().into_iter().map(origin).collect()
}

fn origin(written: Spanned<OriginEntry>) -> Result<OriginAddress, Fault> {
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
    Ok(OriginAddress { authority: format!("{}:{port}", authority.host()), host })
}
