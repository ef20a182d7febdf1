//! Starting an edge and stopping it: the listeners for clients and the operator's, side by side over one cache.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::admin;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::draining::Draining;
use crate::origin::names;
use crate::reload::{NotReloaded, Reloaded, Reloader};
use crate::serve::{
    Alternative, Door, Guards, Limits, Listeners, Offer, Service, Strangers, Terms, endpoint,
};
use crate::tls::{self, Certificates, Tickets};

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener's address cannot be taken.
    Bind {
        /// The config's key: `listen` or `admin.listen`.
        setting: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
    /// A certificate, its key or the secret of tickets cannot be used.
    Tls(Box<dyn std::error::Error + Send + Sync>),
    /// The admin token's file cannot be read or made.
    Token {
        /// Where it should be.
        path: PathBuf,
        /// The system's error.
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
            Self::Tls(error) => write!(f, "{error}"),
            Self::Token { path, error } => {
                write!(f, "cannot read or make the token file {}: {error}", path.display())?;
                f.write_str(
                    "; its folder must be there, and writable for this user: name another in the config, such as \
                     admin.token_file = \"/var/lib/verge-edge/token\"",
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
    /// The listeners over TLS, in the config's order.
    pub tls: Vec<SocketAddr>,
    /// The listeners of HTTP/3, by UDP, in the config's order.
    pub quic: Vec<SocketAddr>,
    /// The operator's listener, if configured.
    pub admin: Option<SocketAddr>,
}

/// An edge that answers until it is drained.
#[derive(Debug)]
pub struct Running {
    listening: Listening,
    clients: Listeners,
    admin: Option<admin::Running>,
    reloader: Arc<Reloader>,
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
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(bind("listen", *address).await?);
    }
    let encrypted = match config.tls {
        None => None,
        Some(tls) => Some(Encrypted::start(tls, &clock).await?),
    };
    let admin_listener = match &config.admin {
        None => None,
        Some(admin) => {
            let bound = bind("admin.listen", admin.listen).await?;
            Some((bound, admin_token(admin)?, admin.clone()))
        }
    };
    let public: Vec<SocketAddr> = listeners.iter().map(|(_, address)| *address).collect();
    let ports = public.iter().map(SocketAddr::port).collect();
    let (limits, draining) = (config.limits, Draining::default());
    names::tell(config.sites.clone());
    let cache = Arc::new(Cache::new(config.name, config.sites, &config.cache.bounds, ports, clock));
    let ports = encrypted.iter().flat_map(|it| &it.quic).map(|(_, address)| address.port()).collect();
    let service = Service {
        cache: Arc::clone(&cache),
        trusted_proxies: ArcSwap::from_pointee(config.trusted_proxies),
        tunnels: Arc::new(Semaphore::new(limits.upgrades.min(Semaphore::MAX_PERMITS))),
        draining: draining.clone(),
        guards: Guards::default(),
        https_port: encrypted.as_ref().and_then(|it| Some(it.listeners.first()?.1.port())),
        alternative: Alternative::new(ports, draining.clone()),
        strangers: Strangers::default(),
    };
    let clients = Listeners::new(service, limits);
    clients.introduced_by(config.proxy_protocol);
    let reloader = Reloader::new(config.file, config.written, Arc::clone(&cache), clients.clone());
    let reloader = Arc::new(reloader);
    let admin = admin_listener.map(|((listener, address), token, config)| {
        let reloader = Arc::clone(&reloader);
        let admin = admin::Admin::new(
            Arc::clone(&cache),
            (token, config.hosts),
            config.purges_per_minute,
            limits.pace.stall_timeout,
            draining,
            Box::new(move || reloader.reload().map(done).map_err(|error| error.to_string())),
        );
        (address, admin::run(listener, admin))
    });
    for (listener, _) in listeners {
        tokio::spawn(clients.clone().accept(listener, Door::Plain));
    }
    let (tls, quic) = match encrypted {
        Some(encrypted) => encrypted.serve(&clients, &limits)?,
        None => Default::default(),
    };
    let listening = Listening { public, tls, quic, admin: admin.as_ref().map(|(address, _)| *address) };
    Ok(Running { listening, clients, admin: admin.map(|(_, running)| running), reloader })
}

/// For the admin listener.
fn done(reloaded: Reloaded) -> admin::ReloadDone {
    let told = |changes: &[config::Change]| changes.iter().map(ToString::to_string).collect();
    admin::ReloadDone { changed: told(&reloaded.changed), needs_restart: told(&reloaded.needs_restart) }
}

/// The parts that serve clients over TLS.
struct Encrypted {
    listeners: Vec<(TcpListener, SocketAddr)>,
    quic: Vec<(UdpSocket, SocketAddr)>,
    certificates: Arc<Certificates>,
    tickets: Option<Arc<Tickets>>,
    clock: Clock,
}

impl Encrypted {
    async fn start(tls: config::Tls, clock: &Clock) -> Result<Self, StartError> {
        let certificates =
            Certificates::load(tls.certificates).map_err(|error| StartError::Tls(error.into()))?;
        let tickets = tls.ticket_secret.map(|path| Tickets::load(&path, clock.clone())).transpose();
        let tickets = tickets.map_err(|error| StartError::Tls(error.into()))?.map(Arc::new);
        let mut listeners = Vec::new();
        for address in tls.listen {
            listeners.push(bind("listen_tls", address).await?);
        }
        let quic = tls.quic.into_iter().map(bind_udp).collect::<Result<_, _>>()?;
        Ok(Self { listeners, quic, certificates, tickets, clock: clock.clone() })
    }

    /// Serves, and follows the files; where, over TCP and by UDP.
    fn serve(
        self,
        clients: &Listeners,
        limits: &Limits,
    ) -> Result<(Vec<SocketAddr>, Vec<SocketAddr>), StartError> {
        let config = |protocols| tls::terms(&self.certificates, self.tickets.clone(), protocols);
        let terms = Terms::new(config(&[tls::HTTP_2, tls::HTTP_1]), Arc::clone(&self.certificates));
        let addresses = self.listeners.iter().map(|(_, address)| *address).collect();
        let quic = self.quic.iter().map(|(_, address)| *address).collect();
        let offer = Offer::new(config(&[tls::HTTP_3]), terms.clone());
        for (socket, address) in self.quic {
            let failed = |error| StartError::Bind { setting: "listen_quic", address, error };
            let endpoint = endpoint(socket, &offer, limits).map_err(failed)?;
            clients.accept_quic(endpoint, offer.clone(), address);
        }
        for (listener, _) in self.listeners {
            tokio::spawn(clients.clone().accept(listener, Door::Tls(terms.clone())));
        }
        let followed = tls::follow(self.certificates, self.tickets, self.clock, clients.metrics().clone());
        let closed = clients.closed();
        tokio::spawn(async move {
            tokio::select! {
                () = followed => {}
                () = closed.cancelled_owned() => {}
            }
        });
        Ok((addresses, quic))
    }
}

/// The report on the certificates that `tls` names, as of now: a line each.
///
/// # Errors
/// When a file cannot be used: a start would fail.
pub fn inspect(tls: &config::Tls) -> Result<Vec<String>, StartError> {
    let clock = Clock::system();
    let certificates =
        Certificates::load(tls.certificates.clone()).map_err(|error| StartError::Tls(error.into()))?;
    if let Some(path) = &tls.ticket_secret {
        Tickets::load(path, clock.clone()).map_err(|error| StartError::Tls(error.into()))?;
    }
    Ok(tls::standings(&certificates, &clock))
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Bind { setting, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn bind_udp(address: SocketAddr) -> Result<(UdpSocket, SocketAddr), StartError> {
    let failed = |error| StartError::Bind { setting: "listen_quic", address, error };
    let socket = UdpSocket::bind(address).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

fn admin_token(admin: &config::Admin) -> Result<admin::Token, StartError> {
    let path = &admin.token_file;
    admin::Token::read_or_make(path).map_err(|error| StartError::Token { path: path.clone(), error })
}

impl Running {
    /// Where it can be reached.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Reads the config file again and takes it in, or changes nothing.
    ///
    /// # Errors
    /// When the file is at fault, or there is none.
    pub fn reload(&self) -> Result<Reloaded, NotReloaded> {
        self.reloader.reload()
    }

    /// Stops: health answers 503, idle connections close, requests in flight end within `limits.drain`.
    pub async fn drain(self) {
        self.clients.drain().await;
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
    }
}
