use super::super::testing::{bypassing, stored, stored_for, stored_response};
use super::*;
use crate::http::testing::{at, get, request, response};

/// The verdict in words: the label, its reason, and the status of a refusal.
fn words(verdict: &Reuse) -> String {
    match verdict {
        Reuse::Fresh { .. } => "fresh".into(),
        Reuse::Stale { why, .. } => format!("stale {}", why.as_str()),
        Reuse::Revalidate { why, .. } => format!("revalidate {}", why.as_str()),
        Reuse::Complete { missing, .. } => format!("complete {}", missing.range().to_str().unwrap()),
        Reuse::Slice(slice) => format!("slice {}", slice.range().to_str().unwrap()),
        Reuse::Fetch { reserve: Some(_), why } => format!("fetch {} with reserve", why.as_str()),
        Reuse::Fetch { reserve: None, why } => format!("fetch {}", why.as_str()),
        Reuse::Pass(why) => format!("pass {}", why.as_str()),
        Reuse::Refuse(status, why) => format!("{} {}", status.as_u16(), why.as_str()),
    }
}

/// A response with these directives, received at second 1000, asked for `secs` later.
fn check_with(rules: &Rules, directives: &str, secs: u64, asking: &[(&str, &str)], expected: &str) {
    let entry = stored(&[("cache-control", directives)]);
    let found = words(&reuse(&get(asking), &[&entry], rules, at(1000 + secs)));
    assert_eq!(found, expected, "{directives} after {secs} for {asking:?}");
}

fn check(directives: &str, secs: u64, expected: &str) {
    check_with(&Rules::default(), directives, secs, &[], expected);
}

#[test]
fn fresh_until_the_lifetime_is_over() {
    check("max-age=10", 0, "fresh");
    check("max-age=10", 9, "fresh");
    check("max-age=10", 10, "fetch stale with reserve");
    check("max-age=99999999999", 1_000_000, "fresh");
    check("s-maxage=10", 10, "fetch stale with reserve");
}

#[test]
fn no_cache_is_validated_while_fresh() {
    check("max-age=10, no-cache", 0, "fetch no-cache with reserve");
    check("max-age=10, no-cache=\"a\"", 0, "fresh");
}

#[test]
fn stale_while_revalidate_holds_exactly_in_its_window() {
    check("max-age=1, stale-while-revalidate=4", 0, "fresh");
    check("max-age=1, stale-while-revalidate=4", 1, "stale stale-while-revalidate");
    check("max-age=1, stale-while-revalidate=4", 4, "stale stale-while-revalidate");
    check("max-age=1, stale-while-revalidate=4", 5, "fetch stale with reserve");
    check("max-age=1, stale-while-revalidate=4, must-revalidate", 1, "fetch stale with reserve");
}

