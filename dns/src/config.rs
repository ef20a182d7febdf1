//! The operator's config: one TOML file, every key checked, every error with its place.
//!
//! ```text
//! text ─▶ file (serde: keys and types) ─▶ validate (what belongs together) ─▶ Config
//! ```
//!
//! Every key with its default stands in `dns/reference.toml`.
//!
//! Invariant: a client is internal only by an exact prefix that the operator wrote. There is no default for "all private
//! networks", and a prefix that holds every address is refused.

mod admin;
pub(crate) mod database;
mod file;
mod level;
mod names;
mod place;
mod quantity;
mod quorum;
mod secondary;
mod unmatched;
mod validate;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

pub use self::admin::{Admin, AdminAddress};
pub use self::database::Database;
pub(crate) use self::level::LEVEL_HELP;
pub use self::level::Level;
pub use self::place::Place;
pub use self::quorum::{Node, Quorum};
pub(crate) use self::secondary::copies_folder;
pub use self::secondary::{Catalog, Identity, Primary, Secondary, Source};
pub(crate) use self::unmatched::unmatched_in;
use crate::catalog::Terms;
pub use crate::catalog::Unhide;
use crate::limit::Rates;
use crate::name::Name;
use crate::steer::Settings;
use crate::transfer::{Listing, Rule};
use crate::tsig::{Algorithm, Keys};
use crate::update::Policy;
use crate::view::{Access, Which};
use crate::world::{Protocol, Roots};
use crate::zone::address;
use crate::zone::privacy::Rules;

/// All that one server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from; a reload reads it again.
    pub file: Option<PathBuf>,
    /// The folder whose `*.zone` files are served.
    pub zones: PathBuf,
    /// Every client here is outside. UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Encrypted listeners of the outside.
    pub encrypted: Encrypted,
    /// Addresses that are hidden beside the special-purpose registries.
    pub private: Vec<IpNet>,
    /// Names at or under which everything is hidden.
    pub internal_names: Vec<Name>,
    /// The settings of the inside: its listeners, its clients, and the zones that it alone has.
    pub internal: Internal,
    /// The operator's HTTP listener, if wanted.
    pub admin: Option<Admin>,
    /// How events are logged.
    pub log: Log,
    /// The UDP loops.
    pub udp: Udp,
    /// Connections, whatever they carry.
    pub tcp: Tcp,
    /// The certificate that encrypted listeners show; there is one if there are any.
    pub tls: Option<Tls>,
    /// DNS over HTTPS.
    pub https: Https,
    /// How changes of zone files are noticed.
    pub reload: Reload,
    /// Where the secret of DNS cookies (RFC 7873) comes from.
    pub cookies: Cookies,
    /// Keys by which other servers prove who they are (TSIG, RFC 8945).
    pub keys: Vec<KeyFile>,
    /// The rules by which zones may be taken, and the secondaries that are told of changes.
    pub transfers: Vec<Rule>,
    /// Catalogs that are made of the zones that may be taken.
    pub catalogs: Vec<Listing>,
    /// Zones that are taken from others.
    pub secondaries: Vec<Secondary>,
    /// The zones that catalogs name among these. No config file says them: the server adds them.
    pub members: Vec<Secondary>,
    /// The rules by which others may change zones.
    pub updates: Vec<Policy>,
    /// How RRsets are steered.
    pub steer: Settings,
    /// The database that knows where clients are.
    pub database: Option<Database>,
    /// The name servers that decide together who is up.
    pub quorum: Option<Quorum>,
    /// The folder of what outlasts a restart; made with mode 0700 when something is kept there.
    pub state: PathBuf,
    /// The folder where the next process takes over from this one; without one, none does.
    pub run_folder: Option<PathBuf>,
    /// The server's identifier for clients that ask for it (RFC 5001); without one, none is told (S1).
    pub nsid: Option<String>,
    /// How many UDP answers one client network may take; none leaves them unlimited.
    pub rate_limit: Option<Rates>,
    /// Zones that are published as a whole on purpose (`[public] zones`).
    pub public_zones: Vec<Name>,
    /// The names of `internal_names`, of `[internal]`, `[public]` and `[[transfer]] zones`, with their places.
    pub named: Vec<Named>,
    /// The members of `[[steer.pool]]`, with their places.
    pub named_members: Vec<NamedMember>,
    /// Settings that are allowed but look wrong.
    pub warnings: Vec<Warning>,
}

