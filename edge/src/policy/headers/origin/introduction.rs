//! The fields by which the edge tells an origin about the client and about itself.

use std::net::IpAddr;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use super::{CDN_LOOP, Hop};
use crate::http::digits::decimal;
use crate::http::head::RequestHead;
use crate::policy::headers::version_name;

/// The fields for a request, in their order, without those whose value no field may have.
///
/// `Forwarded` (RFC 7239) holds what others tell one by one, so all are parts of one text: every miss writes it.
pub(super) fn of(request: &RequestHead, hop: &Hop<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let scheme = request.uri.scheme_str().unwrap_or("http");
    let host = request.uri.authority().map_or("", |authority| authority.as_str());
    let mut text = Vec::with_capacity(MOST_OTHER_BYTES + host.len() + scheme.len() + hop.name.len());
    let client = match hop.client {
        IpAddr::V4(address) => {
            text.extend_from_slice(b"for=");
            let from = text.len();
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push(b'.');
                }
                decimal(octet.into(), &mut text);
            }
            from..text.len()
        }
        IpAddr::V6(address) => between(&mut text, "for=\"[", &address.to_string(), "]\""),
    };
    let host = between(&mut text, ";host=\"", host, "\"");
    let scheme = between(&mut text, ";proto=", scheme, "");
    let forwarded = 0..scheme.end;
    let version = between(&mut text, "", version_name(hop.version), " ");
    let name = between(&mut text, "", hop.name, "");
    let via = version.start..name.end;
    let text = Bytes::from(text);
    let fields = [
        (HeaderName::from_static("x-forwarded-for"), client),
        (HeaderName::from_static("x-forwarded-proto"), scheme),
        (HeaderName::from_static("x-forwarded-host"), host),
        (header::FORWARDED, forwarded),
        (header::VIA, via),
        (CDN_LOOP, name),
    ];
    let field = |(name, part)| Some((name, HeaderValue::from_maybe_shared(text.slice(part)).ok()?));
    fields.into_iter().filter_map(field).collect()
}

/// The fields that [`of`] gives at most.
pub(super) const FIELDS: usize = 6;

/// At least the bytes of the lines that [`of`] gives.
pub(super) fn most_bytes(request: &RequestHead, hop: &Hop<'_>) -> usize {
    let scheme = request.uri.scheme_str().unwrap_or("http");
    let host = request.uri.authority().map_or("", |authority| authority.as_str());
    // Each of them stands there twice, once in a field of its own.
    MOST_OTHER_BYTES_OF_LINES + 2 * (host.len() + scheme.len() + hop.name.len())
}

/// Names and line ends are 92, the client's address is there twice, and the version and the marks are some 40.
const MOST_OTHER_BYTES_OF_LINES: usize = 256;

/// An IPv6 address has up to 45, the marks around all of it some 40.
const MOST_OTHER_BYTES: usize = 96;

/// Where in the text this part has come to stand.
fn between(text: &mut Vec<u8>, before: &str, part: &str, after: &str) -> Range<usize> {
    text.extend_from_slice(before.as_bytes());
    let from = text.len();
    text.extend_from_slice(part.as_bytes());
    let to = text.len();
    text.extend_from_slice(after.as_bytes());
    from..to
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::http::head::HeadLimits;
    use crate::http::testing::request;

    #[test]
    fn each_field_says_its_part() {
        let limits = HeadLimits { bytes: 8192, target_bytes: 8192, fields: 100 };
        for (client, node) in [
            ("0.10.200.255", "0.10.200.255"),
            ("2001:db8::1", "\"[2001:db8::1]\""),
            ("::ffff:192.0.2.1", "\"[::ffff:192.0.2.1]\""),
        ] {
            let hop =
                Hop { name: "edge-1", client: client.parse().unwrap(), version: Version::HTTP_2, limits };
            let fields = of(&request("GET", "https://a.example:8443/x", &[]), &hop);
            let told: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            let forwarded = format!("for={node};host=\"a.example:8443\";proto=https");
            let expected = [
                ("x-forwarded-for", client),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "a.example:8443"),
                ("forwarded", forwarded.as_str()),
                ("via", "2 edge-1"),
                ("cdn-loop", "edge-1"),
            ];
            assert_eq!(told, expected);
            let bytes: usize =
                told.iter().map(|(name, value)| name.len() + ": \r\n".len() + value.len()).sum();
            let most = most_bytes(&request("GET", "https://a.example:8443/x", &[]), &hop);
            assert!(fields.len() <= FIELDS && bytes <= most && most <= bytes + 256, "{bytes} {most}");
        }
    }
}
