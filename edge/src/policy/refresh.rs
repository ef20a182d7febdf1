//! The request that refreshes what a client was just given stale (RFC 5861 §3).

use http::{Method, header};

use super::headers::origin::CONDITIONS;
use super::{Content, Entry};
use crate::http::head::RequestHead;

/// The request that refreshes `entry` after it was served stale to `request`: a GET for all who may use it.
/// The method, range, conditions and wishes were its client's, and its client has its answer.
pub fn refresh(request: &RequestHead, entry: &Entry) -> RequestHead {
    let mut headers = request.headers.clone();
    for name in CONDITIONS.iter().chain(&[header::CACHE_CONTROL, header::PRAGMA]) {
        headers.remove(name);
    }
    if let Content::Part(part) = entry.content {
        headers.insert(header::RANGE, part.range());
    }
    RequestHead { method: Method::GET, uri: request.uri.clone(), headers }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{stored, stored_response};
    use super::*;
    use crate::http::testing::{get, request, response};

    fn check(asking: &RequestHead, entry: &Entry, expected: &[(&str, &str)]) {
        let asked = refresh(asking, entry);
        assert_eq!((asked.method, &asked.uri), (Method::GET, &asking.uri));
        let found: Vec<_> =
            asked.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_refresh_asks_for_what_is_stored_whoever_caused_it() {
        let whole = stored(&[("etag", "\"a\"")]);
        let variant = ("accept-language", "de");
        check(&request("HEAD", "http://a.example/", &[variant]), &whole, &[variant]);
        for own in [
            ("range", "bytes=0-4"),
            ("if-range", "\"a\""),
            ("if-match", "\"zz\""),
            ("if-none-match", "*"),
            ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("cache-control", "no-store"),
            ("pragma", "no-cache"),
        ] {
            check(&get(&[variant, own]), &whole, &[variant]);
        }
        let head = response(206, &[("content-range", "bytes 0-4/10"), ("cache-control", "max-age=1")]);
        let part = stored_response(&get(&[]), &head, 5);
        check(&get(&[("range", "bytes=1-2")]), &part, &[("range", "bytes=0-4")]);
        check(&request("HEAD", "http://a.example/", &[]), &part, &[("range", "bytes=0-4")]);
    }
}