/// The setting of a pool's name, as messages show it.
const POOL_NAME: &str = "[[steer.pool]] name";

/// A name that hides, or publishes, what is at and below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The setting, as messages show it.
    pub setting: &'static str,
    /// The name.
    pub name: Name,
    /// Where it was written.
    pub place: Place,
}

/// A member that a `[[steer.pool]]` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMember {
    /// The name of the pool.
    pub pool: Name,
    /// The address that answers give.
    pub address: IpAddr,
    /// Where it was written.
    pub place: Place,
}

impl Config {
    /// Whether there is a listener of the inside.
    pub(crate) fn has_inside(&self) -> bool {
        !self.internal.listen.is_empty() || !self.internal.encrypted.is_empty()
    }

    /// Whether there is a listener of the outside.
    pub(crate) fn has_outside(&self) -> bool {
        !self.listen.is_empty() || !self.encrypted.is_empty()
    }

    /// Why the database of places could not be read; none if it was, or if there is none.
    pub(crate) fn database_fault(&self) -> Option<ConfigError> {
        self.database.as_ref()?.fault()
    }

    /// How zones are served. The secrets of cookies are not in the config, only where they are.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            rules: self.rules(),
            access: Access { clients: self.internal.clients.clone(), is_shared: self.shares_the_inside() },
            protocol: Protocol {
                udp_limit_bytes: self.udp.max_payload_bytes,
                nsid: self.nsid.as_ref().map(|text| text.as_bytes().into()),
                cookies: None,
                keys: Keys::default(),
                roots: Roots::default(),
                transfers: self.transfers.as_slice().into(),
                updates: self.updates.as_slice().into(),
                catalogs: self.catalogs.as_slice().into(),
                secondaries: self.all_secondaries().map(Secondary::in_world).collect(),
                idle_timeout: self.tcp.idle_timeout,
            },
            grace: self.reload.grace,
            unhide: self.reload.unhide,
            journals: Some(self.journals()),
            steer: self.steer.clone(),
            copies: self.all_secondaries().map(|it| it.copy(&self.state)).collect(),
            catalogs: self
                .secondaries
                .iter()
                .filter(|it| it.catalog.is_some())
                .map(|it| it.zone.clone())
                .collect(),
        }
    }

    /// Whether outsiders ask on a listener of the inside by UDP, or can (V5): there is no other for them, or its address is one
    /// that the internet reaches.
    fn shares_the_inside(&self) -> bool {
        let is_reached = |listen: &SocketAddr| {
            listen.ip().is_unspecified() || address::hidden(listen.ip(), &self.private).is_none()
        };
        let inside = &self.internal.listen;
        !inside.is_empty() && (self.listen.is_empty() || inside.iter().any(is_reached))
    }

    /// Zones that are taken from others: those of the file, and those that catalogs name.
    pub(crate) fn all_secondaries(&self) -> impl Iterator<Item = &Secondary> {
        self.secondaries.iter().chain(&self.members)
    }

    /// The folder of the copies of zones that are taken from others.
    pub(crate) fn copies(&self) -> PathBuf {
        copies_folder(&self.state)
    }

    /// The folder of the journals of updates.
    pub(crate) fn journals(&self) -> PathBuf {
        self.state.join("updates")
    }

    fn rules(&self) -> Rules {
        Rules {
            private: self.private.clone(),
            internal_names: self.internal_names.clone(),
            internal_zones: self.internal.zones.clone(),
            public_zones: self.public_zones.clone(),
            unknown_zones: Vec::new(),
        }
    }
}

/// The inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Internal {
    /// A client here is inside if its address is in `clients`. UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Encrypted listeners of the inside.
    pub encrypted: Encrypted,
    /// Exact prefixes of internal clients.
    pub clients: Vec<IpNet>,
    /// Zones that do not exist outside.
    pub zones: Vec<Name>,
}

/// Listeners inside TLS or QUIC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encrypted {
    /// DNS over TLS (RFC 7858). TCP.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS (RFC 8484). TCP.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC (RFC 9250). UDP.
    pub quic: Vec<SocketAddr>,
}

