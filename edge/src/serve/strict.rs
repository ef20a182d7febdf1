//! What a request's head must be before anything else looks at it: RFC 9110 and 9112 to the letter.
//!
//! hyper is lenient where two parsers may differ; what it lets through is how requests are smuggled. What can be seen
//! in the parsed head is refused here, with the connection closed behind it (RFC 9112 §11.2).

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use crate::policy::RequestHead;

/// Why a request is not for us to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What to answer.
    pub status: StatusCode,
    /// In words, for the client and the log.
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason }
}

/// The request with its target made absolute, if its head is sound.
///
/// # Errors
/// When it is not.
pub fn check(
    method: &Method,
    uri: &Uri,
    version: Version,
    mut headers: HeaderMap,
    local: SocketAddr,
) -> Result<RequestHead, Refusal> {
    if method == Method::CONNECT {
        return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, reason: "CONNECT is not for a cache" });
    }
    framing(version, &headers)?;
    expectation(&headers)?;
    let host = host(version, &headers)?;
    // RFC 9112 §3.3: HTTP/1.0 may leave it out; then it is the address that was asked.
    let host = host.map_or_else(|| local.to_string(), str::to_owned);
    let uri = absolute(uri, &host)?;
    headers.insert(
        header::HOST,
        HeaderValue::try_from(&host).map_err(|_| bad("Host has bytes that no host has"))?,
    );
    Ok(RequestHead { method: method.clone(), uri, headers })
}

/// RFC 9112 §6: one way to tell where the body ends.
fn framing(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    for twin in LOOK_ALIKES {
        if headers.contains_key(twin) {
            return Err(bad("a field name that some take for a framing field"));
        }
    }
    let length = single(headers, &header::CONTENT_LENGTH, "more than one Content-Length")?;
    let coding = single(headers, &header::TRANSFER_ENCODING, "more than one Transfer-Encoding")?;
    match (length, coding) {
        (Some(_), Some(_)) => Err(bad("Content-Length with Transfer-Encoding")),
        (Some(length), None) if !is_length(length) => Err(bad("Content-Length is not a plain number")),
        (None, Some(_)) if version < Version::HTTP_11 => Err(bad("Transfer-Encoding before HTTP/1.1")),
        (None, Some(coding)) if !coding.eq_ignore_ascii_case(b"chunked") => Err(Refusal {
            status: StatusCode::NOT_IMPLEMENTED,
            reason: "a transfer coding other than chunked",
        }),
        _ => Ok(()),
    }
}

/// Some servers fold `_` into `-`.
const LOOK_ALIKES: [HeaderName; 2] =
    [HeaderName::from_static("transfer_encoding"), HeaderName::from_static("content_length")];

fn is_length(value: &[u8]) -> bool {
    let plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    // 18 digits fit in every counter; a leading zero is octal to some.
    plain && value.len() <= 18 && (value[0] != b'0' || value.len() == 1)
}

/// RFC 9110 §10.1.1: only one expectation is known.
fn expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    match single(headers, &header::EXPECT, "more than one Expect")? {
        Some(value) if !value.eq_ignore_ascii_case(b"100-continue") => Err(Refusal {
            status: StatusCode::EXPECTATION_FAILED,
            reason: "an expectation other than 100-continue",
        }),
        _ => Ok(()),
    }
}

/// RFC 9112 §3.2: exactly one valid Host.
fn host(version: Version, headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    match single(headers, &header::HOST, "more than one Host")? {
        None if version >= Version::HTTP_11 => Err(bad("no Host")),
        None => Ok(None),
        Some(value) => match std::str::from_utf8(value) {
            Ok(host) if is_authority(host) => Ok(Some(host)),
            _ => Err(bad("Host is not a host name with an optional port")),
        },
    }
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let ported = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    named && ported
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

/// RFC 9112 §3.2: the target in origin form or absolute form, as an absolute URI.
fn absolute(uri: &Uri, host: &str) -> Result<Uri, Refusal> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if !path.bytes().all(is_target_byte) {
        return Err(bad("the target has bytes that must be percent-encoded"));
    }
    if !path.starts_with('/') {
        return Err(bad("the target is neither a path nor a URL"));
    }
    if uri.authority().is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host)) {
        return Err(bad("Host differs from the target's"));
    }
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(Refusal {
            status: StatusCode::MISDIRECTED_REQUEST,
            reason: "this listener speaks plain HTTP",
        });
    }
    let built = Uri::builder().scheme("http").authority(host).path_and_query(path).build();
    built.map_err(|_| bad("the target is not a URI"))
}

