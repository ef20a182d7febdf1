//! Sockets, and the one function that holds every branch of a request.
//!
//! ```text
//! listener ─▶ io ─▶ gate ─▶ hyper ─▶ handler ─┬─ held: from the store
//!                                             └─ forward: through a flight, or past the cache
//! ```

mod answer;
pub mod body;
mod forward;
pub mod gate;
mod handler;
mod held;
mod listener;
mod patient_stream;
#[expect(unsafe_code, reason = "an ioctl takes a raw pointer; the module states its invariant")]
mod send_queue;
mod target;
mod tunnel;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use handler::HEALTH_PATH;
pub(crate) use handler::{Edge, Found};

use crate::admin;
use crate::clock::Clock;
use crate::config::Config;
use crate::flight::{FetchSite, Flights};
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::store::Store;
use listener::Floor;

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener's address cannot be taken.
    Bind {
        /// The config's key: `listen` or `admin.listen`.
        setting: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The admin token's file cannot be read or made.
    Token {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { setting, address, error } if error.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{address} is in use by another program: stop it, or change `{setting}` in the config (port 0 takes a free one)"
                )
            }
            Self::Bind { setting, address, error } => {
                write!(f, "cannot listen on {address}, which `{setting}` in the config asks for: {error}")
            }
            Self::Token { path, error } => {
                write!(
                    f,
                    "cannot read or make the token file {} (`admin.token_file`): {error}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

/// The addresses that were bound, with their real ports.
#[derive(Debug, Clone)]
pub struct Listening {
    /// In the config's order.
    pub public: Vec<SocketAddr>,
    /// The operator's listener, if configured.
    pub admin: Option<SocketAddr>,
}

/// A server that accepts requests until it is drained.
#[derive(Debug)]
pub struct Running {
    listening: Listening,
    floor: Floor,
    admin: Option<admin::Running>,
}

/// Binds every listener, then serves. Fails before anything is served if one address is taken.
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
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(bind("listen", *address).await?);
    }
    let admin_listener = match &config.admin {
        None => None,
        Some(admin) => {
            let bound = bind("admin.listen", admin.listen).await?;
            Some((bound, admin_token(admin)?, admin.purges_per_minute))
        }
    };
    let public = listeners.iter().map(|(_, address)| *address).collect();
    let edge = Arc::new(edge(config, clock));
    let admin = admin_listener.map(|((listener, address), token, purges_per_minute)| {
        (address, admin::run(listener, token, purges_per_minute, Arc::clone(&edge)))
    });
    let floor = floor(edge);
    for (listener, _) in listeners {
        tokio::spawn(floor.clone().accept(listener));
    }
    let listening = Listening { public, admin: admin.as_ref().map(|(address, _)| *address) };
    Ok(Running { listening, floor, admin: admin.map(|(_, running)| running) })
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Bind { setting, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn admin_token(admin: &crate::config::Admin) -> Result<admin::Token, StartError> {
    let path = &admin.token_file;
    admin::Token::read_or_make(path).map_err(|error| StartError::Token { path: path.clone(), error })
}

fn edge(config: Config, clock: Clock) -> Edge {
    let metrics = Metrics::default();
    let sites = config.sites.all();
    let store = Arc::new(Store::new(&config.cache));
    let fetch_sites = sites.iter().enumerate().map(|(index, site)| {
        let origins = Origins::new(site, &clock, &metrics);
        Arc::new(FetchSite { index, site: Arc::clone(site), origins })
    });
    let fetch_sites = fetch_sites.collect();
    let site_metrics = sites.iter().map(|site| metrics.site(&site.name)).collect();
    let name = config.name;
    let flights = Flights::new(Arc::clone(&store), clock.clone(), metrics.clone(), name.clone());
    Edge {
        name,
        sites: config.sites,
        fetch_sites,
        site_metrics,
        store,
        flights: Arc::new(flights),
        clock,
        metrics,
        limits: config.limits,
        trusted_proxies: config.trusted_proxies,
        tunnels: Arc::new(Semaphore::new(config.limits.upgrades.min(Semaphore::MAX_PERMITS))),
        draining: AtomicBool::new(false),
    }
}

fn floor(edge: Arc<Edge>) -> Floor {
    Floor {
        room: Arc::new(Semaphore::new(edge.limits.connections.min(Semaphore::MAX_PERMITS))),
        edge,
        connections: TaskTracker::new(),
        draining: CancellationToken::new(),
        closed: CancellationToken::new(),
        aborted: CancellationToken::new(),
    }
}

impl Running {
    /// Where it can be reached.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Stops: health answers 503, idle connections close, requests in flight end within `limits.drain`.
    ///
    /// New connections are still answered for half of that time, as long as old ones are open: who checks the health
    /// should see the 503, and who has not heard of it yet should not see a refused connection.
    pub async fn drain(self) {
        let Self { floor, admin, .. } = self;
        let half = floor.edge.limits.drain / 2;
        floor.edge.draining.store(true, Ordering::Release);
        floor.draining.cancel();
        floor.connections.close();
        let done = timeout(half, floor.connections.wait()).await;
        floor.closed.cancel();
        if done.is_err() && timeout(half.max(LEAST), floor.connections.wait()).await.is_err() {
            tracing::warn!(target: "verge_edge", left = floor.connections.len(), "drain limit reached, closing connections");
            floor.aborted.cancel();
            floor.connections.wait().await;
        }
        if let Some(admin) = admin {
            admin.stop().await;
        }
    }
}

/// A connection needs a moment to see that it is to end.
const LEAST: Duration = Duration::from_millis(1);
