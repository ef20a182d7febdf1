//! `Cache-Status` (RFC 9211) and `Proxy-Status` (RFC 9209).

use http::StatusCode;

use crate::policy::{Forward, Freshness, Staleness};

/// What happened to one request here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// How it was answered.
    pub verdict: Verdict,
    /// Free words for `detail`: a token.
    pub detail: Option<&'static str>,
    /// The key, for clients with a debug token only.
    pub key: Option<String>,
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From a fresh entry.
    Hit(Freshness),
    /// From a stale entry, without asking the origin first.
    HitStale(Freshness, Staleness),
    /// After asking the origin.
    Forwarded {
        /// Why.
        why: Forward,
        /// The origin's status, if it gave one.
        status: Option<StatusCode>,
        /// Whether the answer was stored.
        stored: bool,
        /// Whether another request's fetch served this one.
        collapsed: bool,
        /// Of what was sent to the client, if it has a lifetime.
        freshness: Option<Freshness>,
    },
    /// By ourselves, without any origin: 504 for `only-if-cached`, 508, 400 …
    Local,
}

/// What went wrong, by RFC 9209 §2.3's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// 504: connecting took too long.
    ConnectionTimeout,
    /// 502: refused.
    ConnectionRefused,
    /// 502: lost before the response was complete.
    ConnectionTerminated,
    /// 504: no response in time.
    HttpResponseTimeout,
    /// 502: the response was malformed.
    HttpProtocolError,
    /// 502: the response ended too early.
    HttpResponseIncomplete,
    /// 502: a name did not resolve.
    DnsError,
    /// 503: no origin is in service.
    DestinationUnavailable,
    /// 508.
    ProxyLoopDetected,
    /// 400, 421, 431 …: the request was refused.
    HttpRequestError,
    /// 500.
    ProxyInternalError,
}
