//! `[[stream]]`: connections that are passed on, whatever they carry.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use toml::Spanned;

use super::networks::{networks, trusted};
use super::place::Fault;
use super::settings::{OriginEntry, OriginTable};
use super::tables::BalanceName;
use super::unit::Span;
use super::{health, origins};
use crate::site::origin::{Checks, NameServer, Outliers, Way};
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
    check_interval: Option<Spanned<Span>>,
    #[serde(default)]
    health: HealthOfStream,
    origin_requests: Option<u32>,
    origin_queue: Option<u32>,
    origin_queue_timeout: Option<Span>,
    #[serde(default)]
    origin_resolvers: Vec<Spanned<String>>,
    connect_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    whole_timeout: Option<Span>,
    connections: Option<usize>,
    #[serde(default)]
    proxy_protocol: Vec<Spanned<String>>,
    #[serde(default)]
    send_proxy: bool,
}

/// A `[stream.health]`: what `[site.health]` has that does not speak of requests and their answers.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct HealthOfStream {
    interval: Option<Spanned<Span>>,
    timeout: Option<Spanned<Span>>,
    fall: Option<NonZeroU32>,
    rise: Option<NonZeroU32>,
    slow: Option<u32>,
    panic: Option<Spanned<String>>,
}

/// As many as clients of sites may have.
const DEFAULT_CONNECTIONS: usize = 10_000;

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
    let connect = table.connect_timeout.map_or(DEFAULT_CONNECT, |span| span.0);
    let sharing = sharing(&table, connect)?;
    let resolvers = origins::resolvers(&table.origin_resolvers)?;
    let origin = |written| origin(written, (networks.as_slice(), &resolvers), base);
    let origins: Vec<OriginAddress> =
        table.origins.into_inner().into_iter().map(origin).collect::<Result<_, _>>()?;
    if origins.iter().all(|origin| origin.backup) {
        return Err(Fault::new(
            place,
            "a stream needs at least one origin that is no backup: \"tcp://127.0.0.1:9444\"",
        ));
    }
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
        sharing,
        idle: table.idle_timeout.map_or(DEFAULT_IDLE, |span| span.0),
        whole: table.whole_timeout.map(|span| span.0).filter(|limit| !limit.is_zero()),
        most: table.connections.unwrap_or(DEFAULT_CONNECTIONS).max(1),
        introducers: trusted(&table.proxy_protocol)?,
        introduces: table.send_proxy,
    };
    Ok(Stream { listen, relay })
}

const DEFAULT_CONNECT: Duration = Duration::from_secs(5);
const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// As of a site, but for what its requests say.
fn sharing(table: &StreamTable, connect: Duration) -> Result<Sharing, Fault> {
    let health = &table.health;
    Ok(Sharing {
        balance: table.balance.map_or(Balance::default(), Balance::from),
        slow_start: table.slow_start.map_or(health::DEFAULT_SLOW_START, |span| span.0),
        // Connections have no statuses.
        outliers: Outliers { errors_percent: 0, slow_times: health.slow.unwrap_or(0) },
        panic_percent: health::percent(health.panic.as_ref(), 0)?,
        most_requests: table.origin_requests.unwrap_or(0),
        queue: table.origin_queue.unwrap_or(health::DEFAULT_QUEUE),
        queue_limit: table.origin_queue_timeout.map_or(health::DEFAULT_QUEUE_LIMIT, |span| span.0),
        checks: checks(health, table.check_interval.as_ref(), connect)?.map(Arc::new),
        has_others_behind: false,
        hedge: None,
    })
}

/// A connection that comes about is all that is asked. There are none where nothing about them is written.
fn checks(
    health: &HealthOfStream,
    check_interval: Option<&Spanned<Span>>,
    connect: Duration,
) -> Result<Option<Checks>, Fault> {
    if let (Some(twice), Some(_)) = (check_interval, &health.interval) {
        let fault = Fault::new(twice.span(), "`interval` of [stream.health] says the same");
        return Err(fault.help("leave one of them out"));
    }
    let HealthOfStream { interval, timeout, fall, rise, .. } = health;
    let is_written = interval.is_some() || timeout.is_some() || fall.is_some() || rise.is_some();
    if check_interval.is_none() && !is_written {
        return Ok(None);
    }
    let default = check_interval.map_or(health::DEFAULT_INTERVAL, |span| span.get_ref().0);
    Ok(Some(Checks {
        interval: health::span(interval.as_ref(), default.max(health::LEAST_INTERVAL))?,
        timeout: health::span(timeout.as_ref(), connect)?,
        fall: fall.map_or(health::DEFAULT_FALL, Into::into),
        rise: rise.map_or(health::DEFAULT_RISE, Into::into),
        ask: None,
    }))
}

fn origin(
    written: Spanned<OriginEntry>,
    (networks, resolvers): (&[ipnet::IpNet], &Arc<[NameServer]>),
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
    let (way, title_case, resolvers) = (Way::Plain, false, Arc::clone(resolvers));
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
