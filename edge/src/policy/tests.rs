//! All of policy at once: against a naive model of one response's life, and with bytes that nobody should send.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use proptest::prelude::*;

use super::headers::{client, origin, status};
use super::reuse::Failure;
use super::*;
use crate::http::testing::{at, get, request, response};
use crate::site::Rules;
use crate::site::key;

/// An origin's directives for a response, as numbers.
#[derive(Clone, Debug)]
struct Said {
    max_age: Option<u64>,
    s_maxage: Option<u64>,
    while_revalidate: Option<u64>,
    if_error: Option<u64>,
    must_revalidate: bool,
    no_cache: bool,
    validator: bool,
    age: u64,
}

impl Said {
    fn response(&self) -> ResponseHead {
        let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
        let word = |name: &str, said: bool| said.then(|| name.to_owned());
        let directives: Vec<String> = [
            number("max-age", self.max_age),
            number("s-maxage", self.s_maxage),
            number("stale-while-revalidate", self.while_revalidate),
            number("stale-if-error", self.if_error),
            word("must-revalidate", self.must_revalidate),
            word("no-cache", self.no_cache),
        ]
        .into_iter()
        .flatten()
        .collect();
        let (directives, age) = (directives.join(", "), self.age.to_string());
        let mut fields = vec![("cache-control", directives.as_str()), ("age", &age)];
        if self.validator {
            fields.push(("etag", "\"a\""));
        }
        response(200, &fields)
    }

    fn lifetime(&self) -> u64 {
        self.s_maxage.or(self.max_age).unwrap_or(0)
    }

    fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.no_cache || self.s_maxage.is_some()
    }

    /// RFC 9111 §3, for a 200 to a GET: worth keeping if it can ever be used.
    fn kept(&self) -> bool {
        let stale =
            if self.forbids_stale() { 0 } else { self.while_revalidate.max(self.if_error).unwrap_or(0) };
        self.validator || !self.no_cache && (self.lifetime() > 0 || stale > 0)
    }

    /// The answer to a request so many seconds after receipt.
    fn answer(&self, secs: u64) -> &'static str {
        let age = self.age + secs;
        let ask = if self.validator { "revalidate" } else { "fetch" };
        match age {
            _ if self.no_cache => ask,
            age if age < self.lifetime() => "fresh",
            _ if self.forbids_stale() => ask,
            age if age < self.lifetime() + self.while_revalidate.unwrap_or(0) => "stale",
            _ => ask,
        }
    }

    /// The answer if the origin answers 503.
    fn answer_to_error(&self, secs: u64) -> &'static str {
        let age = self.age + secs;
        match age {
            _ if self.no_cache => "pass",
            age if age < self.lifetime() => "fresh",
            _ if self.forbids_stale() => "pass",
            age if age < self.lifetime() + self.if_error.unwrap_or(0) => "stale",
            _ => "pass",
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let secs = || proptest::option::of(0u64..20);
    (secs(), secs(), secs(), secs(), any::<[bool; 3]>(), 0u64..10).prop_map(
        |(max_age, s_maxage, while_revalidate, if_error, [must_revalidate, no_cache, validator], age)| Said {
            max_age,
            s_maxage: s_maxage.filter(|secs| secs % 3 == 0),
            while_revalidate,
            if_error,
            must_revalidate,
            no_cache,
            validator,
            age,
        },
    )
}

const FIELDS: &[&str] = &[
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "cdn-loop",
    "connection",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "cookie",
    "date",
    "etag",
    "expires",
    "foo",
    "forwarded",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "pragma",
    "range",
    "set-cookie",
    "user-agent",
    "vary",
    "via",
];

/// Pieces that parsers care about, and any bytes a field may have.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "max-age=",
        "no-cache=\"",
        "private",
        "\"",
        "\\",
        ",",
        ";",
        "=",
        "*",
        "bytes=",
        "bytes ",
        "-",
        "/",
        "W/\"",
        "0",
        "99999999999999999999",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "q=",
        "http://",
        "//",
        "..",
        "%",
        "foo",
        " ",
        "(",
        "?1",
    ]);
    let bytes = proptest::collection::vec(any::<u8>(), 0..4);
    let piece = prop_oneof![words.prop_map(|word| word.as_bytes().to_vec()), bytes];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| {
        pieces.concat().into_iter().filter(|byte| *byte == b'\t' || *byte >= 0x20 && *byte != 0x7f).collect()
    })
}

