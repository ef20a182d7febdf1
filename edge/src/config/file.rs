//! The file as it is written, and how it becomes a [`Config`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use super::access_log::{AccessTable, access_log};
use super::admin::AdminTable;
use super::chosen::chosen;
use super::disk::DiskTables;
use super::doubts;
use super::guard::GuardTable;
use super::head;
use super::networks::{networks, trusted};
use super::place::Fault;
use super::settings::SiteTable;
use super::site;
use super::stream::{self, StreamTable};
use super::tls::{self, TlsTable};
use super::unit::{Size, Span};
use super::{Cache, Config, LEVEL_HELP, Level, Log, LogFormat, Places, Tls, Written};
use crate::pace;
use crate::serve::{Introducers, Limits};
use crate::site::tags::TagFields;
use crate::store::{Bounds, Eviction};

/// A config and what it probably does not mean.
pub(super) struct Parsed {
    pub(super) config: Config,
    pub(super) warnings: Vec<Fault>,
}

/// `machine_bytes` is the memory of the machine that it is for, if that is known.
pub(super) fn parse(text: &str, base: &Path, machine_bytes: Option<u64>) -> Result<Parsed, Fault> {
    let file: File = toml::from_str(text).map_err(|error| Fault::of_reader(&error, text))?;
    let has_others = file.listen_tls.is_some() || file.listen_quic.is_some();
    let is_for_streams = file.site.is_empty() && !file.stream.is_empty();
    let listen = listen(file.listen, has_others || is_for_streams)?;
    let mut warnings = Vec::new();
    warnings.extend(file.cache.beyond(machine_bytes));
    warnings.extend(file.admin.as_ref().and_then(AdminTable::open_to_others));
    let mut trusted_proxies = trusted(&file.trusted_proxies)?;
    let children = trusted(&file.children)?;
    let introducers = trusted(&file.proxy_protocol)?;
    let introduced_at = file.proxy_protocol_listen;
    let health_from = file.health_from.as_deref().map(networks).transpose()?;
    if file.site.is_empty() && !is_for_streams {
        return Err(Fault::new(
            0..0,
            "no [[site]]: an edge needs at least one, with `hosts` and `origins`, or a [[stream]]",
        ));
    }
    let cache = cache(file.cache, base, machine_bytes)?;
    let mut named_files: Vec<PathBuf> = file.site.iter().flat_map(|site| site.files(base)).collect();
    warnings.extend(file.site.iter().flat_map(|site| doubts::unreachable(&site.route)));
    if trusted_proxies.is_empty() && listen.iter().any(|address| !address.ip().is_loopback()) {
        warnings.extend(file.site.iter().flat_map(doubts::clear_passwords));
    }
    // An edge tells of its clients what any proxy does.
    trusted_proxies.extend(children.iter().copied());
    warnings.extend(file.site.iter().flat_map(|site| doubts::nameless(file.name.is_some(), site)));
    let origin_paths = doubts::origin_paths(&file.site);
    let (sites, redirects) = site::sites(file.site, &cache, base)?;
    warnings.extend(doubts::redirects(&sites, &redirects)?);
    warnings.extend(doubts::around_guards(&sites, &origin_paths));
    let tls = tls::tls(file.listen_tls, file.listen_quic, file.tls, base)?;
    let proxy_protocol = proxy_protocol(introducers, introduced_at.as_ref(), &listen, tls.as_ref())?;
    named_files.extend(tls.iter().filter_map(|tls| Some(tls.clients.as_ref()?.ca.clone())));
    let config = Config {
        name: name(file.name)?,
        listen,
        tls,
        trusted_proxies,
        children,
        health_from,
        proxy_protocol,
        cache,
        sites,
        streams: stream::streams(file.stream, base)?,
        admin: file.admin.map(|admin| admin.admin(base)).transpose()?,
        guard: file.guard.map(|guard| guard.mark()).transpose()?,
        limits: limits(&file.limits, file.title_case)?,
        log: log(file.log, base)?,
        warnings: Vec::new(),
        written: Written::default(),
        places: Places::default(),
        file: None,
        run_folder: file.run_folder.map(|folder| base.join(folder)),
        named_files,
        read_since: None,
        follow_files: file.follow_files,
    };
    Ok(Parsed { config, warnings })
}

