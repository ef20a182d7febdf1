//! From a request to the name under which it is cached.
//!
//! Scheme, host, port, path and query make the key, and what the site adds: chosen fields, cookies, the device class.
//! The method is not in it: HEAD is answered from a GET's response.
//!
//! Invariant: parts are length-prefixed, so no two different lists of parts have the same key.
//! Invariant: the path in the key is the path that the origin is asked for ([`target`]), so that no two requests share
//! a key of which the origin could make different things. Only a site's own rules leave more out.

mod device;
mod query;

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest::{self, SHA256, digest};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri, header};

pub use device::{Class, Device};
pub use query::{Keep, Order, Query};

use crate::http::head::RequestHead;
use crate::http::{field, path};
use crate::site::cookies;
use crate::site::pattern::NamePattern;

/// The name under which a request's response is stored. Compare all of it on a hit; its hash alone is not enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    bytes: Box<[u8]>,
}

/// The parts of the key beside scheme, authority and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// How the query takes part.
    pub query: Query,
    /// Request fields whose values take part.
    pub headers: Vec<http::HeaderName>,
    /// Cookies whose values take part; those of a pattern with their names.
    pub cookies: Vec<NamePattern>,
    /// Whether the device class takes part.
    pub device: Device,
}

impl KeyRules {
    /// Whether a URL has one key, whatever else a request says.
    pub fn is_url_only(&self) -> bool {
        self.headers.is_empty() && self.cookies.is_empty() && self.device == Device::Ignored
    }
}

/// The key of `request` under `rules`. The request is as [`crate::policy::headers::received`] makes it.
pub fn key(request: &RequestHead, rules: &KeyRules) -> Key {
    // Four lengths and what they are of.
    let room = request.uri.authority().map_or(0, |authority| authority.as_str().len())
        + request.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let mut parts = Parts { bytes: Vec::with_capacity(room + 4 * 6 + "https".len()) };
    parts.url(&request.uri, rules);
    for name in &rules.headers {
        parts.add(name.as_str().as_bytes());
        parts.add_option(field::normal(&request.headers, name).as_deref());
    }
    for pattern in &rules.cookies {
        parts.add(pattern.as_str().as_bytes());
        parts.add_list(&cookie_parts(&request.headers, pattern));
    }
    if rules.device == Device::Keyed {
        parts.add(Class::of(&request.headers).as_str().as_bytes());
    }
    Key { bytes: parts.bytes.into_boxed_slice() }
}

/// The key of a QUERY (RFC 10008 §2.7) whose URL and fields alone have the key `about`: its content, byte for byte, and
/// the fields that tell what that is. Nothing of them is normalised: what two origins may read differently are two keys.
/// The content counts by a hash for which nobody finds two that share one.
pub fn of_query(about: &Key, headers: &HeaderMap, content: &[u8]) -> Key {
    let mut parts = Parts { bytes: about.bytes.to_vec() };
    parts.bytes.extend_from_slice(QUERY_PART);
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
        parts.add_list(&headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>());
    }
    parts.add(digest(&SHA256, content).as_ref());
    Key { bytes: parts.bytes.into_boxed_slice() }
}

/// A part that no other key has at its place but by chance, behind its length.
const QUERY_PART: &[u8] = b"\0\0\0\x05QUERY";

/// The path and query to ask the origin for: the path in normal form (RFC 3986 §6.2.2), the query as sent.
pub fn target(uri: &Uri) -> PathAndQuery {
    let path = path::normal(uri.path());
    let text = uri.query().map_or(path.clone(), |query| format!("{path}?{query}"));
    let sent = || uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    text.parse().unwrap_or_else(|_| sent())
}

/// The parts of `request`'s key beside the URL, by name, for people: fields, cookies and the device.
pub fn ingredients(request: &RequestHead, rules: &KeyRules) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |name| field::normal(&request.headers, name).map_or_else(|| "(absent)".into(), |v| text(&v));
    let headers = rules.headers.iter().map(|name| (name.to_string(), value(name)));
    let cookies = rules.cookies.iter().map(|pattern| {
        let parts = cookie_parts(&request.headers, pattern).join(&b"; "[..]);
        (format!("cookie {}", pattern.as_str()), text(&parts))
    });
    let device = (rules.device == Device::Keyed)
        .then(|| ("device".to_owned(), Class::of(&request.headers).as_str().to_owned()));
    headers.chain(cookies).chain(device).collect()
}

