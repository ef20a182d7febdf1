//! The question of an HTTP request (RFC 8484 §4.1): a message, or a status that says what is wrong with it.

use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};
use percent_encoding::percent_decode_str;

/// A DNS message is no longer (RFC 1035 §4.2.2).
pub(super) const MAX_MESSAGE_BYTES: usize = u16::MAX as usize;
/// RFC 8484 §6.
pub(super) const MEDIA_TYPE: &str = "application/dns-message";

/// Where the message is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Here: it was in the path.
    Message(Vec<u8>),
    /// In the body.
    InBody,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The remedy, for people who try.
    pub(super) help: &'static str,
}

pub(super) const TOO_LARGE: Refusal =
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, help: "a DNS message has at most 65535 bytes" };

/// Judges a request's head; questions are asked at `path`.
pub(super) fn read(head: &Parts, path: &str) -> Result<Asked, Refusal> {
    // RFC 9112 §3.2; in HTTP/2 it is the authority of the target (RFC 9113 §8.3.1).
    if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return Err(refuse(StatusCode::BAD_REQUEST, "the Host header is missing"));
    }
    if head.uri.path() != path {
        return Err(refuse(StatusCode::NOT_FOUND, "questions are asked elsewhere"));
    }
    match head.method {
        Method::GET | Method::HEAD => in_query(head.uri.query().unwrap_or_default()).map(Asked::Message),
        Method::POST if is_message(head) => Ok(Asked::InBody),
        Method::POST => {
            Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type: application/dns-message"))
        }
        _ => Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "GET or POST")),
    }
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        refuse(status, status.canonical_reason().unwrap_or_default())
    }
}

fn refuse(status: StatusCode, help: &'static str) -> Refusal {
    Refusal { status, help }
}

/// The media type; what follows a semicolon are parameters, and it has none that we know (RFC 8484 §6).
fn is_message(head: &Parts) -> bool {
    let value = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

/// RFC 8484 §4.1.1: the variable `dns` holds the message in base64url. The first counts.
fn in_query(query: &str) -> Result<Vec<u8>, Refusal> {
    let text = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("dns="))
        .ok_or(refuse(StatusCode::BAD_REQUEST, "the variable dns is missing: ?dns=AAAB…"))?;
    let bad = refuse(StatusCode::BAD_REQUEST, "the variable dns is not base64url without padding");
    // RFC 3986 §6.2.2.2: `%41` is another spelling of `A`.
    let text = percent_decode_str(text).decode_utf8().map_err(|_| bad)?;
    let message = base64url(&text).ok_or(bad)?;
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(TOO_LARGE);
    }
    Ok(message)
}

/// base64url without padding (RFC 4648 §5, RFC 8484 §6). Bits that are left over must be zero (RFC 4648 §3.5), so that a
/// message has one spelling.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in text.bytes() {
        bits = bits << 6 | u32::from(value(digit)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).expect("masked to 8 bits"));
        }
    }
    let leftover = bits & ((1 << held) - 1);
    (held < 6 && leftover == 0).then_some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const POST: &str = "POST /dns-query";

    fn check(line: &str, content_type: Option<&str>, expected: Result<Asked, u16>) {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri).header(HOST, "dns.example");
        if let Some(media_type) = content_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let asked = read(&head, "/dns-query").map_err(|refusal| refusal.status.as_u16());
        assert_eq!(asked, expected, "{line} {content_type:?}");
    }

    #[test]
    fn a_message_is_in_the_variable_or_in_the_body() {
        let message = |bytes: &[u8]| Ok(Asked::Message(bytes.to_vec()));
        for (line, expected) in [
            ("GET /dns-query?dns=AAAB", message(&[0, 0, 1])),
            ("GET /dns-query?dns=AAABAA", message(&[0, 0, 1, 0])),
            ("GET /dns-query?dns=-_8", message(&[0xfb, 0xff])),
            ("GET /dns-query?x=1&dns=AAAB&dns=AAAA", message(&[0, 0, 1])),
            ("HEAD /dns-query?dns=AAAB", message(&[0, 0, 1])),
            ("GET /dns-query?dns=", message(&[])),
            ("GET /dns-query", Err(400)),
            ("GET /dns-query?DNS=AAAB", Err(400)),
            ("GET /dns-query?dns=AAA=", Err(400)),
            ("GET /dns-query?dns=A", Err(400)),
            ("GET /dns-query?dns=AB", Err(400)),
            ("GET /dns-query?dns=+/8", Err(400)),
            ("GET /dns-query?dns=%41AAB", message(&[0, 0, 1])),
            ("GET /dns-query?dns=%2D%5f8", message(&[0xfb, 0xff])),
            ("GET /dns-query?dns=%4", Err(400)),
            ("GET /dns-query?dns=%ff", Err(400)),
            ("GET /?dns=AAAB", Err(404)),
            ("GET /dns-query/?dns=AAAB", Err(404)),
            ("PUT /dns-query", Err(405)),
            ("CONNECT /dns-query", Err(405)),
            ("POST /", Err(404)),
        ] {
            check(line, None, expected);
        }
        check(POST, Some(MEDIA_TYPE), Ok(Asked::InBody));
        check(POST, Some("Application/DNS-Message; charset=utf-8"), Ok(Asked::InBody));
        check(POST, Some("text/plain"), Err(415));
        check(POST, None, Err(415));
    }

    #[test]
    fn a_message_longer_than_one_can_be_is_too_large() {
        let longest = format!("GET /dns-query?dns={}", "A".repeat(65_535 / 3 * 4));
        // 65,535 bytes are 87,380 digits; a URI in hyper's type holds fewer, and the listener's head limit far fewer.
        assert!(hyper::Uri::try_from(&longest[4..]).is_err());
        assert_eq!(in_query(&format!("dns={}", "A".repeat(87_380))).map(|it| it.len()), Ok(65_535));
        assert_eq!(in_query(&format!("dns={}", "A".repeat(87_384))).unwrap_err().status, 413);
    }

    #[test]
    fn a_host_is_needed_in_http_1_1_only() {
        for (version, expected) in
            [(Version::HTTP_11, false), (Version::HTTP_10, true), (Version::HTTP_2, true)]
        {
            let request = Request::builder().version(version).uri("/dns-query?dns=AAAB").body(()).unwrap();
            assert_eq!(read(&request.into_parts().0, "/dns-query").is_ok(), expected, "{version:?}");
        }
    }
}