/// An edge may listen over TLS alone.
fn listen(written: Option<Spanned<Vec<SocketAddr>>>, has_tls: bool) -> Result<Vec<SocketAddr>, Fault> {
    let example = "listen = [\"0.0.0.0:80\"]";
    match written {
        Some(listen) if listen.get_ref().is_empty() && !has_tls => {
            Err(Fault::new(listen.span(), "at least one address to listen on is needed")
                .help(format!("write {example}")))
        }
        Some(listen) => Ok(listen.into_inner()),
        None if has_tls => Ok(Vec::new()),
        None => Err(Fault::new(0..0, "`listen` is missing").help(format!("write it, such as: {example}"))),
    }
}

/// The proxies that introduce their clients, and where.
fn proxy_protocol(
    networks: Vec<IpNet>,
    at: Option<&Spanned<Vec<Spanned<SocketAddr>>>>,
    listen: &[SocketAddr],
    tls: Option<&Tls>,
) -> Result<Introducers, Fault> {
    if let Some(at) = at.filter(|_| networks.is_empty()) {
        let fault = Fault::new(at.span(), "`proxy_protocol_listen` is for no proxy");
        return Err(fault.help("write `proxy_protocol` too, the addresses of the proxies: [\"10.0.0.5\"]"));
    }
    let over_tls = tls.map_or(&[][..], |tls| &tls.listen);
    let at = chosen(at, &[("listen", listen), ("listen_tls", over_tls)])?;
    Ok(Introducers { networks, at })
}

