//! Own pages in the place of errors, and the switch by which a site says that it is being worked on.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ipnet::IpNet;

use crate::http::list;

/// The pages of a site; the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages(pub Vec<Page>);

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Of which errors.
    pub statuses: Vec<Errors>,
    /// Whether it takes the place of an origin's own page too.
    pub for_origin: bool,
    /// Its media type.
    pub kind: HeaderValue,
    /// The page's content.
    pub content: Bytes,
}

/// Errors by status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// This one.
    Status(StatusCode),
    /// All with this first digit.
    Class(u16),
}

/// The maker of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This edge.
    Edge,
    /// An origin.
    Origin,
}

impl Errors {
    /// Of `404` or `5xx`; none if that is no error.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "4xx" => Some(Self::Class(4)),
            "5xx" => Some(Self::Class(5)),
            text => StatusCode::from_bytes(text.as_bytes()).ok().and_then(Self::of),
        }
    }

    /// This one; none if it is no error.
    pub fn of(status: StatusCode) -> Option<Self> {
        (400..600).contains(&status.as_u16()).then_some(Self::Status(status))
    }

    fn has(self, status: StatusCode) -> bool {
        match self {
            Self::Status(one) => one == status,
            Self::Class(digit) => status.as_u16() / 100 == digit,
        }
    }
}

impl Pages {
    /// The page for an error of this maker, if there is one of a type that the request accepts. A program that asks for
    /// JSON gets no HTML, but the error as it is.
    pub fn of(&self, status: StatusCode, maker: Maker, request: &HeaderMap) -> Option<&Page> {
        let fits = |page: &&Page| {
            (maker == Maker::Edge || page.for_origin)
                && page.statuses.iter().any(|errors| errors.has(status))
                && accepts(request, &page.kind)
        };
        self.0.iter().find(fits)
    }
}

impl Page {
    /// Makes a response's fields those of the page: it is no representation of what was asked for, and kept by nobody.
    pub fn describe(&self, headers: &mut HeaderMap) {
        for name in OF_CONTENT {
            headers.remove(*name);
        }
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Fields about the content that the page takes the place of, and what would let caches keep the page as that.
const OF_CONTENT: &[&str] = &[
    "accept-ranges",
    "cache-groups",
    "cdn-cache-control",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "digest",
    "etag",
    "expires",
    "last-modified",
    "pragma",
    "repr-digest",
    "trailer",
    "transfer-encoding",
];

/// Whether a request takes this type (RFC 9110 §12.5.1): the most specific range that has it decides. Without the field
/// any type will do.
fn accepts(request: &HeaderMap, kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let any_of_it = kind.split('/').next().map_or_else(String::new, |first| format!("{first}/*"));
    let mut best: Option<(usize, bool)> = None;
    let mut is_empty = true;
    for range in list::elements(request, &header::ACCEPT) {
        is_empty = false;
        let range = String::from_utf8_lossy(range);
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specific =
            [name == "*/*", name.eq_ignore_ascii_case(&any_of_it), name.eq_ignore_ascii_case(kind)];
        let Some(specific) = specific.iter().rposition(|fits| *fits) else { continue };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let wanted = weight.is_none_or(|weight| !weight.trim().trim_matches(['0', '.']).is_empty());
        if best.is_none_or(|(before, _)| specific > before) {
            best = Some((specific, wanted));
        }
    }
    is_empty || best.is_some_and(|(_, wanted)| wanted)
}

/// Whether a site is being worked on, and who gets in all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Whether it is, if nobody has switched it otherwise.
    pub is_on: bool,
    /// Clients that see the site as ever.
    pub exempt: Vec<IpNet>,
    /// When the others may come again, in seconds.
    pub retry_after_secs: u64,
}

impl Maintenance {
    /// Whether a client sees the site as ever.
    pub fn exempts(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.exempt.iter().any(|network| network.contains(&client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn page(statuses: &[&str], for_origin: bool, kind: &'static str) -> Page {
        let statuses = statuses.iter().map(|text| Errors::parse(text).unwrap()).collect();
        Page { statuses, for_origin, kind: HeaderValue::from_static(kind), content: Bytes::from_static(b"x") }
    }

    #[test]
    fn the_first_page_for_a_status_that_the_client_accepts_is_shown() {
        let pages = Pages(vec![
            page(&["503"], false, "text/html; charset=utf-8"),
            page(&["503"], false, "application/json"),
            page(&["5xx", "404"], true, "text/html"),
        ]);
        let check = |status: u16, maker, accept: &[(&str, &str)], expected: Option<usize>| {
            let status = StatusCode::from_u16(status).unwrap();
            let found = pages.of(status, maker, &fields(accept));
            let place = found.map(|page| pages.0.iter().position(|one| std::ptr::eq(one, page)).unwrap());
            assert_eq!(place, expected, "{status} {maker:?} {accept:?}");
        };
        check(503, Maker::Edge, &[], Some(0));
        check(503, Maker::Edge, &[("accept", "application/json")], Some(1));
        check(503, Maker::Edge, &[("accept", "image/png")], None);
        check(503, Maker::Origin, &[], Some(2));
        check(502, Maker::Edge, &[], Some(2));
        check(404, Maker::Origin, &[], Some(2));
        check(403, Maker::Edge, &[], None);
        check(200, Maker::Origin, &[], None);
    }

    #[test]
    fn a_client_accepts_what_its_most_specific_range_says() {
        let check = |accept: &str, expected: bool| {
            let found = accepts(
                &fields(&[("accept", accept)]),
                &HeaderValue::from_static("text/html; charset=utf-8"),
            );
            assert_eq!(found, expected, "{accept}");
        };
        check("*/*", true);
        check("text/*", true);
        check("application/json, text/HTML;q=0.1", true);
        check("application/json", false);
        check("text/html;q=0, */*", false);
        check("text/html; q=0.000, text/*", false);
        check("text/*;q=0, text/html", true);
        check("*/*;q=0", false);
        check("", true);
        assert!(accepts(&HeaderMap::new(), &HeaderValue::from_static("text/html")));
    }

    #[test]
    fn a_page_is_nothing_that_a_cache_would_take_for_what_was_asked_for() {
        let mut headers = fields(&[
            ("etag", "\"a\""),
            ("content-encoding", "gzip"),
            ("content-length", "9"),
            ("cache-control", "max-age=60"),
            ("expires", "never"),
            ("via", "1.1 x"),
        ]);
        page(&["5xx"], true, "text/html").describe(&mut headers);
        let expected = [("via", "1.1 x"), ("content-type", "text/html"), ("cache-control", "no-store")];
        assert_eq!(headers, fields(&expected));
    }

    #[test]
    fn only_errors_have_pages() {
        for (text, is_one) in
            [("404", true), ("5xx", true), ("200", false), ("3xx", false), ("999", false), ("x", false)]
        {
            assert_eq!(Errors::parse(text).is_some(), is_one, "{text}");
        }
    }

    #[test]
    fn some_see_a_site_that_is_being_worked_on() {
        let maintenance =
            Maintenance { exempt: vec!["10.0.0.0/8".parse().unwrap()], ..Maintenance::default() };
        assert!(maintenance.exempts("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!maintenance.exempts("192.0.2.1".parse().unwrap()));
    }
}
