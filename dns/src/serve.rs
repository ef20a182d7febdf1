//! The server: sockets, the loops on them, the world that they answer from, and its reload.
//!
//! ```text
//! config ─▶ bind ─▶ first load ─▶ UDP threads; TCP, TLS, HTTPS and QUIC tasks; admin ─▶ Running ─▶ drain
//!                        │              ▲
//!                        └▶ reload ─▶ world (one pointer, swapped as a whole)
//! ```
//!
//! A process that runs already goes on until this one answers, and hands its sockets over (`handover`).
//!
//! Invariant: no query is answered before every address is bound and the first world is loaded. Until then the kernel
//! refuses TCP connections, and the server discards UDP packets, whose senders have asked another server by then.

mod accept;
mod bind;
mod connection;
mod departures;
mod descriptors;
mod handover;
mod heir;
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
mod rounds;
pub(crate) mod secondary;
mod secrets;
mod signal;
mod start;
mod steer;
mod stream;
#[expect(unsafe_code, reason = "recvmmsg and sendmmsg take raw pointers; the module states its invariant")]
mod sys;
mod table;
mod takeover;
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

use tokio::sync::watch;

pub use self::bind::BindError;
use self::handover::Door;
pub use self::handover::HandoverError;
pub(crate) use self::handover::systemd::{Passed, WATCHDOG_PID, alive, pulse};
use self::heir::Heir;
pub use self::listeners::{Encrypted, Listening};
pub(crate) use self::local::trial_of_path;
use self::reload::Loader;
pub use self::reload::Loads;
pub(crate) use self::rounds::Watched;
use self::secrets::Held;
pub use self::secrets::SecretError;
pub(crate) use self::secrets::keys;
use self::signal::Signal;
pub use self::start::start;
pub(crate) use self::start::start_with;
pub(crate) use self::steer::nodes::inspect as inspect_quorum;
pub(crate) use self::sys::{raise_descriptor_limit, return_large_blocks};
use self::tls::Certificates;
pub use self::tls::{CertificateError, CertificateFault};
pub(crate) use self::tls::{Standing, inspect};
use crate::admin::{self, TokenError};
use crate::catalog::{self, Catalog, FolderError};
use crate::config::{Config, ConfigError};
use crate::world::World;

/// Longest wait for open connections when the server stops; more than any deadline of one message.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A server that answers.
pub struct Running {
    listening: Listening,
    ready: Arc<AtomicBool>,
    loader: Loader,
    loads: watch::Receiver<Loads>,
    /// That of clients, and the operator's.
    certificates: Vec<Arc<Certificates>>,
    admin: Option<admin::Running>,
    heir: Heir,
    /// Where the next process takes over.
    door: Option<Door>,
    /// The number of the process that has taken over.
    supersedes: watch::Receiver<Option<u32>>,
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
    /// The process that answers now does not hand over.
    Handover(HandoverError),
    /// The certificate of `[steer.quorum]`, or its roots, are of no use.
    Quorum(String),
    /// The system gave no thread.
    Thread(io::Error),
    /// It was told to stop while the process before still answered, which goes on.
    Stopped,
    /// The config, which it has read again since the process before obeys it.
    Config(ConfigError),
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
            Self::Handover(error) => error.fmt(f),
            Self::Quorum(error) => write!(f, "{error} (setting `steer.quorum`)"),
            Self::Thread(error) => write!(f, "the system gives no thread: {error}"),
            Self::Stopped => {
                f.write_str("told to stop before it had taken over; the running process goes on")
            }
            Self::Config(error) => error.fmt(f),
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

    /// The threads that answer by UDP, to see whether one hangs.
    pub(crate) fn watched(&self) -> Watched {
        self.heir.watched()
    }

    /// Whether the next process has a place to take over at.
    pub fn may_be_superseded(&self) -> bool {
        self.door.is_some()
    }

    /// Waits until another process has taken over, and tells its number: it is time to [`Running::leave`].
    pub async fn superseded(&self) -> u32 {
        let mut supersedes = self.supersedes.clone();
        match supersedes.wait_for(Option::is_some).await.map(|pid| *pid) {
            Ok(Some(pid)) => pid,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Ends behind another process, which has the sockets: connections that are there end with what they were asked.
    pub async fn leave(self) {
        let Self { loader, admin, heir, .. } = self;
        if let Some(admin) = admin {
            admin.leave().await;
        }
        heir.end_connections(DRAIN_LIMIT).await;
        let ended = tokio::task::spawn_blocking(move || loader.stop());
        ended.await.expect("stopping does not panic");
    }

    /// Takes no more connections, answers what was asked on those that are there, and ends.
    ///
    /// UDP is answered until the last connection has ended, and `/readyz` says for as long that this server goes: nobody
    /// else has its addresses before it is gone, so that a question that it does not answer nobody does.
    pub async fn drain(self) {
        let Self { ready, loader, admin, heir, .. } = self;
        ready.store(false, Ordering::Release);
        heir.end();
        // From here on none gets them.
        let is_shared = heir.has_handed();
        heir.end_connections(DRAIN_LIMIT).await;
        let ended = tokio::task::spawn_blocking(move || {
            heir.end_loops();
            loader.stop();
        });
        ended.await.expect("stopping does not panic");
        if let Some(admin) = admin {
            admin.stop(is_shared).await;
        }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
