//! Answers of origins: a kept head has nothing of the connection, and a 1xx head is lines and no more.
#![no_main]

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use verge_edge::policy::{Admit, Entry, admit, reuse};
use verge_edge::serve::h1::gate::interim;
use verge_edge::site::Rules;
use verge_edge::site::tags::{self, MAX_TAGS, TagFields, Tags};
use verge_edge_fuzz::{get, now, response};

fuzz_target!(|input: (u16, &[u8])| {
    let (status, bytes) = input;
    let headers = fields(bytes);
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let mut early = BytesMut::new();
    interim::write(status, &headers, &mut early);
    let lines = early.windows(2).filter(|pair| *pair == b"\r\n").count();
    assert!(early.ends_with(b"\r\n\r\n") && lines <= headers.len() + 2);
    if let Tags::These(tags) = TagFields::default().of(&headers) {
        assert!(tags.len() <= MAX_TAGS && tags.iter().all(|tag| tags::is_tag(tag)));
    }
    let head = response(status, headers);
    let request = get(b"http://a.example/", HeaderMap::new()).expect("a URI");
    let rules = Rules::default();
    if let Admit::Keep(lifetime) = admit(&request, &head, now(), &rules, now()) {
        let entry = Entry::new(&request, &head, lifetime, now(), now(), Some(10));
        for name in ["connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"] {
            assert!(!entry.head.headers.contains_key(name), "{name}");
        }
        let _ = reuse(&request, &[&entry], &rules, now());
    }
});

/// A field for each line that is one.
fn fields(bytes: &[u8]) -> HeaderMap {
    let lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
    });
    let mut headers = HeaderMap::new();
    // http's map panics at 32,768; a head has 256 at most.
    for (name, value) in lines.take(256) {
        headers.append(name, value);
    }
    headers
}
