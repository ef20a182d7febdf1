//! Byte ranges (RFC 9110 §14): what was asked, what a part holds, and the plan of an answer.
//!
//! ```text
//! Range ─▶ syntax ─▶ Spec ─▶ resolve ─▶ Part, or several ─▶ multipart
//!                      ├───▶ wanted: what to ask the origin for, if nothing of it is known
//!                      └───▶ slice: what to ask for instead, if its length is
//! ```
//!
//! Invariant: an answer never has more bytes than the whole representation, whatever ranges were asked (RangeAmp).
//! Invariant: no origin is asked for more than one range.

mod wanted;

pub use wanted::{Sent, Wanted, is_in_another_unit, sent, wanted};

use super::Content;
use crate::http::head::ResponseHead;
use crate::http::range::{Part, Spec, part};

/// The result of applying ranges to a representation of a given length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// These, ascending and apart from each other.
    Parts(Vec<Part>),
    /// None of them begins inside.
    Unsatisfiable,
    /// They are so many or so large that the whole is the better answer (RFC 9110 §14.2).
    Excessive,
}

/// A large object that is asked for in ranges is fetched in pieces that begin and end at multiples of this: small
/// enough that a byte does not cost much, large enough that a player asks an origin seldom.
pub const SLICE_BYTES: u64 = 1 << 20;
/// A request whose slices would come to more than this is fetched as it is, not in slices.
const MAX_SLICED_BYTES: u64 = 8 * SLICE_BYTES;
/// An answer has at most this many parts; more get the whole.
pub const MAX_PARTS: usize = 16;
/// Ranges nearer than a part's head is long are sent as one (RFC 9110 §15.3.7.2).
const JOIN_GAP_BYTES: u64 = 80;
/// The most that a part's delimiter and head cost, with a `Content-Type` of common length.
const PIECE_HEAD_BYTES: u64 = 256;

/// The ranges that `specs` select in a representation of `length` bytes.
pub fn resolve(specs: &[Spec], length: u64) -> Resolved {
    let satisfiable = specs.iter().filter_map(|spec| within(*spec, length)).collect();
    let parts = coalesce(satisfiable);
    let several = parts.len() > 1;
    let sent: u64 = parts.iter().fold(0, |sum, part| sum.saturating_add(part.length()));
    let heads = PIECE_HEAD_BYTES * parts.len() as u64;
    if parts.is_empty() {
        Resolved::Unsatisfiable
    } else if parts.len() > MAX_PARTS || several && sent.saturating_add(heads) >= length {
        Resolved::Excessive
    } else {
        Resolved::Parts(parts)
    }
}

/// The content of a body with this head and, by its own framing, `length` bytes. A part whose body
/// ends early is a shorter part (RFC 9111 §3.3).
pub fn content(response: &ResponseHead, length: Option<u64>) -> Content {
    match part(response) {
        Some(part) => Content::Part(length.and_then(|length| part.framed(length)).unwrap_or(part)),
        None => Content::Whole { length },
    }
}

/// The slices in which one range of a representation of `complete` bytes lies; none for several ranges or large ones.
pub fn slice(specs: &[Spec], complete: u64) -> Option<Part> {
    let [spec] = specs else { return None };
    let wanted = within(*spec, complete)?;
    let first = wanted.first / SLICE_BYTES * SLICE_BYTES;
    let end = (wanted.last / SLICE_BYTES + 1).saturating_mul(SLICE_BYTES).min(complete);
    let slice = Part { first, last: end - 1, complete: Some(complete) };
    (slice.length() <= MAX_SLICED_BYTES).then_some(slice)
}

/// Two parts as one, if they touch or overlap and are of one length (RFC 9111 §3.4). The caller has compared their
/// strong validators: [`super::validate::likeness`].
pub fn combine(held: Part, more: Part) -> Option<Part> {
    let (low, high) = if held.first <= more.first { (held, more) } else { (more, held) };
    let complete = held.complete.or(more.complete);
    let of_one = held.complete.is_none() || more.complete.is_none() || held.complete == more.complete;
    let touch = high.first <= low.last.saturating_add(1);
    (of_one && touch).then_some(Part { first: low.first, last: low.last.max(high.last), complete })
}

