//! Starting an edge and stopping it: the listeners for clients and the operator's, side by side over one cache.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use crate::admin;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::draining::Draining;
use crate::listening::Open;
pub use crate::listening::{Listening, StartError, inspect};
use crate::origin::names;
use crate::reload::{NotReloaded, Reloaded, Reloader};
use crate::serve::{Guards, Listeners, Permits, Service, Strangers};

/// An edge that answers until it is drained.
#[derive(Debug)]
pub struct Running {
    clients: Listeners,
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
    names::tell(config.sites.clone());
    let cache = Cache::new(config.name.clone(), config.sites.clone(), &config.cache.bounds, clock.clone());
    let cache = Arc::new(cache);
    let service = Service {
        cache: Arc::clone(&cache),
        trusted_proxies: ArcSwap::from_pointee(config.trusted_proxies.clone()),
        tunnels: Permits::new(config.limits.upgrades),
        draining: Draining::default(),
        guards: Guards::default(),
        whereabouts: ArcSwap::default(),
        strangers: Strangers::default(),
    };
    let clients = Listeners::new(service, config.limits);
    clients.introduced_by(config.proxy_protocol.clone());
    let mut open = Open::new(clients.clone(), clock);
    let next = open.prepare(&config)?;
    let reloader = Arc::new_cyclic(|reloader| {
        open.commit(next, reload(Weak::clone(reloader)));
        Reloader::new(&config, cache, clients.clone(), open, reload(Weak::clone(reloader)))
    });
    Ok(Running { clients, reloader })
}

/// For the operator's listener.
fn reload(reloader: Weak<Reloader>) -> admin::Reload {
    let told = |changes: &[config::Change]| changes.iter().map(ToString::to_string).collect();
    Arc::new(move || {
        let reloader = reloader.upgrade().ok_or("the edge is starting or ending")?;
        let done = reloader.reload().map_err(|error| error.to_string())?;
        Ok(admin::ReloadDone { changed: told(&done.changed), needs_restart: told(&done.needs_restart) })
    })
}

impl Running {
    /// Where it can be reached now; a reload may change that.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.reloader.listening()
    }

    /// Reads the config file again and takes it in, or changes nothing.
    ///
    /// # Errors
    /// When the file is at fault, or there is none, or a new listener cannot be opened.
    pub fn reload(&self) -> Result<Reloaded, NotReloaded> {
        self.reloader.reload()
    }

    /// Reloads by itself whenever the config file or a file that it names has changed, as long as the config says so.
    pub async fn follow(&self) {
        self.reloader.follow().await;
    }

    /// Stops: health answers 503, idle connections close, requests in flight end within `limits.drain`.
    pub async fn drain(self) {
        self.clients.drain().await;
        self.reloader.end().await;
    }
}
