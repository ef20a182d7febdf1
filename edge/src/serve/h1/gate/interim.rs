//! A 1xx head as it goes on the wire (RFC 9110 §15.2).

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, StatusCode};

/// Whether a server may send it before the final response without having switched protocols. 100 is not: the server
/// says it itself when it reads the body.
#[must_use]
pub fn is_forwarded(status: StatusCode) -> bool {
    status.is_informational() && !matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS)
}

/// Appends the head, without the fields that are for the next hop only or frame a body that a 1xx has not
/// (RFC 9110 §7.6.1 and §8.6).
pub fn write(status: StatusCode, fields: &HeaderMap, out: &mut BytesMut) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in fields.iter().filter(|(name, _)| travels(name, fields)) {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
}

/// The fields of such a head that go on to the client.
#[must_use]
pub fn forwarded(fields: &HeaderMap) -> HeaderMap {
    let travelling = fields.iter().filter(|(name, _)| travels(name, fields));
    let mut forwarded = HeaderMap::new();
    for (name, value) in travelling {
        forwarded.append(name.clone(), value.clone());
    }
    forwarded
}

fn travels(name: &HeaderName, fields: &HeaderMap) -> bool {
    const NAMED: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    !NAMED.contains(name)
        && !matches!(name.as_str(), "keep-alive" | "proxy-connection")
        && !is_listed(name, fields)
}

fn is_listed(name: &HeaderName, fields: &HeaderMap) -> bool {
    let options =
        fields.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_for_one_hop_stay_behind() {
        let mut fields = HeaderMap::new();
        let lines = [
            ("link", "</a.css>; rel=preload"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "2"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("link", "</b.js>"),
        ];
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), value.parse().expect("a field value"));
        }
        let mut out = BytesMut::new();
        write(StatusCode::EARLY_HINTS, &fields, &mut out);
        assert_eq!(out, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>\r\n\r\n");
    }

    #[test]
    fn a_status_without_a_name_keeps_its_space() {
        let mut out = BytesMut::new();
        write(StatusCode::from_u16(199).expect("a status"), &HeaderMap::new(), &mut out);
        assert_eq!(out, "HTTP/1.1 199 \r\n\r\n");
    }

    #[test]
    fn continue_and_switching_are_not_forwarded() {
        let forwarded =
            (100..600).filter(|&code| is_forwarded(StatusCode::from_u16(code).expect("a status")));
        assert!(forwarded.eq(102..200));
    }
}
