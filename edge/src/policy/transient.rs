//! Errors that pass. A client's own request or a moment of the origin caused them, so they are kept for a few seconds
//! at most, whatever they say of themselves, and never in the place of a good response that may still be used.
//!
//! A 4xx of this kind can be caused by fields that are in no key, such as one that is longer than the origin takes: a
//! cache that keeps it answers everybody with one client's error (CPDoS). A 5xx tells nothing of the resource
//! (RFC 9111 §4.3.3).

use std::time::SystemTime;

use http::StatusCode;

use super::Entry;
use super::freshness::WhenStale;
use crate::site::Rules;

/// Whether a response of this status is such an error.
pub fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || BY_REQUEST.contains(&status.as_u16())
}

/// Statuses that the form, the size, the time or the place of one request causes, and not the resource that it names.
const BY_REQUEST: &[u16] = &[
    400, // malformed, or too large for servers that have no better word (Apache, IIS)
    405, // a method that an override field asked for
    407, // a proxy behind us wants credentials
    408, // too slow
    411, // no length
    413, // too large
    414, // a target that is too long, perhaps only after a field rewrote it
    415, // content in a type or coding that is not taken
    417, // an Expect that cannot be met
    421, // a connection that is not for this host (RFC 9110 §15.5.20)
    425, // early data (RFC 8470 §5.2)
    426, // another protocol is wanted
    428, // a precondition is wanted (RFC 6585 §3)
    429, // too many requests of this client (RFC 6585 §4)
    431, // fields that are too large (RFC 6585 §5)
    494, // nginx's 431
];

/// Whether a response of this status is worse than what is stored under its key: it is a transient error, and one of
/// `variants` is a good response that is fresh or may be served stale.
pub fn is_worse_than(status: StatusCode, variants: &[&Entry], rules: &Rules, now: SystemTime) -> bool {
    is_transient(status) && variants.iter().any(|entry| is_good(entry, rules, now))
}

fn is_good(entry: &Entry, rules: &Rules, now: SystemTime) -> bool {
    let freshness = entry.freshness(now);
    let window_secs = match entry.lifetime.stale {
        WhenStale::NeverUnvalidated => return false,
        WhenStale::MustRevalidate => 0,
        WhenStale::May { while_revalidate_secs, if_error_secs } => {
            while_revalidate_secs.max(if_error_secs).max(rules.stale_on_disconnect_secs)
        }
    };
    !is_transient(entry.head.status) && (freshness.is_fresh() || freshness.is_stale_within(window_secs))
}

#[cfg(test)]
mod tests {
    use super::super::testing::stored_response;
    use super::*;
    use crate::http::testing::{at, get, response};

    /// Whether a 500 at second 1100 is worse than a response of this status that was stored at second 1000.
    fn check(status: u16, directives: &str, expected: bool) {
        let entry = stored_response(&get(&[]), &response(status, &[("cache-control", directives)]), 1);
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        assert_eq!(is_worse_than(status, &[&entry], &Rules::default(), at(1100)), expected, "{directives}");
    }

    #[test]
    fn an_error_is_worse_than_a_good_response_that_may_still_be_used() {
        check(200, "max-age=200", true);
        check(404, "max-age=200", true);
        check(200, "max-age=50", true);
        check(200, "max-age=200, must-revalidate", true);
        check(200, "max-age=50, must-revalidate", false);
        check(200, "s-maxage=50", false);
        check(200, "max-age=200, no-cache", false);
        check(503, "max-age=200", false);
        check(400, "max-age=200", false);
        let rules = Rules { stale_on_disconnect_secs: 0, ..Rules::default() };
        let stale = |window| {
            let directives = format!("max-age=50, {window}");
            let entry = stored_response(&get(&[]), &response(200, &[("cache-control", &directives)]), 1);
            is_worse_than(StatusCode::BAD_GATEWAY, &[&entry], &rules, at(1100))
        };
        assert!(!stale("stale-if-error=50") && stale("stale-if-error=51"));
        assert!(!stale("stale-while-revalidate=50") && stale("stale-while-revalidate=51"));
    }

    #[test]
    fn an_answer_about_the_resource_is_no_transient_error() {
        let good = [200, 204, 301, 304, 401, 403, 404, 410, 418, 422, 451, 600];
        for status in good.map(|status| StatusCode::from_u16(status).unwrap()) {
            assert!(!is_transient(status), "{status}");
        }
        for status in [400, 405, 408, 411, 413, 414, 417, 421, 429, 431].into_iter().chain(500..600) {
            assert!(is_transient(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        assert!(BY_REQUEST.is_sorted());
    }
}
