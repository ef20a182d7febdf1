//! The start of a server: binds, loads, and answers; a process before ends only when this one does.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::handover::systemd::{self, Passed};
use super::handover::{Door, Handed, Passes, Secrets};
use super::heir::{Heir, Kept};
use super::listeners::{Datagrams, Listeners, Listening, Operator, SETTINGS};
use super::local::{Local, SocketFile};
use super::notify::Order;
use super::pen::Pen;
use super::quic::SharedSocket;
use super::reload::{self, Idle, Loads, Service};
use super::responder::Ways;
use super::secondary::plan::{Context, Plans};
use super::secrets::Held;
use super::signal::Signal;
use super::steer::board::Board;
use super::steer::nodes::Mesh;
use super::takeover::{self, Meeting};
use super::tls::Certificates;
use super::workers::{Workers, into_tokio};
use super::{Running, StartError, notify, secondary, steer, tls, update};
use crate::admin::{self, Arrivals, SharedTerms};
use crate::catalog::report::Report;
use crate::catalog::{Catalog, FolderError, Unsettled};
use crate::client::Listener;
use crate::clock;
use crate::config::{self, Config};
use crate::log;
use crate::metrics::{Metrics, Steered};
use crate::steer::rules::Target;
use crate::wire::Noticed;
use crate::world::World;

/// Binds, loads, and answers: with the sockets of the process that answers now, if one does and meets others in the run folder.
/// Where that process ends, this one goes on; from then on another may take over from this one.
///
/// # Errors
/// When the server cannot start. A process before goes on then as if nothing had been.
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_with(config, Passed::default(), CancellationToken::new()).await
}

/// As [`start`], with the sockets that systemd passed. Once it is told to `stop`, it takes over from no other process.
///
/// # Errors
/// As [`start`], and if it was told to stop.
pub(crate) async fn start_with(
    config: Config,
    passed: Passed,
    stop: CancellationToken,
) -> Result<Running, StartError> {
    let mut meeting = Meeting::of(&config, stop).await?;
    let mut config = if meeting.is_alone() { config } else { read_again(config)? };
    config.members = reload::catalogs::of_before(&config);
    let mut handed = meeting.sockets(passed);
    let sockets = Listeners::bind(&config, &mut handed).map_err(StartError::Bind)?;
    meeting.recognize(&handed)?;
    meeting.unwanted = handed.close(&SETTINGS);
    let (terms, own) = operating(&config)?;
    let certificates = config.tls.as_ref().map(Certificates::load).transpose();
    let certificates = certificates.map_err(StartError::Certificate)?;
    let (board, targeted, mesh) = steered(&config)?;
    if !meeting.is_alone() {
        board.judge_as_read();
    }
    let mut secrets = Held::load(&config, None).map_err(StartError::Secret)?;
    meeting.share(&config, &mut secrets.cookies);
    let mut first = first_load(&config, &secrets).await.map_err(StartError::Folder)?;

    board.adopt(&World::default(), &first.world);
    steer::first_round(&board).await;
    if !meeting.is_alone() {
        let settled = meeting.hold(&first.report).await?;
        first = catch_up(&mut config, &secrets, first, settled).await.map_err(StartError::Folder)?;
        board.catch_up();
    }
    sockets.open().map_err(StartError::Bind)?;
    let known = Known { config, secrets, terms, own, certificates, board };
    known.answer(meeting, sockets, first).await?.follow((targeted, mesh))
}

/// The config as it is now: the process before tells of reloads since it handed its sockets over, and of none before.
fn read_again(config: Config) -> Result<Config, StartError> {
    match &config.file {
        Some(path) => config::load(path).map_err(StartError::Config),
        None => Ok(config),
    }
}

/// The terms by which the operator is answered, and the certificate that is shown then.
fn operating(config: &Config) -> Result<(Option<SharedTerms>, Option<Arc<Certificates>>), StartError> {
    let Some(admin) = &config.admin else { return Ok((None, None)) };
    let terms = admin::Terms::read(admin).map_err(StartError::Token)?;
    let own = admin.tls.as_ref().map(Certificates::load).transpose();
    Ok((Some(Arc::new(ArcSwap::from_pointee(terms))), own.map_err(StartError::AdminCertificate)?))
}

