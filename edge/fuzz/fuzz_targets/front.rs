//! Strangers' requests to a part of a site: paths that are asked for elsewhere, credentials, and the types they accept.
#![no_main]

use http::{HeaderValue, StatusCode, Uri};
use libfuzzer_sys::fuzz_target;
use verge_edge::site::access::{Credentials, Rate, Users};
use verge_edge::site::pages::{Errors, Maker, Page, Pages};
use verge_edge::site::route::{self, Route};
use verge_edge_fuzz::field;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(uri) = format!("http://a.test/{text}").parse::<Uri>() {
        leads_below(&uri);
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let read = Credentials::read(&value);
        assert!(read.is_none_or(|read| !read.name().contains(':')));
    }
    if let Ok(users) = Users::read(&text, &text) {
        assert!(users.count() > 0 && !users.hash_of("").0.is_empty());
    }
    if let Some(rate) = Rate::parse(&text, 1) {
        assert!(rate.take(0, 1_000_000).is_ok());
    }
    let page = Page {
        statuses: Errors::parse("5xx").into_iter().collect(),
        for_origin: false,
        kind: HeaderValue::from_static("text/html; charset=utf-8"),
        content: bytes::Bytes::new(),
    };
    let pages = Pages(vec![page]);
    assert!(pages.of(StatusCode::NOT_FOUND, Maker::Edge, &field("accept", bytes)).is_none());
    let _ = pages.of(StatusCode::BAD_GATEWAY, Maker::Edge, &field("accept", bytes));
});

fn leads_below(uri: &Uri) {
    for (paths, there) in [(&["/a/*"][..], "/b/*"), (&["/x/*/y/*", "/*"], "/b/*"), (&["*.css"], "/one")] {
        let there = route::origin_path(there).expect("a path");
        let base = there.trim_end_matches('*').to_owned();
        let route = Route::new(paths, Some(there)).expect("patterns");
        let found = route::target(uri, Some(&route));
        let asked = verge_edge::site::key::target(uri);
        assert_eq!(found.query(), asked.query());
        match route.has(asked.path()) {
            true => assert!(found.path().starts_with(&base), "{uri} {found}"),
            false => assert_eq!(found.path(), asked.path()),
        }
        assert!(found.path().split('/').all(|segment| segment != ".." && segment != "."), "{uri} {found}");
    }
}
