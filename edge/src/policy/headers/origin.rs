//! The head of a request to the origin.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, StatusCode, Version};

use crate::policy::{RequestHead, validate::Validators};

/// What this hop knows about itself and the connection a request came on.
#[derive(Clone, Debug)]
pub struct Hop<'a> {
    /// This cache's name in `Via`, `Cache-Status`, `Proxy-Status` and `CDN-Loop`: a token (RFC 9110 §5.6.2).
    pub name: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// `http` or `https`, as the client used it.
    pub scheme: &'a str,
    /// The version of the message received, for `Via`.
    pub version: Version,
}

/// What we ask of the origin beyond what the client asked.
#[derive(Clone, Debug)]
pub enum Ask<'a> {
    /// The client's own request, its conditions and ranges as sent; the answer is not stored.
    AsSent,
    /// The whole representation to store: the client's conditions and ranges are ours to judge and do not travel.
    Whole,
    /// Whether this stored one still holds.
    Validate(&'a Validators),
    /// A range, under `If-Range`.
    Range {
        /// `bytes=…`.
        range: HeaderValue,
        /// The strong validator the answer must share.
        if_range: Option<HeaderValue>,
    },
}

/// Why a request is not sent to any origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeliverable {
    /// It has been here already (RFC 8586 §2).
    Loop,
}

impl Undeliverable {
    /// The status to answer with.
    pub fn status(self) -> StatusCode {
        StatusCode::LOOP_DETECTED
    }
}

/// The fields to send to the origin.
pub fn fields(request: &RequestHead, ask: &Ask<'_>, hop: &Hop<'_>) -> Result<HeaderMap, Undeliverable> {
    let _ = (request, ask, hop);
    todo!()
}
