//! The target of a request on a stream of its own, and the bounds of its head (RFC 9113 §8.3, RFC 9114 §4.3).
//!
//! h2 has refused fields of a connection, unknown pseudo-fields and upper case names. This module refuses
//! heads that an origin that speaks HTTP/1.1 could read in two ways, as the gate does for HTTP/1.1.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use crate::http::head::{HeadLimits, RequestHead};
use crate::serve::h1::gate::head::{is_valid_authority, length, looks_like_framing, one_spelling};

/// Why a head is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    NoHost,
    BadHost,
    HostDiffers,
    ManyHosts,
    ManyFields,
    LongTarget,
    /// HTTP/1.1 has no such target.
    BadTarget,
    /// A request over HTTP/2 that names its host by `Host` alone.
    NoAuthority,
    BadValue,
    BadLength,
    ManyLengths,
    LookAlike,
    OtherExpectation,
    /// The connection is for another name, and its certificate is not for this one (RFC 9110 §7.4).
    NotCovered,
}

impl Unfit {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoHost | Self::BadHost | Self::HostDiffers | Self::ManyHosts | Self::BadTarget => {
                StatusCode::BAD_REQUEST
            }
            Self::NoAuthority | Self::BadValue | Self::BadLength | Self::ManyLengths | Self::LookAlike => {
                StatusCode::BAD_REQUEST
            }
            Self::OtherExpectation => StatusCode::EXPECTATION_FAILED,
            Self::ManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::NotCovered => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoHost => "neither :authority nor Host",
            Self::BadHost => "the host is no name or address",
            Self::HostDiffers => ":authority and Host differ",
            Self::ManyHosts => "more than one Host",
            Self::ManyFields => "too many fields",
            Self::LongTarget => "the target is too long",
            Self::BadTarget => "bad request target",
            Self::NoAuthority => "no :authority",
            Self::BadValue => "bad field value",
            Self::BadLength => "bad Content-Length",
            Self::ManyLengths => "more than one Content-Length",
            Self::LookAlike => "field name that looks like a framing field",
            Self::OtherExpectation => "unknown expectation",
            Self::NotCovered => "this connection's certificate is for another host",
        }
    }
}

/// The head, with its host checked: `server_name` is the one that the connection was made for, and `is_covered` tells
/// whether it may carry requests for another.
///
/// # Errors
/// The reason why it is not passed on, and the head as it came.
pub(super) fn read(
    mut head: RequestHead,
    limits: &HeadLimits,
    server_name: Option<&str>,
    is_covered: impl Fn(&str) -> bool,
) -> Result<RequestHead, (Unfit, Box<RequestHead>)> {
    let RequestHead { method, uri, headers } = &head;
    match judge((method, uri, headers), limits, server_name, is_covered) {
        Err(unfit) => Err((unfit, Box::new(head))),
        Ok(spelled) => {
            head.uri = spelled.unwrap_or(head.uri);
            join_cookies(&mut head.headers);
            Ok(head)
        }
    }
}

/// Whether [`read`] would leave such a head as it is, but for its cookies.
pub(in crate::serve) fn is_sound(
    parts: (&Method, &Uri, &HeaderMap),
    limits: &HeadLimits,
    server_name: Option<&str>,
    is_covered: impl Fn(&str) -> bool,
) -> bool {
    judge(parts, limits, server_name, is_covered) == Ok(None)
}

/// The URI with its target in the one spelling that it has in HTTP/1.1, if it has another: a key does not depend on the version, and an
/// origin gets what it would get.
fn judge(
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    limits: &HeadLimits,
    server_name: Option<&str>,
    is_covered: impl Fn(&str) -> bool,
) -> Result<Option<Uri>, Unfit> {
    // RFC 9113 §8.2.3: the crumbs of a Cookie are one field. The limit of a head in bytes bounds them.
    let crumbs = headers.get_all(header::COOKIE).iter().count();
    if headers.len() - crumbs.saturating_sub(1) > limits.fields {
        return Err(Unfit::ManyFields);
    }
    if uri.path_and_query().is_some_and(|path| path.as_str().len() > limits.target_bytes) {
        return Err(Unfit::LongTarget);
    }
    headers.iter().try_for_each(|(name, value)| judge_field(name, value))?;
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Unfit::ManyLengths);
    }
    if method == Method::CONNECT {
        return Ok(None);
    }
    let host = host(uri.authority().map(http::uri::Authority::as_str), headers)?;
    let name = name(host);
    if server_name.is_some_and(|asked| !asked.eq_ignore_ascii_case(name) && !is_covered(name)) {
        return Err(Unfit::NotCovered);
    }
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match one_spelling(method.as_str().as_bytes(), target.as_bytes()).ok_or(Unfit::BadTarget)? {
        Cow::Borrowed(_) => Ok(None),
        Cow::Owned(encoded) => {
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = Some(PathAndQuery::try_from(encoded).map_err(|_| Unfit::BadTarget)?);
            Uri::from_parts(parts).map(Some).map_err(|_| Unfit::BadTarget)
        }
    }
}

