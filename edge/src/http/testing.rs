//! Heads for tests, from data.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::head::{RequestHead, ResponseHead};

/// Second `secs` of the epoch.
pub(crate) fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

pub(crate) fn fields(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

pub(crate) fn request(method: &str, uri: &str, list: &[(&str, &str)]) -> RequestHead {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    RequestHead { method, uri: uri.parse().unwrap(), headers: fields(list) }
}

pub(crate) fn get(list: &[(&str, &str)]) -> RequestHead {
    request("GET", "http://a.example/", list)
}

pub(crate) fn response(status: u16, list: &[(&str, &str)]) -> ResponseHead {
    ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers: fields(list) }
}