/// Parts, each behind its length: four bytes, the highest first.
#[derive(Default)]
struct Parts {
    bytes: Vec<u8>,
}

impl Parts {
    fn url(&mut self, uri: &Uri, rules: &KeyRules) {
        self.add(uri.scheme_str().unwrap_or("http").as_bytes());
        self.add(authority(uri).as_bytes());
        self.add(path::normal(uri.path()).as_bytes());
        let query = uri.query().and_then(|query| rules.query.normal(query));
        self.add_option(query.as_deref().map(str::as_bytes));
    }

    fn add(&mut self, part: &[u8]) {
        let length = u32::try_from(part.len()).expect("a request's head is limited to far less than 4 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(part);
    }

    fn add_option(&mut self, part: Option<&[u8]>) {
        self.add_list(&part.into_iter().collect::<Vec<_>>());
    }

    fn add_list(&mut self, parts: &[&[u8]]) {
        let count = u32::try_from(parts.len()).expect("a request's head is limited to far less than 4 GiB");
        self.bytes.extend_from_slice(&count.to_be_bytes());
        parts.iter().for_each(|part| self.add(part));
    }
}

/// Host in lower case and without the dot of the root at its end, and the port unless it is the scheme's own (RFC 9110
/// §4.2.3). User information is left out.
fn authority(uri: &Uri) -> Cow<'_, str> {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    // As nearly all are.
    let text = uri.authority().map_or("", |authority| authority.as_str());
    let is_small =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if host.bytes().all(is_small) && !host.ends_with('.') {
        match port.map(str::parse::<u16>) {
            None => return host.into(),
            Some(Ok(port)) if port == default => return host.into(),
            Some(Ok(_)) if port.is_some_and(|port| !port.starts_with(['0', '+'])) => return text.into(),
            Some(_) => {}
        }
    }
    let mut host = uri.host().unwrap_or_default().to_ascii_lowercase();
    // `a..` has an empty label: it is no other spelling of `a.`.
    if host.strip_suffix('.').is_some_and(|rest| !rest.is_empty() && !rest.ends_with('.')) {
        host.pop();
    }
    match uri.port_u16() {
        Some(port) if port != default => format!("{host}:{port}").into(),
        _ => host.into(),
    }
}

/// The part of the key from the cookies that `pattern` names: the values, and the names before them where the
/// pattern stands for several.
fn cookie_parts<'a>(headers: &'a HeaderMap, pattern: &NamePattern) -> Vec<&'a [u8]> {
    let found = cookies::named(headers, pattern).into_iter();
    match pattern.is_wild() {
        true => found.flat_map(|(name, value)| [name, value]).collect(),
        false => found.map(|(_, value)| value).collect(),
    }
}

