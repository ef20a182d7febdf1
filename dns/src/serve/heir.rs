//! A running server as another process takes it over: its sockets, its pause, and its end.

use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::departures::Departures;
use super::handover::{Handed, Loaded, Moved, Offer, Passing, Secrets};
use super::pen::{Pen, Writing};
use super::quic::SharedSocket;
use super::rounds::Watched;
use super::signal::{Over, Pause, Signal};
use super::steer::board::Board;
use super::sys;
use super::udp::Stop;
use super::workers::Workers;
use crate::catalog::Unsettled;
use crate::explain::shown::Shown;
use crate::name::Name;
use crate::world::World;
use crate::zone::set::Served;

/// The loader may have big zones to read: a new process that has read them itself waits as long.
const LOADER_LIMIT: Duration = Duration::from_secs(600);
/// Others may have a copy to write.
const PEN_LIMIT: Duration = Duration::from_secs(25);
/// Listeners end at once.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// Connections on which nothing is under way have closed by then.
const IDLE_LIMIT: Duration = Duration::from_millis(250);

/// All that a server has beside its workers.
pub(super) struct Kept {
    /// Of all sockets.
    pub(super) copies: Vec<Handed>,
    /// Of QUIC, while they are read.
    pub(super) quic: Vec<Weak<SharedSocket>>,
    pub(super) secrets: Secrets,
    pub(super) loader: Sender<Signal>,
    pub(super) pen: Pen,
    pub(super) board: Arc<Board>,
    pub(super) unsettled: Unsettled,
    /// The zones as they were last loaded.
    pub(super) shown: Arc<ArcSwap<Vec<Shown>>>,
    /// The number of times that the config was read again.
    pub(super) reloads: Arc<AtomicU64>,
}

/// The parts of a server that another process takes over.
struct Parts {
    /// None once the server ends.
    copies: Mutex<Vec<Handed>>,
    quic: Vec<Weak<SharedSocket>>,
    secrets: Secrets,
    loader: Sender<Signal>,
    pen: Pen,
    board: Arc<Board>,
    unsettled: Unsettled,
    shown: Arc<ArcSwap<Vec<Shown>>>,
    reloads: Arc<AtomicU64>,
    /// `reloads` when the sockets were handed to a new process, which read its config after that.
    reloads_before: AtomicU64,
    has_handed: AtomicBool,
    world: Arc<ArcSwap<World>>,
    loops: Mutex<Vec<JoinHandle<()>>>,
    watched: Watched,
    stop: Arc<Stop>,
    departures: Departures,
    drain: CancellationToken,
    tasks: TaskTracker,
    lasting: TaskTracker,
    acceptors: TaskTracker,
    /// The number of the process that has taken over.
    superseded: watch::Sender<Option<u32>>,
    runtime: Handle,
}

/// Shared by the door and the server itself, which may end meanwhile.
#[derive(Clone)]
pub(super) struct Heir {
    parts: Arc<Parts>,
    paused: Arc<Mutex<Option<Paused>>>,
}

/// Nobody writes.
struct Paused {
    /// Dropped, it lets the loader go on.
    loader: Sender<Over>,
    _writing: Writing,
}

impl Heir {
    /// Inside a runtime. The number of the process that has taken over is told by what this returns beside it.
    pub(super) fn new(workers: Workers, kept: Kept) -> (Self, watch::Receiver<Option<u32>>) {
        let Workers { world, loops, watched, stop, departures, drain, tasks, lasting, acceptors, .. } =
            workers;
        let Kept { copies, quic, secrets, loader, pen, board, unsettled, shown, reloads } = kept;
        let (superseded, supersedes) = watch::channel(None);
        let parts = Parts {
            copies: Mutex::new(copies),
            quic,
            secrets,
            loader,
            pen,
            board,
            unsettled,
            shown,
            reloads,
            reloads_before: AtomicU64::default(),
            has_handed: AtomicBool::default(),
            world,
            loops: Mutex::new(loops),
            watched,
            stop,
            departures,
            drain,
            tasks,
            lasting,
            acceptors,
            superseded,
            runtime: Handle::current(),
        };
        (Self { parts: Arc::new(parts), paused: Arc::default() }, supersedes)
    }

    /// The threads that answer by UDP.
    pub(super) fn watched(&self) -> Watched {
        self.parts.watched.clone()
    }

    /// Ends connections, and waits until they have ended, but no longer than this.
    pub(super) async fn end_connections(&self, limit: Duration) {
        let Parts { departures, drain, tasks, lasting, .. } = &*self.parts;
        departures.end();
        drain.cancel();
        tasks.close();
        lasting.close();
        let ended = async { tokio::join!(tasks.wait(), lasting.wait()) };
        if timeout(limit, ended).await.is_err() {
            let connections = tasks.len() + lasting.len();
            tracing::warn!(connections, "connections were cut after {limit:?}");
        }
    }

