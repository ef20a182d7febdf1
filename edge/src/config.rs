//! The operator's config, parsed into types that cannot be wrong.
//!
//! `load` reads a file, `parse` takes its text; both give a [`Config`] whose every value is checked, or a
//! [`ConfigError`] that points at the line. Paths in the file are relative to the file.
//!
//! Every key with its default stands in `edge/reference.toml`.
//!
//! Invariant: nothing outside this module reads TOML or re-checks a value that came from it.

mod access;
mod access_log;
mod admin;
mod advice;
mod chosen;
mod contents;
mod disk;
mod doubts;
mod file;
mod guard;
mod head;
mod health;
mod level;
mod machine;
mod networks;
mod origins;
mod pages;
mod partial;
mod place;
mod places;
mod rules;
mod settings;
mod signed;
mod site;
mod stream;
mod tables;
#[cfg(test)]
mod tests;
mod tls;
mod unit;
mod written;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use admin::{Admin, AdminAddress};
pub use contents::contents;
use ipnet::IpNet;
pub use level::{LEVEL_HELP, Level};
pub use partial::Listen;
pub use place::{ConfigError, Warning};
pub use places::Places;
pub use stream::Stream;
pub use tls::Tls;
pub use written::{Change, Written};

use crate::clock::Clock;
use crate::log::access::Settings as AccessLog;
use crate::serve::{Introducers, Limits};
use crate::site::guard::Mark;
use crate::site::{Site, Sites};
use crate::store::Bounds;

/// Reads a size as the config has them, such as `64MiB`, in bytes; none if it is no size.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    unit::bytes(text)
}

/// Everything one edge needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// This edge's name in `Via`, `Cache-Status`, `Proxy-Status` and `CDN-Loop`.
    pub name: String,
    /// Public listeners, HTTP/1.1. Port 0 takes a free port.
    pub listen: Vec<SocketAddr>,
    /// Public listeners over TLS, and what these show; none if the file has
    /// neither `listen_tls` nor `listen_quic`.
    pub tls: Option<Tls>,
    /// Peers that say who their clients are, and over which scheme these asked.
    pub trusted_proxies: Vec<IpNet>,
    /// Edges whose parent this one is; they are among the trusted proxies.
    pub children: Vec<IpNet>,
    /// Clients that are told all of the edge's health; none if the file has no list.
    pub health_from: Option<Vec<IpNet>>,
    /// Peers whose connections begin with a header of the PROXY protocol, version 2, and where.
    pub proxy_protocol: Introducers,
    /// The memory store.
    pub cache: Cache,
    /// The sites and which host names are theirs.
    pub sites: Sites,
    /// Connections that are passed on, whatever they carry.
    pub streams: Vec<Stream>,
    /// The operator's listener; none if the file has no `[admin]`.
    pub admin: Option<Admin>,
    /// When a reload is undone; none: never.
    pub guard: Option<Mark>,
    /// The limits that a client is held to.
    pub limits: Limits,
    /// How the program tells what it does.
    pub log: Log,
    /// Settings in the file that the operator probably does not mean.
    pub warnings: Vec<Warning>,
    /// As it was written, to tell what a reload changes.
    pub written: Written,
    /// Where it names addresses and files.
    pub places: Places,
    /// The file that it was read from.
    pub file: Option<PathBuf>,
    /// Where a process hands its sockets over to the next; none: it does not.
    pub run_folder: Option<PathBuf>,
    /// The files whose content is part of it: users, pages, keys of signed URLs.
    pub named_files: Vec<PathBuf>,
    /// When reading it and them began; none if it was not read from a file.
    pub read_since: Option<SystemTime>,
    /// Whether a change of these files is taken in without being asked for.
    pub follow_files: bool,
}

/// The memory store, the disks, and the biggest object that a site keeps unless it says otherwise.
#[derive(Debug, Clone)]
pub struct Cache {
    /// The memory store's bounds.
    pub bounds: Bounds,
    /// The disks; none without a disk tier.
    pub disks: Vec<crate::store::disk::Settings>,
    /// A bigger response is streamed and not kept.
    pub max_object_bytes: u64,
    /// While the process takes more than this, the store holds less; none if the machine does not say how much it has.
    pub memory_target_bytes: Option<u64>,
}

/// How the program tells what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The shape of a line.
    pub format: LogFormat,
    /// The events to log, unless the variable RUST_LOG says otherwise.
    pub level: Level,
    /// The log of requests; none if it is off.
    pub access: Option<AccessLog>,
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
    let began = Clock::system().now();
    let config = checked(&read(path)?, base_of(path), path, machine::memory_bytes())?;
    Ok(Config { file: Some(path.to_owned()), read_since: Some(began), ..config })
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
    let at = |fault| ConfigError::at(&text, path, fault);
    let admin = partial::admin(&text).map_err(at)?;
    admin.map(|admin| admin.admin(base_of(path))).transpose().map_err(at)
}

/// Reads `listen` and `listen_tls` of a config file, whatever is wrong with the rest of it.
///
/// # Errors
/// When the file cannot be read, or the key says something that is not allowed.
pub fn load_listen(path: &Path) -> Result<Listen, ConfigError> {
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
    let written = Written::of(text);
    let settings = |site: &Site| {
        let route = site.route.as_ref().map(|route| route.name.as_str());
        written.of_site(site.name.as_str(), route)
    };
    let sites = parsed.config.sites.as_written(settings);
    let places = Places::of(text, base, shown);
    Ok(Config { warnings, sites, written, places, ..parsed.config })
}
