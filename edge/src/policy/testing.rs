//! Heads for the tests of this module, from data.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{Entry, RequestHead, ResponseHead, Rules, freshness};

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

/// A 200 of 100 bytes, stored at second 1000 for `asking`.
pub(crate) fn stored_for(asking: &RequestHead, list: &[(&str, &str)]) -> Entry {
    stored_response(asking, &response(200, list), 100)
}

/// A 200 of 100 bytes, stored at second 1000 for a plain GET.
pub(crate) fn stored(list: &[(&str, &str)]) -> Entry {
    stored_for(&get(&[]), list)
}

/// `response` with a body of `length` bytes, stored at second 1000 for `asking`.
pub(crate) fn stored_response(asking: &RequestHead, response: &ResponseHead, length: u64) -> Entry {
    let lifetime = freshness::lifetime(asking, response, at(1000), &Rules::default(), at(1000));
    Entry::new(asking, response, lifetime, at(1000), at(1000), Some(length))
}
