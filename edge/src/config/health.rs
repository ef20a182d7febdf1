//! How the origins of a site share its requests, and how it is found out that one is not well.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::uri::PathAndQuery;
use toml::Spanned;

use super::place::Fault;
use super::rules::final_status;
use super::settings::{OFF, Settings};
use super::tables::HealthTable;
use super::unit::Span;
use crate::site::origin::{Ask, Checks, Outliers};
use crate::site::{Balance, Sharing};

/// Caches and pools of an origin that was started are warm by then, or are on the way.
pub(super) const DEFAULT_SLOW_START: Duration = Duration::from_secs(10);
pub(super) const DEFAULT_QUEUE: u32 = 1_000;
/// A client that waits longer has gone.
pub(super) const DEFAULT_QUEUE_LIMIT: Duration = Duration::from_secs(5);
const DEFAULT_ERRORS_PERCENT: u32 = 50;
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// More often, checks would be a load.
pub(super) const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
pub(super) const DEFAULT_FALL: u32 = 3;
pub(super) const DEFAULT_RISE: u32 = 2;

/// Of a site or a route.
pub(super) fn sharing(settings: &Settings) -> Result<Sharing, Fault> {
    let health = settings.health.clone().unwrap_or_default();
    Ok(Sharing {
        balance: settings.balance.map_or(Balance::default(), Balance::from),
        slow_start: settings.slow_start.map_or(DEFAULT_SLOW_START, |span| span.0),
        outliers: Outliers {
            errors_percent: percent(health.errors.as_ref(), DEFAULT_ERRORS_PERCENT)?,
            slow_times: health.slow.unwrap_or(0),
        },
        panic_percent: percent(health.panic.as_ref(), 0)?,
        most_requests: settings.origin_requests.unwrap_or(0),
        queue: settings.origin_queue.unwrap_or(DEFAULT_QUEUE),
        queue_limit: settings.origin_queue_timeout.map_or(DEFAULT_QUEUE_LIMIT, |span| span.0),
        checks: checks(&health)?.map(Arc::new),
        has_others_behind: false,
        hedge: settings.hedge.map(|span| span.0).filter(|after| !after.is_zero()),
    })
}

pub(super) fn percent(written: Option<&Spanned<String>>, default: u32) -> Result<u32, Fault> {
    let Some(written) = written else { return Ok(default) };
    let number = written.get_ref().strip_suffix('%').and_then(|number| number.parse().ok());
    number
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| Fault::new(written.span(), "a share from \"0%\" to \"100%\", such as \"50%\""))
}

/// The name of a cookie (RFC 6265 §4.1.1).
pub(super) fn sticky(settings: &Settings) -> Result<Option<String>, Fault> {
    let Some(name) = &settings.sticky else { return Ok(None) };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match name.get_ref().as_str() {
        OFF => Ok(None),
        token if !token.is_empty() && token.bytes().all(is_token) => Ok(Some(token.to_owned())),
        _ => Err(Fault::new(name.span(), "a cookie's name, such as \"route\", or \"off\"")),
    }
}

fn checks(table: &HealthTable) -> Result<Option<Checks>, Fault> {
    let Some(path) = &table.path else { return Ok(None) };
    let target = path.get_ref().parse::<PathAndQuery>().ok().filter(|_| path.get_ref().starts_with('/'));
    let target = target.ok_or_else(|| Fault::new(path.span(), "a path such as \"/healthz\""))?;
    let method = match &table.method {
        None => Method::GET,
        Some(written) => Method::from_bytes(written.get_ref().as_bytes())
            .map_err(|_| Fault::new(written.span(), "a method such as \"GET\" or \"HEAD\""))?,
    };
    let interval = span(table.interval.as_ref(), DEFAULT_INTERVAL)?;
    Ok(Some(Checks {
        ask: Some(Ask {
            method,
            path: target,
            host: table.host.clone(),
            statuses: table.status.iter().map(final_status).collect::<Result<_, _>>()?,
            body: table.body.clone(),
        }),
        interval,
        timeout: span(table.timeout.as_ref(), DEFAULT_TIMEOUT)?,
        fall: table.fall.map_or(DEFAULT_FALL, Into::into),
        rise: table.rise.map_or(DEFAULT_RISE, Into::into),
    }))
}

pub(super) fn span(written: Option<&Spanned<Span>>, default: Duration) -> Result<Duration, Fault> {
    match written {
        None => Ok(default),
        Some(span) if span.get_ref().0 < LEAST_INTERVAL => {
            Err(Fault::new(span.span(), "at least \"100ms\"; checks would be a load"))
        }
        Some(span) => Ok(span.get_ref().0),
    }
}
