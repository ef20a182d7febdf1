//! The server: sockets, the loops on them, the world that they answer from, and its reload.
//!
//! ```text
//! config ─▶ bind ─▶ first load ─▶ UDP threads; TCP, TLS, HTTPS and QUIC tasks; admin ─▶ Running ─▶ drain
//!                        │              ▲
//!                        └▶ reload ─▶ world (one pointer, swapped as a whole)
//! ```
//!
//! Invariant: no query is answered before every address is bound and the first world is loaded. Until then the kernel
//! refuses TCP connections, and the server discards UDP packets, whose senders have asked another server by then.

mod accept;
mod bind;
mod connection;
mod descriptors;
mod https;
mod listeners;
pub(crate) mod local;
mod memory;
mod notify;
mod numbers;
mod pen;
mod quic;
pub(crate) mod reload;
mod responder;
pub(crate) mod secondary;
mod secrets;
mod signal;
mod steer;
mod stream;
#[expect(unsafe_code, reason = "recvmmsg and sendmmsg take raw pointers; the module states its invariant")]
mod sys;
mod table;
mod tls;
mod transfer;
mod udp;
mod update;
mod workers;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::bind::BindError;
pub use self::listeners::{Encrypted, Listening};
use self::listeners::{Listeners, Side};
pub(crate) use self::local::trial_of_path;
pub use self::reload::Loads;
use self::reload::{Loader, Service};
use self::responder::Ways;
use self::secrets::Held;
pub use self::secrets::SecretError;
pub(crate) use self::secrets::keys;
use self::signal::Signal;
use self::steer::board::Board;
use self::steer::nodes::Mesh;
pub(crate) use self::steer::nodes::inspect as inspect_quorum;
pub(crate) use self::sys::{raise_descriptor_limit, return_large_blocks};
use self::tls::Certificates;
pub use self::tls::{CertificateError, CertificateFault};
pub(crate) use self::tls::{Standing, inspect};
use self::workers::{Loop, Workers, into_tokio};
use crate::admin::{self, TokenError};
use crate::catalog::report::Report;
use crate::catalog::{self, Catalog, FolderError, Unsettled};
use crate::client::Listener;
use crate::config::Config;
use crate::log;
use crate::metrics::{Metrics, Steered};
use crate::steer::rules::Target;
use crate::world::World;

