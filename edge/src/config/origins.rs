//! The origins of a `[[site]]` or a route of it, and how they share its requests.

use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use toml::Spanned;

use super::networks::networks;
use super::place::Fault;
use super::settings::{OriginEntry, OriginTable, Settings};
use super::unit::Span;
use crate::site::own_names::{Name, OwnNames};
use crate::site::reach::Reach;
use crate::site::{Balance, OriginAddress, Patience, Sharing};

/// Origins as they are written.
pub(super) type Written = Spanned<Vec<Spanned<OriginEntry>>>;

/// The origins of a site or a route; one at least.
pub(super) fn origins(written: Written, settings: &Settings) -> Result<Vec<OriginAddress>, Fault> {
    if written.get_ref().is_empty() {
        return Err(Fault::new(
            written.span(),
            "a site needs at least one origin such as \"http://127.0.0.1:8000\"",
        ));
    }
    let networks = networks(Settings::texts(&settings.origin_networks))?;
    let title_case = settings.origin_title_case.unwrap_or(false);
    let place = written.span();
    let origins = written.into_inner().into_iter().map(|written| origin(written, &networks, title_case));
    let origins: Vec<OriginAddress> = origins.collect::<Result<_, _>>()?;
    if origins.iter().all(|origin| origin.backup) {
        return Err(Fault::new(place, "all origins are backups: leave `backup` out of one at least"));
    }
    Ok(origins)
}

fn origin(
    written: Spanned<OriginEntry>,
    networks: &[IpNet],
    title_case: bool,
) -> Result<OriginAddress, Fault> {
    let span = written.span();
    let OriginTable { url, host, weight, backup } = match written.into_inner() {
        OriginEntry::Url(url) => OriginTable { url, host: None, weight: None, backup: false },
        OriginEntry::Table(table) => table,
    };
    let wrong = |message: &str| Fault::new(span.clone(), format!("{message}: write \"http://host:port\""));
    let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong("origins are reached by plain HTTP"));
    }
    if uri.path_and_query().is_some_and(|path| path != "/") {
        let fault = wrong("an origin has no path, requests keep theirs");
        return Err(fault.help(
            "another path at the origin is a route's `origin_path`: see [[site.route]] in the reference",
        ));
    }
    let authority = uri.authority().ok_or_else(|| wrong("no host in the URL"))?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(wrong("not a host and port"));
    }
    let port = authority.port_u16().unwrap_or(80);
    let reach = Reach::of(authority.host(), networks);
    let authority = format!("{}:{port}", authority.host());
    Ok(OriginAddress { authority, host, title_case, weight: self::weight(weight)?, backup, reach })
}

fn weight(written: Option<Spanned<u32>>) -> Result<u32, Fault> {
    match written {
        None => Ok(1),
        Some(weight) if (1..=MOST_WEIGHT).contains(weight.get_ref()) => Ok(weight.into_inner()),
        Some(weight) => Err(Fault::new(weight.span(), "a weight is a number from 1 to 1000")),
    }
}

const MOST_WEIGHT: u32 = 1_000;

/// How long an origin may take.
pub(super) fn patience(settings: &Settings) -> Patience {
    let or = |span: Option<Span>, default_s| span.map_or(Duration::from_secs(default_s), |span| span.0);
    Patience {
        connect: or(settings.connect_timeout, 5),
        first_byte: or(settings.first_byte_timeout, 60),
        between_bytes: or(settings.between_bytes_timeout, 60),
        idle: settings.origin_idle_timeout.map_or(DEFAULT_ORIGIN_IDLE, |span| span.0),
    }
}

/// gunicorn closes idle connections after 2 s, Node and Apache after 5 s. Ours must be the shorter time.
const DEFAULT_ORIGIN_IDLE: Duration = Duration::from_millis(1500);

/// How they share the requests.
pub(super) fn sharing(settings: &Settings) -> Sharing {
    Sharing {
        balance: settings.balance.map_or(Balance::default(), Balance::from),
        slow_start: settings.slow_start.map_or(DEFAULT_SLOW_START, |span| span.0),
    }
}

/// Caches and pools of an origin that was started are warm by then, or are on the way.
const DEFAULT_SLOW_START: Duration = Duration::from_secs(10);

/// The names under which origins are dialled, those that they are given as `Host`, and those that the site adds.
pub(super) fn own_names(settings: &Settings, origins: &[OriginAddress]) -> Result<OwnNames, Fault> {
    let others: Vec<Name> =
        Settings::texts(&settings.origin_names).iter().map(own_name).collect::<Result<_, _>>()?;
    let dialled = origins.iter().filter_map(|origin| Name::parse(&origin.authority));
    let given = origins.iter().filter_map(|origin| Name::parse(origin.host.as_deref()?));
    Ok(match settings.rewrite_origin_names {
        Some(false) => OwnNames::default(),
        _ => OwnNames::new(dialled.collect(), given.chain(others).collect()),
    })
}

fn own_name(written: &Spanned<String>) -> Result<Name, Fault> {
    Name::parse(written.get_ref()).ok_or_else(|| {
        let help = "write \"app.internal\" or \"app.internal:8080\"";
        Fault::new(written.span(), "not a name of an origin").help(help)
    })
}
