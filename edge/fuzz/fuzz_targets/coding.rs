//! `Accept-Encoding`: one coding is left of it, the one that was liked best, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_edge::policy::encoding::{Coding, normalise, preferred};
use verge_edge_fuzz::field;

fuzz_target!(|bytes: &[u8]| {
    let offered = [Coding::Br, Coding::Zstd, Coding::Gzip];
    let mut headers = field("accept-encoding", bytes);
    let best = preferred(&headers, &offered);
    normalise(&mut headers, &offered);
    let left: Vec<&str> = headers.values().map(|value| value.to_str().expect("a coding's name")).collect();
    assert_eq!(left, best.iter().map(|coding| coding.as_str()).collect::<Vec<_>>());
    assert_eq!(preferred(&headers, &offered), best);
});
