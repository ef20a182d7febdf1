//! Lines of `Cache-Control`: a directive that restricts is seen on whatever line it stands, and no number is too large.
#![no_main]

use http::{HeaderName, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use verge_edge::policy::control::{self, Scope, Voice};
use verge_edge::http::seconds::MAX_DELTA_SECS;
use verge_edge_fuzz::field;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = field("cache-control", bytes);
    let (before, _) = control::of_response(&headers, &[]);
    let numbers = [before.max_age, before.s_maxage, before.stale_while_revalidate, before.stale_if_error];
    assert!(numbers.into_iter().flatten().all(|secs| secs <= MAX_DELTA_SECS));
    headers.append(header::CACHE_CONTROL, HeaderValue::from_static("NO-STORE, private=\"a\", max-age=7"));
    let (after, voice) = control::of_response(&headers, &[HeaderName::from_static("cdn-cache-control")]);
    assert!(after.no_store && after.private != Scope::Nothing && voice == Voice::General);
    assert_eq!(after.max_age, before.max_age.or(Some(7)), "the first counts");
    let request = control::of_request(&headers);
    assert!(request.no_store && request.max_age.is_some());
});
