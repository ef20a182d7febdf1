//! How long a response is fresh and how old it is (RFC 9111 §4.2).

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use http::{HeaderName, StatusCode, header};

use super::control::{self, ResponseControl, Scope, Voice};
use super::{Entry, transient};
use crate::http::date;
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::seconds;
use crate::http::seconds::MAX_DELTA_SECS;
use crate::site::Rules;
use crate::site::rules::{Heuristic, SMaxage, SetCookie};

/// How long a response is fresh and what may be done with it after, fixed when it was stored or freshened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds from the response's generation: `freshness_lifetime`.
    pub fresh_secs: u64,
    /// Whether it was ended, at whatever age `fresh_secs` says: the response is stale, also by a clock that was set back.
    pub is_ended: bool,
    /// Where `fresh_secs` comes from.
    pub source: Source,
    /// `corrected_initial_age` of RFC 9111 §4.2.3: seconds at the time of receipt.
    pub initial_age_secs: u64,
    /// Its permitted uses once it is stale.
    pub stale: WhenStale,
    /// By how many seconds the origin's clock was behind ours, so that the response seemed older than it was; negative if
    /// it was ahead.
    pub skew_secs: i64,
    /// Whether the client's wish to validate a fresh response is obeyed.
    pub reload: Reload,
    /// Fields that `no-cache="…"` or `private="…"` keep out of the store (RFC 9111 §5.2.2.4, §5.2.2.7).
    pub omitted: Vec<HeaderName>,
}

