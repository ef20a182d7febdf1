//! The operator's config, parsed into types that cannot be wrong.
//!
//! `load` reads a file, `parse` takes its text; both give a [`Config`] whose every value is checked, or a
//! [`ConfigError`] that points at the line. Paths in the file are relative to the file.
//!
//! Every key with its default stands in `edge/reference.toml`.
//!
//! Invariant: nothing outside this module reads TOML or re-checks a value that came from it.

mod access;
mod advice;
mod doubts;
mod file;
mod host;
mod level;
mod machine;
mod pages;
mod partial;
mod place;
mod rules;
mod settings;
mod signed;
mod site;
#[cfg(test)]
mod tests;
mod tls;
mod unit;
mod written;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use host::{HostPattern, Sites};
use http::uri::PathAndQuery;
use http::{HeaderName, Uri};
use ipnet::IpNet;
pub use level::{LEVEL_HELP, Level};
pub use place::{ConfigError, Warning};
pub use tls::Tls;
pub use written::{Change, Written};

use crate::http::head::HeadLimits;
use crate::pace;
use crate::policy::encoding::Coding;
use crate::site::access::Access;
use crate::site::key::KeyRules;
use crate::site::own_names::OwnNames;
use crate::site::pages::{Maintenance, Pages};
use crate::site::reach::Reach;
use crate::site::rewrite::{FieldRules, Redirect};
use crate::site::route::{self, Route};
use crate::site::signed::Signed;
use crate::site::tags::TagFields;
use crate::site::{Rules, SiteName};

/// Everything one edge needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// This edge's name in `Via`, `Cache-Status`, `Proxy-Status` and `CDN-Loop`.
    pub name: String,
    /// Public listeners, HTTP/1.1. Port 0 takes a free port.
    pub listen: Vec<SocketAddr>,
    /// Public listeners over TLS, and what these show; none if the file has no `listen_tls`.
    pub tls: Option<Tls>,
    /// Peers that say who their clients are, and over which scheme these asked.
    pub trusted_proxies: Vec<IpNet>,
    /// The memory store.
    pub cache: Cache,
    /// The sites and which host names are theirs.
    pub sites: Sites,
    /// The operator's listener; none if the file has no `[admin]`.
    pub admin: Option<Admin>,
    /// The limits that a client is held to.
    pub limits: Limits,
    /// How the program tells what it does.
    pub log: Log,
    /// Settings in the file that the operator probably does not mean.
    pub warnings: Vec<Warning>,
    /// As it was written, to tell what a reload changes.
    pub written: Written,
    /// The file that it was read from.
    pub file: Option<PathBuf>,
}

/// The memory store's bounds.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Bytes for heads, keys, bodies and the buffers of fills under way.
    pub memory_bytes: u64,
    /// Which object leaves when the memory is full.
    pub eviction: Eviction,
    /// A bigger response is streamed and not kept.
    pub max_object_bytes: u64,
    /// The fields of responses that hold the tags by which they are purged.
    pub tag_fields: TagFields,
}

/// Which object leaves when the memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The one that was not asked for the longest time.
    Lru,
    /// TinyLFU: a newcomer must be asked more often than the one it would replace.
    Lfu,
}

/// One site: its names, its origins and its rules.
#[derive(Debug, Clone)]
pub struct Site {
    /// The first of its hosts: its stored responses, its purges and its counters go by it.
    pub name: SiteName,
    /// The names it answers to.
    pub hosts: Vec<HostPattern>,
    /// At least one.
    pub origins: Vec<OriginAddress>,
    /// The names by which they know themselves, which are put right in responses.
    pub own_names: OwnNames,
    /// What HTTP and the operator allow.
    pub rules: Rules,
    /// The rules by which two requests are the same.
    pub key: KeyRules,
    /// A bigger response is streamed and not kept.
    pub max_object_bytes: u64,
    /// Into which codings text is put while it is stored, the liked best first; none: it stays as it came.
    pub compress: Vec<Coding>,
    /// The fields of responses that are for this cache, and that its clients do not see: tags, and targeted fields.
    pub ends_here: Vec<HeaderName>,
    /// Which paths need a signature.
    pub signed: Signed,
    /// Changes to a request before anything else looks at it.
    pub request_fields: FieldRules,
    /// Changes to a response after everything else.
    pub response_fields: FieldRules,
    /// Redirects answered without a look into the store; the first match wins.
    pub redirects: Vec<Redirect>,
    /// How long nothing may pass on a connection that changed protocols; none: `Upgrade` is ignored.
    pub upgrade_idle: Option<Duration>,
    /// Whose PURGE and BAN requests are obeyed.
    pub purge_from: Vec<IpNet>,
    /// How long an origin may take.
    pub patience: Patience,
    /// Who may ask, how often and how much.
    pub access: Access,
    /// Own pages in the place of errors.
    pub pages: Pages,
    /// Whether it is being worked on.
    pub maintenance: Maintenance,
    /// The part of a site that this is, if it is one.
    pub route: Option<Route>,
    /// The site as it is for the paths of each of its routes; the first that has a path counts.
    pub routes: Vec<Arc<Site>>,
}