    /// Answers what has come by UDP, and reads no more. This blocks.
    pub(super) fn end_loops(&self) {
        self.parts.stop.end();
        sys::end(std::mem::take(&mut *lock(&self.parts.loops)));
    }

    /// The server ends: nobody takes its sockets over, and who was about to finds nobody who writes.
    pub(super) fn end(&self) {
        lock(&self.parts.copies).clear();
        if let Some(paused) = lock(&self.paused).take() {
            // The loader is gone only when it has fallen.
            let _ = paused.loader.send(Over::Ended);
            self.parts.pen.break_off();
        }
    }

    /// Whether another process has, or had, copies of the sockets.
    pub(super) fn has_handed(&self) -> bool {
        self.parts.has_handed.load(Ordering::Acquire)
    }

    /// A process that would serve less than this one does not take over.
    fn compare(&self, heir: &Loaded) -> io::Result<()> {
        let lacks = |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        if let Some(why) = lacking(heir, &self.parts.shown.load(), |file| Path::new(file).exists()) {
            return lacks(why);
        }
        let world = self.parts.world.load();
        let is_served = |apex: Name| {
            // The inside has every zone that the outside has.
            matches!(world.internal.zones.get(&apex), Some(Served::Zone(_)))
        };
        let served = heir.broken.iter().find(|zone| Name::parse_absolute(zone).is_ok_and(is_served));
        served.map_or(Ok(()), |zone| {
            lacks(format!(
                "the new process has no good version of the zone {zone}, which this one serves; its log says why"
            ))
        })
    }

    fn pause(&self) -> io::Result<Paused> {
        let late = |what: &str, limit: Duration| {
            io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {limit:?}"))
        };
        let ((held, is_held), (loader, end)) = (sync_channel(0), channel());
        // The loader is gone only when the server ends.
        let _ = self.parts.loader.send(Signal::Pause(Pause { held, end }));
        let waits = is_held.recv_timeout(LOADER_LIMIT);
        let waits = waits.map_err(|_| late("the loader did not pause", LOADER_LIMIT))?;
        // Reloads that came before the pause are done. From here on the loader goes on when `loader` is dropped.
        let is_known =
            self.parts.reloads.load(Ordering::Acquire) == self.parts.reloads_before.load(Ordering::Acquire);
        if let Some(why) = unknown_to_another(is_known, waits) {
            return Err(io::Error::other(why));
        }
        let taken = async { timeout(PEN_LIMIT, self.parts.pen.take_away()).await };
        let writing = self.parts.runtime.block_on(taken);
        let writing = writing.map_err(|_| late("the copies of zones were not written", PEN_LIMIT))?;
        Ok(Paused { loader, _writing: writing })
    }
}

impl Parts {
    /// Copies of sockets, and the ways to processes that still have connections of them.
    fn copy(&self, of: &Handed) -> io::Result<Handed> {
        let mut copy = of.try_clone()?;
        let address = copy.udp.first().map(UdpSocket::local_addr).transpose()?;
        let mut sockets = self.quic.iter().filter_map(Weak::upgrade);
        if let Some(shared) = sockets.find(|shared| address.is_some_and(|it| shared.is_at(it))) {
            copy.channels = shared.channels()?;
        }
        Ok(copy)
    }
}

impl Offer for Heir {
    fn sockets(&self) -> io::Result<(Vec<Handed>, Secrets)> {
        let copies = lock(&self.parts.copies);
        if copies.is_empty() {
            return Err(io::Error::other("it is about to end; start again when it has"));
        }
        // The ways between processes are the runtime's.
        let _inside = self.parts.runtime.enter();
        let copies = copies.iter().map(|of| self.parts.copy(of)).collect::<io::Result<_>>()?;
        // It begins with who is up, and reads that after this.
        if let Some(_writing) = self.parts.pen.try_take() {
            self.parts.board.keep_all();
        }
        // The new process reads its config after this.
        let reloads = self.parts.reloads.load(Ordering::Acquire);
        self.parts.reloads_before.store(reloads, Ordering::Release);
        self.parts.has_handed.store(true, Ordering::Release);
        Ok((copies, self.parts.secrets.clone()))
    }

    fn hold(&self, heir: &Loaded) -> io::Result<bool> {
        self.compare(heir)?;
        let paused = self.pause()?;
        self.parts.board.hold(true);
        *lock(&self.paused) = Some(paused);
        Ok(self.parts.unsettled.is_settled())
    }

