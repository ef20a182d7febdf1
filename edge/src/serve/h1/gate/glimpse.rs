//! A look at a head that was refused, for the log: its method, its target and its host as far as they can be told.
//!
//! Nothing is decided by it. Pure: bytes in, a value out.

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::http::head::RequestHead;

/// So many bytes of a refused head are kept to be looked at.
pub(super) const MOST_BYTES: usize = 2 << 10;

/// Of the first bytes of a head, whatever they are. Its method is `-` and its target `/` where there is none; bytes that
/// no URL holds are percent-encoded in the target. Of its fields it has the first `Host`.
pub(super) fn of(head: &[u8]) -> RequestHead {
    let mut lines =
        head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).skip_while(|line| line.is_empty());
    let mut words = lines.next().unwrap_or_default().split(|&byte| byte == b' ');
    let method = words.next().and_then(|word| Method::from_bytes(word).ok());
    let uri = words.next().map(encoded).and_then(|target| target.parse().ok());
    let host = lines.take_while(|line| !line.is_empty()).find_map(host);
    RequestHead {
        method: method.unwrap_or_else(|| Method::from_bytes(b"-").expect("a token")),
        uri: uri.unwrap_or_else(|| Uri::from_static("/")),
        headers: HeaderMap::from_iter(host.map(|host| (header::HOST, host))),
    }
}

fn host(line: &[u8]) -> Option<HeaderValue> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let is_it = line[..colon].trim_ascii().eq_ignore_ascii_case(b"host");
    HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok().filter(|_| is_it)
}

fn encoded(target: &[u8]) -> String {
    let is_good = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
    let each = target
        .iter()
        .map(|&byte| if is_good(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &[u8], method: &str, target: &str, host: Option<&str>) {
        let found = of(head);
        let shown = found.headers.get("host").map(|host| host.to_str().unwrap());
        let expected = (method, target, host);
        assert_eq!((found.method.as_str(), found.uri.to_string().as_str(), shown), expected, "{head:?}");
    }

    #[test]
    fn it_tells_what_can_be_told_of_any_bytes() {
        check(b"GET /a HTTP/1.1\r\nHost: h.test\r\nHost: i.test\r\n\r\n", "GET", "/a", Some("h.test"));
        check(
            b"POST /b\x01\xff?q=\"1\" HTTP/1.1\r\nX: 1\r\nhOsT : h:80\r\n",
            "POST",
            "/b%01%FF?q=%221%22",
            Some("h:80"),
        );
        check(b"\r\n\r\nGET http://h.test/x HTTP/1.1\nHost: i\n", "GET", "http://h.test/x", Some("i"));
        check(b"GET /c HTTP/1.1\r\n\r\nHost: behind.test\r\n", "GET", "/c", None);
        check(b"NONSENSE\r\n\r\n", "NONSENSE", "/", None);
        check(b"\x16\x03\x01\x00\x7b\x01", "-", "/", None);
        check(b"G@T /\r\nHost: \x01\r\n", "-", "/", None);
        check(b"GET /abc", "GET", "/abc", None);
        check(b"GET  /two-spaces HTTP/1.1\r\n", "GET", "/", None);
        check(b"", "-", "/", None);
    }
}
