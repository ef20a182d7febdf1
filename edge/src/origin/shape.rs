//! A request's form on a connection: HTTP/1.1 has its host in a field, HTTP/2 in the target (RFC 9113 §8.3.1).

use http::header::{self, HeaderName};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri};

use super::body::RequestBody;
use crate::site::OriginAddress;
use crate::site::origin::Way;

/// As HTTP/1.1 has it; also what came back from a connection with HTTP/2, unsent.
pub(super) fn as_own(request: &mut Request<RequestBody>) {
    let Some(authority) = request.uri().authority() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
}

/// As HTTP/2 has it: without the fields that are about a connection (RFC 9113 §8.2.2).
pub(super) fn as_http2(request: &mut Request<RequestBody>, address: &OriginAddress) {
    let told = request.headers_mut().remove(header::HOST);
    let told = told.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = told.or_else(|| address.authority.parse().ok());
    parts.scheme = Some(if matches!(address.way, Way::Tls(_)) { Scheme::HTTPS } else { Scheme::HTTP });
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    for name in OF_CONNECTIONS {
        request.headers_mut().remove(name);
    }
}

const OF_CONNECTIONS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
