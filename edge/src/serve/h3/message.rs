//! Messages as HTTP/3 has them (RFC 9114 §4.3), made what the rest of the edge knows, and back. Pure.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::frame;
use super::qpack;
use crate::http::head::RequestHead;
use crate::http::upgrade;
use crate::serve::h1::gate::head::one_spelling;

/// A request's head.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) head: RequestHead,
    /// Bytes of the body, if the client says so.
    pub(super) length: Option<u64>,
    /// The protocol that the stream is asked to carry (RFC 9220); then the method is GET, as it is over HTTP/1.1.
    pub(super) protocol: Option<HeaderValue>,
}

/// Why a field section is no request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsound {
    /// The section is none: the connection is at fault.
    Broken,
    /// It holds more than a head may.
    TooLong,
    /// RFC 9114 §4.1.2: malformed.
    Malformed,
    /// The target cannot be one.
    BadTarget,
}

#[derive(Default)]
struct Parts {
    method: Option<Vec<u8>>,
    scheme: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    protocol: Option<Vec<u8>>,
    headers: HeaderMap,
    is_malformed: bool,
}

/// Reads the head of a request; at most `most` bytes of fields.
pub(super) fn request(section: &[u8], most: usize) -> Result<Message, Unsound> {
    let mut parts = Parts::default();
    qpack::decode(section, most, |name, value| parts.take(name, value)).map_err(|fault| match fault {
        qpack::Fault::Broken => Unsound::Broken,
        qpack::Fault::TooLong => Unsound::TooLong,
    })?;
    parts.message()
}

impl Parts {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let taken = match name {
            b":method" => once(&mut self.method, value, &self.headers),
            b":scheme" => once(&mut self.scheme, value, &self.headers),
            b":authority" => once(&mut self.authority, value, &self.headers),
            b":path" => once(&mut self.path, value, &self.headers),
            b":protocol" => once(&mut self.protocol, value, &self.headers),
            // A map of fields holds some thousands.
            _ => field(name, value)
                .and_then(|(name, value)| self.headers.try_append(name, value).ok())
                .map(|_| ()),
        };
        self.is_malformed |= taken.is_none();
    }

    fn message(self) -> Result<Message, Unsound> {
        if self.is_malformed {
            return Err(Unsound::Malformed);
        }
        let method = self.method.and_then(|method| Method::from_bytes(&method).ok());
        let mut method = method.ok_or(Unsound::Malformed)?;
        if self.protocol.is_some() && method != Method::CONNECT {
            return Err(Unsound::Malformed);
        }
        let protocol = self.protocol.as_deref().and_then(upgrade::of_stream);
        if protocol.is_some() {
            method = Method::GET;
        }
        let length = length(&self.headers)?;
        let authority = self.authority.map(|text| Authority::from_maybe_shared(Bytes::from(text)));
        let authority = authority.transpose().map_err(|_| Unsound::BadTarget)?;
        let mut uri = http::uri::Parts::default();
        if method == Method::CONNECT && self.protocol.is_none() {
            // §4.4: no :scheme and no :path.
            if self.scheme.is_some() || self.path.is_some() || authority.is_none() {
                return Err(Unsound::Malformed);
            }
        } else {
            // The connection is encrypted: another scheme is another server's.
            if !self.scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https")) {
                return Err(Unsound::Malformed);
            }
            let path = self.path.filter(|path| !path.is_empty()).ok_or(Unsound::Malformed)?;
            // An extended CONNECT has a path like any GET, whether its protocol is known or not.
            let spelled_for = if self.protocol.is_some() { &Method::GET } else { &method };
            let path = one_spelling(spelled_for.as_str().as_bytes(), &path).ok_or(Unsound::BadTarget)?;
            let path = PathAndQuery::from_maybe_shared(Bytes::from(path.into_owned()));
            uri.path_and_query = Some(path.map_err(|_| Unsound::BadTarget)?);
            // Without an authority the target is in origin form, and Host says who is meant.
            uri.scheme = authority.is_some().then_some(Scheme::HTTPS);
        }
        uri.authority = authority;
        let uri = Uri::from_parts(uri).map_err(|_| Unsound::BadTarget)?;
        Ok(Message { head: RequestHead { method, uri, headers: self.headers }, length, protocol })
    }
}

/// §4.3: a pseudo-field stands once, and before all fields.
fn once(slot: &mut Option<Vec<u8>>, value: &[u8], headers: &HeaderMap) -> Option<()> {
    (slot.is_none() && headers.is_empty()).then(|| *slot = Some(value.to_vec()))
}

