use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn map(name: &'static str, lines: &[&str]) -> HeaderMap {
    lines
        .iter()
        .map(|line| (HeaderName::from_static(name), HeaderValue::from_bytes(line.as_bytes()).unwrap()))
        .collect()
}

fn check(lines: &[&str], expected: ResponseControl) {
    assert_eq!(of_response(&map("cache-control", lines), &[]).0, expected, "{lines:?}");
}

fn max_age(secs: u64) -> ResponseControl {
    ResponseControl { max_age: Some(secs), ..Default::default() }
}

#[test]
fn lifetimes_are_delta_seconds_or_stale() {
    check(&["max-age=3600"], max_age(3600));
    check(&["MaX-aGe=3600"], max_age(3600));
    check(&["max-age=\"3600\""], max_age(3600));
    check(&["max-age=003600"], max_age(3600));
    check(&["max-age=2147483649"], max_age(MAX_DELTA_SECS));
    check(&["max-age=99999999999999999999999"], max_age(MAX_DELTA_SECS));
    for wrong in ["-3600", "'3600'", "3600.0", "a3600", "3600a", " 3600", "", "\"\"", "1 2"] {
        check(&[&format!("max-age={wrong}")], max_age(0));
    }
    check(&["max-age =3600"], max_age(0));
    check(&["max-age"], max_age(0));
}

#[test]
fn the_first_of_a_repeated_directive_counts() {
    check(&["max-age=1, max-age=1800"], max_age(1));
    check(&["max-age=1800", "max-age=1"], max_age(1800));
}

#[test]
fn quoted_strings_hide_commas_and_open_quotes_hide_nothing() {
    check(&["extension=\"max-age=3600\", max-age=1"], max_age(1));
    check(&["max-age=1, extension=\"max-age=3600, no-store\""], max_age(1));
    check(&["x=\"a\\\"b, max-age=9\", max-age=1"], max_age(1));
    check(&["x=\"open, max-age=1, no-store"], ResponseControl { no_store: true, ..max_age(1) });
}

#[test]
fn what_restricts_counts_without_a_comma_and_in_quotes() {
    let check = |line: &str, expected: &str| {
        let (control, _) = of_response(&map("cache-control", &[line]), &[]);
        let mut found = Vec::new();
        for (name, counts) in [
            ("no-store", control.no_store),
            ("no-cache", control.no_cache == Scope::Everything),
            ("private", control.private == Scope::Everything),
            ("must-revalidate", control.must_revalidate),
        ] {
            found.extend(counts.then_some(name));
        }
        assert_eq!(found.join(" "), expected, "{line}");
    };
    for line in [
        "private; max-age=60",
        "private max-age=60",
        "private:max-age=3",
        "PRIVATE;max-age=60",
        "max-age=60; private",
        "max-age=60 private",
        "public; private",
        "\"private\"",
        "'private'",
        "\"private, max-age=60\"",
        "private.",
        "private;",
        "private=",
        "private=\"a\"; max-age=60",
        "private=\"a\" private",
        "x=private",
        "x=\"open; private",
        "x\"a\"private",
        "private\u{a0}",
    ] {
        check(line, "private");
    }
    check("no-store; no-cache", "no-store no-cache");
    check("no-cache; no-store; must-revalidate", "no-store no-cache must-revalidate");
    check("private no-cache", "no-cache private");
    check("max-age=60; must-revalidate", "must-revalidate");
    // The value of an extension in quotes is its own, and another word is another directive.
    for line in [
        "ext=\"private\"",
        "ext=\"a\"; b=\"no-store\", public",
        "private=\"set-cookie\"",
        "private=set-cookie",
        "no-cache=\"private, no-store\"",
        "x-private, not-private, no-store-x, private2",
    ] {
        check(line, "");
    }
    // A lifetime that is written so is none that permits.
    assert_eq!(of_response(&map("cache-control", &["public; max-age=60"]), &[]).0.max_age, Some(0));
}

#[test]
fn what_restricts_counts_in_targeted_fields_however_it_is_written() {
    for name in ["cdn-cache-control", "surrogate-control"] {
        for line in [
            "private; max-age=60",
            "max-age=60; private",
            "private no-cache",
            "max-age=60, \"private\"",
            "'private'",
            "private:max-age=3",
        ] {
            let mut headers = map("cache-control", &["max-age=3600"]);
            headers.extend(map(name, &[line]));
            let (control, _) = of_response(&headers, &[HeaderName::from_static(name)]);
            assert_eq!(control.private, Scope::Everything, "{name}: {line}");
        }
        let mut headers = map("cache-control", &["max-age=3600"]);
        headers.extend(map(name, &["no-cache; no-store; must-revalidate"]));
        assert!(of_response(&headers, &[HeaderName::from_static(name)]).0.no_store, "{name}");
    }
    // A field that is not right is ignored, but for that.
    let mut headers = map("cache-control", &["max-age=60"]);
    headers.extend(map("cdn-cache-control", &["&&&, public, max-age=3600"]));
    let (control, voice) = of_response(&headers, &[HeaderName::from_static("cdn-cache-control")]);
    assert_eq!((control, voice), (max_age(60), Voice::General));
}

