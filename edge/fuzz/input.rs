//! Heads from a fuzzer's bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use verge_edge::http::head::{RequestHead, ResponseHead};

/// The time of every test: 2001-09-09.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// One field with as many lines as `bytes` has; lines that no field can have are left out.
pub fn field(name: &'static str, bytes: &[u8]) -> HeaderMap {
    let lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    lines.map(|line| (HeaderName::from_static(name), line)).collect()
}

/// A GET of `uri` with these fields; none if it is no URI with an authority.
pub fn get(uri: &[u8], headers: HeaderMap) -> Option<RequestHead> {
    let uri: http::Uri = std::str::from_utf8(uri).ok()?.parse().ok()?;
    uri.authority()?;
    uri.scheme()?;
    Some(RequestHead { method: Method::GET, uri, headers })
}

/// A response with these fields.
pub fn response(status: StatusCode, headers: HeaderMap) -> ResponseHead {
    ResponseHead { status, headers }
}
