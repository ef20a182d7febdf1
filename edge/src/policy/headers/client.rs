//! The head of a response to the client.

use http::{HeaderMap, Version};

use super::status::CacheStatus;
use crate::policy::{Entry, Freshness, ResponseHead, Selection};

/// A response passed on from the origin: hop-by-hop fields gone, `Via` and `Cache-Status` added.
pub fn passed(response: &ResponseHead, name: &str, version: Version, status: &CacheStatus) -> ResponseHead {
    let _ = (response, name, version, status);
    todo!()
}

/// A response from a stored entry: the status and fields for `selection`, `Age`, `Via` and `Cache-Status` added.
/// A multipart body's `Content-Type` and length are in the [`crate::policy::range::Multipart`] plan.
pub fn reused(
    entry: &Entry,
    selection: &Selection,
    freshness: &Freshness,
    name: &str,
    status: &CacheStatus,
) -> ResponseHead {
    let _ = (entry, selection, freshness, name, status, HeaderMap::<()>::with_capacity(0));
    todo!()
}