impl Key {
    /// All of the key, for stores.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key of a stored one's bytes: of a disk, or of another edge.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into() }
    }

    /// Whether it is [`of_query`]; also of some other that somebody made to look so.
    #[must_use]
    pub fn is_of_query(&self) -> bool {
        // The hash behind its length is the last part.
        let hash_part = 4 + digest::SHA256_OUTPUT_LEN;
        let has_hash = self.bytes.len().checked_sub(hash_part).and_then(|at| self.bytes.get(at..at + 4));
        let rest = &self.bytes[self.url_part().len()..];
        has_hash == Some(&32u32.to_be_bytes())
            && rest.windows(QUERY_PART.len()).any(|part| part == QUERY_PART)
    }

    /// The bytes for scheme, authority, path and query: the same for all keys of a URL.
    pub fn url_part(&self) -> &[u8] {
        let mut rest = &*self.bytes;
        for _scheme_authority_path in 0..3 {
            take(&mut rest);
        }
        let has_query = rest.get(..4) == Some(&1u32.to_be_bytes());
        rest = rest.get(4..).unwrap_or_default();
        if has_query {
            take(&mut rest);
        }
        &self.bytes[..self.bytes.len() - rest.len()]
    }

    /// Scheme, authority, path and the query as keyed, for purges, listings and logs; lossy where bytes are not UTF-8.
    pub fn url(&self) -> String {
        let mut rest = &*self.bytes;
        let mut next =
            || take(&mut rest).map(|part| String::from_utf8_lossy(part).into_owned()).unwrap_or_default();
        let url = format!("{}://{}{}", next(), next(), next());
        let has_query = rest.get(..4) == Some(&1u32.to_be_bytes());
        rest = rest.get(4..).unwrap_or_default();
        match take(&mut rest) {
            Some(query) if has_query => format!("{url}?{}", String::from_utf8_lossy(query)),
            _ => url,
        }
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (part, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;
    use crate::http::testing::request;

    fn patterns(names: &[&str]) -> Vec<NamePattern> {
        names.iter().map(|name| NamePattern::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_query_has_the_key_of_its_content_and_of_what_that_is() {
        let about = key_of("http://a.example/", &[], &KeyRules::default());
        let of = |fields: &[(&str, &str)], content: &str| {
            of_query(&about, &request("QUERY", "http://a.example/", fields).headers, content.as_bytes())
        };
        let json = ("content-type", "application/json");
        let one = of(&[json], "{}");
        assert_eq!(one, of(&[json, ("x", "y")], "{}"));
        assert!(one != about && one.url() == about.url() && one.url_part() == about.url_part());
        assert!(one.is_of_query() && of(&[json, json], "").is_of_query() && !about.is_of_query());
        assert!(!Key::from_bytes(b"").is_of_query());
        for other in [
            of(&[json], "{ }"),
            of(&[json], ""),
            of(&[("content-type", "application/JSON")], "{}"),
            of(&[json, ("content-encoding", "gzip")], "{}"),
            of(&[json, ("content-language", "en")], "{}"),
            of(&[json, json], "{}"),
            of(&[], "{}"),
        ] {
            assert_ne!(one, other);
        }
    }

    /// A purge of a URL takes one key or looks at all of them.
    #[test]
    fn a_url_has_several_keys_where_fields_cookies_or_the_device_take_part() {
        assert!(KeyRules::default().is_url_only());
        for rules in [
            KeyRules { headers: vec![HeaderName::from_static("x-tenant")], ..KeyRules::default() },
            KeyRules { cookies: patterns(&["lang"]), ..KeyRules::default() },
            KeyRules { device: Device::Keyed, ..KeyRules::default() },
        ] {
            assert!(!rules.is_url_only(), "{rules:?}");
        }
    }

    #[test]
    fn cookies_of_a_pattern_take_part_with_their_names() {
        let rules = KeyRules { cookies: patterns(&["group_*"]), ..KeyRules::default() };
        let of = |cookie| key_of("http://a.example/", &[("cookie", cookie)], &rules);
        assert_eq!(of("group_a=1; x=1"), of("x=2; group_a=1"));
        assert_ne!(of("group_a=1"), of("group_b=1"));
        assert_ne!(of("group_a=1"), of("group_a=1; group_b=1"));
        assert_ne!(of("group_a=1"), of("x=1"));
    }

    /// An origin that splits cookies at `,` too reads another one than an origin that splits at `;` only.
    #[test]
    fn a_cookie_behind_a_comma_takes_part_too() {
        let rules = KeyRules { cookies: patterns(&["lang"]), ..KeyRules::default() };
        let of = |cookie| key_of("http://a.example/", &[("cookie", cookie)], &rules);
        assert_ne!(of("x=1,lang=evil; lang=en"), of("lang=en"));
        assert_ne!(of("lang=en,lang=evil"), of("lang=en"));
        assert_eq!(of("x=1,y=2; lang=en"), of("lang=en"));
    }

    fn key_of(uri: &str, fields: &[(&str, &str)], rules: &KeyRules) -> Key {
        key(&request("GET", uri, fields), rules)
    }

    fn check(uri: &str, expected: &str) {
        assert_eq!(key_of(uri, &[], &KeyRules::default()).url(), expected);
    }

    #[test]
    fn equal_urls_share_a_key_and_others_do_not() {
        check("http://A.Example:80/x?q", "http://a.example/x?q");
        check("https://a.example:443/", "https://a.example/");
        check("http://a.example./", "http://a.example/");
        check("http://A.example.:81/", "http://a.example:81/");
        check("http://./", "http://./");
        check("http://../", "http://../");
        check("http://a.example../", "http://a.example../");
        check("http://a.example:443/", "http://a.example:443/");
        check("http://a.example:1337/", "http://a.example:1337/");
        check("http://a.example", "http://a.example/");
        check("http://[::1]:8080/", "http://[::1]:8080/");
        check("http://a.example/x?", "http://a.example/x?");
        check("http://a.example/x?b=2&a=1&&c;d", "http://a.example/x?b=2&a=1&&c;d");
        check("http://a.example/%7euser/%2f/./a/../b//", "http://a.example/~user/%2F/b//");
    }

    #[test]
    fn the_method_is_not_in_the_key() {
        let of = |method| key(&request(method, "http://a.example/", &[]), &KeyRules::default());
        assert_eq!(of("GET"), of("HEAD"));
        assert_eq!(of("GET"), of("POST"));
    }

    #[test]
    fn the_origin_is_asked_for_what_is_keyed() {
        for (uri, expected) in [
            ("http://a.example/%7euser/../x%2fy?a=%7e", "/x%2Fy?a=%7e"),
            ("http://a.example", "/"),
            ("http://a.example/x?", "/x?"),
            ("http://a.example?q", "/?q"),
        ] {
            assert_eq!(target(&uri.parse().unwrap()).as_str(), expected);
        }
    }

    #[test]
    fn chosen_fields_cookies_and_devices_take_part() {
        let rules = KeyRules {
            headers: vec![HeaderName::from_static("x-tenant")],
            cookies: patterns(&["lang"]),
            device: Device::Keyed,
            ..KeyRules::default()
        };
        let of = |fields: &[(&str, &str)]| key_of("http://a.example/", fields, &rules);
        assert_ne!(of(&[]), of(&[("x-tenant", "")]));
        assert_ne!(of(&[("x-tenant", "a")]), of(&[("x-tenant", "b")]));
        assert_eq!(of(&[("x-other", "a")]), of(&[]));
        assert_eq!(of(&[("cookie", "a=1; lang=de")]), of(&[("cookie", "lang=de"), ("cookie", "b=2")]));
        assert_ne!(of(&[("cookie", "lang=de")]), of(&[("cookie", "lang=en")]));
        assert_ne!(of(&[("cookie", "lang=de; lang=en")]), of(&[("cookie", "lang=de")]));
        assert_ne!(of(&[("cookie", "xlang=de")]), of(&[("cookie", "lang=de")]));
        assert_ne!(of(&[("user-agent", "iPhone Mobile")]), of(&[]));
    }

    #[test]
    fn all_keys_of_a_url_share_its_part() {
        let rules = KeyRules { cookies: patterns(&["lang"]), device: Device::Keyed, ..KeyRules::default() };
        let part = |uri, fields: &[_]| key_of(uri, fields, &rules).url_part().to_vec();
        for uri in ["http://a.example/x", "http://a.example/x?", "http://a.example/x?q"] {
            assert_eq!(part(uri, &[("cookie", "lang=de")]), part(uri, &[("user-agent", "Mobile")]));
            assert_eq!(part(uri, &[]), key_of(uri, &[], &KeyRules::default()).as_bytes());
        }
        assert_ne!(part("http://a.example/x", &[]), part("http://a.example/x?", &[]));
        assert_ne!(part("http://a.example/x?q", &[]), part("http://a.example/x?", &[]));
        assert_eq!(Key::from_bytes(b"\0\0\xff\xff").url_part(), b"\0\0\xff\xff");
    }

    #[test]
    fn a_key_survives_its_bytes() {
        let key = key_of("http://a.example/x?q", &[], &KeyRules::default());
        assert_eq!(Key::from_bytes(key.as_bytes()), key);
        assert_eq!(Key::from_bytes(b"\0\0\xff\xff").url(), "://");
    }

    proptest! {
        /// Two lists of parts have the same key only if they are the same list.
        #[test]
        fn keys_are_injective(
            a in ("[a-z]{1,3}", "[a-z/?&=%]{0,6}", "[a-z,]{0,4}"), b in ("[a-z]{1,3}", "[a-z/?&=%]{0,6}", "[a-z,]{0,4}"),
        ) {
            let rules = KeyRules { cookies: patterns(&["c", "d"]), ..KeyRules::default() };
            let parts = |(host, target, cookie): &(String, String, String)| {
                let request = request("GET", &format!("http://{host}/{target}"), &[("cookie", &format!("c={cookie}"))]);
                let seen = (authority(&request.uri).into_owned(), self::target(&request.uri), cookie.clone());
                (key(&request, &rules), seen)
            };
            let ((key_a, seen_a), (key_b, seen_b)) = (parts(&a), parts(&b));
            prop_assert_eq!(key_a == key_b, seen_a == seen_b);
        }

        /// The edge's request to the origin has the key of the client's: normalising twice changes nothing.
        #[test]
        fn normal_form_is_stable(text in "[a-z/.%0-9A-F2eE]{0,20}") {
            let uri: Uri = format!("http://a.example/{text}").parse().unwrap();
            let again: Uri = format!("http://a.example{}", target(&uri)).parse().unwrap();
            prop_assert_eq!(target(&uri), target(&again));
        }
    }
}
