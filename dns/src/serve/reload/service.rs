//! A world goes into service: numbered, swapped in as a whole, told to secondaries, metrics and log.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch::Sender as Progress;

use super::Loads;
use crate::admin::SharedTerms;
use crate::catalog::report::Report;
use crate::catalog::{journal, log, parse_file};
use crate::clock;
use crate::config::{self, Config};
use crate::explain::shown::Shown;
use crate::metrics::{LoadResult, LoadTimes, Metrics, Served, ServedZone};
use crate::name::Name;
use crate::rtype::Type;
use crate::serve::notify::{Notices, Order};
use crate::serve::numbers::Numbers;
use crate::serve::secondary::plan::{Plan, Plans};
use crate::serve::steer::board::Board;
use crate::transfer::{later, serial_of};
use crate::view::Which;
use crate::world::World;

/// Between looks whether all loops have let go of the old world.
const RELEASE_PAUSE: Duration = Duration::from_millis(5);

/// Where loads go.
pub(in crate::serve) struct Service {
    pub(in crate::serve) world: Arc<ArcSwap<World>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) progress: Progress<Loads>,
    numbers: Numbers,
    notices: Notices,
    /// Zones that are to be taken from others.
    plans: UnboundedSender<Plans>,
    /// The folder of the journals of updates.
    journals: PathBuf,
    board: Arc<Board>,
    /// The operator's terms; none without an admin listener.
    pub(in crate::serve) admin: Option<SharedTerms>,
    /// The zones as the operator is told of them.
    pub(in crate::serve) shown: Arc<ArcSwap<Vec<Shown>>>,
}

impl Service {
    /// Nothing is in service yet.
    pub(in crate::serve) fn new(
        metrics: Arc<Metrics>,
        progress: Progress<Loads>,
        (orders, plans): (UnboundedSender<Order>, UnboundedSender<Plans>),
        board: Arc<Board>,
    ) -> Self {
        let (world, numbers) = (Arc::new(ArcSwap::default()), Numbers::default());
        let notices = Notices { orders, sources: Default::default() };
        let journals = PathBuf::new();
        let shown = Arc::default();
        Self { world, metrics, progress, numbers, notices, plans, journals, board, admin: None, shown }
    }

    /// Applies a config's settings for transfers to the next world.
    pub(in crate::serve) fn follow(&mut self, config: &Config) {
        let is_numbered = !config.transfers.is_empty() || !config.updates.is_empty();
        self.numbers.keep_in(is_numbered.then_some(config.state.as_path()), today());
        self.journals = config.journals();
        self.tell_database(config);
        let addresses = |listen: &[SocketAddr]| listen.iter().map(SocketAddr::ip).collect::<Vec<IpAddr>>();
        let outside = addresses(&config.listen);
        let inside = [addresses(&config.internal.listen), outside.clone()].concat();
        self.notices.sources = [outside, inside];
        let rules = Arc::new(config.terms().rules(|_| false));
        let plan = |zone: &config::Secondary| Plan {
            zone: zone.clone(),
            copy: zone.copy(&config.state),
            own: self.own_serial(zone, config),
            sources: self.notices.sources[usize::from(zone.view == Which::Internal)].clone(),
        };
        // The taker of zones is gone only when the server ends.
        let _ = self.plans.send(Plans { rules, zones: config.all_secondaries().map(plan).collect() });
    }

    /// Metrics show whether the database of places could be read.
    pub(super) fn tell_database(&self, config: &Config) {
        let is_read = config.database.as_ref().map(|database| database.fault().is_none());
        self.metrics.pools.database_is_read(is_read);
    }

    /// Nobody takes over after all.
    pub(super) fn go_on(&mut self) {
        self.numbers.read_again(today());
    }

    /// Puts a world in service and tells everybody.
    pub(in crate::serve) fn publish(&mut self, mut world: Option<World>, report: &Report) {
        let served = world.is_some();
        // A catalog that is new here may have been there before, under a serial that is lost: today's is later.
        let now = clock::moment().unix_seconds as u32;
        world.iter_mut().for_each(|world| world.list(now));
        let moved = world.as_mut().map(|world| self.numbers.number(world, today())).unwrap_or_default();
        // The state of members that is known holds from the first answer on.
        world.iter().for_each(|world| self.board.adopt(&self.world.load(), world));
        let old = world.map(|world| self.world.swap(Arc::new(world)));
        if served {
            self.metrics.replication.serials(self.numbers.serials());
            self.notices.order(&self.world.load(), &moved);
        }
        log::report(report);
        let mut now = *self.progress.borrow();
        now.ended += 1;
        now.generation += u64::from(served);
        let result = if report.is_good() { LoadResult::Good } else { LoadResult::Refused };
        let shown: Vec<Shown> = report.zones.iter().map(Shown::of).collect();
        self.metrics.unhidden(report.unhidden.count);
        self.metrics.loaded(result, in_service(&shown, now.generation, &self.journals));
        self.shown.store(Arc::new(shown));
        self.progress.send_replace(now);
        if let Some(old) = old {
            release(old);
        }
    }
}

impl Service {
    /// The serial under which this server had the zone last.
    fn own_serial(&self, zone: &config::Secondary, config: &Config) -> Option<u32> {
        // The zones of catalogs have no standing that depends on it.
        if zone.member_of.is_some() {
            return None;
        }
        let last = self.numbers.last(zone.view, &zone.zone);
        let known = later(last, zone.copy(&config.state).promoted());
        known.or_else(|| file_serial(&config.zones, &zone.zone))
    }
}

/// The serial of a zone's file, if it has one here.
fn file_serial(zones: &Path, apex: &Name) -> Option<u32> {
    let path = zones.join(format!("{}.zone", apex.to_string().trim_end_matches('.')));
    let zone = parse_file(&path, apex.clone()).ok()?.zone?;
    let soa = zone.records.iter().find(|record| record.rtype == Type::SOA)?;
    serial_of(&soa.rdata)
}

/// Warnings of a config that is new, also for names in it that no zone knows: their author meant to hide something, or to
/// publish it.
pub(in crate::serve) fn tell_warnings(config: &Config, report: &Report) {
    for warning in config.warnings.iter().chain(&config::unmatched_in(report, config)) {
        tracing::warn!("{warning}");
    }
}

/// The zones as the metrics show them after a load.
fn in_service(shown: &[Shown], generation: u64, journals: &Path) -> Served {
    let zones = shown.iter().map(|zone| ServedZone {
        apex: zone.apex.to_string(),
        state: zone.state,
        serial: zone.serial,
        records: zone.zone.as_ref().map(|zone| zone.records.len()),
        journal_bytes: fs::metadata(journal::path(journals, &zone.apex)).map_or(0, |file| file.len()),
        undecided: zone.divided.as_ref().map_or(0, |divided| divided.undecided.len()),
        error: zone.error.clone(),
        hidden: zone.hidden_by_rule(),
        loads: LoadTimes::default(),
    });
    Served { generation, zones: zones.collect() }
}

/// Days since 1970.
fn today() -> u64 {
    clock::moment().unix_seconds / 86_400
}

/// Frees an old world here and not in a loop: a million names take a while.
fn release(old: Arc<World>) {
    let mut old = old;
    loop {
        match Arc::try_unwrap(old) {
            Ok(world) => return drop(world),
            Err(shared) => old = shared,
        }
        std::thread::park_timeout(RELEASE_PAUSE);
    }
}
