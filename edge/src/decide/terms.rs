//! Which fetch stands for the one that a request would have caused.
//!
//! A response may be shared as far as it may be reused (RFC 9111 §4). A response that must be validated at each use
//! (`no-cache`, `max-age=0`) may not be reused unless the request is forwarded (§5.2.2.4). A fetch counts as forwarding a
//! request if it began after the request arrived and carries the same credentials. A fetch that began earlier does not:
//! the origin may have changed since. So requests that arrive while a fetch is under way wait for it and then share the
//! next one. The origin is asked at most twice in the time that it takes to answer, and no request gets a response that
//! is older than itself.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue, header};

/// A place in the order in which requests arrive and fetches begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// Gives out moments.
#[derive(Debug, Default)]
pub struct Moments(AtomicU64);

impl Moments {
    /// One later than all before.
    pub fn next(&self) -> Moment {
        Moment(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The credentials by which an origin knows whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    authorization: Vec<HeaderValue>,
    cookies: Vec<HeaderValue>,
}

impl Credentials {
    /// The terms of a request.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let all = |name| headers.get_all(name).iter().cloned().collect();
        Self { authorization: all(header::AUTHORIZATION), cookies: all(header::COOKIE) }
    }

    /// Whether the response is likely to be for this request only: RFC 9111 §3.5.
    #[must_use]
    pub fn authorize(&self) -> bool {
        !self.authorization.is_empty()
    }
}

/// Which fetches will do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// Any: what is stored would do as well.
    Any,
    /// One with its own credentials: what is stored must be validated, and so must what is fetched.
    Like,
    /// The same, begun since it arrived: that is as good as its own.
    LikeSince,
}

/// The cause of a request or a fetch, which the terms are about.
#[derive(Debug, Clone)]
pub struct Cause {
    /// When it arrived, or began.
    pub at: Moment,
    /// The user's credentials.
    pub credentials: Credentials,
}

impl Terms {
    /// Whether a fetch with this cause will do for a request with that.
    #[must_use]
    pub fn allow(self, fetch: &Cause, request: &Cause) -> bool {
        let is_alike = fetch.credentials == request.credentials;
        match self {
            // A request without credentials would wait for a response that it may not have.
            Self::Any => request.credentials.authorize() || !fetch.credentials.authorize(),
            Self::Like => is_alike,
            Self::LikeSince => is_alike && fetch.at > request.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    #[test]
    fn a_fetch_will_do_if_it_is_like_the_requests_own() {
        let moments = Moments::default();
        let [before, request, after] = [moments.next(), moments.next(), moments.next()];
        let cause = |at, sent: &[(&str, &str)]| Cause { at, credentials: Credentials::of(&fields(sent)) };
        let (none, a, b) = (&[][..], &[("cookie", "a")][..], &[("cookie", "b")][..]);
        let authorized = &[("authorization", "x")][..];
        for (asking, fetching, any, like, since) in [
            (none, none, true, true, true),
            (a, a, true, true, true),
            (a, b, true, false, false),
            (none, a, true, false, false),
            (none, authorized, false, false, false),
            (authorized, none, true, false, false),
            (authorized, authorized, true, true, true),
        ] {
            let asking = cause(request, asking);
            for (at, is_since) in [(before, false), (after, true)] {
                let fetch = cause(at, fetching);
                assert_eq!(Terms::Any.allow(&fetch, &asking), any, "{fetch:?} {asking:?}");
                assert_eq!(Terms::Like.allow(&fetch, &asking), like, "{fetch:?} {asking:?}");
                assert_eq!(
                    Terms::LikeSince.allow(&fetch, &asking),
                    since && is_since,
                    "{fetch:?} {asking:?}"
                );
            }
        }
    }
}
