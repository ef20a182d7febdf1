//! The target in normal form is in normal form, and has the same key.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use verge_edge::site::key::{self, KeyRules};
use verge_edge_fuzz::get;

fuzz_target!(|bytes: &[u8]| {
    let Some(request) = get(bytes, HeaderMap::new()) else { return };
    let target = key::target(&request.uri);
    assert_eq!(target.query(), request.uri.query(), "the query goes as it came");
    assert!(target.path().split('/').all(|segment| segment != ".." && segment != "."), "{target}");
    if !is_rightly_encoded(request.uri.path()) {
        // It goes as it came but for its dot segments, and is named so.
        return;
    }
    let mut parts = request.uri.clone().into_parts();
    parts.path_and_query = Some(target.clone());
    let again = get(http::Uri::from_parts(parts).expect("a target is a path").to_string().as_bytes(), HeaderMap::new());
    let again = again.expect("a URI in normal form is a URI");
    assert_eq!(key::target(&again.uri), target);
    let rules = KeyRules::default();
    assert_eq!(key::key(&again, &rules), key::key(&request, &rules));
});

fn is_rightly_encoded(path: &str) -> bool {
    let mut behind = path.split('%').skip(1);
    behind.all(|text| text.len() >= 2 && text.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}
