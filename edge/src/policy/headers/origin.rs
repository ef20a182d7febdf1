//! The head of a request to the origin.
//!
//! The edge itself writes the fields that describe the client: a field that a client may set, the origin
//! heeds and the key ignores would poison the cache.

mod introduction;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::append;
use crate::http::head::{HeadLimits, RequestHead};
use crate::http::list;
use crate::policy::range::{self, Sent, Wanted};
use crate::policy::validate::Validators;
use crate::site::rewrite;

/// This hop's knowledge of itself and of the connection that a request came on.
#[derive(Clone, Debug)]
pub struct Hop<'a> {
    /// This cache's name in `Via`, `Cache-Status`, `Proxy-Status` and `CDN-Loop`: a token (RFC 9110 §5.6.2).
    pub name: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// The version of the message received, for `Via`.
    pub version: Version,
    /// The longest head that the origin gets.
    pub limits: HeadLimits,
}

/// The question that we ask the origin.
#[derive(Clone, Debug)]
pub enum Ask<'a> {
    /// The client's own request, its conditions and one range as sent: for what is passed.
    AsSent,
    /// The whole representation, to store: the client's conditions and ranges are ours to judge and do not travel.
    Whole,
    /// Whether this stored one still holds.
    Validate(&'a Validators),
    /// As [`Ask::Validate`], of a stored part: if it has changed, the range that the client asks for.
    ValidatePart(&'a Validators),
    /// These bytes (`bytes=…`), whatever representation they are of by now: the answer says.
    Slice(HeaderValue),
    /// The bytes that a part lacks; the client's, if it says so.
    Rest {
        /// `bytes=…`.
        range: HeaderValue,
        /// The strong validator that the answer must share.
        if_range: HeaderValue,
    },
}

/// Why a request is not sent to any origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeliverable {
    /// It has been here already (RFC 8586 §2).
    Loop,
    /// Its target is longer than origins take.
    LongTarget,
    /// Its fields and ours are longer.
    LongHead,
    /// Its fields and ours are more.
    ManyFields,
}

impl<'a> Ask<'a> {
    /// On a miss: the whole, or only the range asked for, which is all a client of a large object wants.
    pub fn for_miss(request: &RequestHead) -> Self {
        let Wanted::One(spec) = range::wanted(request) else { return Ask::Whole };
        match request.headers.get(header::IF_RANGE) {
            None => Ask::Slice(spec.range()),
            // Of another representation the client wants the whole, which only the origin can give (RFC 9110 §13.1.5).
            Some(if_range) => Ask::Rest { range: spec.range(), if_range: if_range.clone() },
        }
    }
}

impl Undeliverable {
    /// The status to answer with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::LongHead | Self::ManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// A label for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::LongTarget => "long-target",
            Self::LongHead => "long-head",
            Self::ManyFields => "many-fields",
        }
    }
}

/// Whether a request may be sent to an origin. Ask before one waits for another's fetch: in a loop that would be its
/// own, and the head of one that is too long for origins must not decide about others.
///
/// Origins answer a head that is longer than they take with an error that other clients could be given. So the edge
/// answers it itself. The verdict depends on the request alone: our conditions count as if they were always there.
pub fn deliverable(request: &RequestHead, hop: &Hop<'_>) -> Result<(), Undeliverable> {
    if has_looped(&request.headers, hop.name) {
        return Err(Undeliverable::Loop);
    }
    // Most are far below the limits, and their fetch writes the fields.
    if judged(request, hop, introduction::FIELDS, introduction::most_bytes(request, hop)).is_ok() {
        return Ok(());
    }
    introduced(request, hop).map(drop)
}

/// The fields that introduce it to an origin, if it may be sent to one.
fn introduced(request: &RequestHead, hop: &Hop<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Undeliverable> {
    if has_looped(&request.headers, hop.name) {
        return Err(Undeliverable::Loop);
    }
    let ours = introduction::of(request, hop);
    let ours_bytes = bytes(ours.iter().map(|(name, value)| (name, value)));
    judged(request, hop, ours.len(), ours_bytes).map(|()| ours)
}

/// Whether origins take its head with so many fields of ours, which have so many bytes.
fn judged(request: &RequestHead, hop: &Hop<'_>, ours: usize, ours_bytes: usize) -> Result<(), Undeliverable> {
    let Hop { limits, .. } = hop;
    let target = request.uri.path_and_query().map_or(1, |target| target.as_str().len());
    if target > limits.target_bytes {
        Err(Undeliverable::LongTarget)
    } else if request.headers.len() + ours + OUR_CONDITIONS > limits.fields {
        Err(Undeliverable::ManyFields)
    } else if bytes(&request.headers) + ours_bytes > limits.bytes {
        Err(Undeliverable::LongHead)
    } else {
        Ok(())
    }
}

/// `If-None-Match` and `If-Modified-Since`.
const OUR_CONDITIONS: usize = 2;

/// Bytes of the field lines.
fn bytes<'a>(fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> usize {
    fields.into_iter().map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len()).sum()
}

