//! The URIs that an unsafe request makes stale (RFC 9111 §4.4), and the URIs that responses name.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Method, Uri, header};

use crate::http::head::{RequestHead, ResponseHead};
use crate::http::spelling;
use crate::site::tags;

/// The URIs whose stored responses must be dropped after this exchange: none for safe methods and error responses,
/// else the target and any `Location` and `Content-Location` of the same origin. Call it before the response itself
/// is stored.
pub fn invalidates(request: &RequestHead, response: &ResponseHead) -> Vec<Uri> {
    let succeeded = response.status.is_success() || response.status.is_redirection();
    if is_safe(&request.method) || !succeeded {
        return Vec::new();
    }
    let mut uris = vec![request.uri.clone()];
    if matches!(request.method.as_str(), "MOVE" | "COPY") {
        // RFC 4918 §10.3: what they write is there, as what a PUT writes is at its target.
        // With two of them nobody knows which an origin took: both go.
        let written = named(request, &request.headers, &DESTINATION);
        uris.extend(written.filter(|uri| same_origin(uri, &request.uri)));
    }
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        // RFC 9111 §4.4: another origin's URIs are not for this one to drop.
        uris.extend(named(request, &response.headers, &name).filter(|uri| same_origin(uri, &request.uri)));
    }
    uris
}

/// The URI that a MOVE or COPY writes to (RFC 4918 §10.3).
pub const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// The URI that the [`DESTINATION`] of a request names, if it is of the same origin and the only one.
pub fn destination(request: &RequestHead) -> Option<Uri> {
    let mut named = named(request, &request.headers, &DESTINATION);
    named.next().filter(|uri| same_origin(uri, &request.uri) && named.next().is_none())
}

/// The groups of responses of this origin that the exchange invalidates (RFC 9875 §3): what the response to a safe request
/// says of that is ignored, and so is what an error says.
pub fn invalidated_groups(request: &RequestHead, response: &ResponseHead) -> Vec<String> {
    let succeeded = response.status.is_success() || response.status.is_redirection();
    if is_safe(&request.method) || !succeeded { Vec::new() } else { tags::invalidated(&response.headers) }
}

/// RFC 9110 §9.2.1, and the safe methods of the registry. An unknown method is unsafe.
pub fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" | "REPORT" | "SEARCH" | "QUERY" | "PRI"
    )
}

