//! Taking in another config while the edge runs: all of it is checked, then it is swapped in, or nothing changes.
//!
//! Sites, origins, rules, listeners, certificates, limits, logs and the operator's listener change for later requests
//! and connections; those under way end by their old rules. No connection is dropped, and nothing stored is lost.
//! Settings that need a restart are named.

mod files;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::files::Files;
use crate::admin;
use crate::cache::Cache;
use crate::config::{self, Change, Config, ConfigError, Written};
use crate::handover::{Handed, Row};
use crate::listening::{Listening, Open, Pool, StartError};
use crate::log;
use crate::origin::names;
use crate::serve::Listeners;

/// Reloads one edge's config file.
pub(crate) struct Reloader {
    file: Option<PathBuf>,
    cache: Arc<Cache>,
    clients: Listeners,
    /// For an operator's listener that is opened later.
    operate: admin::Reload,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The config in service, as it was written. A setting that needs a restart keeps its old value here.
    written: Written,
    open: Open,
    /// The files to look at, if the config says so.
    followed: Option<Files>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("file", &self.file).finish_non_exhaustive()
    }
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
    /// A listener cannot be opened, or a file that it needs cannot be used.
    Listener(StartError),
    /// The access log cannot be written there.
    Log(String),
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("this edge was not started from a config file"),
            Self::Config(error) => error.fmt(f),
            Self::Listener(error) => error.fmt(f),
            Self::Log(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for NotReloaded {}

/// How often files are looked at that the config wants to be followed.
const POLL: Duration = Duration::from_secs(2);

impl Reloader {
    pub(crate) fn new(
        config: &Config,
        cache: Arc<Cache>,
        clients: Listeners,
        open: Open,
        operate: admin::Reload,
    ) -> Self {
        let state = State { written: config.written.clone(), open, followed: Files::of(config) };
        Self { file: config.file.clone(), cache, clients, operate, state: Mutex::new(state) }
    }

    /// Where the edge listens.
    pub(crate) fn listening(&self) -> Listening {
        self.lock().open.listening()
    }

    /// Copies of all sockets, for a process that takes over.
    pub(crate) fn handed(&self) -> io::Result<(Vec<Handed>, Row)> {
        self.lock().open.handed()
    }

    /// Another process answers now.
    pub(crate) fn hand_over(&self) {
        self.lock().open.hand_over();
    }

    /// Lets go of the sockets, so that the kernel takes no connection for them.
    pub(crate) fn let_go(&self) {
        self.lock().open.let_go();
    }

    /// Ends the operator's listener.
    pub(crate) async fn end(&self) {
        let ended = self.lock().open.take_operator();
        ended.await;
    }

    /// Reads the file and takes it in, and says in the log what that did.
    pub(crate) fn reload(&self) -> Result<Reloaded, NotReloaded> {
        // One at a time: the last one to be asked for is the one in service.
        let mut state = self.lock();
        let reloaded = self.take_in(&mut state).inspect_err(|error| {
            tracing::error!(target: "verge_edge::reload", "nothing was changed: {error}");
        })?;
        reloaded.tell();
        Ok(reloaded)
    }

    /// All that can fail comes first.
    fn take_in(&self, state: &mut State) -> Result<Reloaded, NotReloaded> {
        let file = self.file.as_ref().ok_or(NotReloaded::NoFile)?;
        let config = config::load(file).map_err(NotReloaded::Config)?;
        let access_log = log::access::prepare(config.log.access.as_ref());
        let access_log = access_log.map_err(|error| NotReloaded::Log(error.to_string()))?;
        let listeners = state.open.prepare(&config, Pool::default()).map_err(NotReloaded::Listener)?;
        let changes = state.written.changes(&config.written);
        state.followed = Files::of(&config);
        log::obey(&config.log.level);
        log::access::put(access_log);
        names::tell(config.sites.clone());
        self.cache.put_in_service(config.sites);
        self.clients.obey(config.limits, config.trusted_proxies, config.proxy_protocol);
        self.clients.be_parent_of(config.children);
        state.open.commit(listeners, Arc::clone(&self.operate));
        let (needs_restart, changed): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(Change::needs_restart);
        state.written.take_in(&changed);
        for warning in &config.warnings {
            tracing::warn!(target: "verge_edge::reload", "{}", warning.message());
        }
        Ok(Reloaded { changed, needs_restart })
    }

    /// Looks at the files that the config wants to be followed, and reloads when one of them has changed.
    pub(crate) async fn follow(&self) {
        loop {
            tokio::time::sleep(POLL).await;
            self.look();
        }
    }

    /// Reloads if a file has changed and is not changing any more.
    fn look(&self) {
        let has_changed = self.lock().followed.as_mut().is_some_and(Files::have_changed);
        if has_changed {
            // The log says what became of it.
            drop(self.reload());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
