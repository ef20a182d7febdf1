//! The paths of the admin listener: how each is asked for, and by whom.
//!
//! Invariant: plain values.

use http::{HeaderMap, StatusCode};

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
    /// The statuses that it answers with itself, beside those of `access` and of another method: docs/openapi has them all.
    pub(super) statuses: &'static [u16],
}

pub(super) const GET: &str = "GET";
pub(super) const PUT: &str = "PUT";

const fn at(path: &'static str, method: &'static str, access: Access, statuses: &'static [u16]) -> Route {
    Route { path, method, access, statuses }
}

static ROUTES: [Route; 19] = [
    at("/", GET, Access::Reader, &[200]),
    at("/page.css", GET, Access::Anybody, &[200]),
    at("/page.js", GET, Access::Anybody, &[200]),
    at("/events", GET, Access::Reader, &[200, 503]),
    at("/status", GET, Access::Reader, &[200]),
    at("/metrics", GET, Access::Reader, &[200]),
    at("/healthz", GET, Access::Anybody, &[200]),
    at("/readyz", GET, Access::Anybody, &[200, 503]),
    at("/tail", GET, Access::Token, &[200, 400, 503]),
    at("/export", GET, Access::Token, &[200]),
    at("/import", PUT, Access::Token, &[200, 400]),
    at("/push", PUT, Access::Token, &[200, 400, 404, 409, 413, 422, 503, 507]),
    at("/purge", "POST", Access::Token, &[200, 400, 404, 413, 429, 503]),
    at("/explain", "POST", Access::Token, &[200, 400, 404, 413]),
    at("/objects", "POST", Access::Token, &[200, 400, 413]),
    at("/reload", "POST", Access::Token, &[200, 413, 422]),
    at("/guard", "POST", Access::Token, &[200, 413]),
    at("/maintenance", "POST", Access::Token, &[200, 400, 404, 413]),
    at("/origins", "POST", Access::Token, &[200, 400, 404, 413]),
];

pub(super) fn route(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path)
}

impl Route {
    /// Whether docs/openapi tells that it may answer so. A fault of the program (500) may come from any.
    pub(super) fn answers(&self, status: StatusCode) -> bool {
        let refusals = self.access.refusals().iter().chain(&[405, 500]);
        refusals.chain(self.statuses).any(|told| *told == status.as_u16())
    }
}

impl Access {
    /// The statuses of requests that have not the right, or come by a name that is not ours.
    fn refusals(self) -> &'static [u16] {
        match self {
            Self::Anybody => &[421],
            Self::Reader => &[401, 403, 421],
            Self::Token => &[401, 403],
        }
    }
}

/// Whether a page of another site made a browser ask, and not a person who followed a link.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let is_foreign = is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site");
    is_foreign && !is("sec-fetch-mode", "navigate")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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

    /// Each path with its methods and their statuses.
    type Api = BTreeMap<String, BTreeMap<String, BTreeSet<u16>>>;

    #[test]
    fn the_api_file_has_each_path_with_its_method_and_its_statuses_and_no_others() {
        let file = include_str!("../../../docs/openapi/verge-edge.json");
        let document: serde_json::Value = serde_json::from_str(file).unwrap();
        let mut told = Api::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let statuses = operation["responses"].as_object().unwrap().keys();
                let statuses = statuses.map(|status| status.parse().unwrap()).collect();
                told.entry(path.clone()).or_default().insert(method.to_uppercase(), statuses);
            }
        }
        let mut here = Api::new();
        for route in &ROUTES {
            let statuses = route.access.refusals().iter().chain(&[405]).chain(route.statuses);
            let methods = here.entry(route.path.to_owned()).or_default();
            methods.insert(route.method.to_owned(), statuses.copied().collect());
        }
        assert_eq!(told, here);
    }

    #[test]
    fn the_answer_to_a_path_that_is_not_there_names_each_path_but_those_of_the_page() {
        for route in ROUTES.iter().filter(|route| !route.path.starts_with("/page.")) {
            let is_told = THERE_IS.split([' ', ',', ';', '?']).any(|word| word == route.path);
            assert!(is_told, "{}", route.path);
        }
    }
}