/// RFC 3986 §2 without what must be percent-encoded; `|`, `^` and the like are sent raw by browsers.
fn is_target_byte(byte: u8) -> bool {
    (0x21..0x7f).contains(&byte) && !b"\"<>\\`{}#".contains(&byte)
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    twice: &'static str,
) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::as_bytes);
    if values.next().is_some() { Err(bad(twice)) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `target` then the fields; the status of the refusal, 200 if there is none.
    fn check_head(
        method: &str,
        target: &str,
        version: Version,
        fields: &[(&'static str, &'static str)],
    ) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let method = method.parse().unwrap();
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        check(&method, &target.parse().unwrap(), version, headers, local)
            .map_or_else(|no| no.status.as_u16(), |_| 200)
    }

    #[test]
    fn a_head_that_two_parsers_may_read_differently_is_refused() {
        let host = ("host", "a");
        let case = |fields: &[(&'static str, &'static str)], expected| {
            let fields: Vec<_> = fields.iter().copied().chain([host]).collect();
            assert_eq!(check_head("POST", "/", Version::HTTP_11, &fields), expected, "{fields:?}");
        };
        case(&[], 200);
        case(&[("content-length", "5")], 200);
        case(&[("content-length", "0")], 200);
        case(&[("transfer-encoding", "chunked")], 200);
        case(&[("transfer-encoding", "Chunked")], 200);
        case(&[("expect", "100-continue")], 200);
        case(&[("content-length", "005")], 400);
        case(&[("content-length", "")], 400);
        case(&[("content-length", "+5")], 400);
        case(&[("content-length", "5, 5")], 400);
        case(&[("content-length", "1234567890123456789")], 400);
        case(&[("content-length", "5"), ("content-length", "5")], 400);
        case(&[("content-length", "5"), ("transfer-encoding", "chunked")], 400);
        case(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 400);
        case(&[("transfer-encoding", "chunked, chunked")], 501);
        case(&[("transfer-encoding", "gzip, chunked")], 501);
        case(&[("transfer_encoding", "chunked")], 400);
        case(&[("content_length", "5")], 400);
        case(&[("expect", "y 100-continue")], 417);
        case(&[("host", "a")], 400);
    }

    #[test]
    fn a_request_names_one_host() {
        let case = |target, version, host: Option<&'static str>, expected| {
            let fields: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            assert_eq!(check_head("GET", target, version, &fields), expected, "{target} {host:?}");
        };
        case("/", Version::HTTP_11, None, 400);
        case("/", Version::HTTP_10, None, 200);
        case("/", Version::HTTP_11, Some(""), 400);
        case("/", Version::HTTP_11, Some("a,b"), 400);
        case("/", Version::HTTP_11, Some("a/../b@c"), 400);
        case("/", Version::HTTP_11, Some("a:80"), 200);
        case("/", Version::HTTP_11, Some("a:port"), 400);
        case("/", Version::HTTP_11, Some("a:99999"), 400);
        case("/", Version::HTTP_11, Some("[::1]:8080"), 200);
        case("/", Version::HTTP_11, Some("[::1"), 400);
        case("http://a/x", Version::HTTP_11, Some("a"), 200);
        case("http://A/x", Version::HTTP_11, Some("a"), 200);
        case("http://b/x", Version::HTTP_11, Some("a"), 400);
        case("http://u@a/x", Version::HTTP_11, Some("u@a"), 400);
        case("https://a/x", Version::HTTP_11, Some("a"), 421);
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        let case = |method, target, expected| {
            assert_eq!(check_head(method, target, Version::HTTP_11, &[("host", "a")]), expected, "{target}");
        };
        case("GET", "/a?b=%20", 200);
        case("GET", "*", 400);
        case("GET", "/\u{e4}", 400);
        case("GET", "/a\"b", 400);
        case("CONNECT", "a:443", 501);
    }
}
