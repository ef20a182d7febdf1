use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::http::testing::{at, request, response};
use crate::site::pattern::PathPattern;

/// The lifetime of a response to `GET http://a.example/`, asked and received at second 1000.
fn lifetime_of(status: u16, fields: &[(&str, &str)], rules: &Rules) -> Lifetime {
    lifetime(&request("GET", "http://a.example/", &[]), &response(status, fields), at(1000), rules, at(1000))
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
    check(&[("cache-control", "max-age=0"), ("expires", DATE_PLUS_60), ("date", DATE)], 0, Source::MaxAge, 0);
    check(&[("expires", DATE_PLUS_60), ("date", DATE)], 60, Source::Expires, 0);
    check(
        &[("cdn-cache-control", "max-age=7"), ("cache-control", "no-store, max-age=60"), ("expires", "0")],
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
fn a_clock_that_differs_is_told_from_a_response_that_is_old() {
    for (fields, expected) in [
        (&[("date", DATE)][..], 0),
        (&[("date", DATE_MINUS_400)], 399),
        (&[("date", DATE_MINUS_400), ("age", "399")], 0),
        (&[("date", DATE_MINUS_400), ("age", "500")], 0),
        (&[("date", DATE_PLUS_60)], -60),
        (&[("date", "foo")], 0),
        (&[], 0),
    ] {
        assert_eq!(skew_secs(&response(200, fields), at(999), at(1000)), expected, "{fields:?}");
    }
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
            _ if silent.0 == 0 && !is_understood(StatusCode::from_u16(status).unwrap()) => {
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
    let targeted = |value| lifetime_of(200, &[("cdn-cache-control", value)], &Rules::default()).stale;
    assert_eq!(targeted("s-maxage=2, stale-while-revalidate=60"), may(60, 0));
    assert_eq!(targeted("s-maxage=2, stale-while-revalidate=60, must-revalidate"), WhenStale::MustRevalidate);
    assert_eq!(targeted("s-maxage=2"), WhenStale::MustRevalidate);
}

#[test]
fn windows_are_exact() {
    let freshness = |age_secs| Freshness { age_secs, lifetime_secs: 10, source: Source::MaxAge };
    for (age, fresh, within) in [(9, true, false), (10, false, true), (13, false, true), (14, false, false)] {
        assert_eq!((freshness(age).is_fresh(), freshness(age).is_stale_within(4)), (fresh, within), "{age}");
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