/// Whether two absolute URIs have the same scheme, host and port (RFC 9110 §4.3.1).
pub fn same_origin(a: &Uri, b: &Uri) -> bool {
    // The dot of the root at its end names the same host.
    let bare = |host: &str| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host = |uri: &Uri| uri.host().map(bare);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// `reference` against an absolute `base` (RFC 3986 §5.2); none if it is not one that HTTP can ask for.
pub fn resolve(base: &Uri, reference: &[u8]) -> Option<Uri> {
    // Applications write what they were asked for, or mean, and clients ask for it in this spelling.
    let reference = spelling::of_reference(reference.trim_ascii());
    let reference = std::str::from_utf8(&reference).ok()?.split('#').next()?;
    if has_scheme(reference) {
        return reference.parse().ok().filter(|uri: &Uri| uri.authority().is_some());
    }
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{}://{rest}", base.scheme_str()?).parse().ok();
    }
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(relative(base, reference).parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

fn named<'a>(
    request: &'a RequestHead,
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Uri> + use<'a> {
    headers.get_all(name).into_iter().filter_map(|value| resolve(&request.uri, value.as_bytes()))
}

fn port(uri: &Uri) -> Option<u16> {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    uri.port_u16().or(Some(default))
}

fn has_scheme(reference: &str) -> bool {
    let colon = reference.find(':');
    let first = reference.find(['/', '?']);
    colon.is_some_and(|colon| first.is_none_or(|first| colon < first))
}

/// The path and query of a reference without scheme and authority.
fn relative(base: &Uri, reference: &str) -> String {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let (path, query) = match path {
        "" => (base.path().to_owned(), query.or(base.query())),
        path if path.starts_with('/') => (path.to_owned(), query),
        path => (format!("{}/{path}", base.path().rsplit_once('/').map_or("", |(folder, _)| folder)), query),
    };
    let path = crate::http::path::without_dot_segments(&path);
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::testing::{request, response};

    fn check(method: &str, status: u16, fields: &[(&str, &str)], expected: &[&str]) {
        let found = invalidates(&request(method, "http://a.example/d/p?q", &[]), &response(status, fields));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{method} {status} {fields:?}");
    }

    #[test]
    fn unsafe_and_unknown_methods_invalidate_when_they_succeed() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"] {
            for status in [200, 204, 303] {
                check(method, status, &[], &["http://a.example/d/p?q"]);
            }
            for status in [400, 404, 500, 599, 999] {
                check(method, status, &[], &[]);
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            check(method, 200, &[("location", "/x")], &[]);
        }
    }

    #[test]
    fn locations_of_the_same_origin_go_too() {
        let target = "http://a.example/d/p?q";
        check(
            "POST",
            201,
            &[("location", "/x"), ("content-location", "y?z")],
            &[target, "http://a.example/x", "http://a.example/d/y?z"],
        );
        check("POST", 201, &[("location", "http://A.example:80/x")], &[target, "http://A.example:80/x"]);
        check("POST", 201, &[("location", "http://a.example./x")], &[target, "http://a.example./x"]);
        for foreign in [
            "http://b.example/x",
            "https://a.example/x",
            "http://a.example:81/x",
            "//b.example/x",
            "mailto:a@b",
            "http://",
        ] {
            check("POST", 201, &[("location", foreign)], &[target]);
        }
    }

    #[test]
    fn each_destination_of_the_same_origin_goes_also_where_there_are_two() {
        let target = "http://a.example/d/p?q";
        for (fields, expected) in [
            (&["/x"][..], &[target, "http://a.example/x"][..]),
            (&["/x", "y"], &[target, "http://a.example/x", "http://a.example/d/y"]),
            (&["http://b.example/x", "/x"], &[target, "http://a.example/x"]),
        ] {
            let fields: Vec<_> = fields.iter().map(|value| ("destination", *value)).collect();
            for (method, expected) in [("MOVE", expected), ("COPY", expected), ("PUT", &[target])] {
                let asked = request(method, target, &fields);
                let found: Vec<String> =
                    invalidates(&asked, &response(201, &[])).iter().map(ToString::to_string).collect();
                assert_eq!(found, expected, "{method} {fields:?}");
            }
        }
    }

    #[test]
    fn references_resolve_as_rfc_3986_says() {
        let base: Uri = "http://a.example/b/c/d?q".parse().unwrap();
        for (reference, expected) in [
            ("g", "http://a.example/b/c/g"),
            ("./g", "http://a.example/b/c/g"),
            ("g/", "http://a.example/b/c/g/"),
            ("/g", "http://a.example/g"),
            ("//g", "http://g/"),
            ("?y", "http://a.example/b/c/d?y"),
            ("g?y#s", "http://a.example/b/c/g?y"),
            ("", "http://a.example/b/c/d?q"),
            ("..", "http://a.example/b/"),
            ("../g", "http://a.example/b/g"),
            ("../../../g", "http://a.example/g"),
            ("g:80/x", ""),
            ("/\u{dc}ber uns?{a|b}", "http://a.example/%C3%9Cber%20uns?%7Ba%7Cb%7D"),
            ("\u{dc}", "http://a.example/b/c/%C3%9C"),
            ("http://a.example/\u{dc}", "http://a.example/%C3%9C"),
            ("//a.example/\u{dc}", "http://a.example/%C3%9C"),
            ("http://\u{fc}.example/", ""),
            ("g/x:y", "http://a.example/b/c/g/x:y"),
        ] {
            let found = resolve(&base, reference.as_bytes()).map(|uri| uri.to_string()).unwrap_or_default();
            assert_eq!(found, expected, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(reference in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = resolve(&"http://a.example/b/c/d?q".parse().unwrap(), &reference);
        }
    }
}
