//! Early hints of the edge's own (RFC 8297): while the origin is asked whether a page still holds, the browser fetches
//! what the page is known to need.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::http::head::RequestHead;

/// The fields of the 103 for `request`, while it waits for a newer form of the stored response with the fields `stored`.
/// None if there is nothing to hint at, or the client is not known to understand it: a navigation of a browser, which
/// says so itself, is; for libraries a 1xx over HTTP/1.1 may be the response.
pub fn early(request: &RequestHead, stored: &HeaderMap) -> Option<HeaderMap> {
    let mode = request.headers.get(SEC_FETCH_MODE).map(HeaderValue::as_bytes);
    if request.method != Method::GET || mode != Some(b"navigate") {
        return None;
    }
    let mut left = MOST_BYTES;
    let links = stored.get_all(header::LINK).iter().filter(|link| is_hint(link)).take_while(|link| {
        left = left.saturating_sub(link.len());
        left > 0
    });
    let hints: HeaderMap = links.map(|link| (header::LINK, link.clone())).collect();
    (!hints.is_empty()).then_some(hints)
}

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// A browser takes some tens of them.
const MOST_BYTES: usize = 8 << 10;

/// Whether a `Link` (RFC 8288) names something that a browser fetches or connects to early. Other relations on the same
/// line do no harm.
fn is_hint(link: &HeaderValue) -> bool {
    const RELATIONS: [&str; 3] = ["rel=preload", "rel=modulepreload", "rel=preconnect"];
    let plain: String = String::from_utf8_lossy(link.as_bytes())
        .to_ascii_lowercase()
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != '"')
        .collect();
    RELATIONS.iter().any(|relation| plain.contains(relation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{fields, request};

    #[test]
    fn a_browser_that_navigates_is_told_what_the_page_needs() {
        let navigate = [("sec-fetch-mode", "navigate")];
        let page = fields(&[
            ("link", "</a.css>; rel=preload; as=style"),
            ("link", "<https://cdn.test>; Rel = \"preconnect\""),
            ("link", "</next>; rel=next"),
            ("x", "1"),
        ]);
        let told = early(&request("GET", "http://a.test/", &navigate), &page).unwrap();
        let links: Vec<_> = told.get_all("link").iter().collect();
        assert_eq!(links, ["</a.css>; rel=preload; as=style", "<https://cdn.test>; Rel = \"preconnect\""]);
        assert_eq!(told.len(), 2);
        for (method, sent, stored) in [
            ("GET", &[][..], &page),
            ("GET", &[("sec-fetch-mode", "cors")][..], &page),
            ("HEAD", &navigate[..], &page),
            ("GET", &navigate[..], &fields(&[("link", "</next>; rel=next")])),
            ("GET", &navigate[..], &fields(&[("link", &format!("<{}>; rel=preload", "a".repeat(9_000)))])),
        ] {
            assert_eq!(early(&request(method, "http://a.test/", sent), stored), None, "{method} {sent:?}");
        }
    }
}
