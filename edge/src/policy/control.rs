//! `Cache-Control` (RFC 9111 §5.2) and the targeted fields that go before it (RFC 9213).
//!
//! Of a repeated directive the first occurrence counts (RFC 9111 §4.2.1). A directive that restricts counts however
//! it is written; one that permits must be right: a lifetime that is not delta-seconds is 0 (stale).

mod vendor;

use http::{HeaderMap, HeaderName, header};

use crate::http::list;
use crate::http::seconds::{MAX_DELTA_SECS, delta_secs};
use crate::http::structured::{Dictionary, Item};

/// A response's directives to a shared cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseControl {
    /// `max-age` in seconds.
    pub max_age: Option<u64>,
    /// `s-maxage` in seconds.
    pub s_maxage: Option<u64>,
    /// `stale-while-revalidate` in seconds (RFC 5861 §3).
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` in seconds (RFC 5861 §4).
    pub stale_if_error: Option<u64>,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, of all or of some fields.
    pub no_cache: Scope,
    /// `private`, of all or of some fields.
    pub private: Scope,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
}

/// A request's directives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// `max-age` in seconds.
    pub max_age: Option<u64>,
    /// `min-fresh` in seconds.
    pub min_fresh: Option<u64>,
    /// `max-stale` in seconds; without a value any.
    pub max_stale: Option<u64>,
    /// `stale-if-error` in seconds (RFC 5861 §4).
    pub stale_if_error: Option<u64>,
    /// `no-cache`, or `Pragma: no-cache` without any `Cache-Control` (RFC 9111 §5.4).
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
}

/// The fields that `no-cache` or `private` applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: the directive is absent.
    #[default]
    Nothing,
    /// The named fields only.
    Fields(Vec<HeaderName>),
    /// The whole response.
    Everything,
}

/// Which field gave the directives of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// `Cache-Control`; `Expires` counts too.
    General,
    /// A targeted field: `Cache-Control` and `Expires` do not count (RFC 9213 §2.2).
    Targeted,
}

/// The directives that rule a response for a cache that heeds the fields `targeted`, most specific first.
pub fn of_response(headers: &HeaderMap, targeted: &[HeaderName]) -> (ResponseControl, Voice) {
    match targeted.iter().find_map(|name| of_targeted(headers, name)) {
        Some(control) => (control, Voice::Targeted),
        None => (from_lists(headers), Voice::General),
    }
}

/// The directives of a request.
pub fn of_request(headers: &HeaderMap) -> RequestControl {
    let mut control = RequestControl::default();
    for directive in directives(headers, &header::CACHE_CONTROL) {
        let secs = || directive.secs().unwrap_or(0);
        match directive.name.as_str() {
            "max-age" => first(&mut control.max_age, secs),
            "min-fresh" => first(&mut control.min_fresh, || directive.secs().unwrap_or(MAX_DELTA_SECS)),
            "max-stale" if directive.value.is_none() => first(&mut control.max_stale, || MAX_DELTA_SECS),
            "max-stale" => first(&mut control.max_stale, secs),
            "stale-if-error" => first(&mut control.stale_if_error, secs),
            "no-cache" => control.no_cache = true,
            "no-store" => control.no_store = true,
            "only-if-cached" => control.only_if_cached = true,
            _ => {}
        }
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        control.no_cache = directives(headers, &header::PRAGMA).any(|directive| directive.name == "no-cache");
    }
    control
}

fn of_targeted(headers: &HeaderMap, name: &HeaderName) -> Option<ResponseControl> {
    if !headers.contains_key(name) {
        return None;
    }
    vendor::of(headers, name).unwrap_or_else(|| dictionary(headers, name).as_ref().map(from_dictionary))
}

fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    let lines: Vec<&[u8]> = headers.get_all(name).into_iter().map(|value| value.as_bytes()).collect();
    let joined = lines.join(b", ".as_slice());
    Dictionary::parse(&joined).ok().filter(|dictionary| !dictionary.is_empty())
}

fn from_dictionary(dictionary: &Dictionary) -> ResponseControl {
    let secs = |key: &str| dictionary.get(key).map(item_secs);
    let on = |key: &str| dictionary.get(key).is_some_and(|item| *item != Item::Boolean(false));
    let scope = |key: &str| dictionary.get(key).map_or(Scope::Nothing, item_scope);
    ResponseControl {
        max_age: secs("max-age"),
        s_maxage: secs("s-maxage"),
        stale_while_revalidate: secs("stale-while-revalidate"),
        stale_if_error: secs("stale-if-error"),
        no_store: on("no-store"),
        no_cache: scope("no-cache"),
        private: scope("private"),
        public: on("public"),
        must_revalidate: on("must-revalidate"),
        proxy_revalidate: on("proxy-revalidate"),
        must_understand: on("must-understand"),
        immutable: on("immutable"),
    }
}

fn item_secs(item: &Item) -> u64 {
    match item {
        Item::Integer(value) => u64::try_from(*value).map_or(0, |secs| secs.min(MAX_DELTA_SECS)),
        _ => 0,
    }
}

fn item_scope(item: &Item) -> Scope {
    match item {
        Item::Boolean(false) => Scope::Nothing,
        Item::String(names) => fields(names.as_bytes()),
        Item::Token(name) => fields(name.as_bytes()),
        _ => Scope::Everything,
    }
}

fn from_lists(headers: &HeaderMap) -> ResponseControl {
    let mut control = ResponseControl::default();
    for directive in directives(headers, &header::CACHE_CONTROL) {
        let secs = || directive.secs().unwrap_or(0);
        match directive.name.as_str() {
            "max-age" => first(&mut control.max_age, secs),
            "s-maxage" => first(&mut control.s_maxage, secs),
            "stale-while-revalidate" => first(&mut control.stale_while_revalidate, secs),
            "stale-if-error" => first(&mut control.stale_if_error, secs),
            "no-store" => control.no_store = true,
            "no-cache" => control.no_cache.widen(directive.scope()),
            "private" => control.private.widen(directive.scope()),
            "public" => control.public = true,
            "must-revalidate" => control.must_revalidate = true,
            "proxy-revalidate" => control.proxy_revalidate = true,
            "must-understand" => control.must_understand = true,
            "immutable" => control.immutable = true,
            _ => {}
        }
    }
    control
}

fn first(slot: &mut Option<u64>, value: impl FnOnce() -> u64) {
    if slot.is_none() {
        *slot = Some(value());
    }
}

struct Directive {
    name: String,
    value: Option<Vec<u8>>,
}

fn directives<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Directive> + use<'a> {
    list::elements(headers, name).map(directive)
}

fn directive(element: &[u8]) -> Directive {
    let equals = element.iter().position(|&byte| byte == b'=');
    let name = &element[..equals.unwrap_or(element.len())];
    // No space belongs round the `=`: the directive is known, and its value is wrong.
    let spaced = name.last().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let value = equals.map(|at| if spaced { b" ".to_vec() } else { unquote(&element[at + 1..]) });
    Directive { name: String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase(), value }
}

/// RFC 9111 §5.2: recipients ought to accept both forms, token and quoted string.
fn unquote(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut escaped = false;
    let keep = |&byte: &u8| {
        escaped = byte == b'\\' && !escaped;
        !escaped
    };
    inner.iter().copied().filter(keep).collect()
}

impl Directive {
    fn secs(&self) -> Option<u64> {
        delta_secs(self.value.as_deref()?)
    }

    fn scope(&self) -> Scope {
        self.value.as_deref().map_or(Scope::Everything, fields)
    }
}

/// A list of field names; anything else in it, or nothing, means the whole response.
fn fields(list: &[u8]) -> Scope {
    let names: Result<Vec<_>, _> = list::split(list).map(HeaderName::from_bytes).collect();
    match names {
        Ok(names) if !names.is_empty() => Scope::Fields(names),
        _ => Scope::Everything,
    }
}

impl Scope {
    fn widen(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Fields(mine), Self::Fields(more)) => mine.extend(more),
            (Self::Everything, _) | (_, Self::Nothing) => {}
            (slot, other) => *slot = other,
        }
    }

    /// The named fields.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
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
            check(
                &[text],
                ResponseControl { no_cache: named.clone(), ..Default::default() },
                Voice::Targeted,
            );
        }
        check(
            &["no-store=?0, public"],
            ResponseControl { public: true, ..Default::default() },
            Voice::Targeted,
        );
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
        assert!(of_request(&map("pragma", &["no-cache"])).no_cache);
        assert!(!of_request(&map("pragma", &["foo"])).no_cache);
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
}
