//! Starting an edge and stopping it: the listeners for clients and the operator's, side by side over one cache.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::cache::Cache;
use crate::cache::behind::{self, Errand};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::draining::Draining;
use crate::governing;
use crate::handover::{self, Before, Door, Handed, HandoverError, Predecessor, Row, Threshold, systemd};
pub use crate::listening::{Listening, StartError, inspect, trial, trial_of_path};
use crate::listening::{Open, Pool, Read};
use crate::origin::names;
use crate::reload::{NotReloaded, Reloaded, Reloader};
use crate::serve::{
    self, Guards, Known, Listeners, Load, Permits, Relays, Running as Relayed, Service, Strangers,
};
use crate::store::{Disks, Store};

/// An edge that answers until it is drained.
#[derive(Debug)]
pub struct Running {
    cache: Arc<Cache>,
    clients: Listeners,
    reloader: Arc<Reloader>,
    /// Another process answers now.
    superseded: CancellationToken,
    /// Where the next process takes over.
    door: Option<Door>,
    relayed: Relayed,
}

/// Binds every listener, then answers. Fails before anything is answered if one address is taken.
///
/// # Errors
/// When a listener cannot be bound or the admin token's file cannot be made.
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_at(config, Clock::system()).await
}

/// As [`start`], by a clock that a test moves.
///
/// # Errors
/// As [`start`].
pub async fn start_at(config: Config, clock: Clock) -> Result<Running, StartError> {
    let disks = disks(&config).await;
    begin(&config, clock, disks, Pool::default(), Row::new(), true)
}

/// As [`start_at`], but no answer takes the short way that the usual hit has: for tests that compare the two.
///
/// # Errors
/// As [`start`].
pub async fn start_the_long_way(config: Config, clock: Clock) -> Result<Running, StartError> {
    let disks = disks(&config).await;
    begin(&config, clock, disks, Pool::default(), Row::new(), false)
}

/// As [`start`], with the sockets of the process that answers now, if one does and meets others in the run folder, and
/// of systemd. Where that process ends, this one answers; from then on another may take over from this one.
///
/// Once it is told to `stop`, it takes over from no other process.
///
/// # Errors
/// As [`start`]; also when the process that answers now does not hand over, and if it was told to stop. That one goes on then
/// as if nothing were.
pub async fn take_over(config: Config, stop: &CancellationToken) -> Result<Running, StartError> {
    let folder = config.run_folder.clone().or_else(systemd::run_folder);
    let find = |folder: &PathBuf| Predecessor::find(folder).map_err(StartError::Handover);
    let mut predecessor = match folder.as_ref().map(find).transpose()?.flatten() {
        Some(stream) => {
            let told = talk(stop, move || Predecessor::ask(stream)).await.ok_or(StartError::Stopped)?;
            Some(told.map_err(StartError::Handover)?)
        }
        None => None,
    };
    let mut handed = predecessor.as_mut().map(Predecessor::take).unwrap_or_default();
    handed.extend(systemd::passed());
    let row = predecessor.as_ref().map_or_else(Row::new, Predecessor::row);
    let prepare = |folder: &PathBuf| Threshold::prepare(folder).map_err(StartError::Handover);
    let threshold = folder.as_ref().map(prepare).transpose()?;
    let disks = disks(&config).await;
    let handed = Pool::new(handed);
    let handed = if predecessor.is_some() { handed.read_there() } else { handed };
    let mut running = begin(&config, Clock::system(), disks, handed, row, true)?;
    // The caller, which waits for a signal beside this, has a turn.
    tokio::task::yield_now().await;
    if predecessor.is_some() && stop.is_cancelled() {
        drop(predecessor);
        running.give_way().await;
        return Err(StartError::Stopped);
    }
    let dismissed = match predecessor {
        // It hears that this one is ready when it goes on, and leaves.
        Some(predecessor) => talk(stop, move || predecessor.dismiss().map(Some)).await.unwrap_or(Ok(None)),
        None => Ok(None),
    };
    match dismissed {
        Err(refused @ HandoverError::Refused(_)) => {
            running.give_way().await;
            return Err(StartError::Handover(refused));
        }
        Err(error) => tracing::warn!(target: "verge_edge::handover", "{error}"),
        Ok(before) => before.into_iter().for_each(|before| hear(before, &running.cache)),
    }
    // Nobody else answers now, so nothing from here on ends this process.
    running.reloader.begin();
    let threshold = threshold.filter(|_| !stop.is_cancelled());
    running.door = threshold.and_then(|threshold| match Door::open(&threshold, running.heir()) {
        Ok(door) => {
            let path = door.path().display();
            tracing::info!(target: "verge_edge::handover", "the next process may take over at {path}");
            Some(door)
        }
        Err(error) => {
            tracing::error!(target: "verge_edge::handover", "no process can take over from this one: {error}");
            None
        }
    });
    Ok(running)
}

