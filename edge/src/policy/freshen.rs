//! What a 304 or the answer to a HEAD does to a stored response (RFC 9111 §4.3.4, §4.3.5).

use std::time::SystemTime;

use super::{Entry, RequestHead, ResponseHead, Rules, Unstorable};

/// A stored response after a 304.
#[derive(Clone, Debug)]
pub enum Freshened {
    /// Replace the stored head by this one; the body stays.
    Keep(Entry),
    /// Answer this request from it, then drop it: the 304 forbids keeping it.
    ServeOnce(Entry, Unstorable),
    /// The 304 is about another representation: drop the entry and fetch without conditions.
    Mismatch,
}

/// What a response to a forwarded HEAD does to the stored GET.
#[derive(Clone, Debug)]
pub enum HeadEffect {
    /// It describes the same representation: replace the stored head by this one.
    Freshen(Entry),
    /// It describes another one: the stored response is to be treated as stale.
    Invalidate,
    /// It says nothing about it.
    Leave,
}

/// The stored response with the fields of a 304 to our conditional request (RFC 9111 §4.3.4).
pub fn freshen(
    request: &RequestHead,
    entry: &Entry,
    not_modified: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> Freshened {
    let _ = (request, entry, not_modified, asked, rules, now);
    todo!()
}

/// What a response to a forwarded HEAD does to the stored GET (RFC 9111 §4.3.5).
pub fn freshen_by_head(
    request: &RequestHead,
    entry: &Entry,
    response: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> HeadEffect {
    let _ = (request, entry, response, asked, rules, now);
    todo!()
}