#[test]
fn what_has_validators_is_revalidated_with_them() {
    let entry = stored(&[
        ("etag", "W/\"a\""),
        ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("cache-control", "max-age=1"),
    ]);
    let Reuse::Revalidate { validators, why, freshness, .. } =
        reuse(&get(&[]), &[&entry], &Rules::default(), at(1007))
    else {
        panic!()
    };
    assert_eq!(validators.if_none_match.unwrap(), "W/\"a\"");
    assert_eq!(validators.if_modified_since.unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!((why, freshness.ttl_secs()), (Forward::Stale, -6));
}

#[test]
fn clients_cannot_bust_the_cache_by_default() {
    for wish in ["no-cache", "max-age=0", "max-age=1", "min-fresh=2000", "no-store", "nothing-to-see-here"] {
        check_with(&Rules::default(), "max-age=10", 5, &[("cache-control", wish)], "fresh");
    }
    check_with(&Rules::default(), "max-age=10", 5, &[("pragma", "no-cache")], "fresh");
    check_with(
        &Rules::default(),
        "max-age=10",
        15,
        &[("cache-control", "max-stale")],
        "fetch stale with reserve",
    );
}

/// A package manager asks so for what must be new, and a browser when its user reloads.
#[test]
fn a_client_may_have_what_is_only_heuristically_fresh_validated() {
    let modified = ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
    let check = |stored_with: &[(&str, &str)], asking: &[(&str, &str)], expected: &str| {
        let found = reuse(&get(asking), &[&stored(stored_with)], &Rules::default(), at(1000));
        assert_eq!(words(&found), expected, "{stored_with:?} {asking:?}");
    };
    for asking in [
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("cache-control", "x, Max-Age=0"),
        ("pragma", "no-cache"),
    ] {
        check(&[modified], &[asking], "revalidate request");
        for explicit in ["max-age=60", "s-maxage=60", "public, max-age=60"] {
            check(&[modified, ("cache-control", explicit)], &[asking], "fresh");
        }
        check(&[modified, ("expires", "Sun, 06 Nov 2094 08:49:37 GMT")], &[asking], "fresh");
    }
    for asking in [
        &[][..],
        &[("cache-control", "max-age=60")],
        &[("cache-control", "min-fresh=5000")],
        &[("cache-control", "max-age=60"), ("pragma", "no-cache")],
        &[("pragma", "foo")],
    ] {
        check(&[modified], asking, "fresh");
    }
    // RFC 8246: a reload says nothing against what never changes.
    check(&[modified, ("cache-control", "immutable")], &[("cache-control", "max-age=0")], "fresh");
    check(
        &[modified, ("cache-control", "immutable")],
        &[("cache-control", "no-cache")],
        "revalidate request",
    );
    check(&[modified], &[("cache-control", "no-cache, only-if-cached")], "504 only-if-cached");
}

#[test]
fn clients_may_be_given_full_control() {
    let rules = Rules { client_control: ClientControl::Full, ..Rules::default() };
    let check = |directives, secs, wish: &str, expected| {
        check_with(&rules, directives, secs, &[("cache-control", wish)], expected);
    };
    check("max-age=10", 5, "no-cache", "fetch request with reserve");
    check("max-age=10", 5, "max-age=0", "fetch request with reserve");
    check("max-age=10", 0, "max-age=0", "fresh");
    check("max-age=10", 5, "max-age=4", "fetch request with reserve");
    check("max-age=10", 5, "max-age=5", "fresh");
    check("max-age=10", 5, "min-fresh=5", "fresh");
    check("max-age=10", 5, "min-fresh=6", "fetch request with reserve");
    check("max-age=10", 15, "max-stale=5", "stale max-stale");
    check("max-age=10", 16, "max-stale=5", "fetch stale with reserve");
    check("max-age=10", 999, "max-stale", "stale max-stale");
    check("max-age=10, must-revalidate", 15, "max-stale", "fetch stale with reserve");
    check("max-age=10, immutable", 5, "max-age=0", "fresh");
    check("max-age=10, immutable", 5, "no-cache", "fetch request with reserve");
    check("max-age=10, immutable", 15, "max-age=0", "fetch stale with reserve");
    check_with(&rules, "max-age=10", 5, &[("pragma", "no-cache")], "fetch request with reserve");
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    let only = [("cache-control", "only-if-cached")];
    check_with(&Rules::default(), "max-age=10", 5, &only, "fresh");
    check_with(&Rules::default(), "max-age=10", 15, &only, "504 only-if-cached");
    let nothing = reuse(&get(&only), &[], &Rules::default(), at(0));
    assert_eq!(words(&nothing), "504 only-if-cached");
}

#[test]
fn what_no_stored_response_answers_passes() {
    let entry = stored(&[("cache-control", "max-age=10")]);
    let rules = Rules { bypass: bypassing("/x*"), ..Rules::default() };
    let check = |method: &str, uri: &str, fields: &[(&str, &str)], expected: &str| {
        let found = reuse(&request(method, uri, fields), &[&entry], &rules, at(1000));
        assert_eq!(words(&found), expected, "{method} {uri}");
    };
    check("GET", "http://a.example/", &[], "fresh");
    check("HEAD", "http://a.example/", &[], "fresh");
    check("GET", "http://a.example/", &[("content-length", "0")], "fresh");
    check("GET", "http://a.example/", &[("content-length", "5")], "pass body");
    check("GET", "http://a.example/", &[("transfer-encoding", "chunked")], "pass body");
    check("GET", "http://a.example/x/y", &[], "pass bypass");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "M-SEARCH", "get"] {
        check(method, "http://a.example/", &[], "pass method");
    }
}

#[test]
fn cookies_and_credentials_do_not_bypass_what_may_be_shared() {
    check_with(&Rules::default(), "max-age=10", 0, &[("cookie", "a=b"), ("authorization", "x")], "fresh");
}

#[test]
fn misses_say_what_missed() {
    let english = stored_for(&get(&[("foo", "1")]), &[("vary", "foo"), ("cache-control", "max-age=10")]);
    let check = |variants: &[&Entry], expected: &str| {
        assert_eq!(words(&reuse(&get(&[]), variants, &Rules::default(), at(1000))), expected);
    };
    check(&[], "fetch uri-miss");
    check(&[&english], "fetch vary-miss");
}

#[test]
fn demands_for_another_state_pass() {
    let entry = stored(&[("cache-control", "max-age=10"), ("etag", "\"a\"")]);
    let check = |tag, expected: &str| {
        let found = reuse(&get(&[("if-match", tag)]), &[&entry], &Rules::default(), at(1000));
        assert_eq!(words(&found), expected);
    };
    check("\"a\"", "fresh");
    check("\"b\"", "pass condition");
    // Where the origin is asked all the same, it gets to judge.
    for name in ["if-match", "if-unmodified-since"] {
        let asking = get(&[(name, "\"a\"")]);
        let stale = reuse(&asking, &[&entry], &Rules::default(), at(2000));
        assert_eq!(words(&stale), "pass condition", "{name}");
        assert_eq!(words(&reuse(&asking, &[], &Rules::default(), at(1000))), "pass condition", "{name}");
    }
}