/// The word of the process before. It may be stuck: none once this one is told to `stop`.
async fn talk<T: Send + 'static>(
    stop: &CancellationToken,
    talk: impl FnOnce() -> Result<T, HandoverError> + Send + 'static,
) -> Option<Result<T, HandoverError>> {
    tokio::select! {
        biased;
        said = tokio::task::spawn_blocking(talk) => Some(said.expect("talking does not panic")),
        () = stop.cancelled() => None,
    }
}

/// Purges what the process before is still asked to, in a thread that ends with that process.
fn hear(before: Before, cache: &Arc<Cache>) {
    let (cache, runtime) = (Arc::clone(cache), Handle::current());
    let hear = move || before.hear(|order| runtime.block_on(cache.obey(order)));
    if let Err(error) = std::thread::Builder::new().name("predecessor".to_owned()).spawn(hear) {
        tracing::warn!(target: "verge_edge::handover", %error, "what the process before is asked to purge is refused there");
    }
}

/// `is_direct`: usual hits have the short way.
fn begin(
    config: &Config,
    clock: Clock,
    disks: Disks,
    handed: Pool,
    row: Row,
    is_direct: bool,
) -> Result<Running, StartError> {
    names::tell(config.sites.clone());
    let store = Store::with_disks(&config.cache.bounds, disks);
    let cache = Arc::new(Cache::new(config.name.clone(), config.sites.clone(), store, clock.clone()));
    if let Some(target_bytes) = config.cache.memory_target_bytes {
        governing::start(&cache, target_bytes);
    }
    let service = Service {
        cache: Arc::clone(&cache),
        trusted_proxies: ArcSwap::from_pointee(config.trusted_proxies.clone()),
        children: ArcSwap::from_pointee(config.children.clone()),
        health_from: ArcSwap::from_pointee(config.health_from.clone()),
        tunnels: Permits::new(config.limits.upgrades),
        draining: Draining::default(),
        load: Load::default(),
        guards: Guards::default(),
        whereabouts: ArcSwap::default(),
        strangers: Strangers::default(),
        known: Known::default(),
        is_direct,
    };
    let clients = Listeners::new(service, config.limits);
    clients.introduced_by(config.proxy_protocol.clone());
    let relayed = Relayed::default();
    let relays = Relays::new(&clients, &relayed);
    let read = Read::of(config, false, &clock)?;
    let mut open = Open::new(clients.clone(), Arc::new(relays), clock, row);
    let next = open.prepare(config, handed, read)?;
    let reloader = Arc::new_cyclic(|reloader| {
        open.commit(next, reload(Weak::clone(reloader)));
        Reloader::new(config, Arc::clone(&cache), clients.clone(), open, reload(Weak::clone(reloader)))
    });
    Ok(Running { cache, clients, reloader, superseded: CancellationToken::new(), door: None, relayed })
}

/// A folder that does not answer holds up the start for two seconds, and no other thread.
async fn disks(config: &Config) -> Disks {
    let settings = config.cache.disks.clone();
    tokio::task::spawn_blocking(|| Disks::open(settings)).await.unwrap_or_else(|_| Disks::none())
}

/// Hands a running edge's sockets over.
struct Heir {
    clients: Listeners,
    reloader: Arc<Reloader>,
    superseded: CancellationToken,
    /// The channels of QUIC are sockets of the runtime.
    runtime: Handle,
}

impl handover::Offer for Heir {
    fn sockets(&self) -> io::Result<(Vec<Handed>, Row)> {
        let _runtime = self.runtime.enter();
        self.reloader.handed()
    }

    fn leave(&self, pid: u32) -> mpsc::Receiver<Errand> {
        systemd::main_pid(pid);
        let _runtime = self.runtime.enter();
        let (way, errands) = behind::way();
        self.clients.leave_to_another(way);
        self.reloader.hand_over();
        self.superseded.cancel();
        errands
    }
}

