//! The operator's listener.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::local::{Local, SocketFile, local};
use super::own_tls::OwnTls;
use super::sockets::{Bound, Pool, tcp};
use super::start_error::StartError;
use crate::admin::{self, Admin, Arrivals, Reload, Terms, Token};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{self, AdminAddress};
use crate::draining::Draining;
use crate::handover::{Handed, Listener, Setting, systemd};
use crate::serve::Limits;
use crate::turn::Turn;

/// It is open.
pub(super) struct Operator {
    configured: AdminAddress,
    place: Place,
    admin: Arc<Admin>,
    running: admin::Running,
    /// Told when the last connections of its socket are taken.
    pub(super) ended: CancellationToken,
    /// For the process that takes over.
    copy: OwnedFd,
    /// While its certificate is followed.
    _followed: Option<DropGuard>,
}

/// Where it is.
enum Place {
    Tcp(SocketAddr),
    Unix(SocketFile),
}

/// The change that another config makes of it; nothing of it counts yet.
pub(super) struct Next {
    configured: AdminAddress,
    /// None: it stays where it is.
    opened: Option<Opened>,
    terms: Terms,
    tls: Option<OwnTls>,
}

/// Its token and its certificate.
pub(super) struct Read {
    terms: Terms,
    tls: Option<OwnTls>,
}

enum Opened {
    Tcp(Bound<TcpListener>),
    Unix(UnixListener, SocketFile, OwnedFd),
}

/// The parts of the edge that it needs.
pub(super) struct Edge<'a> {
    pub(super) cache: &'a Arc<Cache>,
    pub(super) draining: &'a Draining,
    pub(super) reload: Reload,
}

impl Read {
    /// Reads them, or makes a token.
    pub(super) fn of(config: &config::Admin, (limits, clock): (&Limits, &Clock)) -> Result<Self, StartError> {
        let path = &config.token_file;
        let token = Token::read_or_make(path);
        let token = token.map_err(|error| StartError::Token { path: path.clone(), error })?;
        let tls = config.tls.as_ref().map(|files| OwnTls::load(files, clock)).transpose()?;
        let terms = Terms {
            token,
            hosts: config.hosts.clone(),
            purges_per_minute: config.purges_per_minute,
            stall_timeout: limits.pace.stall_timeout,
            tls: tls.as_ref().map(|tls| tls.acceptor.clone()),
        };
        Ok(Self { terms, tls })
    }
}

impl Next {
    /// Binds its address if it is another.
    pub(super) fn prepare(
        before: Option<&Operator>,
        handed: &Pool,
        config: &config::Admin,
        Read { terms, tls }: Read,
    ) -> Result<Self, StartError> {
        let is_same = before.is_some_and(|before| before.is_at(&config.listen));
        let opened = (!is_same).then(|| open(handed, &config.listen)).transpose()?;
        Ok(Self { configured: config.listen.clone(), opened, terms, tls })
    }

    /// Puts it in service, and closes the one before if it is another.
    pub(super) fn commit(
        self,
        before: Option<Operator>,
        edge: Edge<'_>,
        turn: impl FnOnce(SocketAddr) -> Turn,
    ) -> Option<Operator> {
        let Self { configured, opened, terms, tls } = self;
        let cache = edge.cache;
        let followed = tls.map(|tls| tls.follow(&cache.clock, &cache.metrics));
        let admin = match &before {
            Some(before) => {
                before.admin.obey(terms);
                Arc::clone(&before.admin)
            }
            None => Arc::new(Admin::new(Arc::clone(cache), terms, edge.draining.clone(), edge.reload)),
        };
        let Some(opened) = opened else {
            return before.map(|before| Operator { _followed: followed, ..before });
        };
        match before {
            // Its file was gone, and that of the new one may have its number.
            Some(before) if before.configured == configured => drop(before.leave()),
            before => before.into_iter().for_each(Operator::close),
        }
        let (arrivals, place, copy) = match opened {
            Opened::Tcp(Bound { address, socket, copy, is_renamed, .. }) => {
                if is_renamed {
                    systemd::forget_others(Setting::Admin, address);
                }
                systemd::keep(Setting::Admin, address, copy.as_fd());
                (Arrivals::Tcp(socket), Place::Tcp(address), copy)
            }
            Opened::Unix(listener, file, copy) => (Arrivals::Unix(listener), Place::Unix(file), copy),
        };
        let turn = match &place {
            Place::Tcp(address) => turn(*address),
            Place::Unix(_) => Turn::default(),
        };
        let ended = turn.ended();
        let running = admin::run(arrivals, Arc::clone(&admin), turn);
        Some(Operator { configured, place, admin, running, ended, copy, _followed: followed })
    }
}

fn open(handed: &Pool, listen: &AdminAddress) -> Result<Opened, StartError> {
    match listen {
        AdminAddress::Tcp(address) => {
            let bound = tcp(handed, Setting::Admin, *address)?;
            bound.map(Setting::Admin, TcpListener::from_std).map(Opened::Tcp)
        }
        AdminAddress::Unix(path) => {
            let Local { listener, file, copy } = local(handed, path)?;
            let unusable = |error| StartError::Socket { path: path.clone(), error };
            Ok(Opened::Unix(UnixListener::from_std(listener).map_err(unusable)?, file, copy))
        }
    }
}

impl Operator {
    /// Whether it is open there. A socket whose file is gone is nowhere.
    fn is_at(&self, listen: &AdminAddress) -> bool {
        self.configured == *listen && self.socket().is_none_or(Path::exists)
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }

    /// Where it is configured to be over TCP, and its socket.
    pub(super) fn over_tcp(&self) -> Option<(SocketAddr, &OwnedFd)> {
        match &self.configured {
            AdminAddress::Tcp(address) => Some((*address, &self.copy)),
            AdminAddress::Unix(_) => None,
        }
    }

    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Tcp(_) => None,
            Place::Unix(file) => Some(&file.path),
        }
    }

    /// A copy of its socket, for a process that takes over.
    pub(super) fn handed(&self) -> io::Result<Handed> {
        let listener = match (&self.configured, &self.place) {
            (AdminAddress::Tcp(address), _) | (_, Place::Tcp(address)) => {
                Listener::Of(Setting::Admin, *address)
            }
            (_, Place::Unix(file)) => file.handed(),
        };
        Ok(Handed { listener, socket: self.copy.try_clone()?, channels: Vec::new() })
    }

    /// Closes it while the edge goes on; requests under way get their answers.
    pub(super) fn close(self) {
        match &self.place {
            Place::Tcp(address) => systemd::forget(Setting::Admin, *address),
            Place::Unix(file) => file.remove(),
        }
        drop(self.leave());
    }

    /// Lets another process have its socket; requests under way get their answers.
    pub(super) fn leave(self) -> JoinHandle<()> {
        tokio::spawn(self.running.stop())
    }

    /// Closes it; requests under way get their answers.
    pub(super) async fn stop(self) {
        if let Place::Unix(file) = &self.place {
            file.remove();
        }
        self.running.stop().await;
    }
}
