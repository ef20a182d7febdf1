//! Zone files to worlds while the server runs: on a thread of its own, everything checked, one atomic swap.

pub(super) mod catalogs;
mod database;
mod pausing;
mod restart;
mod service;
mod updating;
mod watch;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use self::catalogs::Members;
use self::restart::restart_needed;
pub(super) use self::service::{Service, tell_warnings};
use self::watch::Watch;
use super::secrets::{Held, SecretError};
use super::signal::{Pause, Signal};
use super::sys;
use super::update::Submissions;
use crate::admin::{self, TokenError};
use crate::catalog::report::Report;
use crate::catalog::signatures::Signatures;
use crate::catalog::{Catalog, FolderError, Loaded, Unsettled, log};
use crate::clock;
use crate::config::{self, Config, ConfigError};
use crate::log::recent::OPEN;
use crate::world::World;

/// A change that goes on and on is read after this many quiet times at the latest.
const MOST_DEBOUNCES: u32 = 10;
/// After a fault, so that one that comes at once again does not burn a core.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Between loads that nobody asks for; an error that lasts must not burn a core.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// A folder that is being replaced is there again by then.
const SHORT_ABSENCE: Duration = Duration::from_secs(1);
/// Looks at a folder that is replaced again and again, before a rest.
const MOST_ROUNDS: usize = 3;
/// How far the loader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Loads that found something new, good or bad, and have ended.
    pub ended: u64,
    /// Worlds that have been in service; the first is 1.
    pub generation: u64,
}

/// The loader's thread.
pub(super) struct Loader {
    pub(super) signals: Sender<Signal>,
    /// The number of times that the config was read again.
    pub(super) reloads: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// Its thread, which has nothing to follow yet. Dropped, it ends.
pub(super) struct Idle {
    signals: Sender<Signal>,
    submissions: Submissions,
    begin: Sender<Follow>,
    thread: JoinHandle<()>,
}

/// The first load, before anything is served.
pub(super) fn first(
    config: &Config,
    secrets: Held,
    asks: Option<&mut Unsettled>,
) -> Result<(Catalog, World, Report), FolderError> {
    if let Some(fault) = config.database_fault() {
        tracing::error!(
            "the database of places cannot be read; prefixes alone say where clients are\n{fault}"
        );
    }
    let terms = secrets.over(config.terms());
    let mut catalog = Catalog::new(vec![config.zones.clone()], terms);
    if let Some(unsettled) = asks {
        *unsettled = catalog.ask_others();
    }
    let loaded = catalog.load(clock::system_now())?;
    let world = loaded.world.expect("the first load always makes a world");
    Ok((catalog, world, loaded.report))
}

/// Moves the large trees of a world to huge pages, where the system has them; before it is in service if it can be, since
/// who looks something up meanwhile has to wait for the page. For the same reason those that `before` has are let be: they
/// were moved when they were new.
fn settle_in_memory(world: &World, before: &World) {
    for (apex, tree) in world.new_trees(before) {
        for memory in tree.memory() {
            if memory.end.addr() - memory.start.addr() >= FEWEST_BYTES
                && let Err(error) = sys::prefer_huge_pages(memory)
            {
                tracing::debug!(%apex, %error, "no huge pages");
            }
        }
    }
}

/// Smaller trees fit in what a processor keeps of page tables.
const FEWEST_BYTES: usize = 4 << 20;

impl Idle {
    /// Starts the thread, which may fail.
    pub(super) fn start(
        signals: Sender<Signal>,
        inbox: Receiver<Signal>,
        submissions: Submissions,
    ) -> io::Result<Self> {
        let (begin, begun) = channel::<Follow>();
        let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            if let Ok(follow) = begun.recv() {
                follow.keep_running(&inbox);
            }
        })?;
        Ok(Self { signals, submissions, begin, thread })
    }

    /// Has it follow the folder.
    pub(super) fn follow(self, config: Config, secrets: Held, catalog: Catalog, service: Service) -> Loader {
        let Self { signals, submissions, begin, thread } = self;
        let reloads = Arc::<AtomicU64>::default();
        let members = Members::of_before(&config);
        let follow = Follow {
            config,
            secrets,
            catalog,
            service,
            signals: signals.clone(),
            submissions,
            signatures: Signatures::default(),
            watch: None,
            retry_pause: LEAST_WAIT,
            told: None,
            config_is_new: false,
            reloads: Arc::clone(&reloads),
            members,
        };
        // It waits for this.
        let _ = begin.send(follow);
        Loader { signals, reloads, thread }
    }
}

impl Loader {
    /// Ends the thread; a load that is under way is completed.
    pub(super) fn stop(self) {
        // If the thread is gone already there is nobody to tell.
        let _ = self.signals.send(Signal::Stop);
        if self.thread.join().is_err() {
            tracing::error!(name: OPEN, "the reload thread panicked");
        }
    }
}