impl Encrypted {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tls.is_empty() && self.https.is_empty() && self.quic.is_empty()
    }
}

/// The certificate that encrypted listeners show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the server's certificate, and behind it those that lead to its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

/// DNS over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Https {
    /// Where questions are asked.
    pub path: String,
}

/// How events are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The shape of a line.
    pub format: LogFormat,
    /// The level of the log, unless the variable RUST_LOG says otherwise.
    pub level: Level,
    /// Which questions are logged; none: none are.
    pub queries: Option<Queries>,
}

/// Which questions are logged, and how much of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queries {
    /// One question of so many.
    pub sample: NonZeroU32,
    /// Names that only the inside has are written, too.
    pub private_names: bool,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The UDP loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Loops (threads and sockets) per address.
    pub workers: usize,
    /// Largest answer in bytes, whatever a client says it can take.
    pub max_payload_bytes: u16,
    /// The kernel's receive buffer of each socket; none leaves it to `serve`, which asks for 4 MiB.
    pub receive_buffer_bytes: Option<usize>,
}

/// Connections: TCP, TLS, HTTPS and QUIC, outside and inside, each counted on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Connections at once; one more drops the one that was idle longest.
    pub max_connections: usize,
    /// Connections at once from one client address (IPv6: one /64).
    pub max_connections_per_client: usize,
    /// Memory for questions and answers on their way beyond 8 KiB of each connection, in bytes.
    pub max_buffered_bytes: usize,
    /// How long a connection may wait between messages.
    pub idle_timeout: Duration,
    /// How long one message may take to arrive, from its first byte.
    pub message_timeout: Duration,
    /// How long one answer may take to leave.
    pub write_timeout: Duration,
}

/// Where the secret of DNS cookies comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// Nowhere: cookies are ignored.
    Off,
    /// Made when the server starts.
    Random,
    /// A file that all servers of the same address share: one secret of 32 hexadecimal digits a line. The first makes
    /// and checks, the others only check (RFC 9018 §5).
    File(PathBuf),
}

/// A key by which another server proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The key's name, the same on both servers.
    pub name: Name,
    /// How it signs.
    pub algorithm: Algorithm,
    /// Holds its secret in base64.
    pub secret_file: PathBuf,
    /// The view of those who prove it.
    pub view: Which,
}

/// How changes of zone files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether the folder is watched at all; SIGHUP always works.
    pub watch: bool,
    /// Quiet time after a change before the folder is read.
    pub debounce: Duration,
    /// How often modification times are compared, for file systems that report no changes.
    pub poll: Duration,
    /// How long the last good version of a zone is served whose file is gone.
    pub grace: Duration,
    /// The treatment of an edit that makes hidden records public although their own text did not change.
    pub unhide: Unhide,
}

/// Allowed, but looks wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// The setting that looks wrong.
    pub message: String,
    /// The remedy.
    pub help: String,
}

/// Reads and checks the file at `path`, and the database that it names. Relative paths in it start at its folder.
///
/// A database that cannot be read is no error, since it is optional: see [`Database::fault`].
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
    let mut config = parse(&text, path.parent().unwrap_or(Path::new("")), path)?;
    if let Some(database) = &mut config.database
        && let Some(places) = database.read(&config.steer.places)
    {
        config.steer.places = Arc::new(places);
    }
    Ok(Config { file: Some(path.to_path_buf()), ..config })
}

/// Checks `text`. Relative paths in it start at `base`; errors name it `shown`.
pub fn parse(text: &str, base: &Path, shown: &Path) -> Result<Config, ConfigError> {
    let at = |span| Place::find(text, span, shown);
    let written: file::File = toml::from_str(text).map_err(|error| file::explain(&error, text, shown))?;
    validate::validate(written, base, &at)
}

/// Why a configuration is refused.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is at fault.
    Invalid {
        /// Where.
        place: Place,
        /// The error.
        message: String,
        /// The remedy.
        help: Option<String>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "{}: error: cannot read the configuration: {source}", path.display())
            }
            Self::Invalid { place, message, help } => place.write(f, "error", message, help.as_deref()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.write(f, "warning", &self.message, Some(&self.help))
    }
}

#[cfg(test)]
mod tests;
