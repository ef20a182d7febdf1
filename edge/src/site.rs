//! An operator's decisions about one site: plain values that `config` builds, and pure functions on them.
//!
//! Invariant: nothing here reads a clock, a socket, a log or a config file.

pub mod access;
pub mod cms;
pub mod cookies;
pub mod dictionaries;
pub mod guard;
pub mod host;
pub mod key;
pub mod name;
pub mod offer;
pub mod origin;
pub mod own_names;
pub mod pages;
pub mod parents;
pub mod pattern;
pub mod reach;
pub mod relay;
pub mod rewrite;
pub mod route;
pub mod rules;
pub mod sender;
pub mod signed;
pub mod tags;
pub mod unheeded;

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use ipnet::IpNet;

pub use host::{HostPattern, Sites};
pub use name::SiteName;
pub use origin::{Balance, CanaryGroup, OriginAddress, Patience, Sharing};
pub use rules::Rules;

use access::Access;
use dictionaries::Dictionaries;
use key::KeyRules;
use offer::Offer;
use own_names::OwnNames;
use pages::{Maintenance, Pages};
use rewrite::{FieldRules, Redirect};
use route::Route;
use signed::Signed;

/// One site: its names, its origins and its rules.
#[derive(Debug, Clone)]
pub struct Site {
    /// The first of its hosts: its stored responses, its purges and its counters go by it.
    pub name: SiteName,
    /// The names it answers to.
    pub hosts: Vec<HostPattern>,
    /// At least one.
    pub origins: Vec<OriginAddress>,
    /// A new group of origins that gets a share of its requests.
    pub canary: Option<CanaryGroup>,
    /// The cookie by which a client stays at its origin.
    pub sticky: Option<String>,
    /// Other edges that are asked first, each for its share of the keys.
    pub parents: Vec<OriginAddress>,
    /// The names by which they know themselves, which are put right in responses.
    pub own_names: OwnNames,
    /// The caching rules of HTTP and of the operator.
    pub rules: Rules,
    /// The rules by which two requests are the same.
    pub key: KeyRules,
    /// A bigger response is streamed and not kept.
    pub max_object_bytes: u64,
    /// The codings and types that are encoded on their way to clients and into the store.
    pub compress: Offer,
    /// The responses that are dictionaries for the next ones.
    pub dictionaries: Dictionaries,
    /// Whether clients are told what a page needs while its origin is asked about it.
    pub early_hints: bool,
    /// A QUERY with no more content than this is answered from the store; 0: it passes the cache by.
    pub query_bytes: u64,
    /// So much of a request's content is waited for before its origin is asked.
    pub buffer_bytes: u64,
    /// The fields of responses that are for this cache, and that its clients do not see: tags, and targeted fields.
    pub ends_here: Vec<HeaderName>,
    /// Which paths need a signature.
    pub signed: Signed,
    /// Changes to a request before anything else looks at it.
    pub request_fields: FieldRules,
    /// Changes to a response after everything else.
    pub response_fields: FieldRules,
    /// Redirects answered without a look into the store; the first match wins.
    pub redirects: Vec<Redirect>,
    /// How long nothing may pass on a connection that changed protocols; none: `Upgrade` is ignored.
    pub upgrade_idle: Option<Duration>,
    /// Plain HTTP is sent to HTTPS, and browsers are told to stay there for so long; none: both are served.
    pub https_only: Option<Duration>,
    /// Clients whose PURGE and BAN requests are obeyed.
    pub purge_from: Vec<IpNet>,
    /// How long an origin may take.
    pub patience: Patience,
    /// How its origins share its requests.
    pub sharing: Sharing,
    /// The clients that may ask, how often and how much.
    pub access: Access,
    /// Own pages in the place of errors.
    pub pages: Pages,
    /// Whether it is being worked on.
    pub maintenance: Maintenance,
    /// The settings that the config has for it, as they are written, a line for each: for people.
    pub settings: Vec<String>,
    /// The part of a site that this is, if it is one.
    pub route: Option<Route>,
    /// The site as it is for the paths of each of its routes; the first that has a path counts.
    pub routes: Vec<Arc<Site>>,
}

const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

impl Site {
    /// Whether a client that asks for this is sent to HTTPS first.
    #[must_use]
    pub fn is_sent_to_https(&self, uri: &Uri) -> bool {
        self.https_only.is_some() && uri.scheme_str() != Some("https")
    }

    /// The site, and the route of it if it is one: the same part of another config has the same.
    #[must_use]
    pub fn part(&self) -> (&SiteName, Option<&str>) {
        (&self.name, self.route.as_ref().map(|route| route.name.as_str()))
    }

    /// The path and query that an origin is asked for.
    #[must_use]
    pub fn target(&self, uri: &Uri) -> PathAndQuery {
        route::target(uri, self.route.as_ref())
    }

    /// Adds to an origin's request the beginning of the client's path that it does not see: `X-Forwarded-Prefix`, as
    /// other proxies name it. A client's own never reaches an origin.
    pub fn tell_prefix(&self, uri: &Uri, headers: &mut HeaderMap) {
        let Some(route) = &self.route else { return };
        let asked = crate::http::path::normal(uri.path());
        let prefix = route.stripped(&asked).and_then(|prefix| HeaderValue::from_str(prefix).ok());
        headers.extend(prefix.map(|prefix| (FORWARDED_PREFIX, prefix)));
    }
}
