//! Heads for the tests of this module, from data.

use super::{Entry, freshness};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::testing::{at, get, response};
use crate::site::Rules;

/// A 200 of 100 bytes, stored at second 1000 for `asking`.
pub(crate) fn stored_for(asking: &RequestHead, list: &[(&str, &str)]) -> Entry {
    stored_response(asking, &response(200, list), 100)
}

/// A 200 of 100 bytes, stored at second 1000 for a plain GET.
pub(crate) fn stored(list: &[(&str, &str)]) -> Entry {
    stored_for(&get(&[]), list)
}

/// `response` with a body of `length` bytes, stored at second 1000 for `asking`.
pub(crate) fn stored_response(asking: &RequestHead, response: &ResponseHead, length: u64) -> Entry {
    let lifetime = freshness::lifetime(asking, response, at(1000), &Rules::default(), at(1000));
    Entry::new(asking, response, lifetime, at(1000), at(1000), Some(length))
}

/// The rules' part that passes by what this path pattern matches.
pub(crate) fn bypassing(path: &str) -> crate::site::rules::Bypass {
    let paths = crate::site::pattern::PathPattern::parse(path).into_iter().collect();
    crate::site::rules::Bypass { paths, ..Default::default() }
}
