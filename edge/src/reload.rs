//! Taking in another config while the edge runs: all of it is checked, then it is swapped in, or nothing changes.
//!
//! Sites, origins, rules, listeners, certificates, limits, logs and the operator's listener change for later requests
//! and connections; those under way end by their old rules. No connection is dropped, and nothing stored is lost.
//! Settings that need a restart are named.

mod files;
mod guard;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use self::files::Files;
use self::guard::{Broken, History, Watch};
use crate::admin::{self, GuardTold};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{self, Change, Config, ConfigError, Written};
use crate::handover::{Handed, Row};
use crate::listening::{Listening, Open, Pool, Read, StartError};
use crate::log;
use crate::origin::{Origins, names};
use crate::serve::Listeners;

/// Reloads one edge's config file.
pub(crate) struct Reloader {
    file: Option<PathBuf>,
    cache: Arc<Cache>,
    clients: Listeners,
    /// For an operator's listener that is opened later.
    operate: admin::Reload,
    /// One config is taken in, or put back, at a time: the last one to be asked for is the one in service.
    turn: Arc<Turn>,
    /// The files to look at, if the config says so.
    followed: Mutex<Followed>,
    /// Held for moments: who reads a file does not hold it, since threads that answer ask for it as well.
    state: Mutex<State>,
}

type Turn = tokio::sync::Mutex<()>;

#[derive(Debug)]
struct State {
    /// The config in service, as it was written. A setting that needs a restart keeps its old value here.
    written: Written,
    open: Open,
    /// The same, as it is.
    in_service: Config,
    /// The last reload, while it may be undone.
    history: History,
    /// Whether the sockets are another process's, or let go of: no config is taken in any more.
    is_over: bool,
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
    /// The edge is about to end.
    Ending,
    /// By a fault of this program.
    Panicked,
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("this edge was not started from a config file"),
            Self::Config(error) => error.fmt(f),
            Self::Listener(error) => error.fmt(f),
            Self::Log(error) => f.write_str(error),
            Self::Ending => f.write_str("this edge is about to end"),
            Self::Panicked => f.write_str("the reload panicked; please report this as a bug of verge-edge"),
        }
    }
}

impl std::error::Error for NotReloaded {}

/// How often files are looked at that the config wants to be followed.
const POLL: Duration = Duration::from_secs(2);
/// A reload that takes longer is told of; the biggest configs take a second or two.
const LONG: Duration = Duration::from_secs(10);

impl Reloader {
    pub(crate) fn new(
        config: &Config,
        cache: Arc<Cache>,
        clients: Listeners,
        open: Open,
        operate: admin::Reload,
    ) -> Self {
        let state = State {
            written: config.written.clone(),
            open,
            in_service: config.clone(),
            history: History::default(),
            is_over: false,
        };
        let followed = Mutex::new(Followed { number: 0, files: Files::of(config) });
        let (file, state) = (config.file.clone(), Mutex::new(state));
        Self { file, cache, clients, operate, turn: Arc::default(), followed, state }
    }

    /// Where the edge listens.
    pub(crate) fn listening(&self) -> Listening {
        self.lock().open.listening()
    }

    /// The origins of the streams.
    pub(crate) fn stream_origins(&self) -> Vec<(String, Arc<Origins>)> {
        self.lock().open.stream_origins()
    }

    /// Where the streams are.
    pub(crate) fn streams(&self) -> Vec<SocketAddr> {
        self.lock().open.streams()
    }

    /// Copies of all sockets, for a process that takes over.
    pub(crate) fn handed(&self) -> io::Result<(Vec<Handed>, Row)> {
        self.lock().open.handed()
    }

    /// The process before does not answer any more.
    pub(crate) fn begin(&self) {
        self.lock().open.begin();
    }

    /// Another process answers now.
    pub(crate) fn hand_over(&self) {
        self.over().open.hand_over();
    }

    /// Lets go of the sockets, so that the kernel takes no connection for them.
    pub(crate) fn let_go(&self) {
        self.over().open.let_go();
    }

    /// As [`Reloader::let_go`], of those of streams alone.
    pub(crate) fn let_go_of_streams(&self) {
        self.over().open.let_go_of_streams();
    }

