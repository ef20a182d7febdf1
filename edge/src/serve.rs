//! Sockets, and the one function that holds every branch of a request.

pub mod gate;

use std::net::SocketAddr;

use crate::clock::Clock;
use crate::config::Config;

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
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

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
    let _ = (config, clock);
    todo!()
}

impl Running {
    /// Where it can be reached.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Stops: health answers 503, idle connections close, requests in flight end within `limits.drain`.
    pub async fn drain(self) {
        todo!()
    }
}
