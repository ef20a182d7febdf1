//! `[admin]`: the operator's listener, and where it is.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

use super::Tls;

/// The operator's HTTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; loopback unless the operator says otherwise.
    pub listen: AdminAddress,
    /// The certificate that it shows; none: it speaks in clear.
    pub tls: Option<Tls>,
    /// Holds the token that changes something; made with mode 0600 if absent.
    pub token_file: PathBuf,
    /// Names by which it may be asked without the token, beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Where the operator's listener is: `127.0.0.1:9300`, or `unix:/run/verge-dns/admin.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

const FORMS: &str = "write an address and a port, not a name: \"127.0.0.1:9300\", or a path: \"unix:/run/verge-dns/admin.sock\"";

impl AdminAddress {
    /// Whether other machines may reach it.
    pub fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Written)
    }
}

/// An address as it is written.
struct Written;

impl de::Visitor<'_> for Written {
    type Value = AdminAddress;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("socket address, or \"unix:\" and a path")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AdminAddress, E> {
        let fault = || E::custom(format!("{text:?} is no address to listen on; {FORMS}"));
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() && !path.contains('\0') => Ok(AdminAddress::Unix(path.into())),
            Some(_) => Err(fault()),
            None => text.parse().map(AdminAddress::Tcp).map_err(|_| fault()),
        }
    }
}
