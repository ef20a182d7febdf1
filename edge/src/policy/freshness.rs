//! How long a response is fresh and how old it is (RFC 9111 §4.2).

use std::time::SystemTime;

use http::{HeaderName, header};

use super::control::{self, ResponseControl, Scope, Voice};
use super::{Entry, admit, transient};
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
    /// Where `fresh_secs` comes from.
    pub source: Source,
    /// `corrected_initial_age` of RFC 9111 §4.2.3: seconds at the time of receipt.
    pub initial_age_secs: u64,
    /// What may be done once it is stale.
    pub stale: WhenStale,
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

/// What may be done with a stale response.
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
        source,
        initial_age_secs: initial_age_secs(response, asked, now),
        stale: when_stale(&control, passes, rules),
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
    Freshness {
        // RFC 9111 §4.2.3: current_age = corrected_initial_age + resident_time.
        age_secs: entry.lifetime.initial_age_secs.saturating_add(resident_secs).min(MAX_DELTA_SECS),
        lifetime_secs: entry.lifetime.fresh_secs,
        source: entry.lifetime.source,
    }
}

/// Statuses whose responses may be stored and reused without explicit freshness (RFC 9110 §15.1). 206 is among them
/// there; its parts are reused only with explicit freshness here.
pub fn is_heuristically_cacheable(response: &ResponseHead) -> bool {
    matches!(response.status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
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
    let known = error && admit::is_understood(response.status);
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

/// RFC 9111 §5.1: the first member counts; if it is not delta-seconds, the field is ignored.
fn age_value(response: &ResponseHead) -> u64 {
    let first = response.headers.get(header::AGE).map(|line| line.as_bytes());
    let member = first.and_then(|line| line.split(|&byte| byte == b',').next());
    member.and_then(|member| seconds::delta_secs(member.trim_ascii())).unwrap_or(0)
}

/// RFC 9111 §4.2.4: a directive that forbids stale answers goes before one that allows them. `passes` says that the
/// response is a transient error: it is served to nobody once it is stale.
fn when_stale(control: &ResponseControl, passes: bool, rules: &Rules) -> WhenStale {
    let windows = (control.stale_while_revalidate, control.stale_if_error);
    // RFC 9111 §5.2.2.10: s-maxage has the meaning of proxy-revalidate.
    let s_maxage =
        control.s_maxage.is_some() && (rules.s_maxage == SMaxage::ForbidsStale || windows == (None, None));
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::StatusCode;
    use proptest::prelude::*;

    use super::*;
    use crate::http::testing::{at, request, response};
    use crate::site::pattern::PathPattern;

    /// The lifetime of a response to `GET http://a.example/`, asked and received at second 1000.
    fn lifetime_of(status: u16, fields: &[(&str, &str)], rules: &Rules) -> Lifetime {
        lifetime(
            &request("GET", "http://a.example/", &[]),
            &response(status, fields),
            at(1000),
            rules,
            at(1000),
        )
    }

    fn check(fields: &[(&str, &str)], fresh_secs: u64, source: Source, initial_age_secs: u64) {
        let lifetime = lifetime_of(200, fields, &Rules::default());
        assert_eq!(
            (lifetime.fresh_secs, lifetime.source, lifetime.initial_age_secs),
            (fresh_secs, source, initial_age_secs),
            "{fields:?}"
        );
    }

    /// Second 1000 of the epoch, and others near it.
    const DATE: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
    const DATE_PLUS_60: &str = "Thu, 01 Jan 1970 00:17:40 GMT";
    const DATE_MINUS_400: &str = "Thu, 01 Jan 1970 00:10:00 GMT";

    #[test]
    fn the_most_specific_lifetime_counts() {
        check(&[("cache-control", "max-age=60")], 60, Source::MaxAge, 0);
        check(&[("cache-control", "max-age=60, s-maxage=5")], 5, Source::SMaxage, 0);
        check(&[("cache-control", "max-age=0, s-maxage=5"), ("expires", "0")], 5, Source::SMaxage, 0);
        check(
            &[("cache-control", "max-age=0"), ("expires", DATE_PLUS_60), ("date", DATE)],
            0,
            Source::MaxAge,
            0,
        );
        check(&[("expires", DATE_PLUS_60), ("date", DATE)], 60, Source::Expires, 0);
        check(
            &[
                ("cdn-cache-control", "max-age=7"),
                ("cache-control", "no-store, max-age=60"),
                ("expires", "0"),
            ],
            7,
            Source::MaxAge,
            0,
        );
        check(
            &[("cdn-cache-control", "foo"), ("cache-control", "max-age=60"), ("expires", DATE_PLUS_60)],
            0,
            Source::Nothing,
            0,
        );
        check(&[], 0, Source::Nothing, 0);
    }

    #[test]
    fn what_is_not_one_date_has_expired() {
        for lines in [&["0"][..], &["foo"], &[""], &[DATE_PLUS_60, DATE_PLUS_60], &[DATE]] {
            let mut fields = vec![("date", DATE)];
            fields.extend(lines.iter().map(|line| ("expires", *line)));
            check(&fields, 0, Source::Expires, 0);
        }
        check(&[("expires", DATE_PLUS_60), ("date", "foo")], 60, Source::Expires, 0);
        check(&[("expires", DATE_PLUS_60)], 60, Source::Expires, 0);
        check(&[("expires", DATE_PLUS_60), ("date", DATE_MINUS_400)], 460, Source::Expires, 400);
    }

    #[test]
    fn age_is_the_first_member_if_it_is_delta_seconds() {
        for (age, expected) in [
            ("7200", 7200),
            ("0, 7200", 0),
            ("7200,0", 7200),
            ("abc", 0),
            ("-7200", 0),
            ("7200.0", 0),
            ("7200;foo=111", 0),
            ("", 0),
            ("2147483648", MAX_DELTA_SECS),
            ("99999999999999999999", MAX_DELTA_SECS),
        ] {
            check(&[("age", age), ("cache-control", "max-age=1")], 1, Source::MaxAge, expected);
        }
        check(&[("age", "0"), ("age", "7200")], 0, Source::Nothing, 0);
        check(&[("age", "7200"), ("age", "0")], 0, Source::Nothing, 7200);
    }

    #[test]
    fn date_and_delay_count_as_age() {
        check(&[("date", DATE_MINUS_400)], 0, Source::Nothing, 400);
        check(&[("date", DATE_PLUS_60), ("age", "15")], 0, Source::Nothing, 15);
        let slow = lifetime(
            &request("GET", "http://a.example/", &[]),
            &response(200, &[("age", "5")]),
            at(1000),
            &Rules::default(),
            at(1030),
        );
        assert_eq!(slow.initial_age_secs, 35);
    }

    #[test]
    fn heuristics_only_where_the_rfc_lets_them() {
        let modified = [("last-modified", DATE_MINUS_400), ("date", DATE)];
        for status in 200..=599 {
            let silent = match status {
                200 | 203 | 204 | 300 | 301 | 308 => (40, Source::Heuristic),
                404 | 405 | 410 | 414 | 501 => (5, Source::Heuristic),
                _ => (0, Source::Nothing),
            };
            let public = match status {
                200 | 203..400 => (40, Source::Heuristic),
                _ if silent.0 == 0 && !admit::is_understood(StatusCode::from_u16(status).unwrap()) => {
                    (5, Source::Heuristic)
                }
                _ => silent,
            };
            for (directive, expected) in [("x", silent), ("public", public)] {
                let fields = [("cache-control", directive), modified[0], modified[1]];
                let lifetime = lifetime_of(status, &fields, &Rules::default());
                assert_eq!((lifetime.fresh_secs, lifetime.source), expected, "{status} {directive}");
            }
        }
        let no_cache = [("cache-control", "no-cache"), modified[0], modified[1]];
        assert_eq!(lifetime_of(200, &no_cache, &Rules::default()).source, Source::Nothing);
        let capped = Rules { heuristic: Heuristic::Share { percent: 10, cap_secs: 7 }, ..Rules::default() };
        assert_eq!(lifetime_of(200, &modified, &capped).fresh_secs, 7);
        let off = Rules { heuristic: Heuristic::Off, ..Rules::default() };
        assert_eq!(lifetime_of(200, &modified, &off).source, Source::Nothing);
    }

    #[test]
    fn an_error_lives_a_few_seconds_at_most() {
        let lasting = "max-age=3600, stale-while-revalidate=60, stale-if-error=60";
        let (may, must) =
            (WhenStale::May { while_revalidate_secs: 60, if_error_secs: 60 }, WhenStale::MustRevalidate);
        for (status, expected) in [
            (200, (3600, may)),
            (401, (3600, may)),
            (404, (3600, may)),
            (410, (3600, may)),
            (400, (5, must)),
            (405, (5, must)),
            (408, (5, must)),
            (411, (5, must)),
            (413, (5, must)),
            (414, (5, must)),
            (417, (5, must)),
            (421, (5, must)),
            (429, (5, must)),
            (431, (5, must)),
            (500, (5, must)),
            (501, (5, must)),
            (503, (5, must)),
            (599, (5, must)),
        ] {
            for name in ["cache-control", "cdn-cache-control"] {
                let found = lifetime_of(status, &[(name, lasting)], &Rules::default());
                assert_eq!((found.fresh_secs, found.stale), expected, "{status} {name}");
            }
        }
        let short = Rules { max_error_ttl_secs: 2, ..Rules::default() };
        assert_eq!(lifetime_of(500, &[("cache-control", "max-age=1")], &short).fresh_secs, 1);
        assert_eq!(lifetime_of(500, &[("expires", DATE_PLUS_60), ("date", DATE)], &short).fresh_secs, 2);
    }

    #[test]
    fn the_negative_ttl_is_for_what_is_missing() {
        let rules = Rules { negative_ttl_secs: 60, default_ttl_secs: 90, ..Rules::default() };
        let modified = [("last-modified", DATE_MINUS_400), ("date", DATE)];
        for (status, expected) in [
            (404, (60, Source::SiteDefault)),
            (410, (60, Source::SiteDefault)),
            (405, (5, Source::Heuristic)),
            (403, (0, Source::Nothing)),
            (200, (40, Source::Heuristic)),
        ] {
            let found = lifetime_of(status, &modified, &rules);
            assert_eq!((found.fresh_secs, found.source), expected, "{status}");
        }
    }

    #[test]
    fn site_defaults_apply_where_the_origin_is_silent() {
        let rules = Rules { default_ttl_secs: 30, negative_ttl_secs: 3, ..Rules::default() };
        for (status, fields, expected) in [
            (200, &[][..], (30, Source::SiteDefault)),
            (404, &[], (3, Source::SiteDefault)),
            (503, &[], (0, Source::Nothing)),
            (200, &[("cache-control", "max-age=0")], (0, Source::MaxAge)),
            (200, &[("cache-control", "no-cache")], (0, Source::Nothing)),
        ] {
            let lifetime = lifetime_of(status, fields, &rules);
            assert_eq!((lifetime.fresh_secs, lifetime.source), expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn overrides_replace_the_lifetime_and_nothing_else() {
        use crate::site::rules::TtlOverride;
        let overrides = vec![TtlOverride {
            path: PathPattern::parse("*").unwrap(),
            statuses: vec![StatusCode::OK],
            ttl_secs: 9,
        }];
        let rules = Rules { overrides, ..Rules::default() };
        let lifetime = lifetime_of(200, &[("cache-control", "max-age=60, no-cache")], &rules);
        assert_eq!(
            (lifetime.fresh_secs, lifetime.source, lifetime.stale),
            (9, Source::Override, WhenStale::NeverUnvalidated)
        );
        assert_eq!(lifetime_of(404, &[("cache-control", "max-age=60")], &rules).fresh_secs, 60);
        // A site that names the status of an error has decided about that error.
        let down = TtlOverride {
            path: PathPattern::parse("*").unwrap(),
            statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
            ttl_secs: 30,
        };
        let rules = Rules { overrides: vec![down], ..Rules::default() };
        assert_eq!(lifetime_of(503, &[], &rules).fresh_secs, 30);
    }

    #[test]
    fn a_directive_that_forbids_stale_answers_wins() {
        let may = |swr, sie| WhenStale::May { while_revalidate_secs: swr, if_error_secs: sie };
        for (directives, expected) in [
            ("max-age=2", may(0, 0)),
            ("max-age=2, stale-while-revalidate=4, stale-if-error=60", may(4, 60)),
            ("max-age=2, must-revalidate, stale-if-error=60", WhenStale::MustRevalidate),
            ("max-age=2, proxy-revalidate", WhenStale::MustRevalidate),
            ("s-maxage=2, stale-while-revalidate=60", WhenStale::MustRevalidate),
            ("max-age=2, no-cache", WhenStale::NeverUnvalidated),
            ("max-age=2, no-cache=\"a\"", may(0, 0)),
        ] {
            assert_eq!(
                lifetime_of(200, &[("cache-control", directives)], &Rules::default()).stale,
                expected,
                "{directives}"
            );
        }
        let yields = Rules { s_maxage: SMaxage::YieldsToWindows, ..Rules::default() };
        let stale = |directives| lifetime_of(200, &[("cache-control", directives)], &yields).stale;
        assert_eq!(stale("s-maxage=2, stale-while-revalidate=60"), may(60, 0));
        assert_eq!(stale("s-maxage=2"), WhenStale::MustRevalidate);
    }

    #[test]
    fn windows_are_exact() {
        let freshness = |age_secs| Freshness { age_secs, lifetime_secs: 10, source: Source::MaxAge };
        for (age, fresh, within) in
            [(9, true, false), (10, false, true), (13, false, true), (14, false, false)]
        {
            assert_eq!(
                (freshness(age).is_fresh(), freshness(age).is_stale_within(4)),
                (fresh, within),
                "{age}"
            );
        }
        assert_eq!(freshness(13).ttl_secs(), -3);
    }

    proptest! {
        /// RFC 9111 §4.2.3 as it is written, in signed arithmetic that cannot overflow.
        #[test]
        fn age_matches_the_formula(
            date in 0i64..4_000_000_000, age in 0i64..4_000_000_000, asked in 0i64..4_000_000_000,
            delay in 0i64..100_000, resident in 0i64..4_000_000_000, max_age in 0u64..4_000_000_000,
        ) {
            let received = asked + delay;
            let date_text = date::format(UNIX_EPOCH + Duration::from_secs(date as u64));
            let response = response(200, &[
                ("date", date_text.to_str().unwrap()), ("age", &age.to_string()),
                ("cache-control", &format!("max-age={max_age}")),
            ]);
            let request = request("GET", "http://a.example/", &[]);
            let lifetime = lifetime(&request, &response, at(asked as u64), &Rules::default(), at(received as u64));
            let entry = Entry::new(&request, &response, lifetime, at(asked as u64), at(received as u64), None);
            let freshness = entry.freshness(at((received + resident) as u64));

            let limit = 1i64 << 31;
            let apparent_age = (received - date).max(0);
            let corrected_age_value = age.min(limit) + (received - asked);
            let current_age = (apparent_age.max(corrected_age_value).min(limit) + resident).min(limit);
            prop_assert_eq!(freshness.age_secs as i64, current_age);
            prop_assert_eq!(freshness.is_fresh(), (max_age as i64).min(limit) > current_age);
        }
    }
}