/// The fields to send to the origin, `Host` as it came. Body framing is the connection's to add.
pub fn fields(request: &RequestHead, ask: &Ask<'_>, hop: &Hop<'_>) -> Result<HeaderMap, Undeliverable> {
    let ours = introduced(request, hop)?;
    let mut headers = super::end_to_end(&request.headers);
    // `received` removed the client's part: a site sets the rest on purpose, except the fields that are ours.
    for name in request.headers.keys().filter(|name| is_forwarded(name)) {
        headers.remove(name);
    }
    if !has_content(&request.headers) {
        // RFC 9110 §10.1.1: without content there is nothing to wait for, and it must not be sent.
        headers.remove(header::EXPECT);
    }
    condition(&mut headers, request, ask);
    if let Some(left) = hops_left(request) {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
    for (name, value) in ours {
        headers.append(name, value);
    }
    Ok(headers)
}

/// RFC 9112 §6: content is announced by its length or by a transfer coding.
fn has_content(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// RFC 9110 §7.6.2: how many more hops may pass an OPTIONS or TRACE on. None: as many as like. At 0 it is ours to answer.
pub fn hops_left(request: &RequestHead) -> Option<u64> {
    let counts = request.method == Method::OPTIONS || request.method == Method::TRACE;
    let value = request.headers.get(header::MAX_FORWARDS).filter(|_| counts)?.as_bytes();
    // 1*DIGIT, and a number of any size: what does not fit is more than anyone will count down.
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok().or(Some(u64::MAX))).flatten()
}

fn is_forwarded(name: &HeaderName) -> bool {
    name == header::FORWARDED || rewrite::FORWARDED.contains(&name.as_str())
}

/// The conditions that a client puts on this one answer.
pub(in crate::policy) const CONDITIONS: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

fn condition(headers: &mut HeaderMap, request: &RequestHead, ask: &Ask<'_>) {
    if matches!(ask, Ask::AsSent) {
        return set_range(headers, range::sent(request));
    }
    for name in CONDITIONS {
        headers.remove(name);
    }
    match ask {
        Ask::AsSent | Ask::Whole => {}
        Ask::Slice(range) => {
            headers.insert(header::RANGE, range.clone());
        }
        Ask::Validate(validators) => validate(headers, validators),
        Ask::ValidatePart(validators) => {
            if let Wanted::One(spec) = range::wanted(request) {
                headers.insert(header::RANGE, spec.range());
                // Without it a client would get the range of a changed representation for one that it holds no part of.
                append(headers, header::IF_RANGE, request.headers.get(header::IF_RANGE).cloned());
            }
            validate(headers, validators);
        }
        Ask::Rest { range, if_range } => {
            headers.insert(header::RANGE, range.clone());
            headers.insert(header::IF_RANGE, if_range.clone());
        }
    }
}

fn set_range(headers: &mut HeaderMap, sent: Sent) {
    match sent {
        Sent::AsItCame => {}
        Sent::Instead(range) => {
            headers.insert(header::RANGE, range);
        }
        Sent::Not => {
            headers.remove(header::RANGE);
        }
    }
}

fn validate(headers: &mut HeaderMap, validators: &Validators) {
    append(headers, header::IF_NONE_MATCH, validators.if_none_match.clone());
    append(headers, header::IF_MODIFIED_SINCE, validators.if_modified_since.clone());
}

/// RFC 8586: the edges that a request has gone through. Each request that is passed on has it, and none of the edge's own.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// RFC 9440 §2.2: the certificate by which this edge knows the client.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// RFC 8586 §2: a member is an identifier and parameters. The field counts even if a `Connection` names it.
fn has_looped(headers: &HeaderMap, name: &str) -> bool {
    list::elements(headers, &CDN_LOOP).any(|member| {
        let id = member.split(|&byte| byte == b';').next().unwrap_or_default();
        id.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request;

    const HOP: Hop<'_> = Hop {
        name: "edge-1",
        client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        version: Version::HTTP_11,
        limits: HeadLimits { bytes: 8192, target_bytes: 8192, fields: 100 },
    };

    fn check(sent: &[(&str, &str)], ask: &Ask<'_>, name: &str, expected: &[&str]) {
        let headers = fields(&request("GET", "https://a.example:8443/x", sent), ask, &HOP).unwrap();
        let found: Vec<&str> =
            headers.get_all(name).into_iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(found, expected, "{name} of {sent:?}");
    }

    #[test]
    fn end_to_end_fields_travel_as_sent() {
        for (name, value) in [
            ("accept-encoding", "br;q=1.0, gzip"),
            ("authorization", "x"),
            ("cookie", "a=b"),
            ("x-any", "  1,2 "),
            ("host", "a.example"),
            ("x-hosts", "b"),
        ] {
            check(&[(name, value)], &Ask::Whole, name, &[value]);
        }
        check(&[("foo", "1"), ("foo", "2")], &Ask::Whole, "foo", &["1", "2"]);
    }

    #[test]
    fn an_expectation_travels_with_content_only() {
        let expect = ("expect", "100-continue");
        check(&[expect], &Ask::Whole, "expect", &[]);
        check(&[expect, ("content-length", "0")], &Ask::Whole, "expect", &[]);
        check(&[expect, ("content-length", "5")], &Ask::AsSent, "expect", &["100-continue"]);
        check(&[expect, ("transfer-encoding", "chunked")], &Ask::AsSent, "expect", &["100-continue"]);
    }

    #[test]
    fn what_is_ours_to_say_is_overwritten() {
        check(&[("x-forwarded-for", "evil")], &Ask::AsSent, "x-forwarded-for", &["192.0.2.1"]);
        check(&[("x-forwarded-proto", "evil")], &Ask::AsSent, "x-forwarded-proto", &["https"]);
        check(&[("x-forwarded-host", "evil")], &Ask::AsSent, "x-forwarded-host", &["a.example:8443"]);
        check(
            &[("forwarded", "for=evil")],
            &Ask::AsSent,
            "forwarded",
            &["for=192.0.2.1;host=\"a.example:8443\";proto=https"],
        );
        check(&[("x-forwarded-prefix", "evil")], &Ask::AsSent, "x-forwarded-prefix", &[]);
    }

    #[test]
    fn a_field_that_a_site_sets_reaches_the_origin() {
        for name in ["x-original-host", "x-real-ip", "x_tenant", "x-forwarded-port", "x-forwarded-user"] {
            check(&[(name, "www.example.com")], &Ask::AsSent, name, &["www.example.com"]);
        }
    }

    #[test]
    fn connection_cannot_take_away_what_we_add() {
        let sent = [("connection", "x-forwarded-for, via, cdn-loop, forwarded, x")];
        check(&sent, &Ask::AsSent, "x-forwarded-for", &["192.0.2.1"]);
        check(&sent, &Ask::AsSent, "via", &["1.1 edge-1"]);
        check(&sent, &Ask::AsSent, "cdn-loop", &["edge-1"]);
        check(&sent, &Ask::AsSent, "connection", &[]);
    }

    #[test]
    fn via_and_cdn_loop_grow() {
        check(&[("via", "1.0 a")], &Ask::Whole, "via", &["1.0 a", "1.1 edge-1"]);
        check(&[("cdn-loop", "other; x=1")], &Ask::Whole, "cdn-loop", &["other; x=1", "edge-1"]);
    }

    #[test]
    fn a_request_that_was_here_is_not_sent_again() {
        for (value, looped) in
            [("edge-1", true), ("a, EDGE-1;v=2", true), ("edge-12", false), ("a;x=\"edge-1, edge-1\"", false)]
        {
            let sent =
                request("GET", "http://a.example/", &[("cdn-loop", value), ("connection", "cdn-loop")]);
            assert_eq!(fields(&sent, &Ask::Whole, &HOP).is_err(), looped, "{value}");
        }
    }

    #[test]
    fn a_head_that_is_longer_than_origins_take_is_not_sent() {
        use Undeliverable::{LongHead, LongTarget, ManyFields};
        let limits = HeadLimits { bytes: 500, target_bytes: 20, fields: 12 };
        let hop = Hop { limits, ..HOP };
        let check = |target: &str, sent: &[(&str, &str)], expected: Result<(), Undeliverable>| {
            let asking = request("GET", &format!("http://a.example{target}"), sent);
            assert_eq!(deliverable(&asking, &hop), expected, "{target} {sent:?}");
            for ask in [Ask::Whole, Ask::AsSent] {
                let sent = fields(&asking, &ask, &hop);
                assert_eq!(sent.as_ref().map(|_| ()).map_err(|why| *why), expected);
                if let Ok(sent) = sent {
                    assert!(sent.len() <= limits.fields && bytes(&sent) <= limits.bytes, "{}", bytes(&sent));
                }
            }
        };
        check("/4567890123456789012", &[], Ok(()));
        check("/45678901234567890123", &[], Err(LongTarget));
        // Six are ours, and two conditions may be.
        check("/", &[("a", "b"); 4], Ok(()));
        check("/", &[("a", "b"); 5], Err(ManyFields));
        let ours: HeaderMap =
            introduction::of(&request("GET", "http://a.example/", &[]), &hop).into_iter().collect();
        let left = limits.bytes - bytes(&ours) - "a: \r\n".len();
        check("/", &[("a", &"b".repeat(left))], Ok(()));
        check("/", &[("a", &"b".repeat(left + 1))], Err(LongHead));
    }

    #[test]
    fn conditions_are_the_clients_or_ours() {
        let sent = [
            ("if-none-match", "\"c\""),
            ("if-modified-since", "x"),
            ("if-range", "x"),
            ("range", "bytes=0-1"),
            ("if-match", "\"m\""),
        ];
        check(&sent, &Ask::AsSent, "if-none-match", &["\"c\""]);
        check(&sent, &Ask::AsSent, "range", &["bytes=0-1"]);
        for name in ["if-none-match", "if-modified-since", "if-range", "range", "if-match"] {
            check(&sent, &Ask::Whole, name, &[]);
        }
        let validators =
            Validators { if_none_match: Some(HeaderValue::from_static("\"o\"")), if_modified_since: None };
        check(&sent, &Ask::Validate(&validators), "if-none-match", &["\"o\""]);
        check(&sent, &Ask::Validate(&validators), "if-modified-since", &[]);
        check(&sent, &Ask::Validate(&validators), "range", &[]);
        check(&sent, &Ask::Validate(&validators), "if-range", &[]);
        let part = Ask::ValidatePart(&validators);
        for (name, value) in [("if-none-match", "\"o\""), ("range", "bytes=0-1"), ("if-range", "x")] {
            check(&sent, &part, name, &[value]);
        }
        let rest = Ask::Rest {
            range: HeaderValue::from_static("bytes=5-"),
            if_range: HeaderValue::from_static("\"o\""),
        };
        check(&sent, &rest, "range", &["bytes=5-"]);
        check(&sent, &rest, "if-range", &["\"o\""]);
    }

    #[test]
    fn one_range_travels() {
        let check = |range: &str, ask: &Ask<'_>, expected: &[&str]| {
            check(&[("range", range), ("if-none-match", "\"c\"")], ask, "range", expected);
        };
        check("bytes=0-,0-,0-", &Ask::AsSent, &["bytes=0-"]);
        check("bytes=0-9,500-509", &Ask::AsSent, &[]);
        check("items=0-9,500-509", &Ask::AsSent, &["items=0-9,500-509"]);
        let validators = Validators { if_none_match: None, if_modified_since: None };
        check("bytes=5-9,5-7", &Ask::ValidatePart(&validators), &["bytes=5-9"]);
        check("bytes=0-9,500-509", &Ask::ValidatePart(&validators), &[]);
        for (range, if_range, expected) in [
            ("bytes=5-9", None, Some("bytes=5-9")),
            ("bytes=5-9", Some("\"a\""), Some("bytes=5-9")),
            ("bytes=0-", None, None),
            ("bytes=0-9,500-509", None, None),
            ("foo=1", None, None),
        ] {
            let mut sent = vec![("range", range), ("if-none-match", "\"c\"")];
            sent.extend(if_range.map(|if_range| ("if-range", if_range)));
            let asking = request("GET", "http://a.example/", &sent);
            let headers = fields(&asking, &Ask::for_miss(&asking), &HOP).unwrap();
            let found = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!((found("range"), found("if-range")), (expected, if_range), "{range}");
            assert_eq!(
                found("if-none-match"),
                None,
                "a fetch for the store goes without the client's conditions"
            );
        }
    }

    #[test]
    fn hops_are_counted_where_they_count() {
        for (method, value, left, sent) in [
            ("OPTIONS", "3", Some(3), "2"),
            ("TRACE", "1", Some(1), "0"),
            ("TRACE", "0", Some(0), "0"),
            ("TRACE", "99999999999999999999999", Some(u64::MAX), "18446744073709551614"),
            ("OPTIONS", "-1", None, "-1"),
            ("GET", "3", None, "3"),
        ] {
            let asking = request(method, "http://a.example/", &[("max-forwards", value)]);
            assert_eq!(hops_left(&asking), left, "{method} {value}");
            let headers = fields(&asking, &Ask::AsSent, &HOP).unwrap();
            assert_eq!(headers["max-forwards"], sent, "{method} {value}");
        }
    }

    #[test]
    fn an_ipv6_client_is_quoted_in_forwarded() {
        let hop = Hop { client: "2001:db8::1".parse().unwrap(), ..HOP };
        let headers = fields(&request("GET", "http://a.example/", &[]), &Ask::Whole, &hop).unwrap();
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";host=\"a.example\";proto=http");
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
    }
}
