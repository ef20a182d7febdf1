//! `Cache-Status` (RFC 9211) and `Proxy-Status` (RFC 9209).

use http::{HeaderName, HeaderValue, StatusCode};

use crate::policy::{Forward, Freshness, Staleness};

/// The outcome of one request here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// How it was answered.
    pub verdict: Verdict,
    /// A word for `detail`, if the verdict's own is not enough.
    pub detail: Option<&'static str>,
    /// The key, for clients with a debug token only.
    pub key: Option<String>,
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From a fresh entry.
    Hit(Freshness),
    /// From a stale entry, before the origin was asked.
    HitStale(Freshness, Staleness),
    /// From an entry, because the origin was asked and failed. RFC 9211 §2.1: what was forwarded is no hit.
    Bridged {
        /// Why it was asked.
        why: Forward,
        /// The origin's status, if it gave one.
        status: Option<StatusCode>,
        /// The fetch that failed.
        fetch: Fetch,
        /// The entry's.
        freshness: Freshness,
        /// The rule that allows it, if it is stale.
        staleness: Option<Staleness>,
    },
    /// After asking the origin.
    Forwarded {
        /// Why.
        why: Forward,
        /// The origin's status, if it gave one.
        status: Option<StatusCode>,
        /// The use made of its response here.
        kept: Kept,
        /// The fetch that answered.
        fetch: Fetch,
        /// Of what was sent to the client, if it has a lifetime.
        freshness: Option<Freshness>,
    },
    /// By ourselves, without any origin: 504 for `only-if-cached`, 508, 400 …
    Local,
}

/// The use made of a forwarded request's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was stored, or freshened what is stored.
    Stored,
    /// It was not.
    NotStored,
}

/// The fetch that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// This request's.
    Own,
    /// Another request's that was under way (`collapsed`).
    Joined,
}

/// The failure, by RFC 9209 §2.3's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// A name did not resolve.
    DnsError,
    /// A name led to addresses that it must not lead to.
    DestinationIpProhibited,
    /// No origin is in service.
    DestinationUnavailable,
    /// Each origin has all the requests that it may have.
    ConnectionLimitReached,
    /// Connecting took too long.
    ConnectionTimeout,
    /// The connection was refused.
    ConnectionRefused,
    /// The origin's certificate is not one that it may have.
    TlsCertificateError,
    /// No TLS was agreed on.
    TlsProtocolError,
    /// The connection was lost before the response was complete.
    ConnectionTerminated,
    /// No response in time.
    HttpResponseTimeout,
    /// The response ended too early.
    HttpResponseIncomplete,
    /// The response was malformed.
    HttpProtocolError,
    /// The response came in a transfer coding that is not understood.
    HttpResponseTransferCoding,
    /// The request has been here already.
    ProxyLoopDetected,
    /// The request was refused.
    HttpRequestError,
    /// The client sent its content too slowly.
    HttpRequestTimeout,
    /// The request was denied by the site's rules.
    HttpRequestDenied,
    /// Something is wrong in here.
    ProxyInternalError,
}

impl CacheStatus {
    /// `Cache-Status`.
    pub const NAME: HeaderName = HeaderName::from_static("cache-status");

    /// The field's member for a cache of this name.
    pub fn field(&self, name: &str) -> Option<HeaderValue> {
        let mut text = identifier(name);
        self.verdict.write(&mut text);
        if let Some(detail) = self.detail.or(self.verdict.detail()) {
            text.push_str("; detail=");
            text.push_str(detail);
        }
        if let Some(key) = &self.key {
            text.push_str("; key=");
            text.push_str(&string(key));
        }
        HeaderValue::try_from(text).ok()
    }
}

impl Verdict {
    fn write(&self, text: &mut String) {
        match self {
            Self::Hit(freshness) | Self::HitStale(freshness, _) => {
                text.push_str(&format!("; hit; ttl={}", freshness.ttl_secs()));
            }
            Self::Forwarded { why, status, kept, fetch, freshness } => {
                write_forwarded(text, *why, *status, *kept, *fetch, freshness.as_ref());
            }
            Self::Bridged { why, status, fetch, freshness, .. } => {
                write_forwarded(text, *why, *status, Kept::NotStored, *fetch, Some(freshness));
            }
            Self::Local => {}
        }
    }

