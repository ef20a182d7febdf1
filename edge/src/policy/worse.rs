//! Whether an error would take the place of something better. A transient error is passed on and not stored while a good
//! response lies under its key that may still be used.

use std::time::SystemTime;

use http::StatusCode;

use super::Entry;
use super::freshness::WhenStale;
use super::transient::is_transient;
use crate::site::Rules;

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
}