/// The first version of all zones.
struct First {
    catalog: Catalog,
    world: World,
    report: Report,
    unsettled: Unsettled,
}

async fn first_load(config: &Config, secrets: &Held) -> Result<First, FolderError> {
    let (config, secrets) = (config.clone(), secrets.clone());
    let load = move || {
        let mut unsettled = Unsettled::default();
        let (catalog, world, report) = reload::first(&config, secrets, Some(&mut unsettled))?;
        Ok(First { catalog, world, report, unsettled })
    };
    tokio::task::spawn_blocking(load).await.expect("loading does not panic")
}

/// Reads what the process before has written since. `settled`: it knows of which zones it is the primary, and this one is of
/// the same.
async fn catch_up(
    config: &mut Config,
    secrets: &Held,
    mut first: First,
    settled: bool,
) -> Result<First, FolderError> {
    let members = reload::catalogs::of_before(config);
    if members != config.members {
        config.members = members;
        first.catalog.set_copies(secrets.clone().over(config.terms()));
    }
    if settled {
        first.unsettled.settle_all();
    }
    let load = move || {
        let loaded = first.catalog.load(clock::system_now())?;
        if let Some(world) = loaded.world {
            crate::catalog::log::report(&first.report);
            (first.world, first.report) = (world, loaded.report);
        }
        Ok(first)
    };
    tokio::task::spawn_blocking(load).await.expect("loading does not panic")
}

/// The board of members, the targets of its checks, and the other name servers.
type SteeredBy = (Arc<Board>, mpsc::UnboundedReceiver<Vec<Target>>, Option<Mesh>);

fn steered(config: &Config) -> Result<SteeredBy, StartError> {
    let mesh = config.quorum.clone().map(Mesh::new).transpose().map_err(StartError::Quorum)?;
    let (own, nodes) = mesh.as_ref().map(Mesh::names).unwrap_or_default();
    let (targets, targeted) = mpsc::unbounded_channel();
    Ok((Arc::new(Board::new(config.state.clone(), targets, &own, &nodes)), targeted, mesh))
}

/// All that the config says, read.
struct Known {
    config: Config,
    secrets: Held,
    terms: Option<SharedTerms>,
    /// The operator's certificate.
    own: Option<Arc<Certificates>>,
    certificates: Option<Arc<Certificates>>,
    board: Arc<Board>,
}

/// The ends of channels whose other ends are in use already.
struct Inboxes {
    orders: mpsc::UnboundedReceiver<Order>,
    plans: mpsc::UnboundedReceiver<Plans>,
    notices: mpsc::Receiver<Noticed>,
}

/// A server that answers questions, and does nothing else yet.
struct Answering {
    known: Known,
    meeting: Meeting,
    workers: Workers,
    service: Service,
    loads: watch::Receiver<Loads>,
    inboxes: Inboxes,
    loader: Idle,
    catalog: Catalog,
    unsettled: Unsettled,
    listening: Listening,
    copies: Vec<Handed>,
    quic: [(Vec<Arc<SharedSocket>>, Listener); 2],
    admin: Option<Operator>,
    quorum: Option<TcpListener>,
    /// Updates that come to the process before.
    passes: Option<Passes>,
}

