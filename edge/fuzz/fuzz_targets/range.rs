//! Ranges: what is sent lies inside, ascending, and is no more than the whole.
#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use verge_edge::http::range as syntax;
use verge_edge::policy::range::{self, MAX_PARTS, Resolved};
use verge_edge_fuzz::{field, response};

fuzz_target!(|input: (u64, &[u8])| {
    let (length, bytes) = input;
    if let Some(specs) = syntax::asked(&field("range", bytes)) {
        if let Resolved::Parts(parts) = range::resolve(&specs, length) {
            assert!(!parts.is_empty() && parts.len() <= MAX_PARTS);
            assert!(parts.iter().all(|part| part.first <= part.last && part.last < length));
            assert!(parts.is_sorted_by(|a, b| a.last < b.first));
            assert!(parts.iter().map(|part| part.length()).sum::<u64>() <= length);
        }
        if let Some(slice) = range::slice(&specs, length) {
            let Resolved::Parts(parts) = range::resolve(&specs, length) else { panic!("a slice of nothing") };
            assert!(parts.iter().all(|part| slice.holds(part)) && slice.last < length);
        }
    }
    if let Some(part) = syntax::part(&response(StatusCode::PARTIAL_CONTENT, field("content-range", bytes))) {
        let named = response(StatusCode::PARTIAL_CONTENT, field("content-range", part.content_range().as_bytes()));
        assert_eq!(syntax::part(&named), Some(part));
        for length in [1, part.length(), length.max(1)] {
            assert!(part.cut(length).is_some_and(|cut| part.holds(&cut) && cut.length() <= length));
        }
    }
});
