//! How it travels: the sockets and the loops on them, the world they answer from, and its reload.
//!
//! ```text
//! config ─▶ bind ─▶ first load ─▶ UDP threads, TCP tasks, admin ─▶ Running ─▶ drain
//!                        │              ▲
//!                        └▶ reload ─▶ world (one pointer, swapped as a whole)
//! ```
//!
//! Invariant: nothing listens before every address is taken and the first world is loaded.

mod bind;
pub(crate) mod clock;
mod desk;
pub(crate) mod reload;
mod secrets;
mod stream;
#[expect(unsafe_code, reason = "recvmmsg and sendmmsg take raw pointers; the module states its invariant")]
mod sys;
mod udp;

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::bind::BindError;
use self::bind::Bound;
use self::desk::Desk;
pub use self::reload::{FolderError, Loads};
use self::reload::{Loader, Service, Signal};
pub use self::secrets::SecretError;
pub(crate) use self::sys::raise_descriptor_limit;
use crate::admin::{self, TokenError};
use crate::config::{Config, Tcp};
use crate::limit::{Limits, Rates};
use crate::metrics::Metrics;
use crate::view::{Listener, Transport, World};

/// Longest wait for open connections when the server stops; more than any deadline of one message.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Where a server listens, with the ports that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// UDP and TCP; who asks here is outside.
    pub outside: Vec<SocketAddr>,
    /// UDP and TCP; who asks here is inside if its address is.
    pub inside: Vec<SocketAddr>,
    /// The operator's HTTP.
    pub admin: Option<SocketAddr>,
}

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
}

/// A UDP thread and the socket that wakes it.
struct Loop {
    socket: Arc<UdpSocket>,
    thread: JoinHandle<()>,
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
            Self::Thread(error) => write!(f, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Binds, loads, and answers.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let sockets = Sockets::bind(&config).map_err(StartError::Bind)?;
    let token = config.admin.as_ref().map(|admin| admin::token(&admin.token_file)).transpose();
    let token = token.map_err(StartError::Token)?;
    let secrets = secrets::load(&config.cookies).map_err(StartError::Secret)?;
    let first = {
        let (config, secrets) = (config.clone(), secrets.clone());
        let load = move || reload::first(&config, secrets);
        tokio::task::spawn_blocking(load).await.expect("loading does not panic")
    };
    let (library, world, report) = first.map_err(StartError::Folder)?;

    let metrics = Arc::new(Metrics::default());
    let (progress, loads) = watch::channel(Loads::default());
    let service = Service { world: Arc::new(ArcSwap::default()), metrics: Arc::clone(&metrics), progress };
    service.publish(Some(world), &report);
    drop(report);

    let mut crew = Crew::new(Arc::clone(&service.world), Arc::clone(&metrics), &config);
    let listening = sockets.addresses();
    let admin_listener = sockets.admin.map(into_tokio);
    let sides = [(sockets.outside, Listener::Outside), (sockets.inside, Listener::Inside)];
    for (bound, side) in sides {
        crew.serve(bound, side).map_err(StartError::Thread)?;
    }
    let loader = Loader::start(config, secrets, library, service).map_err(StartError::Thread)?;
    let ready = Arc::new(AtomicBool::new(true));
    if let (Some(listener), Some(token)) = (admin_listener, token) {
        let signals = loader.signals.clone();
        let desk = admin::Desk {
            metrics,
            ready: Arc::clone(&ready),
            token,
            reload: Box::new(move || {
                // The loader is gone only when the server ends.
                let _ = signals.send(Signal::Reload);
            }),
        };
        crew.tasks.spawn(admin::serve(listener, desk, crew.drain.clone()));
    }
    let Crew { loops, stop, drain, tasks, .. } = crew;
    Ok(Running { listening, loops, stop, ready, drain, tasks, loader, loads })
}

impl Running {
    /// Where it listens.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Reads the config and the zone files again, as SIGHUP does.
    pub fn reload(&self) {
        // The loader is gone only when the server ends.
        let _ = self.loader.signals.send(Signal::Reload);
    }

    /// Tells of every load that found something new, good or bad.
    pub fn loads(&self) -> watch::Receiver<Loads> {
        self.loads.clone()
    }

