//! A date is one second of time, and is read again as it is written.
#![no_main]

use std::time::UNIX_EPOCH;

use libfuzzer_sys::fuzz_target;
use verge_edge::http::date;
use verge_edge_fuzz::now;

fuzz_target!(|bytes: &[u8]| {
    let Some(time) = date::parse(bytes, now()) else { return };
    let written = date::format(time);
    assert_eq!(written.len(), 29, "{written:?}");
    // A time before 1970 is written as 1970's beginning: both have been over for a long time.
    assert_eq!(date::parse(written.as_bytes(), now()), Some(time.max(UNIX_EPOCH)));
    // Nothing but letters, digits and a few marks is in any of the three forms.
    assert!(bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b" ,:-".contains(byte)));
});