impl Known {
    /// Answers, and has the process before leave.
    async fn answer(
        self,
        mut meeting: Meeting,
        sockets: Listeners,
        first: First,
    ) -> Result<Answering, StartError> {
        let First { catalog, world, report, unsettled } = first;
        meeting.renew().await?;
        log::queries::obey(self.config.log.queries.as_ref());
        let metrics = Arc::new(Metrics::default());
        let (progress, loads) = watch::channel(Loads::default());
        let (ordered, orders) = mpsc::unbounded_channel();
        let (planned, plans) = mpsc::unbounded_channel();
        let board = Arc::clone(&self.board);
        let mut service = Service::new(Arc::clone(&metrics), progress, (ordered, planned), board);
        service.admin = self.terms.clone();
        service.follow(&self.config);
        service.publish(Some(world), &report);
        reload::tell_warnings(&self.config, &report);
        drop(report);

        let (noticed, notices) = mpsc::channel(secondary::MOST_NOTICES);
        let (signals, signalled) = std::sync::mpsc::channel();
        let (updates, submissions) = update::way(signals.clone());
        let loader = Idle::start(signals, signalled, submissions).map_err(StartError::Thread)?;
        let ways = Ways { notices: noticed, updates };
        let mut workers = Workers::new(Arc::clone(&service.world), metrics, &self.config, ways);
        let listening = sockets.addresses();
        let copies = copies(&meeting, &sockets, &self.config).map_err(StartError::Thread)?;
        let Listeners { outside, inside, admin, quorum } = sockets;
        let mut quic = [(Vec::new(), Listener::Outside), (Vec::new(), Listener::Inside)];
        for (side, (later, listener)) in [outside, inside].into_iter().zip(&mut quic) {
            workers.serve(side.plain, *listener).map_err(StartError::Thread)?;
            if let Some(certificates) = &self.certificates {
                let streams = (side.encrypted.tls, side.encrypted.https);
                workers.serve_encrypted(streams, *listener, certificates);
            }
            *later = registered(side.encrypted.quic, &meeting.secrets).map_err(StartError::Thread)?;
        }
        let left = match meeting.dismiss().await {
            Ok(left) => left,
            Err(refused) => {
                workers.give_way().await;
                return Err(refused);
            }
        };
        workers.adopt(left.connections);
        let inboxes = Inboxes { orders, plans, notices };
        Ok(Answering {
            known: self,
            meeting,
            workers,
            service,
            loads,
            inboxes,
            loader,
            catalog,
            unsettled,
            listening,
            copies,
            quic,
            admin,
            quorum,
            passes: left.passes,
        })
    }
}

/// Copies of all sockets, if there is anybody to give them to.
fn copies(meeting: &Meeting, sockets: &Listeners, config: &Config) -> io::Result<Vec<Handed>> {
    let is_anybody = meeting.threshold.is_some() || systemd::is_there();
    if is_anybody { sockets.copies(config) } else { Ok(Vec::new()) }
}

impl Answering {
    /// Does all that one process alone may do.
    fn follow(
        mut self,
        (targeted, mesh): (mpsc::UnboundedReceiver<Vec<Target>>, Option<Mesh>),
    ) -> Result<Running, StartError> {
        let quic = self.serve_quic().map_err(StartError::Thread)?;
        self.meeting.unwanted.iter().for_each(|name| systemd::forget(name));
        self.copies.iter().for_each(Handed::keep);
        let Self { known, meeting, workers, service, inboxes, unsettled, copies, .. } = self;
        let Known { config, secrets, terms, own, certificates, board } = known;
        let (metrics, pen) = (Arc::clone(&workers.metrics), Pen::default());
        let mesh = mesh.zip(self.quorum.map(into_tokio));
        keep_pools(&workers, &pen, &board, (targeted, mesh));
        workers.tasks.spawn(notify::run(inboxes.orders, Arc::clone(&metrics), workers.drain.clone()));
        let seen = admin::Seen::new(&service.world, &service.shown, config.has_inside());
        let shown = Arc::clone(&service.shown);
        let loader = self.loader.follow(config, secrets, self.catalog, service);
        let signals = loader.signals.clone();
        let context = Context {
            pen: pen.clone(),
            ..Context::new(
                Arc::clone(&workers.world),
                Arc::clone(&metrics),
                signals.clone(),
                unsettled.clone(),
            )
        };
        let secondaries = secondary::run(inboxes.plans, inboxes.notices, context, workers.drain.clone());
        workers.tasks.spawn(secondaries);
        let secrets = meeting.secrets.clone();
        let kept = Kept {
            copies,
            quic,
            secrets,
            loader: signals.clone(),
            pen,
            board: Arc::clone(&board),
            unsettled,
            shown,
            reloads: Arc::clone(&loader.reloads),
        };
        let ready = Arc::new(AtomicBool::new(true));
        let operator = self.admin.map(|socket| arrivals(socket, own.as_ref()));
        workers.tasks.spawn(follow_own(own.clone(), workers.drain.clone()));
        let certificates: Vec<_> = certificates.into_iter().chain(own).collect();
        if let Some(passes) = self.passes {
            let reload = reload_of((signals.clone(), certificates.clone()));
            takeover::make_passed(passes, workers.deputy(), reload);
        }
        let (heir, supersedes) = Heir::new(workers, kept);
        let admin = operator.zip(terms).map(|((arrivals, file), terms)| {
            let admin = admin::Admin {
                metrics,
                ready: Arc::clone(&ready),
                terms,
                drain: Box::new(move |address, is_out| board.drain(address, is_out)),
                reload: reload_of((signals, certificates.clone())),
                seen,
                live: admin::Live::default(),
            };
            admin::run(arrivals, file, admin)
        });
        let door = open(&meeting, &heir);
        let (listening, loads) = (self.listening, self.loads);
        Ok(Running { listening, ready, loader, loads, certificates, admin, heir, door, supersedes })
    }

