//! Fields that a site sets or removes, and the addresses it sends clients to instead.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::http::head::{RequestHead, ResponseHead};
use crate::site::Site;
use crate::site::pattern::PathPattern;

/// A site's changes to the fields of a message, in this order. Names are not [`is_ours`]; values hold no CR
/// or LF, as [`HeaderValue`] cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRules {
    /// These go.
    pub remove: Vec<HeaderName>,
    /// These take the place of any that are there.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

/// A path that is somewhere else now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Which paths.
    pub from: PathPattern,
    /// Where to: a path or an absolute URL. A `*` in it is what the last one of `from` stood for.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl FieldRules {
    /// These after those of `before`, as one: where both speak of a field, these count.
    pub fn over(self, before: &Self) -> Self {
        let speaks_of =
            |name: &HeaderName| self.remove.contains(name) || self.set.iter().any(|(set, _)| set == name);
        let kept = before.set.iter().filter(|(name, _)| !speaks_of(name)).cloned().collect::<Vec<_>>();
        Self {
            remove: before.remove.iter().cloned().chain(self.remove).collect(),
            set: kept.into_iter().chain(self.set).collect(),
        }
    }

    /// Applies them.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

/// Whether only the edge itself may say this field: framing, routing, and what guards against loops and tells ages.
pub fn is_ours(name: &HeaderName) -> bool {
    // To an origin behind CGI the one is the other.
    let name = name.as_str().replace('_', "-");
    OURS.contains(&name.as_str()) || FORWARDED.contains(&name.as_str())
}

/// The fields by which the edge tells an origin who asks and for what, beside [`Forwarded`](header::FORWARDED), and the one
/// that would move an application's paths.
pub const FORWARDED: [&str; 4] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"];

const OURS: &[&str] = &[
    "age",
    "cdn-loop",
    "connection",
    "content-length",
    "content-range",
    "date",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The last thing that happens to a response: the fields that are for this cache go, and what the site wants is done.
pub fn outgoing(headers: &mut HeaderMap, for_us: &[HeaderName], rules: &FieldRules) {
    for name in for_us {
        headers.remove(name);
    }
    rules.apply(headers);
}

/// The fields of an answer with these that tell which pages may read it, as they are sent.
pub fn said_of_readers(headers: &HeaderMap, site: &Site) -> HeaderMap {
    let name = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    let mut said = HeaderMap::new();
    for value in headers.get_all(&name) {
        said.append(&name, value.clone());
    }
    outgoing(&mut said, &site.ends_here, &site.response_fields);
    said
}

/// Whether a response sends a GET to the URL that it is for, and changes nothing that would make the next answer another.
pub fn leads_to_itself(request: &RequestHead, response: &ResponseHead) -> bool {
    let headers = &response.headers;
    if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308)
        || request.method != Method::GET
        || headers.contains_key(header::SET_COOKIE)
    {
        return false;
    }
    let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    let Some(location) = location.and_then(|location| location.parse::<Uri>().ok()) else { return false };
    let same = |uri: &Uri| (uri.scheme_str() == request.uri.scheme_str(), uri.host() == request.uri.host());
    let here = location.scheme().is_none() || same(&location) == (true, true);
    here && location.path_and_query() == request.uri.path_and_query()
}

impl Redirect {
    /// Where a request for this path in normal form goes. The query goes along unless `to` has one.
    ///
    /// Nothing is decoded on the way, so an encoded CR, LF or quote stays one (EDGE §2, class 8).
    pub fn location(&self, path: &str, query: Option<&str>) -> Option<HeaderValue> {
        let captured = self.from.captured(path)?;
        let mut location = self.to.replacen('*', captured, 1);
        if self.to.starts_with('/') {
            // "//host" and what browsers take for it would be another host's.
            location = format!("/{}", location.trim_start_matches(['/', '\\']));
        }
        if let Some(query) = query
            && !self.to.contains('?')
        {
            location = format!("{location}?{query}");
        }
        HeaderValue::try_from(location).ok()
    }

