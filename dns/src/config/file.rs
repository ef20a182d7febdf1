//! The keys of the file and the type of each, as serde reads them; and what is said when it cannot.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

pub(super) use super::names::DomainName;
use super::names::pool_name;
use super::quantity::{Size, Span};
use super::{AdminAddress, ConfigError, LogFormat, Place, Unhide};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) zones: PathBuf,
    #[serde(default)]
    pub(super) listen: Vec<Spanned<SocketAddr>>,
    #[serde(default)]
    pub(super) listen_tls: Vec<Spanned<SocketAddr>>,
    #[serde(default)]
    pub(super) listen_https: Vec<Spanned<SocketAddr>>,
    #[serde(default)]
    pub(super) listen_quic: Vec<Spanned<SocketAddr>>,
    #[serde(default)]
    pub(super) private: Vec<Spanned<Prefix>>,
    #[serde(default)]
    pub(super) internal_names: Vec<Spanned<DomainName>>,
    pub(super) internal: Option<Spanned<Internal>>,
    #[serde(default)]
    pub(super) public: Public,
    pub(super) admin: Option<Admin>,
    #[serde(default)]
    pub(super) log: Log,
    #[serde(default)]
    pub(super) udp: Udp,
    #[serde(default)]
    pub(super) tcp: Tcp,
    pub(super) tls: Option<Spanned<Tls>>,
    #[serde(default)]
    pub(super) https: Https,
    #[serde(default)]
    pub(super) reload: Reload,
    #[serde(default)]
    pub(super) cookies: Cookies,
    #[serde(default)]
    pub(super) keys: BTreeMap<String, Spanned<Key>>,
    #[serde(default)]
    pub(super) transfer: Vec<Spanned<Transfer>>,
    #[serde(default)]
    pub(super) catalog: Vec<Spanned<Catalog>>,
    #[serde(default)]
    pub(super) secondary: Vec<Spanned<Secondary>>,
    #[serde(default)]
    pub(super) update: Vec<Spanned<Update>>,
    pub(super) steer: Option<Spanned<Steer>>,
    pub(super) state: Option<PathBuf>,
    pub(super) run_folder: Option<PathBuf>,
    pub(super) nsid: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) rate_limit: RateLimit,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Internal {
    pub(super) listen: Vec<Spanned<SocketAddr>>,
    pub(super) listen_tls: Vec<Spanned<SocketAddr>>,
    pub(super) listen_https: Vec<Spanned<SocketAddr>>,
    pub(super) listen_quic: Vec<Spanned<SocketAddr>>,
    pub(super) clients: Vec<Spanned<Prefix>>,
    pub(super) zones: Vec<Spanned<DomainName>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Public {
    pub(super) zones: Vec<Spanned<DomainName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Spanned<AdminAddress>,
    pub(super) tls: Option<Spanned<AdminTls>>,
    pub(super) token_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) hosts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminTls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: LogFormat,
    pub(super) level: Option<Spanned<String>>,
    pub(super) queries: Option<Queries>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queries {
    pub(super) sample: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) private_names: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Udp {
    pub(super) workers: Option<Spanned<usize>>,
    pub(super) max_payload: Option<Spanned<Size>>,
    pub(super) receive_buffer: Option<Spanned<Size>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tcp {
    pub(super) max_connections: Option<Spanned<usize>>,
    pub(super) max_connections_per_client: Option<Spanned<usize>>,
    pub(super) max_buffered: Option<Spanned<Size>>,
    pub(super) idle_timeout: Option<Spanned<Span>>,
    pub(super) message_timeout: Option<Spanned<Span>>,
    pub(super) write_timeout: Option<Spanned<Span>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) handshake_timeout: Option<Spanned<Span>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Https {
    pub(super) path: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reload {
    pub(super) watch: Option<bool>,
    pub(super) debounce: Option<Spanned<Span>>,
    pub(super) poll: Option<Spanned<Span>>,
    pub(super) grace: Option<Spanned<Span>>,
    pub(super) unhide: Unhide,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cookies {
    pub(super) enabled: Option<bool>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) algorithm: Option<Spanned<String>>,
    pub(super) secret_file: PathBuf,
    #[serde(default)]
    pub(super) view: Side,
    #[serde(default)]
    pub(super) allow_weak: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Transfer {
    pub(super) zones: Vec<Spanned<DomainName>>,
    pub(super) keys: Vec<Spanned<String>>,
    pub(super) clients: Vec<Spanned<Prefix>>,
    pub(super) client_ca: Option<Spanned<PathBuf>>,
    pub(super) client_names: Vec<Spanned<String>>,
    pub(super) notify: Vec<Spanned<SocketAddr>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secondary {
    pub(super) zone: Spanned<DomainName>,
    pub(super) primaries: Vec<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) certificate: Option<Spanned<PathBuf>>,
    pub(super) certificate_key: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) catalog: bool,
    pub(super) most_removed: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Spanned<Group>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) primaries: Vec<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalog {
    pub(super) zone: Spanned<DomainName>,
    #[serde(default)]
    pub(super) zones: Vec<Spanned<DomainName>>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Vec<Spanned<DomainName>>>,
    #[serde(default)]
    pub(super) hand_over: BTreeMap<String, Vec<Spanned<DomainName>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    #[serde(default)]
    pub(super) zones: Vec<Spanned<DomainName>>,
    pub(super) keys: Vec<Spanned<String>>,
    pub(super) names: Vec<Spanned<String>>,
    pub(super) types: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) publish: bool,
}

/// `[steer]`, and each `[[steer.pool]]` in it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Steer {
    #[serde(deserialize_with = "pool_name")]
    pub(super) name: Option<Spanned<DomainName>>,
    pub(super) check: Option<Spanned<String>>,
    pub(super) ca: Option<PathBuf>,
    pub(super) interval: Option<Spanned<Span>>,
    pub(super) timeout: Option<Spanned<Span>>,
    pub(super) rise: Option<Spanned<u32>>,
    pub(super) fall: Option<Spanned<u32>>,
    pub(super) count: Option<Spanned<usize>>,
    pub(super) ttl: Option<Spanned<u32>>,
    pub(super) all_down: Option<AllDown>,
    pub(super) panic: Option<Spanned<u8>>,
    pub(super) shed: Option<Spanned<[u16; 2]>>,
    pub(super) nearest: Option<Spanned<Nearest>>,
    pub(super) members: Vec<Spanned<Member>>,
    pub(super) pool: Vec<Spanned<Steer>>,
    pub(super) place: Vec<Spanned<Region>>,
    pub(super) subnet_from: Vec<Spanned<Prefix>>,
    pub(super) quorum: Option<Spanned<Quorum>>,
    pub(super) database: Option<Spanned<PathBuf>>,
}

/// `[steer.quorum]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quorum {
    pub(super) listen: SocketAddr,
    pub(super) nodes: Vec<Spanned<String>>,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
}

