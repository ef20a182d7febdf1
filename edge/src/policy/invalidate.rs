//! What an unsafe request makes stale (RFC 9111 §4.4).

use http::Uri;

use super::{RequestHead, ResponseHead};

/// The URIs whose stored responses must be dropped after this exchange: none for safe methods and error responses,
/// else the target and any `Location` and `Content-Location` of the same origin.
pub fn invalidates(request: &RequestHead, response: &ResponseHead) -> Vec<Uri> {
    let _ = (request, response);
    todo!()
}
