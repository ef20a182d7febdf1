//! Content codings (RFC 9110 §8.4): which one a client gets, and what becomes of a head whose body is encoded here.
//!
//! A site that compresses looks at `Accept-Encoding` once: of all that a client may write there, one coding is left, or
//! none. That is what selects a variant and what the origin is asked for, so a key has as many variants as the site has
//! codings and one more.
//!
//! Parts of a representation stay as the origin sent them, and so does a whole that was put together from parts: ranges
//! count the bytes of one coding (RFC 9110 §14.1.2), and those that clients hold of it are of the origin's. It is encoded
//! when it is next fetched whole.
//!
//! A response in gzip is unpacked on its way to a client that takes none ([`is_packed`]): it is
//! stored as it came.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::control;
pub use crate::http::coding::Coding;
use crate::http::head::ResponseHead;
use crate::http::list;
use crate::site::offer::{EVENTS, Offer};

/// Whether content of a response with these fields may be encoded, and is worth it. The origin may forbid it
/// (RFC 9110 §7.7).
fn has(offer: &Offer, headers: &HeaderMap) -> bool {
    !control::forbids_transforming(headers) && offer.has_type(&essence(headers))
}

/// The coding of `offered` that the client likes best, the first of those that it likes the same; none if it likes to
/// have it as it is (RFC 9110 §12.5.3).
pub fn preferred(headers: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let wishes: Vec<(Vec<u8>, u16)> = list::elements(headers, &header::ACCEPT_ENCODING).map(wish).collect();
    let weight =
        |name: &str| wishes.iter().find(|(wished, _)| wished == name.as_bytes()).map(|(_, weight)| *weight);
    let any = weight("*");
    let identity = weight("identity").unwrap_or(0);
    let weighted = |coding: &Coding| {
        // RFC 9110 §8.4.1.3: x-gzip is gzip.
        let named =
            weight(coding.as_str()).or_else(|| (*coding == Coding::Gzip).then(|| weight("x-gzip"))?);
        (named.or(any).unwrap_or(0), *coding)
    };
    let best = offered.iter().map(weighted).reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(weight, _)| *weight > 0 && *weight >= identity).map(|(_, coding)| coding)
}

/// Leaves of `Accept-Encoding` what [`preferred`] says; as it is if the site offers nothing.
pub fn normalise(headers: &mut HeaderMap, offered: &[Coding]) {
    if offered.is_empty() {
        return;
    }
    match preferred(headers, offered) {
        Some(coding) => {
            drop(headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding.as_str())))
        }
        None => drop(headers.remove(header::ACCEPT_ENCODING)),
    }
}

/// The coding to give the body of a response to a request with these fields. `length` is its body's, if known.
pub fn chosen(
    asked: &HeaderMap,
    response: &ResponseHead,
    offer: &Offer,
    length: Option<u64>,
) -> Option<Coding> {
    let worth_it = length.is_none_or(|length| length >= offer.least_bytes);
    let plain = is_page(response.status) && !response.headers.contains_key(header::CONTENT_ENCODING);
    let may = !offer.codings.is_empty() && plain && worth_it && has(offer, &response.headers);
    if may { preferred(asked, &offer.codings) } else { None }
}

