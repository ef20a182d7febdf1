//! The paths of the admin listener: how each is asked for, and by whom.
//!
//! Invariant: plain values.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;

/// An answer to a path or a method that is not there.
pub(super) const THERE_IS: &str = "GET /, /status, /events, /hidden, /metrics, /healthz, /readyz, /explain?name=…&type=…&from=…&subnet=…, /tail; POST /reload, /drain?address=…, /undrain?address=…";

/// An answer to a name that is not ours.
pub(super) const FOREIGN_HOST: &str =
    "ask by an IP address or localhost, add this name to `admin.hosts`, or send the token";

/// The clients that may ask for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, by an address, localhost or a name of `admin.hosts`.
    Anybody,
    /// The same; on an address that other machines reach, those with the token. A browser may send it as a password.
    Reader,
    /// Clients with the token, wherever. A browser may send it as a password.
    Trusted,
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

pub(super) fn route(path: &str) -> Option<&'static Route> {
    const fn at(path: &'static str, method: &'static str, access: Access) -> Route {
        Route { path, method, access }
    }
    static ROUTES: [Route; 14] = [
        at("/", GET, Access::Reader),
        at("/page.css", GET, Access::Anybody),
        at("/page.js", GET, Access::Anybody),
        at("/events", GET, Access::Reader),
        at("/status", GET, Access::Reader),
        at("/metrics", GET, Access::Reader),
        at("/healthz", GET, Access::Anybody),
        at("/readyz", GET, Access::Anybody),
        at("/hidden", GET, Access::Trusted),
        at("/explain", GET, Access::Token),
        at("/tail", GET, Access::Token),
        at("/reload", "POST", Access::Token),
        at("/drain", "POST", Access::Token),
        at("/undrain", "POST", Access::Token),
    ];
    ROUTES.iter().find(|route| route.path == path)
}

/// Whether a request's host can be meant. By a name of its own, any web page can point a browser at this listener and
/// read the answer (DNS rebinding); an address and `localhost` are nobody's, and browsers always send a host.
pub(super) fn is_ours(host: Option<&HeaderValue>, hosts: &[String]) -> bool {
    let Some(host) = host else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|ours| name.eq_ignore_ascii_case(ours))
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
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            headers.insert("sec-fetch-mode", HeaderValue::from_static(mode));
            assert_eq!(is_from_elsewhere(&headers), expected, "{site} {mode}");
        }
        assert!(!is_from_elsewhere(&HeaderMap::new()), "no browser");
    }

    #[test]
    fn everything_that_changes_something_needs_the_token() {
        let paths = THERE_IS.split([' ', ',', ';', '?']).filter(|word| word.starts_with('/'));
        for path in paths {
            let route = route(path).expect("it is told");
            assert!(route.method == GET || route.access == Access::Token, "{path}");
        }
    }
}
