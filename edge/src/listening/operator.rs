//! The operator's listener.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::sockets::{Bound, Pool, tcp};
use super::start_error::StartError;
use crate::admin::{self, Admin, Reload, Terms, Token};
use crate::cache::Cache;
use crate::config;
use crate::draining::Draining;
use crate::handover::{Setting, systemd};
use crate::serve::Limits;

/// It is open.
pub(super) struct Operator {
    pub(super) configured: SocketAddr,
    pub(super) address: SocketAddr,
    admin: Arc<Admin>,
    running: admin::Running,
    /// For the process that takes over.
    pub(super) copy: OwnedFd,
}

/// The change that another config makes of it; nothing of it counts yet.
pub(super) struct Next {
    /// None: it stays where it is.
    bound: Option<Bound<TcpListener>>,
    terms: Terms,
}

/// The parts of the edge that it needs.
pub(super) struct Edge<'a> {
    pub(super) cache: &'a Arc<Cache>,
    pub(super) draining: &'a Draining,
    pub(super) reload: Reload,
}

impl Next {
    /// Binds its address if it is another, and reads its token.
    pub(super) fn prepare(
        before: Option<&Operator>,
        handed: &Pool,
        config: &config::Admin,
        limits: &Limits,
    ) -> Result<Self, StartError> {
        let is_same = before.is_some_and(|before| before.configured == config.listen);
        let open = || tcp(handed, Setting::Admin, config.listen)?.map(Setting::Admin, TcpListener::from_std);
        let bound = (!is_same).then(open).transpose()?;
        let path = &config.token_file;
        let token = Token::read_or_make(path);
        let token = token.map_err(|error| StartError::Token { path: path.clone(), error })?;
        let terms = Terms {
            token,
            hosts: config.hosts.clone(),
            purges_per_minute: config.purges_per_minute,
            stall_timeout: limits.pace.stall_timeout,
        };
        Ok(Self { bound, terms })
    }

    /// Puts it in service, and closes the one before if it is another.
    pub(super) fn commit(self, before: Option<Operator>, edge: Edge<'_>) -> Option<Operator> {
        let Self { bound, terms } = self;
        let admin = match &before {
            Some(before) => {
                before.admin.obey(terms);
                Arc::clone(&before.admin)
            }
            None => Arc::new(Admin::new(Arc::clone(edge.cache), terms, edge.draining.clone(), edge.reload)),
        };
        let Some(Bound { configured, address, socket, copy, is_renamed }) = bound else { return before };
        if let Some(before) = before {
            systemd::forget(Setting::Admin, before.address);
            before.close();
        }
        let running = admin::run(socket, Arc::clone(&admin));
        if is_renamed {
            systemd::forget_others(Setting::Admin, address);
        }
        systemd::keep(Setting::Admin, address, copy.as_fd());
        Some(Operator { configured, address, admin, running, copy })
    }
}

impl Operator {
    /// Closes it while the edge goes on; requests under way get their answers.
    pub(super) fn close(self) {
        tokio::spawn(self.running.stop());
    }

    /// Closes it; requests under way get their answers.
    pub(super) async fn stop(self) {
        self.running.stop().await;
    }
}
