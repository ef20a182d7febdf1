//! The operator's rules about pools: how members are checked, and how answers are chosen.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::place::Places;
use crate::name::Name;
use crate::zone::hash::HashMap;

/// The settings of `[steer]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// For every marked RRset that has no rules of its own.
    pub defaults: Arc<Rules>,
    /// By name; the name makes a pool of its address RRsets, marked or not.
    pub(crate) pools: HashMap<Name, Arc<Rules>>,
    /// Where clients are.
    pub places: Arc<Places>,
    /// Resolvers that are believed for whom they ask (RFC 7871).
    pub subnet_from: Arc<[IpNet]>,
}

impl Settings {
    /// The rules of the pool of this name.
    pub fn rules(&self, owner: &Name) -> &Arc<Rules> {
        self.named(owner).unwrap_or(&self.defaults)
    }

    /// The rules that the config gives this name.
    pub fn named(&self, owner: &Name) -> Option<&Arc<Rules>> {
        self.pools.get(owner)
    }
}

/// The rules of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How members are checked; without a check all are taken to be up.
    pub check: Option<Check>,
    /// How often, and how many results it takes to change a state.
    pub pace: Pace,
    /// How many members an answer gives; none gives all that are fit.
    pub count: Option<usize>,
    /// Seconds that a steered answer may be kept at most; none leaves the RRset's own TTL.
    pub ttl: Option<u32>,
    /// The members that are given when nobody is up.
    pub all_down: AllDown,
    /// Percent: when fewer members are up, health is not believed.
    pub panic: u8,
    /// Between these loads a member's share is reduced.
    pub shed: Shed,
    /// Whether members near this name server, by round-trip times, go first for clients of no place.
    pub by_rtt: bool,
    /// The rules of single members.
    pub members: Vec<MemberRules>,
}

impl Rules {
    /// The rules of the member with this address.
    pub fn member(&self, address: IpAddr) -> MemberRules {
        let known = self.members.iter().find(|member| member.address == address);
        known.cloned().unwrap_or_else(|| MemberRules::of(address))
    }
}

/// The rules of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRules {
    /// The address that answers give.
    pub address: IpAddr,
    /// Its share beside those of the others; 0 gives it nothing.
    pub weight: u32,
    /// Members of the lowest number that has one up are given; the others are spare.
    pub priority: u32,
    /// The address that is checked, if it is another one. No answer, log line or metric of the outside shows it.
    pub check_address: Option<IpAddr>,
    /// Where it is: an index into the places.
    pub place: Option<u16>,
    /// How it is checked, if in another way than the others.
    pub check: Option<Check>,
    /// Nobody is sent there.
    pub drain: bool,
}

impl MemberRules {
    /// Of a member of which nothing is said.
    pub fn of(address: IpAddr) -> Self {
        Self { address, weight: 1, priority: 0, check_address: None, place: None, check: None, drain: false }
    }
}

/// How often a member is checked, and how many results it takes to change its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Between the beginnings of two checks.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Good results in a row that bring a member up.
    pub rise: u32,
    /// Bad results in a row that take it down.
    pub fall: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: Duration::from_secs(2), timeout: Duration::from_secs(1), rise: 2, fall: 2 }
    }
}

/// The members that are given when nobody is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllDown {
    /// Everybody: a client that tries several may still find one.
    #[default]
    All,
    /// The member that went down last.
    Last,
}

/// Two water marks in thousandths of what a member can bear: below the first nothing is shed, above the second all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// Up to here a member keeps its whole share.
    pub from: u16,
    /// From here on it has none.
    pub to: u16,
}

impl Default for Shed {
    fn default() -> Self {
        Self { from: 700, to: 950 }
    }
}

/// How a member is checked. `{address}` in what the operator wrote is the member's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// A GET that must be answered by a status of 200 to 299.
    Http(Http),
    /// A connection that must come about.
    Tcp {
        /// Where.
        port: u16,
    },
    /// A file that a monitor writes: its first word is `up` or `down`.
    File {
        /// Its path, in which `{address}` stands for the member's address.
        path: String,
    },
}

/// A check by HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Http {
    /// Whether inside TLS, and with which PEM file of roots; without one the certificate is not judged.
    pub tls: Option<Option<PathBuf>>,
    /// The name in `Host` and in the TLS handshake; none is the member's address.
    pub host: Option<String>,
    /// Where.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

/// The target of a check: members of several pools that are checked alike are checked once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// How.
    pub check: Check,
    /// Whom.
    pub address: IpAddr,
    /// How often.
    pub pace: Pace,
}

