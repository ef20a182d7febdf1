//! `Vary`: a response answers the request that it was stored for, and not one with another value of a named field.
#![no_main]

use http::{HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use verge_edge::policy::Selecting;
use verge_edge::policy::vary::{self, MAX_FIELDS, Vary};
use verge_edge_fuzz::{field, get, response};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (names, value) = input;
    let head = response(StatusCode::OK, field("vary", names));
    let mut headers = field("foo", value);
    headers.extend(field("accept-language", value));
    let request = get(b"http://a.example/", headers).expect("a URI");
    let selecting = Selecting::of(&request, &head);
    assert!(selecting.matches(&request));
    let Vary::Fields(fields) = vary::of(&head) else { return };
    assert!(fields.len() <= MAX_FIELDS && fields.is_sorted_by(|a, b| a.as_str() < b.as_str()));
    assert!(selecting.names().eq(fields.iter()));
    for name in &fields {
        let mut other = request.clone();
        other.headers.append(name, HeaderValue::from_static("one-more"));
        assert!(!selecting.matches(&other), "{name}");
    }
});
