//! Parents: other edges that an edge asks in the place of its origins, so that many edges cost an origin no more than one.
//!
//! Each edge chooses the parent of a response by its key, all of them the same one. Where none is up the origins are asked.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use super::origin::{Ask, Checks};
use super::{Balance, Sharing};

/// Where name servers and children ask whether an edge takes requests.
pub const HEALTH_PATH: &str = "/.well-known/verge/health";
/// Where a child tells its parents what is to go.
pub const PURGE_PATH: &str = "/.well-known/verge/purge";
/// The contents of a parent's answers after which nothing comes back from there: it has purged, or had told of it itself.
pub const PURGE_TAKEN: [&str; 2] = ["200 OK: purged\n", "200 OK: it came from here\n"];

/// The beginning of a parent's answer that has purged, and has a disk that may not remember it.
pub const PURGE_UNSURE: &str = "200 OK: purged; ";

/// Whether the edge answers requests for this path itself, whatever their query and their site are.
pub fn is_own(path: &str) -> bool {
    [HEALTH_PATH, PURGE_PATH].contains(&path)
}

/// As often, and so long: one that is lost gets no request after some seconds, even if it takes connections.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
const FALL: u32 = 2;
const RISE: u32 = 2;

/// How the parents of a site share its requests whose origins share them so.
#[must_use]
pub fn sharing(of_origins: &Sharing) -> Sharing {
    let ask = Ask {
        method: Method::GET,
        path: PathAndQuery::from_static(HEALTH_PATH),
        host: None,
        statuses: vec![StatusCode::OK],
        body: None,
    };
    let checks =
        Checks { ask: Some(ask), interval: CHECK_INTERVAL, timeout: CHECK_TIMEOUT, fall: FALL, rise: RISE };
    Sharing {
        balance: Balance::Hash,
        slow_start: of_origins.slow_start,
        checks: Some(Arc::new(checks)),
        has_others_behind: true,
        ..Sharing::default()
    }
}