fn within(spec: Spec, length: u64) -> Option<Part> {
    let end = length.checked_sub(1)?;
    let (first, last) = match spec {
        Spec::Suffix { length: 0 } => return None,
        Spec::Suffix { length: suffix } => (length.saturating_sub(suffix), end),
        Spec::From { first, .. } if first > end => return None,
        Spec::From { first, last } => (first, last.unwrap_or(end).min(end)),
    };
    Some(Part { first, last, complete: Some(length) })
}

fn coalesce(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort_unstable_by_key(|part| part.first);
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match joined.last_mut() {
            Some(previous) if part.first <= previous.last.saturating_add(JOIN_GAP_BYTES) => {
                previous.last = previous.last.max(part.last);
            }
            _ => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::stored_response;
    use super::*;
    use crate::http::range::asked;
    use crate::http::testing::{fields, get, response};
    use http::HeaderValue;

    fn resolved(range: &str, length: u64) -> Option<Resolved> {
        asked(&fields(&[("range", range)])).map(|specs| resolve(&specs, length))
    }

    fn check(range: &str, length: u64, expected: &[(u64, u64)]) {
        let parts =
            expected.iter().map(|&(first, last)| Part { first, last, complete: Some(length) }).collect();
        assert_eq!(resolved(range, length), Some(Resolved::Parts(parts)), "{range} of {length}");
    }

    #[test]
    fn ranges_are_cut_to_the_representation() {
        check("bytes=0-1", 11, &[(0, 1)]);
        check("bytes=1-", 11, &[(1, 10)]);
        check("bytes=-1", 11, &[(10, 10)]);
        check("bytes=-99", 11, &[(0, 10)]);
        check("bytes=5-99999999999999999999999", 11, &[(5, 10)]);
        check("BYTES=0-0", 11, &[(0, 0)]);
        check("bytes= 0-0 , ,99-", 11, &[(0, 0)]);
        check("bytes=0-", 11, &[(0, 10)]);
    }

    #[test]
    fn several_ranges_are_sorted_and_joined() {
        check("bytes=5000-5009,0-9", 10_000, &[(0, 9), (5000, 5009)]);
        check("bytes=0-9,5-20,21-30", 10_000, &[(0, 30)]);
        check("bytes=0-9,80-90", 10_000, &[(0, 90)]);
        check("bytes=0-9,90-99", 10_000, &[(0, 9), (90, 99)]);
    }

    #[test]
    fn what_begins_nowhere_is_unsatisfiable() {
        for (range, length) in
            [("bytes=11-", 11), ("bytes=-0", 11), ("bytes=0-", 0), ("bytes=-1", 0), ("bytes=20-30,40-", 11)]
        {
            assert_eq!(resolved(range, length), Some(Resolved::Unsatisfiable), "{range}");
        }
    }

    #[test]
    fn many_or_large_ranges_get_the_whole() {
        assert_eq!(resolved("bytes=0-399,500-999", 1000), Some(Resolved::Excessive));
        let many: Vec<String> = (0..=MAX_PARTS).map(|n| format!("{}-{}", n * 1000, n * 1000)).collect();
        assert_eq!(resolved(&format!("bytes={}", many.join(",")), 1_000_000), Some(Resolved::Excessive));
    }

    #[test]
    fn parts_join_when_they_touch() {
        let part = |first, last| Part { first, last, complete: Some(100) };
        for (held, more, expected) in [
            (part(0, 4), part(5, 9), Some(part(0, 9))),
            (part(5, 9), part(0, 4), Some(part(0, 9))),
            (part(0, 9), part(3, 5), Some(part(0, 9))),
            (part(0, 4), part(6, 9), None),
            (part(0, 4), Part { complete: Some(99), ..part(5, 9) }, None),
            (part(0, 4), Part { complete: None, ..part(5, 9) }, Some(part(0, 9))),
        ] {
            assert_eq!(combine(held, more), expected, "{held:?} {more:?}");
        }
        assert_eq!(part(0, 4).missing().map(|part| part.range()), Some(HeaderValue::from_static("bytes=5-")));
        assert_eq!(part(40, 99).missing(), Some(part(0, 39)));
        assert_eq!(part(40, 98).missing(), None);
        assert_eq!(part(0, 99).missing(), None);
    }

    #[test]
    fn a_range_lies_in_slices() {
        let check = |range: &str, complete: u64, expected: Option<(u64, u64)>| {
            let specs = asked(&fields(&[("range", range)])).unwrap();
            let found = slice(&specs, complete).map(|slice| (slice.first, slice.last));
            assert_eq!(found, expected, "{range} of {complete}");
        };
        let (mib, gib) = (1 << 20, 1 << 30);
        check("bytes=0-0", gib, Some((0, mib - 1)));
        check("bytes=1048575-1048576", gib, Some((0, 2 * mib - 1)));
        check("bytes=3000000-", 3_000_010, Some((2 * mib, 3_000_009)));
        check("bytes=-5", gib, Some((gib - mib, gib - 1)));
        check("bytes=5-9", 10, Some((0, 9)));
        check("bytes=0-", gib, None);
        check("bytes=10-", 10, None);
        check("bytes=0-0,9-9", 10, None);
    }

    #[test]
    fn a_part_that_ends_early_is_a_shorter_part() {
        let head = response(206, &[("content-range", "bytes 4-9/10")]);
        assert_eq!(content(&head, Some(5)), Content::Part(Part { first: 4, last: 8, complete: Some(9) }));
        let inner = response(206, &[("content-range", "bytes 4-8/10")]);
        assert_eq!(content(&inner, Some(3)), Content::Part(Part { first: 4, last: 6, complete: Some(10) }));
        assert_eq!(content(&inner, Some(9)), Content::Part(Part { first: 4, last: 8, complete: Some(10) }));
        let entry = stored_response(&get(&[]), &head, 6);
        assert_eq!(entry.offset_in_body(&Part { first: 5, last: 5, complete: Some(10) }), 1);
        let cut = entry.clone().completed(3).map(|entry| entry.content);
        assert_eq!(cut, Some(Content::Part(Part { first: 4, last: 6, complete: Some(10) })));
        assert!(entry.completed(0).is_none());
        assert_eq!(content(&head, None), Content::Part(Part { first: 4, last: 9, complete: Some(10) }));
    }

    proptest! {
        #[test]
        fn no_range_of_any_bytes_panics(text in "[ -~]{0,40}", length in any::<u64>()) {
            let _ = resolved(&format!("bytes={text}"), length);
        }

        /// Against the bytes one by one: each asked byte is sent once, none lies outside, and never more than the whole.
        #[test]
        fn resolving_matches_marking_bytes(
            specs in proptest::collection::vec((0u64..1200, proptest::option::of(0u64..1200), any::<bool>()), 1..6),
            length in 0u64..1000,
        ) {
            let specs: Vec<Spec> = specs.into_iter().map(|(a, b, suffix)| match b {
                _ if suffix => Spec::Suffix { length: a },
                Some(b) => Spec::From { first: a.min(b), last: Some(a.max(b)) },
                None => Spec::From { first: a, last: None },
            }).collect();
            let asked = |byte: u64| specs.iter().any(|spec| match *spec {
                Spec::From { first, last } => first <= byte && last.is_none_or(|last| byte <= last),
                Spec::Suffix { length: suffix } => byte + suffix >= length,
            });
            let any = (0..length).any(asked);
            match resolve(&specs, length) {
                Resolved::Unsatisfiable => prop_assert!(!any),
                Resolved::Excessive => prop_assert!(any && specs.len() > 1),
                Resolved::Parts(parts) => {
                    let held = |byte| parts.iter().filter(|part| part.first <= byte && byte <= part.last).count();
                    prop_assert!((0..length).all(|byte| held(byte) <= 1 && (!asked(byte) || held(byte) == 1)));
                    prop_assert!(parts.iter().all(|part| part.first <= part.last && part.last < length));
                    prop_assert!(parts.iter().map(Part::length).sum::<u64>() <= length);
                }
            }
        }
    }
}
