//! Which protocols a connection may change to (RFC 9110 §7.8).
//!
//! A change to another version of HTTP, or to TLS, stays between the client and us. Behind it the client could ask the
//! origin for anything, past every rule of the site ("h2c smuggling").

use http::{HeaderMap, HeaderValue, Version, header};

use super::list::elements;

/// The protocols that a request asks for and an origin may be asked for, as `Upgrade` has them; none if there are none.
pub fn asked(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    // RFC 9110 §7.8: an `Upgrade` in HTTP/1.0 is ignored, and so is one that `Connection` does not name.
    if version != Version::HTTP_11 || !names_upgrade(headers) {
        return None;
    }
    let asked: Vec<&[u8]> =
        elements(headers, &header::UPGRADE).filter(|protocol| is_forwarded(protocol)).collect();
    HeaderValue::from_bytes(&asked.join(&b", "[..])).ok().filter(|asked| !asked.is_empty())
}

/// The protocol that a stream of HTTP/2 or HTTP/3 is asked to carry (RFC 8441, RFC 9220), if it is one that has an origin
/// of HTTP/1.1 behind it. Others, such as a proxy for UDP, are not for a cache.
#[must_use]
pub fn of_stream(named: &[u8]) -> Option<HeaderValue> {
    named.eq_ignore_ascii_case(b"websocket").then(|| HeaderValue::from_static("websocket"))
}

/// The protocol that a 101 changes to, if the client asked for it (RFC 9110 §15.2.2).
pub fn agreed(asked: &HeaderValue, response: &HeaderMap) -> Option<HeaderValue> {
    let is_asked = |protocol: &[u8]| {
        let mut asked = asked.as_bytes().split(|&byte| byte == b',');
        asked.any(|one| one.trim_ascii().eq_ignore_ascii_case(protocol))
    };
    let agreed: Vec<&[u8]> = elements(response, &header::UPGRADE).collect();
    let is_sound = names_upgrade(response) && !agreed.is_empty() && agreed.iter().all(|one| is_asked(one));
    is_sound.then(|| HeaderValue::from_bytes(&agreed.join(&b", "[..])).ok()).flatten()
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    elements(headers, &header::CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

fn is_forwarded(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default().trim_ascii();
    let is_token = !name.is_empty() && protocol.iter().all(|byte| byte.is_ascii_graphic());
    is_token && !KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
}

/// Names of HTTP and of TLS as `Upgrade` has them.
const KEPT: [&[u8]; 6] = [b"h2c", b"h2", b"h3", b"http", b"https", b"tls"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_request_asks_for_protocols_by_both_fields() {
        let check = |version, connection, upgrade, expected: Option<&str>| {
            let headers = headers(&[("connection", connection), ("upgrade", upgrade)]);
            let found = asked(version, &headers);
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{connection} {upgrade}");
        };
        let new = Version::HTTP_11;
        check(new, "Upgrade", "websocket", Some("websocket"));
        check(new, "keep-alive, upgrade", "WebSocket", Some("WebSocket"));
        check(new, "upgrade", "tcp, IRC/6.9", Some("tcp, IRC/6.9"));
        check(new, "keep-alive", "websocket", None);
        check(Version::HTTP_10, "upgrade", "websocket", None);
        check(Version::HTTP_2, "upgrade", "websocket", None);
        for kept in ["h2c", "H2C", "HTTP/2.0", "http/3", "TLS/1.0", "h2", "", " , "] {
            check(new, "upgrade, http2-settings", kept, None);
        }
        check(new, "upgrade", "h2c, websocket", Some("websocket"));
    }

    #[test]
    fn a_101_agrees_to_what_was_asked_for_and_to_nothing_else() {
        let check = |answered: &[(&'static str, &'static str)], expected: Option<&str>| {
            let found = agreed(&HeaderValue::from_static("websocket, irc/6.9"), &headers(answered));
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{answered:?}");
        };
        check(&[("connection", "Upgrade"), ("upgrade", "WebSocket")], Some("WebSocket"));
        check(&[("connection", "upgrade"), ("upgrade", "IRC/6.9")], Some("IRC/6.9"));
        check(&[("connection", "upgrade"), ("upgrade", "h2c")], None);
        check(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")], None);
        check(&[("connection", "upgrade")], None);
        check(&[("upgrade", "websocket")], None);
    }
}