/// Longest wait for open connections when the server stops; more than any deadline of one message.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A server that answers.
pub struct Running {
    listening: Listening,
    loops: Vec<Loop>,
    stop: Arc<AtomicBool>,
    ready: Arc<AtomicBool>,
    drain: CancellationToken,
    tasks: TaskTracker,
    loader: Loader,
    loads: watch::Receiver<Loads>,
    /// That of clients, and the operator's.
    certificates: Vec<Arc<Certificates>>,
    admin: Option<admin::Running>,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind(BindError),
    /// The folder of zone files cannot be read.
    Folder(FolderError),
    /// The admin listener's token cannot be read or made.
    Token(TokenError),
    /// The secret of server cookies cannot be read.
    Secret(SecretError),
    /// The certificate of the encrypted listeners is of no use.
    Certificate(CertificateError),
    /// The certificate of the admin listener is of no use.
    AdminCertificate(CertificateError),
    /// The certificate of `[steer.quorum]`, or its roots, are of no use.
    Quorum(String),
    /// The system gave no thread.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Folder(error) => write!(f, "{error} (setting `zones`)"),
            Self::Token(error) => error.fmt(f),
            Self::Secret(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
            Self::AdminCertificate(error) => write!(f, "[admin] {error}"),
            Self::Quorum(error) => write!(f, "{error} (setting `steer.quorum`)"),
            Self::Thread(error) => write!(f, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The zones that the config names, for callers that serve them on sockets of their own. This blocks.
pub(crate) fn load(config: &Config) -> Result<(Catalog, World), StartError> {
    // A signature covers bytes, and those that this caller sends are not ours: to it, no key is known.
    let cookies = Held::load(config, None).map_err(StartError::Secret)?.cookies;
    let secrets = Held { cookies, ..Held::default() };
    let (catalog, world, report) = reload::first(config, secrets, None).map_err(StartError::Folder)?;
    catalog::log::report(&report);
    Ok((catalog, world))
}

/// Binds, loads, and answers.
pub async fn start(mut config: Config) -> Result<Running, StartError> {
    config.members = reload::catalogs::of_before(&config);
    let sockets = Listeners::bind(&config).map_err(StartError::Bind)?;
    let hosts = config.admin.as_ref().map(|admin| admin.hosts.clone()).unwrap_or_default();
    let token = config.admin.as_ref().map(|admin| admin::token(&admin.token_file)).transpose();
    let token = token.map_err(StartError::Token)?;
    let certificates = config.tls.as_ref().map(Certificates::load).transpose();
    let certificates = certificates.map_err(StartError::Certificate)?;
    let (board, targeted, mesh) = steered(&config)?;
    let secrets = Held::load(&config, None).map_err(StartError::Secret)?;
    let (catalog, world, report, unsettled) =
        first_load(&config, &secrets).await.map_err(StartError::Folder)?;

    log::queries::obey(config.log.queries.as_ref());
    board.adopt(&world);
    steer::first_round(&board).await;
    sockets.open().map_err(StartError::Bind)?;
    let metrics = Arc::new(Metrics::default());
    let (progress, loads) = watch::channel(Loads::default());
    let (orders, inbox) = mpsc::unbounded_channel();
    let (plans, planned) = mpsc::unbounded_channel();
    let mut service = Service::new(Arc::clone(&metrics), progress, (orders, plans), Arc::clone(&board));
    service.follow(&config);
    service.publish(Some(world), &report);
    reload::tell_warnings(&config, &report);
    drop(report);

    let (notices, noticed) = mpsc::channel(secondary::MOST_NOTICES);
    let (signals, signalled) = std::sync::mpsc::channel();
    let (updates, submissions) = update::way(signals.clone());
    let ways = Ways { notices, updates };
    let mut workers = Workers::new(Arc::clone(&service.world), Arc::clone(&metrics), &config, ways);
    let listening = sockets.addresses();
    let admin_listener = sockets.admin.map(into_tokio);
    let sides = [(sockets.outside, Listener::Outside), (sockets.inside, Listener::Inside)];
    serve_all(&mut workers, sides, certificates.as_ref(), &metrics).map_err(StartError::Thread)?;
    let mesh = mesh.zip(sockets.quorum.map(into_tokio));
    keep_pools(&workers, &metrics, &board, (targeted, mesh));
    workers.tasks.spawn(notify::run(inbox, Arc::clone(&metrics), workers.drain.clone()));
    let world = Arc::clone(&service.world);
    let seen = admin::Seen::new(&world, &service.shown, config.has_inside());
    let loader = Loader::start(config, secrets, catalog, service, (signals, signalled, submissions))
        .map_err(StartError::Thread)?;
    let context =
        secondary::plan::Context::new(world, Arc::clone(&metrics), loader.signals.clone(), unsettled);
    workers.tasks.spawn(secondary::run(planned, noticed, context, workers.drain.clone()));
    let ready = Arc::new(AtomicBool::new(true));
    let reloading = (loader.signals.clone(), certificates.clone());
    let admin = admin_listener.zip(token).map(|(listener, token)| {
        let admin = admin::Admin {
            metrics,
            ready: Arc::clone(&ready),
            token,
            hosts,
            drain: Box::new(move |address, is_out| board.drain(address, is_out)),
            reload: reload_of(reloading),
            seen,
            live: admin::Live::default(),
        };
        admin::run(listener, admin)
    });
    let Workers { loops, stop, drain, tasks, .. } = workers;
    Ok(Running { listening, loops, stop, ready, drain, tasks, loader, loads, certificates, admin })
}

/// The board of members, the targets of its checks, and the other name servers.
type SteeredBy = (Arc<Board>, mpsc::UnboundedReceiver<Vec<Target>>, Option<Mesh>);

fn steered(config: &Config) -> Result<SteeredBy, StartError> {
    let mesh = config.quorum.clone().map(Mesh::new).transpose().map_err(StartError::Quorum)?;
    let nodes = mesh.as_ref().map(Mesh::names).unwrap_or_default();
    let (targets, targeted) = mpsc::unbounded_channel();
    Ok((Arc::new(Board::new(config.state.clone(), targets, &nodes)), targeted, mesh))
}

/// Keeps checking members, telling other name servers and hearing them.
fn keep_pools(
    workers: &Workers,
    metrics: &Metrics,
    board: &Arc<Board>,
    (targeted, mesh): (mpsc::UnboundedReceiver<Vec<Target>>, Option<(Mesh, TcpListener)>),
) {
    let pools = Arc::clone(board);
    metrics.pools.set(move || Steered { pools: pools.pools(), nodes: pools.nodes() });
    workers.tasks.spawn(steer::run(targeted, Arc::clone(board), workers.drain.clone()));
    if let Some((mesh, listener)) = mesh {
        workers.tasks.spawn(mesh.run(listener, Arc::clone(board), workers.drain.clone()));
    }
}

/// Does what `POST /reload` asks for.
fn reload_of(
    (signals, certificates): (std::sync::mpsc::Sender<Signal>, Option<Arc<Certificates>>),
) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || {
        // The loader is gone only when the server ends.
        let _ = signals.send(Signal::Reload);
        certificates.iter().for_each(|it| it.ask());
    })
}

/// Serves the sockets of both sides, and keeps their certificate up to date.
fn serve_all(
    workers: &mut Workers,
    sides: [(Side, Listener); 2],
    certificates: Option<&Arc<Certificates>>,
    metrics: &Arc<Metrics>,
) -> io::Result<()> {
    for (sockets, side) in sides {
        workers.serve(sockets.plain, side)?;
        if let Some(certificates) = certificates {
            workers.serve_encrypted(sockets.encrypted, side, certificates)?;
        }
    }
    if let Some(certificates) = certificates {
        workers.tasks.spawn(Arc::clone(certificates).follow(Arc::clone(metrics), workers.drain.clone()));
    }
    Ok(())
}

async fn first_load(
    config: &Config,
    secrets: &Held,
) -> Result<(Catalog, World, Report, Unsettled), FolderError> {
    let (config, secrets) = (config.clone(), secrets.clone());
    let load = move || {
        let mut unsettled = Unsettled::default();
        let (catalog, world, report) = reload::first(&config, secrets, Some(&mut unsettled))?;
        Ok((catalog, world, report, unsettled))
    };
    tokio::task::spawn_blocking(load).await.expect("loading does not panic")
}

impl Running {
    /// Where it listens.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Reads the config, the zone files and the certificate again, as SIGHUP does.
    pub fn reload(&self) {
        // The loader is gone only when the server ends.
        let _ = self.loader.signals.send(Signal::Reload);
        self.certificates.iter().for_each(|it| it.ask());
    }

    /// Tells of every load that found something new, good or bad.
    pub fn loads(&self) -> watch::Receiver<Loads> {
        self.loads.clone()
    }

    /// Takes no more connections, answers what was asked on those that are there, and ends.
    ///
    /// UDP is answered until the last connection has ended, and `/readyz` says for as long that this server goes: nobody
    /// else has its addresses before it is gone, so that a question that it does not answer nobody does.
    pub async fn drain(self) {
        let Self { loops, stop, ready, drain, tasks, loader, admin, .. } = self;
        ready.store(false, Ordering::Release);
        drain.cancel();
        tasks.close();
        if timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "connections were cut after {DRAIN_LIMIT:?}");
        }
        stop.store(true, Ordering::Release);
        let ended = tokio::task::spawn_blocking(move || {
            workers::end(loops);
            loader.stop();
        });
        ended.await.expect("stopping does not panic");
        if let Some(admin) = admin {
            admin.stop().await;
        }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