#[test]
fn parts_are_used_completed_or_left() {
    let check = |fields: &[(&str, &str)], range: Option<&str>, expected: &str| {
        let mut fields = fields.to_vec();
        fields.push(("cache-control", "max-age=10"));
        let entry = stored_response(&get(&[]), &response(206, &fields), 5);
        let asking = get(&range.map(|range| vec![("range", range)]).unwrap_or_default());
        assert_eq!(
            words(&reuse(&asking, &[&entry], &Rules::default(), at(1000))),
            expected,
            "{fields:?} {range:?}"
        );
    };
    let (start, middle) = (("content-range", "bytes 0-4/10"), ("content-range", "bytes 2-6/10"));
    check(&[start], Some("bytes=1-2"), "fresh");
    check(&[start], Some("bytes=-5"), "fetch partial");
    check(&[start], None, "fetch partial");
    check(&[start, ("etag", "\"a\"")], None, "complete bytes=5-");
    check(&[start, ("etag", "W/\"a\"")], None, "fetch partial");
    check(&[middle, ("etag", "\"a\"")], None, "fetch partial");
}

#[test]
fn a_range_in_another_unit_is_the_origins_to_cut() {
    let entry = stored(&[("cache-control", "max-age=10")]);
    let check = |method: &str, range: &str, expected: &str| {
        let asking = request(method, "http://a.example/", &[("range", range)]);
        let found = reuse(&asking, &[&entry], &Rules::default(), at(1000));
        assert_eq!(words(&found), expected, "{method} {range}");
    };
    for range in ["items=0-9", "0-9", "ITEMS=5-", "bites=0-1"] {
        check("GET", range, "pass range-unit");
        // RFC 9110 §14.2: it is defined for GET only.
        check("HEAD", range, "fresh");
    }
    for range in ["bytes=0-9", "Bytes=0-9", "bytes=x", "bytes"] {
        check("GET", range, "fresh");
    }
}

/// A request with this wish, `secs` after a response with these directives, when the origin failed so.
fn check_failure(
    client_control: ClientControl,
    wish: &str,
    directives: &str,
    secs: u64,
    failure: Failure,
    expected: &str,
) {
    let rules = Rules { client_control, ..Rules::default() };
    let entry = stored(&[("cache-control", directives), ("etag", "\"a\"")]);
    let asking = get(&[("cache-control", wish)]);
    let found = words(&after_failure(&asking, &entry, failure, &rules, at(1000 + secs)));
    assert_eq!(found, expected, "{wish:?} {directives} after {secs}: {failure:?}");
}

fn status(code: u16) -> Failure {
    Failure::Status(StatusCode::from_u16(code).unwrap())
}

/// RFC 5861 §4.
#[test]
fn clients_with_full_control_may_ask_for_stale_instead_of_an_error() {
    let check = |wish, directives, secs, expected| {
        check_failure(ClientControl::Full, wish, directives, secs, status(503), expected);
    };
    check("stale-if-error=60", "max-age=2", 61, "stale stale-if-error");
    check("stale-if-error=60", "max-age=2", 62, "pass stale");
    check("stale-if-error=60", "max-age=2, stale-if-error=90", 91, "stale stale-if-error");
    check("stale-if-error=60", "max-age=2, must-revalidate", 3, "pass stale");
    check("stale-if-error=60", "max-age=2, no-cache", 1, "pass stale");
    check("stale-if-error=abc", "max-age=2", 3, "pass stale");
    let limited = ClientControl::Limited;
    check_failure(limited, "stale-if-error=60", "max-age=2", 3, status(503), "pass stale");
}

#[test]
fn failures_are_bridged_only_where_allowed() {
    let check = |directives: &str, secs: u64, failure, expected: &str| {
        check_failure(ClientControl::Limited, "", directives, secs, failure, expected);
    };
    use Failure::{Timeout, Unreachable};
    check("max-age=2", 3, Unreachable, "stale disconnected");
    check("max-age=2", 3, Timeout, "stale disconnected");
    check("max-age=2", 3, status(503), "pass stale");
    check("max-age=2", 86_402, Unreachable, "502 failure");
    check("max-age=2", 86_402, Timeout, "504 failure");
    for directive in
        ["must-revalidate", "proxy-revalidate", "s-maxage=2", "must-revalidate, stale-if-error=60"]
    {
        check(&format!("max-age=2, {directive}"), 3, Unreachable, "504 failure");
        check(&format!("max-age=2, {directive}"), 3, status(503), "pass stale");
    }
    check("max-age=2, no-cache", 1, Unreachable, "502 failure");
    check("max-age=2, stale-if-error=60", 3, status(503), "stale stale-if-error");
    check("max-age=2, stale-if-error=60", 61, status(500), "stale stale-if-error");
    check("max-age=2, stale-if-error=60", 62, status(500), "pass stale");
    check("max-age=2, stale-if-error=60", 3, status(404), "pass stale");
    check("max-age=2, stale-if-error=60", 3, status(501), "pass stale");
    check("max-age=2, stale-if-error=60", 3, Unreachable, "stale stale-if-error");
    check("max-age=2", 1, Unreachable, "fresh");
}
