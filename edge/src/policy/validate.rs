//! Entity tags, dates and the conditions made of them (RFC 9110 §8.8, §13).

use http::HeaderValue;

/// The conditions of our own request to the origin (RFC 9111 §4.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `If-None-Match`.
    pub if_none_match: Option<HeaderValue>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<HeaderValue>,
}