fn any_fields() -> impl Strategy<Value = HeaderMap> {
    proptest::collection::vec((prop::sample::select(FIELDS), value()), 0..8).prop_map(|fields| {
        let field = |(name, value): (&'static str, Vec<u8>)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(&value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.into_iter().map(field) {
            headers.append(name, value);
        }
        headers
    })
}

proptest! {
    #[test]
    fn one_response_lives_as_the_model_says(said in said(), times in proptest::collection::vec(0u64..50, 1..6)) {
        let (rules, asking) = (Rules::default(), get(&[]));
        let head = said.response();
        let lifetime = match admit(&asking, &head, at(1000), &rules, at(1000)) {
            Admit::Leave(_) => {
                prop_assert!(!said.kept());
                return Ok(());
            }
            Admit::Keep(lifetime) => lifetime,
        };
        prop_assert!(said.kept());
        let entry = Entry::new(&asking, &head, lifetime, at(1000), at(1000), Some(10));
        for secs in times {
            let now = at(1000 + secs);
            prop_assert_eq!(reuse(&asking, &[&entry], &rules, now).as_str(), said.answer(secs));
            let failure = Failure::Status(StatusCode::SERVICE_UNAVAILABLE);
            prop_assert_eq!(after_failure(&asking, &entry, failure, &rules, now).as_str(), said.answer_to_error(secs));
            let disconnected = after_failure(&asking, &entry, Failure::Unreachable, &rules, now);
            let served = matches!(disconnected, Reuse::Fresh { .. } | Reuse::Stale { .. });
            let fresh = said.age + secs < said.lifetime();
            prop_assert_eq!(served, !said.no_cache && (fresh || !said.forbids_stale()));
        }
    }

    /// And what comes out holds: nothing of the connection travels, an entry has a Date, a selection lies inside.
    #[test]
    fn no_bytes_panic_anywhere(
        asked in any_fields(), answered in any_fields(), newer in any_fields(), code in 200u16..600,
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "M-SEARCH"]), target in "[a-z/.%?&=;0-9]{0,12}",
        length in proptest::option::of(0u64..300), later in 0u64..100_000,
    ) {
        let rules = Rules { client_control: crate::site::rules::ClientControl::Full, ..Rules::default() };
        let mut asking = request(method, &format!("http://a.example/{target}"), &[]);
        asking.headers = asked;
        let asking = headers::received(asking, &[]);
        let head = ResponseHead { status: StatusCode::from_u16(code).unwrap(), headers: answered };
        let newer = ResponseHead { status: StatusCode::NOT_MODIFIED, headers: newer };
        let lifetime = freshness::lifetime(&asking, &head, at(1000), &rules, at(1000));
        let entry = Entry::new(&asking, &head, lifetime, at(1000), at(1000), length);
        prop_assert!(entry.head.headers.contains_key("date") && !entry.head.headers.contains_key("connection"));
        prop_assert!(entry.selecting.matches(&asking));

        let now = at(1000 + later);
        let _ = (admit(&asking, &head, at(1000), &rules, now), reuse(&asking, &[&entry, &entry], &rules, now));
        let _ = (freshen(&asking, &entry, &newer, at(1000), &rules, now), freshen_by_head(&asking, &entry, &head, at(1000), &rules, now));
        let _ = (invalidates(&asking, &head), key::key(&asking, &key::KeyRules::default()).url());
        let selection = select(&asking, &entry);
        if let (Selection::Partial(parts), Content::Whole { length: Some(length) }) = (&selection, entry.content) {
            prop_assert!(parts.iter().all(|part| part.first <= part.last && part.last < length));
        }
        let freshness = entry.freshness(now);
        let status = status::CacheStatus { verdict: status::Verdict::Hit(freshness), detail: None, key: None };
        let sent = client::reused(&entry, &selection, &freshness, "edge", &status);
        prop_assert_eq!(sent.headers.get_all("age").into_iter().count(), 1);
        let hop = origin::Hop { name: "edge", client: IpAddr::V4(Ipv4Addr::LOCALHOST), version: Version::HTTP_11, limits: (64 << 10).into() };
        if let Ok(fields) = origin::fields(&asking, &origin::Ask::Whole, &hop) {
            prop_assert!(!fields.contains_key("connection") && !fields.contains_key("range"));
            prop_assert_eq!(fields.get_all("forwarded").into_iter().count(), 1);
        }
    }
}