/// Whether a response of this status is as long as a page may be: applications answer with whole pages to these as well.
fn is_page(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// Says that a response depends on `Accept-Encoding`, if the site gives its like in several codings. Its like is: also
/// what stayed as it came, because a client wanted it so or it was short.
pub fn mark(response: &mut ResponseHead, offer: &Offer) {
    let is_like = is_page(response.status) || response.status == StatusCode::PARTIAL_CONTENT;
    if !offer.codings.is_empty() && is_like && has(offer, &response.headers) {
        vary(&mut response.headers);
    }
}

/// The head of a response whose body will be encoded.
pub fn encoded(response: &mut ResponseHead, coding: Coding) {
    let headers = &mut response.headers;
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    of_other_bytes(headers);
}

/// Fields that are about the bytes of one coding go, or say less.
pub(super) fn of_other_bytes(headers: &mut HeaderMap) {
    for name in ["content-length", "content-md5", "content-digest", "repr-digest", "digest"] {
        headers.remove(name);
    }
    weaken(headers);
    vary(headers);
}

/// Whether a client with these fields takes gzip. One that says nothing may be sent it by the letter (RFC 9110 §12.5.3),
/// and programs that say nothing cannot read it.
pub fn takes_gzip(asked: &HeaderMap) -> bool {
    let wishes: Vec<(Vec<u8>, u16)> = list::elements(asked, &header::ACCEPT_ENCODING).map(wish).collect();
    let weight = |names: &[&[u8]]| {
        wishes.iter().find(|(name, _)| names.contains(&name.as_slice())).map(|(_, weight)| *weight)
    };
    weight(&[b"gzip", b"x-gzip"]).or_else(|| weight(&[b"*"])).unwrap_or(0) > 0
}

/// Whether an origin has packed the content, which it names by this path, so that it can be unpacked for a client that takes
/// no gzip. An archive is not packed: who saves it wants it as it is, whatever its coding is called. Nor are events: browsers
/// read them from behind proxies that hold bytes back.
pub fn is_packed(response: &ResponseHead, path: &str) -> bool {
    response.status != StatusCode::PARTIAL_CONTENT
        && is_gzip(&response.headers)
        && !control::forbids_transforming(&response.headers)
        && may_be_unpacked(&essence(&response.headers), path)
}

/// A path tells where the type does not: servers have none for `.tar.gz`, and say gzip of it all the same.
fn may_be_unpacked(kind: &str, path: &str) -> bool {
    match kind {
        "" | "application/octet-stream" | "binary/octet-stream" => {
            let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
            !PACKED_FILES.iter().any(|packed| packed.eq_ignore_ascii_case(extension))
        }
        kind => kind != EVENTS && !ARCHIVES.contains(&kind),
    }
}

/// The extensions of files that are packed themselves.
const PACKED_FILES: [&str; 6] = ["gz", "gzip", "svgz", "taz", "tgz", "z"];

/// The types of archives, and of files that are packed themselves.
const ARCHIVES: [&str; 22] = [
    "application/gzip",
    "application/java-archive",
    "application/vnd.debian.binary-package",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip",
    "application/x-bzip2",
    "application/x-compress",
    "application/x-compressed",
    "application/x-compressed-tar",
    "application/x-cpio",
    "application/x-debian-package",
    "application/x-gtar",
    "application/x-gtar-compressed",
    "application/x-gzip",
    "application/x-rar-compressed",
    "application/x-rpm",
    "application/x-tar",
    "application/x-tgz",
    "application/x-xz",
    "application/zip",
    "application/zstd",
];

/// Whether the one coding of a response is gzip.
pub fn is_gzip(headers: &HeaderMap) -> bool {
    let mut codings = list::elements(headers, &header::CONTENT_ENCODING);
    let is_gzip =
        |coding: &[u8]| [&b"gzip"[..], b"x-gzip"].iter().any(|gzip| coding.eq_ignore_ascii_case(gzip));
    codings.next().is_some_and(is_gzip) && codings.next().is_none()
}

/// The head of a response whose body is unpacked; it has no ranges, as its length is not known.
pub fn unpacked(response: &mut ResponseHead) {
    response.headers.remove(header::CONTENT_ENCODING);
    response.headers.remove(header::ACCEPT_RANGES);
    of_other_bytes(&mut response.headers);
}

/// Says that a response that some clients get unpacked depends on `Accept-Encoding`.
pub fn mark_packed(headers: &mut HeaderMap) {
    vary(headers);
}

/// A 304 about a response that was encoded here: its strong tag is the one that was made weak (RFC 9110 §8.8.1), and what
/// it says of `Vary` is still not all.
pub fn confirmed(stored: &HeaderMap, not_modified: &mut ResponseHead, offer: &Offer) {
    if offer.codings.is_empty() {
        return;
    }
    let headers = &mut not_modified.headers;
    if headers.contains_key(header::VARY) && has(offer, stored) {
        vary(headers);
    }
    if stored.contains_key(header::CONTENT_ENCODING) {
        let mut weak = headers.clone();
        weaken(&mut weak);
        if weak.get(header::ETAG) == stored.get(header::ETAG) {
            *headers = weak;
        }
    }
}

/// RFC 9110 §8.8.1: a weak tag for what is the same in other bytes.
fn weaken(headers: &mut HeaderMap) {
    let strong = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    let weak = strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

pub(super) fn vary(headers: &mut HeaderMap) {
    let named = |element: &[u8]| element == b"*" || element.eq_ignore_ascii_case(b"accept-encoding");
    if !list::elements(headers, &header::VARY).any(named) {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// The type of content, without parameters and in lower case.
fn essence(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A coding's name and its weight in thousandths.
pub(super) fn wish(element: &[u8]) -> (Vec<u8>, u16) {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| {
        let value = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="))?;
        std::str::from_utf8(value).ok()?.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))
    });
    // A float between 0 and 1 times a thousand fits; what is not a weight counts as none given.
    (name, weight.map_or(1_000, |q| (q * 1_000.0) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{fields, response};
    use crate::site::pattern::NamePattern;

    const ALL: [Coding; 3] = [Coding::Br, Coding::Zstd, Coding::Gzip];

    fn offer() -> Offer {
        Offer { codings: ALL.to_vec(), ..Offer::default() }
    }

    #[test]
    fn a_site_names_the_types_and_the_sizes() {
        let types = ["application/*", "*+xml", "text/plain"].map(|name| NamePattern::parse(name).unwrap());
        let offer = Offer { types: Some(types.to_vec()), least_bytes: 10, ..offer() };
        let asked = fields(&[("accept-encoding", "gzip")]);
        for (kind, length, expected) in [
            ("application/pdf", Some(10), true),
            ("Text/Plain; charset=utf-8", None, true),
            ("image/svg+xml", None, true),
            ("application/pdf", Some(9), false),
            ("text/html", None, false),
            ("text/event-stream", None, false),
            ("application/x-ndjson", None, true),
        ] {
            let response = response(200, &[("content-type", kind)]);
            assert_eq!(chosen(&asked, &response, &offer, length).is_some(), expected, "{kind}");
            let star = Offer { types: Some(vec![NamePattern::parse("*").unwrap()]), ..offer.clone() };
            let all = chosen(&asked, &response, &star, None).is_some();
            assert_eq!(all, kind != "text/event-stream", "{kind}");
        }
        // Unnamed, streams of texts stay as they came.
        for (kind, expected) in [
            ("application/json", true),
            ("application/problem+json", true),
            ("application/stream+json", false),
            ("application/x-ndjson", false),
            ("text/event-stream", false),
        ] {
            let response = response(200, &[("content-type", kind)]);
            let by_default = Offer { types: None, ..offer.clone() };
            assert_eq!(chosen(&asked, &response, &by_default, None).is_some(), expected, "{kind}");
        }
    }

    #[test]
    fn gzip_is_taken_by_those_who_say_so() {
        for (accept, expected) in [
            ("gzip", true),
            ("br, GZIP;q=0.1", true),
            ("x-gzip", true),
            ("*", true),
            ("identity, gzip;q=0.5", true),
            ("gzip;q=0, *", false),
            ("*;q=0", false),
            ("br", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&fields(&[("accept-encoding", accept)])), expected, "{accept}");
        }
        assert!(!takes_gzip(&fields(&[])));
    }

    #[test]
    fn what_an_origin_packed_is_unpacked_and_an_archive_is_not() {
        let check = |status: u16, kind: &str, coding: &str, control: &str, expected| {
            let head = response(
                status,
                &[("content-type", kind), ("content-encoding", coding), ("cache-control", control)],
            );
            assert_eq!(is_packed(&head, "/a"), expected, "{status} {kind} {coding} {control}");
        };
        check(200, "text/css", "gzip", "", true);
        check(404, "application/json", "X-Gzip", "max-age=1", true);
        check(206, "text/css", "gzip", "", false);
        check(200, "text/css", "gzip, gzip", "", false);
        check(200, "text/css", "br", "", false);
        check(200, "application/x-tar", "gzip", "", false);
        check(200, "text/css", "gzip", "no-transform", false);
        check(200, "text/css", "gzip", "max-age=9; no-transform", false);
        check(200, "text/event-stream", "gzip", "", false);
        check(200, "application/gzip", "gzip", "", false);
        for kind in ["", "image/png", "application/x-ndjson", "application/octet-stream", "x"] {
            check(200, kind, "gzip", "", true);
        }
        let untyped = response(200, &[("content-encoding", "gzip")]);
        for (path, expected) in [("/a", true), ("/a.js", true), ("/a.tar.gz", false), ("/a.TGZ", false)] {
            assert_eq!(is_packed(&untyped, path), expected, "{path}");
        }
        let mut head = response(
            200,
            &[
                ("content-encoding", "gzip"),
                ("content-length", "9"),
                ("etag", "\"a\""),
                ("accept-ranges", "bytes"),
            ],
        );
        unpacked(&mut head);
        assert_eq!(head.headers, fields(&[("etag", "W/\"a\""), ("vary", "Accept-Encoding")]));
    }

    #[test]
    fn one_coding_is_left_of_whatever_a_client_writes() {
        let check = |accept: &str, offered: &[Coding], expected: Option<Coding>| {
            let mut headers = fields(&[("accept-encoding", accept)]);
            assert_eq!(preferred(&headers, offered), expected, "{accept}");
            normalise(&mut headers, offered);
            let left = headers.get("accept-encoding").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(left.as_deref(), expected.map(Coding::as_str), "{accept}");
        };
        check("gzip, deflate, br, zstd", &ALL, Some(Coding::Br));
        check("gzip, deflate, br, zstd", &[Coding::Zstd, Coding::Br], Some(Coding::Zstd));
        check("gzip, deflate", &ALL, Some(Coding::Gzip));
        check("GZIP", &ALL, Some(Coding::Gzip));
        check("x-gzip", &ALL, Some(Coding::Gzip));
        check("br;q=0.5, gzip;q=0.8", &ALL, Some(Coding::Gzip));
        check("br;q=0, *", &ALL, Some(Coding::Zstd));
        check("*;q=0", &ALL, None);
        check("gzip;q=0", &ALL, None);
        check("identity, gzip;q=0.5", &ALL, None);
        check("identity;q=0.5, gzip", &ALL, Some(Coding::Gzip));
        check("deflate, compress", &ALL, None);
        check("", &ALL, None);
        check("br;q=2", &ALL, Some(Coding::Br));
        let mut untouched = fields(&[("accept-encoding", "gzip, deflate")]);
        normalise(&mut untouched, &[]);
        assert_eq!(untouched, fields(&[("accept-encoding", "gzip, deflate")]));
    }

    #[test]
    fn text_is_encoded_and_what_is_encoded_or_forbidden_is_not() {
        let check = |status: u16, sent: &[(&str, &str)], length, expected| {
            let asked = fields(&[("accept-encoding", "gzip")]);
            assert_eq!(
                chosen(&asked, &response(status, sent), &offer(), length),
                expected,
                "{sent:?} {length:?}"
            );
        };
        let html = ("content-type", "Text/HTML; charset=utf-8");
        check(200, &[html], Some(1_000), Some(Coding::Gzip));
        check(200, &[html], None, Some(Coding::Gzip));
        check(200, &[html], Some(100), None);
        check(206, &[html], None, None);
        check(403, &[html], None, Some(Coding::Gzip));
        check(404, &[html], None, Some(Coding::Gzip));
        check(404, &[html], Some(100), None);
        check(201, &[html], None, None);
        check(500, &[html], None, None);
        check(200, &[html, ("content-encoding", "br")], None, None);
        check(200, &[html, ("cache-control", "max-age=9, No-Transform")], None, None);
        check(200, &[("content-type", "image/svg+xml")], None, Some(Coding::Gzip));
        check(200, &[("content-type", "application/ld+json")], None, Some(Coding::Gzip));
        check(200, &[("content-type", "text/event-stream")], None, None);
        check(200, &[("content-type", "image/png")], None, None);
        check(200, &[], None, None);
    }

    #[test]
    fn an_encoded_head_says_what_its_body_is() {
        let mut head = response(200, &[("etag", "\"a\""), ("content-length", "9"), ("vary", "Cookie")]);
        encoded(&mut head, Coding::Br);
        let expected = fields(&[
            ("etag", "W/\"a\""),
            ("vary", "Cookie"),
            ("vary", "Accept-Encoding"),
            ("content-encoding", "br"),
        ]);
        assert_eq!(head.headers, expected);
        encoded(&mut head, Coding::Br);
        assert_eq!(head.headers, expected, "weak already, named already");
    }

    #[test]
    fn a_304_with_the_tag_that_was_made_weak_is_about_the_encoded_one() {
        let kind = ("content-type", "text/css");
        let check = |stored: &[(&str, &str)], told: &str, expected: &str| {
            let mut head = response(304, &[("etag", told), ("vary", "X")]);
            confirmed(&fields(stored), &mut head, &offer());
            assert_eq!(head.headers["etag"], expected);
            let varies: Vec<_> = head.headers.get_all("vary").into_iter().collect();
            assert_eq!(varies, ["X", "Accept-Encoding"]);
        };
        let encoded = ("content-encoding", "br");
        check(&[kind, encoded, ("etag", "W/\"a\"")], "\"a\"", "W/\"a\"");
        check(&[kind, encoded, ("etag", "W/\"a\"")], "\"b\"", "\"b\"");
        check(&[kind, ("etag", "\"a\"")], "\"a\"", "\"a\"");
    }
}