    fn resume(&self) {
        self.parts.board.hold(false);
        drop(lock(&self.paused).take());
    }

    fn leave(&self) -> Vec<Moved> {
        let Parts { stop, loops, departures, drain, tasks, acceptors, runtime, .. } = &*self.parts;
        stop.leave();
        departures.begin();
        drain.cancel();
        acceptors.close();
        sys::end(std::mem::take(&mut *lock(loops)));
        let ended = async { timeout(LEAVE_LIMIT, acceptors.wait()).await };
        if runtime.block_on(ended).is_err() {
            tracing::warn!("a listener did not end within {LEAVE_LIMIT:?}");
        }
        // Connections without a question end at once, so that what comes from now on is asked of the other process. Those of QUIC
        // ask it themselves.
        tasks.close();
        let _ = runtime.block_on(async { timeout(IDLE_LIMIT, tasks.wait()).await });
        lock(&self.parts.copies).clear();
        departures.take()
    }

    fn pass(&self, pid: u32, passing: Passing) {
        self.parts.pen.break_off();
        if let Some(paused) = lock(&self.paused).take() {
            // The loader is gone only when the server ends.
            let _ = paused.loader.send(Over::Passing(passing));
        }
        self.parts.superseded.send_replace(Some(pid));
    }
}

/// Why a process that has these zones would take one away; none if it would not. A zone whose file is gone goes, and so does one
/// that is taken from others: the new config does not name it.
fn lacking(heir: &Loaded, shown: &[Shown], is_there: impl Fn(&str) -> bool) -> Option<String> {
    let mut served = shown.iter().filter(|zone| zone.zone.is_some());
    if heir.zones.is_empty() && served.clone().next().is_some() {
        let why = "the new process has no zones, and this one has; is their folder there (setting `zones`)?";
        return Some(why.to_owned());
    }
    let is_lost =
        |zone: &&Shown| !heir.zones.contains(&zone.apex.to_string()) && zone.is_own && is_there(&zone.file);
    served.find(is_lost).map(|Shown { apex, file, .. }| {
        format!(
            "the new process has no zone {apex}, which this one serves, and {file} is there; SIGHUP or POST /reload here \
             first lets go of a zone that is no longer wanted"
        )
    })
}

/// Why another process would not know all that the operator has told this one, or is to tell it.
fn unknown_to_another(knows_config: bool, waits: bool) -> Option<&'static str> {
    match (knows_config, waits) {
        (false, _) => Some("the config was read again meanwhile; start again"),
        (true, true) => Some(
            "an edit waits for SIGHUP or POST /reload, since it makes records public; the log says which. Another process \
             would not wait: give that word first, or mend the zone",
        ),
        (true, false) => None,
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything can panic.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::parse_file;

    fn shown(apex: &str, is_own: bool) -> Shown {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zone");
        std::fs::write(&path, "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 192.0.2.1\n")
            .unwrap();
        let apex = Name::parse_absolute(apex).unwrap();
        let zone = parse_file(&path, apex.clone()).unwrap().zone.map(Arc::new);
        assert!(zone.is_some());
        let file = apex.to_string();
        Shown { apex, file, is_own, state: "current", serial: Some(1), error: None, zone, divided: None }
    }

    #[test]
    fn no_process_takes_over_that_lacks_a_zone_whose_file_is_there() {
        let served = [shown("a.ex.", true), shown("b.ex.", true), shown("c.ex.", false)];
        let check = |zones: &[&str], gone: &str, expected: Option<&str>| {
            let zones = zones.iter().map(|&zone| zone.to_owned()).collect();
            let found = lacking(&Loaded { zones, broken: Vec::new() }, &served, |file| file != gone);
            let is_it = |found: &String| expected.is_some_and(|expected| found.contains(expected));
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.iter().all(is_it), "{found:?}");
        };
        check(&["a.ex.", "b.ex.", "c.ex."], "", None);
        check(&["a.ex.", "b.ex."], "", None);
        check(&["a.ex.", "c.ex.", "d.ex."], "", Some("no zone b.ex."));
        check(&["a.ex.", "c.ex."], "b.ex.", None);
        check(&[], "", Some("has no zones"));
        assert_eq!(lacking(&Loaded::default(), &[], |_| true), None);
    }

    #[test]
    fn no_process_takes_over_that_does_not_know_what_this_one_was_told() {
        assert_eq!(unknown_to_another(true, false), None);
        assert!(unknown_to_another(false, false).unwrap().contains("read again"));
        assert!(unknown_to_another(true, true).unwrap().contains("an edit waits"));
    }
}