struct Follow {
    config: Config,
    secrets: Held,
    catalog: Catalog,
    service: Service,
    signals: Sender<Signal>,
    submissions: Submissions,
    signatures: Signatures,
    watch: Option<Watch>,
    /// Until the next try to watch, if the last one failed; each is twice as long.
    retry_pause: Duration,
    /// The obstacle of the last load or watch, so that it is told once.
    told: Option<String>,
    /// Nothing was loaded by this config yet.
    config_is_new: bool,
    /// The number of times that the config was read again.
    reloads: Arc<AtomicU64>,
    members: Members,
}

impl Follow {
    /// A fault of ours ends neither the thread nor the reloading; it is counted, and told by `/readyz` until a load is good.
    fn keep_running(mut self, inbox: &Receiver<Signal>) {
        while catch_unwind(AssertUnwindSafe(|| self.run(inbox))).is_err() {
            self.service.metrics.reloading_fell();
            tracing::error!(name: OPEN, "reloading ended by a fault of this program and starts again; please report it");
            self.watch = None;
            if let Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) = inbox.recv_timeout(RESTART_PAUSE)
            {
                return;
            }
            // The loader repeats the work that the fault cut short. We hold the other end of the channel.
            let _ = self.signals.send(Signal::Changed);
        }
    }

    fn run(&mut self, inbox: &Receiver<Signal>) {
        if let Err(error) = sys::yield_to_others() {
            tracing::debug!(%error, "zone files are read at the priority of those who answer");
        }
        self.catalog.forget_texts();
        settle_in_memory(&self.service.world.load(), &World::default());
        // Changes since the first load were not watched yet.
        self.signatures.follow(self.catalog.zones());
        self.follow_catalogs(false);
        self.keep_up();
        loop {
            self.watch_signatures();
            match inbox.recv_timeout(self.patience()) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Reload) => self.reload(),
                Ok(Signal::Update) => self.update(),
                Ok(Signal::Pause(pause)) => {
                    if self.pause(pause, inbox).is_break() {
                        return;
                    }
                }
                #[cfg(test)]
                Ok(Signal::Fault) => panic!("a test asked for a fault"),
                Ok(Signal::Changed) => match debounce(inbox, self.config.reload.debounce) {
                    Settled::Stop => return,
                    Settled::Reload => self.reload(),
                    Settled::Update => {
                        self.update();
                        self.load();
                    }
                    Settled::Pause(pause) => {
                        if self.pause(pause, inbox).is_break() {
                            return;
                        }
                        self.load();
                    }
                    Settled::Quiet => {
                        self.load();
                        self.keep_up();
                    }
                },
                Err(RecvTimeoutError::Timeout) => self.keep_up(),
            }
        }
    }

    /// Somebody asked for it, and is told even if there was nothing to do.
    fn reload(&mut self) {
        self.reload_config();
        self.catalog.allow();
        (self.watch, self.told) = (None, None);
        if self.load() == Found::Nothing {
            tracing::info!("nothing has changed");
        }
        self.follow_catalogs(true);
        self.keep_up();
    }

    /// Loads what changed, and watches what is there now; what changed before it was watched is loaded, too.
    fn keep_up(&mut self) {
        if !self.config.reload.watch {
            return;
        }
        self.follow_database();
        for _ in 0..MOST_ROUNDS {
            self.load();
            if !self.mend_watch() {
                return;
            }
        }
        // It is replaced again and again: after a rest, another look. We hold the other end of the channel.
        let _ = self.signals.send(Signal::Changed);
    }

    /// Tells of signatures that expire. The clock is looked at with each poll at the latest.
    fn watch_signatures(&mut self) {
        let now = clock::system_now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        log::signatures(&self.signatures.due(now));
        self.service.metrics.signatures_expire(self.signatures.expiries(now));
    }

    /// How long to wait for a signal: until the next poll, the end of a grace, or another try to watch.
    fn patience(&self) -> Duration {
        let poll = self.config.reload.poll;
        let grace_left = self.catalog.grace_left(clock::system_now()).unwrap_or(poll);
        let retry = if self.config.reload.watch && self.watch.is_none() { self.retry_pause } else { poll };
        grace_left.min(retry).max(LEAST_WAIT).min(poll)
    }

    fn load(&mut self) -> Found {
        // A zone that panics us is a bug, but must not end all reloads.
        let load = AssertUnwindSafe(|| self.catalog.load(clock::system_now()));
        match catch_unwind(load) {
            Err(_) => {
                self.service.metrics.reloading_fell();
                tracing::error!(
                    name: OPEN,
                    "reading the zone files panicked; all zones stay as they are; please report this"
                );
                self.service.progress.send_modify(|loads| loads.ended += 1);
            }
            Ok(Ok(loaded)) if loaded.world.is_none() => {
                self.service.metrics.reloading_stands();
                self.told = None;
                return Found::Nothing;
            }
            Ok(Ok(loaded)) => {
                self.serve(loaded);
            }
            Ok(Err(error)) => {
                let error = error.to_string();
                if self.told.as_ref() != Some(&error) {
                    tracing::error!("{error}; the zones in service stay as they are");
                    self.told = Some(error);
                }
                self.service.progress.send_modify(|loads| loads.ended += 1);
            }
        }
        Found::Something
    }

    /// Puts a load that found something in service.
    fn serve(&mut self, loaded: Loaded) {
        if loaded.world.is_none() {
            return;
        }
        let before = self.service.world.load();
        loaded.world.iter().for_each(|world| settle_in_memory(world, &before));
        // Held on to, it could not be released.
        drop(before);
        self.service.publish(loaded.world, &loaded.report);
        if std::mem::take(&mut self.config_is_new) {
            tell_warnings(&self.config, &loaded.report);
        }
        self.told = None;
        self.catalog.forget_texts();
        self.signatures.follow(self.catalog.zones());
        self.follow_catalogs(false);
    }

    /// The clients inside and the rules of hiding may change while we run; listeners need a restart.
    fn reload_config(&mut self) {
        self.reloads.fetch_add(1, Ordering::AcqRel);
        let Some(path) = self.config.file.clone() else { return };
        if let Err(error) = self.try_config(&path) {
            tracing::error!("the configuration in force stays as it is\n{error}");
            self.service.progress.send_modify(|loads| loads.ended += 1);
        }
    }

    fn try_config(&mut self, path: &Path) -> Result<(), BadConfig> {
        let mut new = config::load(path).map_err(BadConfig::Config)?;
        database::keep_networks(&mut new, &self.config);
        new.members = self.members_of(&new);
        let secrets = Held::load(&new, Some((&self.config, &self.secrets))).map_err(BadConfig::Secret)?;
        let terms = self.service.admin.as_ref().zip(new.admin.as_ref());
        let terms = terms.map(|(old, admin)| Ok((Arc::clone(old), admin::Terms::read(admin)?)));
        let terms = terms.transpose().map_err(BadConfig::Token)?;
        for setting in restart_needed(&self.config, &new) {
            tracing::warn!(name: OPEN, setting, "a change of this setting needs a restart");
        }
        if let Some((old, new)) = terms {
            old.store(Arc::new(new));
        }
        if new != self.config || secrets != self.secrets {
            let terms = secrets.clone().over(new.terms());
            self.catalog.set_terms(vec![new.zones.clone()], terms);
            self.service.follow(&new);
            (self.config, self.secrets) = (new, secrets);
            self.config_is_new = true;
        }
        Ok(())
    }

    /// Watches what is there now; whether that is something else than before.
    fn mend_watch(&mut self) -> bool {
        let folder: &Path = &self.config.zones;
        if self.watch.as_ref().is_some_and(|watch| watch.is_current(folder, self.catalog.paths())) {
            return false;
        }
        let signals = self.signals.clone();
        let changed = move || {
            // The loader is gone only when the server ends.
            let _ = signals.send(Signal::Changed);
        };
        // The old one goes first: the kernel gives each user some watches only.
        self.watch = None;
        match Watch::new(folder, self.catalog.paths(), changed) {
            Ok(watch) => (self.watch, self.retry_pause) = (Some(watch), LEAST_WAIT),
            Err(error) => {
                // The folder may be on its way: after a second it is more than that.
                self.retry_pause = (self.retry_pause * 2).min(self.config.reload.poll);
                let error = error.to_string();
                if self.retry_pause > SHORT_ABSENCE && self.told.as_ref() != Some(&error) {
                    tracing::warn!(name: OPEN, %error, folder = %folder.display(), poll = ?self.config.reload.poll,
                        "the folder cannot be watched; changes are noticed by polling only");
                    self.told = Some(error);
                }
            }
        }
        self.watch.is_some()
    }
}

/// Why a config is not taken over.
enum BadConfig {
    Config(ConfigError),
    Secret(SecretError),
    Token(TokenError),
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Secret(error) => error.fmt(f),
            Self::Token(error) => error.fmt(f),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Found {
    Nothing,
    Something,
}

enum Settled {
    Quiet,
    Reload,
    Update,
    Pause(Pause),
    Stop,
}

/// Waits until nothing has changed for the quiet time.
fn debounce(inbox: &Receiver<Signal>, quiet: Duration) -> Settled {
    let latest = clock::now() + quiet * MOST_DEBOUNCES;
    while clock::now() < latest {
        match inbox.recv_timeout(quiet) {
            Ok(Signal::Changed) => {}
            Ok(Signal::Reload) => return Settled::Reload,
            // Its sender waits.
            Ok(Signal::Update) => return Settled::Update,
            Ok(Signal::Pause(pause)) => return Settled::Pause(pause),
            #[cfg(test)]
            Ok(Signal::Fault) => panic!("a test asked for a fault"),
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Settled::Stop,
            Err(RecvTimeoutError::Timeout) => return Settled::Quiet,
        }
    }
    Settled::Quiet
}
