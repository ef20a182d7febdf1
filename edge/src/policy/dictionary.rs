//! Compression with a version that the client has (RFC 9842): what a client says of it, which responses may be a dictionary
//! or be compressed with one, and the fields of their answers.
//!
//! Stored responses are the same whatever clients have: the fields of a request that tell of dictionaries are taken out of it
//! before key and `Vary` see it, and those of an answer are added on its way out.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use super::control::{self, Scope};
use super::{Content, Entry, encoding};
use crate::http::head::ResponseHead;
use crate::http::{list, path};
use crate::site::Site;
use crate::site::dictionaries::matching;

/// A coding with a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Zstandard (RFC 9842 §5).
    Dcz,
    /// Brotli (RFC 9842 §4).
    Dcb,
}

impl Coding {
    /// Its name in fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dcz => "dcz",
            Self::Dcb => "dcb",
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        [Self::Dcz, Self::Dcb].into_iter().find(|coding| name == coding.as_str().as_bytes())
    }
}

/// The field by which a client names what it has.
pub const AVAILABLE: HeaderName = HeaderName::from_static("available-dictionary");
const ID: HeaderName = HeaderName::from_static("dictionary-id");
const USE_AS: HeaderName = HeaderName::from_static("use-as-dictionary");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// SHA-256 of a dictionary.
pub type Hash = [u8; 32];

/// A dictionary that a client has, and the page that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Had {
    /// The dictionary's.
    pub hash: Hash,
    /// The coding to use it with.
    pub coding: Coding,
    /// Whether it may read the answer.
    pub asker: Asker,
}

/// Which answers the page that asks may read, as its browser says: one that may not read an answer could learn of it by how
/// long it is (RFC 9842 §9.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// All: it is of the same origin, there is no page yet, or no browser.
    Own,
    /// Answers that allow it to this origin, which is another.
    Other(HeaderValue),
    /// None.
    Blind,
}

impl Asker {
    /// By the fields as the client sent them, before a site's rules change any.
    pub fn of(asked: &HeaderMap) -> Self {
        let text = |name: &HeaderName| asked.get(name).map(|value| value.as_bytes().to_ascii_lowercase());
        match text(&FETCH_SITE).as_deref() {
            None | Some(b"same-origin") => return Self::Own,
            Some(_) => {}
        }
        match text(&FETCH_MODE).as_deref() {
            None | Some(b"navigate" | b"same-origin") => Self::Own,
            Some(b"cors") => asked.get(header::ORIGIN).cloned().map_or(Self::Blind, Self::Other),
            Some(_) => Self::Blind,
        }
    }

    /// Whether it may read an answer that is sent with these fields.
    pub fn may_read(&self, sent: &HeaderMap) -> bool {
        let mut allowed = sent.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter();
        match (self, allowed.next(), allowed.next()) {
            (Self::Own, ..) => true,
            (Self::Other(origin), Some(allowed), None) => allowed == "*" || allowed == origin,
            // Browsers take two such fields for none.
            (Self::Other(_) | Self::Blind, ..) => false,
        }
    }
}

/// Whether responses on this URL may be dictionaries: [`obstacle`] names none.
pub fn is_for(site: &Site, uri: &Uri) -> bool {
    obstacle(site, uri).is_none()
}

/// Why responses on this URL may not be dictionaries: they may on a path of the site's, over what browsers take for a secure
/// context (RFC 9842 §8), that nobody needs a right to.
pub fn obstacle(site: &Site, uri: &Uri) -> Option<&'static str> {
    let has_path = || site.dictionaries.has(&path::normal(uri.path()));
    if site.dictionaries.paths.is_empty() || !has_path() {
        return Some("its path is none of `dictionaries`");
    }
    if !is_secure(uri) {
        return Some("browsers use dictionaries over HTTPS alone");
    }
    if site.access.keeps_out() || site.signed.covers(uri) {
        return Some("the site keeps clients out (`allow`, `deny`, `basic_auth`, `signed_paths`)");
    }
    let is_of_all = site.key.headers.is_empty() && site.key.cookies.is_empty();
    (!is_of_all).then_some("`headers` or `cookies` are in the key")
}