impl Site {
    /// The path and query that an origin is asked for.
    #[must_use]
    pub fn target(&self, uri: &Uri) -> PathAndQuery {
        route::target(uri, self.route.as_ref())
    }
}

/// Where an origin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginAddress {
    /// `host:port`, as it is dialled.
    pub authority: String,
    /// Sent as Host instead of what the client asked for.
    pub host: Option<String>,
    /// The addresses that it may be at.
    pub reach: Reach,
}

/// How long an origin may take before a request to it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until the TCP connection is up.
    pub connect: Duration,
    /// From the request to the response's head.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub between_bytes: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
}

/// The operator's listener.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Loopback unless the operator says otherwise.
    pub listen: SocketAddr,
    /// Holds the token that purge asks for; made with mode 0600 if absent.
    pub token_file: PathBuf,
    /// As many purges at once, and then as many a minute.
    pub purges_per_minute: NonZeroU32,
    /// Names by which it may be asked without the token, beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// The limits that a client is held to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Client connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// A request's head must be complete within this.
    pub head_timeout: Duration,
    /// Between two requests on a connection.
    pub idle_timeout: Duration,
    /// How slow a client may be.
    pub pace: pace::Rule,
    /// Of them, those from one IPv4 address or IPv6 /56.
    pub connections_per_network: usize,
    /// Connections that may have changed protocols at once.
    pub upgrades: usize,
    /// A request's head.
    pub head: HeadLimits,
    /// Requests in flight have this long to end once the program is asked to stop.
    pub drain: Duration,
}

/// How the program tells what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The shape of a line.
    pub format: LogFormat,
    /// The events to log, unless the variable RUST_LOG says otherwise.
    pub level: Level,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines to read.
    Human,
    /// One JSON object a line.
    Json,
}

/// Reads and checks a config file.
///
/// # Errors
/// When the file cannot be read, or says something that is not allowed; the error names the place.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let config = checked(&read(path)?, base_of(path), path, machine::memory_bytes())?;
    Ok(Config { file: Some(path.to_owned()), ..config })
}

/// Checks the text of a config. `base` is what relative paths start from, `shown` the name errors use.
///
/// # Errors
/// When the text says something that is not allowed; the error names the place.
pub fn parse(text: &str, base: &Path, shown: &Path) -> Result<Config, ConfigError> {
    checked(text, base, shown, None)
}

/// Reads `[admin]` of a config file, whatever is wrong with the rest of it.
///
/// # Errors
/// When the file cannot be read, or the section says something that is not allowed.
pub fn load_admin(path: &Path) -> Result<Option<Admin>, ConfigError> {
    let text = read(path)?;
    let admin = partial::admin(&text).map_err(|fault| ConfigError::at(&text, path, fault))?;
    Ok(admin.map(|admin| admin.admin(base_of(path))))
}

/// Reads `listen` of a config file, whatever is wrong with the rest of it.
///
/// # Errors
/// When the file cannot be read, or the key says something that is not allowed.
pub fn load_listen(path: &Path) -> Result<Vec<SocketAddr>, ConfigError> {
    let text = read(path)?;
    partial::listen(&text).map_err(|fault| ConfigError::at(&text, path, fault))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))
}

fn base_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

fn checked(text: &str, base: &Path, shown: &Path, machine: Option<u64>) -> Result<Config, ConfigError> {
    let parsed = file::parse(text, base, machine).map_err(|fault| ConfigError::at(text, shown, fault))?;
    let warnings = parsed.warnings.into_iter().map(|fault| Warning::at(text, shown, fault)).collect();
    Ok(Config { warnings, written: Written::of(text), ..parsed.config })
}