/// Room enough for a real site on a small machine.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;
/// Below this the shares for fills and objects are too small to hold a page.
const MIN_MEMORY_BYTES: u64 = 1 << 20;
/// One object may take this part of the memory unless the file says otherwise.
const OBJECT_PART: u64 = 8;
/// The rate that http.sys and Kestrel ask for: a tenth of a modem.
const DEFAULT_MIN_RATE_BYTES: u64 = 240;
/// Edges that stand behind one another need names of their own, or the second takes the first's requests for a loop.
const DEFAULT_NAME: &str = "verge-edge";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    run_folder: Option<String>,
    #[serde(default)]
    follow_files: bool,
    listen: Option<Spanned<Vec<SocketAddr>>>,
    listen_tls: Option<Spanned<Vec<SocketAddr>>>,
    listen_quic: Option<Spanned<Vec<SocketAddr>>>,
    tls: Option<Spanned<TlsTable>>,
    #[serde(default)]
    trusted_proxies: Vec<Spanned<String>>,
    #[serde(default)]
    children: Vec<Spanned<String>>,
    health_from: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    proxy_protocol: Vec<Spanned<String>>,
    proxy_protocol_listen: Option<Spanned<Vec<Spanned<SocketAddr>>>>,
    #[serde(default)]
    title_case: bool,
    #[serde(default)]
    cache: CacheTable,
    #[serde(default)]
    site: Vec<SiteTable>,
    #[serde(default)]
    stream: Vec<StreamTable>,
    admin: Option<AdminTable>,
    guard: Option<GuardTable>,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    log: LogTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct CacheTable {
    memory: Option<Spanned<Size>>,
    memory_target: Option<Size>,
    eviction: Option<EvictionName>,
    max_object: Option<Spanned<Size>>,
    tag_fields: Option<Vec<Spanned<String>>>,
    disk: Option<DiskTables>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum EvictionName {
    #[serde(rename = "s3-fifo")]
    S3Fifo,
    Lru,
    Lfu,
}

impl CacheTable {
    fn beyond(&self, machine_bytes: Option<u64>) -> Option<Fault> {
        let (memory, machine) = (self.memory.as_ref()?, machine_bytes?);
        (memory.get_ref().0 > machine).then(|| {
            let message = format!("more memory than this machine has for a program, {} MiB", machine >> 20);
            Fault::new(memory.span(), message)
                .help("the kernel would end verge-edge once the cache is full; see the formula in edge/reference.toml")
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    connections: Option<usize>,
    connections_per_network: Option<usize>,
    bytes_in_flight: Option<Spanned<Size>>,
    handshakes: Option<usize>,
    handshakes_per_network: Option<usize>,
    upgrades: Option<usize>,
    head_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    stall_timeout: Option<Span>,
    min_rate: Option<Size>,
    head_size: Option<Size>,
    target_size: Option<Spanned<Size>>,
    fields: Option<Spanned<usize>>,
    drain: Option<Span>,
    drain_delay: Option<Span>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LogTable {
    #[serde(default)]
    format: LogName,
    level: Option<Spanned<String>>,
    #[serde(default)]
    access: AccessTable,
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

fn log(table: LogTable, base: &Path) -> Result<Log, Fault> {
    let level = match table.level {
        None => Level::default(),
        Some(text) => Level::parse(text.get_ref())
            .map_err(|error| Fault::new(text.span(), format!("{error}: {LEVEL_HELP}")))?,
    };
    Ok(Log { format: table.format.into(), level, access: access_log(table.access, base)? })
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

fn cache(table: CacheTable, base: &Path, machine_bytes: Option<u64>) -> Result<Cache, Fault> {
    let memory_bytes = table.memory.as_ref().map_or(DEFAULT_MEMORY_BYTES, |size| size.get_ref().0);
    if let Some(size) = table.memory.filter(|size| size.get_ref().0 < MIN_MEMORY_BYTES) {
        return Err(Fault::new(size.span(), "too little memory for a cache: at least 1MiB"));
    }
    let eviction = match table.eviction.unwrap_or(EvictionName::S3Fifo) {
        EvictionName::S3Fifo => Eviction::S3Fifo,
        EvictionName::Lru => Eviction::Lru,
        EvictionName::Lfu => Eviction::Lfu,
    };
    let tag_fields = match &table.tag_fields {
        None => TagFields::default(),
        Some(names) => TagFields::new(names.iter().map(super::rules::tag_field).collect::<Result<_, _>>()?),
    };
    // The rest is for the kernel and for what runs beside the edge.
    let of_machine = machine_bytes.map(|bytes| bytes / 10 * 9);
    let memory_target_bytes = table.memory_target.map(|Size(bytes)| bytes).or(of_machine);
    let disks = table.disk.map_or_else(|| Ok(Vec::new()), |disks| disks.settings(base))?;
    let max_object_bytes = match table.max_object {
        None => disks.iter().map(|disk| disk.bytes).chain([memory_bytes]).max().unwrap_or(0) / OBJECT_PART,
        Some(size) => site::object_bytes(&size, memory_bytes, &disks)?,
    };
    Ok(Cache {
        bounds: Bounds { memory_bytes, eviction, tag_fields },
        disks,
        max_object_bytes,
        memory_target_bytes,
    })
}

/// Less than one usual answer would say that the edge is always full.
const LEAST_IN_FLIGHT_BYTES: u64 = 1 << 20;

fn bytes_in_flight(written: &Spanned<Size>) -> Result<u64, Fault> {
    match written.get_ref().0 {
        bytes @ LEAST_IN_FLIGHT_BYTES.. => Ok(bytes),
        _ => Err(Fault::new(written.span(), "fewer bytes than one answer may have")
            .help("write at least \"1MiB\", such as what the uplink carries in some seconds: \"2GiB\"")),
    }
}

fn limits(table: &LimitsTable, title_case: bool) -> Result<Limits, Fault> {
    let or = |span: Option<Span>, default_s| span.map_or(Duration::from_secs(default_s), |span| span.0);
    Ok(Limits {
        connections: table.connections.unwrap_or(10_000).max(1),
        connections_per_network: table.connections_per_network.unwrap_or(1_000).max(1),
        bytes_in_flight: table.bytes_in_flight.as_ref().map(bytes_in_flight).transpose()?,
        handshakes: table.handshakes.unwrap_or(1_000).max(1),
        handshakes_per_network: table.handshakes_per_network.unwrap_or(100).max(1),
        upgrades: table.upgrades.unwrap_or(4_000),
        head_timeout: or(table.head_timeout, 30),
        // Longer than the 60 s of common load balancers, which else send a request into our close.
        idle_timeout: or(table.idle_timeout, 75),
        pace: pace::Rule {
            stall_timeout: or(table.stall_timeout, 60),
            min_rate_bytes: table.min_rate.map_or(DEFAULT_MIN_RATE_BYTES, |size| size.0),
        },
        head: head::head(table.head_size, table.target_size.as_ref(), table.fields.as_ref())?,
        title_case,
        drain: or(table.drain, 30),
        drain_delay: or(table.drain_delay, 0),
    })
}
