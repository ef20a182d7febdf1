//! Where a site's origins are, and how long they may take.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use super::guard::Mark;
use super::reach::Reach;

/// Where an origin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginAddress {
    /// `host:port`, as it is dialled, or `unix:/path`.
    pub authority: String,
    /// A socket of this machine, dialled instead.
    pub socket: Option<PathBuf>,
    /// The protocol that is spoken there.
    pub way: Way,
    /// Sent as Host instead of what the client asked for.
    pub host: Option<String>,
    /// Whether names of fields are sent with capitals.
    pub title_case: bool,
    /// Its share of the requests against the others'; from 1.
    pub weight: u32,
    /// Whether it is asked only when all that are none are down.
    pub backup: bool,
    /// Whether it gets no new requests.
    pub drain: bool,
    /// The name servers that are asked for its name; none: the system's.
    pub resolvers: Arc<[NameServer]>,
    /// The addresses that it may be at.
    pub reach: Reach,
}

/// New origins that get a share of a site's requests, as long as they do not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryGroup {
    /// At least one.
    pub origins: Vec<OriginAddress>,
    /// Their share.
    pub percent: u32,
    /// When they get no more.
    pub mark: Mark,
}

/// A name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Where it is.
    pub at: SocketAddr,
    /// The name in its certificate, if it is asked over TLS (RFC 7858).
    pub tls: Option<Arc<str>>,
}

/// How an origin is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1 in clear text.
    Plain,
    /// HTTP/2 in clear text, without asking first (RFC 9113 §3.3).
    H2c,
    /// HTTP/1.1 or HTTP/2 over TLS, by ALPN.
    Tls(Secure),
}

/// TLS to an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secure {
    /// The name that its certificate must be for, and that it is asked for (SNI); an address is not asked for.
    pub name: String,
    /// The authorities that the edge trusts for its certificate.
    pub roots: Roots,
    /// The certificate that the edge shows, if the origin asks for one.
    pub identity: Option<Identity>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// The certificates that vouch for origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The certificates of the system.
    System,
    /// These, as PEM has them; an origin's own may be among them.
    Given(Arc<[u8]>),
}

/// A certificate with its chain, and its key, as PEM has them.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate first.
    pub chain: Arc<[u8]>,
    /// Its private key.
    pub key: Arc<[u8]>,
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} bytes)", self.chain.len())
    }
}

impl Way {
    /// As a URL has it.
    fn scheme(&self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::H2c => "h2c",
            Self::Tls(_) => "https",
        }
    }
}

impl OriginAddress {
    /// Whether its name is a service's, whose hosts and ports DNS names (RFC 2782): `_http._tcp.app.example.com`.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.authority.starts_with('_')
    }

    /// As a request without a host of its own names it.
    #[must_use]
    pub fn own_host(&self) -> &str {
        if self.socket.is_some() {
            return "localhost";
        }
        match self.is_service() {
            true => behind_service(&self.authority),
            false => &self.authority,
        }
    }

    /// Whether both are reached in the same way, whatever share they have.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let Self { weight, backup, drain, .. } = *self;
        *self == Self { weight, backup, drain, ..other.clone() }
    }

    /// Whether both are asked by the same scheme at the same place, whatever else is said of them.
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.authority == other.authority && self.way.scheme() == other.way.scheme()
    }

    /// Whether both are the same to their clients: the same server, asked by the same names.
    #[must_use]
    pub fn is_same_service(&self, other: &Self) -> bool {
        let name = |origin: &Self| match &origin.way {
            Way::Tls(secure) => Some(secure.name.clone()),
            Way::Plain | Way::H2c => None,
        };
        self.is_same_server(other) && self.host == other.host && name(self) == name(other)
    }

    /// As people write it, without the scheme that is the rule: `10.0.0.1:80`, `https://app:443`, `unix:/run/app`.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.way {
            Way::Plain => self.authority.clone(),
            Way::H2c | Way::Tls(_) => format!("{}://{}", self.way.scheme(), self.authority),
        }
    }
}

/// The domain whose service this is: `app.example.com` of `_http._tcp.app.example.com`.
#[must_use]
pub fn behind_service(name: &str) -> &str {
    let mut rest = name;
    while let Some((_, behind)) = rest.split_once('.').filter(|_| rest.starts_with('_')) {
        rest = behind;
    }
    rest
}

/// How the origins of a site share its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sharing {
    /// The rule by which one is chosen.
    pub balance: Balance,
    /// So long after it came back an origin gets less than its share.
    pub slow_start: Duration,
    /// Which ones do so much worse than the others that they get nothing for a while.
    pub outliers: Outliers,
    /// When fewer than this many percent are up, all are asked as if they were; 0: never.
    pub panic_percent: u32,
    /// Requests that each may have at once; 0: any number.
    pub most_requests: u32,
    /// Requests that may wait for an origin, and how long.
    pub queue: u32,
    /// See there.
    pub queue_limit: Duration,
    /// How each is asked again and again whether it is well; none: it is not.
    pub checks: Option<Arc<Checks>>,
    /// Whether others are asked when all of these are down, so that none of them need be.
    pub has_others_behind: bool,
    /// A read that has no answer after so long is sent to another origin, too; none: it waits.
    pub hedge: Option<Duration>,
}

/// Bounds beyond which an origin is an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outliers {
    /// Percent of its answers that are 5xx; 0: no bound.
    pub errors_percent: u32,
    /// Times the wait for the others' answers; 0: no bound.
    pub slow_times: u32,
}

/// How origins show that they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// The request that each gets; none: a connection is enough.
    pub ask: Option<Ask>,
    /// From one to the next.
    pub interval: Duration,
    /// For the whole of one.
    pub timeout: Duration,
    /// So many in a row that fail take an origin out.
    pub fall: u32,
    /// So many in a row that pass bring it back.
    pub rise: u32,
}

/// A request that an origin which is well answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: PathAndQuery,
    /// Its host; none: the origin's own.
    pub host: Option<String>,
    /// The statuses of an origin that is well; none: any below 400.
    pub statuses: Vec<StatusCode>,
    /// A text that is in its body.
    pub body: Option<String>,
}

/// The rule by which the next request gets its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// By chance.
    Random,
    /// Of two by chance the one with less to do.
    LeastLoaded,
    /// By the key of the request.
    Hash,
}

impl Balance {
    /// As the config writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastLoaded => "least-loaded",
            Self::Hash => "hash",
        }
    }
}

/// How long an origin may take before a request to it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until the TCP connection is up.
    pub connect: Duration,
    /// From the request to the response's head.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub between_bytes: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
    /// Until the end of the response, however many origins were asked; none: any time.
    pub whole: Option<Duration>,
}