    /// The response.
    pub fn head(&self, location: HeaderValue) -> ResponseHead {
        let headers = [(header::LOCATION, location), (header::CONTENT_LENGTH, HeaderValue::from(0))];
        ResponseHead { status: self.status, headers: headers.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    #[test]
    fn fields_are_removed_then_set_and_tags_end_here() {
        let rules = FieldRules {
            remove: vec![header::SERVER, header::VARY],
            set: vec![(header::VARY, HeaderValue::from_static("a"))],
        };
        let before = fields(&[("server", "x"), ("vary", "b"), ("vary", "c"), ("cache-tag", "t"), ("x", "1")]);
        let mut headers = before.clone();
        outgoing(&mut headers, &[HeaderName::from_static("cache-tag")], &rules);
        assert_eq!(headers, fields(&[("vary", "a"), ("x", "1")]));
        let mut headers = before.clone();
        outgoing(&mut headers, &[], &FieldRules::default());
        assert_eq!(headers, before);
    }

    #[test]
    fn later_changes_of_fields_count_beside_earlier_ones_and_before_them() {
        let rules = |remove: &[&'static str], set: &[(&'static str, &'static str)]| FieldRules {
            remove: remove.iter().map(|name| HeaderName::from_static(name)).collect(),
            set: set.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect(),
        };
        let site = rules(&["server", "etag"], &[("x-a", "site"), ("x-b", "site"), ("x-c", "site")]);
        let route = rules(&["x-b"], &[("x-a", "route"), ("etag", "\"route\"")]);
        let mut headers = fields(&[("server", "x"), ("etag", "\"o\""), ("x-b", "origin")]);
        route.over(&site).apply(&mut headers);
        assert_eq!(headers, fields(&[("x-a", "route"), ("x-c", "site"), ("etag", "\"route\"")]));
    }

    #[test]
    fn no_site_says_what_frames_or_routes_a_message() {
        for name in ["content-length", "content_length", "transfer_encoding", "x_forwarded_for", "host"] {
            assert!(is_ours(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_ours(&HeaderName::from_static("content-type")));
    }

    fn check(from: &str, to: &str, path: &str, query: Option<&str>, expected: Option<&str>) {
        let from = PathPattern::parse(from).unwrap();
        let redirect = Redirect { from, to: to.to_owned(), status: StatusCode::FOUND };
        let found = redirect.location(path, query);
        assert_eq!(found.as_ref().map(|found| found.to_str().unwrap()), expected, "{to} {path}");
    }

    #[test]
    fn a_redirect_to_the_same_url_is_a_circle() {
        let check = |method: &str, url: &str, status: u16, lines: &[(&str, &str)], expected: bool| {
            let request = crate::http::testing::request(method, url, &[]);
            let head = ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers: fields(lines) };
            assert_eq!(leads_to_itself(&request, &head), expected, "{method} {url} {lines:?}");
        };
        let url = "https://a.test/x?y";
        check("GET", url, 301, &[("location", url)], true);
        check("GET", url, 308, &[("location", "/x?y")], true);
        check("GET", url, 200, &[("location", url)], false);
        check("POST", url, 303, &[("location", url)], false);
        check("GET", url, 302, &[("location", url), ("set-cookie", "a=1")], false);
        check("GET", "http://a.test/x?y", 301, &[("location", url)], false);
        check("GET", url, 301, &[("location", "https://b.test/x?y")], false);
        check("GET", url, 301, &[("location", "/x")], false);
    }

    #[test]
    fn a_redirect_takes_along_what_the_wildcard_stood_for_and_the_query() {
        check("/old", "/new", "/old", None, Some("/new"));
        check("/old", "/new", "/other", None, None);
        check("/old/*", "https://b.test/new/*", "/old/a/b", Some("q"), Some("https://b.test/new/a/b?q"));
        check("/old/*", "/new?from=*", "/old/a", Some("q"), Some("/new?from=a"));
    }

    #[test]
    fn a_path_splits_no_response_and_leads_to_no_other_host() {
        check("/o/*", "/*", "/o/%0d%0aSet-Cookie:%20x", None, Some("/%0d%0aSet-Cookie:%20x"));
        check("/o/*", "/*", "/o//evil.test/", None, Some("/evil.test/"));
        check("/o/*", "/*", "/o/\\evil.test/", None, Some("/evil.test/"));
    }
}
