//! Why an edge does not start, or does not take in a config.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::handover::HandoverError;

/// Why a listener cannot be opened.
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
    /// The process that answers now cannot be taken over from, or the run folder not be used.
    Handover(HandoverError),
    /// The admin token's file cannot be read or made.
    Token {
        /// Where it should be.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
}

impl StartError {
    pub(super) fn tls(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Tls(error.into())
    }
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
            Self::Handover(error) => write!(f, "{error}"),
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