    /// A word where RFC 9211's own are less than we know.
    fn detail(&self) -> Option<&'static str> {
        match self {
            Self::HitStale(_, why) | Self::Bridged { staleness: Some(why), .. } => Some(why.as_str()),
            Self::Forwarded { why, .. } | Self::Bridged { why, .. } if why.as_str() != why.fwd() => {
                Some(why.as_str())
            }
            _ => None,
        }
    }
}

fn write_forwarded(
    text: &mut String,
    why: Forward,
    status: Option<StatusCode>,
    kept: Kept,
    fetch: Fetch,
    freshness: Option<&Freshness>,
) {
    text.push_str("; fwd=");
    text.push_str(why.fwd());
    if let Some(status) = status {
        text.push_str("; fwd-status=");
        text.push_str(status.as_str());
    }
    if kept == Kept::Stored {
        text.push_str("; stored");
    }
    if fetch == Fetch::Joined {
        text.push_str("; collapsed");
    }
    if let Some(freshness) = freshness {
        text.push_str(&format!("; ttl={}", freshness.ttl_secs()));
    }
}

impl ProxyError {
    /// `Proxy-Status`.
    pub const NAME: HeaderName = HeaderName::from_static("proxy-status");

    /// The field's member for a proxy of this name.
    pub fn field(self, name: &str) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}; error={}", identifier(name), self.as_str())).ok()
    }

    /// The failure that another proxy's member tells, which is the last of this field.
    pub fn told(field: &HeaderValue) -> Option<Self> {
        let last = field.to_str().ok()?.rsplit(',').next()?;
        let told = last.split(';').find_map(|part| part.trim().strip_prefix("error="))?;
        Self::ALL.into_iter().find(|error| error.as_str() == told)
    }

    const ALL: [Self; 17] = [
        Self::DnsError,
        Self::DestinationIpProhibited,
        Self::DestinationUnavailable,
        Self::ConnectionLimitReached,
        Self::ConnectionTimeout,
        Self::ConnectionRefused,
        Self::TlsCertificateError,
        Self::TlsProtocolError,
        Self::ConnectionTerminated,
        Self::HttpResponseTimeout,
        Self::HttpResponseIncomplete,
        Self::HttpProtocolError,
        Self::HttpResponseTransferCoding,
        Self::ProxyLoopDetected,
        Self::HttpRequestError,
        Self::HttpRequestDenied,
        Self::ProxyInternalError,
    ];

    /// RFC 9209 §2.3's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DnsError => "dns_error",
            Self::DestinationIpProhibited => "destination_ip_prohibited",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::ConnectionTerminated => "connection_terminated",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpProtocolError => "http_protocol_error",
            Self::HttpResponseTransferCoding => "http_response_transfer_coding",
            Self::ProxyLoopDetected => "proxy_loop_detected",
            Self::HttpRequestError | Self::HttpRequestTimeout => "http_request_error",
            Self::HttpRequestDenied => "http_request_denied",
            Self::ProxyInternalError => "proxy_internal_error",
        }
    }

    /// The status that RFC 9209 §2.3 recommends; 508 for a loop (RFC 8586 §2 leaves it open).
    pub fn status(self) -> StatusCode {
        match self {
            Self::DnsError
            | Self::DestinationIpProhibited
            | Self::ConnectionRefused
            | Self::TlsCertificateError
            | Self::TlsProtocolError
            | Self::ConnectionTerminated
            | Self::HttpResponseIncomplete
            | Self::HttpProtocolError
            | Self::HttpResponseTransferCoding => StatusCode::BAD_GATEWAY,
            Self::DestinationUnavailable | Self::ConnectionLimitReached => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectionTimeout | Self::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::ProxyLoopDetected => StatusCode::LOOP_DETECTED,
            Self::HttpRequestError => StatusCode::BAD_REQUEST,
            // RFC 9110 §15.5.9.
            Self::HttpRequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HttpRequestDenied => StatusCode::FORBIDDEN,
            Self::ProxyInternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A token if it is one, else a string (RFC 9211 §2, RFC 9209 §2).
fn identifier(name: &str) -> String {
    let tail = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'*');
    if first && name.bytes().all(tail) { name.to_owned() } else { string(name) }
}

/// A Structured Field string (RFC 9651 §4.1.6); what it cannot hold becomes `?`.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::freshness::Source;

    const LEFT: Freshness = Freshness { age_secs: 7, lifetime_secs: 60, source: Source::MaxAge };
    const OVER: Freshness = Freshness { age_secs: 63, lifetime_secs: 60, source: Source::MaxAge };

    fn check(verdict: Verdict, expected: &str) {
        let status = CacheStatus { verdict, detail: None, key: None };
        assert_eq!(status.field("edge-1").unwrap(), expected);
    }

    fn forwarded(
        why: Forward,
        status: u16,
        kept: Kept,
        fetch: Fetch,
        freshness: Option<Freshness>,
    ) -> Verdict {
        Verdict::Forwarded { why, status: StatusCode::from_u16(status).ok(), kept, fetch, freshness }
    }

    #[test]
    fn every_path_has_its_member() {
        check(Verdict::Hit(LEFT), "edge-1; hit; ttl=53");
        check(
            Verdict::HitStale(OVER, Staleness::WhileRevalidate),
            "edge-1; hit; ttl=-3; detail=stale-while-revalidate",
        );
        check(
            forwarded(Forward::UriMiss, 200, Kept::Stored, Fetch::Own, Some(LEFT)),
            "edge-1; fwd=uri-miss; fwd-status=200; stored; ttl=53",
        );
        check(
            forwarded(Forward::UriMiss, 200, Kept::Stored, Fetch::Joined, None),
            "edge-1; fwd=uri-miss; fwd-status=200; stored; collapsed",
        );
        check(
            forwarded(Forward::Stale, 304, Kept::Stored, Fetch::Own, Some(LEFT)),
            "edge-1; fwd=stale; fwd-status=304; stored; ttl=53",
        );
        check(
            forwarded(Forward::NoCache, 200, Kept::NotStored, Fetch::Own, None),
            "edge-1; fwd=stale; fwd-status=200; detail=no-cache",
        );
        check(forwarded(Forward::Method, 0, Kept::NotStored, Fetch::Own, None), "edge-1; fwd=method");
        check(Verdict::Local, "edge-1");
    }

    #[test]
    fn what_stands_in_for_a_failed_origin_is_no_hit() {
        let bridged = |why, status, fetch, freshness, staleness| Verdict::Bridged {
            why,
            status: StatusCode::from_u16(status).ok(),
            fetch,
            freshness,
            staleness,
        };
        check(
            bridged(Forward::Stale, 503, Fetch::Own, OVER, Some(Staleness::IfError)),
            "edge-1; fwd=stale; fwd-status=503; ttl=-3; detail=stale-if-error",
        );
        check(
            bridged(Forward::Stale, 0, Fetch::Joined, OVER, Some(Staleness::Disconnected)),
            "edge-1; fwd=stale; collapsed; ttl=-3; detail=disconnected",
        );
        check(bridged(Forward::Request, 0, Fetch::Own, LEFT, None), "edge-1; fwd=request; ttl=53");
    }

    #[test]
    fn names_and_keys_are_quoted_where_they_must_be() {
        let status = CacheStatus {
            verdict: Verdict::Local,
            detail: Some("x"),
            key: Some("http://a/\"\\\u{fc}".into()),
        };
        assert_eq!(status.field("1 edge").unwrap(), "\"1 edge\"; detail=x; key=\"http://a/\\\"\\\\?\"");
    }

    #[test]
    fn errors_have_their_status() {
        for (error, status, text) in [
            (ProxyError::ConnectionRefused, 502, "edge-1; error=connection_refused"),
            (ProxyError::HttpResponseTimeout, 504, "edge-1; error=http_response_timeout"),
            (ProxyError::HttpResponseTransferCoding, 502, "edge-1; error=http_response_transfer_coding"),
            (ProxyError::ProxyLoopDetected, 508, "edge-1; error=proxy_loop_detected"),
            (ProxyError::DestinationUnavailable, 503, "edge-1; error=destination_unavailable"),
        ] {
            assert_eq!(error.status().as_u16(), status);
            assert_eq!(error.field("edge-1").unwrap(), text);
        }
    }
}
