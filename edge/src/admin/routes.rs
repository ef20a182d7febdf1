//! The paths of the admin listener: how each is asked for, and by whom.
//!
//! Invariant: plain values.

use http::HeaderMap;

/// An answer to a name that is not ours.
pub(super) const FOREIGN_HOST: &str =
    "ask by an IP address or localhost, add this name to `admin.hosts`, or send the token";
/// An answer to a path or a method that is not there.
pub(super) const THERE_IS: &str = "GET /, /status, /events, /metrics, /healthz, /readyz, /tail, /export; POST /purge, /explain, /objects, /reload, /guard, /maintenance, /origins; PUT /push, /import";

/// The clients that may ask for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, by an address, localhost or a name of `admin.hosts`.
    Anybody,
    /// The same; on an address that other machines reach, those with the token. A browser may send it as a password.
    Reader,
    /// Clients with the token.
    Token,
}

/// A path, and how it is asked for.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// `GET` means `HEAD`, too.
    pub(super) method: &'static str,
    pub(super) access: Access,
}

pub(super) const GET: &str = "GET";
pub(super) const PUT: &str = "PUT";

pub(super) fn route(path: &str) -> Option<&'static Route> {
    const fn at(path: &'static str, method: &'static str, access: Access) -> Route {
        Route { path, method, access }
    }
    static ROUTES: [Route; 19] = [
        at("/", GET, Access::Reader),
        at("/page.css", GET, Access::Anybody),
        at("/page.js", GET, Access::Anybody),
        at("/events", GET, Access::Reader),
        at("/status", GET, Access::Reader),
        at("/metrics", GET, Access::Reader),
        at("/healthz", GET, Access::Anybody),
        at("/readyz", GET, Access::Anybody),
        at("/tail", GET, Access::Token),
        at("/export", GET, Access::Token),
        at("/import", PUT, Access::Token),
        at("/push", PUT, Access::Token),
        at("/purge", "POST", Access::Token),
        at("/explain", "POST", Access::Token),
        at("/objects", "POST", Access::Token),
        at("/reload", "POST", Access::Token),
        at("/guard", "POST", Access::Token),
        at("/maintenance", "POST", Access::Token),
        at("/origins", "POST", Access::Token),
    ];
    ROUTES.iter().find(|route| route.path == path)
}

/// Whether a page of another site made a browser ask, and not a person who followed a link.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let is_foreign = is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site");
    is_foreign && !is("sec-fetch-mode", "navigate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_reads_nothing_and_a_link_to_the_page_works() {
        for (site, mode, expected) in [
            ("same-origin", "cors", false),
            ("none", "navigate", false),
            ("cross-site", "navigate", false),
            ("cross-site", "no-cors", true),
            ("cross-site", "cors", true),
            ("same-site", "cors", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("sec-fetch-site", http::HeaderValue::from_static(site));
            headers.insert("sec-fetch-mode", http::HeaderValue::from_static(mode));
            assert_eq!(is_from_elsewhere(&headers), expected, "{site} {mode}");
        }
        assert!(!is_from_elsewhere(&HeaderMap::new()), "no browser");
    }

    #[test]
    fn everything_that_changes_something_needs_the_token() {
        for path in THERE_IS.split([' ', ',', ';']).filter(|word| word.starts_with('/')) {
            let route = route(path).expect("it is told");
            assert!(route.method == GET || route.access == Access::Token, "{path}");
        }
    }
}