/// A field that may be in a message (§4.2, §10.3).
fn field(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    if name.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let name = HeaderName::from_bytes(name).ok()?;
    let is_of_connection = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(&name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection");
    let is_te = name == header::TE && value != b"trailers";
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    if is_of_connection || is_te || is_space(value.first()) || is_space(value.last()) {
        return None;
    }
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, Unsound> {
    let mut written = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = written.next() else { return Ok(None) };
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let sound = Some(first).filter(|first| written.next().is_none() && is_number(first.as_bytes()));
    let length = sound.and_then(|text| text.to_str().ok()?.parse().ok());
    length.map(Some).ok_or(Unsound::Malformed)
}

/// Whether a field section may be trailers (§4.1): fields, and no pseudo-fields.
pub(super) fn trailers(section: &[u8], most: usize) -> Result<HeaderMap, Unsound> {
    let (mut fields, mut is_sound) = (HeaderMap::new(), true);
    let read = qpack::decode(section, most, |name, value| match field(name, value) {
        Some((name, value)) => is_sound &= fields.try_append(name, value).is_ok(),
        None => is_sound = false,
    });
    match read {
        Ok(()) if is_sound => Ok(fields),
        Ok(()) => Err(Unsound::Malformed),
        Err(qpack::Fault::Broken) => Err(Unsound::Broken),
        Err(qpack::Fault::TooLong) => Err(Unsound::TooLong),
    }
}

/// A HEADERS frame for a response's head.
pub(super) fn response(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let status = [(":status", status.as_str().as_bytes())].into_iter();
    frame::headers(&qpack::encode(status.chain(lines(headers))))
}

/// A HEADERS frame for trailers.
pub(super) fn trailing(headers: &HeaderMap) -> Bytes {
    frame::headers(&qpack::encode(lines(headers)))
}

fn lines(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];

    fn read(fields: &[(&str, &str)]) -> Result<Message, Unsound> {
        let section = qpack::encode(fields.iter().map(|(name, value)| (*name, value.as_bytes())));
        request(&section, 16 << 10)
    }

    /// The plain request with these pseudo-fields instead, or without them if they are empty, and with more.
    fn with(changes: &[(&str, &str)], more: &[(&str, &str)]) -> Result<Message, Unsound> {
        let changed = PLAIN.map(|(name, value)| {
            let change = changes.iter().find(|(changed, _)| *changed == name);
            (name, change.map_or(value, |(_, value)| *value))
        });
        let kept: Vec<_> =
            changed.into_iter().filter(|(_, value)| *value != "-").chain(more.iter().copied()).collect();
        read(&kept)
    }

    #[track_caller]
    fn check(changes: &[(&str, &str)], more: &[(&str, &str)], expected: Result<&str, Unsound>) {
        let read = with(changes, more);
        let shown = read.map(|message| message.head.uri.to_string());
        assert_eq!(shown, expected.map(ToOwned::to_owned), "{changes:?} {more:?}");
    }

    #[test]
    fn a_request_has_its_pseudo_fields_once_and_first() {
        let malformed = Err(Unsound::Malformed);
        check(&[], &[], Ok("https://a.test/"));
        check(&[(":authority", "-")], &[("host", "a.test")], Ok("/"));
        check(&[(":path", "*"), (":method", "OPTIONS")], &[], Ok("https://a.test*"));
        for name in [":method", ":scheme", ":path"] {
            check(&[(name, "-")], &[], malformed);
            check(&[(name, "")], &[], malformed);
        }
        check(&[], &[(":path", "/x")], malformed);
        check(&[(":path", "-")], &[("x", "y"), (":path", "/")], malformed);
        check(&[], &[(":status", "200")], malformed);
        check(&[(":scheme", "http")], &[], malformed);
        check(&[(":method", "G T")], &[], malformed);
        check(&[(":method", "CONNECT")], &[], malformed);
        check(&[(":method", "CONNECT"), (":scheme", "-"), (":path", "-")], &[], Ok("a.test"));
    }

    #[test]
    fn fields_of_a_connection_and_fields_that_none_may_send_are_malformed() {
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("Accept", "x"),
            ("a b", "x"),
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("x", " a"),
            ("x", "a\t"),
            ("", "x"),
            ("content-length", "+5"),
            ("content-length", ""),
            ("content-length", "18446744073709551616"),
        ] {
            check(&[], &[(name, value)], Err(Unsound::Malformed));
        }
        check(&[], &[("content-length", "5"), ("content-length", "5")], Err(Unsound::Malformed));
        check(&[], &[("te", "trailers"), ("x", ""), ("x", "é")], Ok("https://a.test/"));
        assert_eq!(with(&[], &[("content-length", "5")]).unwrap().length, Some(5));
    }

    #[test]
    fn a_target_has_the_one_spelling_that_it_has_in_http_1() {
        check(&[(":path", "/a\"b|?c=<d>")], &[], Ok("https://a.test/a%22b%7C?c=%3Cd%3E"));
        for path in ["x", "//a b", "/a#b", "/a\\b", "https://b.test/", "*", "/\r\n"] {
            check(&[(":path", path)], &[], Err(Unsound::BadTarget));
        }
    }

    #[test]
    fn trailers_are_fields_alone() {
        let section = |fields: &[(&str, &str)]| {
            qpack::encode(fields.iter().map(|(name, value)| (*name, value.as_bytes())))
        };
        assert_eq!(trailers(&section(&[("a", "b")]), 100).unwrap()["a"], "b");
        assert_eq!(trailers(&section(&[(":path", "/")]), 100), Err(Unsound::Malformed));
        assert_eq!(trailers(&section(&[("a", &"b".repeat(100))]), 100), Err(Unsound::TooLong));
    }
}