    /// Waits for the answers to operators after [`Reloader::hand_over`].
    pub(crate) async fn left(&self) {
        let left = self.lock().open.take_left();
        left.await;
    }

    /// Ends the operator's listener.
    pub(crate) async fn end(&self) {
        let ended = self.over().open.take_operator();
        ended.await;
    }

    /// Reads the file and takes it in, and says in the log what that did.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<Reloaded, NotReloaded> {
        self.in_turn(Self::reload_now).await.unwrap_or(Err(NotReloaded::Panicked))
    }

    /// As [`Reloader::beside`], when nothing else has the turn.
    async fn in_turn<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.beside(move |reloader| {
            let done = act(reloader);
            drop(turn);
            done
        })
        .await
    }

    /// Does this beside the threads that answer: a file system that does not answer holds it up, and then the log says so. None
    /// if it panicked.
    async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Option<T> {
        let reloader = Arc::clone(self);
        let mut acting = tokio::task::spawn_blocking(move || act(&reloader));
        tokio::select! {
            biased;
            done = &mut acting => return done.ok(),
            () = self.cache.clock.timer(LONG) => {}
        }
        tracing::warn!(
            target: "verge_edge::reload",
            secs = LONG.as_secs(),
            "the config or a file that it names is still being read: does its file system answer? The config before stays in service"
        );
        acting.await.ok()
    }

    fn reload_now(self: &Arc<Self>) -> Result<Reloaded, NotReloaded> {
        let counts = guard::known(&self.cache);
        let before = self.lock().in_service.clone();
        let reloaded = self.take_in().inspect_err(|error| {
            tracing::error!(target: "verge_edge::reload", "nothing was changed: {error}");
        })?;
        reloaded.tell();
        let (mut state, now) = (self.lock(), self.cache.clock.now());
        let mark = state.in_service.guard;
        if let Some(number) = state.history.reloaded(mark, before, &reloaded.changed, counts, now) {
            tokio::spawn(watch(Arc::downgrade(self), number, self.cache.clock.clone()));
        }
        Ok(reloaded)
    }

    /// How the last reload does, and those that were undone.
    pub(crate) fn guard(&self) -> GuardTold {
        self.lock().history.told()
    }

    /// Looks at what the reload of this number has done.
    fn judge(&self, number: u64) -> Verdict {
        let (mut state, now) = (self.lock(), self.cache.clock.now());
        let own = |watch: &&Watch| watch.number == number;
        let Some(watch) = state.history.watch.as_ref().filter(own) else { return Verdict::Over };
        let counts = guard::since(&self.cache);
        match watch.broken(|site| counts.get(site).copied().unwrap_or_default()) {
            Some(broken) => Verdict::Broken(broken),
            None if watch.is_running(now) => Verdict::Watched,
            None => {
                let secs = watch.mark.window.as_secs();
                tracing::info!(target: "verge_edge::guard", secs, "the reload has stood its time");
                state.history.watch = None;
                Verdict::Over
            }
        }
    }

    /// Puts the config of before the reload of this number back, unless another one came meanwhile. Where that cannot be, the new
    /// one stays as it is.
    ///
    /// The files that are followed stay as they were last looked at: what was written to them since may be the mend.
    fn undo(&self, number: u64, broken: &Broken) {
        let watch = self.lock().history.watch.take_if(|watch| watch.number == number);
        let Some(watch) = watch else { return };
        self.cache.parts().iter().for_each(|part| part.tally.forget());
        if let Err(error) = self.put(watch.way_back(&broken.site).before.clone()) {
            tracing::error!(
                target: "verge_edge::guard",
                site = broken.site.as_str(),
                answers = broken.after.answers,
                errors = broken.after.errors,
                percent = broken.after.percent(),
                "origins fail since the reload, and the config before cannot come back: {error}; mend the file and reload"
            );
            return;
        }
        let undone = self.lock().history.undone(&watch, broken, self.cache.clock.now());
        self.cache.metrics.reload_undone();
        tracing::error!(
            target: "verge_edge::guard",
            site = undone.site,
            change = undone.changed.join("; "),
            answers = undone.answers,
            errors = undone.errors,
            percent = undone.percent,
            percent_before = undone.percent_before,
            in_service_ms = undone.in_service_ms,
            "origins fail since the reload: the config before is back, and the file is not in service (docs/origins.md, \"Changes that go wrong\")"
        );
    }

    fn take_in(&self) -> Result<Reloaded, NotReloaded> {
        let file = self.file.as_ref().ok_or(NotReloaded::NoFile)?;
        let config = config::load(file).map_err(NotReloaded::Config)?;
        let followed = Files::of(&config);
        let reloaded = self.put(config)?;
        let mut own = self.followed();
        *own = Followed { number: own.number + 1, files: followed };
        drop(own);
        Ok(reloaded)
    }

    /// From now on this config counts. All that can fail comes first, and before that all that reads or opens files.
    fn put(&self, config: Config) -> Result<Reloaded, NotReloaded> {
        let is_encrypted = self.lock().open.is_encrypted();
        let read = Read::of(&config, is_encrypted, &self.cache.clock).map_err(NotReloaded::Listener)?;
        let access_log = log::access::prepare(config.log.access.as_ref());
        let access_log = access_log.map_err(|error| NotReloaded::Log(error.to_string()))?;
        let mut state = self.lock();
        if state.is_over {
            return Err(NotReloaded::Ending);
        }
        let listeners = state.open.prepare(&config, Pool::default(), read).map_err(NotReloaded::Listener)?;
        let changes = state.written.changes(&config.written);
        let contents = config::contents(&state.in_service, &config);
        state.in_service = config.clone();
        log::obey(&config.log.level);
        log::access::put(access_log);
        names::tell(config.sites.clone());
        self.cache.put_in_service(config.sites);
        self.clients.obey(config.limits, config.trusted_proxies, config.proxy_protocol);
        self.clients.be_known_to(config.children, config.health_from);
        state.open.commit(listeners, self.operate.clone());
        let (needs_restart, mut changed): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(Change::needs_restart);
        state.written.take_in(&changed);
        changed.extend(contents);
        for warning in &config.warnings {
            tracing::warn!(target: "verge_edge::reload", "{}", warning.message());
        }
        Ok(Reloaded { changed, needs_restart })
    }

    /// Looks at the files that the config wants to be followed, and reloads when one of them has changed.
    pub(crate) async fn follow(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(POLL).await;
            if self.beside(|reloader: &Arc<Self>| reloader.have_changed()).await == Some(true) {
                // The log says what became of it.
                drop(self.reload().await);
            }
        }
    }

    /// Nothing is held while files are looked at: where a file system does not answer, a reload may take its files away.
    fn have_changed(&self) -> bool {
        let mut own = self.followed();
        let (number, files) = (own.number, own.files.take());
        drop(own);
        let Some(mut files) = files else { return false };
        let has_changed = files.have_changed();
        let mut own = self.followed();
        // The files of a reload that came meanwhile are others, and have just been read.
        if own.number != number {
            return false;
        }
        own.files = Some(files);
        has_changed
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, of which nothing changes any more.
    fn over(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.is_over = true;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files that are followed.
struct Followed {
    /// Of the reload that named them.
    number: u64,
    /// None if none are, or while they are looked at.
    files: Option<Files>,
}

/// The outcome of a look at a reload that is watched.
enum Verdict {
    /// It is looked at again.
    Watched,
    /// It has stood its time, or another one came.
    Over,
    /// It has broken a site.
    Broken(Broken),
}

/// How often a reload is looked at while it is watched.
const JUDGED_EACH: Duration = Duration::from_millis(100);

/// Judges a reload as long as it is watched.
async fn watch(reloader: Weak<Reloader>, number: u64, clock: Clock) {
    loop {
        clock.timer(JUDGED_EACH).await;
        let Some(reloader) = reloader.upgrade() else { return };
        match reloader.judge(number) {
            Verdict::Watched => {}
            Verdict::Over => return,
            Verdict::Broken(broken) => {
                reloader.in_turn(move |reloader| reloader.undo(number, &broken)).await;
                return;
            }
        }
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