/// `[[steer.place]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Region {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) clients: Vec<Spanned<Prefix>>,
    #[serde(default)]
    pub(super) near: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) continents: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) countries: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) regions: Vec<Spanned<String>>,
    pub(super) at: Option<Spanned<[f64; 2]>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) address: IpAddr,
    pub(super) weight: Option<Spanned<u32>>,
    pub(super) priority: Option<u32>,
    pub(super) check_address: Option<IpAddr>,
    pub(super) place: Option<Spanned<String>>,
    pub(super) check: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) drain: bool,
}

/// The members that are given when nobody is up.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AllDown {
    All,
    Last,
}

/// The measure of what is near to clients of no place.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Nearest {
    Place,
    Rtt,
}

/// A side, as the config names it.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    #[default]
    Outside,
    Inside,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateLimit {
    pub(super) enabled: Option<bool>,
    pub(super) answers_per_second: Option<Spanned<u32>>,
    pub(super) burst: Option<Spanned<u32>>,
    pub(super) slip: Option<u32>,
}

/// An exact prefix; one address alone is a prefix of full length.
#[derive(Clone, Copy)]
pub(super) struct Prefix(pub(super) IpNet);

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(address)));
        }
        let net: IpNet = text.parse().map_err(|_| {
            de::Error::custom(format_args!(
                "`{text}` is not a network; write one like 192.0.2.0/24 or 2001:db8::/32"
            ))
        })?;
        if net != net.trunc() {
            let message = format_args!(
                "`{text}` has bits set behind its prefix length; write {} or the address alone",
                net.trunc()
            );
            return Err(de::Error::custom(message));
        }
        if let IpNet::V6(v6) = net
            && let Some(v4) = v6.addr().to_ipv4_mapped()
            && let Some(length) = v6.prefix_len().checked_sub(96)
        {
            // Addresses are compared in their IPv4 form, so this would match nothing.
            return Err(de::Error::custom(format_args!(
                "`{text}` is about IPv4 addresses; write {v4}/{length}"
            )));
        }
        Ok(Self(net))
    }
}

/// The error of serde or the TOML reader, in our form.
pub(super) fn explain(error: &toml::de::Error, text: &str, shown: &Path) -> ConfigError {
    let place = Place::find(text, error.span().unwrap_or(0..0), shown);
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    let Some(rest) = message.strip_prefix("unknown field ") else {
        return ConfigError::Invalid { place, help: explain_type(&message), message };
    };
    // serde gives the key and its neighbours in backquotes; there is no other way to learn them.
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let key = quoted.next().unwrap_or_default().to_owned();
    let known: Vec<&str> = quoted.collect();
    let help = nearest(&key, &known)
        .map(|near| format!("did you mean `{near}`?"))
        .or_else(|| {
            TOP_KEYS
                .contains(&key.as_str())
                .then(|| format!("`{key}` belongs to no [table]: write it above the first one"))
        })
        .unwrap_or_else(|| format!("keys known here: {}", known.join(", ")));
    ConfigError::Invalid { place, message: format!("unknown key `{key}`"), help: Some(help) }
}

/// Keys that stand above the first [table].
const TOP_KEYS: &[&str] = &[
    "zones",
    "listen",
    "listen_tls",
    "listen_https",
    "listen_quic",
    "private",
    "internal_names",
    "nsid",
    "state",
    "run_folder",
];

fn explain_type(message: &str) -> Option<String> {
    let help = match message {
        _ if message.contains("expected a sequence") => "write a list in brackets: [\"…\"]",
        _ if message.contains("invalid type: sequence, expected socket address") => {
            "write one address, without brackets: \"127.0.0.1:6340\""
        }
        _ if message.contains("socket address") => {
            "write an address and a port: \"192.0.2.1:53\", \"[2001:db8::1]:53\""
        }
        _ if message.contains("invalid type: sequence, expected a string") => {
            "write one text, without brackets"
        }
        _ if message.starts_with("missing field `zones`") => {
            "name the folder that holds the zone files: zones = \"zones\"; put it above the first [table]"
        }
        _ if message.starts_with("duplicate key") => {
            "remove one of the two; a [table] stands in the file once"
        }
        _ => return None,
    };
    Some(help.to_owned())
}

/// The one of `known` that `key` was probably meant to be.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let allowed = key.chars().count().div_ceil(3);
    known
        .iter()
        .map(|name| (edits(key, name), *name))
        .filter(|(distance, name)| *distance <= allowed || (key.len() > 3 && name.contains(key)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance: insertions, deletions and replacements from one text to the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