#[test]
fn no_cache_and_private_may_name_fields() {
    let named = |names: &[&'static str]| {
        Scope::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect())
    };
    let no_cache = |scope| ResponseControl { no_cache: scope, ..Default::default() };
    check(&["no-cache=\"a, B\""], no_cache(named(&["a", "b"])));
    check(&["no-cache=a"], no_cache(named(&["a"])));
    check(&["no-cache=\"a\"", "no-cache=\"b\""], no_cache(named(&["a", "b"])));
    check(&["no-cache=\"a\", no-cache"], no_cache(Scope::Everything));
    check(&["no-cache=\"\""], no_cache(Scope::Everything));
    check(&["no-cache=\"a b\""], no_cache(Scope::Everything));
    check(
        &["private=\"set-cookie\""],
        ResponseControl { private: named(&["set-cookie"]), ..Default::default() },
    );
}

#[test]
fn a_valid_targeted_field_rules_alone() {
    let check = |cdn: &[&str], expected: ResponseControl, voice| {
        let mut headers = map("cache-control", &["max-age=1, no-store"]);
        headers.extend(map("cdn-cache-control", cdn));
        assert_eq!(
            of_response(&headers, &[HeaderName::from_static("cdn-cache-control")]),
            (expected, voice),
            "{cdn:?}"
        );
    };
    let general = ResponseControl { no_store: true, ..max_age(1) };
    check(&["max-age=3600"], max_age(3600), Voice::Targeted);
    check(&["max-age=99999999999"], max_age(MAX_DELTA_SECS), Voice::Targeted);
    check(&["foobar", "max-age=5;p"], max_age(5), Voice::Targeted);
    check(&["foo"], ResponseControl::default(), Voice::Targeted);
    check(&["max-age=\"10\""], max_age(0), Voice::Targeted);
    check(&["max-age=-1"], max_age(0), Voice::Targeted);
    check(
        &["no-cache"],
        ResponseControl { no_cache: Scope::Everything, ..Default::default() },
        Voice::Targeted,
    );
    check(&["no-store"], ResponseControl { no_store: true, ..Default::default() }, Voice::Targeted);
    let named = Scope::Fields([HeaderName::from_static("x-a")].into_iter().collect());
    for text in ["no-cache=\"X-A\"", "no-cache=x-a"] {
        check(&[text], ResponseControl { no_cache: named.clone(), ..Default::default() }, Voice::Targeted);
    }
    check(&["no-store=?0, public"], ResponseControl { public: true, ..Default::default() }, Voice::Targeted);
    check(&[], general.clone(), Voice::General);
    check(&[""], general.clone(), Voice::General);
    check(&["max-age=10000, &&&&&"], general.clone(), Voice::General);
    check(&["MaX-aGe=3600"], general.clone(), Voice::General);
    check(&["max-age =100"], general, Voice::General);
}

#[test]
fn request_directives() {
    let check = |lines: &[&str], expected: RequestControl| {
        assert_eq!(of_request(&map("cache-control", lines)), expected)
    };
    let none = RequestControl::default;
    check(&["nothing-to-see-here"], none());
    check(&["no-cache, no-store"], RequestControl { no_cache: true, no_store: true, ..none() });
    check(&["max-stale"], RequestControl { max_stale: Some(MAX_DELTA_SECS), ..none() });
    check(&["max-stale=x, max-age=0"], RequestControl { max_stale: Some(0), max_age: Some(0), ..none() });
    check(&["Only-If-Cached"], RequestControl { only_if_cached: true, ..none() });
    for line in
        ["no-cache;", "no-cache; max-age=0", "max-age=0; no-cache", "\"no-cache\"", "no-transform no-cache"]
    {
        assert!(of_request(&map("cache-control", &[line])).no_cache, "{line}");
    }
    assert!(of_request(&map("cache-control", &["no-cache; no-store"])).no_store);
    assert!(!of_request(&map("cache-control", &["x=\"no-cache\""])).no_cache);
}

#[test]
fn pragma_counts_where_cache_control_says_nothing_of_an_age() {
    let check = |pragma: &str, control: Option<&'static str>, expected: bool| {
        let mut headers = map("pragma", &[pragma]);
        headers.extend(control.into_iter().flat_map(|line| map("cache-control", &[line])));
        assert_eq!(of_request(&headers).no_cache, expected, "{pragma} {control:?}");
    };
    check("no-cache", None, true);
    check("foo", None, false);
    check("no-cache;", None, true);
    for line in ["", "no-transform", "no-store", "foo=1", "only-if-cached"] {
        check("no-cache", Some(line), true);
    }
    for line in ["max-age=60", "max-stale", "min-fresh=9"] {
        check("no-cache", Some(line), false);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_restrictions_survive_any_prefix(junk in proptest::collection::vec(0x20u8..=0xff, 0..40)) {
        let junk: Vec<u8> = junk.into_iter().filter(|byte| *byte != 0x7f).collect();
        let mut headers = HeaderMap::new();
        headers.append(header::CACHE_CONTROL, HeaderValue::from_bytes(&junk).unwrap());
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        prop_assert!(of_response(&headers, &[]).0.no_store);
    }

    #[test]
    fn delta_seconds_match_wide_arithmetic(digits in "[0-9]{1,30}") {
        let expected = digits.parse::<u128>().unwrap().min(u128::from(MAX_DELTA_SECS));
        prop_assert_eq!(delta_secs(digits.as_bytes()).map(u128::from), Some(expected));
    }
}