/// Judges a field as the gate for HTTP/1.1 judges a line.
fn judge_field(name: &HeaderName, value: &HeaderValue) -> Result<(), Unfit> {
    let (name, value) = (name.as_str(), value.as_bytes());
    if !has_no_blank_ends(value) {
        return Err(Unfit::BadValue);
    }
    match name.len() {
        6 if name == "expect" && !value.eq_ignore_ascii_case(b"100-continue") => Err(Unfit::OtherExpectation),
        14 if name == "content-length" && length(value).is_none() => Err(Unfit::BadLength),
        14 | 17 if looks_like_framing(name.as_bytes()) => Err(Unfit::LookAlike),
        _ => Ok(()),
    }
}

/// RFC 9113 §8.2.1, RFC 9114 §10.3: a value with a blank at an end is malformed. HTTP/1.1 would take the blank off on the way.
fn has_no_blank_ends(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_blank(value.first()) && !is_blank(value.last())
}

/// Whether trailers have values that they may have.
pub(in crate::serve) fn are_sound_trailers(trailers: &HeaderMap) -> bool {
    trailers.values().all(|value| has_no_blank_ends(value.as_bytes()))
}

/// RFC 9113 §8.3.1: a client says by `:authority` whom it means. h2 drops the scheme of a request that has none without a look at it,
/// and does not miss its `:path`. A proxy leaves `:authority` out where its own client spoke HTTP/1.1 (RFC 7540 §8.1.2.3): one
/// whose word is believed may.
pub(super) fn judge_authority(
    uri: &Uri,
    version: Version,
    is_trusted: impl FnOnce() -> bool,
) -> Result<(), Unfit> {
    if version != Version::HTTP_2 || uri.authority().is_some() {
        return Ok(());
    }
    // A path that is missing is shown as "/", and is another value.
    let is_missing = |path: &PathAndQuery| path.as_str() == "/" && *path != PathAndQuery::from_static("/");
    match uri.path_and_query() {
        _ if !is_trusted() => Err(Unfit::NoAuthority),
        Some(path) if !is_missing(path) => Ok(()),
        _ => Err(Unfit::BadTarget),
    }
}

fn host<'a>(authority: Option<&'a str>, headers: &'a HeaderMap) -> Result<&'a str, Unfit> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (written, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Unfit::ManyHosts);
    }
    let written = written.map(|host| host.to_str().map_err(|_| Unfit::BadHost)).transpose()?;
    let host = match (authority, written) {
        // RFC 9113 §8.3.1: a request whose Host and :authority differ is malformed.
        (Some(authority), Some(written)) if !authority.eq_ignore_ascii_case(written) => {
            return Err(Unfit::HostDiffers);
        }
        (Some(authority), _) => authority,
        (None, Some(written)) => written,
        (None, None) => return Err(Unfit::NoHost),
    };
    if is_valid_authority(host.as_bytes()) { Ok(host) } else { Err(Unfit::BadHost) }
}

/// Without the port, and without the dot of the root, which no certificate and no SNI has (RFC 6066 §3).
fn name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// RFC 9113 §8.2.3: a client may split Cookie, and it is one field again for whoever does not speak HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    if let Some(joined) = joined_cookies(headers) {
        let joined =
            HeaderValue::from_bytes(&joined).expect("values that are allowed, joined by what is allowed");
        headers.insert(header::COOKIE, joined);
    }
}

