//! Conditions and ranges about what is stored: what is sent is the whole, nothing, or parts of it.
#![no_main]

use http::{HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use verge_edge::policy::{Admit, Entry, Selection, admit, reuse, select};
use verge_edge::site::Rules;
use verge_edge_fuzz::{field, get, now, response};

const LENGTH: u64 = 1_000;

fuzz_target!(|input: (&[u8], &[u8], &[u8], &[u8], &[u8])| {
    let (tag, tags, dates, if_range, range) = input;
    let mut stored = field("etag", tag);
    stored.extend(field("last-modified", dates));
    stored.insert("cache-control", HeaderValue::from_static("max-age=60"));
    let head = response(StatusCode::OK, stored.clone());
    let plain = get(b"http://a.example/", http::HeaderMap::new()).expect("a URI");
    let Admit::Keep(lifetime) = admit(&plain, &head, now(), &Rules::default(), now()) else { return };
    let entry = Entry::new(&plain, &head, lifetime, now(), now(), Some(LENGTH));
    let mut asked = field("if-none-match", tags);
    for (name, bytes) in
        [("if-modified-since", dates), ("if-match", tags), ("if-range", if_range), ("range", range)]
    {
        asked.extend(field(name, bytes));
    }
    let request = get(b"http://a.example/", asked).expect("a URI");
    let _ = reuse(&request, &[&entry], &Rules::default(), now());
    if let Selection::Partial(parts) = select(&request, &entry) {
        assert!(request.headers.contains_key("range") && !parts.is_empty());
        assert!(parts.iter().all(|part| part.first <= part.last && part.last < LENGTH));
        assert!(parts.iter().map(|part| part.length()).sum::<u64>() <= LENGTH);
    }
    // A request that names any tag has the stored one; without conditions none has.
    let any = field("if-none-match", b"*");
    let any = get(b"http://a.example/", any).expect("a URI");
    assert_eq!(select(&any, &entry), Selection::NotModified);
    assert_eq!(select(&plain, &entry), Selection::Whole);
    if let Some(tag) = stored.get("etag").filter(|tag| is_tag(tag.as_bytes())) {
        let mut own = http::HeaderMap::new();
        own.insert(HeaderName::from_static("if-none-match"), tag.clone());
        let own = get(b"http://a.example/", own).expect("a URI");
        assert_eq!(select(&own, &entry), Selection::NotModified, "{tag:?}");
    }
});

/// RFC 9110 §8.8.3, of visible ASCII.
fn is_tag(tag: &[u8]) -> bool {
    let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
    let inside = opaque.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inside.is_some_and(|inside| inside.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e)))
}
