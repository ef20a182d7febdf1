//! Clients of a site that is for HTTPS alone: sent there, and told to stay (RFC 6797).

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::answer::Answer;
use super::body::Body;
use super::exchange::Exchange;
use crate::http::head::ResponseHead;
use crate::metrics::Outcome;
use crate::site::sender::Scheme;

/// The port of a URL without one.
const HTTPS_PORT: u16 = 443;

/// The answer to a request that came without TLS, if its site is for HTTPS alone. `port` is where this edge has TLS.
pub(super) fn redirect(exchange: &Exchange<'_>, port: Option<u16>) -> Option<Answer> {
    let Exchange { request, site, .. } = exchange;
    if !site.site.is_sent_to_https(&request.uri) {
        return None;
    }
    let location = HeaderValue::from_str(&target(&request.uri, port)?).ok()?;
    // A client keeps the method of 308 (RFC 9110 §15.4.9); old ones know only 301.
    let status = match request.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, location);
    let head = ResponseHead { status, headers };
    Some(Answer { head, body: Body::empty(), outcome: Outcome::Redirect, why: "https-only", freshness: None })
}

/// The same URL over HTTPS. A client that named no port is sent to HTTPS's own: whatever stands before us hands it on.
fn target(uri: &Uri, port: Option<u16>) -> Option<String> {
    let authority = uri.authority()?;
    let port = authority.port().and(port).filter(|port| *port != HTTPS_PORT);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some(format!("https://{}{port}{path}", authority.host()))
}

/// Tells a browser to ask this host over HTTPS alone from now on; over HTTP it must not be told (RFC 6797 §7.2).
pub(super) fn stay(exchange: &Exchange<'_>, headers: &mut HeaderMap) {
    let Some(age) = exchange.site.site.https_only else { return };
    if exchange.request.uri.scheme_str() == Some(Scheme::Https.as_str()) {
        let value = format!("max-age={}", age.as_secs());
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_str(&value).expect("digits"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_same_url_at_the_port_of_tls() {
        let check = |uri: &'static str, port: Option<u16>, expected: &str| {
            assert_eq!(target(&Uri::from_static(uri), port).as_deref(), Some(expected), "{uri} {port:?}");
        };
        check("http://a.test/b?c=d", Some(8443), "https://a.test/b?c=d");
        check("http://a.test/b?c=d", None, "https://a.test/b?c=d");
        check("http://a.test:8080/", Some(8443), "https://a.test:8443/");
        check("http://a.test:8080/", Some(443), "https://a.test/");
        check("http://a.test:8080/", None, "https://a.test/");
        check("http://[2001:db8::1]:8080/", Some(8443), "https://[2001:db8::1]:8443/");
    }
}