/// The cookies of several lines as one; none if there are not several.
pub(in crate::serve) fn joined_cookies(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut crumbs = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let (first, second) = (crumbs.next()?, crumbs.next()?);
    let mut joined = [first, second].join(&b"; "[..]);
    for crumb in crumbs {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb);
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::http::head::{FIELDS, TARGET_BYTES};

    fn head(request: http::request::Builder) -> RequestHead {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        RequestHead { method: parts.method, uri: parts.uri, headers: parts.headers }
    }

    #[track_caller]
    fn check(target: &str, fields: &[(&str, &str)], expected: Result<(), Unfit>) {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let read =
            read(head(request), &HeadLimits::from(16 << 10), Some("a.example"), |host| host == "b.example");
        assert_eq!(read.map(|_| ()).map_err(|(unfit, _)| unfit), expected, "{target} {fields:?}");
    }

    #[test]
    fn a_request_is_for_one_host_that_the_connection_is_for() {
        check("https://a.example/", &[], Ok(()));
        check("https://A.example:8443/", &[], Ok(()));
        check("https://a.example./", &[], Ok(()));
        check("https://b.example.:8443/", &[], Ok(()));
        check("https://c.example./", &[], Err(Unfit::NotCovered));
        check("https://b.example/", &[], Ok(()));
        check("https://a.example/", &[("host", "A.EXAMPLE")], Ok(()));
        check("/", &[("host", "a.example")], Ok(()));
        check("https://c.example/", &[], Err(Unfit::NotCovered));
        check("https://a.example/", &[("host", "b.example")], Err(Unfit::HostDiffers));
        check("https://a.example/", &[("host", "a.example"), ("host", "a.example")], Err(Unfit::ManyHosts));
        check("https://u@a.example/", &[], Err(Unfit::BadHost));
        check("/", &[], Err(Unfit::NoHost));
        check("/", &[("host", "a b")], Err(Unfit::BadHost));
    }

    #[test]
    fn a_request_over_http_2_has_an_authority_unless_a_proxy_that_is_trusted_left_it_out() {
        let check = |uri: Uri, version: Version, is_trusted: bool, expected: Result<(), Unfit>| {
            assert_eq!(judge_authority(&uri, version, || is_trusted), expected, "{uri} {version:?}");
        };
        let missing = || Uri::from_parts(http::uri::Parts::default()).unwrap();
        let slash = || Uri::from_static("/");
        check(Uri::from_static("https://a.example/"), Version::HTTP_2, false, Ok(()));
        check(slash(), Version::HTTP_2, false, Err(Unfit::NoAuthority));
        check(slash(), Version::HTTP_2, true, Ok(()));
        check(missing(), Version::HTTP_2, false, Err(Unfit::NoAuthority));
        check(missing(), Version::HTTP_2, true, Err(Unfit::BadTarget));
        // RFC 9114 §4.3.1 lets a client do so, and nothing is dropped there.
        check(slash(), Version::HTTP_3, false, Ok(()));
    }

    #[test]
    fn a_field_that_http_1_would_refuse_or_change_is_refused() {
        let check = |fields: &[(&str, &str)], expected: Result<(), Unfit>| {
            check("https://a.example/", fields, expected);
        };
        check(&[("x", "a b"), ("y", ""), ("expect", "100-Continue"), ("content-length", "10")], Ok(()));
        for value in [" a", "a ", "\ta", "a\t", " "] {
            check(&[("x", value)], Err(Unfit::BadValue));
            check(&[("cookie", value)], Err(Unfit::BadValue));
        }
        for value in ["", "+1", "01", "1, 1", "18446744073709551615"] {
            check(&[("content-length", value)], Err(Unfit::BadLength));
        }
        check(&[("content-length", "1"), ("content-length", "1")], Err(Unfit::ManyLengths));
        check(&[("content_length", "1")], Err(Unfit::LookAlike));
        check(&[("transfer_encoding", "chunked")], Err(Unfit::LookAlike));
        check(&[("expect", "more")], Err(Unfit::OtherExpectation));
    }

    #[test]
    fn a_target_has_the_one_spelling_that_it_has_in_http_1() {
        let check = |method: &str, target: &'static str, expected: Result<&str, Unfit>| {
            let target = PathAndQuery::from_maybe_shared(target).unwrap();
            let uri = Uri::builder().scheme("https").authority("a.example").path_and_query(target);
            let request = head(Request::builder().method(method).uri(uri.build().unwrap()));
            let read = read(request, &HeadLimits::from(16 << 10), None, |_| true);
            let read = read.map_err(|(unfit, _)| unfit);
            let target = read.map(|head| head.uri.path_and_query().unwrap().to_string());
            assert_eq!(target, expected.map(str::to_owned), "{method} {target:?}");
        };
        check("GET", "/a\"b{?c=\u{e9}", Ok("/a%22b%7B?c=%C3%A9"));
        check("GET", "/a%22b?c", Ok("/a%22b?c"));
        check("GET", "/a\\b", Err(Unfit::BadTarget));
        check("GET", "*", Err(Unfit::BadTarget));
        check("OPTIONS", "*", Ok("*"));
    }

    #[test]
    fn a_head_has_the_bounds_that_it_has_in_http_1() {
        let many = vec![("x", "y"); FIELDS];
        check("https://a.example/", &many, Ok(()));
        check("https://a.example/", &[&many[..], &[("x", "y")]].concat(), Err(Unfit::ManyFields));
        let crumbs = vec![("cookie", "a=1"); 2 * FIELDS];
        check("https://a.example/", &crumbs, Ok(()));
        check("https://a.example/", &[&many[1..], &crumbs].concat(), Ok(()));
        check("https://a.example/", &[&many[..], &crumbs].concat(), Err(Unfit::ManyFields));
        check(&format!("https://a.example/{}", "p".repeat(TARGET_BYTES)), &[], Err(Unfit::LongTarget));
    }

    #[test]
    fn a_cookie_that_came_in_pieces_is_one_field() {
        let request =
            Request::builder().uri("https://a.example/").header("cookie", "a=1").header("cookie", "b=2");
        let head = read(head(request), &HeadLimits::from(16 << 10), None, |_| true)
            .map_err(|(unfit, _)| unfit)
            .unwrap();
        assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