/// For the operator's listener.
fn reload(reloader: Weak<Reloader>) -> admin::Reload {
    let (guarded, relayed) = (Weak::clone(&reloader), Weak::clone(&reloader));
    let now = move || -> admin::Reloading {
        let reloader = reloader.upgrade();
        // A task of its own: it is told of in the log, also where the operator does not wait for it.
        let reloading = tokio::spawn(async move {
            let reloader = reloader.ok_or("the edge is starting or ending")?;
            let done = reloader.reload().await.map_err(|error| error.to_string())?;
            let told = |changes: &[config::Change]| changes.iter().map(ToString::to_string).collect();
            Ok::<_, String>(admin::ReloadDone {
                changed: told(&done.changed),
                needs_restart: told(&done.needs_restart),
            })
        });
        Box::pin(async move { reloading.await.unwrap_or_else(|error| Err(error.to_string())) })
    };
    let guard = move || guarded.upgrade().map(|reloader| reloader.guard()).unwrap_or_default();
    let streams = move || relayed.upgrade().map(|reloader| reloader.stream_origins()).unwrap_or_default();
    admin::Reload { now: Arc::new(now), guard: Arc::new(guard), streams: Arc::new(streams) }
}

impl Running {
    /// Where it can be reached now; a reload may change that.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.reloader.listening()
    }

    /// Where its streams are, in the config's order; an address that several share counts once.
    #[must_use]
    pub fn streams(&self) -> Vec<SocketAddr> {
        self.reloader.streams()
    }

    /// Reads the config file again and takes it in, or changes nothing; one that is under way ends first. A file system that
    /// does not answer holds up nothing else.
    ///
    /// # Errors
    /// When the file is at fault, or there is none, or a new listener cannot be opened; and if the edge is about to end.
    pub async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        self.reloader.reload().await
    }

    /// Reloads by itself whenever the config file or a file that it names has changed, as long as the config says so.
    pub async fn follow(&self) {
        self.reloader.follow().await;
    }

    fn heir(&self) -> Heir {
        let (clients, reloader) = (self.clients.clone(), Arc::clone(&self.reloader));
        Heir { clients, reloader, superseded: self.superseded.clone(), runtime: Handle::current() }
    }

    /// Whether the next process has a place to take over at.
    #[must_use]
    pub fn may_be_superseded(&self) -> bool {
        self.door.is_some()
    }

    /// Waits until another process has taken over: it is time to [`Running::leave`].
    pub async fn superseded(&self) {
        self.superseded.cancelled().await;
    }

    /// Ends behind another process: connections end with their next answers, all within `limits.drain`.
    pub async fn leave(self) {
        // The other process waits for the disks, and what is purged from now on is purged there.
        let disks = self.cache.store.disks().stop();
        let drain = self.clients.limits().drain;
        let operators = within(drain, &self.cache.clock, self.reloader.left());
        tokio::join!(self.clients.leave(), self.relayed.drain(drain), disks, operators);
    }

    /// Ends behind the process before, which goes on answering.
    async fn give_way(self) {
        // That one hears of nothing that this one is asked to purge.
        self.clients.leave_to_another(behind::way().0);
        self.reloader.hand_over();
        self.leave().await;
    }

    /// Stops: health answers 503, idle connections close, requests in flight end within `limits.drain`.
    ///
    /// Streams have no health check of ours: after `limits.drain_delay` they take no connection any more, and refuse each.
    pub async fn drain(self) {
        let (closed, reloader) = (self.clients.closed(), Arc::clone(&self.reloader));
        let let_go = async {
            closed.cancelled().await;
            reloader.let_go();
        };
        let serve::Limits { drain, drain_delay, .. } = self.clients.limits();
        let relayed = async {
            self.cache.clock.timer(drain_delay).await;
            self.reloader.let_go_of_streams();
            self.relayed.drain(drain).await;
        };
        tokio::join!(self.clients.drain(), relayed, let_go);
        within(drain, &self.cache.clock, self.reloader.end()).await;
        self.cache.store.disks().stop().await;
    }
}

/// Answers to operators have this long at the end, however short `limits.drain` is.
const LEAST_FOR_OPERATORS: Duration = Duration::from_secs(1);

/// Waits for operators, but no longer than for clients: one may wait for a reload, and that for a file system that does not
/// answer.
async fn within(drain: Duration, clock: &Clock, ended: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = ended => {}
        () = clock.timer(drain.max(LEAST_FOR_OPERATORS)) => {}
    }
}