/// HTTPS; or this machine, which browsers trust as much.
fn is_secure(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    uri.scheme_str() == Some("https")
        || host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

/// Takes out of a request what it says of dictionaries. The one that the client has, if it takes such a coding, and that which it
/// likes best: of two that it likes as well, Zstandard, which is made sooner.
pub fn take(headers: &mut HeaderMap) -> Option<(Hash, Coding)> {
    let hash = headers.get(AVAILABLE).and_then(|value| hash(value.as_bytes()));
    headers.remove(AVAILABLE);
    headers.remove(ID);
    let is_one = |element: &[u8]| Coding::of(&encoding::wish(element).0).is_some();
    let weight = |wanted: Coding| {
        let wishes = list::elements(headers, &header::ACCEPT_ENCODING).map(encoding::wish);
        let its = wishes.filter(|(name, _)| Coding::of(name) == Some(wanted));
        its.map(|(_, weight)| weight).max().unwrap_or_default()
    };
    let (dcz, dcb) = (weight(Coding::Dcz), weight(Coding::Dcb));
    let coding = if dcb > dcz { Coding::Dcb } else { Coding::Dcz };
    if list::elements(headers, &header::ACCEPT_ENCODING).any(is_one) {
        let rest: Vec<&[u8]> =
            list::elements(headers, &header::ACCEPT_ENCODING).filter(|element| !is_one(element)).collect();
        let rest = HeaderValue::from_bytes(&rest.join(&b", "[..])).ok();
        headers.remove(header::ACCEPT_ENCODING);
        headers.extend(rest.map(|rest| (header::ACCEPT_ENCODING, rest)));
    }
    hash.filter(|_| dcz.max(dcb) > 0).map(|hash| (hash, coding))
}

/// A byte sequence of 32 bytes (RFC 9651 §3.3.5).
fn hash(value: &[u8]) -> Option<Hash> {
    let text = value.trim_ascii().strip_prefix(b":")?.strip_suffix(b":")?;
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Whether a response may be a dictionary, and be compressed with one: [`fault`] names none.
pub fn may_be(entry: &Entry) -> bool {
    fault(entry).is_none()
}

/// Why a response may not be a dictionary, nor be compressed with one: it may where clients may share it, it is whole, and of a
/// text that is known here.
pub fn fault(entry: &Entry) -> Option<&'static str> {
    let headers = &entry.head.headers;
    let is_whole = entry.head.status == StatusCode::OK && matches!(entry.content, Content::Whole { .. });
    if !is_whole {
        return Some("it is no whole 200");
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Some("it has Set-Cookie");
    }
    let (control, _) = control::of_response(headers, &[]);
    if control::forbids_transforming(headers) || control.private == Scope::Everything {
        return Some("its Cache-Control says no-transform or private");
    }
    if !list::elements(headers, &header::VARY).all(is_of_all) {
        return Some("its Vary may tell users apart");
    }
    (!is_known_coding(headers)).then_some("it has a coding that is not taken off here")
}

/// Whether a field tells clients apart that may have each other's responses all the same: by what they can read, and not by who
/// they are. One that knows but the hash of another's text would learn of it from a difference to it.
fn is_of_all(field: &[u8]) -> bool {
    let known: [&[u8]; 8] = [
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"available-dictionary",
        b"dictionary-id",
        b"origin",
        b"save-data",
        b"user-agent",
    ];
    known.iter().any(|known| field.eq_ignore_ascii_case(known))
}

/// As it is, or in one of the codings that are taken off here.
fn is_known_coding(headers: &HeaderMap) -> bool {
    let mut codings = list::elements(headers, &header::CONTENT_ENCODING);
    let first = codings.next();
    let known = ["gzip", "x-gzip", "br", "zstd"];
    let is_known = |coding: &[u8]| known.iter().any(|name| coding.eq_ignore_ascii_case(name.as_bytes()));
    first.is_none_or(is_known) && codings.next().is_none()
}

/// Says in an answer that its response depends on what the client has, and, if it is whole, that it may keep it as a
/// dictionary for what is on this path. A word of the origin's on that stays. One spelling of a path serves all: the head of an
/// answer is kept for other clients.
pub fn announce(answer: &mut ResponseHead, path: &str) {
    if !matches!(answer.status, StatusCode::OK | StatusCode::NOT_MODIFIED) {
        return;
    }
    encoding::vary(&mut answer.headers);
    let names_it =
        |element: &[u8]| element == b"*" || element.eq_ignore_ascii_case(AVAILABLE.as_str().as_bytes());
    if !list::elements(&answer.headers, &header::VARY).any(names_it) {
        answer.headers.append(header::VARY, HeaderValue::from_static("Available-Dictionary"));
    }
    if answer.status == StatusCode::OK && !answer.headers.contains_key(USE_AS) {
        let text = matching(&path::normal(path)).replace('\\', "\\\\").replace('"', "\\\"");
        let value = HeaderValue::try_from(format!("match=\"{text}\"")).ok();
        answer.headers.extend(value.map(|value| (USE_AS, value)));
    }
}

/// The head of an answer whose body is compressed with a dictionary, to so many bytes.
pub fn compressed(answer: &mut ResponseHead, coding: Coding, length: usize) {
    let headers = &mut answer.headers;
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    encoding::of_other_bytes(headers);
    headers.remove(header::ACCEPT_RANGES);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{fields, response};
    use crate::policy::testing::stored;

    #[test]
    fn only_what_all_clients_may_have_is_a_dictionary() {
        for (sent, expected) in [
            (&[][..], true),
            (&[("vary", "Accept-Encoding, Origin"), ("vary", "user-agent")][..], true),
            (&[("vary", "Accept-Encoding, X-Tenant")][..], false),
            (&[("vary", "Cookie")][..], false),
            (&[("vary", "*")][..], false),
            (&[("cache-control", "max-age=9, No-Transform")][..], false),
            (&[("cache-control", "private")][..], false),
            (&[("set-cookie", "a=b")][..], false),
            (&[("content-encoding", "BR")][..], true),
            (&[("content-encoding", "dcz")][..], false),
            (&[("content-encoding", "gzip, br")][..], false),
        ] {
            assert_eq!(may_be(&stored(sent)), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_request_tells_which_dictionary_it_has_and_no_more() {
        let hash = [7; 32];
        let text = format!(":{}:", STANDARD.encode(hash));
        let check = |available: &str, accept: &str, expected: Option<Coding>, left: &[(&str, &str)]| {
            let mut headers = fields(&[
                ("available-dictionary", available),
                ("dictionary-id", "\"a\""),
                ("accept-encoding", accept),
            ]);
            let expected = expected.map(|coding| (hash, coding));
            assert_eq!(take(&mut headers), expected, "{available} {accept}");
            assert_eq!(headers, fields(left), "{available} {accept}");
        };
        let browser = "gzip, deflate, br, zstd, dcb, dcz";
        let rest = [("accept-encoding", "gzip, deflate, br, zstd")];
        let gzip = [("accept-encoding", "gzip")];
        check(&text, browser, Some(Coding::Dcz), &rest);
        check(&text, "gzip, dcb", Some(Coding::Dcb), &gzip);
        check(&text, "gzip, dcz;q=0.5, dcb;q=0.6", Some(Coding::Dcb), &gzip);
        check(&text, "gzip, dcz;q=0, dcb;q=0", None, &gzip);
        check(&text, "gzip, dcz;q=0", None, &gzip);
        check(&text, "gzip;q=0.5, DCZ;q=0.1", Some(Coding::Dcz), &[("accept-encoding", "gzip;q=0.5")]);
        check(&text, "gzip, *", None, &[("accept-encoding", "gzip, *")]);
        check(&text[..20], browser, None, &rest);
        check(":AAAA:", browser, None, &rest);
        check("", browser, None, &rest);
    }

    #[test]
    fn only_what_the_page_may_read_depends_on_what_the_browser_has() {
        let check = |asked: &[(&str, &str)], allowed: Option<&str>, expected| {
            let answer: Vec<(&str, &str)> =
                allowed.iter().map(|allowed| ("access-control-allow-origin", *allowed)).collect();
            assert_eq!(
                Asker::of(&fields(asked)).may_read(&fields(&answer)),
                expected,
                "{asked:?} {allowed:?}"
            );
        };
        let (cross, cors) = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"));
        let origin = ("origin", "https://a.example");
        check(&[], None, true);
        check(&[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors")], None, true);
        check(&[cross, ("sec-fetch-mode", "no-cors")], None, false);
        check(&[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")], Some("*"), false);
        check(&[cross, ("sec-fetch-mode", "navigate")], None, true);
        check(&[cross], None, true);
        check(&[cross, cors, origin], None, false);
        check(&[cross, cors, origin], Some("*"), true);
        check(&[cross, cors], Some("*"), false);
        check(&[cross, cors, origin], Some("https://a.example"), true);
        check(&[cross, cors, origin], Some("https://b.example"), false);
        let twice = fields(&[("access-control-allow-origin", "*"), ("access-control-allow-origin", "*")]);
        assert!(!Asker::of(&fields(&[cross, cors, origin])).may_read(&twice));
    }

    #[test]
    fn a_secure_context_is_https_or_this_machine() {
        for (uri, expected) in [
            ("https://a.example/", true),
            ("http://a.example/", false),
            ("http://localhost:8080/", true),
            ("http://a.localhost/", true),
            ("http://127.8.0.1/", true),
            ("http://[::1]:80/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(is_secure(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn an_answer_says_what_it_depends_on_and_what_it_is_for() {
        let check = |status: u16, sent: &[(&str, &str)], expected: &[(&str, &str)]| {
            // The second as another client spells it.
            for path in ["/js/a(b).3f9a01bc.js", "/x/../%6as/%61(b).3f9a01bc.js"] {
                let mut head = response(status, sent);
                announce(&mut head, path);
                assert_eq!(head.headers, fields(expected), "{status} {sent:?} {path}");
            }
        };
        let vary = [("vary", "Accept-Encoding"), ("vary", "Available-Dictionary")];
        let use_as = ("use-as-dictionary", "match=\"/js/a\\\\(b\\\\).*.js\"");
        check(200, &[], &[vary[0], vary[1], use_as]);
        check(304, &[], &vary);
        check(206, &[], &[]);
        check(404, &[], &[]);
        let own = ("use-as-dictionary", "match=\"/js/*\", id=\"x\"");
        let both = ("vary", "accept-encoding, available-dictionary");
        check(200, &[both, own], &[both, own]);
        let mut head =
            response(200, &[("etag", "\"a\""), ("content-length", "9"), ("accept-ranges", "bytes")]);
        compressed(&mut head, Coding::Dcz, 5);
        let expected = [
            ("etag", "W/\"a\""),
            ("content-encoding", "dcz"),
            ("vary", "Accept-Encoding"),
            ("content-length", "5"),
        ];
        assert_eq!(head.headers, fields(&expected));
    }
}
