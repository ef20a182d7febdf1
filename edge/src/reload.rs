//! Taking in another config while the edge runs: all of it is checked, then it is swapped in, or nothing changes.
//!
//! Sites, origins, rules, trusted proxies and limits change for later requests; those under way end by their
//! old rules. No connection is dropped, and nothing stored is lost. Settings that need a restart are named.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::Cache;
use crate::config::{self, Change, ConfigError, Written};
use crate::origin::names;
use crate::serve::Listeners;

/// Reloads one edge's config file.
#[derive(Debug)]
pub(crate) struct Reloader {
    file: Option<PathBuf>,
    cache: Arc<Cache>,
    clients: Listeners,
    /// The config in service, as it was written. A setting that needs a restart keeps its old value here.
    in_service: Mutex<Written>,
}

/// The result of a reload.
#[derive(Debug, Clone, Default)]
pub struct Reloaded {
    /// The changes that count from now on.
    pub changed: Vec<Change>,
    /// The file's other changes, which need a restart.
    pub needs_restart: Vec<Change>,
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum NotReloaded {
    /// The edge was not started from a file.
    NoFile,
    /// The file is at fault.
    Config(ConfigError),
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("this edge was not started from a config file"),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotReloaded {}

impl Reloader {
    pub(crate) fn new(
        file: Option<PathBuf>,
        written: Written,
        cache: Arc<Cache>,
        clients: Listeners,
    ) -> Self {
        Self { file, cache, clients, in_service: Mutex::new(written) }
    }

    /// Reads the file and takes it in, and says in the log what that did.
    pub(crate) fn reload(&self) -> Result<Reloaded, NotReloaded> {
        // One at a time: the last one to be asked for is the one in service.
        let mut in_service = self.in_service.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match &self.file {
            Some(file) => config::load(file).map_err(NotReloaded::Config),
            None => Err(NotReloaded::NoFile),
        };
        let config = read.inspect_err(|error| {
            tracing::error!(target: "verge_edge::reload", "nothing was changed: {error}");
        })?;
        let changes = in_service.changes(&config.written);
        names::tell(config.sites.clone());
        self.cache.put_in_service(config.sites);
        self.clients.obey(config.limits, config.trusted_proxies, config.proxy_protocol);
        let (needs_restart, changed): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(Change::needs_restart);
        in_service.take_in(&changed);
        for warning in &config.warnings {
            tracing::warn!(target: "verge_edge::reload", "{}", warning.message());
        }
        let reloaded = Reloaded { changed, needs_restart };
        reloaded.tell();
        Ok(reloaded)
    }
}

impl Reloaded {
    fn tell(&self) {
        for change in &self.changed {
            tracing::info!(target: "verge_edge::reload", %change, "changed");
        }
        for change in &self.needs_restart {
            tracing::warn!(target: "verge_edge::reload", %change, "needs a restart");
        }
        let (changed, needs_restart) = (self.changed.len(), self.needs_restart.len());
        tracing::info!(target: "verge_edge::reload", changed, needs_restart, "reloaded");
    }
}
