//! Two requests with one key are one request to the origin.
#![no_main]

use http::{HeaderName, header};
use libfuzzer_sys::fuzz_target;
use verge_edge::site::key::{self, KeyRules};
use verge_edge::site::pattern::NamePattern;
use verge_edge_fuzz::{field, get};

/// The host's labels; the root's empty one, which a dot at the end writes out, is left off (RFC 1034 §3.1).
fn host(uri: &http::Uri) -> Option<Vec<String>> {
    let host = uri.host()?.to_ascii_lowercase();
    let mut labels: Vec<String> = host.split('.').map(str::to_owned).collect();
    if let [.., before, last] = &labels[..]
        && !before.is_empty()
        && last.is_empty()
    {
        labels.pop();
    }
    Some(labels)
}

fuzz_target!(|input: (&[u8], &[u8], &[u8], &[u8])| {
    let (one, other, fields, other_fields) = input;
    let request = |uri: &[u8], fields: &[u8]| {
        let mut headers = field("foo", fields);
        headers.extend(field("cookie", fields));
        get(uri, headers)
    };
    let (Some(one), Some(other)) = (request(one, fields), request(other, other_fields)) else { return };
    let plain = KeyRules::default();
    let keyed = KeyRules {
        headers: vec![HeaderName::from_static("foo")],
        cookies: ["a", "b*"].map(|name| NamePattern::parse(name).expect("a name")).into(),
        ..KeyRules::default()
    };
    for rules in [&plain, &keyed] {
        let same = key::key(&one, rules) == key::key(&other, rules);
        assert_eq!(same, key::key(&other, rules) == key::key(&one, rules));
        if same {
            assert_eq!(key::target(&one.uri), key::target(&other.uri));
            assert_eq!(host(&one.uri), host(&other.uri));
            assert_eq!(one.uri.scheme(), other.uri.scheme());
        }
    }
    if key::key(&one, &keyed) == key::key(&other, &keyed) {
        assert_eq!(key::key(&one, &plain), key::key(&other, &plain));
        assert_eq!(one.headers.contains_key("foo"), other.headers.contains_key("foo"));
    }
    let mut without = one.clone();
    without.headers.remove(header::COOKIE);
    assert_eq!(key::key(&one, &plain), key::key(&without, &plain), "what is not keyed does not count");
});
