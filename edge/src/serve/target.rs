//! The request's target as an absolute URI, and `Host` in agreement with it.
//!
//! The gate below hyper has refused what can be read in two ways; what is left here is to make one form of it.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use crate::site::sender::Scheme;

/// Why a sound request is not for this listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdirected {
    /// Another scheme than the request was made over, such as `https://` over plain HTTP.
    Scheme,
    /// The target is no URI, for all that it has only allowed characters.
    NotUri,
}

impl Misdirected {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Scheme => StatusCode::MISDIRECTED_REQUEST,
            Self::NotUri => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Scheme => "the target has another scheme than the connection",
            Self::NotUri => "the target is not a URI",
        }
    }
}

/// The target in origin form or absolute form (RFC 9112 §3.2), made absolute; puts a missing `Host` in place, and any
/// in the one spelling that the key has, so that the origin cannot answer differently to what shares a key.
/// `local` is the address that was asked, for HTTP/1.0 without `Host` (RFC 9112 §3.3).
pub(super) fn absolute(
    uri: &Uri,
    headers: &mut HeaderMap,
    local: SocketAddr,
    scheme: Scheme,
) -> Result<Uri, Misdirected> {
    if uri.scheme_str().is_some_and(|asked| asked != scheme.as_str()) {
        return Err(Misdirected::Scheme);
    }
    let host = match (headers.get(header::HOST), uri.authority()) {
        (Some(host), _) => normal(host.to_str().map_err(|_| Misdirected::NotUri)?, scheme),
        (None, Some(authority)) => normal(authority.as_str(), scheme),
        (None, None) => normal(&SocketAddr::new(local.ip().to_canonical(), local.port()).to_string(), scheme),
    };
    let host = HeaderValue::try_from(host).map_err(|_| Misdirected::NotUri)?;
    headers.insert(header::HOST, host.clone());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder()
        .scheme(scheme.as_str())
        .authority(host.as_bytes())
        .path_and_query(path)
        .build()
        .map_err(|_| Misdirected::NotUri)
}

/// Lower case; the port in digits without leading zeros, and left out if it is the scheme's own or empty
/// (RFC 9110 §4.2.3).
fn normal(authority: &str, scheme: Scheme) -> String {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    let host = host.to_ascii_lowercase();
    match port.trim_start_matches('0') {
        port if port == scheme.port() => host,
        "" if port.is_empty() => host,
        "" => format!("{host}:0"),
        port => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, host: Option<&'static str>, expected: Result<&str, Misdirected>) {
        check_over(Scheme::Http, target, host, expected);
    }

    fn check_over(
        scheme: Scheme,
        target: &str,
        host: Option<&'static str>,
        expected: Result<&str, Misdirected>,
    ) {
        let mut headers = HeaderMap::new();
        headers.extend(host.map(|host| (header::HOST, HeaderValue::from_static(host))));
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        let uri = absolute(&target.parse().unwrap(), &mut headers, local, scheme);
        assert_eq!(uri.clone().map(|uri| uri.to_string()), expected.map(str::to_owned));
        if let Ok(uri) = uri {
            assert_eq!(headers[header::HOST], uri.authority().unwrap().as_str());
        }
    }

    #[test]
    fn every_form_of_target_becomes_one_absolute_uri() {
        check("/a?b", Some("x.test"), Ok("http://x.test/a?b"));
        check("/", Some("x.test:81"), Ok("http://x.test:81/"));
        check("http://x.test/a", Some("x.test"), Ok("http://x.test/a"));
        check("http://x.test", Some("x.test"), Ok("http://x.test/"));
        check("http://x.test/a", None, Ok("http://x.test/a"));
        check("/a", None, Ok("http://127.0.0.1:8080/a"));
        let mapped = "[::ffff:192.0.2.1]:80".parse().unwrap();
        let uri = absolute(&"/a".parse().unwrap(), &mut HeaderMap::new(), mapped, Scheme::Http);
        assert_eq!(uri.unwrap(), "http://192.0.2.1/a");
        check("/a", Some("[::1]:81"), Ok("http://[::1]:81/a"));
        check("https://x.test/", Some("x.test"), Err(Misdirected::Scheme));
    }

    #[test]
    fn a_target_has_the_scheme_that_the_client_used() {
        for host in ["x.test", "X.test:443", "x.test:"] {
            check_over(Scheme::Https, "/a", Some(host), Ok("https://x.test/a"));
        }
        check_over(Scheme::Https, "/a", Some("x.test:80"), Ok("https://x.test:80/a"));
        check_over(Scheme::Https, "https://x.test/a", None, Ok("https://x.test/a"));
        check_over(Scheme::Https, "http://x.test/a", None, Err(Misdirected::Scheme));
    }

    #[test]
    fn a_host_has_one_spelling() {
        for host in ["x.test", "X.Test", "x.test:", "x.test:80", "x.test:080"] {
            check("/", Some(host), Ok("http://x.test/"));
        }
        check("http://X.test:80/a", None, Ok("http://x.test/a"));
        check("/", Some("x.test:0443"), Ok("http://x.test:443/"));
        check("/", Some("x.test:00"), Ok("http://x.test:0/"));
        check("/", Some("[2001:DB8::1]"), Ok("http://[2001:db8::1]/"));
        check("/", Some("[2001:DB8::1]:080"), Ok("http://[2001:db8::1]/"));
    }
}
