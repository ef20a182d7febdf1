//! The request's target as an absolute URI, and `Host` in agreement with it.
//!
//! The gate below hyper has refused what can be read in two ways; what is left here is to make one form of it.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

/// Why a sound request is not for this listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdirected {
    /// `https://` over plain HTTP.
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
            Self::Scheme => "this listener speaks plain HTTP",
            Self::NotUri => "the target is not a URI",
        }
    }
}

/// The target in origin form or absolute form (RFC 9112 §3.2), made absolute; puts a missing `Host` in place.
/// `local` is the address that was asked, for HTTP/1.0 without `Host` (RFC 9112 §3.3).
pub(super) fn absolute(uri: &Uri, headers: &mut HeaderMap, local: SocketAddr) -> Result<Uri, Misdirected> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(Misdirected::Scheme);
    }
    let host = headers.entry(header::HOST).or_insert_with(|| match uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()).expect("an authority is visible ASCII"),
        None => HeaderValue::try_from(local.to_string()).expect("an address is visible ASCII"),
    });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder()
        .scheme("http")
        .authority(host.as_bytes())
        .path_and_query(path)
        .build()
        .map_err(|_| Misdirected::NotUri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, host: Option<&'static str>, expected: Result<&str, Misdirected>) {
        let mut headers = HeaderMap::new();
        headers.extend(host.map(|host| (header::HOST, HeaderValue::from_static(host))));
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        let uri = absolute(&target.parse().unwrap(), &mut headers, local);
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
        check("/a", Some("[::1]:80"), Ok("http://[::1]:80/a"));
        check("https://x.test/", Some("x.test"), Err(Misdirected::Scheme));
    }
}
