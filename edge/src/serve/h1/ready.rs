//! The bytes of an answer's head, as hyper would write them.

use http::{StatusCode, header};
use hyper::body::Body as _;

use crate::policy::headers::status::{CacheStatus, Verdict};
use crate::serve::answer::Answer;
use crate::serve::exchange::Exchange;
use crate::store::ready::{Circumstances, Gap, ReadyHead};

/// The head of this answer from a fresh stored response, for such answers at any age; none if hyper would do more with it
/// than write its fields.
pub(super) fn ready_head(
    answer: &Answer,
    exchange: &Exchange<'_>,
    name: &str,
    made_for: Circumstances,
) -> Option<ReadyHead> {
    let (headers, status) = (&answer.head.headers, answer.head.status);
    let freshness = answer.freshness?;
    let own = CacheStatus { verdict: Verdict::Hit(freshness), detail: None, key: None }.field(name)?;
    let is_ours = |set: &http::HeaderName| set == CacheStatus::NAME || set == header::AGE;
    let says_ours = exchange.site.site.response_fields.set.iter().any(|(set, _)| is_ours(set));
    let is_of_hyper = [header::CONNECTION, header::TRANSFER_ENCODING, header::TRAILER];
    if says_ours
        || is_of_hyper.iter().any(|name| headers.contains_key(name))
        || !headers.contains_key(header::DATE)
    {
        return None;
    }
    let length = answer.body.size_hint().exact()?;
    // hyper writes a length of nothing at another place.
    let has_content = status != StatusCode::NOT_MODIFIED;
    if has_content && length == 0 {
        return None;
    }
    let mut text = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason()?).into_bytes();
    let mut gaps = [None; 2];
    let mut gap = |at, gap| gaps.iter_mut().find(|free| free.is_none()).map(|free| *free = Some((at, gap)));
    let last_status = headers.get_all(CacheStatus::NAME).iter().next_back();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        if name == header::AGE {
            gap(text.len(), Gap::Age);
        } else if name == header::CONTENT_LENGTH && has_content {
            // Of the body, whatever is said of it: the bytes behind its end would be the next answer.
            text.extend_from_slice(length.to_string().as_bytes());
        } else if last_status.is_some_and(|last| std::ptr::eq(last, value)) && *value == own {
            let digits = own
                .as_bytes()
                .iter()
                .rev()
                .take_while(|byte| byte.is_ascii_digit() || **byte == b'-')
                .count();
            text.extend_from_slice(&own.as_bytes()[..own.len() - digits]);
            gap(text.len(), Gap::Ttl);
        } else {
            text.extend_from_slice(value.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
    }
    if has_content && !headers.contains_key(header::CONTENT_LENGTH) {
        text.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    Some(ReadyHead::new(made_for, text, gaps))
}
