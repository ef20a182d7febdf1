//! `[[stream]]`: connections that are passed on, whatever they carry.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use toml::Spanned;

use super::networks::{networks, trusted};
use super::origins;
use super::place::Fault;
use super::settings::{OriginEntry, OriginTable};
use super::tables::BalanceName;
use super::unit::Span;
use crate::site::origin::{Checks, Way};
use crate::site::reach::Reach;
use crate::site::relay::Relay;
use crate::site::{Balance, HostPattern, OriginAddress, Patience, Sharing};

/// Where connections come in, and what becomes of them.
#[derive(Debug, Clone)]
pub struct Stream {
    /// At least one; several streams may share one, if they are told apart by name.
    pub listen: Vec<SocketAddr>,
    /// The rest.
    pub relay: Relay,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamTable {
    listen: Spanned<Vec<SocketAddr>>,
    #[serde(default)]
    sni: Vec<Spanned<String>>,
    origins: Spanned<Vec<Spanned<OriginEntry>>>,
    #[serde(default)]
    origin_networks: Vec<Spanned<String>>,
    balance: Option<BalanceName>,
    slow_start: Option<Span>,
    check_interval: Option<Span>,
    connect_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    whole_timeout: Option<Span>,
    connections: Option<usize>,
    #[serde(default)]
    proxy_protocol: Vec<Spanned<String>>,
    #[serde(default)]
    send_proxy: bool,
}

/// As many as clients of sites may have.
const DEFAULT_CONNECTIONS: usize = 10_000;
const FALL: u32 = 3;
const RISE: u32 = 2;

/// In the file's order. Relative paths start at `base`.
pub(super) fn streams(tables: Vec<StreamTable>, base: &Path) -> Result<Vec<Stream>, Fault> {
    let mut streams: Vec<Stream> = Vec::new();
    for table in tables {
        let place = table.listen.span();
        let stream = stream(table, base)?;
        let shares = |other: &&Stream| {
            let taken = |address: &SocketAddr| address.port() != 0 && other.listen.contains(address);
            other.relay.names.is_empty() && stream.listen.iter().any(taken)
        };
        if stream.relay.names.is_empty() && streams.iter().any(|other| shares(&other)) {
            let fault = Fault::new(place, "another stream takes every connection there");
            return Err(fault.help("name what this one takes in `sni`, or let it listen elsewhere"));
        }
        streams.push(stream);
    }
    Ok(streams)
}

fn stream(table: StreamTable, base: &Path) -> Result<Stream, Fault> {
    let listen = table.listen.get_ref().clone();
    let Some(first) = listen.first() else {
        let fault = Fault::new(table.listen.span(), "at least one address to listen on is needed");
        return Err(fault.help("write listen = [\"0.0.0.0:8444\"]"));
    };
    let name = |written: &Spanned<String>| {
        HostPattern::parse(written.get_ref()).ok_or_else(|| {
            Fault::new(written.span(), "not a host name: write \"db.example.com\" or \"*.example.com\"")
        })
    };
    let names: Vec<HostPattern> = table.sni.iter().map(name).collect::<Result<_, _>>()?;
    let networks = networks(&table.origin_networks)?;
    let place = table.origins.span();
    let origin = |written| origin(written, &networks, base);
    let origins: Vec<OriginAddress> =
        table.origins.into_inner().into_iter().map(origin).collect::<Result<_, _>>()?;
    if origins.iter().all(|origin| origin.backup) {
        return Err(Fault::new(
            place,
            "a stream needs at least one origin that is no backup: \"tcp://127.0.0.1:9444\"",
        ));
    }
    let or = |span: Option<Span>, default: Duration| span.map_or(default, |span| span.0);
    let connect = or(table.connect_timeout, Duration::from_secs(5));
    let checks = table.check_interval.map(|interval| checks(interval.0, connect).into());
    let relay = Relay {
        name: table.sni.first().map_or_else(|| first.to_string(), |name| name.get_ref().clone()),
        names,
        origins,
        patience: Patience {
            connect,
            first_byte: connect,
            between_bytes: connect,
            idle: Duration::ZERO,
            whole: None,
        },
        sharing: Sharing {
            balance: table.balance.map_or(Balance::default(), Balance::from),
            slow_start: or(table.slow_start, Duration::from_secs(10)),
            checks,
            ..Sharing::default()
        },
        idle: or(table.idle_timeout, Duration::from_secs(600)),
        whole: table.whole_timeout.map(|span| span.0).filter(|limit| !limit.is_zero()),
        most: table.connections.unwrap_or(DEFAULT_CONNECTIONS).max(1),
        introducers: trusted(&table.proxy_protocol)?,
        introduces: table.send_proxy,
    };
    Ok(Stream { listen, relay })
}

/// A connection that comes about is all that is asked.
fn checks(interval: Duration, timeout: Duration) -> Checks {
    Checks { interval: interval.max(LEAST_INTERVAL), timeout, fall: FALL, rise: RISE, ask: None }
}

const LEAST_INTERVAL: Duration = Duration::from_millis(100);

fn origin(
    written: Spanned<OriginEntry>,
    networks: &[ipnet::IpNet],
    base: &Path,
) -> Result<OriginAddress, Fault> {
    let span = written.span();
    let wrong = || {
        Fault::new(span.clone(), "an origin of a stream is \"tcp://host:port\" or \"unix:/path/of.socket\"")
    };
    let OriginTable { url, host, sni, weight, backup, drain } = match written.into_inner() {
        OriginEntry::Url(url) => {
            OriginTable { url, host: None, sni: None, weight: None, backup: false, drain: false }
        }
        OriginEntry::Table(table) => table,
    };
    if host.is_some() || sni.is_some() {
        return Err(wrong().help("`host` and `sni` are for sites: a stream passes on what the client says"));
    }
    let weight = origins::weight(weight)?;
    let (way, title_case, resolvers) = (Way::Plain, false, std::sync::Arc::default());
    if let Some(path) = url.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        let path = base.join(path);
        let authority = format!("unix:{}", path.display());
        let (socket, reach) = (Some(path), Reach::Itself);
        return Ok(OriginAddress {
            authority,
            socket,
            way,
            host,
            title_case,
            weight,
            backup,
            drain,
            resolvers,
            reach,
        });
    }
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("tcp")).ok_or_else(wrong)?;
    let is_bare = uri.path_and_query().is_none_or(|path| path == "/") && !authority.as_str().contains('@');
    if !is_bare || authority.port_u16().is_none() || authority.host().is_empty() {
        return Err(wrong());
    }
    let (socket, reach) = (None, Reach::of(authority.host(), networks));
    let authority = authority.to_string();
    Ok(OriginAddress { authority, socket, way, host, title_case, weight, backup, drain, resolvers, reach })
}
