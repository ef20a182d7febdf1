//! The request's target as an absolute URI, and `Host` in agreement with it.
//!
//! The gate below hyper has refused what can be read in two ways; what is left here is to make one form of it.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::uri::{self, Parts, PathAndQuery};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::arrival::Peer;
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
///
/// `peer` has the address that was asked, for HTTP/1.0 without `Host` (RFC 9112 §3.3). Its scheme is that of the connection, and
/// `scheme` that of the client. Behind a proxy they may differ: some proxies write the one into their targets, some the other.
pub(super) fn absolute(
    uri: &Uri,
    headers: &mut HeaderMap,
    Peer { local, scheme: hop, .. }: Peer,
    scheme: Scheme,
) -> Result<Uri, Misdirected> {
    let is_one = |asked: &str| [hop, scheme].iter().any(|it| asked.eq_ignore_ascii_case(it.as_str()));
    if uri.scheme_str().is_some_and(|asked| !is_one(asked)) {
        return Err(Misdirected::Scheme);
    }
    let told = headers.get(header::HOST);
    let host = match (told, uri.authority()) {
        (Some(host), _) => normal(host.to_str().map_err(|_| Misdirected::NotUri)?, scheme),
        (None, Some(authority)) => normal(authority.as_str(), scheme),
        (None, None) => {
            let local = SocketAddr::new(local.ip().to_canonical(), local.port()).to_string();
            normal(&local, scheme).into_owned().into()
        }
    };
    let mut parts = Parts::default();
    parts.scheme = Some(if scheme == Scheme::Https { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    parts.authority = Some(host.parse().map_err(|_| Misdirected::NotUri)?);
    parts.path_and_query =
        Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    let is_told_so = matches!(told, Some(told) if *told == *host);
    if !is_told_so || headers.get_all(header::HOST).iter().count() > 1 {
        let host = HeaderValue::try_from(&*host).map_err(|_| Misdirected::NotUri)?;
        headers.insert(header::HOST, host);
    }
    Uri::from_parts(parts).map_err(|_| Misdirected::NotUri)
}

/// An absolute URI with another target, in origin form.
pub(super) fn beside(uri: &Uri, target: &str) -> Option<Uri> {
    let mut parts = Parts::default();
    parts.scheme = uri.scheme().cloned();
    parts.authority = uri.authority().cloned();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// Lower case, without dots of the root at its end (RFC 3986 §3.2.2), which names the same host; the port in digits without
/// leading zeros, and left out if it is the scheme's own or empty (RFC 9110 §4.2.3). Another port is another origin (§4.3.1),
/// and its applications write it into what they answer: it stays.
fn normal(authority: &str, scheme: Scheme) -> Cow<'_, str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    // All of them, or the key, which takes one off, would be that of a host whose name the origin is not told.
    let bare = host.trim_end_matches('.');
    let (host, has_root) = if bare.is_empty() { (host, false) } else { (bare, bare.len() < host.len()) };
    let is_small = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    let small = || if is_small { Cow::from(host) } else { host.to_ascii_lowercase().into() };
    match port.trim_start_matches('0') {
        rest if rest == scheme.port() => small(),
        "" if port.is_empty() => small(),
        "" => format!("{}:0", small()).into(),
        rest if rest == port && is_small && !has_root => authority.into(),
        rest => format!("{}:{rest}", small()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, host: Option<&'static str>, expected: Result<&str, Misdirected>) {
        check_over((Scheme::Http, Scheme::Http), target, host, expected);
    }

    fn peer(local: &str, scheme: Scheme) -> Peer {
        Peer { client: [192, 0, 2, 1].into(), local: local.parse().unwrap(), scheme }
    }

    /// `hop` is the connection's scheme.
    fn check_over(
        (hop, scheme): (Scheme, Scheme),
        target: &str,
        host: Option<&'static str>,
        expected: Result<&str, Misdirected>,
    ) {
        let mut headers = HeaderMap::new();
        headers.extend(host.map(|host| (header::HOST, HeaderValue::from_static(host))));
        let uri = absolute(&target.parse().unwrap(), &mut headers, peer("127.0.0.1:8080", hop), scheme);
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
        let mapped = peer("[::ffff:192.0.2.1]:80", Scheme::Http);
        let uri = absolute(&"/a".parse().unwrap(), &mut HeaderMap::new(), mapped, Scheme::Http);
        assert_eq!(uri.unwrap(), "http://192.0.2.1/a");
        check("/a", Some("[::1]:81"), Ok("http://[::1]:81/a"));
        check("https://x.test/", Some("x.test"), Err(Misdirected::Scheme));
    }

    #[test]
    fn a_target_has_the_scheme_that_the_client_used() {
        let secure = (Scheme::Https, Scheme::Https);
        for host in ["x.test", "X.test:443", "x.test:"] {
            check_over(secure, "/a", Some(host), Ok("https://x.test/a"));
        }
        check_over(secure, "/a", Some("x.test:80"), Ok("https://x.test:80/a"));
        check_over(secure, "https://x.test/a", None, Ok("https://x.test/a"));
        check_over(secure, "HTTPS://x.test/a", None, Ok("https://x.test/a"));
        check_over(secure, "http://x.test/a", None, Err(Misdirected::Scheme));
    }

    #[test]
    fn a_proxy_may_write_its_own_scheme_or_its_clients() {
        for (hop, scheme) in [(Scheme::Https, Scheme::Http), (Scheme::Http, Scheme::Https)] {
            let expected = format!("{}://x.test/a", scheme.as_str());
            check_over((hop, scheme), "https://x.test/a", None, Ok(&expected));
            check_over((hop, scheme), "http://x.test/a", None, Ok(&expected));
            check_over((hop, scheme), "ftp://x.test/a", None, Err(Misdirected::Scheme));
        }
    }

    #[test]
    fn a_host_has_one_spelling() {
        for host in
            ["x.test", "X.Test", "x.test:", "x.test:80", "x.test:080", "x.test.", "X.Test.:80", "x.test.:"]
        {
            check("/", Some(host), Ok("http://x.test/"));
        }
        check("http://X.test:80/a", None, Ok("http://x.test/a"));
        check("/", Some("x.test:0443"), Ok("http://x.test:443/"));
        check("/", Some("x.test.:443"), Ok("http://x.test:443/"));
        check("/", Some("x.test.."), Ok("http://x.test/"));
        check("/", Some("x.test...:443"), Ok("http://x.test:443/"));
        check("http://x.test./a", None, Ok("http://x.test/a"));
        check("/", Some("x.test:00"), Ok("http://x.test:0/"));
        check("/", Some("[2001:DB8::1]"), Ok("http://[2001:db8::1]/"));
        check("/", Some("[2001:DB8::1]:080"), Ok("http://[2001:db8::1]/"));
    }
}