impl Target {
    /// Where a connection goes to; none for a file.
    pub fn socket(&self) -> Option<SocketAddr> {
        match &self.check {
            Check::Http(Http { port, .. }) | Check::Tcp { port } => Some((self.address, *port).into()),
            Check::File { .. } => None,
        }
    }

    /// The file of a check by file.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.check {
            Check::File { path } => Some(path.replace(ADDRESS, &self.address.to_string()).into()),
            Check::Http(_) | Check::Tcp { .. } => None,
        }
    }
}

/// Stands for the member's address.
pub const ADDRESS: &str = "{address}";

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.check {
            Check::Http(http) => {
                let scheme = if http.tls.is_some() { "https" } else { "http" };
                let at = SocketAddr::from((self.address, http.port));
                match &http.host {
                    Some(host) => write!(f, "{scheme}://{host}{} at {at}", http.path),
                    None => write!(f, "{scheme}://{at}{}", http.path),
                }
            }
            Check::Tcp { port } => write!(f, "tcp://{}", SocketAddr::from((self.address, *port))),
            Check::File { .. } => {
                write!(f, "file://{}", self.file().unwrap_or_default().display())
            }
        }
    }
}

impl Check {
    /// Whether it makes a connection, so that it measures a round trip.
    pub fn connects(&self) -> bool {
        !matches!(self, Self::File { .. })
    }

    /// The same check; over HTTPS, certificates lead to these roots.
    pub fn with_roots(self, roots: Option<PathBuf>) -> Self {
        match self {
            Self::Http(Http { tls: Some(_), host, port, path }) => {
                Self::Http(Http { tls: Some(roots), host, port, path })
            }
            other => other,
        }
    }

    /// Reads `http://{address}:80/path`, `https://name/path`, `tcp://{address}:443` or `file:///path/{address}`.
    pub fn parse(text: &str, roots: Option<PathBuf>) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
        if let "file" = scheme {
            return match rest.starts_with('/') && rest.contains(ADDRESS) {
                true => Ok(Self::File { path: rest.to_owned() }),
                false => Err("a file is an absolute path with {address} in it: file:///run/health/{address}"),
            };
        }
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| "that is no port")?)),
            None => (authority, None),
        };
        let host = match host {
            ADDRESS => None,
            "" => return Err(FORMS),
            name if is_host(name) => Some(name.to_owned()),
            _ => return Err("the host is {address} or a name"),
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains(['#', '{', '}']) {
            return Err("the path has a character that no request can have");
        }
        let http = |tls, usual| {
            Self::Http(Http { tls, host: host.clone(), port: port.unwrap_or(usual), path: path.to_owned() })
        };
        match (scheme, port, path) {
            ("http", ..) => Ok(http(None, 80)),
            ("https", ..) => Ok(http(Some(roots), 443)),
            ("tcp", Some(port), "/") if host.is_none() => Ok(Self::Tcp { port }),
            ("tcp", ..) => Err("write tcp://{address}:443"),
            _ => Err(FORMS),
        }
    }
}

const FORMS: &str =
    "write http://{address}:80/path, https://name/path, tcp://{address}:443 or file:///path/{address}";

fn is_host(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_url_with_the_members_address_in_it() {
        for (text, expected) in [
            ("http://{address}:80/.well-known/verge/health", "http://192.0.2.1:80/.well-known/verge/health"),
            ("http://{address}", "http://192.0.2.1:80/"),
            ("https://www.example.org/up?x=1", "https://www.example.org/up?x=1 at 192.0.2.1:443"),
            ("https://{address}:8443/", "https://192.0.2.1:8443/"),
            ("tcp://{address}:443", "tcp://192.0.2.1:443"),
            ("file:///run/health/{address}", "file:///run/health/192.0.2.1"),
            ("tcp://{address}", "write tcp://{address}:443"),
            ("tcp://www.example.org:443", "write tcp://{address}:443"),
            ("http://{address}:x/", "that is no port"),
            ("http://a b/", "the host is {address} or a name"),
            ("http://{address}/a b", "the path has a character that no request can have"),
            (
                "file://health/{address}",
                "a file is an absolute path with {address} in it: file:///run/health/{address}",
            ),
            (
                "file:///run/health",
                "a file is an absolute path with {address} in it: file:///run/health/{address}",
            ),
            ("ping://{address}", FORMS),
            ("http://:80/", FORMS),
            ("www.example.org", FORMS),
        ] {
            let address = [192, 0, 2, 1].into();
            let shown = match Check::parse(text, None) {
                Ok(check) => Target { check, address, pace: Pace::default() }.to_string(),
                Err(why) => why.to_owned(),
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