/// Where a freshness lifetime comes from (RFC 9111 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A site's override.
    Override,
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires` − `Date`.
    Expires,
    /// A share of `Date` − `Last-Modified`.
    Heuristic,
    /// The site's default or negative TTL.
    SiteDefault,
    /// Nothing gave one: it is stored for its validator.
    Nothing,
}

/// The permitted uses of a stale response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStale {
    /// Validate before each use, even while fresh: `no-cache`.
    NeverUnvalidated,
    /// Validate once stale, whatever happens: `must-revalidate`, `proxy-revalidate`, `s-maxage`.
    MustRevalidate,
    /// May be served stale within these windows after its end.
    May {
        /// `stale-while-revalidate` in seconds.
        while_revalidate_secs: u64,
        /// `stale-if-error` in seconds; 0 if neither the response nor the site gives one.
        if_error_secs: u64,
    },
}

/// How a client's wish to validate a fresh response is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// As the site's rules say.
    Ordinary,
    /// `immutable`: `max-age=0` of a reload does not validate it, `no-cache` may (RFC 8246 §2).
    Immutable,
}

/// The numbers of a freshness decision, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// `current_age` in seconds.
    pub age_secs: u64,
    /// `freshness_lifetime` in seconds.
    pub lifetime_secs: u64,
    /// Where the lifetime comes from.
    pub source: Source,
}

/// The lifetime of `response`, received at `now` for a request that left at `asked`.
pub fn lifetime(
    request: &RequestHead,
    response: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> Lifetime {
    let (control, voice) = control::of_response(&response.headers, &rules.targeted);
    let (fresh_secs, source) = fresh_secs(request, response, &control, voice, rules, now);
    // The site's own word on a status goes before the general rule.
    let passes = transient::is_transient(response.status) && source != Source::Override;
    let max_secs = if passes { rules.max_error_ttl_secs } else { MAX_DELTA_SECS };
    Lifetime {
        fresh_secs: fresh_secs.min(rules.max_ttl_secs).min(max_secs),
        is_ended: false,
        source,
        initial_age_secs: initial_age_secs(response, asked, now),
        stale: when_stale(&control, voice, passes, rules),
        skew_secs: skew_secs(response, asked, now),
        reload: if control.immutable { Reload::Immutable } else { Reload::Ordinary },
        omitted: [control.no_cache.fields(), control.private.fields(), stripped(response, rules)].concat(),
    }
}

/// The fields that set a cookie. `Set-Cookie2` is obsolete (RFC 6265 §9.4), and Java servers still send it.
pub(super) static COOKIES: [HeaderName; 2] = [header::SET_COOKIE, HeaderName::from_static("set-cookie2")];

/// The fields that the site keeps out of the store.
fn stripped(response: &ResponseHead, rules: &Rules) -> &'static [HeaderName] {
    let sets = COOKIES.iter().any(|name| response.headers.contains_key(name));
    if rules.set_cookie == SetCookie::Strip && sets { &COOKIES } else { &[] }
}

/// Age and lifetime of `entry` at `now`.
pub fn of(entry: &Entry, now: SystemTime) -> Freshness {
    let resident_secs = date::secs_between(entry.received, now);
    let Lifetime { fresh_secs, is_ended, initial_age_secs, .. } = entry.lifetime;
    // RFC 9111 §4.2.3: current_age = corrected_initial_age + resident_time.
    let age_secs = initial_age_secs.saturating_add(resident_secs).min(MAX_DELTA_SECS);
    Freshness {
        age_secs,
        lifetime_secs: if is_ended { fresh_secs.min(age_secs) } else { fresh_secs },
        source: entry.lifetime.source,
    }
}

/// Statuses whose responses may be stored and reused without explicit freshness (RFC 9110 §15.1). 206 is among them
/// there; its parts are reused only with explicit freshness here.
pub fn is_heuristically_cacheable(response: &ResponseHead) -> bool {
    matches!(response.status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The final statuses whose caching requirements this cache knows: RFC 9110 §15, RFC 6585, RFC 7725 and others of the
/// registry that ask nothing of caches beyond RFC 9111.
pub(super) fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(),
        200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=426 | 428 | 429 | 431 | 451
        | 500..=508 | 510 | 511)
}

impl Freshness {
    /// RFC 9111 §4.2: `freshness_lifetime > current_age`.
    pub fn is_fresh(&self) -> bool {
        self.lifetime_secs > self.age_secs
    }

    /// Whether the response is stale, but not for `window_secs` or longer.
    pub fn is_stale_within(&self, window_secs: u64) -> bool {
        !self.is_fresh() && self.age_secs < self.lifetime_secs.saturating_add(window_secs)
    }

    /// Seconds left, negative once stale: RFC 9211 §2.4's `ttl`.
    pub fn ttl_secs(&self) -> i64 {
        let secs = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        secs(self.lifetime_secs) - secs(self.age_secs)
    }
}

impl Source {
    /// Whether the origin gave it in so many words.
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::SMaxage | Self::MaxAge | Self::Expires)
    }

    /// A label for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::Heuristic => "heuristic",
            Self::SiteDefault => "default",
            Self::Nothing => "none",
        }
    }
}

/// RFC 9111 §4.2.1, in its order, after the site's override and before its defaults.
fn fresh_secs(
    request: &RequestHead,
    response: &ResponseHead,
    control: &ResponseControl,
    voice: Voice,
    rules: &Rules,
    now: SystemTime,
) -> (u64, Source) {
    if let Some(secs) = rules.override_secs(request, response) {
        return (secs, Source::Override);
    }
    if let Some(secs) = control.s_maxage {
        return (secs, Source::SMaxage);
    }
    if let Some(secs) = control.max_age {
        return (secs, Source::MaxAge);
    }
    if voice == Voice::General && response.headers.contains_key(header::EXPIRES) {
        return (expires_secs(response, now), Source::Expires);
    }
    implicit_secs(response, control, rules, now)
}

/// Without explicit freshness (RFC 9111 §4.2.2): never under a directive that wants validation.
fn implicit_secs(
    response: &ResponseHead,
    control: &ResponseControl,
    rules: &Rules,
    now: SystemTime,
) -> (u64, Source) {
    let error = response.status.is_client_error() || response.status.is_server_error();
    // RFC 9111 §4.2.2 lets `public` stand for a cacheable status. It gives no lifetime to the errors that are known not to
    // be cacheable, nor to a 201 or 202, which answers one request.
    let known = error && is_understood(response.status);
    let public = control.public && !known && !matches!(response.status.as_u16(), 201 | 202);
    if !(is_heuristically_cacheable(response) || public) || control.no_cache == Scope::Everything {
        return (0, Source::Nothing);
    }
    if rules.negative_ttl_secs > 0 && matches!(response.status.as_u16(), 404 | 410) {
        return (rules.negative_ttl_secs, Source::SiteDefault);
    }
    let max_secs = if error { rules.max_error_ttl_secs } else { MAX_DELTA_SECS };
    if let Some(secs) = heuristic_secs(response, rules, now) {
        return (secs.min(max_secs), Source::Heuristic);
    }
    match rules.default_ttl_secs {
        secs if secs > 0 && !error => (secs, Source::SiteDefault),
        _ => (0, Source::Nothing),
    }
}

/// RFC 9111 §5.3: what is not exactly one valid date has already expired.
fn expires_secs(response: &ResponseHead, now: SystemTime) -> u64 {
    let expires = date::single(&response.headers, &header::EXPIRES, now);
    expires.map_or(0, |expires| date::secs_between(date_value(response, now), expires))
}

fn heuristic_secs(response: &ResponseHead, rules: &Rules, now: SystemTime) -> Option<u64> {
    let Heuristic::Share { percent, cap_secs } = rules.heuristic else { return None };
    let modified = date::single(&response.headers, &header::LAST_MODIFIED, now)?;
    let unchanged_secs = date::secs_between(modified, date_value(response, now));
    Some((unchanged_secs.saturating_mul(u64::from(percent)) / 100).min(cap_secs))
}

/// RFC 9111 §4.2.3, with RFC 9110 §6.6.1: a response without a valid Date is dated by its receipt.
fn date_value(response: &ResponseHead, received: SystemTime) -> SystemTime {
    date::single(&response.headers, &header::DATE, received).unwrap_or(received)
}

/// RFC 9111 §4.2.3: `corrected_initial_age`.
fn initial_age_secs(response: &ResponseHead, asked: SystemTime, received: SystemTime) -> u64 {
    let apparent_age = date::secs_between(date_value(response, received), received);
    let response_delay = date::secs_between(asked, received);
    let corrected_age_value = age_value(response).saturating_add(response_delay);
    apparent_age.max(corrected_age_value).min(MAX_DELTA_SECS)
}

/// A smaller difference of clocks is not worth a word.
pub const SKEW_TOLD_SECS: u64 = 10;

/// By how much the origin's `Date` is earlier than what its own `Age` and our clock make of it; negative if it is later.
/// A `Date` that is not there, or is wrong in form, tells nothing.
pub fn skew_secs(response: &ResponseHead, asked: SystemTime, received: SystemTime) -> i64 {
    let Some(date) = date::single(&response.headers, &header::DATE, received) else { return 0 };
    let secs = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    // It was written between the two, or before by its age.
    let aged = age_value(response);
    let behind = date::secs_between(date, asked).saturating_sub(aged);
    let ahead = date::secs_between(received, date);
    if ahead > 0 { -secs(ahead) } else { secs(behind) }
}

/// RFC 9111 §5.1: the first member counts; if it is not delta-seconds, the field is ignored.
fn age_value(response: &ResponseHead) -> u64 {
    let first = response.headers.get(header::AGE).map(|line| line.as_bytes());
    let member = first.and_then(|line| line.split(|&byte| byte == b',').next());
    member.and_then(|member| seconds::delta_secs(member.trim_ascii())).unwrap_or(0)
}

/// RFC 9111 §4.2.4: a directive that forbids stale answers goes before one that allows them. `passes` says that the
/// response is a transient error: it is served to nobody once it is stale.
fn when_stale(control: &ResponseControl, voice: Voice, passes: bool, rules: &Rules) -> WhenStale {
    let windows = (control.stale_while_revalidate, control.stale_if_error);
    // RFC 9111 §5.2.2.10: s-maxage has the meaning of proxy-revalidate. In a targeted field nobody can mean that by a
    // window beside it: it is there for this cache only.
    let yields = rules.s_maxage == SMaxage::YieldsToWindows || voice == Voice::Targeted;
    let s_maxage = control.s_maxage.is_some() && (!yields || windows == (None, None));
    if control.no_cache == Scope::Everything {
        WhenStale::NeverUnvalidated
    } else if control.must_revalidate || control.proxy_revalidate || s_maxage || passes {
        WhenStale::MustRevalidate
    } else {
        WhenStale::May {
            while_revalidate_secs: windows.0.unwrap_or(rules.stale_while_revalidate_secs),
            if_error_secs: windows.1.unwrap_or(rules.stale_if_error_secs),
        }
    }
}