    /// The process before has let go of these sockets.
    fn serve_quic(&mut self) -> io::Result<Vec<Weak<SharedSocket>>> {
        let mut all = Vec::new();
        let Some(certificates) = &self.known.certificates else { return Ok(all) };
        for (sockets, side) in &mut self.quic {
            let sockets = std::mem::take(sockets);
            all.extend(sockets.iter().map(Arc::downgrade));
            self.workers.serve_quic(sockets, *side, certificates, &self.meeting.secrets)?;
        }
        let (metrics, drain) = (Arc::clone(&self.workers.metrics), self.workers.drain.clone());
        self.workers.tasks.spawn(Arc::clone(certificates).follow(Some(metrics), drain));
        Ok(all)
    }
}

/// Does all that may fail of the start of QUIC while the process before still answers.
pub(super) fn registered(sockets: Vec<Datagrams>, secrets: &Secrets) -> io::Result<Vec<Arc<SharedSocket>>> {
    sockets.into_iter().map(|it| SharedSocket::new(it.socket, secrets.generation, it.before)).collect()
}

/// The operator's socket as the admin listener takes it, and the file to remove when it ends.
fn arrivals(socket: Operator, own: Option<&Arc<Certificates>>) -> (Arrivals, Option<SocketFile>) {
    match socket {
        Operator::Tcp(listener) => {
            let terms = |own| tls::terms(own, &[b"http/1.1"], tls::STREAM_VERSIONS, None);
            let tls = own.map(|own| TlsAcceptor::from(Arc::new(terms(own))));
            (Arrivals::Tcp(into_tokio(listener), tls), None)
        }
        Operator::Unix(Local { listener, file }) => {
            let listener = UnixListener::from_std(listener);
            let listener = listener.expect("the listener does not block and the runtime is here");
            (Arrivals::Unix(listener), Some(file))
        }
    }
}

/// Keeps the operator's certificate up to date. Metrics tell of that of clients.
async fn follow_own(own: Option<Arc<Certificates>>, drain: CancellationToken) {
    if let Some(own) = own {
        own.follow(None, drain).await;
    }
}

/// Lets the next process take over.
fn open(meeting: &Meeting, heir: &Heir) -> Option<Door> {
    match Door::open(meeting.threshold.as_ref()?, heir.clone()) {
        Ok(door) => {
            tracing::info!("the next process may take over at {}", door.path().display());
            Some(door)
        }
        Err(error) => {
            tracing::error!("no process can take over from this one: {error}");
            None
        }
    }
}

/// Keeps checking members, telling other name servers and hearing them.
fn keep_pools(
    workers: &Workers,
    pen: &Pen,
    board: &Arc<Board>,
    (targeted, mesh): (mpsc::UnboundedReceiver<Vec<Target>>, Option<(Mesh, tokio::net::TcpListener)>),
) {
    let slots = Arc::new(steer::Slots::of_process());
    let (pools, checks) = (Arc::clone(board), Arc::clone(&slots));
    workers.metrics.pools.set(move || Steered {
        pools: pools.pools(),
        nodes: pools.nodes(),
        leaving: pools.leaving(),
        late: checks.late(),
    });
    let drain = || workers.drain.clone();
    workers.tasks.spawn(steer::run(targeted, slots, Arc::clone(board), pen.clone(), drain()));
    if let Some((mesh, listener)) = mesh {
        workers.tasks.spawn(mesh.run(listener, Arc::clone(board), drain()));
    }
}

/// Does what `POST /reload` asks for.
fn reload_of(
    (signals, certificates): (Sender<Signal>, Vec<Arc<Certificates>>),
) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || {
        // The loader is gone only when the server ends.
        let _ = signals.send(Signal::Reload);
        certificates.iter().for_each(|it| it.ask());
    })
}