    /// Takes no more questions, answers those that are there, and ends.
    pub async fn drain(self) {
        let Self { loops, stop, ready, drain, tasks, loader, .. } = self;
        ready.store(false, Ordering::Release);
        stop.store(true, Ordering::Release);
        drain.cancel();
        tasks.close();
        if timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "connections were cut after {DRAIN_LIMIT:?}");
        }
        let ended = tokio::task::spawn_blocking(move || {
            loops.into_iter().for_each(Loop::end);
            loader.stop();
        });
        ended.await.expect("stopping does not panic");
    }
}

impl Loop {
    fn end(self) {
        udp::wake(&self.socket);
        if self.thread.join().is_err() {
            tracing::error!("a UDP loop panicked");
        }
    }
}

struct Sockets {
    outside: Vec<Bound>,
    inside: Vec<Bound>,
    admin: Option<std::net::TcpListener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, BindError> {
        let sides = [("listen", &config.listen), ("internal.listen", &config.internal.listen)];
        // All are probed before any is taken: one of ours must not look like a stranger's to the next.
        for (setting, addresses) in sides {
            addresses.iter().try_for_each(|address| bind::probe(setting, *address))?;
        }
        let [outside, inside] = sides.map(|(setting, addresses)| -> Result<Vec<_>, BindError> {
            addresses.iter().map(|address| bind::bind(setting, *address, config.udp)).collect()
        });
        let admin =
            config.admin.as_ref().map(|admin| bind::bind_tcp("admin.listen", admin.listen)).transpose()?;
        Ok(Self { outside: outside?, inside: inside?, admin })
    }

    fn addresses(&self) -> Listening {
        let of = |bound: &[Bound]| bound.iter().map(|bound| bound.address).collect();
        Listening {
            outside: of(&self.outside),
            inside: of(&self.inside),
            admin: self.admin.as_ref().and_then(|admin| admin.local_addr().ok()),
        }
    }
}

fn into_tokio(listener: std::net::TcpListener) -> TcpListener {
    TcpListener::from_std(listener).expect("the listener does not block and the runtime is here")
}

/// Those who answer, as they are hired.
struct Crew {
    world: Arc<ArcSwap<World>>,
    metrics: Arc<Metrics>,
    tcp: Tcp,
    rates: Option<Rates>,
    loops: Vec<Loop>,
    stop: Arc<AtomicBool>,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Crew {
    fn new(world: Arc<ArcSwap<World>>, metrics: Arc<Metrics>, config: &Config) -> Self {
        Self {
            world,
            metrics,
            tcp: config.tcp,
            rates: config.rate_limit,
            loops: Vec::new(),
            stop: Arc::default(),
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn serve(&mut self, bound: Vec<Bound>, side: Listener) -> io::Result<()> {
        let shared = Arc::new(stream::Shared {
            config: self.tcp,
            listener: side,
            table: stream::Table::new(
                self.tcp.max_connections,
                self.tcp.max_connections_per_client,
                self.metrics.connections(side),
                clock::now(),
            ),
            tasks: self.tasks.clone(),
            drain: self.drain.clone(),
            desk: Mutex::new(self.desk(Transport::Tcp)),
        });
        for Bound { address, udp, tcp } in bound {
            for socket in udp {
                self.spawn_loop(address, Arc::new(socket), side)?;
            }
            self.tasks.spawn(stream::accept(into_tokio(tcp), Arc::clone(&shared)));
        }
        Ok(())
    }

    fn spawn_loop(&mut self, address: SocketAddr, socket: Arc<UdpSocket>, side: Listener) -> io::Result<()> {
        let (mut desk, stop, own) = (self.desk(Transport::Udp), Arc::clone(&self.stop), Arc::clone(&socket));
        let thread = std::thread::Builder::new().name(format!("udp {address}")).spawn(move || {
            // A packet that panics is a bug, but must not silence this core's clients for good.
            let mut run = || catch_unwind(AssertUnwindSafe(|| udp::run(&own, side, &stop, &mut desk)));
            while run().is_err() {
                tracing::error!(%address, "a UDP loop panicked and starts again; please report this");
            }
        })?;
        self.loops.push(Loop { socket, thread });
        Ok(())
    }

    fn desk(&self, transport: Transport) -> Desk {
        // A stream's client has proved its address, so that nobody else can be flooded through it.
        let rates = self.rates.filter(|_| transport == Transport::Udp);
        Desk::new(Arc::clone(&self.world), Limits::new(rates), self.metrics.counters(transport))
    }
}

#[cfg(test)]
mod tests;
