//! Why an edge does not start, or does not take in a config.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::handover::HandoverError;
use crate::tls::{CertificateError, SecretError};

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
        error: io::Error,
    },
    /// The operator's socket cannot be opened in the file system.
    Socket {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A certificate, its key or the secret of tickets cannot be used.
    Tls {
        /// The config's key that names the file, such as `tls.also.certificate`.
        setting: String,
        /// The file.
        path: PathBuf,
        /// The fault, which names them both.
        message: String,
    },
    /// One of these, with its place in the config.
    Placed(Box<ConfigError>),
    /// The process that answers now cannot be taken over from, or the run folder not be used.
    Handover(HandoverError),
    /// It was told to stop while the process before still answered, which goes on.
    Stopped,
    /// The admin token's file cannot be read or made.
    Token {
        /// Where it should be.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

impl StartError {
    /// `section` is that of the config: `tls` or `admin.tls`.
    pub(super) fn certificate(section: &str, error: &CertificateError) -> Self {
        let setting = format!("{section}.{}", error.setting);
        let message = format!("{error} (`{setting}`)");
        Self::Tls { setting, path: error.path.clone(), message }
    }

    pub(super) fn secret(error: &SecretError) -> Self {
        let path = error.path().to_owned();
        Self::Tls { setting: "tls.ticket_secret".to_owned(), path, message: error.to_string() }
    }

    /// The same, with the place in `config` of what it is about.
    pub(super) fn placed(self, config: &Config) -> Self {
        let (places, message) = (&config.places, self.to_string());
        let placed = match &self {
            Self::Bind { setting, address, .. } => places.of_address(setting, *address, message),
            Self::Socket { path, .. } => places.of_file("admin.listen", path, message),
            Self::Tls { setting, path, .. } => places.of_file(setting, path, message),
            Self::Token { path, .. } => places.of_file("admin.token_file", path, message),
            Self::Placed(_) | Self::Handover(_) | Self::Stopped => None,
        };
        placed.map_or(self, |error| Self::Placed(Box::new(error)))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { setting, address, error } => bind(f, setting, *address, error),
            Self::Socket { path, error } => socket(f, path, error),
            Self::Tls { message, .. } => f.write_str(message),
            Self::Placed(error) => error.fmt(f),
            Self::Handover(error) => write!(f, "{error}"),
            Self::Stopped => {
                f.write_str("told to stop before it had taken over; the running process goes on")
            }
            // The file is there, and its lines are at fault.
            Self::Token { path, error } if error.kind() == ErrorKind::InvalidData => {
                write!(f, "the token file {} is of no use: {error}", path.display())
            }
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

fn bind(f: &mut fmt::Formatter<'_>, setting: &str, address: SocketAddr, error: &io::Error) -> fmt::Result {
    if error.kind() == ErrorKind::AddrInUse {
        let port = address.port();
        return write!(
            f,
            "{address} is in use by another program (`ss -lntup 'sport = :{port}'` shows which): stop it, or change `{setting}` \
             in the config (port 0 takes a free one)"
        );
    }
    write!(f, "cannot listen on {address}, which `{setting}` in the config asks for: ")?;
    match error.kind() {
        ErrorKind::PermissionDenied => {
            f.write_str("not allowed for this user; ports below 1024 need CAP_NET_BIND_SERVICE")
        }
        ErrorKind::AddrNotAvailable => f.write_str("no interface of this machine has this address"),
        _ => write!(f, "{error}"),
    }
}

fn socket(f: &mut fmt::Formatter<'_>, path: &Path, error: &io::Error) -> fmt::Result {
    write!(f, "cannot listen on unix:{}, which `admin.listen` in the config asks for: ", path.display())?;
    match error.kind() {
        ErrorKind::AddrInUse => f.write_str("a running program answers there; stop it, or name another path"),
        ErrorKind::AlreadyExists => f.write_str("the file is no socket; name another path, or remove it"),
        ErrorKind::NotFound => f.write_str(
            "its folder is not there; make it, or have systemd make it (RuntimeDirectory=verge-edge in the unit)",
        ),
        ErrorKind::PermissionDenied => f.write_str("not allowed for this user, who must be able to write in its folder"),
        _ => write!(f, "{error}"),
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_cannot_be_opened_says_what_to_do() {
        for (kind, help) in [
            (ErrorKind::AddrInUse, "`ss -lntup 'sport = :80'` shows which"),
            (ErrorKind::PermissionDenied, "ports below 1024 need CAP_NET_BIND_SERVICE"),
            (ErrorKind::AddrNotAvailable, "no interface of this machine has this address"),
            (ErrorKind::OutOfMemory, "out of memory"),
        ] {
            let address = "192.0.2.1:80".parse().unwrap();
            let told = StartError::Bind { setting: "listen", address, error: kind.into() }.to_string();
            let parts = ["192.0.2.1:80", "`listen`", help];
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        }
    }
}
